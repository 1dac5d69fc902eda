/** Pictures that come from outside: dropped anywhere, pasted, picked as a file, taken with the camera. */

import { h, need, targetOf } from "./dom.js";
import { note } from "./messages.js";
import { DRAGGED } from "./picture_grid.js";

/** @typedef {{file: File, item?: undefined} | {item: import("../api.js").Picture, file?: undefined}} Taken A file, or a picture of the gallery. */
/** @typedef {(taken: Taken) => unknown} Take */

/**
 * Let the whole window take pictures.
 *
 * @param {(taken: Taken, place: HTMLElement | null) => unknown} take Place is the [data-slot] that was hit, or null.
 */
export function takeEverywhere(take) {
  const veil = need("#drop-veil");
  let depth = 0; // dragenter and dragleave fire for every element on the way

  /** @param {DragEvent} event */
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].some((type) => type === "Files" || type === DRAGGED);
  /** @param {DragEvent} event */
  const slotOf = (event) => targetOf(event, "[data-slot]");
  const end = () => {
    depth = 0;
    delete veil.dataset.shown;
    markSlot(null);
  };

  addEventListener("dragenter", (event) => {
    if (!carries(event)) return;
    depth += 1;
    if (!document.querySelector("[data-slot]")) veil.dataset.shown = "";
    markSlot(slotOf(event));
  });
  addEventListener("dragleave", (event) => {
    if (!carries(event)) return;
    depth -= 1;
    if (depth <= 0) end();
  });
  addEventListener("dragover", (event) => {
    if (carries(event)) event.preventDefault();
  });
  addEventListener("dragend", end);
  addEventListener("drop", (event) => {
    if (!event.dataTransfer || !carries(event)) return;
    event.preventDefault();
    const place = slotOf(event);
    end();
    const tile = event.dataTransfer.getData(DRAGGED);
    if (tile) take({ item: JSON.parse(tile) }, place);
    else takeFirst([...event.dataTransfer.files], (taken) => take(taken, place));
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) takeFirst(files, (taken) => take(taken, null));
  });
}

/** @param {File[]} files @param {Take} take */
function takeFirst(files, take) {
  if (!files.length) return;
  if (files.length > 1) note(`Searching with the first of ${files.length} pictures`);
  take({ file: files[0] });
}

/** @param {Element | null} slot */
function markSlot(slot) {
  document.querySelectorAll("[data-slot]").forEach((other) => other.classList.toggle("hit", other === slot));
}

/**
 * A label that looks like a button and opens the file picker, or the camera where `capture` is given.
 *
 * @param {Take} take
 * @param {import("./dom.js").Properties} properties
 * @param {...import("./dom.js").Child} children
 */
export function filePicker(take, properties, ...children) {
  const { capture, id, ...attributes } = properties;
  const field = h("input", {
    type: "file",
    accept: "image/*",
    class: "visually-hidden",
    capture: capture ?? null,
    id: id ?? null,
    onchange: () => {
      takeFirst([...(field.files ?? [])], take);
      field.value = ""; // so that the same file can be picked again
    },
  });
  return h("label", { ...attributes }, field, ...children);
}
