/** torii-edge: a model in the browser, verified, checked, kept, and taken back when bad. */

export type { Bundle } from "./bundle/bundle.ts";
export type { Bytes } from "./digests.ts";
export { EdgeModel, type Installed, type Options, type Outcome } from "./edgemodel.ts";
export { type Reason, Refused, Unreachable } from "./errors.ts";
export { type Runtime, type Runtimes, type Session, bundledRuntimes } from "./runtimes/runtime.ts";
export type { Slot } from "./shelf.ts";
export { type SelfCheck, argmax } from "./selfcheck.ts";
export { IndexedDbStore, MemoryStore, type Store } from "./store.ts";
export { type Datatype, type Tensor, type TensorInfo, dataOf } from "./tensors.ts";
