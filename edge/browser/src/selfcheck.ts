/** Whether a model answers here as it did where it was made. */

import type { Bundle } from "./bundle/bundle.ts";
import type { Session } from "./runtimes/runtime.ts";
import type { Data, Tensor } from "./tensors.ts";

export interface SelfCheck {
  readonly passed: boolean;
  readonly maxAbs: number;
  /** The part of the rows (along all axes but the last) whose largest value is at the same place. */
  readonly argmax: number;
  readonly detail: string;
}

export async function selfCheck(bundle: Bundle, session: Session): Promise<SelfCheck> {
  if (!bundle.golden) return { passed: true, maxAbs: 0, argmax: 1, detail: "it loads; the bundle has no golden data" };
  let got: readonly Tensor[];
  try {
    got = await session.run(bundle.golden.inputs);
  } catch (error) {
    return { passed: false, maxAbs: Infinity, argmax: 0, detail: `the model does not run: ${String(error).slice(0, 200)}` };
  }
  return compared(bundle.golden.outputs, got, bundle.golden.tolerance);
}

export function compared(expected: readonly Tensor[], got: readonly Tensor[], tolerance: { maxAbs: number; argmax: number }): SelfCheck {
  let [maxAbs, rows, agreeing] = [0, 0, 0];
  for (const wanted of expected) {
    const found = got.find((each) => each.name === wanted.name);
    if (!found || found.shape.join() !== wanted.shape.join()) {
      const shape = found ? `[${found.shape.join(", ")}]` : "none";
      return { passed: false, maxAbs: Infinity, argmax: 0, detail: `${wanted.name}: expected [${wanted.shape.join(", ")}], got ${shape}` };
    }
    maxAbs = Math.max(maxAbs, largestDifference(wanted.data, found.data));
    const width = wanted.shape.at(-1) ?? 1;
    if (width < 2) continue;
    for (let at = 0; at < wanted.data.length; at += width) {
      rows += 1;
      if (argmax(wanted.data, at, width) === argmax(found.data, at, width)) agreeing += 1;
    }
  }
  const agreement = rows === 0 ? 1 : agreeing / rows;
  const passed = maxAbs <= tolerance.maxAbs && agreement >= tolerance.argmax;
  const detail = `largest difference ${maxAbs.toExponential(1)} (at most ${tolerance.maxAbs}), argmax of ${agreeing} of ${rows} rows`;
  return { passed, maxAbs, argmax: agreement, detail };
}

/** Infinity where one of them is not a number: NaN is never near anything. */
function largestDifference(one: Data, other: Data): number {
  let largest = 0;
  for (let index = 0; index < one.length; index += 1) {
    const difference = Math.abs(Number(one[index]) - Number(other[index]));
    largest = Number.isNaN(difference) ? Infinity : Math.max(largest, difference);
  }
  return largest;
}

export function argmax(data: Data, at = 0, width = data.length): number {
  let best = at;
  for (let index = at + 1; index < at + width; index += 1) {
    if ((data[index] ?? 0) > (data[best] ?? 0)) best = index;
  }
  return best - at;
}
