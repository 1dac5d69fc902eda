/** The whole map, small: every point a grey dot, a cluster in colour, one place marked. */

import { coloursOf, onThemeChange } from "../parts/colours.js";
import { h } from "../parts/dom.js";

const SIDE = 320; // pixels of the drawing

/**
 * @param {import("./map_columns.js").MapData} map
 * @param {{x: number, y: number, cluster: number}} place
 * @param {string} label What it shows, for screen readers.
 * @param {AbortSignal} signal When the view is left.
 */
export function smallMap(map, place, label, signal) {
  const canvas = h("canvas", { class: "small-map", width: SIDE, height: SIDE, role: "img", "aria-label": label });
  paint(canvas, map, place);
  onThemeChange(() => paint(canvas, map, place), signal);
  return canvas;
}

/** @param {HTMLCanvasElement} canvas @param {import("./map_columns.js").MapData} map @param {{x: number, y: number, cluster: number}} place */
function paint(canvas, map, place) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const [others, own, halo, mark] = coloursOf(["--edge", "--accent", "--surface", "--ink"]);
  const { x, y, cluster } = map.columns;
  const at = (/** @type {number} */ value) => SIDE * (0.5 + value * 0.46);
  const size = map.count > 4000 ? 2 : map.count > 800 ? 3 : 4;
  context.clearRect(0, 0, SIDE, SIDE);
  // Those of the cluster are drawn last, so that none of them is hidden.
  for (const inside of [false, true]) {
    context.fillStyle = inside ? own : others;
    context.globalAlpha = inside ? 0.9 : 0.45;
    for (let row = 0; row < map.count; row++) {
      if ((cluster[row] === place.cluster) === inside) context.fillRect(at(x[row]) - size / 2, at(-y[row]) - size / 2, size, size);
    }
  }
  context.globalAlpha = 1;
  context.lineWidth = 4;
  for (const [radius, colour] of /** @type {[number, string][]} */ ([[11, halo], [8, mark]])) {
    context.strokeStyle = colour;
    context.beginPath();
    context.arc(at(place.x), at(-place.y), radius, 0, 2 * Math.PI);
    context.stroke();
  }
}
