/** Pictures that are added to the gallery from where all of them are: what is chosen, and how far it is. */

import { button, h, icon, iconButton } from "../parts/dom.js";
import { Uploader } from "../parts/uploader.js";

/** A button that opens the file picker for many pictures. @param {(files: File[]) => void} take */
export function manyPicker(take) {
  const field = h("input", {
    type: "file",
    accept: "image/*",
    multiple: true,
    id: "picture-files",
    class: "visually-hidden",
    onchange: () => {
      take([...(field.files ?? [])]);
      field.value = "";
    },
  });
  return h("label", { class: "button" }, field, icon("plus"), h("span", {}, "Add pictures"));
}

/**
 * Send pictures, beside what is shown.
 *
 * @param {import("../app.js").Page} page
 * @param {File[]} files
 * @param {() => void} changed Some were added, and it is over.
 */
export function addPictures(page, files, changed) {
  if (!files.length) return;
  document.querySelector(".addition")?.remove();
  const uploader = new Uploader(page.server, page.gallery.name, files, page.limits.image_bytes, ({ created }) => {
    const close = iconButton("close", "Close", () => element.remove(), { class: "icon-button addition-close" });
    const show = button("grid", "Show them", () => (element.remove(), page.go("browse", { sort: "-id" })), { class: "button primary" });
    element.append(close, created ? h("div", { class: "actions" }, show) : "");
    if (created) changed();
  });
  const element = h("section", { class: "addition", "aria-label": "Adding pictures" }, uploader.element);
  document.body.append(element);
}
