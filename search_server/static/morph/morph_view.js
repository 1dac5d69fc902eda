/** Morphing one picture into another, past others if one likes: the ends, a stage with a slider, the frames. */

import { isItem, isWithdrawn, Problem } from "../api.js";
import { button, h, icon, iconButton } from "../parts/dom.js";
import { announce, copyLink, note } from "../parts/messages.js";
import { leadTo } from "../parts/picture_link.js";
import { pickPicture } from "../parts/picture_picker.js";
import { problemState, state, tooLarge } from "../parts/states.js";
import { remember, remembered } from "../parts/storage.js";
import { labelWords, scoreWords } from "../parts/words.js";
import { PaintingApi } from "../painting_api.js";
import { VIEWS } from "../views.js";
import { FilmStrip } from "./film_strip.js";
import { exportMenu } from "./morph_exports.js";
import { MorphPlayer } from "./morph_player.js";

const FRAMES = [8, 16, 32, 48]; // from one picture to the next; between two of them the stage cross-fades
const USUAL_FRAMES = 16;
const SLIDER_STEPS = 200;
/** @type {Record<string, string>} */
const PATHS = { slerp: "Spherical", lerp: "Straight" };
const SPEEDS = [0.25, 0.5, 1, 2, 4];
const MOST_BETWEEN = 14; // pictures between the ends, as the API takes them
const PATIENCE = 200; // milliseconds before the empty stage is shown: an answer is usually quicker

/** @typedef {Pick<Rest.ItemOut, "id" | "name" | "image"> & {thumb?: string}} Picture An item, or a stored query. */
/** @typedef {{t?: number, greet?: boolean, answer?: Rest.MorphOut | null}} Beginning */

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

class Morph {
  /** @type {MorphPlayer | null} */
  player = null;
  /** @type {FilmStrip | null} Of the morph that is shown. */
  film = null;
  /** @type {Rest.MorphOut} */
  morph;
  /** @type {Rest.FrameOut | null} That the words below the slider are about. */
  told = null;
  /** @type {HTMLElement} */
  stage;
  /** @type {HTMLCanvasElement} */
  canvas;
  /** @type {HTMLAnchorElement} The nearest real picture. */
  real;
  /** @type {HTMLInputElement} */
  slider;
  /** @type {HTMLElement} */
  readout;
  /** @type {HTMLButtonElement} */
  playButton;
  /** @type {HTMLButtonElement} */
  loopButton;

  /** @param {import("../app.js").Page} page */
  constructor(page) {
    const path = page.parameter("path") ?? "";
    this.page = page;
    this.api = new PaintingApi(page.api.base);
    this.closed = new AbortController();
    this.withdrawn = new AbortController(); // of the morph that is shown
    /** @type {(Picture | null)[]} The pictures that it leads past: A, those between, B. */
    this.stops = [null, null];
    this.path = path in PATHS ? path : "slerp";
    this.frames = FRAMES.includes(Number(page.parameter("frames"))) ? Number(page.parameter("frames")) : USUAL_FRAMES;
    this.slots = { a: h("section", { class: "slot slot-a", "aria-label": "Picture A", data: { slot: "a" } }), b: h("section", { class: "slot slot-b", "aria-label": "Picture B", data: { slot: "b" } }) };
    this.centre = h("div", { class: "morph-centre" });
    this.between = h("div", { class: "morph-between" });
    this.actions = h("div", { class: "actions centred morph-actions" });
    this.strip = h("div", {});
    this.element = h(
      "div",
      { class: "morph" },
      h("div", { class: "view-head centred" }, h("h1", {}, "Morph"), h("p", {}, "Watch one picture become another, as the model paints everything between them.")),
      h("div", { class: "morph-table" }, this.slots.a, this.centre, this.slots.b, this.between, this.actions),
      this.strip,
    );
    this.trayChanged = () => this.#paintBetween();
    page.tray.addEventListener("change", this.trayChanged);
    this.#fromAddress();
  }

  /** @returns {import("../views.js").View} */
  view() {
    return {
      element: this.element,
      title: "Morph",
      close: () => this.#close(),
      take: (taken, slot) => this.#take(taken, slot instanceof HTMLElement ? slot.dataset.slot : undefined),
      play: () => this.player?.toggle(),
      surprise: () => this.#surprise(),
    };
  }

