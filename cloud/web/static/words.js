// The words of the page's language, and numbers, durations and times by the rules of
// cloud/web/words.py. Enters: the catalogue the server also uses. Can fail: a catalogue that
// cannot be fetched stops the page's script; the server-rendered page stays readable.

const language = document.documentElement.dataset.language;
export const words = await (await fetch(`/static/strings/${language}.json`)).json();

const DECIMALS_MAX = 6;
const DECIMALS = [[1000, 0], [100, 1], [10, 1], [1, 2], [0.1, 3], [0.01, 3], [0.001, 4],
  [0.0001, 5]];
const format = (decimals) => new Intl.NumberFormat("en", {
  minimumFractionDigits: decimals,
  maximumFractionDigits: decimals,
  roundingMode: "halfEven",
  signDisplay: "negative",
});
const formats = Array.from({ length: DECIMALS_MAX + 1 }, (_, decimals) => format(decimals));
const clockFormat = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

export const fill = (sentence, values) =>
  sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);

export function decimalsFor(reference) {
  const size = Math.abs(reference);
  if (size === 0 || !Number.isFinite(size)) return 0;
  return DECIMALS.find(([floor]) => size >= floor)?.[1] ?? DECIMALS_MAX;
}

export const number = (value, decimals) => formats[decimals].format(value).replace("-", "\u2212");

export function duration(seconds) {
  const whole = Math.max(0, Math.trunc(seconds));
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const found = parts.findIndex(([count]) => count > 0);
  const first = found < 0 ? parts.length - 1 : found;
  return parts.slice(first, first + 2)
    .filter(([count], index) => count > 0 || index === 0)
    .map(([count, name]) => `${count} ${words.durations[name]}`).join(" ");
}

export const clock = (timeMs) => clockFormat.format(new Date(timeMs));

// Put this browser's zone into every time the server wrote.
export function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.textContent = clock(Date.parse(time.dateTime));
  }
}
