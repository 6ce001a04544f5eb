"""Committed studies: made with today's settings, whole, and their figures follow from their tables."""

import dataclasses
import importlib
import json
import math

import pandas as pd
import pytest

from greenlab.core import provenance, studies
from greenlab.core.model import cost, scoring
from greenlab.layer_pruning import study
from greenlab.layer_pruning.study import tables

CHAPTERS = sorted(path.parent.name for path in studies.STUDIES.glob("*/run.json"))


def test_every_package_with_a_study_has_a_committed_run():
    package = studies.ROOT / "greenlab"
    folders = {path.parent.parent.name for path in package.glob("*/study/__init__.py")}
    files = {path.parent.name for path in package.glob("*/study.py")}
    assert "layer_pruning" in folders
    assert set(CHAPTERS) == folders | files


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_committed_run_has_the_settings_of_the_code(chapter):
    run = json.loads((studies.folder(chapter) / "run.json").read_text())
    assert run["config"] == studies.config_json(importlib.import_module(f"greenlab.{chapter}.study").Config())
    assert {"date", "commit", "dirty", "code", "device", "python", "versions", "energy"} <= set(run)
    if run["code"] is None:  # made before the code was hashed, which the page of figures says
        assert run["code_note"] == studies.NO_CODE
        assert "steps" not in run
    else:
        assert run["steps"], "a study has at least one step"
        assert run["code"] == studies._one_hash(run["steps"])
        assert all(len(step["code"]) == 12 for step in run["steps"].values())
    assert run["energy"]["basis"] in ("measured", "modelled")
    assert 0 < run["energy"]["low_j"] < run["energy"]["energy_j"] < run["energy"]["high_j"]
    assert set(run["tables"]) == set(studies.load(chapter))


def test_the_page_of_figures_is_up_to_date():
    assert (studies.STUDIES / "README.md").read_text() == studies.readme(), (
        "run: make study NAME=..., or studies.readme()"
    )


def test_the_figures_follow_from_the_tables():
    found = study.load()
    again = tables.figures(found).set_index("name")["value"]
    stored = found["figures"].set_index("name")["value"]
    assert list(again.index) == list(stored.index)
    assert again.to_list() == pytest.approx(stored.to_list(), rel=1e-4)


def test_the_curve_has_every_method_number_and_seed():
    config, curve = study.Config(), study.load("curve")["curve"]
    cut = curve[curve["healing"] == "none"]
    for method in ("angular", "block_influence", "deepest"):
        assert set(cut.loc[cut["method"] == method, "n_removed"]) == set(config.removed)
    random = cut[cut["method"] == "random"].groupby("n_removed")["seed"].nunique()
    assert set(random.index) == set(config.removed)
    assert (random >= 3).all()
    assert set(curve.loc[curve["healing"] == "teacher", "n_removed"]) == set(config.healed)
    assert curve["n_items"].min() >= 100


def test_the_distances_are_those_of_blocks_inside_the_model():
    distances = study.load("distances")["distances"]
    assert len(distances) == 30 * 31 / 2
    assert (distances["start"] + distances["n"] <= 30).all()
    assert distances["distance"].between(0, 1).all()


def test_recovered_is_the_share_of_the_lost_loss():
    curve = pd.DataFrame(
        [
            {"method": "none", "n_removed": 0, "healing": "none", "loss": 2.0},
            {"method": "angular", "n_removed": 6, "healing": "none", "loss": 4.0},
            {"method": "angular", "n_removed": 6, "healing": "teacher", "loss": 2.5},
        ]
    )
    assert tables.recovered(curve, 6, "teacher") == 0.75


def made_up(accuracy):
    """Make a curve of the best blocks: layers removed -> share right, of 100 items."""
    rows = [
        {"method": "angular" if n else "none", "n_removed": n, "healing": "none", "seed": 0, "loss": 3.0 + n}
        for n in accuracy
    ]
    return pd.DataFrame(rows).assign(accuracy=list(accuracy.values()), n_items=100)


