/** The tray as one PNG: pictures in rows, each with its sign and its name. */

import { h } from "../dom.js";
import { aspectOf, boxesOf, justify } from "../picture_rows.js";

const WIDTH = 1600; // pixels
const MARGIN = 40;
const HEAD = 64;
const CAPTION = 34;
const SIZES = { row: 240, column: 12, below: CAPTION + 14 };
const INK = "#191816";
const QUIET = "#5b5952";
const FACE = "system-ui, sans-serif";

/**
 * @param {{item: any, sign: 1 | -1}[]} entries
 * @param {string} title
 * @returns {Promise<Blob>}
 */
export async function contactSheet(entries, title) {
  const pictures = await Promise.all(entries.map(({ item }) => loaded(item.image)));
  const aspects = entries.map(({ item }) => aspectOf(item));
  const rows = justify(aspects, WIDTH - 2 * MARGIN, SIZES);
  const canvas = h("canvas", { width: WIDTH, height: Math.ceil(rows.top[rows.count] + HEAD + MARGIN) });
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  text(pen, title, MARGIN, 42, WIDTH - 2 * MARGIN, `600 26px ${FACE}`, INK);
  for (let row = 0; row < rows.count; row++) {
    for (const { place, left, width } of boxesOf(rows, aspects, row, SIZES.column)) {
      const { item, sign } = entries[place];
      const [x, y, high] = [MARGIN + left, HEAD + rows.top[row], rows.height[row]];
      drawWithin(pen, pictures[place], x, y, width, high);
      text(pen, `${sign > 0 ? "" : "− "}${item.name}`, x, y + high + 22, width, `15px ${FACE}`, sign > 0 ? QUIET : "#a3261b");
    }
  }
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("too large"))), "image/png"));
}

/** @param {string} source */
async function loaded(source) {
  const picture = new Image();
  picture.src = source;
  await picture.decode();
  return picture;
}

/** @param {CanvasRenderingContext2D} pen @param {HTMLImageElement} picture @param {number} x @param {number} y @param {number} width @param {number} height */
function drawWithin(pen, picture, x, y, width, height) {
  const scale = Math.min(width / picture.naturalWidth, height / picture.naturalHeight);
  const [w, high] = [picture.naturalWidth * scale, picture.naturalHeight * scale];
  pen.drawImage(picture, x + (width - w) / 2, y + (height - high) / 2, w, high);
}

/** A line that is cut where it would be too long. @param {CanvasRenderingContext2D} pen @param {string} words @param {number} x @param {number} y @param {number} width @param {string} font @param {string} colour */
function text(pen, words, x, y, width, font, colour) {
  pen.font = font;
  pen.fillStyle = colour;
  let shown = words;
  while (shown.length > 1 && pen.measureText(shown).width > width) shown = `${shown.slice(0, -2)}…`;
  pen.fillText(shown, x, y);
}
