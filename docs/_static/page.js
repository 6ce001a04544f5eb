// What every page needs: folds open for the link that leads into them, and what scrolls can be reached by keyboard.

/** The anchor of the address; "" where it cannot be read, as "%" alone is no letter of an address. */
function anchor() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

function reveal() {
  const target = anchor() && document.getElementById(anchor());
  if (!target) return;
  let closed = false;
  for (let fold = target.closest("details"); fold; fold = fold.parentElement?.closest("details")) {
    closed ||= !fold.open;
    fold.open = true;
  }
  const inner = target.querySelector(":scope > details.gl-road"); // the section of a side road
  if (inner && !inner.open) inner.open = closed = true;
  if (closed) target.scrollIntoView();
}

function reach() {
  for (const box of document.querySelectorAll(".table-wrapper, div.highlight pre, .cell_output pre, .gl-table, .gl-draw, .gl-scroll")) {
    const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
    if (scrolls) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

window.addEventListener("hashchange", reveal);
window.addEventListener("resize", reach);
document.addEventListener("toggle", reach, true);
document.addEventListener("greenlab-drawn", reach); // a chart that is wider than a phone scrolls
reveal();
reach();
