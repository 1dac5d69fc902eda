/** The points of the map in memory: in an order without meaning, and where to find those that are near a place. */

const IN_A_CELL = 6; // points, about
const MOST_CELLS = 512; // along one side

/**
 * The same map with its points shuffled, always in the same way: the first tenth of them is a fair sample of all, so
 * drawing fewer loses density and nothing else.
 *
 * @param {import("./map_columns.js").MapData} map
 * @returns {import("./map_columns.js").MapData}
 */
export function shuffled(map) {
  const order = new Uint32Array(map.count);
  for (let row = 0; row < map.count; row++) order[row] = row;
  let state = 2463534242; // xorshift: https://doi.org/10.18637/jss.v008.i14
  for (let row = map.count - 1; row > 0; row--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const other = (state >>> 0) % (row + 1);
    [order[row], order[other]] = [order[other], order[row]];
  }
  const columns = Object.fromEntries(
    Object.entries(map.columns).map(([name, column]) => {
      const moved = new column.constructor(map.count);
      for (let row = 0; row < map.count; row++) moved[row] = column[order[row]];
      return [name, moved];
    }),
  );
  return { ...map, columns };
}

/** Cells with the points that lie in them. */
export class PointCells {
  /** @param {Float32Array} x From -1 to 1. @param {Float32Array} y */
  constructor(x, y) {
    this.x = x;
    this.y = y;
    this.side = Math.max(1, Math.min(MOST_CELLS, Math.ceil(Math.sqrt(x.length / IN_A_CELL))));
    this.first = new Uint32Array(this.side * this.side + 1);
    for (let row = 0; row < x.length; row++) this.first[this.#cell(x[row], y[row]) + 1] += 1;
    for (let cell = 0; cell < this.side * this.side; cell++) this.first[cell + 1] += this.first[cell];
    this.rows = new Uint32Array(x.length);
    const next = this.first.slice();
    for (let row = 0; row < x.length; row++) this.rows[next[this.#cell(x[row], y[row])]++] = row;
  }

  /** @param {number} value */
  #place(value) {
    return Math.min(this.side - 1, Math.max(0, Math.floor(((value + 1) / 2) * this.side)));
  }

  /** @param {number} x @param {number} y */
  #cell(x, y) {
    return this.#place(y) * this.side + this.#place(x);
  }

  /**
   * Visit the points within a box.
   *
   * @param {import("./camera.js").Box} box
   * @param {(row: number) => void} visit
   */
  within({ left, right, bottom, top }, visit) {
    const { x, y, side, first, rows } = this;
    for (let line = this.#place(bottom); line <= this.#place(top); line++) {
      const from = first[line * side + this.#place(left)];
      const to = first[line * side + this.#place(right) + 1];
      for (let at = from; at < to; at++) {
        const row = rows[at];
        if (x[row] >= left && x[row] <= right && y[row] >= bottom && y[row] <= top) visit(row);
      }
    }
  }

  /** The nearest point within a distance for which `counts` holds, or -1. @param {number} x @param {number} y @param {number} far @param {(row: number) => boolean} counts */
  nearest(x, y, far, counts) {
    let best = -1;
    let least = far * far;
    this.within({ left: x - far, right: x + far, bottom: y - far, top: y + far }, (row) => {
      const distance = (this.x[row] - x) ** 2 + (this.y[row] - y) ** 2;
      if (distance < least && counts(row)) [best, least] = [row, distance];
    });
    return best;
  }

  /** Points within a closed line: [x, y] of its corners. @param {[number, number][]} corners @returns {number[]} */
  enclosed(corners) {
    const xs = corners.map(([x]) => x);
    const ys = corners.map(([, y]) => y);
    const box = { left: Math.min(...xs), right: Math.max(...xs), bottom: Math.min(...ys), top: Math.max(...ys) };
    /** @type {number[]} */
    const found = [];
    this.within(box, (row) => isInside(this.x[row], this.y[row], corners) && found.push(row));
    return found;
  }
}

/** Whether a ray from a point to the right crosses the line an odd number of times. @param {number} x @param {number} y @param {[number, number][]} corners */
function isInside(x, y, corners) {
  let inside = false;
  for (let one = 0, other = corners.length - 1; one < corners.length; other = one++) {
    const [x1, y1] = corners[one];
    const [x2, y2] = corners[other];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) inside = !inside;
  }
  return inside;
}
