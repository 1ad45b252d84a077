/** Asking a server, with an end to every answer: in bytes, and in time. */

import type { Bytes } from "./digests.ts";
import { Refused, Unreachable } from "./errors.ts";

export type Fetch = (url: string, options: RequestInit) => Promise<Response>;
export type OnProgress = (received: number, expected: number) => void;

const PATIENCE_MS = 30_000;
const LEAST_BYTES_PER_SECOND = 16 * 1024; // slower than that is as good as no answer

export class Network {
  readonly #base: URL;
  readonly #fetch: Fetch;

  /** `base`: where `metadata/`, `targets/`, `models/` and `reports` are, e.g. https://edge.example/edge/v1/ */
  constructor(base: string, fetcher: Fetch = (url, options) => fetch(url, options)) {
    this.#base = new URL(base.endsWith("/") ? base : `${base}/`);
    this.#fetch = fetcher;
  }

  /** The body of a 200; null for the statuses in `none`. Raises `Unreachable`, or `Refused` if it is longer than `most`. */
  async get(path: string, most: number, { none = [] as number[], onProgress = (() => {}) as OnProgress } = {}): Promise<Bytes | null> {
    // What is right is kept elsewhere; in the browser's cache, what a liar once sent would stay as long as the liar said.
    return this.#within(most, path, { cache: "no-store" }, async (response) => {
      if (none.includes(response.status)) return null;
      if (response.status !== 200) throw new Unreachable(`${path}: the server answered ${response.status}`);
      return bodyOf(response, most, path, onProgress);
    });
  }

  /** The status of the answer. */
  async post(path: string, body: unknown): Promise<number> {
    const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    return this.#within(0, path, options, async (response) => {
      await response.body?.cancel();
      return response.status;
    });
  }

  async #within<T>(most: number, path: string, options: RequestInit, use: (response: Response) => Promise<T>): Promise<T> {
    const deadline = PATIENCE_MS + Math.ceil((most / LEAST_BYTES_PER_SECOND) * 1000);
    const signal = AbortSignal.timeout(deadline);
    try {
      const response = await this.#fetch(new URL(path, this.#base).href, { credentials: "omit", ...options, signal });
      return await use(response);
    } catch (error) {
      if (error instanceof Refused || error instanceof Unreachable) throw error;
      throw new Unreachable(`${path}: ${signal.aborted ? "no answer in time" : "no answer"}`);
    }
  }
}

async function bodyOf(response: Response, most: number, path: string, onProgress: OnProgress): Promise<Bytes> {
  const chunks: Uint8Array[] = [];
  let received = 0;
  const reader = response.body?.getReader();
  for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
    received += next.value.length;
    if (received > most) {
      await reader?.cancel();
      throw new Refused("tampered", `${path}: expected ${most} bytes at most, got more`);
    }
    chunks.push(next.value);
    onProgress(received, most);
  }
  const whole = new Uint8Array(received);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
