/** A dialog that asks for one picture: of the tray, of the gallery, or of one's own. */

import { button, h, icon, iconButton } from "./dom.js";
import { filePicker } from "./drop_target.js";
import { PictureGrid } from "./picture_grid.js";
import { isWithdrawn } from "../api.js";
import { problemState } from "./states.js";

const OFFERED = 48;

/**
 * @param {import("../app.js").Page} page
 * @param {string} title
 * @param {(taken: import("./drop_target.js").Taken) => void} take
 */
export function pickPicture(page, title, take) {
  const withdrawn = new AbortController();
  /** @param {import("./drop_target.js").Taken} taken */
  const choose = (taken) => {
    dialog.close();
    take(taken);
  };
  const grid = new PictureGrid({
    label: "Pictures of the gallery",
    address: (id) => page.address("search", { id }),
    choose: (item) => choose({ item }),
  });
  const kept = page.tray.entries.map(({ item }) => item);
  const tray = new PictureGrid({ label: "Pictures of the tray", address: (id) => page.address("search", { id }), choose: (item) => choose({ item }) });
  tray.add(kept);
  const fromTray = kept.length ? [h("h3", {}, "In the tray"), tray.element, h("h3", {}, "Of the gallery")] : [];
  const body = h("div", { class: "picker-body" }, grid.element);

  const fill = async () => {
    grid.clear();
    grid.expect(15);
    try {
      const items = await page.api.sample(OFFERED, page.newSeed(), withdrawn.signal);
      grid.clear();
      grid.add(items);
    } catch (error) {
      if (!isWithdrawn(error)) body.replaceChildren(problemState(error, { retry: fill }));
    }
  };

  /** @type {HTMLDialogElement} */
  const dialog = h(
    "dialog",
    { class: "sheet picker", "aria-labelledby": "picker-title" },
    h("div", { class: "sheet-head" }, h("h2", { id: "picker-title" }, title), iconButton("close", "Close", () => dialog.close())),
    h(
      "div",
      { class: "actions" },
      filePicker(choose, { class: "button primary" }, icon("upload"), h("span", {}, "Choose a file")),
      filePicker(choose, { class: "button coarse-only", capture: "environment" }, icon("camera"), h("span", {}, "Take a photo")),
      button("dice", "Shuffle", fill),
    ),
    ...fromTray,
    body,
  );
  dialog.addEventListener("close", () => {
    withdrawn.abort();
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  fill();
}
