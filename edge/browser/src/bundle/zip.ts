/** The files of a zip whose entries are stored, not deflated; anything cleverer than that is refused. */

import type { Bytes } from "../digests.ts";
import { Refused } from "../errors.ts";

const MOST_ENTRIES = 256;
const END_BYTES = 22;
const CENTRAL_BYTES = 46;
const LOCAL_BYTES = 30;
const END = 0x06054b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const ENCRYPTED = 0x0001;
const LENGTHS_LATER = 0x0008;
const UNIX_KIND = 0o170000;
const UNIX_FILE = 0o100000;
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(\/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}){0,3}$/;

/**
 * Views of the archive's own bytes, by name: nothing is unpacked, so nothing can grow. Refused are compressed, encrypted,
 * overlapping and repeated entries, links and other things that are not files, names that would lead elsewhere, zip64,
 * comments, and bytes that belong to no entry's header, name or content.
 */
export function entriesOf(archive: Bytes): Map<string, Bytes> {
  const view = new DataView(archive.buffer, archive.byteOffset, archive.byteLength);
  const end = archive.length - END_BYTES;
  if (end < 0 || view.getUint32(end, true) !== END) throw wrong("it does not end as a zip without a comment does");
  const count = view.getUint16(end + 10, true);
  const start = view.getUint32(end + 16, true);
  if (count !== view.getUint16(end + 8, true) || view.getUint32(end + 4, true) !== 0) throw wrong("it has several disks");
  if (count > MOST_ENTRIES) throw wrong(`expected ${MOST_ENTRIES} entries at most, got ${count}`);
  if (start + view.getUint32(end + 12, true) !== end) throw wrong("its directory is not where it says");

  const found = new Map<string, Bytes>();
  let [directory, content] = [start, 0];
  for (let entry = 0; entry < count; entry += 1) {
    if (directory + CENTRAL_BYTES > end || view.getUint32(directory, true) !== CENTRAL) throw wrong("its directory is cut off");
    const { name, bytes, next } = entryOf(archive, view, directory, content, start);
    if (found.has(name)) throw wrong(`${name} is there twice`);
    found.set(name, bytes);
    directory += CENTRAL_BYTES + view.getUint16(directory + 28, true) + view.getUint16(directory + 30, true);
    content = next;
  }
  if (directory !== end || content !== start) throw wrong("it has bytes that belong to no entry");
  return found;
}

/** One entry, whose content has to begin where the content before it ended, at `at`. */
function entryOf(archive: Bytes, view: DataView, directory: number, at: number, limit: number): { name: string; bytes: Bytes; next: number } {
  const nameLength = view.getUint16(directory + 28, true);
  const name = nameAt(archive, directory + CENTRAL_BYTES, nameLength);
  const [flags, method] = [view.getUint16(directory + 8, true), view.getUint16(directory + 10, true)];
  const [packed, size] = [view.getUint32(directory + 20, true), view.getUint32(directory + 24, true)];
  const kind = (view.getUint32(directory + 38, true) >>> 16) & UNIX_KIND;
  if (flags & (ENCRYPTED | LENGTHS_LATER)) throw wrong(`${name} is encrypted, or of unknown length`);
  if (method !== 0 || packed !== size) throw wrong(`${name} is compressed; expected it stored`);
  if (kind !== 0 && kind !== UNIX_FILE) throw wrong(`${name} is a link, or something else that is not a file`);
  if (view.getUint16(directory + 32, true) !== 0) throw wrong(`${name} has a comment`);
  if (view.getUint32(directory + 42, true) !== at) throw wrong(`${name} is not where the entry before it ends`);

  if (at + LOCAL_BYTES + nameLength > limit || view.getUint32(at, true) !== LOCAL) throw wrong(`${name} is cut off`);
  const same = view.getUint16(at + 26, true) === nameLength && nameAt(archive, at + LOCAL_BYTES, nameLength) === name;
  if (!same) throw wrong(`${name} has another name in front of its content`);
  const begin = at + LOCAL_BYTES + nameLength + view.getUint16(at + 28, true);
  if (begin + size > limit) throw wrong(`${name} is cut off`);
  return { name, bytes: archive.subarray(begin, begin + size), next: begin + size };
}

function nameAt(archive: Bytes, at: number, length: number): string {
  const name = String.fromCharCode(...archive.subarray(at, at + length));
  if (!NAME.test(name)) throw wrong(`${JSON.stringify(name.slice(0, 80))} is not a name that a bundle's file may have`);
  return name;
}

function wrong(message: string): Refused {
  return new Refused("malformed", `the bundle is refused: ${message}`);
}
