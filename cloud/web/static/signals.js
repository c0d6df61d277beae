// The live rows of the tiles. Enters: the board's signals, then windows and texts from the stream.
// Leaves: each row's value, note, age and chart, by the rules of cloud/web/readings.py. A window
// with a smaller revision, or older than what is shown, never replaces it.

import { makeChart } from "./chart.js";
import { decimalsFor, duration, fill, number, words } from "./words.js";

const RECENT_MAX = 60;
const STALE_AFTER_S = 5;
const SILENT_AFTER_S = 15;
const GOOD_ENOUGH = 0.95;
const NO_WINDOW = "-1";

let signals = new Map();
const silent = new Map();

export const keyOf = (path, ...rest) =>
  [path.enterprise, path.site, path.area, path.line, ...rest].join("/");

// Take up the rows of the document again, after the board was replaced.
export function collect() {
  for (const { chart } of signals.values()) chart?.destroy();
  signals = new Map([...document.querySelectorAll("[data-signal]")].map((row) => [
    row.dataset.signal, rowOf(row)]));
}

function rowOf(row) {
  const [value, note, age] = ["value", "note", "age"].map((name) => row.querySelector(`.${name}`));
  const { form } = row.dataset;
  const chart = form === "chart" ? makeChart(row) : null;
  return { row, value, note, age, form, chart, recent: [], window: null, normal: {} };
}

const everyS = ({ row }) => Number(row.dataset.everyS);

// The whole board again: charts, newest windows and what is normal.
export function load(board) {
  for (const line of board.lines) {
    for (const machine of line.machines) {
      for (const signal of machine.signals) loadSignal(line, machine, signal);
    }
  }
}

function loadSignal(line, machine, signal) {
  const it = signals.get(keyOf(line.path, machine.machine, signal.signal));
  if (!it) return;
  const anomaly = line.anomalies.find((one) => one.ended_ns === null
    && one.machine === machine.machine && one.signal === signal.signal);
  if (signal.text) takeText({ path: line.path, machine: machine.machine, ...signal });
  it.normal = { low: anomaly?.low ?? signal.low, high: anomaly?.high ?? signal.high };
  const known = signal.recent.at(-1)?.[0] ?? -Infinity;
  it.recent = [...signal.recent, ...it.recent.filter(([timeNs]) => timeNs > known)];
  if (signal.window && newer(signal.window, it.window)) it.window = signal.window;
  if (signal.window) show(it);
}

const newer = (window, shown) => !shown || window.time_ns > shown.time_ns
  || (window.time_ns === shown.time_ns && window.rev >= shown.rev);

// Returns false for the first window of a signal: how long it is, only the board knows.
export function takeWindow({ path, machine, signal, window }) {
  const it = signals.get(keyOf(path, machine, signal));
  if (!it) return false;
  const isKnown = it.row.dataset.endNs !== NO_WINDOW;
  const row = [window.time_ns, window.mean, window.min, window.max, window.good];
  const at = it.recent.findLastIndex(([timeNs]) => timeNs <= window.time_ns);
  it.recent.splice(at + 1, 0, row);
  if (it.recent[at]?.[0] === window.time_ns) it.recent.splice(at, 1);
  it.recent.splice(0, it.recent.length - RECENT_MAX);
  if (newer(window, it.window)) it.window = window;
  show(it);
  return isKnown;
}

// Returns false for the first unit a machine tells: then units may flow to it, the server knows.
export function takeText({ path, machine, signal, text }) {
  const key = keyOf(path, machine, signal);
  let isKnown = true;
  for (const label of document.querySelectorAll(`[data-text-key="${CSS.escape(key)}"]`)) {
    isKnown &&= label.textContent !== "";
    label.textContent = text.text;
  }
  const it = signals.get(key);
  if (it) write(it, { value: text.text });
  return isKnown;
}

function show(it) {
  const said = readingOf(it);
  write(it, said);
  it.row.dataset.endNs = it.window.time_ns + everyS(it) * 1e9;
  it.chart?.show(it.recent, it.normal);
  if (it.chart && !said.lacking) describe(it, said);
}

function readingOf(it) {
  const { form, window, recent } = it;
  const value = form === "chart" ? window.mean : window.last;
  if (value === null) return { value: window.n > 0 ? words.bad : words.empty, lacking: true };
  if (form === "chart") {
    const decimals = decimalsFor(usual([...recent, [0, window.mean, window.min, window.max]]));
    return { value: number(value, decimals), note: band(window, decimals) };
  }
  const plain = number(value, Number.isInteger(value) ? 0 : 2);
  if (form === "counter") return { value: plain, note: increase(it) };
  const name = form === "packml" && words.packml[plain];
  return name ? { value: name, note: plain } : { value: plain };
}

// The median of the windows' largest figures: one outlier takes no digits from the others.
function usual(rows) {
  const sizes = rows.map((row) => Math.max(...row.slice(1, 4).map(Math.abs)))
    .filter((size) => size > 0).sort((a, b) => a - b);
  return sizes[Math.floor((sizes.length - 1) / 2)] ?? 0;
}

function band({ min, max, good }, decimals) {
  const texts = [];
  if (min !== null && max !== null) {
    texts.push(fill(words.band, { low: number(min, decimals), high: number(max, decimals) }));
  }
  if (good < GOOD_ENOUGH) texts.push(fill(words.good, { percent: Math.trunc(good * 100) }));
  return texts.join("\n");
}

function increase(it) {
  const grown = it.window.increase;
  if (grown === null) return "";
  const text = number(grown, Number.isInteger(grown) ? 0 : decimalsFor(grown));
  return fill(words.increase, { increase: `+${text}`, every: duration(everyS(it)) });
}

function write({ row, value, note }, said) {
  row.toggleAttribute("data-lacking", Boolean(said.lacking));
  put(value, said.value);
  put(note, said.note ?? "");
}

function describe({ row, recent, window }, { value }) {
  const figures = (index) => recent.map((one) => one[index]).filter((figure) => figure !== null);
  const decimals = decimalsFor(window.mean);
  row.querySelector(".chart").setAttribute("aria-label", fill(words.chart, {
    signal: row.querySelector(".name").textContent,
    count: recent.length,
    mean: value,
    low: number(Math.min(...figures(2)), decimals),
    high: number(Math.max(...figures(3)), decimals),
  }));
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Once a second: grey out what has become old. Calls back when a machine falls silent or speaks.
export function age(nowMs, changed) {
  const newest = new Map();
  for (const it of signals.values()) {
    const endMs = Number(it.row.dataset.endNs) / 1e6;
    if (it.form === "text" || endMs < 0) continue;
    const seconds = (nowMs - endMs) / 1e3;
    const stale = seconds > everyS(it) + STALE_AFTER_S;
    it.row.toggleAttribute("data-stale", stale);
    put(it.age, stale ? fill(words.ago, { duration: duration(seconds) }) : "");
    const { machine } = it.row.closest("[data-machine]").dataset;
    newest.set(machine, Math.min(seconds, newest.get(machine) ?? Infinity));
  }
  for (const [machine, seconds] of newest) {
    const now = seconds > SILENT_AFTER_S;
    if (silent.has(machine) && silent.get(machine) !== now) changed();
    silent.set(machine, now);
  }
}

export function redraw() {
  for (const { chart } of signals.values()) chart?.redraw();
}
