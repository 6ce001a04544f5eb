"""The notebooks for a class: no solution is left, everything else is, and they still run."""

import json
import re

import nbformat
import pytest
from nbclient import NotebookClient

from greenlab.core.machine import ROOT
from greenlab.workshop import stripped, write_student
from greenlab.workshop.student import main
from tests import notebook_rules as rules
from tests.test_notebooks import exercise_violations

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_solutions_are_gone_and_all_else_is_kept(path):
    whole = read(path)
    bare = stripped(whole)
    solutions = [cell for cell in whole.cells if rules.tags(cell) & {"solution", "instructor"}]
    assert len(bare.cells) == len(whole.cells) - len(solutions)
    assert [c.source for c in bare.cells] == [c.source for c in whole.cells if c not in solutions]
    text = json.dumps(bare)
    for number, cell in enumerate(solutions):
        for block in re.findall(r"```python\n(.*?)```", cell.source, re.S):
            assert json.dumps(block)[1:-1] not in text, f"solution {number} is still there"
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in bare.cells)
    assert whole == read(path)  # the notebook that was given is as it was
    nbformat.validate(bare)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_with_its_outputs_kept_a_notebook_counts_without_gaps(path):
    bare = json.loads(nbformat.writes(stripped(read(path), keep_outputs=True)))
    assert rules.executed_in_order(bare) == []
    assert rules.has_outputs(bare) == []


def plain(text):
    return re.sub(r"\s", "", text)


def solution_lines(whole):
    """Each line of a solution that the exercise above it does not give."""
    given, lines = "", []
    for cell in whole.cells:
        if "exercise" in rules.tags(cell):
            given = plain(cell.source)
        if "solution" in rules.tags(cell):
            blocks = re.findall(r"```python\n(.*?)```", cell.source, re.S)
            lines += [plain(line) for block in blocks for line in block.splitlines()]
            lines = [line for line in lines if line not in given]
    return [line for line in lines if len(line) >= 14 and not line.startswith(("def", "import"))]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_line_of_a_solution_is_left_in_any_chapter(path):
    """Starting code of other exercises is left out: a wrong function shares its right lines with a solution."""
    lines = solution_lines(read(path))
    assert lines
    for other in NOTEBOOKS:
        for cell in stripped(read(other)).cells:
            if not rules.tags(cell) & {"exercise"}:
                left = [line for line in lines if line in plain(cell.source)]
                assert left == [], f"{other.stem} gives them: {left}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_to_files_lead_from_the_folder_of_the_class_too(path):
    links = [
        link
        for cell in stripped(read(path)).cells
        if cell.cell_type == "markdown"
        for link in re.findall(r"\]\(([^)\s#:]+)(?:#[^)]*)?\)", cell.source)
    ]
    assert links
    for link in links:
        inside = link in {notebook.name for notebook in NOTEBOOKS}
        assert inside or (ROOT / "student" / link).resolve().exists() or link.startswith("../data/"), link


def test_a_solution_that_is_code_leaves_no_gap():
    cells = [nbformat.v4.new_code_cell("1", execution_count=1, metadata={"tags": ["exercise"]})]
    cells += [nbformat.v4.new_code_cell("2", execution_count=2, metadata={"tags": ["solution"]})]
    cells += [nbformat.v4.new_markdown_cell("For the room", metadata={"tags": ["instructor"]})]
    cells += [nbformat.v4.new_code_cell("3", execution_count=3)]
    bare = stripped(nbformat.v4.new_notebook(cells=cells), keep_outputs=True)
    assert [(cell.source, cell.execution_count) for cell in bare.cells] == [("1", 1), ("3", 2)]


def test_a_stripped_chapter_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """No cell needs a solution, and every exercise says that it was not tried; student-check compares the rest."""
    monkeypatch.setenv("GREENLAB_STATE", str(tmp_path))
    bare = stripped(read(NOTEBOOKS[1]))
    NotebookClient(bare, timeout=300, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    tried = [cell for cell in bare.cells if "exercise" in rules.tags(cell)]
    assert len(tried) >= 3
    assert all("Not tried yet" in json.dumps(cell.outputs) for cell in tried)
    assert not any(output.output_type == "error" for cell in bare.cells for output in cell.get("outputs", []))


def test_the_solutions_that_are_checked_are_really_needed():
    """Without its solution no exercise passes: the check finds none to run."""
    bare = json.loads(nbformat.writes(stripped(read(NOTEBOOKS[1]))))
    with pytest.raises(ValueError, match="no cell with the tag solution"):
        exercise_violations(bare, ROOT)


def test_every_chapter_is_written_and_nothing_is_written_over(tmp_path, capsys):
    assert [path.name for path in write_student(tmp_path / "class")] == [path.name for path in NOTEBOOKS]
    with pytest.raises(ValueError, match="would be lost"):
        write_student(ROOT / "notebooks")
    with pytest.raises(ValueError, match="give the folder of the repository"):
        write_student(tmp_path / "more", tmp_path)
    assert main([str(tmp_path / "again"), "--keep-outputs"]) == 0
    assert f"{len(NOTEBOOKS)} notebooks" in capsys.readouterr().out
    assert read(tmp_path / "again" / NOTEBOOKS[0].name).cells[1].execution_count == 1


def test_a_notebook_that_was_worked_in_is_not_written_over(tmp_path, capsys):
    first, second = write_student(tmp_path)[:2]
    assert write_student(tmp_path)[0] == first  # untouched, so there is nothing to lose
    worked, before = read(first), second.read_bytes()
    worked.cells[1].source += "\nmine = 1"
    nbformat.write(worked, first)
    with pytest.raises(ValueError, match=f"{first.name}, in which somebody has worked"):
        write_student(tmp_path)
    assert main([str(tmp_path)]) == 2
    assert "--replace" in capsys.readouterr().err
    assert "mine = 1" in first.read_text(encoding="utf-8")
    second.write_text("no notebook")
    with pytest.raises(ValueError, match=second.name):
        write_student(tmp_path)
    assert main([str(tmp_path), "--replace"]) == 0
    assert "mine = 1" not in first.read_text(encoding="utf-8")
    assert [cell.source for cell in read(second).cells] == [
        cell.source for cell in nbformat.reads(before.decode(), as_version=4).cells
    ]


@pytest.mark.parametrize("notebook", [None, {}, {"cells": []}, "00_start_here.ipynb", nbformat.NotebookNode()])
def test_what_is_no_notebook_is_refused(notebook):
    with pytest.raises(TypeError, match="notebook="):
        stripped(notebook)
