/** A model of one's own: what it learns from, what alike is to mean, how long it may take. */

import { isWithdrawn } from "../api.js";
import { command } from "../parts/commands.js";
import { h, icon } from "../parts/dom.js";
import { FieldErrors } from "../parts/field_errors.js";
import { announce } from "../parts/messages.js";
import { problemState, state } from "../parts/states.js";
import { count, duration, plural } from "../parts/words.js";

const UNTRAINED = "patches"; // the recipe that trains nothing
const BUDGETS = [5, 15, 60, 240, 480]; // minutes
/** @type {Record<string, [string, string]>} */
const ALIKE = {
  copy: ["The same picture", "found again when it was cut, scaled, saved anew or made brighter"],
  balanced: ["The same thing", "also in other light and from a little elsewhere: this suits photographs"],
  semantic: ["The same kind of thing", "also in other colours: for drawings, products, signs"],
};
/** @type {Record<string, string>} */
const MACHINES = {
  "cpu-small": "A computer with few cores",
  cpu: "A computer with many cores",
  gpu: "A computer with a graphics card (NVIDIA)",
};

/**
 * @param {import("../app.js").Page} page
 * @param {string} name Of the gallery.
 */
export function trainingView(page, name) {
  const withdrawn = new AbortController();
  const place = h("div", { class: "training" });
  const head = h("div", { class: "model-head" }, h("h1", {}, "A model of your own"), h("p", { class: "quiet-words" }, `It learns from the pictures of ${name} what alike means there. Searching goes on meanwhile, and nothing leaves this machine.`));
  const show = async () => {
    try {
      const [ways, stats] = await Promise.all([page.server.trainingWays(withdrawn.signal), page.server.stats(name, withdrawn.signal)]);
      place.replaceChildren(...offer(page, name, ways, stats.items));
    } catch (error) {
      if (!isWithdrawn(error)) place.replaceChildren(problemState(error, { retry: show }));
    }
  };
  if (page.may.admin) show();
  else place.append(state({ iconName: "lock", title: "Training is for whoever runs the server", text: "It takes a token with the scope admin." }));
  return { element: h("div", { class: "models" }, head, place), title: "Train a model", close: () => withdrawn.abort() };
}

/** @param {import("../app.js").Page} page @param {string} name @param {Rest.TrainingWaysOut} ways @param {number} items */
function offer(page, name, ways, items) {
  if (!ways.available) {
    return [state({ iconName: "model", title: "Training is not installed here", text: "It takes PyTorch, which searching does without. Install it where the server runs, then start the server again.", actions: [command("pip install 'lookalike[train]'")] })];
  }
  if (items < ways.least_images) {
    const add = h("a", { class: "button primary", href: `${page.top}g/${encodeURIComponent(name)}/browse` }, icon("add"), h("span", {}, "Add pictures"));
    return [state({ iconName: "model", title: `${plural(items, "picture is", "pictures are")} too few to learn from`, text: `Training needs ${ways.least_images} at the very least, and ${ways.few_images} to be worth while. The model that ${name} has now goes on working; it was made for small galleries.`, actions: [add] })];
  }
  return [new TrainingForm(page, name, ways, items).element];
}

