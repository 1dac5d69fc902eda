/** Lines in a frame with two axes, drawn as SVG, and the same numbers as a table for whoever reads it otherwise. */

import { h, svg } from "./dom.js";

const [WIDTH, HEIGHT] = [640, 300];
const [LEFT, RIGHT, TOP, BOTTOM] = [72, 14, 22, 48];
const TICKS = 5;

/**
 * @typedef {{x: number, y: number, words?: string, marked?: boolean}} ChartPoint
 * @typedef {{name: string, points: ChartPoint[], line?: boolean}} Series line: false draws points alone.
 * @typedef {{words: string, unit?: string, logarithmic?: boolean}} Axis
 */

/**
 * @param {{title: string, x: Axis, y: Axis, series: Series[], level?: {y: number, words: string} | null}} chart level: a
 *   horizontal line to compare with.
 * @returns {HTMLElement}
 */
export function lineChart({ title, x, y, series, level = null }) {
  const all = series.flatMap((one) => one.points);
  const across = scale(all.map((point) => point.x), LEFT, WIDTH - RIGHT, x.logarithmic);
  const up = scale([...all.map((point) => point.y), ...(level ? [level.y] : [])], HEIGHT - BOTTOM, TOP, y.logarithmic);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart-drawing", role: "img", "aria-label": `${title}. The table below has the numbers.` });
  for (const tick of up.ticks) {
    drawing.append(svg("line", { class: "chart-rule", x1: LEFT, x2: WIDTH - RIGHT, y1: up.at(tick), y2: up.at(tick) }), text(LEFT - 8, up.at(tick) + 4, short(tick), "end"));
  }
  for (const tick of across.ticks) drawing.append(text(across.at(tick), HEIGHT - BOTTOM + 18, short(tick), "middle"));
  drawing.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, unit(x), "middle", "chart-title"), text(LEFT - 8, TOP - 8, y.unit ?? "", "end", "chart-title"));
  if (level) drawing.append(svg("line", { class: "chart-level", x1: LEFT, x2: WIDTH - RIGHT, y1: up.at(level.y), y2: up.at(level.y) }));
  series.forEach(({ points, line = true }, place) => {
    const group = svg("g", { class: `chart-series chart-series-${place % 4}` });
    if (line) group.append(svg("polyline", { points: points.map((point) => `${across.at(point.x)},${up.at(point.y)}`).join(" ") }));
    if (!line || points.length <= 40) for (const point of points) group.append(svg("circle", { cx: across.at(point.x), cy: up.at(point.y), r: point.marked ? 6 : 3 }));
    drawing.append(group);
  });
  return h(
    "figure",
    { class: "chart" },
    h("figcaption", {}, h("strong", {}, title), h("ul", { class: "chart-key", role: "list" }, series.map((one, place) => h("li", { class: `chart-series-${place % 4}` }, one.name)), level && h("li", { class: "chart-key-level" }, level.words))),
    drawing,
    h("details", {}, h("summary", {}, "The numbers"), h("div", { class: "chart-table", tabindex: "0", role: "region", "aria-label": `${title}: the numbers` }, numbers(title, x, y, series))),
  );
}

/** @param {string} title @param {Axis} x @param {Axis} y @param {Series[]} series */
function numbers(title, x, y, series) {
  const rows = series.flatMap(({ name, points }) =>
    points.map((point) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, short(point.x)), h("td", {}, short(point.y)), h("td", {}, `${point.words ?? ""}${point.marked ? " (chosen)" : ""}`))),
  );
  return h(
    "table",
    {},
    h("caption", { class: "visually-hidden" }, title),
    h("thead", {}, h("tr", {}, ["Line", unit(x), unit(y), "With"].map((words) => h("th", { scope: "col" }, words)))),
    h("tbody", {}, rows),
  );
}

/** Where values stand between two ends, and a few round ones. @param {number[]} values @param {number} from @param {number} to */
function scale(values, from, to, logarithmic = false) {
  /** @param {number} value */
  const bent = (value) => (logarithmic ? Math.log10(Math.max(value, 1e-9)) : value);
  const least = values.length ? Math.min(...values) : 0;
  const most = values.length ? Math.max(...values) : 1;
  const ticks = logarithmic ? roundPowers(least, most) : roundSteps(least, most);
  const low = bent(Math.min(least, ...ticks));
  const high = bent(Math.max(most, ...ticks));
  const span = high - low || 1;
  return { ticks, at: (/** @type {number} */ value) => Number((from + ((bent(value) - low) / span) * (to - from)).toFixed(2)) };
}

/** @param {number} least @param {number} most */
function roundSteps(least, most) {
  const rough = (most - least || Math.abs(most) || 1) / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((one) => one >= rough) ?? 10 * power;
  const first = Math.floor(least / step + 1e-9);
  const last = Math.ceil(most / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, place) => Number(((first + place) * step).toPrecision(12)));
}

/** @param {number} least @param {number} most */
function roundPowers(least, most) {
  if (least > 0 && most / least < 8) return roundSteps(least, most).filter((tick) => tick > 0);
  const first = Math.floor(Math.log10(Math.max(least, 1e-9)));
  const last = Math.ceil(Math.log10(Math.max(most, 1e-9)));
  const fine = last - first <= 1 ? [1, 2, 5] : last - first <= 3 ? [1, 3] : [1];
  /** @type {number[]} */
  const ticks = [];
  for (let power = first; power <= last; power += 1) ticks.push(...fine.map((times) => Number((times * 10 ** power).toPrecision(6))));
  const from = ticks.findLastIndex((tick) => tick <= least);
  const to = ticks.findIndex((tick) => tick >= most);
  return ticks.slice(Math.max(from, 0), to < 0 ? ticks.length : Math.max(to + 1, from + 2));
}

/** @param {number} value */
function short(value) {
  return Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });
}

/** @param {Axis} axis */
function unit(axis) {
  return axis.unit ? `${axis.words} (${axis.unit})` : axis.words;
}

/** @param {number} x @param {number} y @param {string} words @param {string} anchor */
function text(x, y, words, anchor, name = "chart-words") {
  const element = svg("text", { x, y, "text-anchor": anchor, class: name });
  element.textContent = words;
  return element;
}
