/** A morph as a file: what kinds there are, and taking one away. */

import { isWithdrawn } from "../api.js";
import { h, icon } from "../parts/dom.js";
import { note } from "../parts/messages.js";

/*
 * format of the API -> words, what to know, ending of the file, pixels of a frame; of what moves, also frames from one
 * picture to the next (in a file nothing cross-fades) and frames a second. A GIF takes 25 times as long to make as a
 * WebP: it gets fewer and smaller ones.
 */
/** @typedef {{words: string, hint: string, ending: string, size: number, frames?: number, fps?: number}} Kind */

/** @type {Record<string, Kind>} */
const KINDS = {
  webp: { words: "Animated WebP", hint: "small, all colours", ending: "webp", size: 320, frames: 48, fps: 20 },
  gif: { words: "GIF", hint: "shown everywhere, 256 colours", ending: "gif", size: 240, frames: 24, fps: 12 },
  apng: { words: "Animated PNG", hint: "without loss, large", ending: "png", size: 320, frames: 32, fps: 16 },
  strip: { words: "Film strip", hint: "all frames in a row, one PNG", ending: "png", size: 160 },
  zip: { words: "Single frames", hint: "a PNG each, as zip", ending: "zip", size: 512 },
};

/**
 * A menu of files to take away.
 *
 * @param {import("../painting_api.js").PaintingApi} api
 * @param {Record<"frames" | "morph_pixels", number>} limits Of one morph.
 * @param {() => {ids: string[], path: string, frames: number, backAndForth: boolean}} morph What is shown at the moment;
 *   frames of the whole way.
 * @param {() => AbortSignal} signal
 */
export function exportMenu(api, limits, morph, signal) {
  /** @param {string} format */
  const addressOf = (format) => {
    const { size, frames: most, fps } = KINDS[format];
    const { ids, path, frames, backAndForth } = morph();
    const legs = ids.length - 1;
    const moving = fps ? { pingpong: backAndForth, easing: "ease-in-out", fps } : {};
    const wanted = most ? legs * (most - 1) + 1 : frames;
    return api.morphAddress(ids, { path, format, ...fitting(limits, wanted, size, Boolean(fps) && backAndForth), ...moving });
  };

  const links = Object.entries(KINDS).map(([format, { words, hint }]) => {
    const link = h("a", { href: "", onclick: (/** @type {MouseEvent} */ event) => take(event, format) }, h("span", {}, words), h("small", {}, hint));
    return { format, link };
  });

  const refresh = () => {
    for (const { format, link } of links) {
      link.href = addressOf(format);
      link.download = `morph-${morph().ids.join("-")}.${KINDS[format].ending}`;
    }
  };

  /** @param {MouseEvent} event @param {string} format */
  const take = async (event, format) => {
    event.preventDefault();
    const link = /** @type {HTMLAnchorElement} */ (event.currentTarget);
    menu.open = false;
    summary.focus();
    summary.setAttribute("aria-busy", "true");
    note(`Making: ${KINDS[format].words} …`);
    try {
      save(await api.file(link.href, signal()), link.download);
      note(`Saved: ${link.download}`);
    } catch (error) {
      if (!isWithdrawn(error)) note(error.message);
    } finally {
      summary.removeAttribute("aria-busy");
    }
  };

  const summary = h("summary", { class: "button" }, icon("download"), h("span", {}, "Save as"));
  /** @type {HTMLDetailsElement} */
  const menu = h(
    "details",
    {
      class: "export-menu",
      ontoggle: () => menu.open && refresh(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Escape" || !menu.open) return;
        menu.open = false;
        summary.focus();
      },
      onfocusout: (/** @type {FocusEvent} */ event) => {
        if (event.relatedTarget instanceof Node && !menu.contains(event.relatedTarget)) menu.open = false;
      },
    },
    summary,
    h("ul", { role: "list" }, links.map(({ link }) => h("li", {}, link))),
  );
  return menu;
}

/**
 * As many frames as are wanted, or as the server makes at once; smaller ones where there are many.
 *
 * @param {Record<"frames" | "morph_pixels", number>} limits
 * @param {number} wanted
 * @param {number} size
 * @param {boolean} twice There and back.
 */
function fitting(limits, wanted, size, twice) {
  const frames = Math.min(wanted, limits.frames);
  return { frames, size: Math.min(size, Math.floor(Math.sqrt(limits.morph_pixels / (twice ? 2 * frames : frames)))) };
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000); // some browsers read it a moment later
}
