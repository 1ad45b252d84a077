/** A bundle: a model with what is needed to run it, to name its answers and to check that it answers right. */

import { type Bytes, sha256 } from "../digests.ts";
import { Refused } from "../errors.ts";
import { integer, number, own, parsed, record, list, sha256Hex, shown, text } from "../shapes.ts";
import { type Tensor, type TensorInfo, readInfo, readTensor } from "../tensors.ts";
import { entriesOf } from "./zip.ts";

export interface Golden {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly tolerance: { readonly maxAbs: number; readonly argmax: number };
}

export interface Bundle {
  readonly model: string;
  readonly version: number;
  /** "onnxruntime", "tflite" */
  readonly runtime: string;
  readonly precision: string;
  readonly modelFile: string;
  readonly modelBytes: Bytes;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  /** One for each value along an output's last axis; null where the bundle has none. */
  readonly labels: readonly string[] | null;
  /** What it answered where it was made, and how near this device has to come; null where nobody had data. */
  readonly golden: Golden | null;
}

/** Raises `Refused` unless the archive's files are those of its manifest, byte for byte. */
export async function openBundle(archive: Bytes): Promise<Bundle> {
  const files = entriesOf(archive);
  const manifest = record(parsed(fileOf(files, "manifest.json"), "manifest.json"), "manifest.json");
  if (manifest.schema !== 1) throw new Refused("unsupported", `manifest.json: expected schema 1, got ${shown(manifest.schema)}`);
  await checkFiles(files, manifest.files);

  const modelFile = text(manifest.model_file, "manifest.model_file");
  const labels = manifest.labels ?? null;
  return {
    model: text(manifest.model, "manifest.model"),
    version: integer(manifest.version, "manifest.version", 1),
    runtime: text(manifest.runtime, "manifest.runtime"),
    precision: text(manifest.precision, "manifest.precision"),
    modelFile,
    modelBytes: fileOf(files, modelFile),
    inputs: list(manifest.inputs, "manifest.inputs").map((each) => readInfo(each, "manifest.inputs[]")),
    outputs: list(manifest.outputs, "manifest.outputs").map((each) => readInfo(each, "manifest.outputs[]")),
    labels: labels === null ? null : linesOf(fileOf(files, text(labels, "manifest.labels"))),
    golden: manifest.golden === null ? null : readGolden(fileOf(files, text(manifest.golden, "manifest.golden")), manifest.tolerance),
  };
}

function readGolden(bytes: Bytes, near: unknown): Golden {
  const golden = record(parsed(bytes, "golden.json"), "golden.json");
  const tolerance = record(near, "manifest.tolerance");
  return {
    inputs: list(golden.inputs, "golden.inputs").map((each) => readTensor(each, "golden.inputs[]")),
    outputs: list(golden.outputs, "golden.outputs").map((each) => readTensor(each, "golden.outputs[]")),
    tolerance: { maxAbs: number(tolerance.max_abs, "tolerance.max_abs"), argmax: number(tolerance.argmax, "tolerance.argmax") },
  };
}

async function checkFiles(files: Map<string, Bytes>, listed: unknown): Promise<void> {
  const promised = record(listed, "manifest.files");
  for (const name of Object.keys(promised)) {
    if (!files.has(name)) throw new Refused("tampered", `the bundle lacks ${name.slice(0, 100)}, which its manifest names`);
  }
  for (const [name, bytes] of files) {
    if (name === "manifest.json") continue;
    const promise = own(promised, name);
    if (promise === undefined) throw new Refused("tampered", `the bundle has ${name}, which its manifest does not name`);
    const { sha256: digest, bytes: length } = record(promise, `manifest.files[${name}]`);
    const right = bytes.length === length && (await sha256(bytes)) === sha256Hex(digest, `manifest.files[${name}].sha256`);
    if (!right) throw new Refused("tampered", `the bundle's ${name} is not what its manifest says`);
  }
}

function fileOf(files: Map<string, Bytes>, name: string): Bytes {
  const found = files.get(name);
  if (!found) throw new Refused("malformed", `the bundle has no ${name.slice(0, 100)}`);
  return found;
}

function linesOf(bytes: Bytes): string[] {
  return new TextDecoder().decode(bytes).replace(/\r?\n$/, "").split(/\r?\n/);
}
