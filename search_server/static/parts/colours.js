/** The colours of the page, as a canvas understands them: what `light-dark()` makes of them at the moment. */

/**
 * @param {string[]} names Of custom properties: "--ink".
 * @returns {string[]} As rgb(…).
 */
export function coloursOf(names) {
  const probe = document.createElement("i");
  probe.hidden = true;
  document.body.append(probe);
  const found = names.map((name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  return found;
}

/** Do something again whenever the page turns light or dark, or its contrast changes. @param {() => void} act @param {AbortSignal} signal */
export function onThemeChange(act, signal) {
  for (const query of ["(prefers-color-scheme: dark)", "(prefers-contrast: more)"]) matchMedia(query).addEventListener("change", act, { signal });
  const watcher = new MutationObserver(act);
  watcher.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  signal.addEventListener("abort", () => watcher.disconnect());
}
