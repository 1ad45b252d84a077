/** A model on this device: updated when there is a better one, there when there is no network, never worse than before. */

import { type Bundle, openBundle } from "./bundle/bundle.ts";
import { type Bytes, sha256 } from "./digests.ts";
import { Refused } from "./errors.ts";
import { type Fetch, Network, type OnProgress } from "./network.ts";
import { downloaded, offered, signedTarget } from "./offer.ts";
import { type Report, Reports } from "./reports.ts";
import { type Runtimes, type Session, started } from "./runtimes/runtime.ts";
import { type SelfCheck, selfCheck } from "./selfcheck.ts";
import { integer } from "./shapes.ts";
import { Shelf, type Slot } from "./shelf.ts";
import type { Store } from "./store.ts";
import type { Tensor } from "./tensors.ts";
import { refreshed } from "./tuf/refresh.ts";

export interface Options {
  /** Where the server's metadata/, targets/, models/ and reports are: https://edge.example/edge/v1/ */
  readonly url: string;
  readonly model: string;
  /** The root.json that came with the application: all trust begins with it. */
  readonly root: Bytes;
  readonly store: Store;
  readonly runtimes: Runtimes;
  readonly channel?: string;
  /** Which runtime to ask bundles for; the bundle itself says by what it is run. */
  readonly runtime?: string;
  readonly app?: string | null;
  readonly onProgress?: OnProgress;
  readonly fetch?: Fetch;
  readonly now?: () => Date;
}

/** A model that runs here and has passed its self-check here. */
export interface Installed {
  readonly slot: Slot;
  readonly bundle: Bundle;
  readonly runtime: string;
  readonly check: SelfCheck;
}

export type Outcome = "installed" | "unchanged" | "nothing";

const LATENCIES = 20; // of which one report is made for each bundle

export class EdgeModel {
  readonly #options: Options;
  readonly #network: Network;
  readonly #shelf: Shelf;
  readonly #reports: Reports;
  #active: (Installed & { readonly session: Session }) | null = null;
  #latencies: number[] = [];
  #running: Promise<unknown> = Promise.resolve();

  private constructor(options: Options) {
    this.#options = options;
    this.#network = new Network(options.url, options.fetch);
    this.#shelf = new Shelf(options.store, options.model);
    this.#reports = new Reports(options.store, this.#network);
  }

  /** With the model that was installed before, if there is one: asks no server. */
  static async open(options: Options): Promise<EdgeModel> {
    const model = new EdgeModel(options);
    await model.#takeLastGood();
    return model;
  }

  /** What runs now; null before the first `update`. */
  get current(): Installed | null {
    return this.#active;
  }

  /** What `rollback` would go back to; null where there is nothing. */
  async previous(): Promise<Slot | null> {
    return this.#shelf.previous();
  }

  /**
   * Asks the server, and installs what it offers, if all of it is right: metadata, digests, self-check. Raises
   * `Unreachable` or `Refused`; what is installed then stays, and goes on.
   */
  async update(): Promise<Outcome> {
    return exclusively(`torii-edge/${this.#options.model}`, async () => {
      try {
        return await this.#update();
      } finally {
        await this.#reports.send();
      }
    });
  }

  /**
   * The bundle's outputs, and the milliseconds that the model took. One runs at a time. Raises an error if no model is
   * installed, or if the inputs are not the model's.
   */
  async run(inputs: readonly Tensor[]): Promise<{ outputs: readonly Tensor[]; ms: number }> {
    const turn = this.#running.then(() => this.#run(inputs));
    this.#running = turn.catch(() => {});
    return turn;
  }

  /** Back to the model before. False where there is none. The one that was left is not installed again. */
  async rollback(): Promise<boolean> {
    const left = this.#active;
    const before = await this.#shelf.previous();
    if (!left || !before) return false;
    const prepared = await this.#prepare(await this.#shelf.bytes(before), before);
    await this.#shelf.rollBack(left.slot, before);
    await this.#activate(prepared);
    await this.#report(left.slot, { kind: "failed", detail: "rolled back on the device" });
    return true;
  }

