/** Plays the frames of a morph: any t from 0 to 1 is shown, between two frames as their cross-fade. */

import { motionIsReduced } from "../parts/dom.js";

const SECONDS = 3.2; // from one end to the other
const SIDE = 512; // pixels of the canvas: frames are small, scaling them once here is smooth everywhere

export class MorphPlayer {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {(t: number) => void} moved Called whenever another t is shown.
   * @param {(playing: boolean) => void} changed Called when playing starts or stops.
   */
  constructor(canvas, moved, changed) {
    this.moved = moved;
    this.changed = changed;
    /** @type {HTMLImageElement[]} */
    this.pictures = [];
    this.t = 0;
    this.playing = false;
    this.backAndForth = true;
    this.direction = 1;
    this.turnsLeft = 0;
    this.request = 0;
    /** @type {number | null} When the last frame was shown, milliseconds. */
    this.last = null;
    canvas.width = SIDE;
    canvas.height = SIDE;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.context.imageSmoothingQuality = "high";
  }

  /** Take the frames' addresses; resolves when all are there, so that scrubbing never waits. @param {string[]} addresses */
  async load(addresses) {
    this.pictures = await Promise.all(addresses.map(decoded));
    this.show(this.t);
  }

  /** @param {number} t */
  show(t) {
    this.t = Math.min(1, Math.max(0, t));
    this.#paint();
    this.moved(this.t);
  }

  /** Go from where it is to the end; back and forth goes on until it is paused, or once there and back. */
  play({ once = false } = {}) {
    if (this.playing || !this.pictures.length) return;
    if (!this.backAndForth && this.t >= 1) this.t = 0;
    Object.assign(this, { playing: true, direction: this.t >= 1 ? -1 : 1, turnsLeft: once ? 1 : Infinity, last: null });
    this.changed(true);
    this.request = requestAnimationFrame((now) => this.#advance(now));
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    cancelAnimationFrame(this.request);
    this.changed(false);
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  /** Play there and back once, unless the reader asked for less motion. */
  greet() {
    if (!motionIsReduced()) this.play({ once: true });
  }

  /** @param {number} now Milliseconds. */
  #advance(now) {
    const elapsed = this.last === null ? 0 : (now - this.last) / 1000;
    this.last = now;
    this.show(this.t + (this.direction * elapsed) / SECONDS);
    const ended = this.direction > 0 ? this.t >= 1 : this.t <= 0;
    if (ended) this.#turn();
    if (this.playing) this.request = requestAnimationFrame((next) => this.#advance(next));
  }

  #turn() {
    if (!this.backAndForth || this.turnsLeft === 0) return this.pause();
    this.turnsLeft -= 1;
    this.direction = -this.direction;
  }

  #paint() {
    const { context, pictures } = this;
    if (!pictures.length) return;
    const place = this.t * (pictures.length - 1);
    const first = Math.floor(place);
    const between = place - first;
    context.globalAlpha = 1;
    context.drawImage(pictures[first], 0, 0, SIDE, SIDE);
    if (between > 0.001) {
      context.globalAlpha = between;
      context.drawImage(pictures[first + 1], 0, 0, SIDE, SIDE);
    }
  }
}

/** @param {string} address */
async function decoded(address) {
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  return picture;
}
