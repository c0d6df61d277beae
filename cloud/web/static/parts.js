// What the server renders stays the server's: a refresh takes the page again and swaps only the
// parts that changed. Enters: the freshly parsed page. Leaves: the same document, focus and charts
// kept where nothing changed. An element with `data-part` is one part; with `data-shell` only its
// attributes are.

import { localise } from "./words.js";

const FADE_MS = 500;
const served = new WeakMap();
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const partsOf = (root) => [...root.querySelectorAll("[data-part]")];
const namesOf = (root) => partsOf(root).map((part) => part.dataset.part).join("\n");

// What a part says, without the durations that the page itself counts on.
function signature(part) {
  const copy = part.cloneNode(true);
  for (const counting of copy.querySelectorAll("[data-since-ns]")) counting.textContent = "";
  return copy.innerHTML;
}

// Call before anything of ours writes into the document.
export function remember(root) {
  for (const part of partsOf(root)) served.set(part, signature(part));
}

// Returns true when machines or signals came, went or changed their kind: all was replaced.
export function swap(page) {
  document.title = page.title;
  const rebuilt = namesOf(document) !== namesOf(page);
  if (rebuilt) {
    remember(page);
    for (const selector of [".lines", "#board"]) {
      document.querySelector(selector).replaceWith(page.querySelector(selector));
    }
    localise(document);
    return true;
  }
  const fresh = new Map(partsOf(page).map((part) => [part.dataset.part, part]));
  for (const part of partsOf(document)) swapOne(part, fresh.get(part.dataset.part));
  return false;
}

function swapOne(part, next) {
  if (part.dataset.state !== next.dataset.state) fade(part);
  for (const { name, value } of next.attributes) {
    if (part.getAttribute(name) !== value) part.setAttribute(name, value);
  }
  const said = signature(next);
  if ("shell" in part.dataset || served.get(part) === said) return;
  const anomalies = () => [...part.querySelectorAll("[data-anomaly]")];
  const known = anomalies().map((it) => it.dataset.anomaly);
  part.replaceChildren(...next.childNodes);
  served.set(part, said);
  localise(part);
  anomalies().filter((it) => !known.includes(it.dataset.anomaly)).forEach(fade);
}

function fade(element) {
  if (!calm.matches) element.animate([{ opacity: 0.2 }, { opacity: 1 }], FADE_MS);
}
