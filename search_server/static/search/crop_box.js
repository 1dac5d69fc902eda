/** The part of a picture that is searched with: drawn with mouse or finger, moved and sized with arrow keys. */

import { h } from "../parts/dom.js";
import { announce } from "../parts/messages.js";

const SMALLEST = 0.06; // share of a side
const STEP = 0.02;
const REST = 350; // milliseconds after the last key
const CORNERS = ["nw", "ne", "sw", "se"];

/** @typedef {import("../parts/question.js").Crop} Crop */

/**
 * @param {HTMLElement} frame What the picture fills.
 * @param {Crop | null} crop
 * @param {(crop: Crop | null) => void} act The reader has settled on a part, or on the whole.
 */
export function cropBox(frame, crop, act) {
  let now = crop;
  let resting = 0;
  const box = h("div", { class: "crop-box", tabindex: 0, role: "group" }, CORNERS.map((corner) => h("i", { data: { corner } })));
  const layer = h("div", { class: "crop-layer" }, box);

  const show = () => {
    layer.classList.toggle("cropped", Boolean(now));
    const { x, y, w, h: high } = now ?? { x: 0, y: 0, w: 1, h: 1 };
    for (const [name, share] of Object.entries({ "--x": x, "--y": y, "--w": w, "--h": high })) box.style.setProperty(name, String(share));
    /** @param {number} share */
    const percent = (share) => `${Math.round(share * 100)} %`;
    const words = now ? `Part of the picture: from ${percent(x)} across and ${percent(y)} down, ${percent(w)} wide, ${percent(high)} high.` : "The whole picture.";
    box.setAttribute("aria-label", `${words} Arrow keys move it, with Shift they size it.`);
  };
  const settle = () => {
    if (now && now.w > 0.985 && now.h > 0.985) now = null;
    show();
    act(now);
  };
  /** @param {PointerEvent} event */
  const at = (event) => {
    const area = layer.getBoundingClientRect();
    return [within((event.clientX - area.left) / area.width), within((event.clientY - area.top) / area.height)];
  };

  layer.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    layer.setPointerCapture(event.pointerId);
    const [px, py] = at(event);
    const before = now;
    const { corner } = /** @type {HTMLElement} */ (event.target).dataset;
    const inside = now && event.target === box;
    // A corner is dragged from the one that lies opposite; elsewhere a new rectangle begins.
    const anchor = corner && now ? [corner.endsWith("w") ? now.x + now.w : now.x, corner.startsWith("n") ? now.y + now.h : now.y] : [px, py];
    /** @param {PointerEvent} moved */
    const move = (moved) => {
      const [x, y] = at(moved);
      if (inside && before) now = { ...before, x: clamp(before.x + x - px, 1 - before.w), y: clamp(before.y + y - py, 1 - before.h) };
      else now = spanning(anchor[0], anchor[1], x, y);
      show();
    };
    const end = () => {
      layer.removeEventListener("pointermove", move);
      if (now && (now.w < SMALLEST || now.h < SMALLEST)) now = before; // a click, no rectangle
      if (now === before) return show();
      return settle();
    };
    layer.addEventListener("pointermove", move);
    layer.addEventListener("lostpointercapture", end, { once: true });
  });

  box.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (!way || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const { x, y, w, h: high } = now ?? { x: 0, y: 0, w: 1, h: 1 };
    if (event.shiftKey) now = { x, y, w: Math.min(1 - x, Math.max(SMALLEST, w + way[0])), h: Math.min(1 - y, Math.max(SMALLEST, high + way[1])) };
    else now = { x: clamp(x + way[0], 1 - w), y: clamp(y + way[1], 1 - high), w, h: high };
    show();
    clearTimeout(resting);
    resting = setTimeout(() => {
      settle();
      announce((box.getAttribute("aria-label") ?? "").split(". ")[0]);
    }, REST);
  });

  const clear = () => {
    now = null;
    settle();
  };
  show();
  frame.append(layer);
  return { element: layer, box, clear };
}

/** @param {number} x0 @param {number} y0 @param {number} x1 @param {number} y1 @returns {Crop} */
function spanning(x0, y0, x1, y1) {
  return { x: Math.min(x0, x1), y: Math.min(y0, y1), w: Math.abs(x1 - x0), h: Math.abs(y1 - y0) };
}

/** @param {number} share */
function within(share) {
  return Math.min(1, Math.max(0, share));
}

/** @param {number} value @param {number} most */
function clamp(value, most) {
  return Math.min(Math.max(0, value), Math.max(0, most));
}
