/** All that can be done with one picture: beside it, or on a phone as a sheet at the foot of the window. */

import { h, icon } from "./dom.js";
import { bytesWords, count } from "./words.js";

const MARGIN = 8; // CSS pixels to the window's edges

/**
 * @param {HTMLElement} opener The button that was pressed: the menu stands below it and gives the focus back to it.
 * @param {any} item
 * @param {import("./picture_tile.js").Act[]} acts
 * @param {HTMLElement | null} tile
 */
export function openMenu(opener, item, acts, tile) {
  const menu = h(
    "div",
    { class: "picture-menu", popover: "auto", role: "dialog", "aria-label": item.name },
    h("div", { class: "picture-menu-head" }, h("strong", {}, item.name), h("span", {}, item.path === item.name ? "" : item.path), h("span", {}, factsOf(item))),
    acts.filter((act) => !act.only).map((act) => entry(act, item, tile, menuClose)),
  );
  function menuClose() {
    menu.hidePopover();
  }
  menu.addEventListener("keydown", (event) => step(menu, event));
  menu.addEventListener("toggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState !== "closed") return;
    const inside = menu.contains(document.activeElement) || document.activeElement === document.body;
    menu.remove();
    if (inside && opener.isConnected) opener.focus({ preventScroll: true });
  });
  (opener.closest("dialog") ?? document.body).append(menu);
  menu.showPopover();
  place(menu, opener);
  /** @type {HTMLElement | null} */ (menu.querySelector("button, a"))?.focus({ preventScroll: true });
}

/** @param {import("../parts/picture_tile.js").Act} act @param {import("../api.js").Picture} item @param {HTMLElement | null} tile @param {() => void} close */
function entry(act, item, tile, close) {
  const words = [icon(act.icon), h("span", {}, act.words), act.key && h("kbd", { "aria-hidden": "true" }, act.key)];
  const data = { action: act.name };
  if (act.address) return h("a", { class: "menu-entry", href: act.address(item), data, download: act.download?.(item) ?? null, onclick: close }, words);
  const pressed = act.pressed ? String(act.pressed(item)) : null;
  const act_ = () => {
    close();
    act.act(item, tile);
  };
  return h("button", { type: "button", class: "menu-entry", data, "aria-pressed": pressed, onclick: act_ }, words);
}

/** @param {import("../api.js").Picture & {bytes?: number}} item */
function factsOf(item) {
  return [`${count(item.width)} × ${count(item.height)}`, item.bytes === undefined ? null : bytesWords(item.bytes)].filter(Boolean).join(" · ");
}

/** Below the button, or above it where there is more room; within the window. @param {HTMLElement} menu @param {HTMLElement} opener */
function place(menu, opener) {
  const at = opener.getBoundingClientRect();
  const box = menu.getBoundingClientRect();
  const left = Math.min(Math.max(MARGIN, at.right - box.width), innerWidth - box.width - MARGIN);
  const below = at.bottom + box.height + MARGIN <= innerHeight;
  const top = below ? at.bottom : Math.max(MARGIN, at.top - box.height);
  menu.style.setProperty("--left", `${left}px`);
  menu.style.setProperty("--top", `${Math.min(top, Math.max(MARGIN, innerHeight - box.height - MARGIN))}px`);
}

/** @param {HTMLElement} menu @param {KeyboardEvent} event */
function step(menu, event) {
  const entries = [.../** @type {NodeListOf<HTMLElement>} */ (menu.querySelectorAll(".menu-entry"))];
  const here = entries.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  /** @type {Record<string, number>} */
  const steps = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: entries.length - 1 };
  const to = steps[event.key];
  if (to === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  entries[(to + entries.length) % entries.length].focus();
}
