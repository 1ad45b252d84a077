/** What this device says of a model: kept until a server takes it. */

import { Unreachable } from "./errors.ts";
import type { Network } from "./network.ts";
import type { Store } from "./store.ts";

export interface Report {
  readonly id: string;
  readonly model: string;
  readonly version: number;
  readonly target: string;
  readonly kind: "installed" | "self_check" | "latency" | "failed";
  readonly passed?: boolean;
  readonly latency_ms?: readonly number[];
  readonly detail?: string;
  /** Seconds since 1970. */
  readonly at: number;
}

const KEY = "reports";
const MOST = 100;

export class Reports {
  readonly #store: Store;
  readonly #network: Network;

  constructor(store: Store, network: Network) {
    this.#store = store;
    this.#network = network;
  }

  /** Keeps it, the oldest giving way; `send` sends it. */
  async add(report: Report): Promise<void> {
    await this.#write([...(await this.waiting()), report].slice(-MOST));
  }

  async waiting(): Promise<Report[]> {
    const kept = await this.#store.get(KEY);
    return typeof kept === "string" ? (JSON.parse(kept) as Report[]) : [];
  }

  /** Whether none is left. What cannot be sent now stays; what the server calls wrong would be wrong again, and goes. */
  async send(): Promise<boolean> {
    const reports = await this.waiting();
    if (reports.length === 0) return true;
    let status: number;
    try {
      status = await this.#network.post("reports", { reports });
    } catch (error) {
      if (error instanceof Unreachable) return false;
      throw error;
    }
    if (status >= 500 || status === 429 || status === 408) return false;
    const sent = new Set(reports.map((report) => JSON.stringify(report)));
    await this.#write((await this.waiting()).filter((report) => !sent.has(JSON.stringify(report))));
    return true;
  }

  async #write(reports: readonly Report[]): Promise<void> {
    await this.#store.write(new Map([[KEY, JSON.stringify(reports)]]));
  }
}
