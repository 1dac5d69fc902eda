/** What can be done with the pictures that are ticked. */

import { button, h, icon, iconButton } from "../parts/dom.js";
import { announce, note } from "../parts/messages.js";
import { copyText } from "../parts/picture_acts.js";
import { count, plural } from "../parts/words.js";

const AT_ONCE = 1000; // items of one request
const TRAY = 100;

/**
 * @param {import("../app.js").Page} page
 * @param {import("../parts/selection.js").Selection} selection
 * @param {{everything: () => void, total: () => number, tagged: () => void, gone: () => void}} ways
 */
export function selectionBar(page, selection, ways) {
  const words = h("strong", { role: "status" });
  const all = button("check", "Select all", ways.everything, { class: "button quiet" });
  const element = h(
    "section",
    { class: "selection-bar", "aria-label": "Selected pictures", hidden: true },
    words,
    h(
      "div",
      { class: "actions" },
      all,
      button("tray", "To the tray", () => toTray(page, selection), { class: "button" }),
      page.may.write && button("tag", "Tag", () => askTags(page, selection, ways.tagged), { class: "button" }),
      page.may.write && button("edit", "Describe", () => askFields(page, selection, ways.tagged), { class: "button" }),
      page.may.write && button("trash", "Take out", () => askRemoval(page, selection, ways.gone), { class: "button" }),
      button("copy", "Copy ids", () => copyText(selection.ids.join("\n"), `${plural(selection.size, "id", "ids")} copied`), { class: "button" }),
    ),
    iconButton("close", "Clear the selection", () => selection.clear()),
  );
  selection.addEventListener("change", () => {
    element.hidden = !selection.size;
    words.textContent = `${count(selection.size)} selected`;
    /** @type {HTMLElement} */ (all.querySelector("span")).textContent = `Select all ${count(ways.total())}`;
    all.hidden = selection.size === ways.total();
  });
  return element;
}

/** @param {import("../app.js").Page} page @param {import("../parts/selection.js").Selection} selection */
async function toTray(page, selection) {
  const ids = selection.ids.slice(0, TRAY);
  try {
    const known = ids.map((/** @type {string} */ id) => selection.kept.get(id));
    const unknown = ids.filter((/** @type {unknown} */ _, /** @type {number} */ place) => !known[place]);
    const fetched = unknown.length ? await page.api.described(unknown) : [];
    const refused = page.tray.add([...known.filter(Boolean), ...fetched]) + selection.size - ids.length;
    note(refused ? `The tray holds ${TRAY} pictures: ${plural(refused, "picture", "pictures")} found no room` : `${plural(ids.length, "picture", "pictures")} on the tray`);
  } catch (problem) {
    note(problem.message);
  }
}

/** @param {import("../app.js").Page} page @param {import("../parts/selection.js").Selection} selection @param {() => void} tagged */
function askTags(page, selection, tagged) {
  const field = h("input", { type: "text", class: "text-field", maxlength: 200, required: true, autocomplete: "off", list: "known-tags", "aria-label": "Tag" });
  const choices = h("datalist", { id: "known-tags" });
  page.api
    .facets(["tags"], 100, null)
    .then(({ facets }) => choices.append(...(facets[0]?.values ?? []).map(({ value }) => h("option", { value }))))
    .catch(() => {}); // only a help
  /** @param {string} change */
  const apply = async (change) => {
    const tag = field.value.trim();
    if (!tag) return field.focus();
    await inParts(selection.ids, (/** @type {string[]} */ ids) => page.api.tag(ids, { [change]: [tag] }));
    dialog.close();
    note(`${change === "add" ? "Tagged" : "Taken off"} ${plural(selection.size, "picture", "pictures")}: ${tag}`);
    tagged();
    return null;
  };
  const dialog = sheet(`Tag ${plural(selection.size, "picture", "pictures")}`, [field, choices], [
    button("tag", "Add the tag", () => attempt(apply, "add"), { class: "button primary" }),
    button("minus", "Take it off", () => attempt(apply, "remove")),
  ]);
  field.addEventListener("keydown", (event) => event.key === "Enter" && attempt(apply, "add"));
  field.focus();
}

/** @param {import("../app.js").Page} page @param {import("../parts/selection.js").Selection} selection @param {() => void} changed */
async function askFields(page, selection, changed) {
  const { fieldSheet } = await import("./field_sheet.js"); // only once in use
  const { title, content, actions, focus } = fieldSheet(page, selection.ids, changed);
  sheet(title, content, actions);
  focus();
}

/** @param {import("../app.js").Page} page @param {import("../parts/selection.js").Selection} selection @param {() => void} gone */
function askRemoval(page, selection, gone) {
  const number = plural(selection.size, "picture", "pictures");
  const remove = async () => {
    await inParts(selection.ids, (/** @type {string[]} */ ids) => page.api.remove(ids));
    dialog.close();
    selection.clear();
    note(`${number} taken out`);
    gone();
  };
  const dialog = sheet(`Take ${number} out of the gallery?`, [h("p", { class: "quiet-words" }, "They are not found any more. Their files stay where they are.")], [
    button("trash", `Take ${number} out`, () => attempt(remove), { class: "button primary" }),
    button("close", "Cancel", () => dialog.close()),
  ]);
}

/** @param {string[]} ids @param {(ids: string[]) => Promise<unknown>} send */
async function inParts(ids, send) {
  for (let from = 0; from < ids.length; from += AT_ONCE) {
    await send(ids.slice(from, from + AT_ONCE));
    if (from + AT_ONCE < ids.length) announce(`${count(from + AT_ONCE)} of ${count(ids.length)}`);
  }
}

/** @param {(...given: any[]) => unknown} act @param {any[]} given */
async function attempt(act, ...given) {
  try {
    await act(...given);
  } catch (problem) {
    note(problem.message);
  }
}

/** @param {string} title @param {Node[]} content @param {Node[]} actions */
function sheet(title, content, actions) {
  /** @type {HTMLDialogElement} */
  const dialog = h(
    "dialog",
    { class: "sheet", "aria-labelledby": "sheet-title" },
    h("div", { class: "sheet-head" }, h("h2", { id: "sheet-title" }, title), iconButton("close", "Close", () => dialog.close())),
    content,
    h("div", { class: "actions" }, actions),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
