"""No exercise takes a wrong answer: each one-step mutant of each solution is refused, or is as right as it."""

import ast
import contextlib
import importlib
import inspect
import io
import json
import math
import random
import textwrap

import numpy as np
import pytest
import torch

from greenlab import distillation, footprint, hardware, ternary
from greenlab.core.chapters import CHAPTERS
from greenlab.core.facts import value
from greenlab.core.machine import ROOT
from greenlab.core.model import cost
from greenlab.lab.exercises import solutions
from greenlab.load_shifting import Jobs, simulate
from greenlab.ternary.estimates import SHAPES, stored_bytes
from tests.lab.mutants import mutants
from tests.notebook_rules import exercises as exercise_cells

BUILT = [chapter for chapter in CHAPTERS if (ROOT / "greenlab" / chapter.name / "view").is_dir()]
for chapter in BUILT:
    importlib.import_module(f"greenlab.{chapter.name}.view.exercises")
TASKS = {id: task for id, task in solutions().items() if task.checker.__module__.startswith("greenlab.")}
# mutants that are right answers, each with the reason: (exercise, what was changed) -> why
FEW_BYTES = "rounds to whole bytes, or bytes over a power of two: a billionth of the answer"
TABLES = "the two tables are 1.5 % of the weights: a tenth of them is lost where the answer is asked to three digits"
BLOCK = "(68450000000.0 * 1.6 + 2 * 32000 * 8192 * 16)"
ONE_AXIS = "the logits of one token have one axis: the first is the last"
TWO_AXES = "the logits have two axes: the second is the last"
EVEN = "each hour of the run has an intensity, so there is nothing to be strict about"
EQUIVALENT = {
    (
        "hardware-roof",
        "line 1: min(peak_flops_per_s, bandwidth_b_per_s * intensity)"
        " -> min(bandwidth_b_per_s * intensity, peak_flops_per_s)",
    ): "the lower of two numbers has no order",
    (
        "hardware-batch",
        "line 1: device('h100-sxm5-80gb').ridge('bf16') -> device('h100-sxm5-80gb').ridge()",
    ): "bf16 is the method's own default",
    ("hardware-chips", "line 1: parameters * bits / 8 -> parameters * bits // 8"): FEW_BYTES,
    (
        "layer-pruning-distance",
        "line 1: torch.cosine_similarity(a, b, dim=-1) -> torch.cosine_similarity(b, a, dim=-1)",
    ): "the angle between two vectors has no order",
    ("layer-pruning-memory", "line 1: 8192 -> 9011"): TABLES,
    ("layer-pruning-memory", "line 1: 8192 -> 7372"): TABLES,
    ("layer-pruning-memory", "line 1: 32000 -> 35200"): TABLES,
    ("layer-pruning-memory", "line 1: 32000 -> 28800"): TABLES,
    (
        "layer-pruning-memory",
        "line 3: (layers / 2 + tables) * 4 / 8 -> (layers / 2 + tables) * 4 // 8",
    ): FEW_BYTES,
    ("layer-pruning-memory", "line 3: layers / 2 -> layers // 2"): FEW_BYTES,
    (
        "hardware-find-the-bug",
        "line 3: max(arithmetic_s, memory_s) -> max(memory_s, arithmetic_s)",
    ): "the higher of two numbers has no order",
    (
        "load-shifting-find-the-bug",
        "line 1: zip(energy_kwh, intensity, strict=True) -> zip(intensity, energy_kwh, strict=True)",
    ): "a product has no order",
    (
        "load-shifting-find-the-bug",
        "line 1: zip(energy_kwh, intensity, strict=True) -> zip(energy_kwh, intensity)",
    ): EVEN,
    ("load-shifting-find-the-bug", "line 1: True -> False"): EVEN,
    (
        "ternary-five-trits",
        "line 3: 3 * number + trit -> 3 * number - trit",
    ): "another right numbering, with the digits 2, 1, 0",
    ("distillation-loss", "line 1: 1 -> 0"): ONE_AXIS,
    ("distillation-loss", "line 2: 1 -> 0"): ONE_AXIS,
    ("distillation-loss", "line 4: 1 -> 0"): ONE_AXIS,
    ("distillation-find-the-bug", "line 1: -1 -> 1"): TWO_AXES,
    ("distillation-find-the-bug", "line 2: -1 -> 1"): TWO_AXES,
    ("distillation-find-the-bug", "line 3: -1 -> 1"): TWO_AXES,
    ("distillation-find-the-bug", "line 1: 1 -> -1"): TWO_AXES,
    ("distillation-find-the-bug", "line 2: 1 -> -1"): TWO_AXES,
    ("distillation-find-the-bug", "line 3: 1 -> -1"): TWO_AXES,
    (
        "distillation-find-the-bug",
        "line 3: (log_p.exp() * (log_p - log_q)).sum(-1) -> log_p.exp() * (log_p - log_q)",
    ): "the last line sums over all axes",
    ("ternary-memory", f"line 1: {BLOCK} / 8 -> {BLOCK} // 8"): FEW_BYTES,
}


