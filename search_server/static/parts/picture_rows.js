/** Where pictures stand: rows of about one height, each filled from edge to edge, known before any picture is there. */

// Thinner pictures than these are shown whole, in a tile of this aspect.
export const NARROWEST = 0.45;
export const WIDEST = 2.8;
const TALLEST = 1.6; // times the height that was asked for: a row that would grow beyond stays short of the edge

/**
 * @typedef {object} Rows
 * @property {number} count
 * @property {Int32Array} first Number of the first picture of each row, and at the end how many there are.
 * @property {Float64Array} top Of each row, CSS pixels, and at the end the height of all.
 * @property {Float32Array} height Of the pictures of each row.
 */

/** The aspect of a picture's tile. @param {{width: number, height: number}} item */
export function aspectOf(item) {
  return within(item.width / item.height);
}

/** @param {number} aspect */
export function within(aspect) {
  return Math.min(WIDEST, Math.max(NARROWEST, aspect || 1));
}

/**
 * Break pictures into rows. A row ends where its height comes nearest to the one that was asked for.
 *
 * @param {ArrayLike<number>} aspects
 * @param {number} width Of a row, CSS pixels.
 * @param {{row: number, column: number, below: number}} sizes Height asked for, gap beside pictures, room below a row.
 * @returns {Rows}
 */
export function justify(aspects, width, { row, column, below }) {
  const most = aspects.length;
  const first = new Int32Array(most + 1);
  const top = new Float64Array(most + 1);
  const height = new Float32Array(most);
  let count = 0;
  let begin = 0;
  /** @param {number} upTo @param {number} high */
  const end = (upTo, high) => {
    first[count] = begin;
    height[count] = high;
    top[count + 1] = top[count] + high + below;
    count += 1;
    begin = upTo;
  };
  let sum = 0;
  for (let place = 0; place < most; place++) {
    const before = place > begin ? (width - column * (place - begin - 1)) / sum : Infinity;
    sum += aspects[place];
    const high = (width - column * (place - begin)) / sum;
    if (high > row) continue;
    if (before - row < row - high) {
      end(place, Math.min(before, row * TALLEST));
      sum = aspects[place];
      const alone = width / sum;
      if (alone <= row) {
        end(place + 1, alone);
        sum = 0;
      }
    } else {
      end(place + 1, high);
      sum = 0;
    }
  }
  if (begin < most) end(most, Math.min(row, (width - column * (most - begin - 1)) / sum)); // the last one is not stretched
  first[count] = most;
  return { count, first, top, height };
}

/** The row that a place down the list is in. @param {Rows} rows @param {number} down CSS pixels */
export function rowAt(rows, down) {
  let low = 0;
  let high = rows.count - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (rows.top[middle] <= down) low = middle;
    else high = middle - 1;
  }
  return Math.max(0, low);
}

/** The row of a picture. @param {Rows} rows @param {number} place */
export function rowOf(rows, place) {
  let low = 0;
  let high = rows.count - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (rows.first[middle] <= place) low = middle;
    else high = middle - 1;
  }
  return Math.max(0, low);
}

/**
 * Left edge and width of a row's pictures.
 *
 * @param {Rows} rows
 * @param {ArrayLike<number>} aspects
 * @param {number} row
 * @param {number} column Gap between pictures.
 * @returns {{place: number, left: number, width: number}[]}
 */
export function boxesOf(rows, aspects, row, column) {
  const boxes = [];
  let left = 0;
  for (let place = rows.first[row]; place < rows.first[row + 1]; place++) {
    const width = aspects[place] * rows.height[row];
    boxes.push({ place, left, width });
    left += width + column;
  }
  return boxes;
}
