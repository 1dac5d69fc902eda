/** Points set pixel by pixel, where there is no WebGL: software does it as fast as a software graphics card would. */

export class CanvasPoints {
  /** @param {HTMLCanvasElement} canvas @param {Float32Array} x @param {Float32Array} y */
  constructor(canvas, x, y) {
    this.canvas = canvas;
    this.x = x;
    this.y = y;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    /** @type {Uint8Array} */
    this.codes = new Uint8Array(x.length);
    /** @type {ImageData | null} */
    this.image = null;
    this.pixels = new Uint32Array();
    this.colours = new Uint32Array(256);
  }

  /** @param {Uint8Array} codes A place in the palette for each point. */
  setCodes(codes) {
    this.codes = codes;
  }

  /** @param {Uint8Array} palette 256 times red, green, blue, alpha; what has no alpha is not drawn. */
  setPalette(palette) {
    this.colours = new Uint32Array(palette.slice().buffer);
  }

  /**
   * @param {import("./camera.js").Camera} camera
   * @param {number} size CSS pixels of a point.
   * @param {number} count How many: the first ones.
   * @param {number} ratio Pixels of the canvas for one CSS pixel.
   */
  draw(camera, size, count, ratio) {
    const { width, height } = this.canvas;
    if (this.image?.width !== width || this.image?.height !== height) {
      this.image = this.context.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    const { x, y, codes, colours, pixels } = this;
    const spans = discOf(Math.max(2, Math.round(size * ratio)));
    const reach = spans.length >> 1;
    const scale = camera.scale * ratio;
    const [left, top] = [width / 2 - camera.x * scale, height / 2 + camera.y * scale];
    const [right, bottom] = [width - spans.length - 1, height - spans.length - 1];
    pixels.fill(0);
    for (let row = 0; row < count; row++) {
      const colour = colours[codes[row]];
      if (colour === 0) continue;
      const px = (left + x[row] * scale - reach) | 0;
      const py = (top - y[row] * scale - reach) | 0;
      if (px < 0 || py < 0 || px > right || py > bottom) continue;
      let line = py * width + px;
      for (let step = 0; step < spans.length; step++, line += width) {
        for (let at = line + spans[step][0], end = line + spans[step][1]; at < end; at++) pixels[at] = colour;
      }
    }
    if (this.image) this.context.putImageData(this.image, 0, 0);
  }

  close() {
    this.image = null;
  }
}

/** @type {Map<number, [number, number][]>} */
const discs = new Map();

/** The lines of a disc: where each begins and ends. @param {number} size @returns {[number, number][]} */
function discOf(size) {
  const known = discs.get(size);
  if (known) return known;
  const middle = size / 2;
  /** @param {number} step @returns {[number, number]} */
  const line = (step) => {
    const half = Math.sqrt(Math.max(0, middle * middle - (step + 0.5 - middle) ** 2));
    return size < 4 ? [0, size] : [Math.round(middle - half), Math.round(middle + half)];
  };
  const disc = Array.from({ length: size }, (_, step) => line(step));
  discs.set(size, disc);
  return disc;
}
