/** A device's life with its model: installs, goes on without a network, refuses, rolls back, reports. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { EdgeModel } from "../src/edgemodel.ts";
import { Refused, Unreachable } from "../src/errors.ts";
import { compareVersions } from "../src/offer.ts";
import type { Runtimes } from "../src/runtimes/runtime.ts";
import { MemoryStore, type Stored } from "../src/store.ts";
import { bundle } from "./archives.ts";
import { NOW, Repository } from "./repository.ts";
import { FakeServer } from "./server.ts";

/** Adds the number that the model is. */
const runtimes: Runtimes = {
  fake: async () => ({
    title: "Fake 1",
    load: async ({ modelBytes, outputs }) => {
      const adds = Number(new TextDecoder().decode(modelBytes));
      if (Number.isNaN(adds)) throw new Error("no number");
      return {
        run: async ([input]) => [{ ...outputs[0]!, shape: input!.shape, data: Float32Array.from(input!.data as Float32Array, (each) => each + adds) }],
        close: async () => {},
      };
    },
  }),
};

class BreakingStore extends MemoryStore {
  breaks = false;

  override async write(entries: ReadonlyMap<string, Stored | undefined>): Promise<void> {
    if (this.breaks && [...entries.keys()].some((key) => key.includes("bundle/"))) throw new Error("QuotaExceededError");
    await super.write(entries);
  }
}

class Device {
  readonly repository = new Repository();
  readonly server = new FakeServer(this.repository);
  readonly store = new BreakingStore();
  readonly root = this.repository.root;

  open(app: string | null = null): Promise<EdgeModel> {
    return EdgeModel.open({ url: this.server.url, model: "m", root: this.root, store: this.store, runtimes, app, fetch: this.server.fetch, now: () => NOW });
  }

  offer(version: number, bytes = bundle({ version }), custom: object = {}): void {
    this.server.offer = `m/${version}/m-${version}-browser.zip`;
    this.repository.add(this.server.offer, bytes, { model: "m", version, ...custom });
  }
}

const INPUT = { name: "x", datatype: "FP32", shape: [1, 1], data: Float32Array.of(41) } as const;

async function answers(model: EdgeModel): Promise<number> {
  return Number((await model.run([INPUT])).outputs[0]?.data[0]);
}

async function refuses(model: EdgeModel, words: RegExp): Promise<void> {
  await assert.rejects(model.update(), (error) => error instanceof Refused && words.test(error.message));
}

test("a model is installed, runs, and is there without a network", async () => {
  const device = new Device();
  const model = await device.open();
  await assert.rejects(model.run([INPUT]), /update\(\) comes first/);
  device.offer(1);
  assert.equal(await model.update(), "installed");
  assert.equal(await answers(model), 42);
  assert.equal(await model.update(), "unchanged");
  device.server.online = false;
  const again = await device.open();
  assert.equal(again.current?.bundle.version, 1);
  assert.equal(await answers(again), 42);
  await assert.rejects(again.update(), Unreachable);
  assert.equal(await answers(again), 42);
});

test("where the server has nothing for it, a device keeps what it has", async () => {
  const device = new Device();
  const model = await device.open();
  assert.equal(await model.update(), "nothing");
  device.offer(1);
  await model.update();
  device.server.offer = null;
  assert.equal(await model.update(), "nothing");
  assert.equal(model.current?.bundle.version, 1);
});

test("an older version is taken where the channel goes back to it", async () => {
  const device = new Device();
  const model = await device.open();
  device.offer(1);
  device.offer(2);
  await model.update();
  device.server.offer = "m/1/m-1-browser.zip";
  assert.equal(await model.update(), "installed");
  assert.equal(model.current?.bundle.version, 1);
});

test("what the server offers and nobody signed is refused, and the last good model goes on", async () => {
  const device = new Device();
  const model = await device.open();
  device.offer(1);
  await model.update();
  device.server.offer = "m/9/m-9-browser.zip";
  await refuses(model, /not among the signed targets/);
  device.repository.add("other/1/o.zip", bundle({ model: "other" }), { model: "other", version: 1 });
  device.server.offer = "other/1/o.zip";
  await refuses(model, /signed for the model "other", not for m/);
  assert.equal(await answers(model), 42);
});

test("a bundle that was changed on its way is refused", async () => {
  const device = new Device();
  const model = await device.open();
  device.offer(1);
  for (const [path, bytes] of device.repository.files) {
    if (path.startsWith("targets/")) device.repository.files.set(path, bytes.map((byte, at) => (at === 40 ? byte ^ 1 : byte)));
  }
  await refuses(model, /SHA-256 differs/);
  assert.equal(model.current, null);
});

test("an answer or a signed word that is none is refused in order, however it is made", async () => {
  const device = new Device();
  const model = await device.open();
  for (const target of ["[".repeat(30_000) + "]".repeat(30_000), '{"toString": 1}', "1e999", "null", '["m"]']) {
    device.server.answer = `{"target": ${target}, "__proto__": {"target": "m"}}`;
    await refuses(model, /check.target: expected text, got/);
  }
  device.server.answer = null;
  for (const version of ["1", null, true, [1], { valueOf: 1 }]) {
    device.offer(1, bundle(), { version });
    await refuses(model, /the signed version of m\/1\/m-1-browser.zip: expected an integer of 1 or more/);
  }
  device.offer(1, bundle(), { model: { toString: 1 } });
  await refuses(model, /signed for the model an object, not for m/);
});

