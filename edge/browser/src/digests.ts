/** Bytes, and what they are known by. */

export type Bytes = Uint8Array<ArrayBuffer>;

/** SHA-256 as 64 hexadecimal digits. Needs a secure context: https, or localhost. */
export async function sha256(bytes: Bytes): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The bytes of an even number of hexadecimal digits, 64 bytes at most; null if it is something else. */
export function fromHex(digits: string): Bytes | null {
  if (!/^([0-9a-f]{2}){0,64}$/i.test(digits)) return null;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export function utf8(words: string): Bytes {
  return new TextEncoder().encode(words) as Bytes;
}
