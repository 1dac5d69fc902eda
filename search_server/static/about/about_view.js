/** What the server is. The server draws it all; this only puts it in its place, and looks again when asked to. */

import { fetchDrawn, isWithdrawn } from "../api.js";
import { h } from "../parts/dom.js";
import { announce } from "../parts/messages.js";
import { problemState } from "../parts/states.js";

/** @param {import("../app.js").Page} page */
export function aboutView(page) {
  const withdrawn = new AbortController();
  const element = h("div", {});
  const drawn = page.takeDrawn(".about");

  const show = (about) => {
    element.replaceChildren(about);
    about.querySelector("[data-again]").addEventListener("click", (event) => {
      event.preventDefault();
      fetch(true);
    });
  };

  const fetch = async (again = false) => {
    try {
      show(await fetchDrawn(page.address("about"), ".about", withdrawn.signal));
      if (!again) return;
      announce(`Checked again. ${element.querySelector("#health-title").textContent}`);
      /** @type {HTMLElement} */ (element.querySelector("[data-again]")).focus();
    } catch (error) {
      if (!isWithdrawn(error)) element.replaceChildren(problemState(error, { retry: () => fetch(), heading: "h1" }));
    }
  };

  if (drawn) show(drawn);
  else fetch();
  return { element, title: "About", close: () => withdrawn.abort() };
}
