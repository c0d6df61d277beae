// The gateways' sentences in the footer. Enters: gateway objects as in /v1/board.

import { duration, fill, number, words } from "./words.js";

const SILENT_AFTER_S = 15;
const seenMs = new Map();
const silent = new Map();

const keyOf = ({ site, area, gateway }) => `${site}/${area}/${gateway}`;
const find = (key) => document.querySelector(`[data-gateway="${CSS.escape(key)}"]`);

// Returns false for a gateway that the page does not show yet.
export function takeGateway(gateway) {
  const row = find(keyOf(gateway));
  if (!row) return false;
  const names = ["received", "derived", "filtered", "dropped", "pending"];
  const counts = Object.fromEntries(names.map((name) => [name, number(gateway[name] ?? 0, 0)]));
  const sentence = gateway.filtered ? words.ledger_filtered : words.ledger;
  row.dataset.balanced = gateway.balanced ? "yes" : "no";
  row.querySelector(".sentence").textContent = fill(sentence, counts);
  seenMs.set(keyOf(gateway), gateway.seen_ns / 1e6);
  return true;
}

// A verdict is only as new as the gateway's last line. Calls back when one falls silent or speaks.
export function age(nowMs, changed) {
  for (const [key, seen] of seenMs) {
    const row = find(key);
    if (!row) continue;
    const seconds = (nowMs - seen) / 1e3;
    const stale = seconds > SILENT_AFTER_S;
    const verdict = `${row.dataset.balanced === "yes" ? "" : "un"}balanced${stale ? "_then" : ""}`;
    row.toggleAttribute("data-stale", stale);
    row.querySelector(".verdict").textContent = fill(words[verdict], {
      duration: duration(seconds),
    });
    if (silent.has(key) && silent.get(key) !== stale) changed();
    silent.set(key, stale);
  }
}
