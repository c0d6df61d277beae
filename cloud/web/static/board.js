// Keeps the board live. Enters: server-sent events of /v1/stream; /v1/board and the page itself
// again when the stream tells of anything but a new value, or after it was lost. Leaves: the
// document, up to date, or a banner that says since when it is not.

import * as ledger from "./ledger.js";
import { remember, swap } from "./parts.js";
import * as signals from "./signals.js";
import { clock, duration, fill, localise, words } from "./words.js";

const BOARD_URL = "/v1/board?recent=60";
const STREAM_URL = "/v1/stream";
const RETRY_MS = 2000;
const QUIET_MS_MAX = 15000; // heartbeats are invisible here: after this long ask the server itself
const ANSWER_MS_MAX = 8000;
const REFRESH_SPACING_MS = 500;

const lost = document.getElementById("lost");
let serverAheadMs = Number(document.getElementById("board").dataset.nowNs) / 1e6 - Date.now();
let heardMs = Date.now();
let isLost = false;
let stream = null;
let refreshing = null;
let refreshAgain = false;

// One at a time; calls meanwhile become one more.
function refresh() {
  refreshAgain = refreshing !== null;
  refreshing ??= refreshNow().finally(() => {
    refreshing = null;
    if (refreshAgain) setTimeout(refreshQuietly, REFRESH_SPACING_MS);
  });
  return refreshing;
}

const refreshQuietly = () => refresh().catch(() => {}); // the stream's own loss raises the banner

async function refreshNow() {
  const options = { signal: AbortSignal.timeout(ANSWER_MS_MAX) };
  const asked = [location.href, BOARD_URL].map((url) => fetch(url, options));
  const [page, data] = await Promise.all(asked);
  if (page.status === 401) location.reload();
  if (!page.ok || !data.ok) throw new Error(`board answered ${page.status}, data ${data.status}`);
  const [html, board] = await Promise.all([page.text(), data.json()]);
  serverAheadMs = board.now_ns / 1e6 - Date.now();
  const known = cards().map((card) => card.dataset.anomaly);
  if (swap(new DOMParser().parseFromString(html, "text/html"))) signals.collect();
  signals.load(board);
  for (const gateway of board.gateways) ledger.takeGateway(gateway);
  tick();
  announce(cards().filter((card) => !known.includes(card.dataset.anomaly)));
}

const cards = () => [...document.querySelectorAll("[data-anomaly]")];

function announce(fresh) {
  if (!fresh.length) return;
  const texts = fresh.map((card) => ["h3", ".message"]
    .map((name) => card.querySelector(name).textContent.trim().replace(/\s+/g, " ")).join(". "));
  document.getElementById("announcer").textContent = texts.join(" ");
}

const takers = {
  windows: (list) => list.map(signals.takeWindow).includes(false) && refreshQuietly(),
  window: (one) => takers.windows([one]),
  text: (one) => signals.takeText(one) || refreshQuietly(),
  gateway: (gateway) => (ledger.takeGateway(gateway) ? tick() : refreshQuietly()),
  anomaly: refreshQuietly,
  board: refreshQuietly,
  missed: refreshQuietly,
};

function connect() {
  stream = new EventSource(STREAM_URL);
  stream.onopen = () => {
    isLost = false;
    lost.hidden = true;
    heardMs = Date.now();
    refreshQuietly(); // what changed before the stream began
  };
  stream.onerror = () => {
    lose();
    if (stream.readyState === EventSource.CLOSED) reconnectLater();
  };
  for (const [event, take] of Object.entries(takers)) {
    stream.addEventListener(event, ({ data }) => {
      heardMs = Date.now();
      take(JSON.parse(data));
    });
  }
}

function lose() {
  if (isLost) return;
  isLost = true;
  lost.textContent = fill(words.lost, { time: clock(heardMs) });
  lost.hidden = false;
}

function reconnectLater() {
  setTimeout(() => {
    refreshQuietly(); // finds out whether we are still signed in
    connect();
  }, RETRY_MS);
}

async function probe() {
  heardMs = Date.now();
  try {
    await refresh();
  } catch {
    stream.close();
    lose();
    reconnectLater();
  }
}

function tick() {
  const nowMs = Date.now() + serverAheadMs;
  signals.age(nowMs, refreshQuietly);
  ledger.age(nowMs, refreshQuietly);
  for (const counting of document.querySelectorAll("[data-since-ns]")) {
    counting.textContent = duration((nowMs - Number(counting.dataset.sinceNs) / 1e6) / 1e3);
  }
  document.getElementById("clock").textContent = clock(Date.now());
  if (!isLost && Date.now() - heardMs > QUIET_MS_MAX) probe();
}

remember(document);
localise(document);
signals.collect();
tick();
setInterval(tick, 1000);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", signals.redraw);
connect();
