/** From a drawing to what the digits model knows: 8×8 counts of ink, made as those of its training data were. */

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** The points of a pen from where it is set down to where it is lifted; x to the right, y down, in any unit. */
export type Stroke = readonly Point[];

export const SIDE = 8;

const BITMAP = 32; // the training data were bitmaps of 32×32, of which each 4×4 block became one pixel: 0 to 16
const BLOCK = BITMAP / SIDE;
const INK = 270; // dark pixels of such a bitmap, nearly the same for every digit: their pens were made equally thick
const WIDEST = 20; // columns that a digit fills, while it fills all rows
const STRETCH = 0.85; // in width, against the height, of a digit that is narrower than that
const THINNEST = 1; // a pen's half width, in pixels of the bitmap
const THICKEST = 6;
const HALVINGS = 8;

/** Row-major [8, 8], 0 to 16; null where nothing is drawn. */
export function pixelsOf(strokes: readonly Stroke[]): Float32Array<ArrayBuffer> | null {
  if (strokes.flat().length === 0) return null;
  let [thin, thick] = [THINNEST, THICKEST];
  for (let step = 0; step < HALVINGS; step += 1) {
    const middle = (thin + thick) / 2;
    if (inkOf(bitmapOf(strokes, middle)) < INK) thin = middle;
    else thick = middle;
  }
  return blocksOf(bitmapOf(strokes, (thin + thick) / 2));
}

/** The strokes so moved and scaled that with this pen they fill the height, in the middle; 1 where there is ink. */
function bitmapOf(strokes: readonly Stroke[], halfWidth: number): Uint8Array {
  const points = strokes.flat();
  const [xs, ys] = [points.map(({ x }) => x), points.map(({ y }) => y)];
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const tiny = Math.max(right - left, bottom - top) * 1e-3 || 1;
  const scaleY = (BITMAP - 2 * halfWidth) / Math.max(bottom - top, tiny);
  const widest = Math.max(0, WIDEST - 2 * halfWidth);
  const scaleX = Math.min(widest / Math.max(right - left, tiny), scaleY * STRETCH);
  const placed = strokes.map((stroke) =>
    stroke.map(({ x, y }) => ({
      x: (x - (left + right) / 2) * scaleX + BITMAP / 2,
      y: (y - (top + bottom) / 2) * scaleY + BITMAP / 2,
    })),
  );
  return drawn(placed, halfWidth);
}

function drawn(strokes: readonly Stroke[], halfWidth: number): Uint8Array {
  const bitmap = new Uint8Array(BITMAP * BITMAP);
  for (const stroke of strokes) {
    stroke.forEach((to, index) => drawPiece(bitmap, stroke[Math.max(0, index - 1)] ?? to, to, halfWidth));
  }
  return bitmap;
}

/** All pixels whose middle is no farther than the pen's half width from the line. */
function drawPiece(bitmap: Uint8Array, from: Point, to: Point, halfWidth: number): void {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const square = dx * dx + dy * dy || 1;
  const first = (one: number, other: number) => Math.max(0, Math.floor(Math.min(one, other) - halfWidth));
  const last = (one: number, other: number) => Math.min(BITMAP - 1, Math.ceil(Math.max(one, other) + halfWidth));
  for (let row = first(from.y, to.y); row <= last(from.y, to.y); row += 1) {
    for (let column = first(from.x, to.x); column <= last(from.x, to.x); column += 1) {
      const [px, py] = [column + 0.5 - from.x, row + 0.5 - from.y];
      const along = Math.max(0, Math.min(1, (px * dx + py * dy) / square));
      if (Math.hypot(px - along * dx, py - along * dy) <= halfWidth) bitmap[row * BITMAP + column] = 1;
    }
  }
}

function inkOf(bitmap: Uint8Array): number {
  return bitmap.reduce((sum, pixel) => sum + pixel, 0);
}

function blocksOf(bitmap: Uint8Array): Float32Array<ArrayBuffer> {
  const blocks = new Float32Array(SIDE * SIDE);
  bitmap.forEach((pixel, at) => {
    const [row, column] = [Math.floor(at / BITMAP / BLOCK), Math.floor((at % BITMAP) / BLOCK)];
    blocks[row * SIDE + column]! += pixel;
  });
  return blocks;
}
