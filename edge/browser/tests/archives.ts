/** Zips as the tests want them, and bundles in them. */

import { type Bytes, utf8 } from "../src/digests.ts";
import { digest } from "./repository.ts";

export interface Entry {
  readonly name: string;
  readonly bytes: Bytes;
  readonly method?: number;
  readonly flags?: number;
  readonly mode?: number;
  readonly localName?: string;
}

export function zip(entries: readonly Entry[]): Bytes {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, bytes, method = 0, flags = 0, mode = 0o100644, localName = name } of entries) {
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt32LE(bytes.length, 18);
    local.writeUInt32LE(bytes.length, 22);
    local.writeUInt16LE(Buffer.byteLength(localName), 26);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(flags, 8);
    central.writeUInt16LE(method, 10);
    central.writeUInt32LE(bytes.length, 20);
    central.writeUInt32LE(bytes.length, 24);
    central.writeUInt16LE(Buffer.byteLength(name), 28);
    central.writeUInt32LE((mode << 16) >>> 0, 38);
    central.writeUInt32LE(at, 42);
    parts.push(local, Buffer.from(localName), Buffer.from(bytes));
    directory.push(central, Buffer.from(name));
    at += 30 + Buffer.byteLength(localName) + bytes.length;
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(Buffer.concat(directory).length, 12);
  end.writeUInt32LE(at, 16);
  return new Uint8Array(Buffer.concat([...parts, ...directory, end]));
}

/** A bundle whose model is one number, which the fake runtime adds to its input; golden data say that it is 1. */
export function bundle({ version = 1, adds = 1, model = "m", runtime = "fake", manifest = {} as object, golden: first = {} as object, extra = [] as Entry[] } = {}): Bytes {
  const info = { name: "x", datatype: "FP32", shape: [2, 2] };
  const golden = { inputs: [{ ...info, data: [1, 5, 7, 2], ...first }], outputs: [{ ...info, name: "y", data: [2, 6, 8, 3] }] };
  const files: Entry[] = [
    { name: "golden.json", bytes: utf8(JSON.stringify(golden)) },
    { name: "model.bin", bytes: utf8(String(adds)) },
  ];
  const listed = Object.fromEntries(files.map(({ name, bytes }) => [name, { sha256: digest(bytes), bytes: bytes.length }]));
  const written = {
    schema: 1, model, version, target: "browser", runtime, precision: "fp32", model_file: "model.bin", files: listed,
    inputs: [info], outputs: [{ ...info, name: "y" }], labels: null, golden: "golden.json",
    tolerance: { max_abs: 0.01, argmax: 1 }, licence: null, min_app: null, ...manifest,
  };
  return zip([...files, { name: "manifest.json", bytes: utf8(JSON.stringify(written)) }, ...extra]);
}
