/** One key, one act; and the sheet that lists them. A reader who dictates can switch them off there. */

import { h, iconButton, targetOf } from "./dom.js";
import { remember, remembered } from "./storage.js";

const FIRST = "main a, main button";
/** @type {[string, string][]} */
const KEYS = [
  ["/", "Go to the search box"],
  ["u", "Choose a picture"],
  ["← ↑ → ↓", "Move between pictures"],
  ["Enter", "Open the picture"],
  ["s", "More like this"],
  ["m", "Morph with the query"],
  ["c", "Beside the query"],
  ["o  w", "Over the query; why it is similar"],
  ["e", "As the model sees the pictures"],
  ["h", "Why similar, on the picture that is pointed at"],
  ["x", "Put on the tray, or select in Browse"],
  ["+  -", "More, less of this: on the tray"],
  [".", "All that can be done with a picture"],
  ["r", "Surprise me"],
  ["[  ]", "Smaller, larger pictures"],
  ["Space", "Play or pause a morph"],
  ["?", "This sheet"],
  ["Esc", "Close"],
];

/** @param {import("../app.js").Page} page */
export function listenForShortcuts(page) {
  addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || isTyping(event) || document.querySelector("dialog[open]")) return;
    const act = actOf(event, page);
    if (!act || remembered("shortcuts", "on") === "off") return;
    event.preventDefault();
    act();
  });
}

/** @param {KeyboardEvent} event @param {import("../app.js").Page} page @returns {(() => unknown) | null | undefined} */
function actOf(event, page) {
  const { view } = page;
  if (!view) return null;
  const item = view.grid?.focused();
  const { morph, play, resize } = view;
  /** @type {Record<string, (() => unknown) | null | undefined>} */
  const acts = {
    "/": () => (view.field?.() ?? /** @type {HTMLElement | null} */ (document.querySelector(FIRST)))?.focus(),
    u: () => view.field?.()?.click(),
    s: item && (() => page.search(item)),
    m: morph ?? (page.gallery ? () => page.go("morph") : null),
    r: () => page.surprise(),
    "[": resize && (() => resize(-1)),
    "]": resize && (() => resize(1)),
    "?": showShortcuts,
    ...view.keys,
    " ": play && !targetOf(event, "button, a, summary") ? play : null,
  };
  return Object.hasOwn(acts, event.key) ? acts[event.key] : null;
}

/** @param {Event} event */
function isTyping(event) {
  const typed = targetOf(event, "textarea, select, [contenteditable], input");
  return typed !== null && !["file", "radio", "checkbox", "range"].includes(typed.getAttribute("type") ?? "");
}

export function showShortcuts() {
  /** @type {HTMLInputElement} */
  const switched = h("input", {
    type: "checkbox",
    checked: remembered("shortcuts", "on") === "on",
    onchange: () => remember("shortcuts", switched.checked ? "on" : "off"),
  });
  /** @type {HTMLDialogElement} */
  const dialog = h(
    "dialog",
    { class: "sheet", "aria-labelledby": "shortcuts-title" },
    h("div", { class: "sheet-head" }, h("h2", { id: "shortcuts-title" }, "Keyboard"), iconButton("close", "Close", () => dialog.close())),
    h("dl", { class: "keys" }, KEYS.map(([keys, words]) => h("div", {}, h("dt", {}, keys.split(/\s+/).map((key) => h("kbd", {}, key))), h("dd", {}, words)))),
    h("label", { class: "check" }, switched, h("span", {}, "Single-key shortcuts")),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
