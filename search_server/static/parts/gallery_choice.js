/** In which galleries is searched: all of them to tick, and of each that cannot be searched, why. */

import { AS_INDEXED } from "./question.js";
import { button, h } from "./dom.js";
import { plural } from "./words.js";

/**
 * @param {import("../app.js").Page} page
 * @param {import("./question.js").Question} question
 * @param {((galleries: string[]) => void)} act None: the one that is shown, alone.
 * @param {(galleries: string[]) => void} say Is told which are ticked.
 * @param {boolean} atOnce Whether each tick counts at once; else the reader says when.
 */
export function galleriesToTick(page, question, act, say, atOnce) {
  const home = page.gallery.name;
  const asked = question.galleries.length ? question.galleries : [home];
  const ticks = page.searchable.map((gallery) => {
    const hindrance = hindranceOf(gallery, question);
    const field = h("input", { type: "checkbox", value: gallery.name, checked: asked.includes(gallery.name), disabled: hindrance !== null });
    return { gallery, field, hindrance };
  });
  const models = h("p", { class: "quiet-words gallery-models", role: "status" });
  const search = atOnce ? null : button("search", "Search in these", () => act(chosen()), { class: "button primary" });
  const names = () => ticks.filter(({ field }) => field.checked).map(({ gallery }) => gallery.name);
  const chosen = () => (names().length === 1 && names()[0] === home ? [] : names());
  const show = () => {
    const ticked = ticks.filter(({ field }) => field.checked);
    say(names());
    const several = new Set(ticked.map(({ gallery }) => gallery.model)).size > 1;
    if (!ticked.length) models.textContent = "Tick at least one.";
    else models.textContent = several ? "Their models differ: pictures are ranked by how rare it is in their gallery to be so near." : "";
    if (search) search.disabled = !ticked.length;
  };
  const all = button("check", "All", () => tick(({ hindrance }) => hindrance === null), { class: "button quiet" });
  const alone = button("pin", `Only ${home}`, () => tick(({ gallery }) => gallery.name === home), { class: "button quiet" });
  /** @param {(one: typeof ticks[number]) => boolean} wanted */
  const tick = (wanted) => {
    for (const one of ticks) one.field.checked = wanted(one);
    changed();
  };
  const changed = () => {
    show();
    if (atOnce && names().length) act(chosen());
  };
  show();
  return h(
    "fieldset",
    { class: "chip-panel", onchange: changed },
    h("legend", { class: "visually-hidden" }, "Galleries to search"),
    h("ul", { class: "galleries-to-tick", role: "list" }, ticks.map(entry)),
    models,
    h("div", { class: "actions" }, search, all, alone),
  );
}

/** @param {{gallery: import("../app.js").Searchable, field: HTMLInputElement, hindrance: string | null}} one */
function entry({ gallery, field, hindrance }) {
  const about = hindrance ?? plural(gallery.items, "picture", "pictures");
  return h("li", {}, h("label", { class: hindrance ? "check hindered" : "check" }, field, h("span", {}, h("span", {}, gallery.name), " ", h("small", {}, about))));
}

/** Why a gallery cannot be searched; null where it can. @param {import("../app.js").Searchable} gallery @param {import("./question.js").Question} question */
function hindranceOf(gallery, question) {
  if (!gallery.items) return "It has no pictures yet.";
  if (question.beta !== AS_INDEXED && !gallery.semantic) return "Its model cannot tell what a picture shows from how it looks: search as indexed.";
  return null;
}
