/** Ed25519: the browser's own where it has it, else @noble/ed25519. */

import { verifyAsync } from "@noble/ed25519";

import type { Bytes } from "./digests.ts";

export type Verify = (signature: Bytes, message: Bytes, publicKey: Bytes) => Promise<boolean>;

/** Whether the signature [64 bytes] of the message is by the public key [32 bytes]. Never raises for what others wrote. */
export const verifyEd25519: Verify = async (signature, message, publicKey) => {
  const key = await nativeKey(publicKey);
  if (key === "invalid") return false;
  if (key === "unsupported") return verifyByNoble(signature, message, publicKey);
  return crypto.subtle.verify("Ed25519", key, signature, message);
};

export const verifyByNoble: Verify = async (signature, message, publicKey) => {
  try {
    // RFC 8032 to the letter, as WebCrypto: the looser ZIP215 takes some signatures more.
    return await verifyAsync(signature, message, publicKey, { zip215: false });
  } catch {
    return false; // not a point of the curve
  }
};

async function nativeKey(publicKey: Bytes): Promise<CryptoKey | "invalid" | "unsupported"> {
  try {
    return await crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
  } catch (error) {
    const name = error instanceof Error ? error.name : "";
    return name === "DataError" ? "invalid" : "unsupported";
  }
}
