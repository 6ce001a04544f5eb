// A note beside a link to a fact or a figure: the number, its source, its date and how surely it is known.
// It opens with the mouse or with the focus, closes with Escape, and the link itself leads to the fact.

const note = document.createElement("div");
note.className = "gl-note";
note.id = "gl-note";
note.setAttribute("role", "tooltip");
note.hidden = true;
document.body.append(note);
let owner = null;

function open(link) {
  if (!link.dataset.note) return;
  close();
  owner = link;
  note.textContent = link.dataset.note;
  note.hidden = false;
  link.setAttribute("aria-describedby", "gl-note");
  const box = link.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.left), document.documentElement.clientWidth - note.offsetWidth - 8);
  const below = box.bottom + note.offsetHeight + 12 < window.innerHeight;
  note.style.left = `${left + window.scrollX}px`;
  note.style.top = `${(below ? box.bottom + 4 : box.top - note.offsetHeight - 4) + window.scrollY}px`;
}

function close() {
  owner?.removeAttribute("aria-describedby");
  owner = null;
  note.hidden = true;
}

for (const [kind, act] of [["mouseover", open], ["focusin", open], ["focusout", close]]) {
  document.addEventListener(kind, (event) => {
    const link = event.target instanceof Element && event.target.closest("a.fact");
    if (link) act(link);
  });
}
document.addEventListener("mouseout", (event) => {
  const into = event.relatedTarget;
  if (owner && into !== note && !(into instanceof Node && owner.contains(into))) close();
});
note.addEventListener("mouseleave", close);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") close();
});
