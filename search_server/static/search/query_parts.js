/** The pictures of a combined query: each with its sign and its weight, which count at once. */

import { h, icon, iconButton } from "../parts/dom.js";
import { isItem, isWithdrawn } from "../api.js";

const HEAVIEST = 3;
const PATIENCE = 120; // milliseconds that a thumb rests before the server is asked

/**
 * @param {import("../app.js").Page} page
 * @param {import("../parts/question.js").Question} question
 * @param {(change: Partial<import("../parts/question.js").Question>) => void} refine
 */
export function partsList(page, question, refine) {
  let parts = [...question.like.map((part) => ({ ...part, sign: 1 })), ...question.unlike.map((part) => ({ ...part, sign: -1 }))];
  const list = h("ul", { class: "query-parts", role: "list" });
  let resting = 0;
  const changed = () => {
    clearTimeout(resting);
    /** @param {number} sign */
    const of = (sign) => parts.filter((part) => part.sign === sign).map(({ id, weight }) => ({ id, weight }));
    resting = setTimeout(() => refine({ like: of(1), unlike: of(-1) }), PATIENCE);
  };
  const show = () => list.replaceChildren(...parts.map(entry));
  /** @param {any} part */
  const entry = (part) => {
    const picture = h("img", { alt: "", width: 44, height: 44, draggable: "false" });
    const name = h("span", { class: "part-name" }, "…");
    const sign = h("button", { type: "button", class: "icon-button part-sign", data: { sign: part.sign > 0 ? "plus" : "minus" } }, icon(part.sign > 0 ? "plus" : "minus"));
    const weight = h("input", { type: "range", min: 0.1, max: HEAVIEST, step: 0.1, value: part.weight });
    /** @param {{name: string, image: string, thumb?: string}} item */
    const told = (item) => {
      if (item.image) picture.src = item.thumb ?? item.image;
      name.textContent = item.name;
      name.title = item.name;
      const words = part.sign > 0 ? `More of ${item.name}: press for less` : `Less of ${item.name}: press for more`;
      sign.setAttribute("aria-label", words);
      sign.title = words;
      weight.setAttribute("aria-label", `Weight of ${item.name}`);
    };
    told({ name: part.id, image: "" });
    describe(page, part.id).then(told).catch((/** @type {any} */ error) => isWithdrawn(error) || (name.textContent = "No longer there"));
    sign.addEventListener("click", () => {
      part.sign = -part.sign;
      show();
      changed();
      /** @type {HTMLElement | null} */ (list.children[parts.indexOf(part)].querySelector(".part-sign"))?.focus();
    });
    weight.addEventListener("input", () => {
      part.weight = Number(weight.value);
      changed();
    });
    const away = iconButton("close", "Take it out of the query", () => {
      parts = parts.filter((other) => other !== part);
      show();
      changed();
    });
    away.hidden = parts.length === 1;
    return h("li", {}, sign, picture, h("div", { class: "part-words" }, name, weight), away);
  };
  show();
  return list;
}

/** An item or a stored query, from the tray where it lies there. @param {import("../app.js").Page} page @param {string} id */
function describe(page, id) {
  const there = page.tray.entries.find(({ item }) => item.id === id);
  if (there) return Promise.resolve(there.item);
  return isItem(id) ? page.api.described([id]).then(([item]) => item) : page.api.picture(id);
}
