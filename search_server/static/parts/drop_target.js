/** Pictures that come from outside: dropped anywhere, pasted, picked as a file, taken with the camera. */

import { h, need, targetOf } from "./dom.js";
import { note } from "./messages.js";
import { DRAGGED } from "./picture_grid.js";

/** @typedef {{file: File, item?: undefined} | {item: import("../api.js").Picture, file?: undefined}} Taken A file, or a picture of the gallery. */
/** @typedef {(taken: Taken) => unknown} Take */
/** @typedef {{file?: File, item?: import("../api.js").Picture, files?: File[], url?: string}} Dropped One of: what is taken, several
 *   files where they are to be added, the address of a picture elsewhere. */
/** @typedef {{slot: string, words: string, many?: boolean}} Drop A part of the window that takes what is dropped. */

/**
 * Let the whole window take pictures.
 *
 * @param {(dropped: Dropped, place: HTMLElement | null) => unknown} take Place is the [data-slot] that was hit, or null.
 * @param {() => Drop[] | undefined} drops What the view that is shown divides its window into.
 */
export function takeEverywhere(take, drops) {
  const veil = need("#drop-veil");
  const usual = [...veil.children];
  let depth = 0; // dragenter and dragleave fire for every element on the way
  let ours = false; // a link of the page is dragged: not for us, unless it is a tile
  addEventListener("dragstart", () => (ours = true));

  /** @param {DragEvent} event */
  const typesOf = (event) => [...(event.dataTransfer?.types ?? [])];
  /** @param {DragEvent} event */
  const carries = (event) => typesOf(event).some((type) => type === DRAGGED || (!ours && (type === "Files" || type === "text/uri-list")));
  /** @param {DragEvent} event */
  const slotOf = (event) => targetOf(event, "[data-slot]");
  const end = () => {
    ours = false;
    depth = 0;
    delete veil.dataset.shown;
    delete veil.dataset.divided;
    veil.replaceChildren(...usual);
    markSlot(null);
  };
  /** @param {DragEvent} event */
  const show = (event) => {
    const parts = typesOf(event).includes("Files") ? drops() : undefined;
    if (parts && !veil.dataset.divided) {
      veil.dataset.divided = "";
      veil.replaceChildren(...parts.map(({ slot, words, many }) => h("p", { data: { slot, ...(many ? { many: "" } : {}) } }, words)));
    }
    if (parts || !document.querySelector("[data-slot]")) veil.dataset.shown = "";
  };

  addEventListener("dragenter", (event) => {
    if (!carries(event)) return;
    depth += 1;
    show(event);
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
    const many = place !== null && "many" in place.dataset;
    end();
    const tile = event.dataTransfer.getData(DRAGGED);
    const files = [...event.dataTransfer.files];
    const entries = [...event.dataTransfer.items].map((one) => one.webkitGetAsEntry?.());
    const url = addressIn(event.dataTransfer);
    if (tile) take({ item: JSON.parse(tile) }, place);
    else if (entries.some((entry) => entry?.isDirectory)) {
      picturesIn(entries).then((pictures) => (many && pictures.length ? take({ files: pictures }, place) : takeFirst(pictures, (taken) => take(taken, place))));
    } else if (many) take({ files }, place);
    else if (files.length) takeFirst(files, (taken) => take(taken, place));
    else if (url) take({ url }, place);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) return takeFirst(files, (taken) => take(taken, null));
    const typing = event.target instanceof Element && event.target.closest("input, textarea, [contenteditable]");
    const url = typing ? null : addressIn(event.clipboardData);
    if (url) take({ url }, null);
    return undefined;
  });
}

/** The address that is dropped or pasted, if it is one of a picture elsewhere. @param {DataTransfer | null} data */
function addressIn(data) {
  const [first] = (data?.getData("text/uri-list") || data?.getData("text/plain") || "").trim().split(/\s+/);
  return /^https?:\/\/\S+$/i.test(first) ? first : null;
}

/** The pictures in what was dropped, folders among it. @param {any[]} entries */
async function picturesIn(entries) {
  const { filesIn, mayBePicture } = await import("./dropped_files.js");
  const pictures = (await filesIn(entries.filter(Boolean))).filter(mayBePicture);
  if (!pictures.length) note("There is no picture in this folder");
  return pictures;
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
