/** The service worker: the page's own files come from what was kept at the first visit, network or not. */

declare const self: ServiceWorkerGlobalScope;
declare const SHELL: string[];
declare const SHELL_DIGEST: string;
declare const RUNTIMES: string[];

const PREFIX = "torii-edge-demo-";
const SHELL_CACHE = `${PREFIX}shell-${SHELL_DIGEST}`; // a page gets files of one build, never of two
const RUNTIMES_CACHE = `${PREFIX}runtimes`; // megabytes, which outlive a new build: their folder's name has their version

const scope = self.registration.scope;
const shell = new Set(SHELL.map((name) => new URL(name, scope).href));
const runtimes = new Set(RUNTIMES.map((name) => new URL(name, scope).href));

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  const url = new URL(event.request.url);
  url.search = url.hash = "";
  // All else, as what is asked of the edge server, goes where it would go without this worker.
  if (shell.has(url.href)) event.respondWith(kept(SHELL_CACHE, url.href, event.request));
  else if (runtimes.has(url.href)) event.respondWith(keptOrFetched(url.href));
});

async function install(): Promise<void> {
  const cache = await caches.open(SHELL_CACHE);
  await cache.addAll([...shell].map((url) => new Request(url, { cache: "reload" })));
}

async function activate(): Promise<void> {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== SHELL_CACHE && name !== RUNTIMES_CACHE) await caches.delete(name);
  }
  const cache = await caches.open(RUNTIMES_CACHE);
  for (const request of await cache.keys()) {
    if (!runtimes.has(request.url)) await cache.delete(request);
  }
  await self.clients.claim();
}

async function kept(name: string, url: string, request: Request): Promise<Response> {
  const cache = await caches.open(name);
  return (await cache.match(url)) ?? fetch(request);
}

async function keptOrFetched(url: string): Promise<Response> {
  const cache = await caches.open(RUNTIMES_CACHE);
  const found = await cache.match(url);
  if (found) return found;
  const response = await fetch(url);
  if (response.ok) await cache.put(url, response.clone());
  return response;
}

export {};