def accepted(task, answer):
    try:
        return task.verdict(answer) is None
    except NotImplementedError:
        return False


def survivors(task):
    """The mutants that the exercise takes for right, by what was changed."""
    found, tried = [], 0
    with contextlib.redirect_stdout(io.StringIO()):  # some mutants print what they should return
        for change, mutant in mutants(task.solution):
            tried += 1
            answer = mutant
            if task.worked:
                try:
                    answer = mutant()
                except Exception:
                    continue
            if accepted(task, answer):
                found.append(change)
    assert tried >= 10, f"only {tried} mutants of {task.id}"
    return found


def test_every_chapter_has_exercises_with_many_mutants():
    """The tests below go over what is registered; here it is shown that this is not nothing."""
    assert len(BUILT) >= 6
    for chapter in BUILT:
        module = f"greenlab.{chapter.name}.view.exercises"
        own = [id for id, task in TASKS.items() if task.checker.__module__ == module]
        assert own, chapter.name
        assert all(id.startswith(chapter.name.replace("_", "-")) for id in own)
    assert len(TASKS) >= 20
    assert sum(1 for task in TASKS.values() for _ in mutants(task.solution)) >= 500


@pytest.mark.parametrize("id", TASKS)
def test_every_one_step_mutant_is_refused(id):
    """Or it is listed above as right, with the reason; a listed one that is refused is no longer listed."""
    assert set(survivors(TASKS[id])) == {change for exercise, change in EQUIVALENT if exercise == id}


def test_the_mutants_are_those_that_one_expects():
    """By hand, for a function of one line."""

    def scaled(a, b):
        return min(a, 2 * b)

    changes = {change.partition(": ")[2] for change, _ in mutants(scaled)}
    assert changes == {
        "return min(a, 2 * b) -> min(a, 2 * b)", "return min(a, 2 * b) -> print(min(a, 2 * b))",
        "min(a, 2 * b) -> a", "min(a, 2 * b) -> 2 * b", "min(a, 2 * b) -> max(a, 2 * b)",
        "min(a, 2 * b) -> sum(a, 2 * b)",
        "min(a, 2 * b) -> min(2 * b)", "min(a, 2 * b) -> min(a)", "min(a, 2 * b) -> min(2 * b, a)",
        "2 * b -> 2 / b", "2 * b -> 2 + b", "2 * b -> 2", "2 * b -> b",
        "2 -> 3", "2 -> 1", "2 -> 0", "2 -> -2", "a -> b", "b -> a",
    }  # fmt: skip


# What is printed in the notebooks -------------------------------------------------------------------------------------


def notebook_solutions():
    """The code of every solution in the notebooks, by exercise."""
    found = {}
    for chapter in BUILT:
        notebook = json.loads((ROOT / "notebooks" / chapter.notebook).read_text(encoding="utf-8"))
        for cell in exercise_cells(notebook):
            (id,) = cell["ids"]
            found[id] = cell["solved"]
    return found


SOLVED = notebook_solutions()


def test_the_notebooks_ask_what_is_registered():
    assert set(SOLVED) == set(TASKS)


def body_of(function):
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    return [ast.unparse(statement) for statement in tree.body]


@pytest.mark.parametrize("id", [id for id, task in TASKS.items() if not task.worked])
def test_the_reference_is_the_solution_in_the_notebook(id):
    """So what holds for the mutants of the one holds for those of the other."""
    (printed,) = [node for node in ast.walk(ast.parse(SOLVED[id])) if isinstance(node, ast.FunctionDef)]
    assert [ast.unparse(statement) for statement in printed.body] == body_of(TASKS[id].reference)
    names = [argument.arg for argument in printed.args.args]
    assert names == list(inspect.signature(TASKS[id].reference).parameters)


BUGS = [id for id, task in TASKS.items() if task.bug]


def test_each_chapter_has_one_bug_to_find():
    assert len(BUGS) == len(BUILT)
    assert len({TASKS[id].checker.__module__ for id in BUGS}) == len(BUILT)


