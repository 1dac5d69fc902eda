/** What the server is. The server draws it all; this only puts it in its place, and looks again when asked to. */

import { fetchDrawn, isWithdrawn } from "../api.js";
import { h, need } from "../parts/dom.js";
import { announce } from "../parts/messages.js";
import { problemState } from "../parts/states.js";

/** @param {import("../app.js").Page} page */
export function aboutView(page) {
  const withdrawn = new AbortController();
  const element = h("div", {});
  const drawn = page.takeDrawn(".about");

  /** @param {HTMLElement} about */
  const show = (about) => {
    element.replaceChildren(about);
    need("[data-again]", about).addEventListener("click", (event) => {
      event.preventDefault();
      fetch(true);
    });
  };

  const fetch = async (again = false) => {
    try {
      show(await fetchDrawn(page.address("about"), ".about", withdrawn.signal));
      if (!again) return;
      announce(`Checked again. ${need("#health-title", element).textContent}`);
      need("[data-again]", element).focus();
    } catch (error) {
      if (!isWithdrawn(error)) element.replaceChildren(problemState(error, { retry: () => fetch(), heading: "h1" }));
    }
  };

  if (drawn) show(drawn);
  else fetch();
  return { element, title: "About", close: () => withdrawn.abort() };
}
