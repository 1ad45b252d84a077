/** A repository of the tests' own, which signs whatever a test wants signed. */

import { canonicalize } from "@tufjs/canonical-json";
import { type KeyObject, createHash, generateKeyPairSync, sign } from "node:crypto";

import { type Bytes, utf8 } from "../src/digests.ts";

export const NOW = new Date("2030-01-01T00:00:00Z");
export const LATER = "2030-02-01T00:00:00Z";

export type RoleName = "root" | "timestamp" | "snapshot" | "targets";

export class Key {
  readonly publicHex: string;
  readonly keyid: string;
  readonly #private: KeyObject;

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    this.publicHex = Buffer.from(publicKey.export({ format: "jwk" }).x as string, "base64url").toString("hex");
    this.keyid = createHash("sha256").update(this.publicHex).digest("hex");
    this.#private = privateKey;
  }

  sign(message: Uint8Array): string {
    return sign(null, message, this.#private).toString("hex");
  }
}

export function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function signed(content: object, keys: readonly Key[]): Bytes {
  const message = utf8(canonicalize(content));
  const signatures = keys.map((key) => ({ keyid: key.keyid, sig: key.sign(message) }));
  return utf8(JSON.stringify({ signatures, signed: content }));
}

/** One key a role, unless a test changes that; `files` are what a server has, by the path below /edge/v1/. */
export class Repository {
  readonly files = new Map<string, Bytes>();
  readonly keys: Record<RoleName, Key[]> = { root: [new Key()], timestamp: [new Key()], snapshot: [new Key()], targets: [new Key()] };
  readonly thresholds: Record<RoleName, number> = { root: 1, timestamp: 1, snapshot: 1, targets: 1 };
  readonly versions: Record<RoleName, number> = { root: 0, timestamp: 0, snapshot: 0, targets: 0 };
  readonly expires: Record<RoleName, string> = { root: LATER, timestamp: LATER, snapshot: LATER, targets: LATER };
  readonly targets: Record<string, object> = {};

  constructor() {
    this.writeRoot();
    this.publish();
  }

  get root(): Bytes {
    return this.files.get(`metadata/${this.versions.root}.root.json`)!;
  }

  writeRoot(signers: readonly Key[] = this.keys.root, version = this.versions.root + 1): Bytes {
    const roles = Object.keys(this.keys) as RoleName[];
    this.versions.root = version;
    const content = {
      ...this.common("root"),
      consistent_snapshot: true,
      keys: Object.fromEntries(
        roles.flatMap((role) => this.keys[role].map((key) => [key.keyid, { keytype: "ed25519", scheme: "ed25519", keyval: { public: key.publicHex } }])),
      ),
      roles: Object.fromEntries(roles.map((role) => [role, { keyids: this.keys[role].map(({ keyid }) => keyid), threshold: this.thresholds[role] }])),
    };
    const bytes = signed(content, signers);
    this.files.set(`metadata/${version}.root.json`, bytes);
    return bytes;
  }

  add(path: string, bytes: Bytes, custom: object): void {
    const cut = path.lastIndexOf("/") + 1;
    this.targets[path] = { length: bytes.length, hashes: { sha256: digest(bytes) }, custom };
    this.files.set(`targets/${path.slice(0, cut)}${digest(bytes)}.${path.slice(cut)}`, bytes);
    this.publish();
  }

  publish(): void {
    this.versions.targets += 1;
    this.files.set(`metadata/${this.versions.targets}.targets.json`, signed({ ...this.common("targets"), targets: this.targets }, this.keys.targets));
    this.writeSnapshot();
  }

  writeSnapshot(targetsVersion = this.versions.targets): void {
    this.versions.snapshot += 1;
    const content = { ...this.common("snapshot"), meta: { "targets.json": this.meta("targets", targetsVersion) } };
    this.files.set(`metadata/${this.versions.snapshot}.snapshot.json`, signed(content, this.keys.snapshot));
    this.writeTimestamp();
  }

  writeTimestamp(snapshotVersion = this.versions.snapshot): void {
    this.versions.timestamp += 1;
    const content = { ...this.common("timestamp"), meta: { "snapshot.json": this.meta("snapshot", snapshotVersion) } };
    this.files.set("metadata/timestamp.json", signed(content, this.keys.timestamp));
  }

  common(role: RoleName): object {
    return { _type: role, spec_version: "1.0.31", version: this.versions[role], expires: this.expires[role] };
  }

  private meta(role: RoleName, version: number): object {
    const bytes = this.files.get(`metadata/${version}.${role}.json`) ?? new Uint8Array();
    return { version, length: bytes.length, hashes: { sha256: digest(bytes) } };
  }
}
