/** Reading JSON of others: each function gives the value in its type, or refuses it by name. */

import { Refused } from "./errors.ts";

export type Json = Record<string, unknown>;

export function parsed(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new Refused("malformed", `${what}: expected JSON, got something else`);
  }
}

export function record(value: unknown, what: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(what, "an object", value);
  return value as Json;
}

export function list(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value)) throw wrong(what, "a list", value);
  return value;
}

export function text(value: unknown, what: string): string {
  if (typeof value !== "string") throw wrong(what, "text", value);
  return value;
}

export function integer(value: unknown, what: string, least = 0): number {
  if (!Number.isSafeInteger(value) || (value as number) < least) throw wrong(what, `an integer of ${least} or more`, value);
  return value as number;
}

export function number(value: unknown, what: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw wrong(what, "a number", value);
  return value;
}

export function sha256Hex(value: unknown, what: string): string {
  const found = text(value, what);
  if (!/^[0-9a-f]{64}$/.test(found)) throw wrong(what, "64 hexadecimal digits", value);
  return found;
}

/** A field of an object that itself is one; fields of the prototype are none. */
export function own<T>(of: Record<string, T>, field: string): T | undefined {
  return Object.hasOwn(of, field) ? of[field] : undefined;
}

function wrong(what: string, expected: string, got: unknown): Refused {
  return new Refused("malformed", `${what}: expected ${expected}, got ${shown(got)}`);
}

/** A value in few words. Of what may be nested too deep to be walked, or have a `toString` of its own, the kind alone. */
export function shown(value: unknown): string {
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "a list" : "an object";
  return (JSON.stringify(value) ?? "nothing").slice(0, 80);
}
