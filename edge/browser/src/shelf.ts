/** Where a device keeps its bundles: the current one, the one before, and which ones it has refused. */

import type { Bytes } from "./digests.ts";
import { Refused } from "./errors.ts";
import type { Store, Stored } from "./store.ts";

/** One installed bundle. */
export interface Slot {
  readonly sha256: string;
  /** Its path among the signed targets. */
  readonly target: string;
  readonly version: number;
  /** When it was installed, as ISO 8601. */
  readonly at: string;
}

const MOST_REFUSED = 32;

export class Shelf {
  readonly #store: Store;
  readonly #prefix: string;

  constructor(store: Store, model: string) {
    this.#store = store;
    this.#prefix = `model/${model}/`;
  }

  async current(): Promise<Slot | null> {
    return this.#slot("current");
  }

  async previous(): Promise<Slot | null> {
    return this.#slot("previous");
  }

  /** Raises `Refused` where the browser has dropped them. */
  async bytes(slot: Slot): Promise<Bytes> {
    const kept = await this.#store.get(this.#bundleKey(slot));
    if (!(kept instanceof Uint8Array)) throw new Refused("tampered", `${slot.target}: it is no longer kept`);
    return kept;
  }

  /** In one write: the bundle, which is current from now on; the one before; and away with older ones. */
  async install(slot: Slot, bytes: Bytes): Promise<void> {
    const before = await this.current();
    const entries = new Map<string, Stored | undefined>([
      [this.#bundleKey(slot), bytes],
      [`${this.#prefix}current`, JSON.stringify(slot)],
    ]);
    if (before) entries.set(`${this.#prefix}previous`, JSON.stringify(before));
    const kept = [slot, before].map((each) => each && this.#bundleKey(each));
    for (const key of await this.#store.keys(`${this.#prefix}bundle/`)) {
      if (!kept.includes(key)) entries.set(key, undefined);
    }
    await this.#store.write(entries);
  }

  async rollBack(left: Slot, before: Slot): Promise<void> {
    const refused = [...(await this.#refused()), left.sha256].slice(-MOST_REFUSED);
    await this.#store.write(
      new Map<string, Stored | undefined>([
        [`${this.#prefix}current`, JSON.stringify(before)],
        [`${this.#prefix}previous`, undefined],
        [`${this.#prefix}refused`, JSON.stringify(refused)],
        [this.#bundleKey(left), undefined],
      ]),
    );
  }

  async refuse(sha256: string): Promise<void> {
    const refused = [...(await this.#refused()), sha256].slice(-MOST_REFUSED);
    await this.#store.write(new Map([[`${this.#prefix}refused`, JSON.stringify(refused)]]));
  }

  async isRefused(sha256: string): Promise<boolean> {
    return (await this.#refused()).includes(sha256);
  }

  /** Anonymous, and the same for all models. */
  async deviceId(): Promise<string> {
    const kept = await this.#store.get("id");
    if (typeof kept === "string") return kept;
    const made = crypto.randomUUID();
    await this.#store.write(new Map([["id", made]]));
    return made;
  }

  #bundleKey(slot: Slot): string {
    return `${this.#prefix}bundle/${slot.sha256}`;
  }

  async #refused(): Promise<string[]> {
    const kept = await this.#store.get(`${this.#prefix}refused`);
    return typeof kept === "string" ? (JSON.parse(kept) as string[]) : [];
  }

  async #slot(name: "current" | "previous"): Promise<Slot | null> {
    const kept = await this.#store.get(`${this.#prefix}${name}`);
    return typeof kept === "string" ? (JSON.parse(kept) as Slot) : null;
  }
}
