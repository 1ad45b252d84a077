/** Making the page work without a network: its files by a service worker, the runtime's when they have been used. */

const RUNTIMES_CACHE = "torii-edge-demo-runtimes";

/** Whether all that the page has used until now is kept. False where the browser has no service workers. */
export async function keptForOffline(): Promise<boolean> {
  if (!("serviceWorker" in navigator)) return false;
  try {
    await navigator.serviceWorker.register("worker.js");
    await navigator.serviceWorker.ready;
    // At the first visit, these came before there was a service worker to keep them.
    const cache = await caches.open(RUNTIMES_CACHE);
    for (const url of runtimesUsed()) {
      if (!(await cache.match(url))) await cache.add(url);
    }
    return true;
  } catch {
    return false; // refused by the browser's settings, or cut off: the next visit tries again
  }
}

function runtimesUsed(): string[] {
  const base = new URL("runtimes/", location.href).href;
  return performance.getEntriesByType("resource").map(({ name }) => name).filter((name) => name.startsWith(base));
}
