/** What to do with a model: look at it, give it to a gallery, make a gallery with it. */

import { button, h, icon } from "./dom.js";
import { problemState } from "./states.js";

/**
 * @param {import("../app.js").Page} page
 * @param {string} model Its name.
 * @param {{used?: string[], gallery?: string | null, look?: boolean}} [ways] used: galleries that have it already; gallery: the
 *   one that it was trained on; look: lead to the model itself.
 * @returns {HTMLElement}
 */
export function modelSteps(page, model, { used = [], gallery = null, look = true } = {}) {
  if (!page.may.admin && !look) return h("div", { hidden: true });
  const others = page.galleries.filter((name) => !used.includes(name));
  const wanted = gallery && others.includes(gallery) ? gallery : (others.find((name) => name === page.gallery?.name) ?? others[0]);
  const trouble = h("div", {});
  const choice = h("select", { "aria-label": "Gallery" }, others.map((name) => h("option", { value: name, selected: name === wanted }, name)));

  const adopt = async () => {
    give.disabled = true;
    try {
      const job = await page.server.chooseModel(choice.value, model);
      page.jobs.look();
      page.go("jobs", { id: job.id });
    } catch (error) {
      trouble.replaceChildren(problemState(error, { retry: adopt, heading: "h3" }));
      give.disabled = false;
    }
  };
  /** @type {HTMLButtonElement} */
  const give = button("model", "Use it for", adopt, { class: "button primary", "aria-describedby": "adopting" });
  const adopting = h("p", { id: "adopting", class: "quiet-words" }, "All pictures of the gallery are looked at again, aside; the model that it has answers until that is done. It can be given back the same way.");
  return h(
    "section",
    { class: "model-steps", "aria-label": "What to do with it" },
    page.may.admin && wanted && h("div", { class: "model-adopt" }, h("div", { class: "actions" }, give, h("span", { class: "choice" }, choice)), adopting),
    h(
      "div",
      { class: "actions" },
      look && h("a", { class: "button", href: page.address("models", { name: model }) }, icon("model"), h("span", {}, "Look at the model")),
      page.may.admin && h("a", { class: "button", href: page.address("new", { model }) }, icon("add"), h("span", {}, "New gallery with it")),
    ),
    trouble,
  );
}
