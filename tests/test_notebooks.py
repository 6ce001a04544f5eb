"""Every notebook keeps the book's rules, and every rule catches its violation (on small broken notebooks)."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from greenlab.core.machine import ROOT
from tests import notebook_rules as rules

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHART = {"data": {rules.CHART: {"description": "a line"}}, "output_type": "display_data"}


def test_there_are_notebooks():
    """With no notebook every test below would pass by not running."""
    assert NOTEBOOKS, f"{ROOT / 'notebooks'} holds no notebook"


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_keeps_the_rule(path, rule):
    assert rule(json.loads(path.read_text(encoding="utf-8"))) == []


def exercise_violations(notebook: dict, folder: Path) -> list[str]:
    """Run the exercises of a notebook as stubs and solved, in a process of their own."""
    if not rules.exercises(notebook):
        return []
    script = rules.exercise_script(notebook)
    run = subprocess.run([sys.executable, "-"], input=script, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode:
        return [f"the exercises stopped with an error:\n{run.stderr[-2000:]}"]
    return rules.unproved(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_solutions_pass_their_checks_and_stubs_do_not(path):
    assert exercise_violations(json.loads(path.read_text(encoding="utf-8")), path.parent) == []


# The rules themselves -------------------------------------------------------------------------------------------------


def code(source, *outputs, count=1, tags=()):
    return {
        "cell_type": "code",
        "source": source,
        "outputs": list(outputs),
        "execution_count": count,
        "metadata": {"tags": list(tags)},
    }


def prose(source, tags=()):
    return {"cell_type": "markdown", "source": source, "metadata": {"tags": list(tags)}}


def folded(source):
    return {"cell_type": "markdown", "source": source, "metadata": {"tags": ["side-road"], rules.FOLDED: True}}


def printed(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def notebook(*cells, **metadata):
    return {"cells": list(cells), "metadata": {"kernelspec": rules.KERNEL} | metadata}


GOOD = notebook(
    prose("# 6. Layers\n\nSee chapter 3, `k = 4` and $x^2 = 4$."),
    code("print('four')", printed("four\n")),
    code("chart", CHART, count=2),
    code("# NBVAL_IGNORE_OUTPUT\nprint(receipt)", printed("12 J"), count=3, tags=["timing"]),
)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_a_good_notebook_has_no_violation(rule):
    assert rule(GOOD) == []


@pytest.mark.parametrize(
    ("rule", "broken", "message"),
    [
        (rules.executed_in_order, notebook(code("1"), code("2", count=3)), r"counts are \[1, 3\]"),
        (rules.executed_in_order, notebook(code("1", count=None)), r"counts are \[None\]"),
        (rules.executed_in_order, notebook(prose("no code")), r"counts are \[\]"),
        (rules.no_widget_state, notebook(code("1"), widgets={}), "metadata.widgets"),
        (rules.one_kernel, notebook(kernelspec=rules.KERNEL | {"name": "venv"}), "'venv'"),
        (rules.one_kernel, notebook(kernelspec=rules.KERNEL | {"display_name": "Python 3"}), "'Python 3'"),
        (rules.one_kernel, notebook(kernelspec=rules.KERNEL | {"more": 1}), "kernelspec"),
        (rules.one_kernel, notebook(language_info={"version": "3.11.7"}), "language_info is stored"),
        (rules.clean_outputs, notebook(code("x", printed("warning", "stderr"))), "cell 0 stores stderr: 'warning'"),
        (rules.clean_outputs, notebook(code("x", {"output_type": "error", "ename": "NameError"})), "error NameError"),
        (rules.has_outputs, notebook(code("x = 1")), "no cell stores an output"),
        (rules.has_outputs, notebook(code("print(1)"), code("2", printed("2"))), "cell 0 prints but stores no output"),
        (rules.short_cells, notebook(code("\n".join(f"x = {n}" for n in range(16)))), "16 lines of code"),
        (rules.no_absolute_paths, notebook(code("open('/home/ann/x.csv')")), "'/home/ann'"),
        (rules.no_absolute_paths, notebook(code("1", printed("saved to /media/run.json"))), "'/media/run.json'"),
        (rules.no_absolute_paths, notebook(prose(r"It is in C:\Users\ann.")), "absolute path"),
        (
            rules.charts_described_and_offline,
            notebook(code("1", {"data": {rules.CHART: {}}, "output_type": "display_data"})),
            "without description",
        ),
        (
            rules.charts_described_and_offline,
            notebook(code("1", {"data": {"application/vnd.vegalite.v6+json": {}}, "output_type": "display_data"})),
            "is not application/vnd.vegalite.v5",
        ),
        (
            rules.charts_described_and_offline,
            notebook(code("1", {"data": {"text/html": '<script src="x.js">'}, "output_type": "display_data"})),
            "loads from the network",
        ),
        (
            rules.ignored_only_if_timing,
            notebook(code("# NBVAL_IGNORE_OUTPUT\n1", printed("2 s"))),
            "not the tag timing",
        ),
        (rules.ignored_only_if_timing, notebook(code("1", printed("2 s"), tags=["timing"])), "not NBVAL_IGNORE_OUTPUT"),
        (
            rules.ignored_only_if_timing,
            notebook(code("# NBVAL_IGNORE_OUTPUT\n1", printed("loss 2.31"), tags=["timing"])),
            "stores no time or energy",
        ),
        (rules.ignored_only_if_timing, notebook(code("# NBVAL_SKIP\n1")), "NBVAL_SKIP"),
        (rules.ignored_only_if_timing, notebook(code("1", tags=["raises-exception"])), "raises-exception"),
        (
            rules.enough_checked,
            notebook(*[code("# NBVAL_IGNORE_OUTPUT\n1", printed("2 s"))] * 3, *[code("1", printed("1"))] * 4),
            "4 of 7",
        ),
        (rules.readable_outputs, notebook(code("1", printed("it is faster: True\n"))), "'it is faster: True'"),
        (rules.readable_outputs, notebook(code("1", printed("{'a': 1, 'b': 2}\n"))), "'b': 2"),
        (rules.readable_outputs, notebook(code("1", printed("[21, 22, 23]\n"))), "21, 22, 23"),
        (rules.readable_outputs, notebook(code("1", printed("Name: x, dtype: float64\n"))), "dtype"),
        (
            rules.readable_outputs,
            notebook(code("1", {"data": {"text/html": '<table class="dataframe">'}, "output_type": "display_data"})),
            "raw frame",
        ),
        (rules.short_main_road, notebook(*[prose("a")] * 46), "has 46 cells, more than 45"),
        (rules.short_main_road, notebook(folded("Aside"), prose("a")), "begins with a heading ###"),
        (rules.short_main_road, notebook(folded("### Aside")), "holds nothing"),
        (rules.short_main_road, notebook(folded("### Aside"), code("1", tags=["exercise"])), r"cells \[1\]: exercises"),
        (rules.short_main_road, notebook(prose("### Aside", tags=["side-road"]), prose("a")), "go together"),
        (rules.plain_numbers, notebook(prose("It needs 12 J.")), "bare number '12'"),
        (rules.plain_numbers, notebook(prose("A fifth (20%) is saved.")), "bare number '20%'"),
        (rules.plain_numbers, notebook(prose("Data centres used 485 TWh.\n\n## Sources\n\nIEA, 2026.")), "'485'"),
        (rules.plain_numbers, notebook(prose("## Sources of energy\n\nCoal gives 40 percent.")), "'40'"),
        (rules.plain_numbers, notebook(prose("Lift 2 kg."), greenlab={"plain_numbers": ["3 kg"]}), "not in the prose"),
        (
            rules.plain_numbers,
            notebook(prose("Lift 2 kg, then 5 kg."), greenlab={"plain_numbers": ["Lift 2 kg"]}),
            "'5'",
        ),
        (
            rules.plain_numbers,
            notebook(prose("Lift it."), greenlab={"plain_numbers": ["Lift"]}),
            "give a phrase with a number",
        ),
        (
            rules.plain_numbers,
            notebook(prose("1 " * 40), greenlab={"plain_numbers": ["1 " * 40]}),
            "at most 60 characters",
        ),
    ],
)
def test_each_rule_catches_its_violation(rule, broken, message):
    assert len(rule(broken)) >= 1
    assert any(re.search(message, found) for found in rule(broken)), rule(broken)


def test_a_side_road_ends_where_lab_ends_its_fold():
    book = notebook(
        *[prose("## Measure"), folded("### Aside"), prose("a"), prose("#### Deeper"), code("# no heading")],
        *[prose("```\n# none\n```"), prose("### On"), folded("#### By hand"), prose("b"), prose("## Explore")],
    )
    assert [list(road) for road in rules.side_roads(book)] == [[1, 2, 3, 4, 5], [7, 8]]
    assert rules.main_road(book) == [0, 6, 9]


@pytest.mark.parametrize(
    "text",
    [
        "SmolLM2-135M, GPT-3, an H100 and CO2 are names.",
        "See [Gromov et al. 2024](https://arxiv.org/abs/2403.17887).",
        "The paper (Gromov et al., March 2024) was early.",
        "1. first\n2. second",
        "```python\nx = 12\n```\nand `y = 3` and $z = 4$ and $$w = 5$$",
        "## Sources\n\n- pages 12 to 15, 2024",
        "Exercises 1 and 2 build on chapter 3.",
        "[485 TWh](../data/facts/README.md#iea-dc-2025)",
        "[1.65 x](../data/studies/README.md#mixture-of-depths.speedup)",
    ],
)
def test_numbers_that_need_no_excuse(text):
    """What an author may write freely: names, links, code, math, lists, years of sources."""
    assert rules.plain_numbers(notebook(prose(text))) == []


def test_instructor_notes_and_excused_phrases_are_free():
    cells = [prose("Lifting **2 kg** by\n0.75 m is about 15 J."), prose("Takes 40 minutes.", tags=["instructor"])]
    phrases = {"plain_numbers": ["Lifting 2 kg by 0.75 m is about 15 J"]}
    assert rules.plain_numbers(notebook(*cells, greenlab=phrases)) == []


@pytest.mark.parametrize(
    ("text", "id", "message"),
    [
        ("485 TWh", "iea-dc-2025", None),
        ("the IEA's figure", "iea-dc-2025", None),
        ("490 TWh", "iea-dc-2025", "which the table does not say"),
        ("485 GWh", "iea-dc-2025", "which the table does not say"),
        ("485 TWh", "iea-dc-1925", "iea-dc-1925"),
        ("the IEA's figure", "iea-dc-1925", "iea-dc-1925"),
    ],
)
def test_fact_links_are_checked_with_the_table(text, id, message):
    """Against the book's own table: a fact of it, quoted rightly, wrongly, and under a name that it does not have."""
    found = rules.facts_quoted_right(notebook(prose(f"Use was [{text}](../data/facts/README.md#{id}).")))
    assert found == [] if message is None else message in found[0]


