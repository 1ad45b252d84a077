/** Bringing the trusted metadata up to date: asks the server, keeps what is verified, in TUF's order. */

import type { Bytes } from "../digests.ts";
import { Refused, Unreachable } from "../errors.ts";
import type { Network } from "../network.ts";
import type { Store } from "../store.ts";
import { Trust } from "./trust.ts";

const MOST_BYTES = { root: 512_000, timestamp: 16_384, snapshot: 2_000_000, targets: 5_000_000 };
const MOST_ROOTS = 256;

/**
 * The trust of now. `pinned`: the root.json that the application came with. Raises `Refused`, `Unreachable`; what was
 * verified until then is kept all the same, so that nobody can lead this device back behind it.
 */
export async function refreshed(pinned: Bytes, network: Network, store: Store, now: () => Date): Promise<Trust> {
  const trust = await firstTrust(pinned, store, now);
  await takeRoots(trust, network, store);
  trust.checkRoot();
  await takeTimestamp(trust, network, store);
  await takeSnapshot(trust, network, store);
  await takeTargets(trust, network, store);
  return trust;
}

/** The newer of the pinned root and the one that was reached from it. */
async function firstTrust(pinned: Bytes, store: Store, now: () => Date): Promise<Trust> {
  const trust = await Trust.from(pinned, now);
  const kept = await keptFile(store, "root");
  if (!kept) return trust;
  const reached = await Trust.from(kept, now);
  return reached.rootVersion > trust.rootVersion ? reached : trust;
}

async function takeRoots(trust: Trust, network: Network, store: Store): Promise<void> {
  for (let taken = 0; taken < MOST_ROOTS; taken += 1) {
    const path = `metadata/${trust.rootVersion + 1}.root.json`;
    const bytes = await network.get(path, MOST_BYTES.root, { none: [403, 404] });
    if (!bytes) return;
    await trust.takeRoot(bytes);
    await keep(store, "root", bytes);
  }
  throw new Refused("malformed", `root: expected ${MOST_ROOTS} new versions at most, got more`);
}

async function takeTimestamp(trust: Trust, network: Network, store: Store): Promise<void> {
  await ignoringRefusals(store, "timestamp", (bytes) => trust.takeTimestamp(bytes, { kept: true }));
  const bytes = await asked(network, "metadata/timestamp.json", MOST_BYTES.timestamp);
  if (await trust.takeTimestamp(bytes)) await keep(store, "timestamp", bytes);
}

async function takeSnapshot(trust: Trust, network: Network, store: Store): Promise<void> {
  await ignoringRefusals(store, "snapshot", (bytes) => trust.takeSnapshot(bytes, { kept: true }));
  const meta = trust.snapshotMeta;
  if (await ignoringRefusals(store, "snapshot", (bytes) => trust.takeSnapshot(bytes))) return;
  const bytes = await asked(network, `metadata/${meta.version}.snapshot.json`, meta.length ?? MOST_BYTES.snapshot);
  await trust.takeSnapshot(bytes);
  await keep(store, "snapshot", bytes);
}

async function takeTargets(trust: Trust, network: Network, store: Store): Promise<void> {
  if (await ignoringRefusals(store, "targets", (bytes) => trust.takeTargets(bytes))) return;
  const meta = trust.targetsMeta;
  const bytes = await asked(network, `metadata/${meta.version}.targets.json`, meta.length ?? MOST_BYTES.targets);
  await trust.takeTargets(bytes);
  await keep(store, "targets", bytes);
}

/** Whether there was a kept file, and it was taken. One that today's root or clock refuses is as good as none. */
async function ignoringRefusals(store: Store, name: string, take: (bytes: Bytes) => Promise<unknown>): Promise<boolean> {
  const bytes = await keptFile(store, name);
  if (!bytes) return false;
  try {
    await take(bytes);
    return true;
  } catch (error) {
    if (error instanceof Refused) return false;
    throw error;
  }
}

async function asked(network: Network, path: string, most: number): Promise<Bytes> {
  const bytes = await network.get(path, most);
  if (!bytes) throw new Unreachable(`${path}: the server has none`);
  return bytes;
}

async function keptFile(store: Store, name: string): Promise<Bytes | undefined> {
  return (await store.get(`tuf/${name}`)) as Bytes | undefined;
}

async function keep(store: Store, name: string, bytes: Bytes): Promise<void> {
  await store.write(new Map([[`tuf/${name}`, bytes]]));
}