test("a bundle with another model, or of another version than signed, is refused", async () => {
  const device = new Device();
  const model = await device.open();
  device.offer(1, bundle({ version: 2 }));
  await refuses(model, /expected m\/1 in it, got m\/2/);
  device.offer(3, bundle({ version: 3, runtime: "quantum" }));
  await refuses(model, /needs the runtime quantum; here are fake/);
});

test("a model that answers otherwise here is refused, reported, and not fetched again", async () => {
  const device = new Device();
  const model = await device.open();
  device.offer(1);
  await model.update();
  device.offer(2, bundle({ version: 2, adds: 3 }));
  await refuses(model, /version 2 answers otherwise here/);
  assert.equal(await answers(model), 42);
  const told = device.server.reports.map(({ version, kind, passed }) => [version, kind, passed]);
  assert.deepEqual(told, [[1, "installed", undefined], [1, "self_check", true], [2, "self_check", false]]);
  device.server.asked.length = 0;
  await refuses(model, /not tried again/);
  assert.equal(device.server.asked.some((path) => path.startsWith("targets/")), false);
  device.offer(3, bundle({ version: 3, adds: NaN }));
  await refuses(model, /version 3 does not load here: Error: no number/);
  assert.equal((await device.open()).current?.bundle.version, 1);
});

test("back goes to the model before, which stays though the server offers the other again", async () => {
  const device = new Device();
  const model = await device.open();
  device.offer(1);
  await model.update();
  assert.equal(await model.rollback(), false);
  device.offer(2);
  await model.update();
  assert.equal(await model.rollback(), true);
  assert.equal(model.current?.bundle.version, 1);
  await refuses(model, /not tried again/);
  assert.equal((await device.open()).current?.bundle.version, 1);
  assert.deepEqual(device.server.reports.filter(({ kind }) => kind === "failed").map(({ version }) => version), [2]);
});

test("a write that fails leaves the model that was there", async () => {
  const device = new Device();
  const model = await device.open();
  device.offer(1);
  await model.update();
  device.offer(2);
  device.store.breaks = true;
  await assert.rejects(model.update(), /QuotaExceededError/);
  assert.equal(model.current?.bundle.version, 1);
  assert.equal((await device.open()).current?.bundle.version, 1);
});

test("of a bundle that was damaged where it is kept, the one before takes the place", async () => {
  const device = new Device();
  const model = await device.open();
  for (const version of [1, 2]) {
    device.offer(version);
    await model.update();
  }
  const key = (await device.store.keys("model/m/bundle/")).find((each) => each.endsWith(model.current!.slot.sha256))!;
  await device.store.write(new Map([[key, new Uint8Array(3)]]));
  assert.equal((await device.open()).current?.bundle.version, 1);
});

test("only the current bundle and the one before are kept", async () => {
  const device = new Device();
  const model = await device.open();
  for (const version of [1, 2, 3, 4]) {
    device.offer(version);
    await model.update();
  }
  assert.equal((await device.store.keys("model/m/bundle/")).length, 2);
});

test("reports wait while there is no network, and go once", async () => {
  const device = new Device();
  const model = await device.open();
  device.offer(1);
  await model.update();
  device.server.reports.length = 0;
  device.server.online = false;
  for (let run = 0; run < 25; run += 1) await model.run([INPUT]);
  await assert.rejects(model.update(), Unreachable);
  assert.equal(device.server.reports.length, 0);
  device.server.online = true;
  await (await device.open()).update();
  await model.update();
  assert.deepEqual(device.server.reports.map(({ kind, latency_ms }) => [kind, latency_ms?.length]), [["latency", 20]]);
});

test("the device tells what it is, the same id each time, and what it has", async () => {
  const device = new Device();
  const model = await device.open("2.1.0");
  device.offer(1);
  await model.update();
  await model.update();
  const asked = device.server.asked.filter((path) => path.startsWith("models/")).map((path) => new URLSearchParams(path.split("?")[1]));
  assert.equal(asked[0]?.get("have"), null);
  assert.equal(asked[1]?.get("have"), model.current?.slot.sha256);
  assert.deepEqual(["channel", "os", "runtime", "app"].map((name) => asked[0]?.get(name)), ["stable", "browser", "onnxruntime", "2.1.0"]);
  assert.match(asked[0]?.get("id") ?? "", /^[0-9a-f-]{36}$/);
  assert.equal(asked[0]?.get("id"), asked[1]?.get("id"));
});

test("a bundle for a newer application is refused, whatever the server offers", async () => {
  const device = new Device();
  const model = await device.open("2.9");
  device.offer(1, undefined, { min_app: "2.10" });
  await refuses(model, /needs version 2.10 of the application; this is 2.9/);
  assert.deepEqual([compareVersions("2.10", "2.9") > 0, compareVersions("2.1", "2.1.0"), compareVersions("1.9.9", "2") < 0], [true, 0, true]);
});
