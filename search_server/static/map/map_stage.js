/** The plane itself: points, pictures above them, and the hand that moves, zooms and chooses. */

import { h, motionIsReduced } from "../parts/dom.js";
import { compact } from "../parts/words.js";
import { Camera } from "./camera.js";
import { CanvasPoints } from "./canvas_points.js";
import { paletteOf, SELECTED } from "./colouring.js";
import { Overlay } from "./overlay.js";
import { PictureLevels } from "./picture_levels.js";
import { PointCells } from "./points.js";
import { Thumbnails } from "./thumbnails.js";
import { WebglPoints } from "./webgl_points.js";

const REST = 140; // milliseconds without a move after which all is drawn again
const SLOW = 24; // milliseconds of a frame: above, fewer points are drawn while the map moves
const FEWEST = 0.08; // of the points
const TOUCH = 22; // CSS pixels around a finger, and…
const MOUSE = 10; // … around the tip of a mouse
const PAD = 48; // CSS pixels around the window where pictures are drawn too
const STEP = 60; // CSS pixels of an arrow key
const STILL = 5; // CSS pixels: a press that moves less is a click

/** @typedef {[number, number]} Place In CSS pixels. */

/**
 * @typedef {object} StageWays
 * @property {string} label
 * @property {import("../analyses_api.js").AnalysesApi} analyses
 * @property {AbortSignal} signal
 * @property {string | null} renderer "webgl" or "canvas", whatever is quicker here; null: the quicker one.
 * @property {(words: string) => void} moved The map rests at another place.
 * @property {(row: number, x: number, y: number) => void} pointed At a picture; -1: at none.
 * @property {(row: number, x: number, y: number) => void} pressed
 * @property {(rows: number[]) => void} chosen
 */
export class MapStage {
  camera = new Camera();
  /** @type {"move" | "box" | "lasso"} What dragging does. */
  tool = "move";
  /** @type {Set<number>} Codes that are not shown. */
  hidden = new Set();
  /** @type {number[]} Chosen rows. */
  rows = [];
  share = 1; // of the points that are drawn while the map moves
  moving = false;
  hovered = -1;
  withPictures = true;
  frame = 0; // that was asked for
  last = 0; // when the frame before was drawn
  resting = 0;
  gliding = 0;
  ratio = 1; // pixels of the screen for one CSS pixel
  pointRatio = 1;
  isStill = true;
  /** @type {{x: number, y: number, zoom: number} | null} Where the camera is on its way to. */
  target = null;
  /** @type {number[] | null} Rows of a path. */
  path = null;
  /** @type {{x: number, y: number, picture: HTMLImageElement | null, neighbours: {x: number, y: number}[], isGuessed: boolean} | null} */
  search = null;
  /** @type {Place[] | null} What the reader is drawing. */
  drawing = null;
  shape = "move";
  /** @type {Place} Where the finger was put down. */
  start = [0, 0];
  /** @type {Map<number, Place>} */
  fingers = new Map();
  /** @type {import("./overlay.js").Label[]} */
  labels = [];
  /** @type {import("./colouring.js").Colouring} */
  colouring;
  /** @type {Overlay} */
  overlay;
  /** @type {PictureLevels} */
  levels;
  /** @type {Uint8Array} */
  codes;
  /** @type {Record<number, string>} */
  styles = {};
  /** @type {ResizeObserver | null} */
  sizes = null;

  /** @param {import("./map_columns.js").MapData} map Shuffled. @param {StageWays} ways */
  constructor(map, ways) {
    this.map = map;
    this.ways = ways;
    /** @type {Float32Array} */
    this.x = map.columns.x;
    /** @type {Float32Array} */
    this.y = map.columns.y;
    /** @type {Uint32Array | Float64Array} */
    this.ids = map.columns.id;
    this.cells = new PointCells(this.x, this.y);
    this.pointCanvas = h("canvas", { "aria-hidden": "true" });
    this.overCanvas = h("canvas", { "aria-hidden": "true" });
    this.element = h("div", { class: "map-stage", tabindex: "0", role: "application", "aria-label": ways.label }, this.pointCanvas, this.overCanvas);
    this.points = this.#renderer(ways.renderer);
    this.element.dataset.renderer = this.points instanceof WebglPoints ? "webgl" : "canvas";
    this.thumbnails = new Thumbnails((id) => ways.analyses.thumbAddress(String(id)), () => this.draw(), ways.signal);
    /** @type {Map<string, HTMLImageElement>} address -> picture */
    this.prototypes = new Map();
    this.#listen();
  }