@pytest.mark.parametrize(
    ("text", "anchor", "message"),
    [
        ("1.65 x", "mixture-of-depths.speedup", None),
        ("1.7 x", "mixture-of-depths.speedup", None),
        ("2 x", "mixture-of-depths.speedup", "which is 1.654 x"),
        ("1.66 x", "mixture-of-depths.speedup", "which is 1.654 x"),
        ("1.65 J", "mixture-of-depths.speedup", "which is 1.654 x"),
        ("faster", "mixture-of-depths.speedup", "write one number"),
        ("1.65 x", "mixture-of-depths.speed", "0 rows named 'speed'"),
        ("1.65 x", "mixture-of-depth.speedup", "no figures.csv"),
        ("1.65 x", "mixture-of-depths", "no figures.csv"),
    ],
)
def test_study_links_are_checked_with_the_committed_figures(tmp_path, text, anchor, message):
    folder = tmp_path / "mixture_of_depths"
    folder.mkdir()
    (folder / "figures.csv").write_text("name,value,unit,basis,note\nspeedup,1.654,x,measured,\n")
    found = rules.studies_quoted_right(notebook(prose(f"It is [{text}](../data/studies/README.md#{anchor})")), tmp_path)
    assert found == [] if message is None else message in found[0]


SETUP = code(
    "from greenlab.lab import check\nfrom greenlab.lab.exercises import exercise\n"
    "@exercise('double', reference=lambda x: 2 * x, difficulty='easy', minutes=1)\n"
    "def _(answer):\n    'twice the number'\n    return None if answer(3) == 6 else 'try 3'",
    tags=["setup"],
)
STUB = code("def double(x):\n    ...\ndouble = check('double', double)", tags=["exercise"])


