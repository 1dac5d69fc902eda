/** Making elements. Text is only ever set as text: file names are written by strangers. */

const SVG = "http://www.w3.org/2000/svg";
const ICONS = new URL("../icons.svg", import.meta.url).href;

/**
 * Make an element: `h("button", {class: "quiet", onclick: close}, icon("close"), "Close")`.
 *
 * @param {string} name
 * @param {Record<string, any>} [properties] on… is a listener, `style` and `data` are objects, false and null are left
 *   out, true is an empty attribute; everything else is an attribute.
 * @param {...(Node|string|number|null|undefined|false)} children
 * @returns {any}
 */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) setProperty(element, key, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function setProperty(element, key, value) {
  if (value === false || value === null || value === undefined) return;
  if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
  else if (key === "data") Object.assign(element.dataset, value);
  // Through the object model, which the content security policy allows; a style attribute in markup it does not.
  else if (key === "style") for (const [name, text] of Object.entries(value)) element.style.setProperty(name, text);
  else element.setAttribute(key, value === true ? "" : value);
}

/** A drawing from icons.svg, hidden from screen readers: the words beside it say it, or the button's label. */
export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${ICONS}#${name}`);
  drawing.append(use);
  return drawing;
}

/** A button with an icon and words. */
export function button(iconName, words, onclick, properties = {}) {
  return h("button", { type: "button", class: "button", ...properties, onclick }, icon(iconName), h("span", {}, words));
}

/** A button that shows only its icon; its words are the label and the tooltip. */
export function iconButton(iconName, words, onclick, properties = {}) {
  const attributes = { type: "button", class: "icon-button", "aria-label": words, title: words, ...properties };
  return h("button", { ...attributes, onclick }, icon(iconName));
}

/** Whether the reader asked for less motion. */
export function motionIsReduced() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
