/** What the page remembers on this device. Where storage is refused, it just does not remember. */

/**
 * @template Otherwise
 * @param {string} name
 * @param {Otherwise} otherwise
 * @returns {string | Otherwise}
 */
export function remembered(name, otherwise) {
  try {
    return localStorage.getItem(`lookalike.${name}`) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** @param {string} name @param {string | number | boolean} value */
export function remember(name, value) {
  try {
    localStorage.setItem(`lookalike.${name}`, String(value));
  } catch {
    // A private window: nothing to be done, nothing lost but a preference.
  }
}
