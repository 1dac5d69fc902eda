/** The thin line at the top of the window: something was asked for that takes longer than it should. */

const PATIENCE = 300; // milliseconds: what is quicker is not announced
let asked = 0;
let timer = 0;

/** Something was asked for; the function that is returned says that it is here, or will not come. */
export function begin() {
  asked += 1;
  if (asked === 1) timer = setTimeout(() => show(true), PATIENCE);
  let open = true;
  return () => {
    if (!open) return;
    open = false;
    asked -= 1;
    if (asked > 0) return;
    clearTimeout(timer);
    show(false);
  };
}

/** @param {boolean} shown */
function show(shown) {
  const line = document.getElementById("in-flight");
  if (line) line.hidden = !shown;
}
