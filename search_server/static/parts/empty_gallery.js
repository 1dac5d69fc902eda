/** A gallery without pictures: the job that is filling it, or ways to put some in. */

import { isWithdrawn } from "../api.js";
import { command } from "./commands.js";
import { h, icon } from "./dom.js";
import { JobCard } from "./job_card.js";
import { picturesBox, Uploader } from "./uploader.js";

const FILLS = new Set(["add", "scan"]);

/**
 * @param {import("../app.js").Page} page
 * @param {AbortSignal} signal Of the view that it stands in.
 * @returns {HTMLElement}
 */
export function emptyGallery(page, signal) {
  const { gallery, may } = page;
  const here = () => location.reload(); // it has pictures now: the server knows how many
  const below = h("div", { class: "empty-below" });
  const heading = h("h2", {}, "This gallery has no pictures yet");
  const element = h("section", { class: "empty-gallery" }, h("div", { class: "state-icon" }, icon("pick")), heading, below);

  /** @param {File[]} files */
  const upload = (files) => {
    const uploader = new Uploader(page.server, gallery.name, files, page.limits.image_bytes, here);
    signal.addEventListener("abort", () => uploader.close());
    below.replaceChildren(uploader.element);
  };

  const offer = () =>
    below.replaceChildren(
      ...(may.write ? [picturesBox(upload), h("p", { class: "quiet-words" }, "or, for a folder on the server, in a terminal")] : [h("p", { class: "quiet-words" }, "Whoever runs the server adds some in a terminal")]),
      command(`lookalike index add ${gallery.name} FOLDER`),
    );

  const look = async () => {
    try {
      const job = (await page.server.activeJobs(signal)).find((one) => one.gallery === gallery.name && FILLS.has(one.kind));
      if (!job) return;
      heading.textContent = "This gallery is being filled";
      const card = new JobCard(page, job, { heading: "h3", ended: here });
      signal.addEventListener("abort", () => card.close());
      below.replaceChildren(card.element, h("p", { class: "quiet-words" }, "Pictures can be found as soon as they are in. ", h("a", { href: "" }, "Look again")));
    } catch (error) {
      if (isWithdrawn(error)) return; // what is offered stays: it works, or says why it does not
    }
  };

  offer();
  if (may.write) look();
  return element;
}
