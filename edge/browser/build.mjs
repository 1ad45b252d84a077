/** Bundles the library and the demo page into dist/; with --tests, the tests into build/tests/. */

import { build } from "esbuild";
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const versions = JSON.parse(await readFile(join(here, "package.json"), "utf8")).dependencies;
const define = {
  ONNXRUNTIME_VERSION: JSON.stringify(versions["onnxruntime-web"]),
  LITERT_VERSION: JSON.stringify(versions["@litertjs/core"]),
};
const common = { absWorkingDir: here, bundle: true, format: "esm", target: "es2022", define, logLevel: "warning" };

const RUNTIME_FILES = {
  [`onnxruntime-${versions["onnxruntime-web"]}`]: ["node_modules/onnxruntime-web/dist", ["ort-wasm-simd-threaded.wasm"]],
  [`litert-${versions["@litertjs/core"]}`]: [
    "node_modules/@litertjs/core/wasm",
    ["litert_wasm_internal.js", "litert_wasm_internal.wasm", "litert_wasm_compat_internal.js", "litert_wasm_compat_internal.wasm"],
  ],
};

if (process.argv.includes("--tests")) await buildTests();
else await buildDist();

async function buildTests() {
  const names = (await readdir(join(here, "tests"))).filter((name) => name.endsWith(".test.ts"));
  await rm(join(here, "build", "tests"), { recursive: true, force: true });
  await build({ ...common, platform: "node", outdir: "build/tests", outExtension: { ".js": ".mjs" }, entryPoints: names.map((name) => `tests/${name}`) });
}

async function buildDist() {
  await rm(dist, { recursive: true, force: true });
  await build({
    ...common, minify: true, splitting: true, platform: "browser", outdir: "dist",
    entryPoints: { "torii-edge": "src/index.ts", demo: "demo/demo.ts" },
    // The emscripten parts of the runtimes look for node, and have these branches never taken in browsers.
    external: ["module", "worker_threads", "fs", "path", "url", "node:*"],
  });
  for (const name of ["index.html", "demo.css", "icon.svg", "manifest.webmanifest"]) {
    await cp(join(here, "demo", name), join(dist, name));
  }
  for (const [folder, [source, names]] of Object.entries(RUNTIME_FILES)) {
    await mkdir(join(dist, "runtimes", folder), { recursive: true });
    for (const name of names) await cp(join(here, source, name), join(dist, "runtimes", folder, name));
  }
  await buildWorker();
  await compress();
  await writeFile(join(dist, ".complete"), "");
}

/** Beside each large file its .gz, which a server sends instead: WebAssembly becomes a quarter of itself. */
async function compress() {
  const names = Object.entries(RUNTIME_FILES).flatMap(([folder, [, files]]) => files.map((name) => join(dist, "runtimes", folder, name)));
  await Promise.all(names.map(async (name) => writeFile(`${name}.gz`, await promisify(gzip)(await readFile(name), { level: 6 }))));
}

/** The service worker knows by name and digest what the page consists of; the runtimes it keeps when they are used. */
async function buildWorker() {
  const names = (await readdir(dist, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => relative(dist, join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
  const shell = names.filter((name) => !name.startsWith("runtimes/") && name !== "torii-edge.js");
  const digest = createHash("sha256");
  for (const name of shell) digest.update(name).update(await readFile(join(dist, name)));
  await build({
    ...common, minify: true, format: "iife", outfile: "dist/worker.js", entryPoints: ["demo/worker.ts"],
    define: {
      SHELL: JSON.stringify(["./", ...shell.filter((name) => name !== "index.html")]),
      SHELL_DIGEST: JSON.stringify(digest.digest("hex").slice(0, 16)),
      RUNTIMES: JSON.stringify(names.filter((name) => name.startsWith("runtimes/"))),
    },
  });
}
