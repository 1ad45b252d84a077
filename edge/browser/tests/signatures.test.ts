/** Ed25519 of the browser and of the library: the same answers, to RFC 8032's own examples. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex } from "../src/digests.ts";
import { verifyByNoble, verifyEd25519 } from "../src/signatures.ts";

const PUBLIC = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
const SIGNATURE = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

for (const [name, verify] of Object.entries({ verifyEd25519, verifyByNoble })) {
  test(`${name} knows a signature from another`, async () => {
    const [key, signature] = [fromHex(PUBLIC)!, fromHex(SIGNATURE)!];
    assert.equal(await verify(signature, Uint8Array.of(0x72), key), true);
    assert.equal(await verify(signature, Uint8Array.of(0x73), key), false);
    assert.equal(await verify(signature.map((byte, at) => (at === 63 ? byte ^ 1 : byte)), Uint8Array.of(0x72), key), false);
    assert.equal(await verify(signature, Uint8Array.of(0x72), new Uint8Array(32).fill(255)), false);
    assert.equal(await verify(signature.slice(0, 63), Uint8Array.of(0x72), key), false);
  });
}
