/** Morphing one picture into another: two ends, a stage with a slider, a film strip, the nearest real pictures. */

import { isWithdrawn, Problem } from "../api.js";
import { button, h, icon, iconButton, opensElsewhere } from "../parts/dom.js";
import { announce, copyLink, note } from "../parts/messages.js";
import { MorphPlayer } from "./morph_player.js";
import { pickPicture } from "../parts/picture_picker.js";
import { problemState, state, tooLarge } from "../parts/states.js";
import { count, scoreWords } from "../parts/words.js";

/** @type {End[]} */
const ENDS = ["a", "b"];
const FRAMES = 16; // of the film strip; between two the stage cross-fades
const EXPORT_FRAMES = 48; // of a file: no cross-fade there
const SLIDER_STEPS = 200;
/** @type {Record<string, string>} */
const PATHS = { slerp: "Spherical", lerp: "Linear" };

/** @param {import("../app.js").Page} page */
export function morphView(page) {
  if (!page.gallery.model.has_decoder) return { element: noDecoder(page), title: "Morph", close: () => {} };
  return new Morph(page).view();
}

/** @param {import("../app.js").Page} page */
function noDecoder(page) {
  return state({
    iconName: "morph",
    heading: "h1",
    title: "This gallery's model cannot paint",
    text: "Morphing needs a decoder. This model came from elsewhere and has only an encoder: it can search, but not paint. Train one on your pictures with lookalike train.",
    actions: [button("search", "Search instead", () => page.go(""), { class: "button primary" })],
  });
}

/** @typedef {"a" | "b"} End */
/** @typedef {Pick<Rest.ItemOut, "id" | "name" | "image">} Picture */

class Morph {
  /** @type {MorphPlayer} */
  player;
  /** @type {Rest.FrameOut[]} */
  frames = [];
  /** @type {HTMLElement} */
  stage;
  /** @type {HTMLCanvasElement} */
  canvas;
  /** @type {HTMLInputElement} */
  slider;
  /** @type {HTMLButtonElement} */
  playButton;
  /** @type {HTMLButtonElement} */
  loopButton;
  /** @type {number | null} Number of the frame that the strip marks. */
  shown = null;

  /** @param {import("../app.js").Page} page */
  constructor(page) {
    const path = page.parameter("path") ?? "";
    this.page = page;
    this.withdrawn = new AbortController();
    /** @type {Record<End, Picture | null>} */
    this.ends = { a: null, b: null };
    this.path = path in PATHS ? path : "slerp";
    this.slots = { a: this.#slot("a"), b: this.#slot("b") };
    this.centre = h("div", { class: "morph-centre" });
    this.actions = h("div", { class: "actions centred morph-actions" });
    this.strip = h("div", { class: "morph-strip" });
    this.element = h(
      "div",
      { class: "morph" },
      h("div", { class: "morph-head" }, h("h1", {}, "Morph"), h("p", {}, "Watch one picture become another, as the model paints everything between them.")),
      h("div", { class: "morph-table" }, this.slots.a, this.centre, this.slots.b, this.actions),
      this.strip,
    );
    this.#paintSlots();
    this.#fromAddress();
  }

  /** @returns {import("../views.js").View} */
  view() {
    return {
      element: this.element,
      title: "Morph",
      close: () => this.#close(),
      take: (taken, slot) => this.#take(taken, endOf(slot)),
      play: () => this.player?.toggle(),
      surprise: () => this.#surprise(),
    };
  }

  #close() {
    this.withdrawn.abort();
    this.player?.pause();
  }

