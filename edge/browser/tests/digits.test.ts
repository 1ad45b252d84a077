/** A drawing becomes 8×8 counts of ink that do not depend on where, how large and how fast it was drawn. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { type Stroke, pixelsOf } from "../demo/digits.ts";

const SEVEN: Stroke[] = [[{ x: 1, y: 1 }, { x: 5, y: 1 }, { x: 3, y: 9 }]];

test("nothing drawn is nothing", () => {
  assert.equal(pixelsOf([]), null);
  assert.equal(pixelsOf([[]]), null);
});

test("place and size do not matter, nor how many points a line has", () => {
  const moved = SEVEN.map((stroke) => stroke.map(({ x, y }) => ({ x: 100 + x * 7, y: 50 + y * 7 })));
  const finer = SEVEN.map((stroke) => stroke.flatMap((point, at) => {
    const before = stroke[at - 1] ?? point;
    return [{ x: (before.x + point.x) / 2, y: (before.y + point.y) / 2 }, point];
  }));
  assert.deepEqual(pixelsOf(moved), pixelsOf(SEVEN));
  assert.deepEqual(pixelsOf(finer), pixelsOf(SEVEN));
});

test("a drawing fills all rows, with as much ink as the training data have, in counts of 16 at most", () => {
  const pixels = pixelsOf(SEVEN)!;
  const rows = Array.from({ length: 8 }, (_, row) => pixels.slice(row * 8, row * 8 + 8).reduce((sum, each) => sum + each, 0));
  assert.equal(rows.every((ink) => ink > 0), true);
  assert.equal(Math.abs(rows.reduce((sum, each) => sum + each, 0) - 270) < 15, true);
  assert.equal(Math.max(...pixels) <= 16, true);
  assert.equal(pixels.every((each) => Number.isInteger(each)), true);
});

test("a dot, and a line that goes straight across, are drawings too", () => {
  for (const strokes of [[[{ x: 3, y: 3 }]], [[{ x: 0, y: 3 }, { x: 9, y: 3 }]]]) {
    const pixels = pixelsOf(strokes)!;
    assert.equal(pixels.every(Number.isFinite) && pixels.some((each) => each > 0), true);
  }
});
