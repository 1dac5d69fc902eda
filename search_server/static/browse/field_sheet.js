/** A field of the metadata for all ticked pictures: set, or taken away; and undone. */

import { button, h } from "../parts/dom.js";
import { FieldForm } from "../parts/field_form.js";
import { valueWords } from "../parts/field_values.js";
import { announce, note } from "../parts/messages.js";
import { count, plural } from "../parts/words.js";

const AT_ONCE = 1000; // items of one request

/** @typedef {Record<string, Record<string, any>>} Before By id, the patch that sets what was. */

/**
 * The content of a sheet, and its buttons.
 *
 * @param {import("../app.js").Page} page
 * @param {string[]} ids
 * @param {() => void} changed
 */
export function fieldSheet(page, ids, changed) {
  const form = new FieldForm(() => page.api.fields());
  const done = h("div", { class: "field-done", role: "status" });
  const number = plural(ids.length, "picture", "pictures");

  /** @param {string} name @param {any} value @param {string} words */
  const apply = async (name, value, words) => {
    /** @type {Before} */
    const before = {};
    try {
      for (let from = 0; from < ids.length; from += AT_ONCE) {
        const some = ids.slice(from, from + AT_ONCE);
        Object.assign(before, (await page.api.describe(some, { [name]: value })).before);
        if (from + AT_ONCE < ids.length) announce(`${count(from + AT_ONCE)} of ${count(ids.length)}`);
      }
    } catch (error) {
      form.refuse(error);
      if (Object.keys(before).length) done.replaceChildren(h("span", {}, `Done for ${plural(Object.keys(before).length, "picture", "pictures")} so far.`), undoButton(before));
      return;
    }
    done.replaceChildren(h("span", {}, words), undoButton(before));
    changed();
  };

  /** @param {Before} before */
  const undoButton = (before) => button("undo", "Undo", () => undo(before), { class: "button quiet" });

  /** @param {Before} before */
  const undo = async (before) => {
    try {
      for (const [patch, some] of grouped(before)) {
        for (let from = 0; from < some.length; from += AT_ONCE) await page.api.describe(some.slice(from, from + AT_ONCE), JSON.parse(patch));
      }
      done.replaceChildren(h("span", {}, "As it was before"));
      changed();
    } catch (error) {
      note(error.message);
    }
  };

  const set = () => {
    const read = form.read();
    if (read) apply(read.name, read.value, `${read.name} is ${valueWords(read.value)} for ${number} now`);
  };
  const take = () => {
    const name = form.readName();
    if (name) apply(name, null, `${name} is taken back from ${number}`);
  };
  const says = h("p", { class: "quiet-words" }, "What is set here counts more than what files say. Taking it away lets the files speak again.");
  form.element.addEventListener("keydown", (event) => event.key === "Enter" && event.target instanceof HTMLInputElement && set());
  return {
    title: `Describe ${number}`,
    content: [form.element, says, done],
    actions: [button("check", "Set it", set, { class: "button primary" }), button("minus", "Take it away", take)],
    focus: () => form.name.focus(),
  };
}

/** Pictures that had the same, together. @param {Before} before @returns {Map<string, string[]>} */
function grouped(before) {
  /** @type {Map<string, string[]>} */
  const groups = new Map();
  for (const [id, patch] of Object.entries(before)) {
    const text = JSON.stringify(patch);
    const ids = groups.get(text);
    if (ids) ids.push(id);
    else groups.set(text, [id]);
  }
  return groups;
}