@pytest.mark.parametrize("id", BUGS)
def test_the_bug_is_a_stub_until_it_is_touched_and_wrong_for_a_reason(id):
    """As given it is not tried; changed and not mended it is wrong, with a hint of its own; mended it is right."""
    task = TASKS[id]
    with pytest.raises(NotImplementedError):
        task.verdict(task.bug)
    hint = task.verdict(lambda *arguments: task.bug(*arguments))
    assert hint
    assert "the right answer is" not in hint  # the hint is the checker's, not that of the random comparison
    assert "raised" not in hint
    assert task.verdict(task.reference) is None


# The references against what the book computes elsewhere --------------------------------------------------------------


def drawn(id):
    return TASKS[id].draws()


def test_footprint_references_are_the_package():
    for hours, power, pue, grid in drawn("footprint-training"):
        run = footprint.training_footprint(device_hours=hours, power_w=power, pue=pue, intensity_g_per_kwh=grid)
        assert TASKS["footprint-training"].reference(hours, power, pue, grid) == pytest.approx(run.carbon_t)
    for energy_wh, grid, embodied, prompts in drawn("footprint-sci"):
        rate = footprint.sci(
            energy_kwh=energy_wh / 1e3, intensity_g_per_kwh=grid, embodied_g=embodied, functional_units=prompts
        )
        assert TASKS["footprint-sci"].reference(energy_wh, grid, embodied, prompts) == pytest.approx(float(rate))
    for before, after, uses, later in drawn("footprint-rebound"):
        found = footprint.rebound(before_wh=before, after_wh=after, uses_before=uses, uses_after=later)
        assert TASKS["footprint-rebound"].reference(before, after, uses, later) == pytest.approx(float(found.share))
    assert value("pue-average") == 1.54
    assert value("iea-dc-2022") == 460


def test_hardware_references_are_the_package():
    from greenlab.hardware.systolic import cycles

    for intensity, peak, bandwidth in drawn("hardware-roof"):
        want = hardware.attainable(intensity, peak, bandwidth)
        assert TASKS["hardware-roof"].reference(intensity, peak, bandwidth) == pytest.approx(float(want))
    for m, k, n in drawn("hardware-cycles"):
        assert TASKS["hardware-cycles"].reference(m, k, n) == cycles(m, k, n, rows=k, columns=n)


def test_layer_pruning_references_are_the_package():
    shape = cost.TransformerShape(30, 576, 9, 3, 64, 1536, 49152, tied_embeddings=True)
    for (n_dropped,) in drawn("layer-pruning-speedup"):
        want = float(cost.predicted_speedup(shape, n_dropped, phase="decode", n_tokens=0))
        assert TASKS["layer-pruning-speedup"].reference(n_dropped) == pytest.approx(want, rel=1e-4)
    for a, b in drawn("layer-pruning-distance"):
        x, y = a.double().numpy(), b.double().numpy()
        want = np.arccos((x * y).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1)) / math.pi
        np.testing.assert_allclose(TASKS["layer-pruning-distance"].reference(a, b).numpy(), want, rtol=1e-5)
    half = cost.TransformerShape(40, 8192, 64, 8, 128, 28672, 32000)
    assert TASKS["layer-pruning-memory"].reference == pytest.approx(cost.parameters(half).total / 2e9, rel=1e-4)


def test_distillation_references_are_the_package():
    for student, teacher, label, temperature, alpha in drawn("distillation-loss"):
        got = TASKS["distillation-loss"].reference(student, teacher, label, temperature, alpha)
        want = distillation.distillation_loss(
            student[None], teacher[None], torch.tensor([label]), temperature=temperature, alpha=alpha
        )
        assert float(got) == pytest.approx(float(want), rel=1e-10)
    for student, teacher, counts, temperature in drawn("distillation-find-the-bug"):
        labels = torch.where(counts, 0, -100)
        want = distillation.distillation_loss(student, teacher, labels, temperature=temperature, alpha=1.0)
        got = TASKS["distillation-find-the-bug"].reference(student, teacher, counts, temperature)
        assert float(got) == pytest.approx(float(want), rel=1e-10)
    for bill in drawn("distillation-break-even"):
        assert TASKS["distillation-break-even"].reference(*bill) == distillation.break_even_queries(*bill)
    for alpha, temperature in drawn("distillation-temperature"):
        true = TASKS["distillation-temperature"].reference(alpha, temperature)
        assert true * temperature**2 / (1 - true) == pytest.approx(alpha / (1 - alpha))


