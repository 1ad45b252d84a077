/** Tensors as bundles and runtimes have them: V2's names of datatypes, row-major data. */

import { Refused } from "./errors.ts";
import { integer, list, record, text } from "./shapes.ts";

const ARRAYS = {
  FP32: Float32Array,
  FP64: Float64Array,
  INT8: Int8Array,
  UINT8: Uint8Array,
  INT16: Int16Array,
  UINT16: Uint16Array,
  INT32: Int32Array,
  UINT32: Uint32Array,
  INT64: BigInt64Array,
  UINT64: BigUint64Array,
  BOOL: Uint8Array,
} as const;

export type Datatype = keyof typeof ARRAYS;
export type Data = InstanceType<(typeof ARRAYS)[Datatype]>;

export interface Tensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: Data;
}

export interface TensorInfo {
  readonly name: string;
  readonly datatype: Datatype;
  /** -1 where any size will do. */
  readonly shape: readonly number[];
}

export function readInfo(value: unknown, what: string): TensorInfo {
  const info = record(value, what);
  const datatype = text(info.datatype, `${what}.datatype`);
  if (!Object.hasOwn(ARRAYS, datatype)) throw new Refused("unsupported", `${what}: ${datatype} is not known in browsers`);
  const shape = list(info.shape, `${what}.shape`).map((size) => integer(size, `${what}.shape[]`, -1));
  return { name: text(info.name, `${what}.name`), datatype: datatype as Datatype, shape };
}

export function readTensor(value: unknown, what: string): Tensor {
  const info = readInfo(value, what);
  const data = list(record(value, what).data, `${what}.data`);
  if (data.length !== sizeOf(info.shape)) {
    throw new Refused("malformed", `${what}: expected ${sizeOf(info.shape)} values for [${info.shape.join(", ")}], got ${data.length}`);
  }
  if (!data.every((each) => typeof each === "number" || typeof each === "boolean")) {
    throw new Refused("malformed", `${what}.data: expected numbers`);
  }
  const values = data.map(Number);
  if (info.datatype.endsWith("INT64") && !values.every(Number.isInteger)) {
    throw new Refused("malformed", `${what}.data: expected integers for ${info.datatype}`);
  }
  return { ...info, data: dataOf(info.datatype, values) };
}

export function dataOf(datatype: Datatype, values: readonly number[]): Data {
  if (datatype === "INT64") return BigInt64Array.from(values, (value) => BigInt(value));
  if (datatype === "UINT64") return BigUint64Array.from(values, (value) => BigInt(value));
  return ARRAYS[datatype].from(values);
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
