/** What runs a model: one of two runtimes, each in a file of its own that is fetched when a bundle needs it. */

import type { Bundle } from "../bundle/bundle.ts";
import { Refused } from "../errors.ts";
import type { Tensor } from "../tensors.ts";

export interface Session {
  /** Outputs by the names of the bundle's manifest. */
  run(inputs: readonly Tensor[]): Promise<readonly Tensor[]>;
  close(): Promise<void>;
}

export interface Runtime {
  /** As people know it, with its version. */
  readonly title: string;
  load(bundle: Bundle): Promise<Session>;
}

/** Runtimes by the names that bundles have for them. */
export type Runtimes = Readonly<Record<string, () => Promise<Runtime>>>;

/** `base`: where the built `runtimes/` folder is served, ending in a slash. */
export function bundledRuntimes(base: string): Runtimes {
  return {
    onnxruntime: async () => (await import("./onnxruntime.ts")).onnxRuntime(base),
    tflite: async () => (await import("./litert.ts")).liteRt(base),
  };
}

/** Raises `Refused` if there is no such runtime, or if it does not take this model. */
export async function started(bundle: Bundle, runtimes: Runtimes): Promise<{ session: Session; title: string }> {
  const make = Object.hasOwn(runtimes, bundle.runtime) ? runtimes[bundle.runtime] : undefined;
  if (!make) {
    const known = Object.keys(runtimes).join(", ");
    throw new Refused("unsupported", `the bundle needs the runtime ${bundle.runtime.slice(0, 40)}; here are ${known}`);
  }
  const runtime = await make();
  return { session: await runtime.load(bundle), title: runtime.title };
}
