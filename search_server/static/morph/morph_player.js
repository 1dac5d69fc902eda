/** Plays the frames of a morph: any t from 0 to 1 is shown, between two frames as their cross-fade. */

import { motionIsReduced } from "../parts/dom.js";
import { decoded, FrameStage } from "../parts/frame_stage.js";

const SECONDS = 3.2; // from one picture to the next, at speed 1

export class MorphPlayer {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {(t: number) => void} moved Called whenever another t is shown.
   * @param {(playing: boolean) => void} changed Called when playing starts or stops.
   */
  constructor(canvas, moved, changed) {
    this.stage = new FrameStage(canvas);
    this.moved = moved;
    this.changed = changed;
    /** @type {ImageBitmap[]} */
    this.pictures = [];
    this.t = 0;
    this.legs = 1;
    this.speed = 1;
    this.playing = false;
    this.backAndForth = true;
    this.direction = 1;
    this.turnsLeft = 0;
    this.request = 0;
    /** @type {number | null} When the last frame was shown, milliseconds. */
    this.last = null;
  }

  /**
   * Take the frames' addresses; resolves when all are there, so that scrubbing never waits.
   *
   * @param {string[]} addresses
   * @param {number} legs How many times one picture becomes another on the way.
   */
  async load(addresses, legs) {
    this.pictures = await decoded(addresses);
    this.legs = legs;
  }

  /** @param {number} t */
  show(t) {
    this.t = Math.min(1, Math.max(0, t));
    this.stage.show(this.pictures, this.t * (this.pictures.length - 1));
    this.moved(this.t);
  }

  /** Go from where it is to the end; back and forth goes on until it is paused, or once there and back. */
  play({ once = false } = {}) {
    if (this.playing || !this.pictures.length) return;
    if (!this.backAndForth && this.t >= 1) this.t = 0;
    this.playing = true;
    this.direction = this.t >= 1 ? -1 : 1;
    this.turnsLeft = once ? 1 : Infinity;
    this.last = null;
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
    this.show(this.t + (this.direction * elapsed * this.speed) / (SECONDS * this.legs));
    const ended = this.direction > 0 ? this.t >= 1 : this.t <= 0;
    if (ended) this.#turn();
    if (this.playing) this.request = requestAnimationFrame((next) => this.#advance(next));
  }

  #turn() {
    if (!this.backAndForth || this.turnsLeft === 0) return this.pause();
    this.turnsLeft -= 1;
    this.direction = -this.direction;
  }
}
