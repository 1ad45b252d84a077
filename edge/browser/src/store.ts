/** What survives a reload. All that is written in one call is there afterwards, or nothing of it. */

export type Stored = Uint8Array<ArrayBuffer> | string;

export interface Store {
  get(key: string): Promise<Stored | undefined>;
  keys(prefix: string): Promise<string[]>;
  /** `undefined` removes. */
  write(entries: ReadonlyMap<string, Stored | undefined>): Promise<void>;
}

/** For tests, and for browsers that keep nothing (private windows): gone with the page. */
export class MemoryStore implements Store {
  readonly #kept = new Map<string, Stored>();

  async get(key: string): Promise<Stored | undefined> {
    return this.#kept.get(key);
  }

  async keys(prefix: string): Promise<string[]> {
    return [...this.#kept.keys()].filter((key) => key.startsWith(prefix));
  }

  async write(entries: ReadonlyMap<string, Stored | undefined>): Promise<void> {
    for (const [key, value] of entries) {
      if (value === undefined) this.#kept.delete(key);
      else this.#kept.set(key, value);
    }
  }
}

/** IndexedDB: of all that browsers keep, the one with transactions. */
export class IndexedDbStore implements Store {
  readonly #database: IDBDatabase;

  private constructor(database: IDBDatabase) {
    this.#database = database;
  }

  static async open(name = "torii-edge"): Promise<IndexedDbStore> {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore("kept");
    return new IndexedDbStore(await settled(request));
  }

  async get(key: string): Promise<Stored | undefined> {
    return settled(this.#database.transaction("kept").objectStore("kept").get(key));
  }

  async keys(prefix: string): Promise<string[]> {
    const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
    return (await settled(this.#database.transaction("kept").objectStore("kept").getAllKeys(range))) as string[];
  }

  async write(entries: ReadonlyMap<string, Stored | undefined>): Promise<void> {
    // "strict": when it is said to be written, it is on the disk.
    const transaction = this.#database.transaction("kept", "readwrite", { durability: "strict" });
    const kept = transaction.objectStore("kept");
    for (const [key, value] of entries) {
      if (value === undefined) kept.delete(key);
      else kept.put(value, key);
    }
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error("the browser did not keep it"));
    });
  }
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