  /** What the address says. A reader who comes without pictures gets two. */
  async #fromAddress() {
    const { page } = this;
    try {
      await Promise.all(ENDS.map(async (end) => {
        const id = page.parameter(end);
        if (id) this.ends[end] = await page.api.picture(id, this.withdrawn.signal);
      }));
    } catch (error) {
      if (!isWithdrawn(error)) this.#refuse(error);
      return;
    }
    this.#changed({ t: Number(page.parameter("t") ?? 0), greet: !page.parameter("t") });
  }

  /** @param {import("../parts/drop_target.js").Taken} taken @param {End | null} end */
  async #take(taken, end) {
    const target = end ?? (this.ends.a && !this.ends.b ? "b" : "a");
    if (taken.item) return this.#put(target, taken.item);
    const limit = this.page.limits.image_bytes;
    if (taken.file.size > limit) return note(tooLarge(taken.file, limit).detail);
    this.slots[target].setAttribute("aria-busy", "true");
    try {
      this.#put(target, await this.page.api.store(taken.file, this.withdrawn.signal));
    } catch (error) {
      if (!isWithdrawn(error)) this.#refuse(error);
    } finally {
      this.slots[target].removeAttribute("aria-busy");
    }
  }

  /** @param {End} end @param {Picture} picture */
  #put(end, picture) {
    this.ends[end] = picture;
    this.#changed({ t: 0, greet: true });
  }

  #swap() {
    this.ends = { a: this.ends.b, b: this.ends.a };
    this.#changed({ t: 1 - (this.player?.t ?? 0) });
  }

  async #surprise() {
    try {
      const [a, b] = await this.page.api.sample(2, this.page.newSeed(), this.withdrawn.signal);
      this.ends = { a: this.ends.a ?? a, b: this.ends.a && !this.ends.b ? a : b };
      if (this.ends.a && this.ends.b) this.#changed({ t: 0, greet: true });
    } catch (error) {
      if (!isWithdrawn(error)) this.#refuse(error);
    }
  }

  async #surpriseBoth() {
    this.ends = { a: null, b: null };
    await this.#surprise();
  }

  #changed({ t = 0, greet = false } = {}) {
    this.#paintSlots();
    this.page.amend({ a: this.ends.a?.id ?? null, b: this.ends.b?.id ?? null, path: this.path === "slerp" ? null : this.path, t: null });
    if (this.ends.a && this.ends.b) this.#morph(t, greet);
    else this.#invite();
  }

  #invite() {
    this.player?.pause();
    this.strip.replaceChildren();
    this.actions.replaceChildren();
    const missing = this.ends.a || this.ends.b ? "One more picture" : "Two pictures, and everything between them";
    this.centre.replaceChildren(
      state({
        iconName: "morph",
        title: missing,
        text: "Drop a picture on either side, or choose one there.",
        actions: [button("dice", "Surprise me", () => this.#surprise(), { class: "button primary" })],
      }),
    );
  }

  /** @param {Problem} problem */
  #refuse(problem) {
    this.player?.pause();
    this.strip.replaceChildren();
    this.actions.replaceChildren();
    this.centre.replaceChildren(problemState(problem, { retry: () => this.#changed() }));
  }

  // The two ends -----------------------------------------------------------------------------------------------------

  /** @param {End} end */
  #slot(end) {
    const name = `Picture ${end.toUpperCase()}`;
    return h("section", { class: `slot slot-${end}`, "aria-label": name, data: { slot: end } });
  }

  #paintSlots() {
    for (const end of ENDS) this.slots[end].replaceChildren(...this.#slotContent(end));
  }

  /** @param {End} end */
  #slotContent(end) {
    const picture = this.ends[end];
    const letter = end.toUpperCase();
    const pick = () => pickPicture(this.page, `Choose picture ${letter}`, (taken) => this.#take(taken, end));
    const badge = h("span", { class: "slot-letter", "aria-hidden": "true" }, letter);
    if (!picture) {
      return [h("button", { type: "button", class: "slot-empty", onclick: pick }, badge, icon("pick"), h("span", {}, `Choose picture ${letter}`))];
    }
    return [
      h("button", { type: "button", class: "slot-picture", onclick: pick, title: `Change picture ${letter}` }, h("img", { src: picture.image, alt: `Picture ${letter}: ${picture.name}. Change it` })),
      badge,
      h("p", { class: "slot-name", title: picture.name }, picture.name),
    ];
  }

  // The stage --------------------------------------------------------------------------------------------------------

  /** @param {number} t @param {boolean} greet */
  async #morph(t, greet) {
    this.player?.pause();
    this.withdrawn.abort();
    this.withdrawn = new AbortController();
    const { a, b } = this.ends;
    if (!a || !b) return;
    this.#buildStage();
    this.player.t = t;
    try {
      const { frames } = await this.page.api.morph(a.id, b.id, this.path, FRAMES, this.withdrawn.signal);
      this.frames = frames;
      await this.player.load(frames.map((frame) => frame.image));
    } catch (error) {
      if (!isWithdrawn(error)) this.#refuse(error instanceof Problem ? error : new Problem({ code: "unknown", title: "The frames cannot be shown", detail: String(error) }));
      return;
    }
    this.stage.removeAttribute("aria-busy");
    this.#buildStrip();
    this.player.show(t);
    announce(`Morph from ${a.name} to ${b.name}, ${FRAMES} frames`);
    if (greet) this.player.greet();
  }

  #buildStage() {
    this.canvas = h("canvas", { class: "morph-canvas", role: "img", "aria-label": "The morph" });
    this.stage = h("div", { class: "morph-stage", "aria-busy": "true" }, this.canvas);
    this.playButton = iconButton("play", "Play", () => this.player.toggle(), { class: "icon-button primary" });
    this.loopButton = iconButton("loop", "Back and forth", () => this.#toggleLoop(), { "aria-pressed": "true" });
    this.slider = h("input", {
      type: "range",
      class: "morph-slider",
      id: "morph-t",
      min: 0,
      max: SLIDER_STEPS,
      step: 1,
      value: 0,
      "aria-label": "From picture A to picture B",
      oninput: () => {
        this.player.pause();
        this.player.show(Number(this.slider.value) / SLIDER_STEPS);
      },
      onchange: () => this.#keepPlace(),
    });
    this.player = new MorphPlayer(this.canvas, (moved) => this.#moved(moved), (playing) => this.#playing(playing));
    this.centre.replaceChildren(
      this.stage,
      h("div", { class: "morph-transport" }, this.playButton, h("span", { class: "end-letter end-a", "aria-hidden": "true" }, "A"), this.slider, h("span", { class: "end-letter end-b", "aria-hidden": "true" }, "B"), this.loopButton),
    );
    this.actions.replaceChildren(
      this.#pathSwitch(),
      button("swap", "Swap", () => this.#swap()),
      button("dice", "Two others", () => this.#surpriseBoth()),
      button("link", "Copy link", () => copyLink(location.href)),
      this.#download("Animation", "webp"),
      this.#download("Film strip", "strip"),
    );
  }

  /** @param {string} words @param {string} format */
  #download(words, format) {
    const [a, b] = ENDS.map((end) => this.ends[end]?.id ?? "");
    const address = this.page.api.morphAddress(a, b, this.path, format, format === "strip" ? FRAMES : EXPORT_FRAMES);
    const name = `morph-${a}-${b}-${format === "strip" ? "strip" : "animation"}`;
    return h("a", { class: "button", href: address, download: name }, icon("download"), h("span", {}, words));
  }

  #pathSwitch() {
    const choices = Object.entries(PATHS).map(([path, words]) => {
      const radio = h("input", { type: "radio", name: "path", value: path, checked: path === this.path, onchange: () => this.#choosePath(path) });
      return h("label", {}, radio, h("span", {}, words));
    });
    return h("fieldset", { class: "segments" }, h("legend", { class: "visually-hidden" }, "Path between the two codes"), choices);
  }

  /** @param {string} path */
  #choosePath(path) {
    this.path = path;
    this.#changed({ t: this.player.t });
    /** @type {HTMLElement | null} */ (this.actions.querySelector(`input[value="${path}"]`))?.focus();
  }

  /** @param {number} t */
  #moved(t) {
    const percent = `${Math.round(t * 100)} % towards B`;
    this.slider.value = String(Math.round(t * SLIDER_STEPS));
    this.slider.setAttribute("aria-valuetext", percent);
    this.slider.style.setProperty("--t", t.toFixed(4));
    this.canvas.setAttribute("aria-label", `The morph, ${percent}`);
    const shown = Math.round(t * (FRAMES - 1));
    if (shown === this.shown) return;
    this.shown = shown;
    this.strip.querySelectorAll(".film-frame").forEach((frame, index) => {
      if (index === shown) frame.setAttribute("aria-current", "true");
      else frame.removeAttribute("aria-current");
    });
    /** @type {NodeListOf<HTMLElement>} */
    const nearests = this.strip.querySelectorAll(".nearest");
    nearests.forEach((nearest) => nearest.classList.toggle("current", shown >= Number(nearest.dataset.first) && shown <= Number(nearest.dataset.last)));
  }

  /** @param {boolean} playing */
  #playing(playing) {
    const words = playing ? "Pause" : "Play";
    this.playButton.replaceChildren(icon(playing ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", words);
    this.playButton.title = words;
    if (!playing) this.#keepPlace();
  }

  #toggleLoop() {
    this.player.backAndForth = !this.player.backAndForth;
    this.loopButton.setAttribute("aria-pressed", String(this.player.backAndForth));
  }

  #keepPlace() {
    const { t } = this.player;
    if (!this.withdrawn.signal.aborted) this.page.amend({ t: t > 0 ? t.toFixed(2) : null });
  }

  // The film strip ---------------------------------------------------------------------------------------------------

  #buildStrip() {
    this.shown = null;
    const film = this.frames.map((frame, index) => this.#filmFrame(frame, index));
    const spans = spansOfNearest(this.frames);
    const real = spans.map((span) => this.#nearest(span));
    const others = new Set(spans.map(({ hit }) => hit.id)).size;
    this.strip.replaceChildren(
      h("div", { class: "section-head" }, h("h2", {}, "Frame by frame"), h("p", { class: "quiet-words" }, `Painted by the model; below, the nearest real pictures: ${count(others)} on the way.`)),
      h("div", { class: "film", tabindex: "0", role: "group", "aria-label": "Frames and the nearest real pictures", style: { "--frames": FRAMES } }, film, real),
    );
  }

  /** @param {Rest.FrameOut} frame @param {number} index */
  #filmFrame(frame, index) {
    const percent = Math.round(frame.t * 100);
    const go = () => {
      this.player.pause();
      this.player.show(frame.t);
      this.#keepPlace();
    };
    return h(
      "button",
      { type: "button", class: "film-frame", title: `${percent} %`, style: { "grid-column": String(index + 1) }, onclick: go },
      h("img", { src: frame.image, alt: `Frame at ${percent} %`, width: 64, height: 64 }),
    );
  }

  /** @param {Span} span */
  #nearest({ hit, first, last }) {
    const { page } = this;
    const address = page.address("search", { id: hit.id });
    /** @param {MouseEvent} event */
    const go = (event) => {
      if (opensElsewhere(event)) return;
      event.preventDefault();
      page.search(hit);
    };
    return h(
      "a",
      {
        class: "nearest",
        href: address,
        title: `${hit.name}, similarity ${scoreWords(hit.score)}`,
        data: { first, last },
        style: { "grid-column": `${first + 1} / ${last + 2}` },
        onclick: go,
      },
      h("img", { src: hit.thumb, alt: `Nearest: ${hit.name}, similarity ${scoreWords(hit.score)}`, loading: "lazy" }),
    );
  }
}

/** @param {HTMLElement | null} slot @returns {End | null} */
function endOf(slot) {
  return ENDS.find((end) => end === slot?.dataset.slot) ?? null;
}

/** @typedef {{hit: Rest.HitOut, first: number, last: number}} Span Frames with one nearest picture. */

/** Neighbouring frames with the same nearest picture, as one span each. @param {Rest.FrameOut[]} frames */
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
