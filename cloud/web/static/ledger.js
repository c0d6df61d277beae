// The gateways' sentences in the footer. Enters: gateway objects as in /v1/board.

import { duration, fill, number, words } from "./words.js";

const SILENT_AFTER_S = 10;
const seenMs = new Map();

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
  row.querySelector(".verdict").textContent = gateway.balanced ? words.balanced : words.unbalanced;
  seenMs.set(keyOf(gateway), gateway.seen_ns / 1e6);
  return true;
}

export function age(nowMs) {
  for (const [key, seen] of seenMs) {
    const seconds = (nowMs - seen) / 1e3;
    const text = seconds > SILENT_AFTER_S ? fill(words.heard, { duration: duration(seconds) }) : "";
    const row = find(key);
    if (row) row.querySelector(".age").textContent = text;
  }
}