def test_the_quality_gate_divides_energy_by_answers_above_guessing():
    """Half as much above guessing is twice the energy an answer; at guessing there is no such number."""
    shape = cost.TransformerShape(30, 576, 9, 3, 64, 1536, 49152, tied_embeddings=True)
    gate = tables.quality_gate(made_up({0: 0.85, 6: 0.55, 12: 0.25}), shape).set_index("n_removed")
    faster = float(cost.predicted_speedup(shape, 6, phase="decode", n_tokens=48))
    assert gate.loc[0, "energy_per_right_answer"] == 1
    assert gate.loc[6, "energy_per_right_answer"] == pytest.approx(2 / faster, abs=0.006)
    assert math.isnan(gate.loc[12, "energy_per_right_answer"])


def test_steps_survive_an_interruption(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "ROOT", tmp_path)
    calls = []

    def work(value):
        calls.append(value)
        if value == "broken":
            raise RuntimeError("stopped")
        return [value]

    config = study.Config()
    steps = studies.Steps("demo", config)
    assert steps.run("one", lambda: work(1)) == [1]
    with pytest.raises(RuntimeError, match="stopped"):
        steps.run("two", lambda: work("broken"))
    again = studies.Steps("demo", config)
    assert again.run("one", lambda: work("again")) == [1]
    assert again.run("two", lambda: work(2)) == [2]
    assert calls == [1, "broken", 2]
    assert again.receipts()["step"].to_list() == ["one", "two"]
    other = studies.Steps("demo", study.Config(seed=1))
    assert other.run("one", lambda: work("other settings")) == ["other settings"]


def test_an_unknown_table_is_refused():
    with pytest.raises(ValueError, match="names='curves': the study 'layer_pruning' has curve, distances"):
        study.load("curves")


def test_windows_are_full_and_in_order():
    from greenlab.layer_pruning.study.text import GENRES, TOPICS, windows

    assert windows([[1, 2, 3], [4, 5], [6, 7]], 3).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert len(set(TOPICS)) * len(set(GENRES)) >= 480


def test_the_standard_error_is_that_of_a_share():
    """100 fair coins: sqrt(0.25 / 100)."""
    assert scoring.standard_error(0.5, 100) == 0.05


# ---- which code made it ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Settings:
    a: int = 1


STUDY = """
from functools import partial
from greenlab.demo import technique
from greenlab.core import checks

FACTOR = 2

def helper(x):
    return FACTOR * x

def one():
    return helper(10)

def two():
    return technique.answer()

def plain():
    return 7

def work(kind):
    return {"lambda": lambda: helper(10), "partial": partial(helper, 10)}[kind]
"""
FILES = {
    "demo/__init__.py": "",
    "demo/study.py": STUDY,
    "demo/technique.py": "from greenlab.demo.deeper import base\n\ndef answer():\n    return base() + 1\n",
    "demo/deeper.py": "def base():\n    return 40\n",
    "demo/unused.py": "X = 1\n",
    "core/__init__.py": "",
    "core/checks.py": "def number(x):\n    return x\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small greenlab of its own: edit(file, old, new) changes a file, module() loads the study as it stands then."""
    root = tmp_path / "greenlab"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(provenance, "PACKAGE", root)
    monkeypatch.setattr(studies, "ROOT", tmp_path)

    class Package:
        def edit(self, name, old, new):
            text = (root / name).read_text()
            assert text.count(old) == 1
            (root / name).write_text(text.replace(old, new))

        def module(self):
            path = root / "demo" / "study.py"
            source = path.read_text().replace("from greenlab.demo import technique", "technique = None").encode()
            names = {"__name__": "greenlab.demo.study", "__file__": str(path)}
            exec(compile(source, path, "exec"), names)
            return names

        def hashes(self):
            module = self.module()
            works = {name: module[name] for name in ("one", "two", "plain")}
            works |= {kind: module["work"](kind) for kind in ("lambda", "partial")}
            return {name: provenance.code_hash(work) for name, work in works.items()}

    return Package()


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("demo/study.py", "return 7", "return 8", {"plain"}),
        ("demo/study.py", "FACTOR = 2", "FACTOR = 3", {"one", "lambda", "partial"}),
        ("demo/study.py", "FACTOR * x", "FACTOR * x + 1", {"one", "lambda", "partial"}),
        ("demo/study.py", "lambda: helper(10)", "lambda: helper(11)", {"lambda"}),
        ("demo/technique.py", "base() + 1", "base() + 2", {"two"}),
        ("demo/deeper.py", "return 40", "return 41", {"two"}),
        ("demo/unused.py", "X = 1", "X = 2", set()),
        ("core/checks.py", "return x", "return float(x)", set()),
        ("demo/study.py", "def plain():", "def plain():\n    # why\n", set()),
        ("demo/study.py", "def plain():", 'def plain():\n    """Seven."""\n', set()),
        ("demo/study.py", "FACTOR = 2", "\n\n\nFACTOR   =   2", set()),
        ("demo/deeper.py", "def base():", '"""Deep."""\n\ndef base():\n    """Forty."""', set()),
    ],
)
def test_a_change_reaches_the_steps_that_use_it_and_no_others(package, file, old, new, changed):
    """Down to the module that a technique imports; never for words that Python does not run."""
    before = package.hashes()
    assert all(before.values())
    package.edit(file, old, new)
    after = package.hashes()
    assert {name for name in before if before[name] != after[name]} == changed


