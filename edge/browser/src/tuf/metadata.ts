/** TUF's four roles as plain data, read strictly (specification 1.0). */

import { Refused } from "../errors.ts";
import { type Json, integer, list, parsed, record, sha256Hex, shown, text } from "../shapes.ts";

export type RoleName = "root" | "timestamp" | "snapshot" | "targets";

export interface Key {
  readonly keytype: string;
  readonly scheme: string;
  readonly publicHex: string;
}

export interface Role {
  readonly keyids: readonly string[];
  readonly threshold: number;
}

/** What one metadata file says of another. */
export interface FileMeta {
  readonly version: number;
  readonly length: number | null;
  readonly sha256: string | null;
}

export interface TargetFile {
  readonly path: string;
  readonly length: number;
  readonly sha256: string;
  readonly custom: Json;
}

interface Signed {
  readonly version: number;
  readonly expires: Date;
}

export interface Root extends Signed {
  readonly consistentSnapshot: boolean;
  readonly keys: ReadonlyMap<string, Key>;
  readonly roles: Readonly<Record<RoleName, Role>>;
}

export interface Timestamp extends Signed {
  readonly snapshot: FileMeta;
}

export interface Snapshot extends Signed {
  readonly meta: ReadonlyMap<string, FileMeta>;
}

export interface Targets extends Signed {
  readonly targets: ReadonlyMap<string, TargetFile>;
}

/** A file before its signatures were looked at: nothing in `signed` is to be believed yet. */
export interface Envelope {
  readonly signed: Json;
  readonly signatures: readonly { readonly keyid: string; readonly signatureHex: string }[];
}

export function envelope(bytes: Uint8Array, name: RoleName): Envelope {
  const whole = record(parsed(bytes, name), name);
  const signatures = list(whole.signatures, `${name}.signatures`).map((each) => {
    const one = record(each, `${name}.signatures[]`);
    return { keyid: text(one.keyid, `${name}.signatures[].keyid`), signatureHex: text(one.sig, `${name}.signatures[].sig`) };
  });
  return { signed: record(whole.signed, `${name}.signed`), signatures };
}

export function readRoot(signed: Json): Root {
  const base = common(signed, "root");
  const keys = new Map<string, Key>();
  for (const [keyid, value] of Object.entries(record(signed.keys, "root.keys"))) {
    const key = record(value, "root.keys{}");
    keys.set(keyid, {
      keytype: text(key.keytype, "root.keys{}.keytype"),
      scheme: text(key.scheme, "root.keys{}.scheme"),
      publicHex: text(record(key.keyval, "root.keys{}.keyval").public, "root.keys{}.keyval.public"),
    });
  }
  const named = record(signed.roles, "root.roles");
  const roles = {
    root: readRole(named.root, "root"),
    timestamp: readRole(named.timestamp, "timestamp"),
    snapshot: readRole(named.snapshot, "snapshot"),
    targets: readRole(named.targets, "targets"),
  };
  return { ...base, consistentSnapshot: signed.consistent_snapshot === true, keys, roles };
}

export function readTimestamp(signed: Json): Timestamp {
  const base = common(signed, "timestamp");
  const meta = record(signed.meta, "timestamp.meta");
  return { ...base, snapshot: readFileMeta(meta["snapshot.json"], "timestamp.meta") };
}

export function readSnapshot(signed: Json): Snapshot {
  const base = common(signed, "snapshot");
  const meta = new Map<string, FileMeta>();
  for (const [name, value] of Object.entries(record(signed.meta, "snapshot.meta"))) {
    meta.set(name, readFileMeta(value, `snapshot.meta[${name}]`));
  }
  if (!meta.has("targets.json")) throw new Refused("malformed", "snapshot.meta: expected targets.json, got none");
  return { ...base, meta };
}

export function readTargets(signed: Json): Targets {
  const base = common(signed, "targets");
  const targets = new Map<string, TargetFile>();
  for (const [path, value] of Object.entries(record(signed.targets, "targets.targets"))) {
    const file = record(value, `targets[${path}]`);
    targets.set(path, {
      path,
      length: integer(file.length, `targets[${path}].length`),
      sha256: sha256Hex(record(file.hashes, `targets[${path}].hashes`).sha256, `targets[${path}].hashes.sha256`),
      custom: file.custom === undefined ? {} : record(file.custom, `targets[${path}].custom`),
    });
  }
  return { ...base, targets };
}

function common(signed: Json, name: RoleName): Signed {
  if (signed._type !== name) throw new Refused("malformed", `${name}: expected the type ${name}, got ${shown(signed._type)}`);
  if (!/^1(\.|$)/.test(text(signed.spec_version, `${name}.spec_version`))) {
    throw new Refused("unsupported", `${name}: expected TUF 1.x, got ${shown(signed.spec_version)}`);
  }
  const expires = text(signed.expires, `${name}.expires`);
  const moment = new Date(expires);
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(expires) || Number.isNaN(moment.getTime())) {
    throw new Refused("malformed", `${name}.expires: expected a time as 2030-01-31T00:00:00Z, got ${expires.slice(0, 40)}`);
  }
  return { version: integer(signed.version, `${name}.version`, 1), expires: moment };
}

function readRole(value: unknown, name: RoleName): Role {
  const role = record(value, `root.roles.${name}`);
  const keyids = list(role.keyids, `root.roles.${name}.keyids`).map((each) => text(each, `root.roles.${name}.keyids[]`));
  return { keyids: [...new Set(keyids)], threshold: integer(role.threshold, `root.roles.${name}.threshold`, 1) };
}

function readFileMeta(value: unknown, what: string): FileMeta {
  const meta = record(value, what);
  const hashes = meta.hashes === undefined ? null : record(meta.hashes, `${what}.hashes`);
  return {
    version: integer(meta.version, `${what}.version`, 1),
    length: meta.length === undefined ? null : integer(meta.length, `${what}.length`),
    sha256: hashes === null ? null : sha256Hex(hashes.sha256, `${what}.hashes.sha256`),
  };
}
