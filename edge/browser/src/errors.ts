/** What can go wrong: nobody answers, or what was answered is not to be trusted. */

/** The server could not be reached, or could not answer. The model that is installed goes on. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
}

export type Reason =
  | "signature" // not signed by enough of the keys that may
  | "expired" // signed once, and too old by now
  | "rollback" // older than what was seen before
  | "tampered" // other bytes than the signed ones
  | "malformed" // not what the format says
  | "unsupported" // needs what this client does not have
  | "self-check"; // answers otherwise here than where it was made

/** What came is not installed, and `reason` says why. The model that is installed goes on. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly reason: Reason;

  constructor(reason: Reason, message: string) {
    super(message);
    this.reason = reason;
  }
}
