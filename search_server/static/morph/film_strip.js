/** The frames of a morph side by side; below, the nearest real picture of each, and how like each end it is. */

import { h } from "../parts/dom.js";
import { pictureLink } from "../parts/picture_link.js";
import { count, scoreWords } from "../parts/words.js";

const SVG = "http://www.w3.org/2000/svg";
/** @type {Record<string, number>} */
const KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

/** @typedef {{hit: Rest.HitOut, first: number, last: number}} Span Frames that share their nearest picture. */

export class FilmStrip {
  /**
   * @param {import("../app.js").Page} page
   * @param {Rest.FrameOut[]} frames
   * @param {number[]} stops Numbers of the frames at which a picture is reached: the ends, and those between.
   * @param {(t: number) => void} jump A frame was chosen.
   */
  constructor(page, frames, stops, jump) {
    this.page = page;
    this.frames = frames;
    this.jump = jump;
    this.current = -1;
    const spans = spansOfNearest(frames);
    const others = new Set(spans.map(({ hit }) => hit.id)).size;
    this.buttons = frames.map((frame, index) => this.#frame(frame, index, stops));
    this.links = spans.map((span) => this.#nearest(span));
    this.film = h(
      "div",
      { class: "film", role: "group", "aria-label": "Frames and the nearest real pictures", style: { "--frames": frames.length }, onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event) },
      this.buttons,
      this.links,
      curves(frames),
    );
    const found = others ? ` Below, the nearest real pictures: ${count(others)} on the way.` : "";
    this.element = h(
      "section",
      { class: "morph-strip", "aria-labelledby": "film-title" },
      h("div", { class: "section-head" }, h("h2", { id: "film-title" }, "Frame by frame"), h("p", { class: "quiet-words" }, `${count(frames.length)} frames, painted by the model.${found}`)),
      this.film,
      frames[0].scores.length ? h("p", { class: "curve-words quiet-words" }, h("span", { class: "curve-key curve-a" }, "like A"), h("span", { class: "curve-key curve-b" }, "like B"), "How like each end the frames are") : null,
    );
  }

  /**
   * Mark what stands at a place on the way.
   *
   * @param {number} t
   */
  show(t) {
    const shown = Math.round(t * (this.frames.length - 1));
    if (shown === this.current) return;
    this.buttons[this.current]?.removeAttribute("aria-current");
    this.current = shown;
    const frame = this.buttons[shown];
    frame.setAttribute("aria-current", "true");
    for (const button of this.buttons) button.tabIndex = button === frame ? 0 : -1;
    for (const link of this.links) link.classList.toggle("current", shown >= Number(link.dataset.first) && shown <= Number(link.dataset.last));
    this.#keepInSight(frame);
  }

  /** Scroll sideways only: the page itself stays where the reader has it. @param {HTMLElement} frame */
  #keepInSight(frame) {
    const { film } = this;
    const left = frame.offsetLeft - film.offsetLeft;
    if (left < film.scrollLeft) film.scrollLeft = left - 8;
    else if (left + frame.offsetWidth > film.scrollLeft + film.clientWidth) film.scrollLeft = left + frame.offsetWidth - film.clientWidth + 8;
  }

  /** @param {Rest.FrameOut} frame @param {number} index @param {number[]} stops */
  #frame(frame, index, stops) {
    const percent = Math.round(frame.t * 100);
    return h(
      "button",
      {
        type: "button",
        class: stops.includes(index) ? "film-frame stop" : "film-frame",
        title: `${percent} %`,
        tabindex: index ? "-1" : "0",
        style: { "grid-column": String(index + 1) },
        onclick: () => this.jump(frame.t),
      },
      h("img", { src: frame.image, alt: `Frame at ${percent} %`, width: 64, height: 64, decoding: "async" }),
    );
  }

  /** @param {Span} span */
  #nearest({ hit, first, last }) {
    const place = { data: { first, last }, style: { "grid-column": `${first + 1} / ${last + 2}` } };
    return pictureLink(this.page, hit, `Nearest: ${hit.name}, similarity ${scoreWords(hit.score)}`, { class: "nearest", ...place });
  }

  /** One frame has the focus; the arrows go to the others. @param {KeyboardEvent} event */
  #key(event) {
    const step = KEYS[event.key];
    const focused = /** @type {Element} */ (event.target).closest("button");
    const here = focused ? this.buttons.indexOf(focused) : -1;
    if (step === undefined || here < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const next = Math.min(this.frames.length - 1, Math.max(0, here + step));
    this.jump(this.frames[next].t);
    this.buttons[next].focus({ preventScroll: true });
  }
}

/**
 * Neighbouring frames with the same nearest picture, as one span each.
 *
 * @param {Rest.FrameOut[]} frames
 * @returns {Span[]}
 */
export function spansOfNearest(frames) {
  /** @type {Span[]} */
  const spans = [];
  frames.forEach((frame, index) => {
    const [hit] = frame.nearest;
    const open = spans.at(-1);
    if (!hit) return;
    if (open && open.hit.id === hit.id && open.last === index - 1) open.last = index;
    else spans.push({ hit, first: index, last: index });
  });
  return spans;
}

/** Two lines over all frames: their cosines with the first and the last picture. @param {Rest.FrameOut[]} frames */
function curves(frames) {
  if (!frames.every(({ scores }) => scores.length)) return null;
  const drawing = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ class: "curves", viewBox: `0 0 ${frames.length} 1`, preserveAspectRatio: "none", "aria-hidden": "true" })) drawing.setAttribute(name, value);
  for (const [end, place] of Object.entries({ a: 0, b: frames[0].scores.length - 1 })) {
    const line = document.createElementNS(SVG, "polyline");
    line.setAttribute("class", `curve-${end}`);
    line.setAttribute("points", frames.map(({ scores }, index) => `${index + 0.5},${(1 - Math.max(0, scores[place])).toFixed(4)}`).join(" "));
    drawing.append(line);
  }
  return drawing;
}
