/** Bundles: what is read of one, and what a hostile one does not get through. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { openBundle } from "../src/bundle/bundle.ts";
import { entriesOf } from "../src/bundle/zip.ts";
import { type Bytes, utf8 } from "../src/digests.ts";
import { Refused } from "../src/errors.ts";
import { compared } from "../src/selfcheck.ts";
import type { Tensor } from "../src/tensors.ts";
import { type Entry, bundle, zip } from "./archives.ts";

const FILE: Entry = { name: "a.txt", bytes: utf8("hello") };

test("files that are stored are read, and are views of the archive", () => {
  const archive = zip([FILE, { name: "sub/b.txt", bytes: utf8("") }]);
  const found = entriesOf(archive);
  assert.deepEqual([...found.keys()], ["a.txt", "sub/b.txt"]);
  assert.equal(new TextDecoder().decode(found.get("a.txt")), "hello");
  assert.equal(found.get("a.txt")?.buffer, archive.buffer);
});

const patched = (change: (view: DataView, archive: Bytes) => void): Bytes => {
  const archive = zip([FILE]);
  change(new DataView(archive.buffer), archive);
  return archive;
};
const END = zip([FILE]).length - 22;
const DIRECTORY = 30 + FILE.name.length + FILE.bytes.length;

const HOSTILE: Record<string, [Bytes, RegExp]> = {
  "a name that leads out": [zip([{ ...FILE, name: "../a.txt" }]), /not a name/],
  "an absolute name": [zip([{ ...FILE, name: "/etc/passwd" }]), /not a name/],
  "a name of Windows": [zip([{ ...FILE, name: "..\\a.txt" }]), /not a name/],
  "a hidden name": [zip([{ ...FILE, name: ".htaccess" }]), /not a name/],
  "a folder": [zip([{ name: "a/", bytes: utf8("") }]), /not a name/],
  "a name with a NUL": [zip([{ ...FILE, name: "a\0b" }]), /not a name/],
  "a name that comes twice": [zip([FILE, FILE]), /twice/],
  "a symbolic link": [zip([{ ...FILE, mode: 0o120777 }]), /link/],
  "a device": [zip([{ ...FILE, mode: 0o020666 }]), /not a file/],
  "compression, and with it bombs": [zip([{ ...FILE, method: 8 }]), /compressed/],
  "encryption": [zip([{ ...FILE, flags: 1 }]), /encrypted/],
  "another name in front of the content": [zip([{ ...FILE, localName: "b.txt" }]), /another name/],
  "a size beyond the archive": [patched((view) => { view.setUint32(DIRECTORY + 20, 9e8, true); view.setUint32(DIRECTORY + 24, 9e8, true); }), /cut off/],
  "a size that overlaps the directory": [patched((view) => { view.setUint32(DIRECTORY + 20, 6, true); view.setUint32(DIRECTORY + 24, 6, true); }), /cut off/],
  "bytes between the entries": [patched((view) => { view.setUint32(DIRECTORY + 20, 4, true); view.setUint32(DIRECTORY + 24, 4, true); }), /belong to no entry/],
  "an entry that begins elsewhere": [patched((view) => view.setUint32(DIRECTORY + 42, 1, true)), /is not where/],
  "a directory that is elsewhere": [patched((view) => view.setUint32(END + 16, 3, true)), /directory is not where/],
  "fewer entries than it says": [patched((view) => { view.setUint16(END + 8, 2, true); view.setUint16(END + 10, 2, true); }), /directory is cut off/],
  "more entries than it says": [patched((view) => { view.setUint16(END + 8, 0, true); view.setUint16(END + 10, 0, true); }), /belong to no entry/],
  "a hundred thousand entries": [patched((view) => { view.setUint16(END + 8, 65_535, true); view.setUint16(END + 10, 65_535, true); }), /256 entries at most/],
  "something that is no zip": [utf8("PK?"), /does not end/],
  "a comment": [Uint8Array.from([...zip([FILE]), 1]), /does not end/],
};

for (const [what, [archive, words]] of Object.entries(HOSTILE)) {
  test(`a bundle with ${what} is refused`, () => {
    assert.throws(() => entriesOf(archive), (error) => error instanceof Refused && words.test(error.message));
  });
}

test("every single byte that is cut off is missed", () => {
  const archive = zip([FILE]);
  for (let length = 0; length < archive.length; length += 1) assert.throws(() => entriesOf(archive.slice(0, length)), Refused);
});

test("a bundle is read, with its golden data as typed arrays", async () => {
  const found = await openBundle(bundle({ version: 7 }));
  assert.deepEqual([found.model, found.version, found.runtime, found.labels], ["m", 7, "fake", null]);
  assert.deepEqual(found.golden?.inputs[0]?.data, Float32Array.of(1, 5, 7, 2));
  assert.deepEqual(found.golden?.tolerance, { maxAbs: 0.01, argmax: 1 });
});

test("a bundle may be without golden data", async () => {
  assert.equal((await openBundle(bundle({ manifest: { golden: null, tolerance: null } }))).golden, null);
});

const GOLDEN_BYTES = entriesOf(bundle()).get("golden.json")!.length;

const WRONG: Record<string, [Bytes, RegExp]> = {
  "a file that the manifest does not name": [bundle({ extra: [FILE] }), /does not name/],
  "a file less than the manifest names": [bundle({ manifest: { files: { "x.bin": {} } } }), /lacks x.bin/],
  "a file of another digest": [bundle({ manifest: { files: { "golden.json": { sha256: "0".repeat(64), bytes: GOLDEN_BYTES }, "model.bin": {} } } }), /golden.json is not what/],
  "a newer schema": [bundle({ manifest: { schema: 2 } }), /expected schema 1, got 2/],
  "a model file that is not there": [bundle({ manifest: { model_file: "__proto__" } }), /no __proto__/],
  "a version that is none": [bundle({ manifest: { version: "1" } }), /manifest.version: expected an integer/],
  "a schema that is no plain value": [bundle({ manifest: { schema: { toString: 1, valueOf: 1 } } }), /expected schema 1, got an object/],
  "golden integers that are none": [bundle({ golden: { name: "x", datatype: "INT64", shape: [2], data: [1, 1.5] } }), /expected integers for INT64/],
  "a datatype that browsers lack": [bundle({ manifest: { inputs: [{ name: "x", datatype: "BYTES", shape: [1] }] } }), /BYTES is not known/],
};

for (const [what, [archive, words]] of Object.entries(WRONG)) {
  test(`a bundle with ${what} is refused`, async () => {
    await assert.rejects(openBundle(archive), (error) => error instanceof Refused && words.test(error.message));
  });
}

test("answers pass only if they are near enough, and best at the same places", () => {
  const tensor = (...data: number[]): Tensor => ({ name: "y", datatype: "FP32", shape: [1, data.length], data: Float32Array.from(data) });
  const near = { maxAbs: 0.1, argmax: 1 };
  assert.equal(compared([tensor(0.5, 0.4)], [tensor(0.51, 0.41)], near).passed, true);
  assert.equal(compared([tensor(0.5, 0.4)], [tensor(0.7, 0.4)], near).passed, false);
  assert.equal(compared([tensor(0.5, 0.45)], [tensor(0.45, 0.5)], near).passed, false);
  assert.equal(compared([tensor(0.5, 0.45)], [tensor(0.45, 0.5)], { maxAbs: 0.1, argmax: 0 }).passed, true);
  assert.equal(compared([tensor(0.5, 0.4)], [tensor(NaN, 0.4)], near).passed, false);
  assert.equal(compared([tensor(0.5, 0.4)], [tensor(0.4, NaN)], { maxAbs: 9, argmax: 0 }).passed, false);
  assert.equal(compared([tensor(0.5, 0.4)], [tensor(0.5, 0.4, 0.1)], near).passed, false);
  assert.equal(compared([tensor(0.5, 0.4)], [], near).passed, false);
});
