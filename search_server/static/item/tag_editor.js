/** The tags of a picture: each leads to the others that have it, can be taken away, and new ones can be given. */

import { h, icon, iconButton } from "../parts/dom.js";
import { announce, note } from "../parts/messages.js";

const LONGEST = 200; // characters

/**
 * @param {object} choices
 * @param {string[]} choices.tags
 * @param {(tag: string) => Record<string, any>} choices.link Attributes of the link to all that have it.
 * @param {((tags: string[]) => Promise<string[]>) | null} choices.save Keep them, and say what is kept now; null where the
 *   reader may only look.
 */
export function tagEditor({ tags, link, save }) {
  const list = h("ul", { class: "tags", role: "list" });
  const field = h("input", { type: "text", id: "new-tag", class: "text-field", maxlength: LONGEST, autocomplete: "off", enterkeyhint: "done", placeholder: "Add a tag" });
  const form = h(
    "form",
    { class: "tag-form", onsubmit: (event) => add(event) },
    h("label", { class: "visually-hidden", for: "new-tag" }, "New tag"),
    field,
    h("button", { class: "icon-button", "aria-label": "Add the tag", title: "Add the tag" }, icon("plus")),
  );
  let shown = tags;
  let kept = tags;

  const show = () => {
    list.replaceChildren(
      ...shown.map((tag) => {
        const take = save && iconButton("close", `Take the tag ${tag} away`, () => change(shown.filter((other) => other !== tag), `${tag} is taken away`));
        return h("li", { class: "tag" }, h("a", link(tag), tag), take);
      }),
    );
    list.hidden = !shown.length;
  };

  // One after the other: the last that was wanted is the last that is kept, also where the reader leaves meanwhile.
  let saving = false;
  /** @type {{wanted: string[], done: string} | null} */
  let waiting = null;
  /** @param {string[]} wanted @param {string} done */
  const change = (wanted, done) => {
    shown = wanted;
    show();
    waiting = { wanted, done };
    addEventListener("pagehide", keepNext);
    if (!saving) keepNext();
  };

  const keepNext = async () => {
    if (!save || !waiting) return;
    const { wanted, done } = waiting;
    waiting = null;
    removeEventListener("pagehide", keepNext);
    saving = true;
    try {
      kept = await save(wanted);
      announce(done);
    } catch (error) {
      note(error.message);
    }
    saving = false;
    if (waiting) return keepNext();
    if (kept.join("\n") === shown.join("\n")) return; // drawn anew, a button would go from under the pointer
    shown = kept;
    show();
  };

  /** @param {Event} event */
  const add = (event) => {
    event.preventDefault();
    const tag = field.value.trim();
    if (!tag) return field.focus();
    field.value = "";
    if (!shown.includes(tag)) change([...shown, tag].sort(), `Tagged ${tag}`);
  };

  show();
  return h("section", {}, h("h2", { class: "item-subtitle" }, "Tags"), list, save && form);
}
