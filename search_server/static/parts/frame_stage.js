/** Pictures that follow on each other, on one canvas: any place between two is shown as their cross-fade. */

const SIDE = 512; // pixels of the canvas: painted pictures are small, scaling them once here is smooth everywhere

export class FrameStage {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    canvas.width = SIDE;
    canvas.height = SIDE;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.context.imageSmoothingQuality = "high";
  }

  /**
   * @param {CanvasImageSource[]} pictures
   * @param {number} place From 0, the first picture, to one less than there are, the last.
   */
  show(pictures, place) {
    if (!pictures.length) return;
    const { context } = this;
    const within = Math.min(pictures.length - 1, Math.max(0, place));
    const first = Math.floor(within);
    const between = within - first;
    context.globalAlpha = 1;
    context.drawImage(pictures[first], 0, 0, SIDE, SIDE);
    if (between > 0.001) {
      context.globalAlpha = between;
      context.drawImage(pictures[first + 1], 0, 0, SIDE, SIDE);
    }
  }
}

/**
 * Decode pictures and keep their pixels, so that showing one never waits.
 *
 * @param {string[]} addresses
 * @returns {Promise<ImageBitmap[]>}
 */
export function decoded(addresses) {
  return Promise.all(
    addresses.map(async (address) => {
      const picture = new Image();
      picture.src = address;
      await picture.decode();
      return createImageBitmap(picture);
    }),
  );
}