IN_A_FOLD = "<details>\n\n```python\ndef double(x):\n    return x * 2\n```\n\n</details>"
SOLVED_STUB = "def double(x):\n    return x * 2\ndouble = check('double', double)"


@pytest.mark.parametrize(
    ("stub", "solution", "message"),
    [
        (STUB, code("def double(x):\n    return x + x", tags=["solution"]), None),
        (STUB, prose(IN_A_FOLD, tags=["solution"]), None),
        (
            STUB,
            code("def double(x):\n    return x * x", tags=["solution"]),
            "solution of cell 1 (double) does not pass",
        ),
        (
            STUB | {"source": SOLVED_STUB},
            code("def double(x):\n    return x + x", tags=["solution"]),
            "stub in cell 1 (double) is not recognised",
        ),
        (STUB, code("def double(x):\n    return y", tags=["solution"]), "does not pass"),
        (
            STUB | {"source": "double = check('dobule', ...)"},
            code("double = 1", tags=["solution"]),
            "no exercise 'dobule'",
        ),
    ],
)
def test_exercises_are_proved(tmp_path, stub, solution, message):
    """A solution that fails its check, and a stub that is no stub, are both found by running them."""
    found = exercise_violations(notebook(SETUP, stub, solution), tmp_path)
    assert found == [] if message is None else message in found[0]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([code("def f():\n    ...", tags=["exercise"]), code("f = 1", tags=["solution"])], "no check"),
        ([STUB], "no cell with the tag solution"),
        ([STUB, STUB, code("double = 1", tags=["solution"])], "no cell with the tag solution"),
        ([STUB, prose("just words", tags=["solution"])], "0 fenced python blocks"),
        ([STUB, code("triple = 1", tags=["solution"])], "defines none of"),
    ],
)
def test_exercise_cells_of_the_wrong_form_are_refused(cells, message):
    with pytest.raises(ValueError, match=message):
        rules.exercises(notebook(*cells))