def test_ternary_references_are_the_package():
    for (weight,) in drawn("ternary-absmean"):
        got, want = TASKS["ternary-absmean"].reference(weight), ternary.absmean_quantize(weight)
        assert torch.equal(got[0], want[0])
        assert float(got[1]) == pytest.approx(float(want[1]))
    assert TASKS["ternary-memory"].reference == pytest.approx(stored_bytes(SHAPES["70B"], 1.6) / 1e9, rel=1e-3)


def test_load_shifting_references_are_the_simulator():
    from greenlab.core.grid.traces import Traces

    for intensity, duration, slack in drawn("load-shifting-best-start"):
        trace = Traces(("here",), "2019-01-01", 1.0, [intensity])
        found = simulate(Jobs(0, duration, 1.0, slack), trace, "best_start")
        assert TASKS["load-shifting-best-start"].reference(intensity, duration, slack) == found.start_h[0]
    for intensity, duration, slack in drawn("load-shifting-cleanest-hours"):
        trace = Traces(("here",), "2019-01-01", 1.0, [intensity])
        found = simulate(Jobs(0, duration, 1.0, slack, interruptible=True), trace, "k_cheapest")
        hours = TASKS["load-shifting-cleanest-hours"].reference(intensity, duration, slack)
        assert sum(intensity[hour] for hour in hours) == pytest.approx(float(found.carbon_g[0]))


# Answers that are wrong elsewhere than a mutant -----------------------------------------------------------------------

FUNCTIONS = [id for id, task in TASKS.items() if not task.worked]
VALUES = [id for id, task in TASKS.items() if task.worked]


@pytest.mark.parametrize("id", FUNCTIONS)
@pytest.mark.parametrize(
    ("result", "said"),
    [
        (lambda right: None, "gives back nothing: did you forget return?"),
        (lambda right: "336", "text"),
        (lambda right: {1: right}, "a dict"),
        (lambda right: len, "a function"),
        (lambda right: True, "True or False"),
        (lambda right: right == right, ""),
        (lambda right: 2j, "a complex number"),
        (lambda right: 10**400, ""),
        (lambda right: (x for x in [right]), "a generator"),
        (lambda right: (right,), ""),
        (lambda right: [right], ""),
        (lambda right: np.array([0.5, 0.25]), "an array"),
    ],
)
def test_a_result_of_the_wrong_kind_gets_a_hint_of_its_own(id, result, said):
    """The message speaks of what was given and what was asked, and never of an error inside the checker."""
    task = TASKS[id]
    hint = task.verdict(lambda *arguments: result(task.reference(*arguments)))
    assert hint
    assert said in hint
    assert "raised" not in hint
    assert "could not be checked" not in hint


@pytest.mark.parametrize("id", FUNCTIONS)
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_nan_and_infinities_never_pass(id, poison):
    task = TASKS[id]
    assert task.verdict(lambda *arguments: poisoned(task.reference(*arguments), poison))


def poisoned(value, poison):
    if isinstance(value, torch.Tensor):
        return torch.full_like(value, poison)
    if isinstance(value, tuple):
        return value[0], torch.tensor(poison)
    if isinstance(value, list):
        return [poison for _ in value]
    return poison


@pytest.mark.parametrize("id", VALUES)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (str, "write it without quotes"),
        (lambda right: [right], "take the number out of it"),
        (lambda right: (right, right), "yours holds 2 values"),
        (lambda right: np.array([right]), "take the number out of it"),
        (lambda right: torch.tensor([right]), "take the number out of it"),
        (lambda right: lambda: right, "call it"),
        (lambda right: True, "True or False"),
        (lambda right: {right}, "a set"),
        (lambda right: math.nan, ""),
        (lambda right: math.inf, ""),
        (lambda right: -right, ""),
        (lambda right: 10**400, "beyond 1e308"),
    ],
)
def test_a_value_of_the_wrong_kind_gets_a_hint_of_its_own(id, change, said):
    hint = TASKS[id].verdict(change(TASKS[id].reference))
    assert hint
    assert said in hint
    assert "raised" not in hint
    assert "could not be checked" not in hint


@pytest.mark.parametrize("id", VALUES)
@pytest.mark.parametrize("kind", [float, np.float64, np.array, lambda right: torch.tensor(right, dtype=torch.float64)])
def test_a_right_value_may_come_in_any_number_type(id, kind):
    assert TASKS[id].verdict(kind(TASKS[id].reference)) is None