class TrainingForm {
  /** @param {import("../app.js").Page} page @param {string} gallery @param {Rest.TrainingWaysOut} ways @param {number} items */
  constructor(page, gallery, ways, items) {
    this.page = page;
    this.gallery = gallery;
    this.ways = ways;
    this.items = items;
    const few = items < ways.few_images;
    /** @type {HTMLSelectElement} */
    this.galleries = h("select", { name: "gallery", onchange: () => page.go("models", { train: this.galleries.value }) }, page.galleries.map((one) => h("option", { value: one, selected: one === gallery }, one)));
    this.name = h("input", { name: "name", required: true, pattern: "[A-Za-z0-9][A-Za-z0-9_\\-]{0,63}", maxlength: 64, autocomplete: "off", spellcheck: "false", title: "Letters, digits, - and _", value: freeName(gallery, ways.taken) });
    this.minutes = h("select", { name: "minutes" }, BUDGETS.map((minutes) => h("option", { value: minutes, selected: minutes === ways.minutes }, duration(minutes * 60))));
    this.preset = h("select", { name: "preset" }, ways.presets.map((preset) => h("option", { value: preset, selected: preset === ways.preset }, MACHINES[preset] ?? preset)));
    this.adopt = h("input", { type: "checkbox", name: "adopt" });
    this.expectation = h("p", { class: "training-expectation" });
    this.trouble = h("div", {});
    this.timed = h("div", { class: "training-row" }, field("How long it may learn", this.minutes), field("What it learns on", this.preset));
    this.submit = h("button", { class: "button primary" }, icon("play"), h("span", {}, "Train it"));
    this.element = h(
      "form",
      { class: "training-form", onsubmit: (/** @type {Event} */ event) => this.#begin(event), onchange: () => this.#expect() },
      few && h("div", { class: "notice" }, icon("warning"), h("span", {}, `${count(items)} pictures are few: from fewer than ${count(ways.few_images)} a model learns less than the one that comes with Lookalike knows already. What their patches and colours say can be used without training.`)),
      page.galleries.length > 1 && field("Pictures of", this.galleries),
      h(
        "div",
        { class: "training-column" },
        choices("recipe", "How", [
          ["", "It learns", "better the more pictures there are, and the longer it may", !few],
          [UNTRAINED, "Without learning", "from patches and colours alone, in seconds: for few pictures, or to begin with", few],
        ]),
        choices("invariance", "What counts as alike", Object.entries(ALIKE).map(([value, [words, says]]) => [value, words, says, value === "balanced"])),
      ),
      h(
        "div",
        { class: "training-column" },
        this.timed,
        field("Name of the model", this.name),
        h("label", { class: "check" }, this.adopt, h("span", {}, `Use it for ${gallery} as soon as it is ready`)),
        this.expectation,
        h("div", { class: "actions" }, this.submit, h("a", { class: "button quiet", href: page.address("models"), "data-view": "models" }, "Cancel")),
        this.trouble,
      ),
    );
    this.errors = new FieldErrors(this.element);
    this.#expect();
  }

  get learns() {
    return new FormData(this.element).get("recipe") !== UNTRAINED;
  }

  /** Say what will happen, and how long it takes. */
  #expect() {
    this.timed.hidden = !this.learns;
    const first = `First the ${plural(this.items, "picture is", "pictures are")} read.`;
    const then = this.learns ? `Then it learns for about ${duration(Number(this.minutes.value) * 60)}, which may be stopped and gone on with at any time.` : "Then nothing is trained: it takes seconds for a thousand pictures.";
    const last = this.adopt.checked ? `At last all pictures are looked at with it, and ${this.gallery} switches over; until then the model that it has answers.` : `${this.gallery} keeps its model until you say otherwise.`;
    this.expectation.textContent = `${first} ${then} ${last}`;
  }

  /** @param {Event} event */
  async #begin(event) {
    event.preventDefault();
    this.errors.clear();
    this.trouble.replaceChildren();
    this.submit.disabled = true;
    const given = new FormData(this.element);
    const learning = this.learns ? { minutes: Number(this.minutes.value), preset: this.preset.value } : { recipe: UNTRAINED };
    try {
      const job = await this.page.server.train({
        name: this.name.value,
        gallery: this.gallery,
        invariance: String(given.get("invariance")),
        export: true,
        adopt: this.adopt.checked,
        ...learning,
      });
      this.page.jobs.look();
      announce("Training begins");
      this.page.go("jobs", { id: job.id });
    } catch (error) {
      if (!this.errors.show(error)) this.trouble.replaceChildren(problemState(error, { heading: "h3" }));
      this.submit.disabled = false;
    }
  }
}

/** A name that nothing has yet. @param {string} wanted @param {string[]} taken */
function freeName(wanted, taken) {
  const base = wanted.replaceAll(/[^\w-]+/g, "-").replace(/^[-_]+/, "").slice(0, 58) || "model";
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? base : `${base}-${number}`;
    if (!taken.includes(name)) return name;
  }
}

/** @param {string} words @param {HTMLElement} input */
function field(words, input) {
  return h("label", { class: "field" }, h("span", {}, words), input);
}

/** @param {string} name @param {string} legend @param {[string, string, string, boolean][]} options Value, words, what it means, whether it is chosen. */
function choices(name, legend, options) {
  return h(
    "fieldset",
    { class: "training-choices" },
    h("legend", {}, legend),
    options.map(([value, words, says, checked]) => h("label", { class: "training-choice" }, h("input", { type: "radio", name, value, checked }), h("span", {}, h("strong", {}, words), h("small", {}, says)))),
  );
}
