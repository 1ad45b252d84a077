/** A pen on a canvas: by mouse, finger or stylus, and by the keys of a keyboard. */

import type { Point, Stroke } from "./digits.ts";

const STEP = 1 / 24; // of the canvas, by one press of an arrow key
const LINE = 0.075; // how wide a line is drawn, of the canvas
const ARROWS: Record<string, readonly [number, number]> = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};

export class Pen {
  readonly #canvas: HTMLCanvasElement;
  readonly #changed: (strokes: readonly Stroke[]) => void;
  readonly #said: (words: string) => void;
  #strokes: Point[][] = [];
  #pointer: number | null = null;
  #at: Point = { x: 0.5, y: 0.1 };
  #down = false; // the pen that keys move

  /** `changed` is told of every stroke, as points from 0 to 1; `said` what a screen reader should say. */
  constructor(canvas: HTMLCanvasElement, changed: (strokes: readonly Stroke[]) => void, said: (words: string) => void) {
    this.#canvas = canvas;
    this.#changed = changed;
    this.#said = said;
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#go(event));
    for (const end of ["pointerup", "pointercancel"] as const) canvas.addEventListener(end, (event) => this.#end(event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    for (const change of ["focus", "blur"]) canvas.addEventListener(change, () => this.draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.draw();
  }

  get strokes(): readonly Stroke[] {
    return this.#strokes;
  }

  clear(): void {
    this.#strokes = [];
    this.#down = false;
    this.#tell();
  }

  undo(): void {
    this.#strokes.pop();
    this.#down = false;
    this.#tell();
  }

  draw(): void {
    const side = this.#canvas.width;
    const context = this.#canvas.getContext("2d");
    if (!context) return;
    const style = getComputedStyle(this.#canvas);
    context.clearRect(0, 0, side, side);
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = style.color;
    context.lineWidth = side * LINE;
    for (const stroke of this.#strokes) {
      context.beginPath();
      for (const { x, y } of [stroke[0] ?? this.#at, ...stroke]) context.lineTo(x * side, y * side);
      context.stroke();
    }
    if (document.activeElement === this.#canvas && this.#canvas.matches(":focus-visible")) this.#drawCursor(context, side, style);
  }

  #drawCursor(context: CanvasRenderingContext2D, side: number, style: CSSStyleDeclaration): void {
    context.beginPath();
    context.arc(this.#at.x * side, this.#at.y * side, side * LINE * 0.7, 0, 2 * Math.PI);
    context.strokeStyle = style.getPropertyValue("--accent");
    context.lineWidth = side * 0.012;
    context.stroke();
    if (!this.#down) return;
    context.fillStyle = style.getPropertyValue("--accent");
    context.fill();
  }

  #begin(event: PointerEvent): void {
    if (this.#pointer !== null || event.button !== 0) return;
    event.preventDefault();
    this.#pointer = event.pointerId;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#down = false;
    this.#strokes.push([this.#where(event)]);
    this.draw();
  }

  #go(event: PointerEvent): void {
    if (event.pointerId !== this.#pointer) return;
    const together = event.getCoalescedEvents?.() ?? [];
    for (const each of together.length > 0 ? together : [event]) this.#strokes.at(-1)?.push(this.#where(each));
    this.draw();
  }

  #end(event: PointerEvent): void {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.#tell();
  }

  #where(event: PointerEvent): Point {
    const box = this.#canvas.getBoundingClientRect();
    const inside = (value: number) => Math.max(0, Math.min(1, value));
    return { x: inside((event.clientX - box.left) / box.width), y: inside((event.clientY - box.top) / box.height) };
  }

  /** Arrows move the pen, Space sets it down and lifts it, Backspace takes the last stroke back, Delete all of them. */
  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    if (arrow) this.#move(arrow);
    else if (event.key === " ") this.#setDown(!this.#down);
    else if (event.key === "Backspace") this.undo();
    else if (event.key === "Delete") this.clear();
    else return;
    event.preventDefault();
  }

  #move([dx, dy]: readonly [number, number]): void {
    const inside = (value: number) => Math.max(0, Math.min(1, value));
    this.#at = { x: inside(this.#at.x + dx * STEP), y: inside(this.#at.y + dy * STEP) };
    if (this.#down) {
      this.#strokes.at(-1)?.push(this.#at);
      this.#tell();
    } else {
      this.draw();
    }
  }

  #setDown(down: boolean): void {
    this.#down = down;
    this.#said(down ? "Pen down" : "Pen up");
    if (down) {
      this.#strokes.push([this.#at]);
      this.#tell();
    } else {
      this.draw();
    }
  }

  #tell(): void {
    this.draw();
    this.#changed(this.#strokes);
  }
}
