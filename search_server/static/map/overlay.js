/** What lies above the points: pictures, the middles of clusters, a search, the path of a morph, what is being drawn. */

import { coloursOf } from "../parts/colours.js";
import { Camera } from "./camera.js";

const LABEL = 46; // CSS pixels of a cluster's prototype
const LABELS_UNTIL = 3.2; // zoom: nearer, the pictures speak for themselves

/** @typedef {{row: number, x: number, y: number, width: number, height: number}} Drawn A picture and where it is, in CSS pixels. */

/** @typedef {{x: number, y: number, words: string, code: number, colour: string, prototype: HTMLImageElement | null}} Label The middle of a cluster. */
/** @typedef {HTMLImageElement | ImageBitmap} Picture */

export class Overlay {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.camera = new Camera();
    this.face = "";
    this.colours = { ink: "", surface: "", accent: "", a: "", b: "", quiet: "" };
    /** @type {Drawn[]} */
    this.drawn = [];
    /** @type {(Label & {px: number, py: number})[]} Those that have room, and where. */
    this.labels = [];
    this.recolour();
  }

  /** Take the colours of the page as they are now. */
  recolour() {
    const [ink, surface, accent, a, b, quiet] = coloursOf(["--ink", "--surface", "--accent", "--end-a", "--end-b", "--quiet"]);
    this.colours = { ink, surface, accent, a, b, quiet };
    this.face = getComputedStyle(document.body).fontFamily;
  }

  /** @param {import("./camera.js").Camera} camera @param {number} ratio */
  begin(camera, ratio) {
    const { context, canvas } = this;
    this.camera = camera;
    this.drawn = [];
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  /**
   * Pictures at their points.
   *
   * @param {number[]} rows
   * @param {number} side
   * @param {{x: Float32Array, y: Float32Array, pictureOf: (row: number) => ImageBitmap | null, colourOf: (row: number) => string}} points
   */
  pictures(rows, side, { x, y, pictureOf, colourOf }) {
    for (const row of rows) {
      const picture = pictureOf(row);
      if (picture && !this.#isCovered(x[row], y[row], side)) this.#picture(row, picture, this.camera.screenX(x[row]), this.camera.screenY(y[row]), side, colourOf(row));
    }
  }

  /** Whether the middle of a cluster lies where a picture would be. @param {number} x @param {number} y @param {number} side */
  #isCovered(x, y, side) {
    const [px, py] = [this.camera.screenX(x), this.camera.screenY(y)];
    const apart = (LABEL + side) / 2;
    return this.labels.some((label) => Math.abs(label.px - px) < apart && Math.abs(label.py - py) < apart);
  }

  /** @param {number} row @param {ImageBitmap} picture @param {number} x @param {number} y @param {number} side @param {string} colour */
  #picture(row, picture, x, y, side, colour) {
    const { context } = this;
    const scale = side / Math.max(picture.width, picture.height);
    const [width, height] = [Math.round(picture.width * scale), Math.round(picture.height * scale)];
    const [left, top] = [Math.round(x - width / 2), Math.round(y - height / 2)];
    context.fillStyle = colour;
    context.fillRect(left - 2, top - 2, width + 4, height + 4);
    context.drawImage(picture, left, top, width, height);
    this.drawn.push({ row, x: left - 2, y: top - 2, width: width + 4, height: height + 4 });
  }

  /** The picture that is at a place, the last drawn first. @param {number} x @param {number} y */
  pictureAt(x, y) {
    return this.drawn.findLast((one) => x >= one.x && x <= one.x + one.width && y >= one.y && y <= one.y + one.height) ?? null;
  }

  /**
   * Find room for the middles of clusters: those that would cover a larger one are left out.
   *
   * @param {Label[]} clusters The largest first.
   */
  placeLabels(clusters) {
    this.labels = [];
    if (this.camera.zoom > LABELS_UNTIL) return;
    for (const cluster of clusters) {
      const [px, py] = [this.camera.screenX(cluster.x), this.camera.screenY(cluster.y)];
      const hidden = px < -LABEL || py < -LABEL || px > this.camera.width + LABEL || py > this.camera.height + LABEL;
      if (!hidden && !this.labels.some((other) => Math.hypot(other.px - px, other.py - py) < LABEL * 1.35)) this.labels.push({ ...cluster, px, py });
    }
  }

  /** The middles of clusters that have room: what the decoder makes of them, and how many they are. */
  drawLabels() {
    for (const label of this.labels) this.#label(label, label.px, label.py);
  }

  /** The cluster whose middle is at a place. @param {number} x @param {number} y */
  labelAt(x, y) {
    return this.labels.find(({ px, py }) => Math.hypot(px - x, py - y) < LABEL / 2) ?? null;
  }

  /** @param {Label} label @param {number} x @param {number} y */
  #label({ words, colour, prototype }, x, y) {
    const { context, colours } = this;
    const radius = LABEL / 2;
    context.save();
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = colours.surface;
    context.fill();
    context.clip();
    if (prototype) context.drawImage(prototype, x - radius, y - radius, LABEL, LABEL);
    context.restore();
    this.#ring(x, y, radius, colour, 3);
    context.font = `600 11px ${this.face}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const width = context.measureText(words).width + 10;
    context.fillStyle = colours.surface;
    context.beginPath();
    context.roundRect(x - width / 2, y + radius - 8, width, 16, 8);
    context.fill();
    context.fillStyle = colours.ink;
    context.fillText(words, x, y + radius);
  }

  /** @param {number} x @param {number} y @param {number} radius @param {string} colour @param {number} width */
  #ring(x, y, radius, colour, width) {
    const { context, colours } = this;
    for (const [line, style] of /** @type {[number, string][]} */ ([[width + 3, colours.surface], [width, colour]])) {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.lineWidth = line;
      context.strokeStyle = style;
      context.stroke();
    }
  }

  /** A point that the reader points at. @param {number} x @param {number} y @param {number} [radius] */
  mark(x, y, radius = 9) {
    this.#ring(this.camera.screenX(x), this.camera.screenY(y), radius, this.colours.ink, 2.5);
  }

  /**
   * A search: lines from where the query lies to its neighbours.
   *
   * @param {{x: number, y: number, picture: Picture | null, neighbours: {x: number, y: number}[], isGuessed: boolean}} search
   *   isGuessed: its place is a mean of others, which a broken ring says.
   */
  search({ x, y, picture, neighbours, isGuessed }) {
    const { context, camera, colours } = this;
    const [px, py] = [camera.screenX(x), camera.screenY(y)];
    context.strokeStyle = colours.accent;
    context.lineWidth = 1.25;
    context.globalAlpha = 0.6;
    context.beginPath();
    for (const neighbour of neighbours) {
      context.moveTo(px, py);
      context.lineTo(camera.screenX(neighbour.x), camera.screenY(neighbour.y));
    }
    context.stroke();
    context.globalAlpha = 1;
    for (const neighbour of neighbours) this.#ring(camera.screenX(neighbour.x), camera.screenY(neighbour.y), 5, colours.accent, 2);
    if (picture) this.#round(picture, px, py, 28);
    if (isGuessed) context.setLineDash([7, 5]);
    this.#ring(px, py, picture ? 28 : 10, colours.accent, 4);
    context.setLineDash([]);
  }

  /** A picture cut to a disc. @param {Picture} picture @param {number} x @param {number} y @param {number} radius */
  #round(picture, x, y, radius) {
    const { context } = this;
    const side = Math.min(picture.width, picture.height);
    context.save();
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.clip();
    context.drawImage(picture, (picture.width - side) / 2, (picture.height - side) / 2, side, side, x - radius, y - radius, 2 * radius, 2 * radius);
    context.restore();
  }

  /**
   * The path of a morph, from one nearest real picture to the next.
   *
   * @param {{x: number, y: number, picture: ImageBitmap | null}[]} stops
   */
  path(stops) {
    const { context, camera, colours } = this;
    if (!stops.length) return;
    const at = stops.map(({ x, y }) => [camera.screenX(x), camera.screenY(y)]);
    const [[x1, y1], [x2, y2]] = [at[0], at[at.length - 1]];
    const way = context.createLinearGradient(x1, y1, x2 === x1 && y2 === y1 ? x2 + 1 : x2, y2);
    way.addColorStop(0, colours.a);
    way.addColorStop(1, colours.b);
    context.lineJoin = "round";
    context.lineCap = "round";
    for (const [width, style] of /** @type {[number, string | CanvasGradient][]} */ ([[8, colours.surface], [4, way]])) {
      context.beginPath();
      at.forEach(([x, y], place) => (place ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.lineWidth = width;
      context.strokeStyle = style;
      context.stroke();
    }
    // The ends are drawn last: nothing covers them.
    const order = stops.map((_, place) => place).sort((one, other) => Number(isEnd(one, stops)) - Number(isEnd(other, stops)));
    for (const place of order) {
      const end = isEnd(place, stops);
      const colour = place === 0 ? colours.a : place === stops.length - 1 ? colours.b : colours.quiet;
      const radius = end ? 26 : 17;
      const [x, y] = at[place];
      const { picture } = stops[place];
      if (picture) this.#round(picture, x, y, radius);
      this.#ring(x, y, picture ? radius : 6, colour, end ? 4 : 2);
      if (end) this.#letter(place === 0 ? "A" : "B", x - radius * 0.75, y - radius * 0.75, colour);
    }
  }

  /** @param {string} letter @param {number} x @param {number} y @param {string} colour */
  #letter(letter, x, y, colour) {
    const { context, colours } = this;
    context.beginPath();
    context.arc(x, y, 10, 0, 2 * Math.PI);
    context.fillStyle = colour;
    context.fill();
    context.fillStyle = colours.surface;
    context.font = `700 12px ${this.face}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(letter, x, y + 0.5);
  }

  /** What the reader is drawing. @param {[number, number][]} corners In CSS pixels. */
  outline(corners) {
    if (corners.length < 2) return;
    const { context, colours } = this;
    context.beginPath();
    corners.forEach(([x, y], place) => (place ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    context.globalAlpha = 0.14;
    context.fillStyle = colours.accent;
    context.fill();
    context.globalAlpha = 1;
    context.setLineDash([6, 5]);
    context.lineWidth = 1.75;
    context.strokeStyle = colours.accent;
    context.stroke();
    context.setLineDash([]);
  }
}

/** @param {number} place @param {any[]} stops */
function isEnd(place, stops) {
  return place === 0 || place === stops.length - 1;
}
