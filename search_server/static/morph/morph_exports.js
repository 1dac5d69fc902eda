/** A morph as a file: what kinds there are, and taking one away. */

import { isWithdrawn } from "../api.js";
import { h, icon } from "../parts/dom.js";
import { note } from "../parts/messages.js";

/**
 * format of the API -> words, what to know, ending of the file, pixels of a frame; of what moves, also frames from one
 * picture to the next (in a file nothing cross-fades) and frames a second. A GIF takes 25 times as long to make as a
 * WebP: it gets fewer and smaller ones.
 */
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
 * @param {import("../app.js").Page} page
 * @param {() => {ids: string[], path: string, frames: number, backAndForth: boolean}} morph What is shown at the moment;
 *   frames of the whole way.
 * @param {() => AbortSignal} signal
 */
export function exportMenu(page, morph, signal) {
  const links = Object.entries(KINDS).map(([format, kind]) => {
    const { words, hint, ending } = kind;
    const link = h(
      "a",
      {
        href: "",
        onclick: (event) => {
          event.preventDefault();
          take(format);
        },
      },
      h("span", {}, words),
      h("small", {}, hint),
    );
    const refresh = () => {
      const { ids, path, frames, backAndForth } = morph();
      const moving = kind.fps ? { pingpong: backAndForth, easing: "ease-in-out", fps: kind.fps } : {};
      const legs = ids.length - 1;
      const wanted = kind.fps ? legs * (kind.frames - 1) + 1 : frames;
      link.href = page.api.morphAddress(ids, { path, format, ...fitting(page, legs, wanted, kind.size, backAndForth), ...moving });
      link.download = `morph-${ids.join("-")}.${ending}`;
    };
    return { format, words, link, refresh };
  });

  const take = async (format) => {
    const { words, link } = links.find((one) => one.format === format);
    menu.open = false;
    summary.focus();
    summary.setAttribute("aria-busy", "true");
    note(`Making: ${words.toLowerCase()} …`);
    try {
      save(await page.api.file(link.href, signal()), link.download);
      note(`Saved: ${link.download}`);
    } catch (error) {
      if (!isWithdrawn(error)) note(error.message);
    } finally {
      summary.removeAttribute("aria-busy");
    }
  };

  const summary = h("summary", { class: "button" }, icon("download"), h("span", {}, "Save as"));
  const menu = h(
    "details",
    {
      class: "export-menu",
      ontoggle: () => menu.open && links.forEach(({ refresh }) => refresh()),
      onkeydown: (event) => {
        if (event.key !== "Escape" || !menu.open) return;
        menu.open = false;
        summary.focus();
      },
      onfocusout: (event) => {
        if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
      },
    },
    summary,
    h("ul", { role: "list" }, links.map(({ link }) => h("li", {}, link))),
  );
  return menu;
}

/** As many frames as are wanted, or as the server makes at once; smaller ones where there are many. */
function fitting(page, legs, wanted, size, backAndForth) {
  const { frames: most, morph_pixels: pixels } = page.limits;
  const frames = Math.max(legs + 1, Math.min(wanted, most));
  const shown = backAndForth ? 2 * frames : frames;
  return { frames, size: Math.min(size, Math.floor(Math.sqrt(pixels / shown))) };
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000); // some browsers read it a moment later
}