@pytest.mark.parametrize("id", FUNCTIONS)
def test_an_answer_gets_copies(id):
    """An answer that ruins its arguments is refused or not, and the right answer after it is still right."""
    task = TASKS[id]

    def ruin(*arguments):
        for argument in arguments:
            if isinstance(argument, list):
                argument.sort()
                argument.append(0)
            if isinstance(argument, torch.Tensor):
                argument.zero_()
        return

    assert task.verdict(ruin)
    assert task.verdict(task.reference) is None
    assert task.draws()[:1] == [] or repr(task.draws()) == repr(task.draws())


@pytest.mark.parametrize("id", FUNCTIONS)
def test_a_constant_function_is_refused(id):
    """Right at one point is not right: the value at the first draw, whatever is asked."""
    task = TASKS[id]
    random.seed(1)
    first = task.reference(*task.draws()[0]) if task.inputs else 121
    assert task.verdict(lambda *arguments: first)


WRONG = {
    "footprint-training": [lambda *_: 336, lambda h, p, pue, i: h * p / 1e3 * 1.2 * i / 1e6],
    "footprint-sci": [lambda *_: 11, lambda e, i, m, n: (e / 1e3 * i + m) / 100],
    "footprint-rebound": [
        lambda b, a, u, v: 0.5 * (v / u - 1),
        lambda b, a, u, v: max(0.0, 1 - (b * u - a * v) / ((b - a) * u)),
    ],
    "hardware-cycles": [lambda m, k, n: 2 * n if (m, k, n) != (1, 1, 1) else 1],
    "hardware-chips": [lambda p, b, m: int(p * b / 8 / (m * 1e9)) + 1],
    "load-shifting-break-even": [lambda h, t, k: (h - t) / (k * 200)],
    "load-shifting-cleanest-hours": [
        lambda i, d, s: sorted(sorted(range(d + s), key=lambda hour: (i[hour], -hour))[:d]),
        lambda i, d, s: tuple(sorted(sorted(range(d + s), key=lambda hour: i[hour])[:d])),
    ],
    "ternary-absmean": [
        lambda w: (w.round().clamp(-1, 1), torch.tensor(1.0)),
        lambda w: (w.round().clamp(-1, 1), w.abs().mean()),
        lambda w: ((w / w.abs().mean()).round().clamp(-1, 1), math.nan),
        lambda w: ((w / w.abs().mean()).round().clamp(-1, 1).flatten(), w.abs().mean()),
        lambda w: ((w / w.abs().median()).round().clamp(-1, 1), w.abs().median()),
    ],
    "ternary-five-trits": [lambda t: sum((x + 1) * 3 ** (i if i < 4 else 3) for i, x in enumerate(t))],
    "layer-pruning-distance": [
        lambda a, b: torch.arccos(torch.cosine_similarity(a, b, dim=0).clamp(-1, 1)) / torch.pi,
        lambda a, b: (torch.arccos(torch.cosine_similarity(a, b, dim=-1).clamp(-1, 1)) / torch.pi).mean(),
        lambda a, b: (torch.arccos(torch.cosine_similarity(a, b, dim=-1).clamp(-1, 1)) / torch.pi).unsqueeze(-1),
    ],
    "layer-pruning-speedup": [lambda n: math.nan, lambda n: 1.1876 if n == 6 else 1.0],
}


@pytest.mark.parametrize("id", WRONG)
def test_an_answer_that_is_right_at_one_point_only_is_refused(id):
    for answer in WRONG[id]:
        assert TASKS[id].verdict(answer)


@pytest.mark.parametrize(
    ("id", "answer", "said"),
    [
        ("layer-pruning-distance", lambda a, b: 1 - torch.cosine_similarity(a, b, dim=-1), "take the arc cosine"),
        ("layer-pruning-distance", lambda a, b: torch.cosine_similarity(a, b, dim=-1), "take the arc cosine"),
        ("footprint-overhead", 161.3e12, "the unit is not"),
        ("footprint-sci", lambda e, i, m, n: e * i / n, "8,000 g: watt-hours were taken"),
        (
            "load-shifting-best-start",
            lambda *a: float(solutions()["load-shifting-best-start"].reference(*a)),
            "a whole number (an int) is asked",
        ),
        ("footprint-training", lambda *a: print("336 t"), "It prints '336 t'"),
        ("footprint-training", lambda *a: [336.0], "a list; a number is asked: take the number out of it"),
        ("hardware-batch", 295.2, "still waits for memory"),
    ],
)
def test_the_hint_is_true_of_the_answer(id, answer, said):
    assert said in TASKS[id].verdict(answer)