def test_a_mended_step_runs_again_and_the_others_stay(package):
    """Two steps of one study: the second is mended, and only its number changes."""
    steps = studies.Steps("demo", Settings())
    first = package.module()
    assert [steps.run("one", first["one"]), steps.run("plain", first["plain"])] == [20, 7]
    package.edit("demo/study.py", "return 7", "return 8")
    second = package.module()
    calls = []
    second["helper"].__globals__["helper"] = lambda x: calls.append(x)
    again = studies.Steps("demo", Settings())
    assert [again.run("one", second["one"]), again.run("plain", second["plain"])] == [20, 8]
    assert calls == []
    old, new = steps.receipts().set_index("step"), again.receipts().set_index("step")
    assert old.loc["one", "code"] == new.loc["one", "code"]
    assert old.loc["plain", "code"] != new.loc["plain", "code"]


def test_a_default_of_an_argument_is_part_of_the_work():
    """A loop that makes ``lambda size=size: work(size)`` makes another work for each size."""
    works = [lambda size=size: size for size in (1, 2, 2)]
    first, second, again = (provenance.code_hash(work) for work in works)
    assert first != second
    assert second == again


def test_work_whose_source_is_unknown_is_always_run(tmp_path, monkeypatch):
    """Typed at a prompt: nothing tells whether it is the same work as yesterday's."""
    monkeypatch.setattr(studies, "ROOT", tmp_path)
    names = {"calls": []}
    exec(compile("def work():\n    calls.append(1)\n    return len(calls)", "<prompt>", "exec"), names)
    steps = studies.Steps("demo", Settings())
    assert [steps.run("one", names["work"]), steps.run("one", names["work"])] == [1, 2]
    assert steps.receipts()["code"].to_list() == [None]
    assert provenance.code_hash(list) is None


def test_receipts_are_those_of_the_present_plan(tmp_path, monkeypatch):
    """A step that is no longer asked for is still on disk, and in no sum."""
    monkeypatch.setattr(studies, "ROOT", tmp_path)
    steps = studies.Steps("demo", Settings())
    for name in ("one", "left_over", "two"):
        steps.run(name, int)
    again = studies.Steps("demo", Settings())
    for name in ("two", "one"):
        again.run(name, int)
    assert (again.folder / "left_over.json").is_file()
    assert again.receipts()["step"].to_list() == ["two", "one"]
    assert studies.Steps("demo", Settings()).receipts().empty


def kept(tmp_path, monkeypatch):
    """A study of two steps and its figures, in a folder of its own."""
    monkeypatch.setattr(studies, "ROOT", tmp_path)
    monkeypatch.setattr(studies, "STUDIES", tmp_path / "data")
    steps = studies.Steps("demo", Settings())
    for name, value in (("one", 1), ("two", 2)):
        steps.run(name, lambda value=value: value)
    figures = pd.DataFrame([{"name": "a", "value": 1.5, "unit": "J", "basis": "measured", "note": "x"}])
    return steps, {"figures": figures, "steps": steps.receipts()}


