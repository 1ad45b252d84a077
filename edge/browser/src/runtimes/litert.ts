/** LiteRT.js, on WebAssembly with one thread. */

import { type CompiledModel, type LiteRt, Tensor as LiteRtTensor, getGlobalLiteRtPromise, loadLiteRt } from "@litertjs/core";

import type { Bundle } from "../bundle/bundle.ts";
import { Refused } from "../errors.ts";
import type { Tensor } from "../tensors.ts";
import type { Runtime, Session } from "./runtime.ts";

const DATATYPES = ["FP32", "INT32", "UINT8"]; // that LiteRT.js has tensors of

/** Takes `.tflite`. */
export async function liteRt(base: string): Promise<Runtime> {
  const loaded = await (getGlobalLiteRtPromise() ?? loadLiteRt(`${base}litert-${LITERT_VERSION}/`));
  return { title: `LiteRT.js ${LITERT_VERSION}`, load: (bundle) => load(loaded, bundle) };
}

async function load(loaded: LiteRt, bundle: Bundle): Promise<Session> {
  const unknown = [...bundle.inputs, ...bundle.outputs].find(({ datatype }) => !DATATYPES.includes(datatype));
  if (unknown) {
    throw new Refused("unsupported", `${unknown.name}: LiteRT.js has no tensors of ${unknown.datatype}, only of ${DATATYPES.join(", ")}`);
  }
  const model = await loaded.loadAndCompile(bundle.modelBytes.slice(), { accelerator: "wasm" });
  const open = model.getInputDetails().find(({ shape }) => shape.includes(-1));
  if (open) {
    model.delete();
    throw new Refused("unsupported", `${open.name} has the shape [${open.shape.join(", ")}], and LiteRT.js runs fixed ones only: export the model with --batch 1`);
  }
  return { run: (inputs) => run(model, bundle, inputs), close: async () => model.delete() };
}

async function run(model: CompiledModel, bundle: Bundle, inputs: readonly Tensor[]): Promise<Tensor[]> {
  const given: Record<string, LiteRtTensor> = {};
  const made: LiteRtTensor[] = [];
  try {
    for (const { name, shape, data } of inputs) {
      made.push((given[name] = new LiteRtTensor(data as Float32Array, [...shape])));
    }
    const answers = await model.run(given);
    made.push(...Object.values(answers));
    return bundle.outputs.map(({ name, datatype }) => {
      const answer = answers[name];
      if (!answer) throw new Error(`the model has no output ${name}`);
      return { name, datatype, shape: [...answer.type.layout.dimensions], data: answer.toTypedArray() as Float32Array };
    });
  } finally {
    for (const tensor of made) tensor.delete(); // their memory is WebAssembly's, which collects no garbage
  }
}
