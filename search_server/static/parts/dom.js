/** Making elements. Text is only ever set as text: file names are written by strangers. */

const SVG = "http://www.w3.org/2000/svg";
const ICONS = new URL("../icons.svg", import.meta.url).href;

/** @typedef {Node | string | number | null | undefined | false} Child What is null, undefined or false is left out. */
/** @typedef {{[E in keyof GlobalEventHandlersEventMap as `on${E}`]?: (event: GlobalEventHandlersEventMap[E]) => unknown}} Listeners */

/**
 * on… is a listener, `style` and `data` are objects, false and null are left out, true is an empty attribute;
 * everything else is an attribute.
 *
 * @typedef {Listeners & {style?: Record<string, string | number>, data?: Record<string, any>, [name: string]: any}} Properties
 */

/**
 * Make an element: `h("button", {class: "quiet", onclick: close}, icon("close"), "Close")`.
 *
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Properties} [properties]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) setProperty(element, key, value);
  for (const child of children.flat()) if (child !== null && child !== undefined && child !== false) element.append(typeof child === "number" ? String(child) : child);
  return element;
}

/** @param {HTMLElement} element @param {string} key @param {any} value */
function setProperty(element, key, value) {
  if (value === false || value === null || value === undefined) return;
  if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
  else if (key === "data") Object.assign(element.dataset, value);
  // Through the object model, which the content security policy allows; a style attribute in markup it does not.
  else if (key === "style") for (const [name, text] of Object.entries(value)) element.style.setProperty(name, String(text));
  else element.setAttribute(key, value === true ? "" : value);
}

/**
 * A drawing from icons.svg, hidden from screen readers: the words beside it say it, or the button's label.
 *
 * @param {string} name
 */
export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${ICONS}#${name}`);
  drawing.append(use);
  return drawing;
}

/** Part of a drawing. @param {string} name @param {Record<string, any>} attributes @param {...Element} children */
export function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

/**
 * A button with an icon and words.
 *
 * @param {string} iconName
 * @param {string} words
 * @param {(event: MouseEvent) => unknown} onclick
 * @param {Properties} [properties]
 */
export function button(iconName, words, onclick, properties = {}) {
  return h("button", { type: "button", class: "button", ...properties, onclick }, icon(iconName), h("span", {}, words));
}

/**
 * A button that shows only its icon; its words are the label and the tooltip.
 *
 * @param {string} iconName
 * @param {string} words
 * @param {(event: MouseEvent) => unknown} onclick
 * @param {Properties} [properties]
 */
export function iconButton(iconName, words, onclick, properties = {}) {
  const attributes = { type: "button", class: "icon-button", "aria-label": words, title: words, ...properties };
  return h("button", { ...attributes, onclick }, icon(iconName));
}

/**
 * An element that is there for certain: the template has it.
 *
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} selector
 * @param {ParentNode} [within]
 * @returns {Kind}
 */
export function need(selector, within = document) {
  const found = within.querySelector(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return /** @type {Kind} */ (found);
}

/**
 * What an event came from, or the nearest element around it that a selector names.
 *
 * @param {Event} event
 * @param {string} [selector]
 * @returns {HTMLElement | null}
 */
export function targetOf(event, selector = "*") {
  return event.target instanceof Element ? event.target.closest(selector) : null;
}

/** Whether a click on a link asks for a new tab or window, as with every link. @param {MouseEvent} event */
export function opensElsewhere(event) {
  return event.metaKey || event.ctrlKey || event.shiftKey;
}

/** Whether the reader asked for less motion. */
export function motionIsReduced() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
