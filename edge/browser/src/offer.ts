/** What the server offers this device: a proposal only, which the signed metadata has to bear out. */

import { type Bytes, sha256 } from "./digests.ts";
import { Refused } from "./errors.ts";
import type { Network, OnProgress } from "./network.ts";
import { parsed, record, shown, text } from "./shapes.ts";
import type { TargetFile } from "./tuf/metadata.ts";
import type { Trust } from "./tuf/trust.ts";

const MOST_ANSWER_BYTES = 64 * 1024;

export interface Device {
  readonly channel: string;
  readonly runtime: string;
  /** The application's own version, "2.1.0"; null where it has none. */
  readonly app: string | null;
  /** null where the browser does not say. */
  readonly ramMb: number | null;
  /** Anonymous: made here, by chance, and the same until the browser's data are cleared. */
  readonly id: string;
  /** SHA-256 of the bundle that is installed. */
  readonly have: string | null;
}

/** The path of the target that is for this device; null where there is nothing for it. */
export async function offered(network: Network, model: string, device: Device): Promise<string | null> {
  const asked = new URLSearchParams({ channel: device.channel, os: "browser", runtime: device.runtime, id: device.id });
  if (device.ramMb !== null) asked.set("ram_mb", String(device.ramMb));
  if (device.app !== null) asked.set("app", device.app);
  if (device.have !== null) asked.set("have", device.have);
  const path = `models/${encodeURIComponent(model)}/check?${asked}`;
  const answer = await network.get(path, MOST_ANSWER_BYTES, { none: [204] });
  if (!answer) return null;
  return text(record(parsed(answer, "check"), "check").target, "check.target");
}

/** The offered target as the targets' keys signed it. Raises `Refused` if they did not, or not for this model. */
export function signedTarget(trust: Trust, path: string, model: string, app: string | null): TargetFile {
  const target = trust.target(path);
  if (!target) throw new Refused("signature", `the server offers ${path.slice(0, 200)}, which is not among the signed targets`);
  if (target.custom.model !== model) {
    throw new Refused("tampered", `the server offers ${path}, which is signed for the model ${shown(target.custom.model)}, not for ${model}`);
  }
  const needed = target.custom.min_app;
  if (typeof needed === "string" && app !== null && compareVersions(app, needed) < 0) {
    throw new Refused("unsupported", `${path} needs version ${needed} of the application; this is ${app}`);
  }
  return target;
}

/** The target's bytes, as many and with the digest as signed. */
export async function downloaded(network: Network, target: TargetFile, onProgress: OnProgress): Promise<Bytes> {
  const cut = target.path.lastIndexOf("/") + 1;
  const segments = `${target.path.slice(0, cut)}${target.sha256}.${target.path.slice(cut)}`.split("/");
  const path = `targets/${segments.map(encodeURIComponent).join("/")}`;
  const bytes = await network.get(path, target.length, { onProgress });
  if (bytes?.length !== target.length || (await sha256(bytes)) !== target.sha256) {
    throw new Refused("tampered", `${target.path}: what came is not what was signed (SHA-256 differs)`);
  }
  return bytes;
}

/** Below 0, 0, above 0. Numbers between dots, as far as they go: 2.10 is newer than 2.9. */
export function compareVersions(one: string, other: string): number {
  const [left, right] = [one, other].map((version) => version.split(/[.+-]/).map((part) => parseInt(part, 10) || 0));
  for (let index = 0; index < Math.max(left!.length, right!.length); index += 1) {
    const difference = (left![index] ?? 0) - (right![index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