  /** @param {string | null} wanted */
  #renderer(wanted) {
    const webgl = wanted === "canvas" ? null : WebglPoints.on(this.pointCanvas, this.x, this.y, wanted === "webgl");
    if (webgl) return webgl;
    const fresh = h("canvas", { "aria-hidden": "true" }); // one that WebGL has touched is lost for all else
    this.pointCanvas.replaceWith(fresh);
    this.pointCanvas = fresh;
    return new CanvasPoints(fresh, this.x, this.y);
  }

  /** Take its place and draw. @param {string | null} place As an address has it. */
  begin(place) {
    this.overlay = new Overlay(this.overCanvas);
    this.#measure();
    if (!this.camera.read(place)) this.camera.all();
    this.sizes = new ResizeObserver(() => {
      this.#measure();
      this.#forgetPictures();
      this.draw();
    });
    this.sizes.observe(this.element);
    this.draw();
  }

  close() {
    this.sizes?.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.resting);
    this.points.close();
  }

  #measure() {
    const { clientWidth: width, clientHeight: height } = this.element;
    Object.assign(this.camera, { width: Math.max(1, width), height: Math.max(1, height) });
    this.ratio = Math.min(2, devicePixelRatio || 1);
    // Setting pixel by pixel, twice as many pixels take twice as long.
    this.pointRatio = this.points instanceof CanvasPoints && this.map.count > 50_000 ? 1 : this.ratio;
    for (const [canvas, ratio] of /** @type {[HTMLCanvasElement, number][]} */ ([[this.pointCanvas, this.pointRatio], [this.overCanvas, this.ratio]])) {
      canvas.width = Math.round(this.camera.width * ratio);
      canvas.height = Math.round(this.camera.height * ratio);
    }
  }

  // What is shown ----------------------------------------------------------------------------------------------------

  /** @param {import("./colouring.js").Colouring} colouring @param {Set<number>} hidden Codes. */
  colour(colouring, hidden) {
    const { codes } = colouring;
    this.colouring = colouring;
    this.codes = codes.slice();
    for (const row of this.rows) this.codes[row] = codes[row] + SELECTED;
    this.hidden = new Set(hidden);
    this.styles = Object.fromEntries(colouring.groups.map((group) => [group.code, `rgb(${group.colour.join(" ")})`]));
    this.points.setCodes(this.codes);
    this.#paint();
    this.#forgetPictures();
    this.overlay?.recolour();
    this.#placeLabels();
    this.draw();
  }

  #paint() {
    this.points.setPalette(paletteOf(this.colouring.groups, this.hidden, this.rows.length > 0));
  }

  /** @param {boolean} shown */
  showPictures(shown) {
    this.withPictures = shown;
    this.draw();
  }

  /** @param {number} row */
  isShown(row) {
    return !this.hidden.has(this.colouring.codes[row]);
  }

  #forgetPictures() {
    this.levels = new PictureLevels(this.x, this.y, (row) => this.isShown(row));
  }

  /** The middle of each cluster: the place that half of its points lie left of, and half below. */
  #placeLabels() {
    const { by, groups, codes } = this.colouring;
    this.labels = [];
    if (by !== "cluster") return;
    /** @type {Map<number, {group: import("./colouring.js").Group, xs: number[], ys: number[]}>} */
    const places = new Map(groups.filter((group) => group.cluster && !this.hidden.has(group.code)).map((group) => [group.code, { group, xs: [], ys: [] }]));
    const step = Math.max(1, Math.floor(this.map.count / 40_000)); // a sample is as good
    for (let row = 0; row < this.map.count; row += step) {
      const place = places.get(codes[row]);
      if (!place) continue;
      place.xs.push(this.x[row]);
      place.ys.push(this.y[row]);
    }
    for (const { group, xs, ys } of places.values()) {
      if (xs.length) this.labels.push({ x: middleOf(xs), y: middleOf(ys), words: compact(group.count), code: group.code, colour: this.styles[group.code], prototype: this.#prototype(group.cluster) });
    }
  }

  /** @param {Rest.ClusterOut | undefined} cluster @returns {HTMLImageElement | null} */
  #prototype(cluster) {
    if (!cluster) return null;
    const address = cluster.prototype ?? this.ways.analyses.thumbAddress(cluster.medoid);
    if (!this.prototypes.has(address)) {
      const picture = new Image();
      picture.src = address;
      this.prototypes.set(address, picture);
      picture.decode().then(
        () => this.draw(),
        () => this.prototypes.delete(address),
      );
    }
    return this.prototypes.get(address) ?? null;
  }

  // Drawing ----------------------------------------------------------------------------------------------------------

  draw() {
    if (!this.overlay || !this.colouring || this.ways.signal.aborted) return;
    this.frame ||= requestAnimationFrame((now) => this.#draw(now));
  }

  /** @param {number} now */
  #draw(now) {
    this.frame = 0;
    this.#adapt(now);
    const { camera } = this;
    const size = this.#pointSize();
    this.points.draw(camera, size, Math.ceil(this.map.count * (this.moving ? this.share : 1)), this.pointRatio);
    this.overlay.begin(camera, this.ratio);
    // A search and a path are what the reader came for: nothing is to cover them.
    const labels = this.path || this.search ? [] : this.labels;
    this.overlay.placeLabels(labels.filter(({ prototype }) => prototype?.complete && prototype.naturalWidth));
    if (this.withPictures) this.#drawPictures();
    this.overlay.drawLabels();
    if (this.path) this.overlay.path(this.path.map((row) => ({ x: this.x[row], y: this.y[row], picture: this.thumbnails.get(this.ids[row]) })));
    if (this.search) this.overlay.search(this.search);
    if (this.hovered >= 0) this.overlay.mark(this.x[this.hovered], this.y[this.hovered]);
    if (this.drawing) this.overlay.outline(this.drawing);
  }

  /** Draw fewer points while frames come late, more while they come in time; what is drawn is a fair sample. @param {number} now */
  #adapt(now) {
    if (this.moving && this.last) {
      const took = now - this.last;
      if (took > SLOW && took < 500) this.share = Math.max(FEWEST, this.share * 0.75);
      else if (took < SLOW * 0.75) this.share = Math.min(1, this.share * 1.1);
      this.element.dataset.share = this.share.toFixed(2);
    }
    this.last = this.moving ? now : 0;
  }

  #pointSize() {
    const { zoom } = this.camera;
    const shown = Math.max(this.map.count, 1);
    const base = Math.min(7, Math.max(2, 190 / Math.sqrt(shown)));
    return Math.min(11, base * Math.max(1, zoom ** 0.35));
  }

  #drawPictures() {
    const { camera, x, y, ids } = this;
    const level = PictureLevels.of(camera.zoom);
    const rows = this.levels.within(level, camera.base, this.cells, camera.box(PAD));
    if (!this.moving || rows.length < 400) {
      const wanted = rows.map((row) => ids[row]);
      this.thumbnails.want(this.path ? [...this.path.map((row) => ids[row]), ...wanted] : wanted);
    }
    this.overlay.pictures(rows, PictureLevels.side(level), {
      x,
      y,
      pictureOf: (row) => this.thumbnails.get(ids[row]),
      colourOf: (row) => this.styles[this.colouring.codes[row]],
    });
  }

  /** The map moves: draw it soon, and draw it whole when it rests. */
  #move() {
    this.moving = true;
    this.ways.pointed(-1, 0, 0);
    this.hovered = -1;
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.moving = false;
      this.draw();
      this.ways.moved(this.camera.words);
    }, REST);
    this.draw();
  }

  // Where to look ----------------------------------------------------------------------------------------------------

  /** @param {number} factor */
  zoomBy(factor) {
    this.#glide(() => this.camera.zoomAt(factor, this.camera.width / 2, this.camera.height / 2));
  }

  showAll() {
    this.#glide(() => this.camera.all());
  }

  /** Show all points of one colour. @param {number} code */
  showGroup(code) {
    const { codes } = this.colouring;
    /** @type {number[]} */
    const rows = [];
    for (let row = 0; row < this.map.count; row++) if (codes[row] === code) rows.push(row);
    if (rows.length) this.#glide(() => this.camera.show(boxOf(rows, this.x, this.y)));
  }

  /** Go where `change` leads the camera, in a few steps unless the reader wants no motion. @param {() => void} change */
  #glide(change) {
    const { camera } = this;
    this.#arrive();
    const from = { x: camera.x, y: camera.y, zoom: camera.zoom };
    change();
    const to = { x: camera.x, y: camera.y, zoom: camera.zoom };
    if (motionIsReduced()) return this.#move();
    const began = performance.now();
    this.target = to;
    const step = (/** @type {number} */ now) => {
      const share = Math.min(1, Math.max(0, now - began) / 260);
      const eased = 1 - (1 - share) ** 3;
      camera.zoom = from.zoom * (to.zoom / from.zoom) ** eased;
      camera.x = from.x + (to.x - from.x) * eased;
      camera.y = from.y + (to.y - from.y) * eased;
      this.#move();
      if (share < 1 && !this.ways.signal.aborted) this.gliding = requestAnimationFrame(step);
      else this.target = null;
    };
    this.gliding = requestAnimationFrame(step);
  }

  /** Be where the camera is on its way to: the reader's own hand goes on from there. */
  #arrive() {
    if (!this.target) return;
    cancelAnimationFrame(this.gliding);
    Object.assign(this.camera, this.target);
    this.target = null;
  }

  /** The row of an item, or -1. @param {string} id */
  rowOf(id) {
    return this.ids.indexOf(Number(id));
  }

  /** Rows that are seen, those in the middle first. */
  seen() {
    const { camera } = this;
    /** @type {number[]} */
    const rows = [];
    this.cells.within(camera.box(), (row) => this.isShown(row) && rows.push(row));
    return this.#byDistance(rows, camera.x, camera.y);
  }

  /** @param {number[]} rows @param {number} most */
  nearestTheirMiddle(rows, most) {
    const mean = (/** @type {Float32Array} */ values) => rows.reduce((sum, row) => sum + values[row], 0) / rows.length;
    return this.#byDistance(rows, mean(this.x), mean(this.y)).slice(0, most);
  }

  /** @param {number[]} rows @param {number} x @param {number} y */
  #byDistance(rows, x, y) {
    const far = (/** @type {number} */ row) => (this.x[row] - x) ** 2 + (this.y[row] - y) ** 2;
    return [...rows].sort((one, other) => far(one) - far(other));
  }

  // A search and a path ----------------------------------------------------------------------------------------------

  /**
   * @param {{x: number, y: number}} place Where the query lies.
   * @param {number[]} rows Of its neighbours.
   * @param {string} address Of its picture.
   * @param {boolean} isGuessed Whether that is the mean of where its neighbours lie.
   */
  async showSearch({ x, y }, rows, address, isGuessed = false) {
    const neighbours = rows.map((row) => ({ x: this.x[row], y: this.y[row] }));
    this.search = { x, y, picture: null, neighbours, isGuessed };
    const box = boxOf(rows, this.x, this.y);
    const all = { left: Math.min(box.left, x), right: Math.max(box.right, x), bottom: Math.min(box.bottom, y), top: Math.max(box.top, y) };
    if (!new URLSearchParams(location.search).has("view")) this.#glide(() => this.camera.show(grown(all)));
    this.draw();
    const picture = new Image();
    picture.src = address;
    await picture.decode().then(
      () => this.search && Object.assign(this.search, { picture }),
      () => {},
    );
    this.draw();
  }

  /** @param {number[]} rows */
  showPath(rows) {
    this.path = rows;
    this.thumbnails.want(rows.map((row) => this.ids[row]));
    if (!new URLSearchParams(location.search).has("view")) this.#glide(() => this.camera.show(grown(boxOf(rows, this.x, this.y))));
    this.draw();
  }

  // Choosing ---------------------------------------------------------------------------------------------------------

  /** @param {number[]} rows */
  choose(rows) {
    for (const row of this.rows) this.codes[row] = this.colouring.codes[row];
    this.rows = rows;
    for (const row of rows) this.codes[row] = this.colouring.codes[row] + SELECTED;
    this.points.setCodes(this.codes);
    this.#paint();
    this.draw();
    this.ways.chosen(rows);
  }

  /** @param {Place[]} corners */
  #chooseInside(corners) {
    const places = corners.map(([px, py]) => /** @type {Place} */ ([this.camera.worldX(px), this.camera.worldY(py)]));
    this.choose(this.cells.enclosed(places).filter((row) => this.isShown(row)));
  }

  // The hand ---------------------------------------------------------------------------------------------------------

  #listen() {
    const { element } = this;
    const { signal } = this.ways;
    element.addEventListener("wheel", (event) => this.#wheel(event), { passive: false, signal });
    element.addEventListener("pointerdown", (event) => this.#down(event), { signal });
    element.addEventListener("pointermove", (event) => this.#moved(event), { signal });
    for (const name of /** @type {("pointerup" | "pointercancel")[]} */ (["pointerup", "pointercancel"])) element.addEventListener(name, (event) => this.#up(event), { signal });
    element.addEventListener("pointerleave", () => this.#point(-1, 0, 0), { signal });
    element.addEventListener("dblclick", (event) => this.#glide(() => this.camera.zoomAt(2.2, ...this.#at(event))), { signal });
    element.addEventListener("keydown", (event) => this.#key(event), { signal });
  }

  /** @param {MouseEvent} event @returns {Place} */
  #at(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    this.#arrive();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 24 : 1;
    const speed = event.ctrlKey ? 0.01 : 0.0022; // a pinch on a pad comes as a wheel with Ctrl
    this.camera.zoomAt(Math.exp(-event.deltaY * lines * speed), ...this.#at(event));
    this.#move();
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button > 0) return;
    this.#arrive();
    this.element.setPointerCapture(event.pointerId);
    const at = this.#at(event);
    this.fingers.set(event.pointerId, at);
    if (this.fingers.size === 1) {
      this.start = at;
      this.isStill = true;
      const tool = event.shiftKey && this.tool === "move" ? "lasso" : this.tool;
      this.drawing = tool === "move" ? null : [at];
      this.shape = tool;
    } else this.drawing = null;
  }

  /** @param {PointerEvent} event */
  #moved(event) {
    const at = this.#at(event);
    const before = this.fingers.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") this.#point(this.#rowAt(at, MOUSE), ...at);
      return;
    }
    if (Math.hypot(at[0] - this.start[0], at[1] - this.start[1]) > STILL) this.isStill = false;
    if (this.fingers.size === 2) this.#pinch(event.pointerId, before, at);
    else if (this.drawing) this.#outline(at);
    else if (!this.isStill) {
      this.element.dataset.dragged = "";
      this.camera.pan(at[0] - before[0], at[1] - before[1]);
      this.#move();
    } else return;
    this.fingers.set(event.pointerId, at);
  }

  /** @param {Place} at */
  #outline(at) {
    if (!this.drawing) return;
    const [[left, top]] = this.drawing;
    if (this.shape === "lasso") this.drawing.push(at);
    else this.drawing = [[left, top], [at[0], top], at, [left, at[1]]];
    this.draw();
  }

  /** @param {number} id @param {Place} before @param {Place} at */
  #pinch(id, before, at) {
    const [other] = [...this.fingers].filter(([finger]) => finger !== id).map(([, place]) => place);
    const apart = (/** @type {Place} */ [x, y]) => Math.hypot(x - other[0], y - other[1]);
    /** @type {Place} */
    const middle = [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2];
    this.camera.pan((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
    this.camera.zoomAt(apart(at) / Math.max(1, apart(before)), ...middle);
    this.isStill = false;
    this.#move();
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (!this.fingers.delete(event.pointerId)) return;
    delete this.element.dataset.dragged;
    const { drawing } = this;
    this.drawing = null;
    if (event.type === "pointercancel" || this.fingers.size) return this.draw();
    if (this.isStill) this.#press(event);
    else if (drawing && drawing.length > 2) this.#chooseInside(drawing);
    this.draw();
  }

  /** @param {PointerEvent} event */
  #press(event) {
    const at = this.#at(event);
    const label = this.overlay.labelAt(...at);
    const row = this.#rowAt(at, event.pointerType === "touch" ? TOUCH : MOUSE);
    if (label) this.showGroup(label.code);
    else if (row >= 0) this.ways.pressed(row, ...at);
    else {
      this.ways.pressed(-1, ...at);
      if (this.rows.length) this.choose([]);
    }
  }

  /** @param {Place} at @param {number} far */
  #rowAt([px, py], far) {
    const { camera } = this;
    const picture = this.overlay.pictureAt(px, py);
    if (picture) return picture.row;
    return this.cells.nearest(camera.worldX(px), camera.worldY(py), far / camera.scale, (row) => this.isShown(row));
  }

  /** @param {number} row @param {number} x @param {number} y */
  #point(row, x, y) {
    if (row === this.hovered) return;
    this.hovered = row;
    this.element.classList.toggle("pointing", row >= 0);
    this.ways.pointed(row, x, y);
    this.draw();
  }

  /** Where a row is, in CSS pixels. @param {number} row @returns {[number, number]} */
  placeOf(row) {
    return [this.camera.screenX(this.x[row]), this.camera.screenY(this.y[row])];
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { camera } = this;
    const step = event.shiftKey ? 4 * STEP : STEP;
    /** @type {Record<string, () => void>} */
    const acts = {
      ArrowLeft: () => camera.pan(step, 0),
      ArrowRight: () => camera.pan(-step, 0),
      ArrowUp: () => camera.pan(0, step),
      ArrowDown: () => camera.pan(0, -step),
      Enter: () => this.#pressMiddle(),
      Escape: () => this.choose([]),
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    this.#arrive();
    act();
    if (event.key.startsWith("Arrow")) this.#move();
  }

  /** The picture nearest to the middle. */
  #pressMiddle() {
    const { camera } = this;
    const row = this.cells.nearest(camera.x, camera.y, Math.max(camera.width, camera.height) / camera.scale, (one) => this.isShown(one));
    if (row >= 0) this.ways.pressed(row, ...this.placeOf(row));
  }
}

/** @param {number[]} rows @param {Float32Array} x @param {Float32Array} y @returns {import("./camera.js").Box} */
function boxOf(rows, x, y) {
  const box = { left: Infinity, right: -Infinity, bottom: Infinity, top: -Infinity };
  for (const row of rows) {
    box.left = Math.min(box.left, x[row]);
    box.right = Math.max(box.right, x[row]);
    box.bottom = Math.min(box.bottom, y[row]);
    box.top = Math.max(box.top, y[row]);
  }
  return box;
}

/** A box that is not too small to say where it is. @param {import("./camera.js").Box} box */
function grown({ left, right, bottom, top }) {
  const least = 0.12;
  const grow = (/** @type {number} */ low, /** @type {number} */ high) => (high - low < least ? [(low + high - least) / 2, (low + high + least) / 2] : [low, high]);
  [left, right] = grow(left, right);
  [bottom, top] = grow(bottom, top);
  return { left, right, bottom, top };
}

/** @param {number[]} values */
function middleOf(values) {
  values.sort((one, other) => one - other);
  return values[values.length >> 1];
}
