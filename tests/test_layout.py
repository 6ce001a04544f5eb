"""The layout holds: each forbidden import is caught, and a new chapter's skeleton is green from the start."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
import tomllib

import pytest
from grimp import build_graph
from importlinter.configuration import configure
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.independence import IndependenceContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract

from greenlab.core.chapters import CHAPTERS, Chapter
from greenlab.core.machine import ROOT
from tests.skeleton import __main__ as skeleton

KINDS = {
    "layers": LayersContract,
    "forbidden": ForbiddenContract,
    "independence": IndependenceContract,
    "protected": ProtectedContract,
}
OPTIONS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


@pytest.fixture(scope="module")
def graph():
    """Every import of the package, read once; a test adds one to a copy."""
    configure()
    return build_graph("greenlab", include_external_packages=True, cache_dir=None)


def broken(graph):
    """The names of the contracts of pyproject.toml that a graph of imports breaks."""
    session = {key: value for key, value in OPTIONS.items() if key != "contracts"}
    session["root_packages"] = [session.pop("root_package")]
    names = []
    for options in OPTIONS["contracts"]:
        contract = KINDS[options["type"]](options["name"], session, options)
        if not contract.check(copy.deepcopy(graph), verbose=False).kept:  # a check removes what it ignores
            names.append(options["name"])
    return names


PLANTED = {
    "a technique imports its own view": ("greenlab.ternary.packing", "greenlab.ternary.view"),
    "a technique imports its own study": ("greenlab.ternary.packing", "greenlab.ternary.study.tables"),
    "a technique imports the toolkit of the page": ("greenlab.ternary.packing", "greenlab.lab.theme"),
    "a technique imports a charting library": ("greenlab.load_shifting.pareto", "altair"),
    "a technique imports another technique": ("greenlab.ternary.packing", "greenlab.layer_pruning"),
    "a technique imports a part of another": ("greenlab.hardware.roofline", "greenlab.load_shifting.solvers.flow"),
    "a study imports a charting library": ("greenlab.ternary.study.tables", "altair"),
    "a study imports a widget library": ("greenlab.layer_pruning.study", "ipywidgets"),
    "a study imports its own view": ("greenlab.load_shifting.study.tables", "greenlab.load_shifting.view.widget"),
    "a study imports another chapter's view": ("greenlab.ternary.study", "greenlab.layer_pruning.view"),
    "a study imports the toolkit of the page": ("greenlab.ternary.study", "greenlab.lab.receipts"),
    "the toolkit imports a chapter": ("greenlab.lab.ledger", "greenlab.layer_pruning"),
    "the toolkit imports a view": ("greenlab.lab.exercises", "greenlab.ternary.view.exercises"),
    "the toolkit imports a study": ("greenlab.lab.ledger", "greenlab.ternary.study"),
    "core imports the toolkit": ("greenlab.core.machine", "greenlab.lab.environment"),
    "core imports a chapter": ("greenlab.core.model.gpt", "greenlab.ternary.linear"),
    "core imports a study": ("greenlab.core.studies", "greenlab.ternary.study"),
    "core's studies import a chapter": ("greenlab.core.studies", "greenlab.load_shifting.jobs"),
    "core imports a charting library": ("greenlab.core.grid.page", "altair"),
}
ALLOWED = {
    "a study imports another technique": ("greenlab.ternary.study.races", "greenlab.layer_pruning"),
    "a study imports another chapter's study": ("greenlab.ternary.study", "greenlab.layer_pruning.study.tables"),
    "a view imports another technique": ("greenlab.ternary.view", "greenlab.layer_pruning"),
    "a view imports its study": ("greenlab.ternary.view", "greenlab.ternary.study"),
    "a view imports the toolkit": ("greenlab.ternary.view.race", "greenlab.lab.theme"),
    "a technique imports core": ("greenlab.ternary.packing", "greenlab.core.names"),
    "the toolkit imports core": ("greenlab.lab.theme", "greenlab.core.names"),
}


def with_import(graph, importer, imported):
    """A copy of the graph with one import more. Both modules exist, so that no misspelt name passes for a finding."""
    assert {importer, imported} <= graph.modules
    changed = copy.deepcopy(graph)
    assert not changed.direct_import_exists(importer=importer, imported=imported)
    changed.add_import(importer=importer, imported=imported)
    return changed


def test_the_package_keeps_every_contract(graph):
    assert len(OPTIONS["contracts"]) >= 5
    assert broken(graph) == []


@pytest.mark.parametrize("what", PLANTED)
def test_a_forbidden_import_breaks_a_contract(graph, what):
    assert broken(with_import(graph, *PLANTED[what])) != []


@pytest.mark.parametrize("what", ALLOWED)
def test_an_import_that_the_layout_allows_breaks_none(graph, what):
    importer, imported = ALLOWED[what]
    if graph.direct_import_exists(importer=importer, imported=imported):
        assert broken(graph) == []
    else:
        assert broken(with_import(graph, importer, imported)) == []


@pytest.mark.parametrize(
    ("part", "imported"),
    [("index", "greenlab.retrieval.view"), ("index", "greenlab.lab.theme"), ("index", "greenlab.ternary.packing"),
     ("study", "altair"), ("study", "greenlab.retrieval.view")],
)  # fmt: skip
def test_a_chapter_to_come_is_held_by_the_same_contracts(graph, part, imported):
    """The contracts name no chapter: a new one is in them from its first file."""
    changed = copy.deepcopy(graph)
    for module in ("", ".index", ".study", ".view"):
        changed.add_module(f"greenlab.retrieval{module}")
    assert broken(changed) == []
    changed.add_import(importer=f"greenlab.retrieval.{part}", imported=imported)
    assert broken(changed) != []


# The skeleton of a chapter --------------------------------------------------------------------------------------------

LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "assets", "*.egg-info", "build", "student")


SPARE = Chapter(max(chapter.number for chapter in CHAPTERS) + 1, "spare_chapter", "Spare chapter")


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the repository with one chapter more, registered in the copy only, and the skeleton of that chapter."""
    root = tmp_path_factory.mktemp("book") / "greenlab"
    shutil.copytree(ROOT, root, ignore=LEFT_OUT)
    # greenlab/core/assets has the name of the folder that is left out above
    shutil.copytree(ROOT / "greenlab/core/assets", root / "greenlab/core/assets", ignore=LEFT_OUT, dirs_exist_ok=True)
    shutil.copytree(ROOT / "tests/core/assets", root / "tests/core/assets", ignore=LEFT_OUT, dirs_exist_ok=True)
    register(root, SPARE)
    run(root, "-m", "tests.skeleton", SPARE.name)
    return root, SPARE


