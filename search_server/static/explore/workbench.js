/** A picture that the model paints, and sliders that change it along the main axes of the gallery. */

import { isWithdrawn, queryParameters } from "../api.js";
import { button, h, icon, iconButton, motionIsReduced } from "../parts/dom.js";
import { decoded, FrameStage } from "../parts/frame_stage.js";
import { announce, copyLink, note } from "../parts/messages.js";
import { pictureLink } from "../parts/picture_link.js";
import { pickPicture } from "../parts/picture_picker.js";
import { problemState, tooLarge } from "../parts/states.js";
import { scoreWords } from "../parts/words.js";
import { PaintingApi } from "../painting_api.js";
import { AxisSlider, deviations } from "./axis_slider.js";
import { CodeSpace } from "./code_space.js";

const REACH = 3; // standard deviations to both sides, or as far as the picture itself lies
const COARSE = 1; // deviations between the pictures of a slider; between two the stage cross-fades
const FINE = 0.5; // of the slider that the reader is at
const REST = 150; // milliseconds that a slider rests before what lies around its place is asked for
const NEAREST = 6; // real pictures beside the painted one
const WALK_FRAMES = 12; // from one place of a random walk to the next
const WALK_SECONDS = 2.4;
const WALK_REACH = 2; // deviations

/**
 * @typedef {object} Line The pictures along one slider, as all others stand.
 * @property {ImageBitmap[]} pictures
 * @property {string[]} images
 * @property {number} step Deviations between two.
 * @property {string} others Where all other sliders stood.
 */

/** @typedef {{from: number[], to: number[], pictures: ImageBitmap[]}} Leg Of a random walk. */
/** @typedef {Pick<Rest.ItemOut, "id" | "name" | "image"> & {thumb?: string}} Picture An item, or a stored query. */

export class Workbench {
  /**
   * @param {import("../app.js").Page} page
   * @param {Rest.AxesOut} answer With their vectors.
   * @param {Map<string, Rest.ItemOut>} items The real pictures at their ends.
   */
  constructor(page, answer, items) {
    this.page = page;
    this.api = new PaintingApi(page.api.base);
    this.answer = answer;
    this.items = items;
    this.withdrawn = new AbortController();
    this.space = new CodeSpace(answer);
    /** @type {number[]} Of the picture that it began with. */
    this.code = [];
    /** @type {number[]} Where that picture stands on each axis. */
    this.home = [];
    /** @type {number[]} Where the sliders stand. */
    this.places = [];
    /** @type {AxisSlider[]} */
    this.sliders = [];
    /** @type {Picture | null} The picture that it began with; none: the average of all. */
    this.start = null;
    /** @type {Line[]} By axis. */
    this.lines = [];
    this.resting = 0; // timer
    this.wanted = 0; // counts what was asked to be painted: only the latest matters
    this.painting = false;
    this.refining = -1; // the axis whose finer pictures are on their way
    /** @type {object | null} The random walk that goes on. */
    this.walking = null;
    this.canvas = h("canvas", { class: "explore-canvas", role: "img", "aria-label": "The painted picture" });
    this.stage = new FrameStage(this.canvas);
    this.frame = h("div", { class: "explore-stage", "aria-busy": "true" }, this.canvas);
    this.slot = h("div", { class: "explore-start", data: { slot: "start" } });
    this.real = h("div", { class: "explore-real" });
    this.list = h("ol", { class: "axes", role: "list", "aria-label": "Main axes" });
    this.walkButton = button("walk", motionIsReduced() ? "Random step" : "Random walk", () => this.walk());
    this.element = h(
      "div",
      { class: "workbench" },
      h(
        "div",
        { class: "workbench-picture" },
        this.frame,
        h(
          "div",
          { class: "actions workbench-actions" },
          button("search", "Find what looks like this", () => this.#search(), { class: "button primary" }),
          this.walkButton,
          button("loop", "Reset", () => this.reset()),
          iconButton("link", "Copy link", () => copyLink(location.href)),
        ),
        this.slot,
        this.real,
      ),
      this.list,
    );
  }

  /** Begin with what the address says. */
  async begin() {
    const { page } = this;
    await this.startFrom(page.parameter("id") ?? page.parameter("q"), readPlaces(page.parameter("at")));
  }

  close() {
    this.withdrawn.abort();
    clearTimeout(this.resting);
    this.#stopWalking();
  }

  // Where it starts --------------------------------------------------------------------------------------------------

  /**
   * @param {string | null} id Of an item or a stored query; null: the average of all pictures.
   * @param {Map<number, number>} moved Axes that stand elsewhere than the picture does.
   */
  async startFrom(id, moved = new Map()) {
    const { signal } = this.withdrawn;
    this.#stopWalking();
    try {
      /** @type {[Picture | null, number[]]} */
      const [start, code] = id ? await Promise.all([this.page.api.picture(id, signal), this.api.code(id, signal)]) : [null, this.space.mean];
      this.start = start;
      this.code = code;
      this.home = this.space.places(code);
      this.places = this.home.map((place, axis) => moved.get(axis) ?? place);
      this.#buildSliders();
      this.#paintStart();
      await this.settle();
    } catch (error) {
      if (!isWithdrawn(error)) this.#refuse(error);
    }
  }

  /** @param {import("../parts/drop_target.js").Taken} taken */
  async take(taken) {
    if (taken.item) return this.startFrom(taken.item.id);
    const limit = this.page.limits.image_bytes;
    if (taken.file.size > limit) return note(tooLarge(taken.file, limit).detail);
    try {
      const stored = await this.page.api.store(taken.file, this.withdrawn.signal);
      await this.startFrom(stored.id);
    } catch (error) {
      if (!isWithdrawn(error)) this.#refuse(error);
    }
  }

  async surprise() {
    try {
      const [item] = await this.page.api.sample(1, this.page.newSeed(), this.withdrawn.signal);
      if (item) await this.startFrom(item.id);
    } catch (error) {
      if (!isWithdrawn(error)) this.#refuse(error);
    }
  }

  #pick() {
    pickPicture(this.page, "A picture to start from", (/** @type {import("../parts/drop_target.js").Taken} */ taken) => this.take(taken));
  }

