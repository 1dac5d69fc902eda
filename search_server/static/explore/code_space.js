/** The room that the codes of a gallery's pictures lie in, measured along its main axes. */

const DIGITS = 4; // of each number of a code that is sent: it paints the same picture

export class CodeSpace {
  /**
   * @param {Rest.AxesOut} answer Axes, at right angles to each other, and where they cross; with their vectors.
   */
  constructor({ mean, axes }) {
    this.mean = mean ?? [];
    this.axes = axes.map(({ deviation, direction }) => ({ deviation, direction: direction ?? [] }));
  }

  /** Where a code stands on each axis, in standard deviations from the mean. @param {number[]} code */
  places(code) {
    return this.axes.map(({ direction, deviation }) => direction.reduce((sum, part, index) => sum + part * (code[index] - this.mean[index]), 0) / deviation);
  }

  /**
   * A code moved along the axes; what no axis describes stays as it is.
   *
   * @param {number[]} code
   * @param {number[]} from Its places.
   * @param {number[]} to Those that it is to have.
   */
  moved(code, from, to) {
    const result = Array.from(code);
    this.axes.forEach(({ direction, deviation }, axis) => {
      const way = (to[axis] - from[axis]) * deviation;
      if (way) for (let index = 0; index < result.length; index++) result[index] += way * direction[index];
    });
    return result.map((number) => Number(number.toFixed(DIGITS)));
  }
}