def register(root, chapter):
    """Add a chapter to the list of chapters of a copy."""
    file = root / "greenlab/core/chapters.py"
    text = file.read_text()
    assert text.endswith(")\n")
    file.write_text(text[:-2] + f'    Chapter({chapter.number}, "{chapter.name}", "{chapter.title}"),\n)\n')


def run(root, *arguments):
    """Run Python in the copy, on the copy's own package."""
    environment = os.environ | {"PYTHONPATH": str(root), "GREENLAB_STATE": str(root.parent / "state")}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_new_chapter_has_the_files_of_every_chapter(copied):
    root, chapter = copied
    package, tests = root / "greenlab" / chapter.name, root / "tests" / chapter.name
    for path in (package / "__init__.py", package / "study/__init__.py", package / "study/__main__.py"):
        assert path.is_file()
    for path in (package / "view/__init__.py", package / "view/exercises.py", root / "notebooks" / chapter.notebook):
        assert path.is_file()
    assert {path.name for path in tests.glob("test_*.py")} == {"test_technique.py", "test_study.py", "test_view.py"}
    assert (tests / "titles.py").is_file()
    assert (root / "data/studies" / chapter.name / "run.json").is_file()
    written = [*package.rglob("*.py"), *tests.rglob("*.py"), root / "notebooks" / chapter.notebook]
    assert [path.name for path in written if "@name@" in path.read_text() or "@id@" in path.read_text()] == []


def test_its_tests_and_the_rules_of_notebooks_pass(copied):
    root, chapter = copied
    said = run(
        root, "-m", "pytest", "-p", "no:cacheprovider", f"tests/{chapter.name}", f"greenlab/{chapter.name}",
        "tests/test_notebooks.py", "tests/core/test_studies.py", "tests/test_titles.py", "-k", chapter.name,
    )  # fmt: skip
    assert "passed" in said


def test_its_notebook_gives_the_stored_outputs_again(copied):
    root, chapter = copied
    said = run(
        root, "-m", "pytest", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "-o", "addopts=-q",
        "--nbval-sanitize-with", "tests/nbval_sanitize.cfg", f"notebooks/{chapter.notebook}",
    )  # fmt: skip
    assert "passed" in said


def test_linter_types_and_contracts_pass_with_it(copied):
    root, chapter = copied
    run(root, "-m", "ruff", "check", f"greenlab/{chapter.name}", f"tests/{chapter.name}")
    run(root, "-m", "ruff", "format", "--check", f"greenlab/{chapter.name}", f"tests/{chapter.name}")
    run(root, "-m", "mypy", "-p", f"greenlab.{chapter.name}")
    run(root, "-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())")


def test_titles_that_the_data_do_not_show_are_refused_in_it(copied):
    """The proofs that the skeleton writes are run, and one that is wrong fails."""
    root, chapter = copied
    run(root, "-c", f"from tests.{chapter.name} import titles; assert all(proof() for proof in titles.TITLES.values())")
    wrong = "left({'energy_j': 10, 'share': 0.5}, '6 J are left')"
    said = run(root, "-c", f"from tests.{chapter.name}.titles import left; print({wrong})")
    assert said.strip() == "False"


def test_nothing_is_overwritten(copied):
    root, chapter = copied
    before = (root / "notebooks" / chapter.notebook).read_bytes()
    again = subprocess.run(
        [sys.executable, "-m", "tests.skeleton", chapter.name],
        cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 1
    assert f"NAME={chapter.name}: this chapter has been begun (greenlab/{chapter.name}, " in again.stderr
    assert (root / "notebooks" / chapter.notebook).read_bytes() == before


@pytest.mark.parametrize("name", ["", "alchemy", "../core", "core", "lab", "Retrieval", "layer_pruning", "start_here"])
def test_other_names_are_refused_with_the_list(name):
    free = [chapter.name for chapter in CHAPTERS if not skeleton.begun(chapter)]
    with pytest.raises(ValueError, match="chapter") as caught:
        skeleton.find(name)
    # with every chapter begun there is no name to offer; the message then says so, or where names are registered
    assert any(known in str(caught.value) for known in free or ["not begun yet: none", "chapters are registered in"])
