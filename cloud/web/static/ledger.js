// The gateways' sentences in the footer. Enters: gateway objects as in /v1/board.

import { duration, fill, number, words } from "./words.js";

const SILENT_AFTER_S = 15;
const WAITING_S_MAX = 60;
const ROOM_HOURS_MIN = 1;
const newest = new Map();
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
  newest.set(keyOf(gateway), gateway);
  return true;
}

// A verdict is only as new as the gateway's last line. Calls back when one falls silent or speaks.
export function age(nowMs, changed) {
  for (const [key, gateway] of newest) {
    const row = find(key);
    if (!row) continue;
    const seconds = (nowMs - gateway.seen_ns / 1e6) / 1e3;
    const stale = seconds > SILENT_AFTER_S;
    const verdict = `${row.dataset.balanced === "yes" ? "" : "un"}balanced${stale ? "_then" : ""}`;
    row.toggleAttribute("data-stale", stale);
    row.querySelector(".verdict").textContent = fill(words[verdict], {
      duration: duration(seconds),
    });
    row.querySelector(".trouble").textContent = troubles(gateway, stale).join(" ");
    if (silent.has(key) && silent.get(key) !== stale) changed();
    silent.set(key, stale);
  }
}

// What is wrong, as in cloud/web/view.py.
function troubles({ missing, hours_left: hours, oldest_s: oldestS }, stale) {
  const told = missing ? [fill(words.lines_missing, { count: number(missing, 0) })] : [];
  const matters = stale || oldestS > WAITING_S_MAX || hours < ROOM_HOURS_MIN;
  if (hours === undefined || !matters) return told;
  const room = stale ? words.room_then : words.room;
  return [...told, fill(room, { duration: duration(hours * 3600) })];
}
