/** One key, one act; and the sheet that lists them. A reader who dictates can switch them off there. */

import { h, iconButton } from "./dom.js";
import { remember, remembered } from "./storage.js";

const KEYS = [
  ["/", "Go to the search box"],
  ["u", "Choose a picture"],
  ["← ↑ → ↓", "Move between pictures"],
  ["Enter", "Open the picture"],
  ["s", "More like this"],
  ["m", "Morph with the query"],
  ["c", "Beside the query (in an open picture)"],
  ["r", "Surprise me"],
  ["[  ]", "Smaller, larger pictures"],
  ["Space", "Play or pause a morph"],
  ["?", "This sheet"],
  ["Esc", "Close"],
];

/** @param {import("../app.js").Page} page */
export function listenForShortcuts(page) {
  addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const act = actOf(event, page);
    if (!act || remembered("shortcuts", "on") === "off") return;
    event.preventDefault();
    act();
  });
}

function actOf(event, page) {
  const { view } = page;
  if (!view) return null;
  const item = view.grid?.focused();
  const acts = {
    "/": () => (view.field?.() ?? document.querySelector("main a, main button"))?.focus(),
    u: () => view.field?.()?.click(),
    s: item && (() => page.search(item)),
    m: view.morph ?? (page.gallery && (() => page.go("morph"))),
    r: () => page.surprise(),
    "[": view.resize && (() => view.resize(-1)),
    "]": view.resize && (() => view.resize(1)),
    "?": showShortcuts,
    ...view.keys,
    " ": view.play && !event.target.closest("button, a, summary") ? view.play : null,
  };
  return Object.hasOwn(acts, event.key) ? acts[event.key] : null;
}

function isTyping(target) {
  const typed = target.closest?.("textarea, select, [contenteditable], input");
  return Boolean(typed) && !["file", "radio", "checkbox", "range"].includes(typed.type);
}

export function showShortcuts() {
  const switched = h("input", {
    type: "checkbox",
    checked: remembered("shortcuts", "on") === "on",
    onchange: () => remember("shortcuts", switched.checked ? "on" : "off"),
  });
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
