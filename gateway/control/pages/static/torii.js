// Keeps what is shown up to date: the page is asked for again, and what differs in its live parts is changed in place.
// So focus, selection, scrolling, opened details and what is being typed stay. Without this script the pages work, too.
"use strict";

const EVERY_MS = 2000;
const pause = document.getElementById("pause");
const connection = document.getElementById("connection");
let paused = false;
let asking = false;
let took = 0;

function sameKind(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && (one.id || "") === (other.id || "");
}

function takeAttributes(now, next) {
  const ours = now.localName === "details" ? ["open"] : now.localName === "button" ? ["hidden"] : [];
  for (const { name } of [...now.attributes]) {
    if (!next.hasAttribute(name) && !ours.includes(name)) now.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (now.getAttribute(name) !== value && !ours.includes(name)) now.setAttribute(name, value);
  }
}

function become(now, next) {
  if (now.nodeType !== Node.ELEMENT_NODE) {
    if (now.data !== next.data) now.data = next.data;
    return;
  }
  takeAttributes(now, next);
  let place = now.firstChild;
  for (const child of [...next.childNodes]) {
    let found = place;
    if (child.id) found = [...now.children].find((each) => each.id === child.id) || null;
    if (found && sameKind(found, child)) {
      if (found === place) place = place.nextSibling;
      else now.insertBefore(found, place);
      become(found, child);
    } else {
      now.insertBefore(document.importNode(child, true), place);
      if (place && !place.id && !child.id) {
        const old = place;
        place = place.nextSibling;
        old.remove();
      }
    }
  }
  while (place) {
    const old = place;
    place = place.nextSibling;
    old.remove();
  }
}

async function refresh() {
  if (paused || asking || document.hidden) return;
  asking = true;
  const started = performance.now();
  try {
    const answer = await fetch(location.pathname, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const found = next.getElementById(part.id);
      if (found) become(part, found);
    }
    offerCopies();
    connection.textContent = "";
  } catch {
    if (!connection.textContent) connection.textContent = "No answer: not up to date";
  } finally {
    asking = false;
    took = performance.now() - started;
  }
}

// A page with much to show is asked for less often: the gateway has requests to answer, too.
async function keepRefreshing() {
  await refresh();
  setTimeout(keepRefreshing, Math.max(EVERY_MS, 10 * took));
}

function offerCopies() {
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll("button[data-copy][hidden]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});

offerCopies();
if (document.querySelector("main [data-live]")) {
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    refresh();
  });
  document.addEventListener("visibilitychange", refresh);
  setTimeout(keepRefreshing, EVERY_MS);
}
