"""From a chapter's cells to a class's table: what a reader ran, handed in, and a teacher sees."""

from dataclasses import replace

import nbformat
import pytest
from nbclient import NotebookClient

from greenlab.core.machine import ROOT
from greenlab.lab import classroom, state
from greenlab.lab.classroom import command, read

CHAPTER = ROOT / "notebooks" / "00_start_here.ipynb"


@pytest.fixture
def ran(empty_state):
    """Chapter 0's set-up and its first receipt, run twice in a kernel, and an exercise answered."""
    notebook = nbformat.read(CHAPTER, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    setup = [cell for cell in code if "setup" in cell.metadata.get("tags", [])][:1]
    product = [cell for cell in code if '"matrix product"' in cell.source][:1]
    answer = [cell for cell in code if 'check("start-here-carbon"' in cell.source]
    answer[0].source = answer[0].source.replace("carbon_g = ...", "carbon_g = 36_000 / J_PER_KWH * 400", 1)
    helper = nbformat.v4.new_code_cell("J_PER_KWH = 3.6e6")
    again = nbformat.v4.new_code_cell(product[0].source)
    notebook.cells = [*setup, *product, again, helper, *answer]
    NotebookClient(notebook, timeout=300).execute()
    return notebook


def test_a_chapter_s_receipts_and_answers_reach_the_class(ran, empty_state, tmp_path, capsys):
    assert list(state.load("receipts")) == ["start_here.matrix-product"]  # the second run replaced the first
    (tmp_path / "own").mkdir()
    nbformat.write(ran, tmp_path / "own" / CHAPTER.name)
    folder = tmp_path / "class"
    (folder / "Ada_17").mkdir(parents=True)
    out = folder / "Ada_17" / "ada.ZIP"
    assert command.main(["submit", "--name", "Ada", "--out", str(out), "--notebooks", str(tmp_path / "own")]) == 0
    assert "1 receipts" in capsys.readouterr().out
    ada = read(out)
    (receipt,) = ada.receipts.values()
    twice = {key: 2 * receipt[key] for key in ("energy_j", "low_j", "high_j")}
    ben = replace(
        ada,
        name="Ben",
        machine=dict(ada.machine) | {"processor": "another chip"},
        receipts={"start_here.matrix-product": receipt | twice},
    )
    (folder / "ben.zip").write_bytes(classroom.to_bytes(ben))
    found = classroom.energies(one for _, one in classroom.read_folder(folder))
    assert sorted(found["machine"]) == sorted(
        f"{one.machine['processor']}, {one.machine['cores']} cores" for one in (ada, ben)
    )
    apart = classroom.spreads(found)
    assert apart[["run", "machines", "factor"]].to_dict("list") == {
        "run": ["start_here: matrix product"],
        "machines": [2],
        "factor": [2.0],
    }
    (answer,) = ada.answers
    assert answer.context == "J_PER_KWH = 3600000.0"
    task = classroom.grading.register_exercises()["start-here-carbon"]
    said = []
    grades = classroom.grade_folder(folder, tasks={"start-here-carbon": task}, stubs={}, say=said.append)
    assert grades[["file", "outcome"]].values.tolist() == [["ben.zip", "correct"], ["Ada_17/ada.ZIP", "correct"]]


def test_two_files_of_one_name_are_told_apart(tmp_path, empty_state):
    from tests.classroom.test_grading import STUBS, TASKS, work

    for name in ("a", "b"):
        (tmp_path / f"{name}.zip").write_bytes(work("Ada" if name == "a" else " ADA", value="x = 4.0"))
    (tmp_path / ".hidden.zip").write_bytes(b"")
    (tmp_path / "empty.zip").write_bytes(b"")
    (tmp_path / "folder.zip").mkdir()
    said = []
    table = classroom.grade_folder(tmp_path, tasks=TASKS, stubs=STUBS, say=said.append)
    assert table["file"].unique().tolist() == ["a.zip", "b.zip", "empty.zip", "folder.zip"]
    assert table["outcome"].tolist() == ["not tried", "correct"] * 2 + ["refused"] * 2
    assert "b.zip: a.zip has the same name, ADA" in said
    assert table["held_by"].str.contains("hook").tolist() == [False, True, False, True, False, False]
