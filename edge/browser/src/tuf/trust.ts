/** What is trusted, and what it takes to be trusted next: TUF's client workflow without network and storage. */

import { canonicalize } from "@tufjs/canonical-json";

import { type Bytes, fromHex, sha256, utf8 } from "../digests.ts";
import { Refused } from "../errors.ts";
import { type Verify, verifyEd25519 } from "../signatures.ts";
import {
  type Envelope, type FileMeta, type RoleName, type Root, type Snapshot, type TargetFile, type Targets, type Timestamp,
  envelope, readRoot, readSnapshot, readTargets, readTimestamp,
} from "./metadata.ts";

/**
 * Metadata comes in TUF's order: roots, timestamp, snapshot, targets. Each `take…` raises `Refused`, and then leaves
 * what was trusted before as it was. What was kept from an earlier visit goes the same way, with `kept`: by the root of
 * today it is verified anew, and what today's keys did not sign is forgotten, which is how a rotation ends an attack.
 */
export class Trust {
  #root: Root;
  #timestamp: Timestamp | null = null;
  #snapshot: Snapshot | null = null;
  #targets: Targets | null = null;
  readonly #now: () => Date;
  readonly #verify: Verify;

  private constructor(root: Root, now: () => Date, verify: Verify) {
    this.#root = root;
    this.#now = now;
    this.#verify = verify;
  }

  /** From a root that is trusted because the application came with it, or because it followed from that one. */
  static async from(rootBytes: Bytes, now: () => Date = () => new Date(), verify: Verify = verifyEd25519): Promise<Trust> {
    const file = envelope(rootBytes, "root");
    const root = readRoot(file.signed);
    await checkSignatures(file, "root", root, verify);
    return new Trust(root, now, verify);
  }

  get rootVersion(): number {
    return this.#root.version;
  }

  get timestampVersion(): number | null {
    return this.#timestamp?.version ?? null;
  }

  /** The next root: signed by enough keys of the one before, and by enough of its own. It may be expired: others may follow. */
  async takeRoot(bytes: Bytes): Promise<void> {
    const file = envelope(bytes, "root");
    await checkSignatures(file, "root", this.#root, this.#verify);
    const next = readRoot(file.signed);
    await checkSignatures(file, "root", next, this.#verify);
    if (next.version !== this.#root.version + 1) {
      throw new Refused("rollback", `root: expected version ${this.#root.version + 1}, got ${next.version}`);
    }
    this.#root = next;
  }

  /** After the last root. */
  checkRoot(): void {
    this.#checkFresh(this.#root, "root");
    if (!this.#root.consistentSnapshot) {
      throw new Refused("unsupported", "root: expected consistent snapshots, got a repository without");
    }
  }

  /** Whether it was newer than what was known. */
  async takeTimestamp(bytes: Bytes, { kept = false } = {}): Promise<boolean> {
    const file = await this.#signed(bytes, "timestamp");
    const next = readTimestamp(file.signed);
    const before = this.#timestamp;
    if (before && next.version < before.version) {
      throw new Refused("rollback", `timestamp: expected version ${before.version} or newer, got ${next.version}`);
    }
    if (before && next.snapshot.version < before.snapshot.version) {
      throw new Refused("rollback", `timestamp: its snapshot's version went from ${before.snapshot.version} back to ${next.snapshot.version}`);
    }
    if (!kept) this.#checkFresh(next, "timestamp");
    const newer = before?.version !== next.version;
    if (newer) this.#timestamp = next;
    return newer;
  }

  /** What to ask for: `12.snapshot.json`, and how long it is at most. */
  get snapshotMeta(): FileMeta {
    if (!this.#timestamp) throw new Error("takeTimestamp comes first");
    return this.#timestamp.snapshot;
  }

  async takeSnapshot(bytes: Bytes, { kept = false } = {}): Promise<void> {
    const meta = this.snapshotMeta;
    if (!kept) await checkBytes(bytes, meta, "snapshot");
    const file = await this.#signed(bytes, "snapshot");
    const next = readSnapshot(file.signed);
    for (const [name, before] of this.#snapshot?.meta ?? []) {
      const after = next.meta.get(name);
      if (!after || after.version < before.version) {
        throw new Refused("rollback", `snapshot: ${name} went from version ${before.version} back to ${after?.version ?? "none"}`);
      }
    }
    if (!kept) {
      checkVersion(next.version, meta.version, "snapshot");
      this.#checkFresh(next, "snapshot");
    }
    this.#snapshot = next;
  }

  get targetsMeta(): FileMeta {
    const meta = this.#snapshot?.meta.get("targets.json");
    if (!meta) throw new Error("takeSnapshot comes first");
    return meta;
  }

  async takeTargets(bytes: Bytes): Promise<void> {
    const meta = this.targetsMeta;
    await checkBytes(bytes, meta, "targets");
    const file = await this.#signed(bytes, "targets");
    const next = readTargets(file.signed);
    checkVersion(next.version, meta.version, "targets");
    this.#checkFresh(next, "targets");
    this.#targets = next;
  }

  /** A file that the targets' keys signed; null if there is none of this path. */
  target(path: string): TargetFile | null {
    if (!this.#targets) throw new Error("takeTargets comes first");
    return this.#targets.targets.get(path) ?? null;
  }

  async #signed(bytes: Bytes, name: RoleName): Promise<Envelope> {
    const file = envelope(bytes, name);
    await checkSignatures(file, name, this.#root, this.#verify);
    return file;
  }

  #checkFresh(file: { readonly expires: Date }, name: RoleName): void {
    if (file.expires <= this.#now()) {
      throw new Refused("expired", `${name}: it expired at ${file.expires.toISOString()} (and this device's clock says ${this.#now().toISOString()})`);
    }
  }
}

/** Enough different keys, each counted once, however many signatures or names it comes with. */
async function checkSignatures(file: Envelope, name: RoleName, root: Root, verify: Verify): Promise<void> {
  const role = root.roles[name];
  const message = canonical(file, name);
  const good = new Set<string>();
  for (const { keyid, signatureHex } of file.signatures) {
    const key = role.keyids.includes(keyid) ? root.keys.get(keyid) : undefined;
    if (key?.keytype !== "ed25519" || key.scheme !== "ed25519") continue;
    const [publicKey, signature] = [fromHex(key.publicHex), fromHex(signatureHex)];
    if (publicKey && signature && (await verify(signature, message, publicKey))) good.add(key.publicHex.toLowerCase());
  }
  if (good.size < role.threshold) {
    throw new Refused("signature", `${name}: expected signatures by ${role.threshold} of its keys, got ${good.size}`);
  }
}

function canonical(file: Envelope, name: RoleName): Bytes {
  try {
    return utf8(canonicalize(file.signed));
  } catch {
    throw new Refused("malformed", `${name}: expected canonical JSON, which has no fractions`);
  }
}

async function checkBytes(bytes: Bytes, meta: FileMeta, name: RoleName): Promise<void> {
  if (meta.length !== null && bytes.length !== meta.length) {
    throw new Refused("tampered", `${name}: expected ${meta.length} bytes, got ${bytes.length}`);
  }
  if (meta.sha256 !== null && (await sha256(bytes)) !== meta.sha256) {
    throw new Refused("tampered", `${name}: its SHA-256 is not the one that was signed`);
  }
}

function checkVersion(got: number, expected: number, name: RoleName): void {
  if (got !== expected) throw new Refused("rollback", `${name}: expected version ${expected}, got ${got}`);
}
