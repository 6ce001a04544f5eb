// The quiz of a chapter: an answer is judged at once, and kept in this browser.

const QUIZ = "greenlab.quizzes";

function answers() {
  try {
    return JSON.parse(localStorage.getItem(QUIZ) ?? "{}") ?? {};
  } catch {
    return {};
  }
}

function judge(form, input) {
  const { right, said } = JSON.parse(input.dataset.feedback);
  const status = input.closest("fieldset").querySelector("[role=status]");
  status.innerHTML = `<b>${right ? "✓ Right." : "✗ Not this one."}</b> ${said.replace(/^(Right|No)[.:]\s*/, "")}`;
  const sets = [...form.querySelectorAll("fieldset")];
  const chosen = sets.map((set) => set.querySelector("input:checked")).filter(Boolean);
  const n = chosen.filter((one) => JSON.parse(one.dataset.feedback).right).length;
  form.querySelector(".gl-score").textContent =
    chosen.length === sets.length ? `${n} of ${sets.length} right. Change what you like.` : "";
}

for (const form of document.querySelectorAll(".gl-quiz")) {
  for (const [name, value] of Object.entries(answers())) {
    const input = [...form.querySelectorAll("input")].find((one) => one.name === name && one.value === value);
    if (input) {
      input.checked = true;
      judge(form, input);
    }
  }
  form.addEventListener("change", (event) => {
    judge(form, event.target);
    try {
      localStorage.setItem(QUIZ, JSON.stringify({ ...answers(), [event.target.name]: event.target.value }));
    } catch {
      // the answer is judged all the same
    }
  });
  form.addEventListener("submit", (event) => event.preventDefault());
}