  #close() {
    this.closed.abort();
    this.withdrawn.abort();
    this.player?.pause();
    this.page.tray.removeEventListener("change", this.trayChanged);
  }

  // What is morphed --------------------------------------------------------------------------------------------------

  async #fromAddress() {
    const { page } = this;
    const kept = page.remembered();
    if (kept?.morph) {
      this.stops = kept.stops;
      return this.#changed({ t: Number(page.parameter("t") ?? 0), answer: kept.morph });
    }
    const between = (page.parameter("via") ?? "").split(",").filter(Boolean).slice(0, MOST_BETWEEN);
    const ids = [page.parameter("a"), ...between, page.parameter("b")];
    this.#paint();
    const patience = setTimeout(() => ids.some(Boolean) && this.#buildStage(), PATIENCE);
    const found = await Promise.allSettled(ids.map((id) => (id ? page.api.picture(id, this.closed.signal) : null)));
    clearTimeout(patience);
    if (this.closed.signal.aborted) return;
    const here = found.map((one) => (one.status === "fulfilled" ? one.value : null));
    this.stops = here.filter((stop, place) => stop || place === 0 || place === here.length - 1);
    const missing = found.find((one) => one.status === "rejected");
    if (missing) return this.#missing(missing.reason);
    this.#changed({ t: Number(page.parameter("t") ?? 0), greet: !page.parameter("t") });
  }

  /** One of the pictures of the address is not there: it can be chosen anew, and the others stay. @param {Problem} problem */
  #missing(problem) {
    this.#paint();
    const end = this.stops[0] ? (this.stops.at(-1) ? null : "b") : "a";
    this.#refuse(problem, end ? [button("pick", `Choose picture ${end.toUpperCase()}`, () => this.#pick(end), { class: "button primary" })] : []);
  }

  /** @param {import("../parts/drop_target.js").Taken} taken @param {string} [slot] */
  async #take(taken, slot) {
    const target = slot ?? (this.stops[0] && !this.stops.at(-1) ? "b" : "a");
    if (taken.item) return this.#put(target, taken.item);
    const limit = this.page.limits.image_bytes;
    if (taken.file.size > limit) return note(tooLarge(taken.file, limit).detail);
    const place = this.element.querySelector(`[data-slot="${target}"]`);
    place?.setAttribute("aria-busy", "true");
    try {
      this.#put(target, await this.page.api.store(taken.file, this.closed.signal));
    } catch (error) {
      if (!isWithdrawn(error)) this.#refuse(error);
    } finally {
      place?.removeAttribute("aria-busy");
    }
  }

  /**
   * Put a picture at an end ("a", "b"), in the place of one between (its number), or before B ("add").
   *
   * @param {string} slot
   * @param {Picture} picture
   */
  #put(slot, picture) {
    if (slot === "a") this.stops[0] = picture;
    else if (slot === "b") this.stops[this.stops.length - 1] = picture;
    else if (slot === "add") this.stops.splice(-1, 0, picture);
    else this.stops[Number(slot)] = picture;
    this.#changed({ t: 0, greet: true });
  }

  /** @param {string} slot */
  #pick(slot) {
    const words = slot === "a" || slot === "b" ? `Choose picture ${slot.toUpperCase()}` : slot === "add" ? "A picture on the way" : `Choose picture ${slot} of the way`;
    pickPicture(this.page, words, (taken) => this.#take(taken, slot));
  }

  #swap() {
    this.stops.reverse();
    this.#changed({ t: 1 - (this.player?.t ?? 0) });
  }

  async #surprise() {
    try {
      const [a, b] = await this.page.api.sample(2, this.page.newSeed(), this.closed.signal);
      if (!b) return note("One picture is too few: add more to this gallery.");
      const [first, last] = [this.stops[0], this.stops.at(-1)];
      if (first && last) this.stops = [a, b];
      else this.stops = [first ?? a, last ?? (first?.id === a.id ? b : first ? a : b)];
      this.#changed({ t: 0, greet: true });
    } catch (error) {
      if (!isWithdrawn(error)) this.#refuse(error);
    }
  }

  /** Lead past all pictures that were put aside, in their order. */
  #tour() {
    this.stops = this.page.tray.entries.map(({ item }) => item).slice(0, MOST_BETWEEN + 2);
    this.#changed({ t: 0, greet: true });
  }

  /** @param {Beginning} beginning Where it begins; whether it plays once; the answer, where it is here already. */
  #changed({ t = 0, greet = false, answer = null } = {}) {
    const ids = this.stops.map((stop) => stop?.id ?? null);
    if (!answer) this.page.remember(null);
    this.#paint();
    this.page.amend({
      a: ids[0],
      via: ids.slice(1, -1).join(",") || null,
      b: ids.at(-1) ?? null,
      path: this.path === "slerp" ? null : this.path,
      frames: this.frames === USUAL_FRAMES ? null : this.frames,
      t: t > 0 ? t.toFixed(2) : null,
    });
    const here = this.#here();
    if (here.length < this.stops.length) this.#invite();
    else if (ids.some((id, place) => id === ids[place + 1])) this.#same();
    else this.#morph(here, t, greet, answer);
  }

  /** The pictures that are there. */
  #here() {
    return this.stops.filter((stop) => stop !== null);
  }

  #ids() {
    return this.#here().map(({ id }) => id);
  }

  /** Frames of the whole way: as many for each leg, and no more than the server makes. */
  #wanted() {
    const legs = this.stops.length - 1;
    return legs * (Math.min(this.frames, Math.floor((this.page.limits.frames - 1) / legs)) - 1) + 1;
  }

  // Nothing to show --------------------------------------------------------------------------------------------------

  #invite() {
    const missing = this.stops[0] || this.stops.at(-1) ? "One more picture" : "Two pictures, and everything between them";
    this.#instead(
      state({
        iconName: "morph",
        title: missing,
        text: "Drop or paste a picture, or choose one on either side.",
        actions: [button("dice", "Surprise me", () => this.#surprise(), { class: "button primary" })],
      }),
    );
  }

  #same() {
    this.#instead(
      state({
        iconName: "morph",
        title: "The same picture twice",
        text: "There is nothing between a picture and itself. Put another one at either end.",
        actions: [button("pick", "Choose picture B", () => this.#pick("b"), { class: "button primary" }), button("dice", "Two others", () => this.#surprise())],
      }),
    );
  }

  /** @param {Problem} problem @param {HTMLElement[]} others */
  #refuse(problem, others = []) {
    this.#instead(problemState(problem, { retry: () => this.page.reload(), others: [...others, button("dice", "Two others", () => this.#surprise())] }));
  }

  /** @param {HTMLElement} shown */
  #instead(shown) {
    this.withdrawn.abort();
    this.film = null;
    this.player?.pause();
    this.player = null;
    this.strip.replaceChildren();
    this.actions.replaceChildren();
    this.centre.replaceChildren(shown);
  }

  // The pictures on both sides, and those between --------------------------------------------------------------------

  #paint() {
    this.slots.a.replaceChildren(...this.#end("a", this.stops[0]));
    this.slots.b.replaceChildren(...this.#end("b", this.stops.at(-1)));
    this.#paintBetween();
  }

  /** @param {string} slot @param {Picture | null | undefined} picture */
  #end(slot, picture) {
    const letter = slot.toUpperCase();
    const pick = () => this.#pick(slot);
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

  #paintBetween() {
    const { tray } = this.page;
    const between = this.stops.slice(1, -1).map((picture, number) => picture && this.#stop(picture, number + 1));
    const tour = tray.size > 1 ? button("morph", `Through the tray (${tray.size})`, () => this.#tour(), { class: "button quiet" }) : null;
    const shown = [between.length ? h("span", { class: "quiet-words" }, "By way of") : null, ...between, tour].filter((one) => one !== null);
    this.between.hidden = !shown.length;
    this.between.replaceChildren(...shown);
  }

  /** @param {Picture} picture @param {number} number */
  #stop(picture, number) {
    const remove = () => {
      this.stops.splice(number, 1);
      this.#changed({ t: 0 });
    };
    return h(
      "div",
      { class: "stop-chip", role: "group", "aria-label": `Picture ${number} on the way`, data: { slot: number } },
      h("button", { type: "button", class: "stop-picture", title: `Change ${picture.name}`, onclick: () => this.#pick(String(number)) }, h("img", { src: picture.thumb ?? picture.image, alt: `${picture.name}. Change it` })),
      iconButton("close", `Leave out ${picture.name}`, remove, { class: "icon-button stop-remove" }),
    );
  }

  // The stage --------------------------------------------------------------------------------------------------------

  /** @param {Picture[]} stops @param {number} t @param {boolean} greet @param {Rest.MorphOut | null} answer */
  async #morph(stops, t, greet, answer) {
    this.withdrawn.abort();
    this.withdrawn = new AbortController();
    const { signal } = this.withdrawn;
    const { page } = this;
    const player = this.#buildStage();
    this.#buildActions();
    player.t = t;
    this.slider.value = String(Math.round(t * SLIDER_STEPS));
    try {
      const morph = answer ?? (await this.api.morph(this.#ids(), { path: this.path, frames: this.#wanted() }, signal));
      await player.load(morph.frames.map((frame) => frame.image), stops.length - 1);
      if (signal.aborted) return;
      page.remember({ morph, stops });
      this.morph = morph;
    } catch (error) {
      if (!isWithdrawn(error)) this.#refuse(error instanceof Problem ? error : new Problem({ code: "unknown", title: "The frames cannot be shown", detail: String(error) }));
      return;
    }
    this.stage.removeAttribute("aria-busy");
    this.#buildStrip(player);
    player.show(t);
    announce(`Morph from ${stops[0].name} to ${stops[stops.length - 1].name}, ${this.morph.frames.length} frames`);
    if (greet) player.greet();
  }

  #buildStage() {
    this.film = null; // of the morph before: pausing it must not change the address any more
    this.player?.pause();
    this.canvas = h("canvas", { class: "morph-canvas", role: "img", "aria-label": "The morph" });
    this.real = h("a", { class: "stage-real", hidden: true, onclick: leadTo(() => this.told && this.page.search(this.told.nearest[0])) });
    this.stage = h("div", { class: "morph-stage", "aria-busy": "true" }, this.canvas, this.real);
    this.playButton = iconButton("play", "Play", () => player.toggle(), { class: "icon-button primary" });
    this.loopButton = iconButton("loop", "Back and forth", () => this.#toggleLoop(player), { "aria-pressed": String(this.#loops()) });
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
        player.pause();
        player.show(Number(this.slider.value) / SLIDER_STEPS);
      },
      onchange: () => this.#keepPlace(),
    });
    this.readout = h("p", { class: "morph-readout" });
    const player = new MorphPlayer(this.canvas, (t) => this.#moved(t), (playing) => this.#playing(playing));
    player.backAndForth = this.#loops();
    player.speed = this.#speed();
    this.player = player;
    this.centre.replaceChildren(
      this.stage,
      h("div", { class: "morph-transport" }, this.playButton, h("span", { class: "end-letter end-a", "aria-hidden": "true" }, "A"), this.slider, h("span", { class: "end-letter end-b", "aria-hidden": "true" }, "B"), this.loopButton),
      this.readout,
    );
    return player;
  }

  #buildActions() {
    const ids = this.#ids();
    const shown = () => ({ ids: this.#ids(), path: this.path, frames: this.#wanted(), backAndForth: this.player?.backAndForth ?? true });
    this.actions.replaceChildren(
      this.#pathSwitch(),
      choice("Frames", "morph-frames", FRAMES.map((frames) => [frames, String(frames)]), this.frames, (frames) => this.#chooseFrames(frames)),
      choice("Speed", "morph-speed", SPEEDS.map((speed) => [speed, `${speed} ×`]), this.#speed(), (speed) => this.#chooseSpeed(speed)),
      iconButton("swap", "Swap A and B", () => this.#swap(), { class: "icon-button framed" }),
      button("dice", "Two others", () => this.#surprise()),
      ...(this.stops.length < MOST_BETWEEN + 2 ? [button("pick", "Add a stop", () => this.#pick("add"), { data: { slot: "add" }, title: "A picture that the way leads past" })] : []),
      ...(VIEWS.map && ids.every(isItem) ? [this.#mapLink(ids)] : []),
      iconButton("link", "Copy link", () => copyLink(location.href), { class: "icon-button framed" }),
      exportMenu(this.api, this.page.limits, shown, () => this.withdrawn.signal),
    );
  }

  /** @param {string[]} ids */
  #mapLink(ids) {
    const parameters = { path: ids.join(",") };
    return h("a", { class: "button", href: this.page.address("map", parameters), onclick: leadTo(() => this.page.go("map", parameters)) }, icon("map"), h("span", {}, "On the map"));
  }

  #pathSwitch() {
    const choices = Object.entries(PATHS).map(([path, words]) => {
      const radio = h("input", { type: "radio", name: "path", value: path, checked: path === this.path, onchange: () => this.#choosePath(path) });
      return h("label", {}, radio, h("span", {}, words));
    });
    return h("fieldset", { class: "segments" }, h("legend", { class: "visually-hidden" }, "Path between the codes"), choices);
  }

  /** @param {string} path */
  #choosePath(path) {
    this.path = path;
    this.#changed({ t: this.player?.t });
    this.#focus(`input[value="${path}"]`);
  }

  /** @param {number} frames */
  #chooseFrames(frames) {
    this.frames = frames;
    this.#changed({ t: this.player?.t });
    this.#focus("#morph-frames");
  }

  /** What was used is drawn anew, and keeps the focus. @param {string} selector */
  #focus(selector) {
    /** @type {HTMLElement | null} */ (this.actions.querySelector(selector))?.focus();
  }

  /** @param {number} speed */
  #chooseSpeed(speed) {
    remember("morph-speed", String(speed));
    if (this.player) this.player.speed = speed;
  }

  #speed() {
    const speed = Number(remembered("morph-speed", "1"));
    return SPEEDS.includes(speed) ? speed : 1;
  }

  #loops() {
    return remembered("morph-loop", "on") === "on";
  }

  /** @param {MorphPlayer} player */
  #toggleLoop(player) {
    const loops = !player.backAndForth;
    player.backAndForth = loops;
    remember("morph-loop", loops ? "on" : "off");
    this.loopButton.setAttribute("aria-pressed", String(loops));
  }

  /** The slider, the words and the frame below follow what the stage shows. @param {number} t */
  #moved(t) {
    const words = `${Math.round(t * 100)} % towards B`;
    this.slider.value = String(Math.round(t * SLIDER_STEPS));
    this.slider.setAttribute("aria-valuetext", words);
    if (!this.film) return;
    this.canvas.setAttribute("aria-label", `The morph, ${words}`);
    this.film.show(t);
    const frame = this.morph.frames[Math.round(t * (this.morph.frames.length - 1))];
    if (frame === this.told) return;
    this.told = frame;
    this.#tell(frame, words);
  }

  /** How like both ends a frame is, and the real picture that is nearest to it. @param {Rest.FrameOut} frame @param {string} words */
  #tell({ scores, nearest }, words) {
    const like = (/** @type {"a" | "b"} */ end, /** @type {number} */ score) => h("span", { class: `like-${end}` }, `like ${end.toUpperCase()} `, h("strong", {}, scoreWords(score)));
    const likeness = scores.length ? [like("a", scores[0]), like("b", scores[scores.length - 1])] : [];
    this.readout.replaceChildren(h("span", {}, words), ...likeness);
    const [hit] = nearest;
    this.real.hidden = !hit;
    if (!hit || this.real.dataset.id === hit.id) return;
    this.real.dataset.id = hit.id;
    this.real.href = this.page.address("search", { id: hit.id });
    this.real.title = `${hit.name}, similarity ${scoreWords(hit.score)}`;
    this.real.replaceChildren(h("img", { src: hit.thumb, alt: "" }), h("span", {}, "Nearest real picture"));
  }

  /** @param {boolean} playing */
  #playing(playing) {
    const words = playing ? "Pause" : "Play";
    this.playButton.replaceChildren(icon(playing ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", words);
    this.playButton.title = words;
    if (!playing) this.#keepPlace();
  }

  #keepPlace() {
    if (this.closed.signal.aborted || !this.film || !this.player) return; // the address is another view's, or another morph's
    const { t } = this.player;
    this.page.amend({ t: t > 0 ? t.toFixed(2) : null });
  }

  // The frames -------------------------------------------------------------------------------------------------------

  /** @param {MorphPlayer} player */
  #buildStrip(player) {
    const { page, morph } = this;
    const legs = this.stops.length - 1;
    const stops = this.stops.map((_, number) => Math.round((number * (morph.frames.length - 1)) / legs));
    this.told = null;
    this.film = new FilmStrip(page, morph.frames, stops, (t) => {
      player.pause();
      player.show(t);
      this.#keepPlace();
    });
    const far = h("p", { class: "morph-far quiet-words" }, "From A to B: similarity ", h("strong", {}, scoreWords(morph.score)), `, ${labelWords(morph.label).toLowerCase()}`);
    this.strip.replaceChildren(this.film.element, far);
  }
}

/**
 * A list to choose from, with its name before it.
 *
 * @param {string} words
 * @param {string} id
 * @param {[number, string][]} options Values and their words.
 * @param {number} chosen
 * @param {(value: number) => void} act
 */
function choice(words, id, options, chosen, act) {
  /** @type {HTMLSelectElement} */
  const field = h(
    "select",
    { id, onchange: () => act(Number(field.value)) },
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );
  return h("label", { class: "choice" }, h("span", {}, words), field);
}