  #paintStart() {
    const { start } = this;
    this.slot.replaceChildren(
      ...(start
        ? [h("img", { src: start.thumb ?? start.image, alt: "" }), h("p", {}, h("span", { class: "quiet-words" }, "Started from"), h("strong", {}, start.name))]
        : [h("p", {}, h("span", { class: "quiet-words" }, "Started from"), h("strong", {}, "the average of all pictures"))]),
      h(
        "div",
        { class: "actions" },
        button("pick", start ? "Another" : "A picture", () => this.#pick(), { "aria-label": "Start from another picture" }),
        button("dice", "Any", () => this.surprise(), { "aria-label": "Start from any picture" }),
        ...(start ? [button("back", "Average", () => this.startFrom(null), { "aria-label": "Start from the average of all pictures" })] : []),
      ),
    );
  }

  /** @param {import("../api.js").Problem} problem */
  #refuse(problem) {
    this.frame.removeAttribute("aria-busy");
    this.real.replaceChildren(
      problemState(problem, {
        retry: () => this.page.reload(),
        others: [button("pick", "Start from another picture", () => this.#pick(), { class: "button primary" }), button("back", "From the average", () => this.startFrom(null))],
      }),
    );
  }

  // The sliders ------------------------------------------------------------------------------------------------------

  #buildSliders() {
    this.lines = [];
    this.sliders = this.answer.axes.map((axis, number) => {
      const low = Math.min(-REACH, Math.floor(this.places[number]), Math.floor(this.home[number]));
      const high = Math.max(REACH, Math.ceil(this.places[number]), Math.ceil(this.home[number]));
      const slider = new AxisSlider(this.page, number, axis, { low, high, home: this.home[number] }, {
        near: () => this.#refine(number),
        drag: (place) => this.#drag(number, place),
        settle: () => this.#rest(),
      });
      slider.set(this.places[number]);
      slider.showReal(this.items);
      return slider;
    });
    this.list.replaceChildren(...this.sliders.map(({ element }) => element));
  }