  async #update(): Promise<Outcome> {
    const { root, model, channel = "stable", runtime = "onnxruntime", app = null, now = () => new Date() } = this.#options;
    const trust = await refreshed(root, this.#network, this.#options.store, now);
    const have = this.#active?.slot.sha256 ?? null;
    const id = await this.#shelf.deviceId();
    const path = await offered(this.#network, model, { channel, runtime, app, ramMb: ramMb(), id, have });
    if (path === null) return "nothing";
    const target = signedTarget(trust, path, model, app);
    const version = integer(target.custom.version, `the signed version of ${path.slice(0, 200)}`, 1);
    if (target.sha256 === have) return "unchanged";
    if (await this.#shelf.isRefused(target.sha256)) {
      throw new Refused("self-check", `${path} did not work on this device before: it is not tried again`);
    }
    const bytes = await downloaded(this.#network, target, this.#options.onProgress ?? (() => {}));
    const slot: Slot = { sha256: target.sha256, target: path, version, at: now().toISOString() };
    await this.#install(bytes, slot);
    return "installed";
  }

  async #install(bytes: Bytes, slot: Slot): Promise<void> {
    let prepared;
    try {
      prepared = await this.#prepare(bytes, slot);
    } catch (error) {
      if (error instanceof Refused) {
        await this.#report(slot, { kind: "self_check", passed: false, detail: error.message.slice(0, 500) });
        // What runs otherwise here will do so again; what lacks a runtime may have one after the page's next update.
        if (error.reason === "self-check") await this.#shelf.refuse(slot.sha256);
      }
      throw error;
    }
    await this.#shelf.install(slot, bytes);
    await this.#activate(prepared);
    await this.#report(slot, { kind: "installed" });
    await this.#report(slot, { kind: "self_check", passed: true, detail: prepared.check.detail });
  }

  /** The bundle, opened, started and checked. Raises `Refused`. */
  async #prepare(bytes: Bytes, slot: Slot): Promise<Installed & { session: Session }> {
    if ((await sha256(bytes)) !== slot.sha256) throw new Refused("tampered", `${slot.target}: what was kept is not what was signed`);
    const bundle = await openBundle(bytes);
    if (bundle.model !== this.#options.model || bundle.version !== slot.version) {
      const got = `${bundle.model}/${bundle.version}`;
      throw new Refused("tampered", `${slot.target}: expected ${this.#options.model}/${slot.version} in it, got ${got}`);
    }
    const { session, title } = await startedOrRefused(bundle, this.#options.runtimes);
    const check = await selfCheck(bundle, session);
    if (!check.passed) {
      await session.close();
      throw new Refused("self-check", `version ${bundle.version} answers otherwise here than where it was made: ${check.detail}`);
    }
    return { slot, bundle, runtime: title, check, session };
  }

  async #takeLastGood(): Promise<void> {
    for (const slot of [await this.#shelf.current(), await this.#shelf.previous()]) {
      if (!slot) continue;
      try {
        this.#active = await this.#prepare(await this.#shelf.bytes(slot), slot);
        return;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        await this.#report(slot, { kind: "failed", detail: error.message.slice(0, 500) });
      }
    }
  }

  /** The old session ends after the run that it may be in. */
  async #activate(prepared: Installed & { session: Session }): Promise<void> {
    const old = this.#active?.session;
    this.#active = prepared;
    this.#latencies = [];
    if (old) this.#running = this.#running.then(() => old.close());
  }

  async #run(inputs: readonly Tensor[]): Promise<{ outputs: readonly Tensor[]; ms: number }> {
    const active = this.#active;
    if (!active) throw new Error("no model is installed yet: update() comes first");
    const before = performance.now();
    const outputs = await active.session.run(inputs);
    const ms = performance.now() - before;
    this.#latencies.push(ms);
    if (this.#latencies.length === LATENCIES) {
      await this.#report(active.slot, { kind: "latency", latency_ms: this.#latencies.map((each) => Math.round(each * 1000) / 1000) });
    }
    return { outputs, ms };
  }

  async #report(slot: Slot, said: Pick<Report, "kind" | "passed" | "latency_ms" | "detail">): Promise<void> {
    const now = this.#options.now?.() ?? new Date();
    const id = await this.#shelf.deviceId();
    const { version, target } = slot;
    await this.#reports.add({ id, model: this.#options.model, version, target, ...said, at: Math.floor(now.getTime() / 1000) });
  }
}

/** A runtime that does not take a model has failed its self-check, as far as this device goes. */
async function startedOrRefused(bundle: Bundle, runtimes: Runtimes): Promise<{ session: Session; title: string }> {
  try {
    return await started(bundle, runtimes);
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused("self-check", `version ${bundle.version} does not load here: ${String(error).slice(0, 200)}`);
  }
}

/** As Chromium tells, rounded and 8 GiB at most; others do not. */
function ramMb(): number | null {
  const memory = (globalThis.navigator as { deviceMemory?: number } | undefined)?.deviceMemory;
  return memory ? Math.round(memory * 1024) : null;
}

/** Of all pages of this origin, one at a time updates a model. */
async function exclusively<T>(name: string, act: () => Promise<T>): Promise<T> {
  const locks = (globalThis.navigator as Navigator | undefined)?.locks;
  return locks ? ((await locks.request(name, act)) as T) : act();
}
