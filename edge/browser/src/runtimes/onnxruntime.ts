/** ONNX Runtime Web, on WebAssembly with one thread: several would need a page that is isolated from all others. */

import * as ort from "onnxruntime-web/wasm";

import type { Bundle } from "../bundle/bundle.ts";
import type { Datatype, Tensor } from "../tensors.ts";
import type { Runtime, Session } from "./runtime.ts";

const TYPES: Record<Datatype, ort.Tensor.Type> = {
  FP32: "float32", FP64: "float64", INT8: "int8", UINT8: "uint8", INT16: "int16", UINT16: "uint16",
  INT32: "int32", UINT32: "uint32", INT64: "int64", UINT64: "uint64", BOOL: "bool",
};

/** Takes `.onnx` and `.ort`. */
export function onnxRuntime(base: string): Runtime {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = { wasm: `${base}onnxruntime-${ONNXRUNTIME_VERSION}/ort-wasm-simd-threaded.wasm` };
  return { title: `ONNX Runtime Web ${ONNXRUNTIME_VERSION}`, load };
}

async function load(bundle: Bundle): Promise<Session> {
  const session = await ort.InferenceSession.create(bundle.modelBytes.slice(), { executionProviders: ["wasm"] });
  return { run: (inputs) => run(session, bundle, inputs), close: () => session.release() };
}

async function run(session: ort.InferenceSession, bundle: Bundle, inputs: readonly Tensor[]): Promise<Tensor[]> {
  const feeds: Record<string, ort.Tensor> = {};
  for (const { name, datatype, shape, data } of inputs) {
    feeds[name] = new ort.Tensor(TYPES[datatype], data as Float32Array, [...shape]);
  }
  const answers = await session.run(feeds);
  return bundle.outputs.map(({ name, datatype }) => {
    const answer = answers[name];
    if (!answer) throw new Error(`the model has no output ${name}`);
    return { name, datatype, shape: answer.dims, data: answer.data as Float32Array };
  });
}
