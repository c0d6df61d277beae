// One signal's last windows: a band from min to max, the mean as a line, what is normal as dashes.
// Enters: rows [time_ns, mean, min, max, good], newest last. A missing or empty window is a gap,
// never a bridge. Colours are the style sheet's (--mean, --band, --normal), read at each drawing.

import uPlot from "/static/vendor/uPlot.esm.js";

const WINDOWS_SHOWN = 60;
const GAP_WINDOWS = 1.5;
const MARGIN = 0.08; // of the height, above and below
const NORMAL_WITHIN = 0.6; // a limit further off, in heights, would flatten the line

export function makeChart(row) {
  const place = row.querySelector(".chart");
  const chart = { normal: {}, rows: [] };
  const everyS = () => Number(row.dataset.everyS);
  const css = (name) => () => getComputedStyle(row).getPropertyValue(name);
  const hidden = { points: { show: false } };
  const plot = new uPlot({
    width: place.clientWidth,
    height: place.clientHeight,
    padding: [1, 1, 1, 1],
    legend: { show: false },
    cursor: { show: false },
    axes: [{ show: false }, { show: false }],
    scales: {
      x: { time: false, range: (_, low, high) => [high - (WINDOWS_SHOWN - 1) * everyS(), high] },
      y: { range: () => heightOf(chart) },
    },
    series: [{}, hidden, hidden, { stroke: css("--mean"), width: 1.75, ...hidden }],
    bands: [{ series: [2, 1], fill: css("--band") }],
    hooks: { draw: [(self) => drawNormal(self, chart, css("--normal")())] },
  }, [[], [], [], []], place);
  const watch = new ResizeObserver(() => {
    plot.setSize({ width: place.clientWidth, height: place.clientHeight });
  });
  watch.observe(place);
  return {
    show(rows, normal) {
      Object.assign(chart, { rows, normal });
      plot.setData(columns(rows, everyS()));
    },
    redraw: () => plot.redraw(),
    destroy() {
      watch.disconnect();
      plot.destroy();
    },
  };
}

function columns(rows, everyS) {
  const [time, min, max, mean] = [[], [], [], []]; // mean last: drawn over the band
  for (const [timeNs, ...figures] of rows) {
    const end = timeNs / 1e9 + everyS;
    if (time.length && end - time.at(-1) > GAP_WINDOWS * everyS) {
      time.push(time.at(-1) + everyS);
      for (const column of [mean, min, max]) column.push(null);
    }
    time.push(end);
    [mean, min, max].forEach((column, index) => column.push(figures[index]));
  }
  return [time, min, max, mean];
}

function heightOf({ rows, normal }) {
  const figures = rows.flatMap((row) => row.slice(1, 4)).filter((figure) => figure !== null);
  if (!figures.length) return [0, 1];
  let [low, high] = [Math.min(...figures), Math.max(...figures)];
  const near = (high - low) * NORMAL_WITHIN;
  for (const limit of [normal.low, normal.high]) {
    if (limit == null || limit < low - near || limit > high + near) continue;
    [low, high] = [Math.min(low, limit), Math.max(high, limit)];
  }
  const margin = (high - low) * MARGIN || Math.abs(high) * MARGIN || 1;
  return [low - margin, high + margin];
}

function drawNormal({ ctx, bbox, valToPos }, { normal }, colour) {
  ctx.save();
  ctx.beginPath();
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const limit of [normal.low, normal.high]) {
    if (limit == null) continue;
    const y = Math.round(valToPos(limit, "y", true)) + 0.5;
    if (y < bbox.top || y > bbox.top + bbox.height) continue;
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
  }
  ctx.stroke();
  ctx.restore();
}
