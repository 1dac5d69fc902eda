/** A heat map laid over a picture: what counts stays bright; and in words, for those who cannot see it. */

export const PATCHES = 8; // in a row: what the model is asked about one by one
const DARKEST = 0.74; // how dark a patch gets that counts for nothing

/** Lay dark over what does not count, smoothly from patch to patch. @param {HTMLCanvasElement} canvas @param {number[][]} weights */
export function shade(canvas, weights) {
  const highest = Math.max(...weights.flat(), 1e-9);
  const small = document.createElement("canvas");
  small.width = weights[0].length;
  small.height = weights.length;
  const pixels = new ImageData(small.width, small.height);
  weights.flat().forEach((weight, place) => {
    pixels.data[4 * place + 3] = 255 * DARKEST * (1 - Math.sqrt(Math.max(0, weight) / highest));
  });
  /** @type {CanvasRenderingContext2D} */ (small.getContext("2d")).putImageData(pixels, 0, 0);
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.imageSmoothingQuality = "high";
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(small, 0, 0, canvas.width, canvas.height);
}

/** Where it counts most. @param {number[][]} weights @param {string} name */
export function placesOf(weights, name) {
  let best = [0, 0];
  weights.forEach((row, down) => row.forEach((weight, across) => weight > weights[best[0]][best[1]] && (best = [down, across])));
  /** @param {number} place */
  const third = (place) => Math.min(2, Math.floor((3 * place) / weights.length));
  const words = `${["top", "middle", "bottom"][third(best[0])]} ${["left", "centre", "right"][third(best[1])]}`;
  return `What counts most in ${name} is at the ${words}.`;
}
