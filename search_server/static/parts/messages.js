/** What the page says in passing: aloud to screen readers, and as a short note at the foot of the window. */

import { need } from "./dom.js";

const NOTE_SECONDS = 4;
let timer = 0;

/** Say something to screen readers only. @param {string} text */
export function announce(text) {
  const region = need("#announcements");
  if (region.textContent === text) region.textContent = ""; // the same words twice would not be read again
  requestAnimationFrame(() => (region.textContent = text));
}

/** Show a short note, which screen readers read too. @param {string} text */
export function note(text) {
  const place = need("#note");
  place.textContent = text;
  place.dataset.shown = "";
  clearTimeout(timer);
  timer = setTimeout(() => delete place.dataset.shown, NOTE_SECONDS * 1000);
}

/** Copy the address of something on this server. @param {string} path */
export async function copyLink(path) {
  const address = new URL(path, location.href).href;
  try {
    await navigator.clipboard.writeText(address);
    note("Link copied");
  } catch {
    // Without https, away from localhost, browsers have no clipboard: the reader copies by hand.
    prompt("Copy this link", address);
  }
}