  /** Show what lies there: from the pictures that are here already. @param {number} axis @param {number} place */
  #drag(axis, place) {
    this.#stopWalking();
    this.places[axis] = place;
    const line = this.#line(axis);
    if (line) this.stage.show(line.pictures, (place - this.sliders[axis].range.low) / line.step);
    else this.#refine(axis);
  }

  /** The pictures along a slider; null where others have been moved since they were painted. @param {number} axis */
  #line(axis) {
    const line = this.lines[axis];
    return line?.others === this.#others(axis) ? line : null;
  }

  /** @param {number} axis */
  #others(axis) {
    return this.places.toSpliced(axis, 1).join();
  }

  /** All codes along one slider. @param {number} axis @param {number} step Deviations. */
  #codesAlong(axis, step) {
    const { low, high } = this.sliders[axis].range;
    const codes = [];
    for (let place = low; place <= high + 1e-9; place += step) {
      const places = [...this.places];
      places[axis] = place;
      codes.push(this.space.moved(this.code, this.home, places));
    }
    return codes;
  }

  /** Have more pictures along the slider that is about to be used. @param {number} axis */
  async #refine(axis) {
    if (this.#line(axis)?.step === FINE || this.refining === axis || this.walking) return;
    this.refining = axis;
    const others = this.#others(axis);
    try {
      const { images } = await this.api.paint(this.#codesAlong(axis, FINE), 0, this.withdrawn.signal);
      const pictures = await decoded(images);
      this.lines[axis] = { images, pictures, step: FINE, others };
      if (this.#line(axis) && this.sliders[axis].field.matches(":active")) this.#drag(axis, this.places[axis]);
    } catch (error) {
      if (!isWithdrawn(error)) note(error.message);
    } finally {
      this.refining = -1;
    }
  }

  /** Settle when the slider has not been moved for a moment: a key that is held asks for nothing. */
  #rest() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.settle(), REST);
  }

  /** Paint where all sliders stand now, what they lead to, and the real pictures that are nearest. */
  async settle() {
    this.#keepPlace();
    this.wanted += 1;
    if (this.painting) return; // what is being painted will be followed by what is wanted then
    this.painting = true;
    try {
      let painted;
      do {
        painted = this.wanted;
        await this.#paintAll(painted);
      } while (painted !== this.wanted && !this.withdrawn.signal.aborted);
    } catch (error) {
      if (!isWithdrawn(error)) this.#refuse(error);
    } finally {
      this.painting = false;
    }
  }

  /** @param {number} wanted Number of what was asked for. */
  async #paintAll(wanted) {
    const { signal } = this.withdrawn;
    const at = this.places.join();
    const here = await this.api.paint([this.#current()], NEAREST, signal);
    const [picture] = await decoded(here.images);
    if (wanted !== this.wanted) return;
    if (at === this.places.join()) this.stage.show([picture], 0); // else a slider is being moved again
    this.frame.removeAttribute("aria-busy");
    this.#showReal(here.nearest[0]);
    const codes = this.sliders.map((_, axis) => this.#codesAlong(axis, COARSE));
    const others = this.sliders.map((_, axis) => this.#others(axis));
    const { images } = await this.api.paint(codes.flat(), 0, signal);
    const pictures = await decoded(images);
    if (wanted !== this.wanted) return;
    let first = 0;
    this.lines = codes.map(({ length }, axis) => {
      const line = { images: images.slice(first, first + length), pictures: pictures.slice(first, first + length), step: COARSE, others: others[axis] };
      first += length;
      return line;
    });
    this.lines.forEach(({ images: ends }, axis) => this.sliders[axis].paintEnds(ends[0], ends[ends.length - 1]));
    const used = this.sliders.findIndex(({ element }) => element.matches(":hover, :focus-within"));
    if (used >= 0) this.#refine(used);
  }

  #current() {
    return this.space.moved(this.code, this.home, this.places);
  }

  /** @param {Rest.HitOut[]} hits */
  #showReal(hits) {
    const links = hits.map((hit) => h("li", {}, pictureLink(this.page, hit, `${hit.name}, similarity ${scoreWords(hit.score)}`)));
    this.real.replaceChildren(...(hits.length ? [h("h2", {}, "Nearest real pictures"), h("ol", { role: "list" }, links)] : []));
    if (hits.length) announce(`Painted. The nearest real picture is ${hits[0].name}.`);
  }

  /** The address says where the sliders stand that are not at home. */
  #keepPlace() {
    if (this.withdrawn.signal.aborted) return;
    const moved = this.places.map((place, axis) => [axis, place]).filter(([axis, place]) => Math.abs(place - this.home[axis]) > 1e-6);
    const at = moved.map(([axis, place]) => `${axis + 1}:${place.toFixed(2)}`).join(",") || null;
    this.page.amend({ id: null, q: null, ...(this.start ? queryParameters(this.start.id) : {}), at });
  }

  // What can be done with it -----------------------------------------------------------------------------------------

  reset() {
    this.#stopWalking();
    this.places = [...this.home];
    this.#followPlaces();
    this.settle();
  }

  /** Name of what is painted: "Painted from 17.jpg, axis 1 +2.0" */
  #name() {
    const moved = this.places.map((place, axis) => [axis, place]).filter(([axis, place]) => Math.abs(place - this.home[axis]) >= 0.05);
    const words = moved.map(([axis, place]) => `axis ${axis + 1} at ${deviations(place)}`);
    return [`Painted from ${this.start?.name ?? "the average"}`, ...words].join(", ").slice(0, 150);
  }

  async #search() {
    this.#stopWalking();
    try {
      const file = await this.api.paintedFile(this.#current(), this.#name(), this.withdrawn.signal);
      this.page.go("search", {}, { file });
    } catch (error) {
      if (!isWithdrawn(error)) note(error.message);
    }
  }

  #followPlaces() {
    this.places.forEach((place, axis) => this.sliders[axis].set(place));
  }

  // A random walk ----------------------------------------------------------------------------------------------------

  async walk() {
    if (this.walking) {
      this.#stopWalking();
      return this.settle();
    }
    if (motionIsReduced()) {
      this.places = this.#somewhere();
      this.#followPlaces();
      return this.settle();
    }
    const walking = (this.walking = {});
    this.#showWalking(true);
    try {
      let next = this.#leg(this.places, this.#somewhere());
      while (this.walking === walking) {
        const leg = await next;
        next = this.#leg(leg.to, this.#somewhere()); // painted while this one is shown
        next.catch(() => {}); // nobody may be left to hear of it
        await this.#show(leg, walking);
      }
    } catch (error) {
      this.#stopWalking();
      if (!isWithdrawn(error)) note(error.message);
    }
  }

  /** @returns {number[]} */
  #somewhere() {
    return this.sliders.map(({ range }) => Math.max(range.low, Math.min(range.high, WALK_REACH * (Math.random() + Math.random() - 1))));
  }

  /** @param {number[]} from @param {number[]} to @returns {Promise<Leg>} */
  async #leg(from, to) {
    const way = Array.from({ length: WALK_FRAMES }, (_, step) => from.map((place, axis) => place + ((to[axis] - place) * step) / (WALK_FRAMES - 1)));
    const { images } = await this.api.paint(way.map((places) => this.space.moved(this.code, this.home, places)), 0, this.withdrawn.signal);
    return { from, to, pictures: await decoded(images) };
  }

  /**
   * Play one leg; resolves at its end, or when nobody walks any more.
   *
   * @param {Leg} leg
   * @param {object} walking The walk that it belongs to.
   * @returns {Promise<void>}
   */
  #show({ from, to, pictures }, walking) {
    return new Promise((resolve) => {
      /** @type {number | null} */
      let began = null;
      const advance = (/** @type {number} */ now) => {
        if (this.walking !== walking) return resolve();
        began ??= now;
        const share = Math.min(1, (now - began) / 1000 / WALK_SECONDS);
        const eased = share * share * (3 - 2 * share);
        this.places = from.map((place, axis) => place + (to[axis] - place) * eased);
        this.stage.show(pictures, eased * (pictures.length - 1));
        this.#followPlaces();
        if (share < 1) requestAnimationFrame(advance);
        else resolve();
      };
      requestAnimationFrame(advance);
    });
  }

  #stopWalking() {
    if (!this.walking) return;
    this.walking = null;
    this.#showWalking(false);
  }

  /** @param {boolean} walks */
  #showWalking(walks) {
    this.walkButton.replaceChildren(icon(walks ? "pause" : "walk"), h("span", {}, walks ? "Stop" : "Random walk"));
    this.walkButton.setAttribute("aria-pressed", String(walks));
  }
}

/**
 * "1:2.00,4:-1.50": axes, counted from 1, and where they stand.
 *
 * @param {string | null} text
 * @returns {Map<number, number>} By axis, counted from 0.
 */
function readPlaces(text) {
  const places = new Map();
  for (const part of (text ?? "").split(",")) {
    const [axis, place] = part.split(":").map(Number);
    if (Number.isInteger(axis) && axis > 0 && Number.isFinite(place)) places.set(axis - 1, Math.max(-10, Math.min(10, place)));
  }
  return places;
}
