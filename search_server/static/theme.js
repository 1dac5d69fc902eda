// Not a module: it runs before the first paint, so that a chosen theme never flashes.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("lookalike.theme");
  } catch {
    // Storage refused: the system's theme it is.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  document.documentElement.classList.add("scripted");
})();
