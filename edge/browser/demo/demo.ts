/** The demo page: a pen, a model that is kept up to date, and what it says. */

import { type Bytes, EdgeModel, IndexedDbStore, type Outcome, type Store, type Tensor, Unreachable, bundledRuntimes, dataOf } from "../src/index.ts";
import { SIDE, pixelsOf } from "./digits.ts";
import { keptForOffline } from "./offline.ts";
import { Pen } from "./pen.ts";
import { element, failure, makeBars, showAnswer, showModel, showNetwork, showSeen, showUpdate } from "./view.ts";

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const MOST_ROOT_BYTES = 512_000;
const DIGITS = Array.from({ length: 10 }, (_, digit) => String(digit));

const asked = new URLSearchParams(location.search);
const channel = chosen("channel", "stable");
const buttons = {
  undo: element<HTMLButtonElement>("undo"), clear: element<HTMLButtonElement>("clear"), sample: element<HTMLButtonElement>("sample"),
  check: element<HTMLButtonElement>("check-now"), back: element<HTMLButtonElement>("back"),
};

let model: EdgeModel | null = null;
let labels: readonly string[] = DIGITS;
let shown = 0; // the number of the newest drawing: an older one's answer that comes late is not shown
let samples = 0;
let updating = false;

const pen = new Pen(element<HTMLCanvasElement>("canvas"), drawn, (words) => (element("spoken").textContent = words));

makeBars(labels);
showNetwork(navigator.onLine);
void begin();

async function begin(): Promise<void> {
  buttons.undo.onclick = () => pen.undo();
  buttons.clear.onclick = () => pen.clear();
  buttons.sample.onclick = showSample;
  buttons.check.onclick = () => update();
  buttons.back.onclick = rollBack;
  addEventListener("offline", () => showNetwork(false));
  addEventListener("online", () => void update());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn());
  try {
    const store = await IndexedDbStore.open();
    model = await EdgeModel.open({
      url: new URL("../", location.href).href,
      model: chosen("model", "digits"),
      channel,
      runtime: chosen("runtime", "onnxruntime"),
      root: await pinnedRoot(store),
      store,
      runtimes: bundledRuntimes(new URL("runtimes/", location.href).href),
      onProgress: (received, expected) => showUpdate(`Downloading: ${kilobytes(received)} of ${kilobytes(expected)} kB`, "busy"),
    });
  } catch (error) {
    showUpdate(...failure(error, null));
    return;
  }
  await swapped();
  await update();
  if (matchMedia("(display-mode: standalone)").matches) await navigator.storage?.persist?.();
}

/** The root that this device trusts for good: the one that came with the page when it came first. */
async function pinnedRoot(store: Store): Promise<Bytes> {
  const kept = await store.get("pinned");
  if (kept instanceof Uint8Array) return kept;
  const response = await fetch("root.json", { cache: "no-cache" }).catch(() => null);
  if (!response?.ok) throw new Unreachable("root.json: no answer");
  const root = new Uint8Array(await response.arrayBuffer());
  if (root.length > MOST_ROOT_BYTES) throw new Error(`root.json: expected ${MOST_ROOT_BYTES} bytes at most`);
  await store.write(new Map([["pinned", root]]));
  return root;
}

async function update(): Promise<void> {
  if (!model || updating) return;
  updating = true;
  element("update").ariaBusy = "true";
  showUpdate("Asking for an update…", "busy");
  try {
    const outcome = await model.update();
    showNetwork(true);
    await swapped();
    showUpdate(told(outcome, model.current?.bundle.version), outcome === "nothing" && !model.current ? "busy" : "good");
  } catch (error) {
    showNetwork(!(error instanceof Unreachable) && navigator.onLine);
    showUpdate(...failure(error, model.current?.bundle.version ?? null));
  } finally {
    updating = false;
    element("update").ariaBusy = "false";
    buttons.check.disabled = false;
  }
  await keepForOffline();
}

async function rollBack(): Promise<void> {
  if (!model) return;
  try {
    const done = await model.rollback();
    await swapped();
    showUpdate(done ? `Back at version ${model.current?.bundle.version}.` : "There is no version before this one.", done ? "good" : "");
  } catch (error) {
    showUpdate(...failure(error, model.current?.bundle.version ?? null));
  }
}

function told(outcome: Outcome, version: number | undefined): string {
  if (outcome === "installed") return `Version ${version} is installed: signatures, digests and self-check are right.`;
  if (outcome === "unchanged") return `Version ${version} is the one to have.`;
  return version === undefined ? "The server has no model for this device." : `The server has nothing newer. Version ${version} goes on.`;
}

/** After every change of the model. */
async function swapped(): Promise<void> {
  const current = model?.current ?? null;
  showModel(current, channel);
  buttons.back.disabled = !(await model?.previous());
  buttons.sample.disabled = !current?.bundle.golden;
  if (!current) return;
  labels = current.bundle.labels ?? DIGITS;
  makeBars(labels);
  drawn();
}

async function keepForOffline(): Promise<void> {
  const kept = model?.current !== null && (await keptForOffline());
  element("offline").textContent = kept ? "ready: this page needs no network any more" : "not ready: it needs the network";
  element("offline").className = kept ? "good" : "";
}

function drawn(): void {
  buttons.undo.disabled = buttons.clear.disabled = pen.strokes.length === 0;
  void recognise(pixelsOf(pen.strokes));
}

/** A drawing that the model's maker kept, as the model gets it. */
function showSample(): void {
  const input = model?.current?.bundle.golden?.inputs[0];
  if (!input) return;
  const rows = Math.floor(input.data.length / SIDE ** 2);
  pen.clear();
  const at = (samples++ % rows) * SIDE ** 2;
  void recognise(Float32Array.from(input.data.slice(at, at + SIDE ** 2) as Float32Array));
}

/** Pixels [8, 8], 0 to 16. */
async function recognise(pixels: Float32Array | null): Promise<void> {
  const number = (shown += 1);
  showSeen(pixels);
  const bundle = model?.current?.bundle;
  if (!pixels || !model || !bundle) return showAnswer(labels, null, 0);
  try {
    const { outputs, ms } = await model.run([inputOf(pixels, bundle.inputs[0])]);
    if (number === shown) showAnswer(labels, Array.from(outputs[0]?.data ?? [], Number), ms);
  } catch (error) {
    showUpdate(`The model did not run: ${error instanceof Error ? error.message : String(error)}`, "bad");
  }
}

function inputOf(pixels: Float32Array, input: { name: string; datatype: Tensor["datatype"]; shape: readonly number[] } | undefined): Tensor {
  const shape = input?.shape.map((size) => (size === -1 ? 1 : size)) ?? [];
  if (!input || shape.reduce((product, size) => product * size, 1) !== SIDE ** 2) {
    throw new Error(`this page draws 8×8 pixels, and the model takes [${input?.shape.join(", ") ?? ""}]`);
  }
  return { name: input.name, datatype: input.datatype, shape, data: dataOf(input.datatype, Array.from(pixels)) };
}

function chosen(name: string, otherwise: string): string {
  const value = asked.get(name) ?? "";
  return NAME.test(value) ? value : otherwise;
}

function kilobytes(bytes: number): string {
  return Math.round(bytes / 1000).toLocaleString("en");
}
