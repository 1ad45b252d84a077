/** Versions of the runtimes, written in by build.mjs from package.json. */
declare const ONNXRUNTIME_VERSION: string;
declare const LITERT_VERSION: string;
