/** What the page shows: the answer as bars, what the model sees, and which model it is. */

import { type Installed, Refused, Unreachable } from "../src/index.ts";
import { SIDE } from "./digits.ts";

export const LEVELS = 16; // of ink in one of the 8×8 pixels

export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

export function makeBars(labels: readonly string[]): void {
  element("bars").replaceChildren(
    ...labels.map((label) => {
      const row = document.createElement("li");
      const [name, track, fill, share] = ["name", "track", "fill", "share"].map((kind) => {
        const part = document.createElement("span");
        part.className = kind;
        return part;
      }) as [HTMLElement, HTMLElement, HTMLElement, HTMLElement];
      name.textContent = label;
      share.textContent = "0.0 %";
      track.append(fill);
      row.append(name, track, share);
      return row;
    }),
  );
}

/** Probabilities [classes]; null where nothing is drawn. */
export function showAnswer(labels: readonly string[], probabilities: readonly number[] | null, ms: number): void {
  const best = probabilities ? probabilities.indexOf(Math.max(...probabilities)) : -1;
  [...element("bars").children].forEach((row, index) => {
    const probability = probabilities?.[index] ?? 0;
    row.classList.toggle("best", index === best);
    (row.querySelector(".fill") as HTMLElement).style.width = `${probability * 100}%`;
    (row.querySelector(".share") as HTMLElement).textContent = percent(probability);
  });
  const digit = element("digit");
  digit.textContent = labels[best] ?? "–";
  digit.classList.toggle("empty", best < 0);
  element("sure").textContent = probabilities ? `${percent(probabilities[best] ?? 0)} sure` : "Nothing drawn yet";
  element("took").textContent = probabilities ? `${ms < 1 ? ms.toFixed(2) : ms.toFixed(1)} ms in this page` : "";
  element("spoken").textContent = probabilities ? `${labels[best]}, ${percent(probabilities[best] ?? 0)}` : "";
}

/** Pixels [8, 8], 0 to 16, as the ink of the page. */
export function showSeen(pixels: Float32Array | null): void {
  const canvas = element<HTMLCanvasElement>("seen");
  const context = canvas.getContext("2d");
  if (!context) return;
  context.clearRect(0, 0, SIDE, SIDE);
  context.fillStyle = getComputedStyle(canvas).color;
  pixels?.forEach((pixel, at) => {
    context.globalAlpha = Math.max(0, Math.min(1, pixel / LEVELS));
    context.fillRect(at % SIDE, Math.floor(at / SIDE), 1, 1);
  });
  canvas.setAttribute("aria-label", `What the model sees: 8×8 pixels${pixels ? "" : ", empty"}`);
}

export function showModel(current: Installed | null, channel: string): void {
  element("channel").textContent = channel;
  if (!current) return;
  const { bundle, slot, runtime, check } = current;
  element("version").textContent = `${bundle.model} ${bundle.version} (${bundle.precision})`;
  element("runtime").textContent = runtime;
  element("check").textContent = `passed: ${check.detail}`;
  element("check").className = "good";
  element("digest").textContent = `${slot.sha256.slice(0, 16)}…`;
  element("digest").title = slot.sha256;
}

export type Mood = "good" | "busy" | "bad" | "";

export function showUpdate(words: string, mood: Mood): void {
  const shown = element("update");
  shown.textContent = words;
  shown.className = `update ${mood}`;
}

export function showNetwork(reached: boolean): void {
  const mark = element("network");
  mark.textContent = reached ? "Online" : "Offline";
  mark.className = `mark ${reached ? "good" : "busy"}`;
}

/** What went wrong with an update, and what goes on. */
export function failure(error: unknown, version: number | null): [string, Mood] {
  const goesOn = version === null ? "There is no model on this device yet." : `Version ${version} goes on.`;
  if (error instanceof Unreachable) return [`The server cannot be reached. ${goesOn}`, version === null ? "bad" : "busy"];
  if (error instanceof Refused) return [`Update refused (${error.reason}): ${error.message}. ${goesOn}`, "bad"];
  return [`The update failed: ${error instanceof Error ? error.message : String(error)}. ${goesOn}`, "bad"];
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
