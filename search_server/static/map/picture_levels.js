/** Which pictures show at which zoom: no two overlap, and what shows once stays while one comes nearer. */

const LEVELS = 26; // two for each doubling
const NONE = 127;
const FEW = 4000; // pictures: looking at each is quicker than looking for those in a box

export class PictureLevels {
  /**
   * @param {Float32Array} x
   * @param {Float32Array} y
   * @param {(row: number) => boolean} counts Which points are shown at all.
   */
  constructor(x, y, counts) {
    this.x = x;
    this.y = y;
    this.counts = counts;
    this.levels = new Int8Array(x.length).fill(NONE);
    /** @type {number[]} */
    this.chosen = [];
    this.next = 0;
    /** @type {number[]} */
    this.upTo = []; // how many were chosen when a level was done
  }

  /** The level of a zoom. @param {number} zoom */
  static of(zoom) {
    return Math.max(0, Math.min(LEVELS - 1, Math.floor(2 * Math.log2(zoom) + 0.01)));
  }

  /** CSS pixels of a picture's side. @param {number} level */
  static side(level) {
    return Math.round(42 + 26 * Math.min(1, level / 8));
  }

  /**
   * The pictures that show at a level within a box. The nearer, the closer they may stand.
   *
   * @param {number} level
   * @param {number} base CSS pixels of one unit at zoom 1.
   * @param {import("./points.js").PointCells} cells
   * @param {import("./camera.js").Box} box
   * @returns {number[]} The first chosen come first.
   */
  within(level, base, cells, box) {
    this.#choose(level, base);
    const { x, y, chosen, levels } = this;
    if (this.upTo[level] < FEW) {
      return chosen.slice(0, this.upTo[level]).filter((row) => x[row] >= box.left && x[row] <= box.right && y[row] >= box.bottom && y[row] <= box.top);
    }
    /** @type {number[]} */
    const found = [];
    cells.within(box, (row) => levels[row] <= level && found.push(row));
    return found.sort((one, other) => levels[one] - levels[other]);
  }

  /** @param {number} level @param {number} base */
  #choose(level, base) {
    while (this.next <= level) {
      const spacing = 1.1 + 0.8 * Math.max(0, 1 - this.next / 5);
      this.#fill(this.next, (spacing * PictureLevels.side(this.next)) / (base * 2 ** (this.next / 2)));
      this.upTo[this.next] = this.chosen.length;
      this.next += 1;
    }
  }

  /** Choose further pictures, as long as they are farther than `apart` from all that were chosen. @param {number} level @param {number} apart */
  #fill(level, apart) {
    const { x, y, levels, counts } = this;
    /** @type {Map<number, number[]>} */
    const cells = new Map();
    const side = Math.ceil(2 / apart) + 3;
    const key = (/** @type {number} */ row) => (Math.floor((x[row] + 1) / apart) + 1) * side + Math.floor((y[row] + 1) / apart) + 1;
    const put = (/** @type {number} */ row) => {
      const cell = key(row);
      const there = cells.get(cell);
      if (there) there.push(row);
      else cells.set(cell, [row]);
    };
    const isFree = (/** @type {number} */ row) => {
      const middle = key(row);
      for (let dx = -side; dx <= side; dx += side) {
        for (let dy = -1; dy <= 1; dy++) {
          const there = cells.get(middle + dx + dy);
          if (there?.some((other) => Math.abs(x[other] - x[row]) < apart && Math.abs(y[other] - y[row]) < apart)) return false;
        }
      }
      return true;
    };
    this.chosen.forEach(put);
    for (let row = 0; row < x.length; row++) {
      if (levels[row] !== NONE || !counts(row) || !isFree(row)) continue;
      levels[row] = level;
      this.chosen.push(row);
      put(row);
    }
  }
}