def test_run_json_says_which_code_made_each_step(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "repository", lambda: {"commit": "c" * 40, "dirty": ["greenlab/x.py"]})
    steps, tables = kept(tmp_path, monkeypatch)
    studies.save("demo", Settings(), tables, steps.receipts())
    run = json.loads((tmp_path / "data/demo/run.json").read_text())
    assert (run["commit"], run["dirty"]) == ("c" * 40, ["greenlab/x.py"])
    assert set(run["steps"]) == {"one", "two"}
    for step in run["steps"].values():
        assert len(step["code"]) == 12
        assert step["dirty"] is True
        assert (step["commit"], step["date"], step["device"]) == ("c" * 40, run["date"], studies.device())
    assert run["code"] == studies._one_hash(run["steps"])
    assert run["energy"]["cpu_s"] == pytest.approx(steps.receipts()["cpu_s"].sum())
    page = (tmp_path / "data/README.md").read_text()
    assert f"Code: {run['code']}; commit ccccccc, with changes that were not committed." in page
    assert studies.load("demo")["steps"]["step"].to_list() == ["one", "two"]


def test_without_git_a_study_is_saved_and_says_so(tmp_path, monkeypatch):
    """A machine without the program must not lose hours of work at the end."""
    monkeypatch.setenv("PATH", str(tmp_path))
    steps, tables = kept(tmp_path, monkeypatch)
    studies.save("demo", Settings(), tables, steps.receipts())
    run = json.loads((tmp_path / "data/demo/run.json").read_text())
    assert (run["commit"], run["dirty"]) == (None, None)
    assert "; commit unknown." in (tmp_path / "data/README.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("figures"), "tables lacks 'figures'"),
        (lambda t: t.update(figures=t["figures"].drop(columns="note")), r"tables\['figures'\] lacks the column 'note'"),
        (lambda t: t.update(empty=pd.DataFrame()), r"tables\['empty'\] has no columns"),
        (lambda t: t.update({"../x": t["figures"]}), "letters, digits and _"),
        (lambda t: t.update(steps=[1]), r"tables\['steps'\] is list"),
    ],
)
def test_tables_that_cannot_be_saved_leave_the_old_ones(tmp_path, monkeypatch, change, message):
    """Everything is checked before the first file is replaced."""
    steps, tables = kept(tmp_path, monkeypatch)
    studies.save("demo", Settings(), tables, steps.receipts())
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert len(before) == 4
    tables["figures"] = tables["figures"].assign(value=99.0)
    change(tables)
    with pytest.raises((ValueError, TypeError), match=message):
        studies.save("demo", Settings(), tables, steps.receipts())
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("text", ['{"result": [1, 2', "", "[]", "{}", '{"result": 1, "receipt": {}}'])
def test_a_broken_step_file_is_made_again(tmp_path, monkeypatch, text):
    """Cut off by a full disk, or of an older form."""
    monkeypatch.setattr(studies, "ROOT", tmp_path)
    steps = studies.Steps("demo", Settings())
    (steps.folder / "one.json").write_text(text)
    assert steps.run("one", lambda: 5) == 5
    assert json.loads((steps.folder / "one.json").read_text())["result"] == 5


async def asynchronous():
    pytest.fail("must not run")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.run("a/b", int), "name='a/b'"),
        (lambda s: s.run("", int), "name=''"),
        (lambda s: s.run(3, int), "name=3"),
        (lambda s: s.run("one", 3), "work=3"),
        (lambda s: s.run("one", asynchronous), "work="),
        (lambda s: s.run("one", lambda: iter(()).__next__), "work of the step 'one'"),
        (lambda s: s.run("one", int, modules=["numpy"]), "modules holds 'numpy'"),
        (lambda s: studies.Steps("demo", {"a": 1}), "config={'a': 1}"),
        (lambda s: studies.Steps("../x", Settings()), "chapter='../x'"),
        (lambda s: studies.Steps(5, Settings()), "chapter=5"),
        (lambda s: studies.load("no_such_study"), "no chapter 'no_such_study'"),
        (lambda s: studies.load("layer_pruning", 5), "names=5"),
        (lambda s: provenance.code_hash(5), "work=5"),
    ],
)
def test_wrong_arguments_of_studies_are_named(tmp_path, monkeypatch, call, message):
    monkeypatch.setattr(studies, "ROOT", tmp_path)
    with pytest.raises((ValueError, TypeError), match=message):
        call(studies.Steps("demo", Settings()))
