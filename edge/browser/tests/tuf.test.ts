/** What a device does not take: the attacks that TUF is there for, and that what is right is taken. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { utf8 } from "../src/digests.ts";
import { type Reason, Refused, Unreachable } from "../src/errors.ts";
import { Network } from "../src/network.ts";
import { MemoryStore } from "../src/store.ts";
import { refreshed } from "../src/tuf/refresh.ts";
import { Key, NOW, Repository, signed } from "./repository.ts";
import { FakeServer } from "./server.ts";

const PAST = "2029-12-31T23:59:59Z";

class Device {
  readonly repository = new Repository();
  readonly server = new FakeServer(this.repository);
  readonly store = new MemoryStore();
  readonly pinned = this.repository.root;
  now = NOW;

  refresh() {
    return refreshed(this.pinned, new Network(this.server.url, this.server.fetch), this.store, () => this.now);
  }

  async refuses(reason: Reason, words: RegExp): Promise<void> {
    await assert.rejects(this.refresh(), (error) => error instanceof Refused && error.reason === reason && words.test(error.message));
  }
}

test("what is signed as it should be is taken, and what is known is not fetched again", async () => {
  const device = new Device();
  device.repository.add("m/1/m.zip", utf8("hello"), { model: "m" });
  assert.equal((await device.refresh()).target("m/1/m.zip")?.length, 5);
  device.server.asked.length = 0;
  assert.equal((await device.refresh()).target("m/2/m.zip"), null);
  assert.deepEqual(device.server.asked, ["metadata/2.root.json", "metadata/timestamp.json"]);
});

for (const role of ["timestamp", "snapshot", "targets"] as const) {
  test(`${role} signed by a key that may not is refused`, async () => {
    const device = new Device();
    device.repository.keys[role] = [new Key()];
    device.repository.publish();
    await device.refuses("signature", new RegExp(role));
  });

  test(`${role} that has expired is refused`, async () => {
    const device = new Device();
    device.repository.expires[role] = PAST;
    device.repository.publish();
    await device.refuses("expired", new RegExp(`${role}: it expired at 2029-12-31`));
  });

  test(`another role's metadata in the place of ${role} is refused`, async () => {
    const device = new Device();
    const { repository } = device;
    repository.publish();
    const name = role === "timestamp" ? "timestamp" : `${repository.versions[role]}.${role}`;
    const content = { ...repository.common("root"), meta: {}, targets: {} };
    repository.files.set(`metadata/${name}.json`, signed(content, repository.keys[role]));
    if (role === "targets") repository.writeSnapshot();
    if (role === "snapshot") repository.writeTimestamp();
    await device.refuses("malformed", new RegExp(`expected the type ${role}`));
  });
}

test("a root that has expired is refused, unless a newer one follows", async () => {
  const device = new Device();
  device.now = new Date("2030-03-01T00:00:00Z");
  await device.refuses("expired", /\broot\b/);
  for (const role of ["root", "timestamp", "snapshot", "targets"] as const) device.repository.expires[role] = "2030-04-01T00:00:00Z";
  device.repository.writeRoot();
  device.repository.publish();
  await device.refresh();
});

test("one key counts once, whatever signatures and names it comes with", async () => {
  const device = new Device();
  const { repository } = device;
  const [first, second] = [new Key(), new Key()];
  repository.keys.targets = [first, second];
  repository.thresholds.targets = 2;
  repository.writeRoot();
  repository.keys.targets = [first, first];
  repository.publish();
  await device.refuses("signature", /targets: expected signatures by 2 of its keys, got 1/);
  repository.keys.targets = [first, second];
  repository.publish();
  await device.refresh();
});

test("an older timestamp is refused, though it has not expired", async () => {
  const device = new Device();
  const old = device.repository.files.get("metadata/timestamp.json")!;
  device.repository.publish();
  await device.refresh();
  device.repository.files.set("metadata/timestamp.json", old);
  await device.refuses("rollback", /timestamp: expected version 2 or newer, got 1/);
});

test("a new timestamp of an older snapshot is refused", async () => {
  const device = new Device();
  device.repository.publish();
  await device.refresh();
  device.repository.writeTimestamp(1);
  await device.refuses("rollback", /snapshot's version went from 2 back to 1/);
});

test("a new snapshot of older targets is refused", async () => {
  const device = new Device();
  device.repository.publish();
  await device.refresh();
  device.repository.writeSnapshot(1);
  await device.refuses("rollback", /targets.json went from version 2 back to 1/);
});

test("files of different moments do not mix", async () => {
  const device = new Device();
  const { files } = device.repository;
  device.repository.publish();
  files.set("metadata/2.targets.json", files.get("metadata/1.targets.json")!);
  await device.refuses("tampered", /targets/);
});

test("more bytes than were signed are refused before they are read to their end", async () => {
  const device = new Device();
  device.repository.files.set("metadata/timestamp.json", new Uint8Array(1_000_000));
  await device.refuses("tampered", /expected 16384 bytes at most/);
});

test("what is no JSON, or has another form, is refused by name", async () => {
  const device = new Device();
  device.repository.files.set("metadata/timestamp.json", utf8("<html>"));
  await device.refuses("malformed", /timestamp: expected JSON/);
  device.repository.files.set("metadata/timestamp.json", utf8('{"signatures": [], "signed": {"version": 1.5}}'));
  await device.refuses("malformed", /fractions/);
});

test("a root follows when both the old and the new keys have signed it", async () => {
  const device = new Device();
  const { repository } = device;
  const old = repository.keys.root;
  repository.keys.root = [new Key()];
  repository.writeRoot(repository.keys.root);
  await device.refuses("signature", /root: expected signatures by 1 of its keys, got 0/);
  repository.writeRoot(old, 2);
  await device.refuses("signature", /\broot\b/);
  repository.writeRoot([...old, ...repository.keys.root], 2);
  assert.equal((await device.refresh()).rootVersion, 2);
});

test("a root that skips a version is refused", async () => {
  const device = new Device();
  device.repository.files.set("metadata/2.root.json", device.repository.writeRoot(undefined, 3));
  device.repository.files.delete("metadata/3.root.json");
  await device.refuses("rollback", /root: expected version 2, got 3/);
});

test("the root that was reached is kept: an old pinned one does not lead back", async () => {
  const device = new Device();
  device.repository.writeRoot();
  await device.refresh();
  device.repository.files.delete("metadata/2.root.json");
  assert.equal((await device.refresh()).rootVersion, 2);
});

test("new keys end what a thief of the old ones has done: versions far in the future are forgotten", async () => {
  const device = new Device();
  const { repository } = device;
  repository.versions.timestamp = 1_000_000;
  repository.writeTimestamp();
  await device.refresh();
  repository.versions.timestamp = 1;
  repository.keys.timestamp = [new Key()];
  repository.writeRoot();
  repository.writeTimestamp();
  assert.equal((await device.refresh()).timestampVersion, 2);
});

test("a server that is not there is not a server that lies", async () => {
  const device = new Device();
  device.server.online = false;
  await assert.rejects(device.refresh(), Unreachable);
});
