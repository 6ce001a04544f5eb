"""The instructor's pages: each number has its source, and each cell that they name is in its notebook."""

import importlib.util
import itertools
import json
import re

import nbformat
import pandas as pd
import pytest

from greenlab.core.chapters import CHAPTERS
from greenlab.core.machine import ROOT
from greenlab.workshop.view.timing import sections
from tests.workshop.prose import violations

PAGE = (ROOT / "notebooks" / "INSTRUCTOR.md").read_text(encoding="utf-8")
RUBRICS = (ROOT / "notebooks" / "RUBRICS.md").read_text(encoding="utf-8")


def code_cells(number):
    (path,) = (ROOT / "notebooks").glob(f"{number:02d}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("name", ["INSTRUCTOR.md", "RUBRICS.md"])
def test_every_number_resolves(name):
    assert violations((ROOT / "notebooks" / name).read_text(encoding="utf-8")) == []


def test_a_number_without_a_source_is_found():
    assert violations("A token costs 7 J.") != []
    assert violations(
        "It costs [9.9 J](../data/studies/README.md#accelerator.decode-llama-3p1-8b-batch-1-context-512)."
    )
    assert violations("### Minutes 0 to 4: a plan of 45 minutes, and exercises 1 and 4") == []


def test_the_route_names_cells_that_exist_in_the_order_of_the_chapter():
    steps = re.findall(r"^- \*\*Run\*\* (?:chapter (\d+)|nothing)(.*)$", PAGE, re.M)
    assert len(steps) >= 8
    reached = {}
    for number, words in steps:
        if not number:
            continue
        words = re.sub(r"`student/[\w.]+\.ipynb`", "", words)  # which notebook to open
        cells, at = code_cells(int(number)), reached.get(number, -1)
        for snippet in re.findall(r"`([^`]+)`", words):
            places = [place for place, source in enumerate(cells) if snippet in source]
            assert places, f"chapter {number} has no cell with {snippet!r}"
            assert max(places) >= at, f"chapter {number}: {snippet!r} stands before the cell that is to be run first"
            at = min(place for place in places if place >= at)
        reached[number] = at


def test_a_class_is_asked_before_it_is_shown():
    """In each part the question stands before the cell that answers it, and no text gives the first answer away."""
    for question, cell in (
        ("What share of them holds as it stands?", "see.verdict_chart("),
        ("How long does a ten-watt lamp burn", "speed.run_decode(model, ids, 16)"),
        ("How far is the third from the first?", "x = torch.tensor([[1.0, 0.0]"),
        ("How many can go before it forgets", "forgets = next("),
    ):
        assert PAGE.index(question) < PAGE.index(cell)
    cells = nbformat.read(ROOT / "notebooks" / CHAPTERS[0].notebook, as_version=4).cells
    chart = next(place for place, cell in enumerate(cells) if "see.verdict_chart(" in cell.source)
    assert "What share of them holds as it stands?" in cells[0].source
    near = " ".join(cell.source for cell in cells[: chart + 2])  # what stands on the screen before anything has run
    assert not re.search(r"\b(half|fewer|most of (them|the statements)|a third|\d+ %)\b", near.lower())


SPEAKING = 130  # words a minute


def test_each_part_of_the_route_fits_its_minutes():
    """What is said, each commit, a look at each named cell: with half a minute for the room to answer each question."""
    parts = re.findall(r"^### Minutes (\d+) to (\d+):(.*?)(?=^##)", PAGE, re.M | re.S)
    assert len(parts) == 8
    for begin, end, text in parts:
        said = re.findall(r"^- \*\*(?:Ask|Show|They ask)\*\* (.*)$", text, re.M)
        words = sum(len(re.findall(r"\w+", re.sub(r"\]\([^)]*\)", "]", one))) for one in said)
        named = [
            s for one in re.findall(r"^- \*\*Run\*\* chapter (.*)$", text, re.M) for s in re.findall(r"`[^`]+`", one)
        ]
        commits = len(re.findall(r"presses Commit|Everybody commits", text))
        minutes = words / SPEAKING + 0.25 * len(named) + commits + 0.5 * text.count("- **Ask**")
        assert minutes <= int(end) - int(begin), f"minutes {begin} to {end} take {minutes:.1f}"


def test_the_minutes_of_the_route_follow_one_another_and_end_at_45():
    minutes = [(int(a), int(b)) for a, b in re.findall(r"^### Minutes (\d+) to (\d+):", PAGE, re.M)]
    assert minutes[0][0] == 0
    assert minutes[-1][1] == 45
    assert all(before[1] == after[0] for before, after in itertools.pairwise(minutes))
    parts = re.split(r"^### Minutes", PAGE, flags=re.M)[1:]
    for part in parts:
        for word in ("**Run**", "**Ask**", "**They say**", "**Show**", "**If "):
            assert word in part, f"{part[:40]!r} does not say {word}"


def test_rows_of_the_longer_routes_follow_one_another_and_end_as_announced():
    for minutes, begin in ((90, 50), (180, 0)):
        (part,) = re.findall(rf"^## The {minutes}-minute route$(.*?)(?=^## )", PAGE, re.M | re.S)
        rows = [(int(a), int(b)) for a, b in re.findall(r"^\| (\d+) to (\d+) \|", part, re.M)]
        assert rows[0][0] == begin
        assert rows[-1][1] == minutes
        assert all(before[1] == after[0] for before, after in itertools.pairwise(rows))


def plan(number, first="", last=""):
    """Minutes of a chapter's main road by the count of the page, without the exercises."""
    table = sections(nbformat.read(ROOT / "notebooks" / CHAPTERS[number].notebook, as_version=4))
    names = list(table["section"])
    begin = next(place for place, name in enumerate(names) if name.startswith(first))
    end = next(place for place, name in reversed(list(enumerate(names))) if name.startswith(last))
    chosen = table.iloc[begin : end + 1]
    assert len(chosen) >= 3
    return (chosen["plan_minutes"] - chosen["exercise_minutes"]).sum()


def test_what_a_route_gives_a_chapter_is_enough_by_the_count_of_its_sections():
    assert plan(1, "Predict", "Explore: what if every search were a chat?") <= 25
    assert plan(1) <= 40
    assert max(plan(number) for number in (3, 7, 9)) <= 40
    assert plan(0) + plan(1) <= 90  # the first week
    assert max(plan(number) for number in range(2, 11)) <= 90


def test_links_to_files_lead_somewhere():
    for page in (PAGE, RUBRICS):
        links = re.findall(r"\]\(([^)\s#:]+)(?:#[^)]*)?\)", page)
        assert len(links) >= 10
        assert [link for link in links if not (ROOT / "notebooks" / link).exists()] == []


def test_commands_of_the_page_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"(?:`|^)make ([a-z -]+)", PAGE, re.M)
    assert len(targets) >= 5
    for target in " ".join(targets).split():
        assert re.search(rf"^{target}:", makefile, re.M), f"make {target}"
    modules = set(re.findall(r"python -m (greenlab[\w.]*)", PAGE))
    assert len(modules) >= 3
    assert all(importlib.util.find_spec(module) for module in modules)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_every_chapter_has_a_misconception_and_an_open_question(chapter):
    assert re.search(rf"^\| {chapter.number} {chapter.title} \|.*\?.* \|$", PAGE, re.M)
    (part,) = re.findall(rf"^## {chapter.number} {chapter.title}$(.*?)(?=^## |\Z)", RUBRICS, re.M | re.S)
    for word in ("**Question.**", "- **Not yet:**", "- **Good:**", "- **Excellent:**", "**Sample answer.**"):
        assert word in part, f"chapter {chapter.number} lacks {word}"
    for level in ("Good", "Excellent"):  # two of them make the level, so there must be two to count
        (line,) = re.findall(rf"^- \*\*{level}:\*\* (.+)$", part, re.M)
        assert len([reason for reason in line.split(";") if len(reason.split()) >= 2]) >= 2


def test_the_page_sends_nobody_to_results_that_are_not_there():
    """The class's notebooks store none, and slides hold no tables: a table is shown from the whole notebook."""
    (part,) = re.findall(r"^### Minutes 37 to 42:.*?(?=^### )", PAGE, re.M | re.S)
    (named,) = re.findall(r"`(notebooks/\S+\.ipynb)`", part)
    cells = nbformat.read(ROOT / named, as_version=4).cells
    (gate,) = [cell for cell in cells if cell.cell_type == "code" and "study_tables.quality_gate(" in cell.source]
    assert "Most layers before the first clear fall" in json.dumps(gate.outputs)


def test_the_chapters_that_binder_is_small_for_are_those_that_took_more_than_a_gigabyte():
    measured = pd.read_csv(ROOT / "data" / "studies" / "start_here" / "notebooks.csv")
    large = [int(name[:2]) for name in measured.loc[measured["peak_mb"] > 1000, "notebook"]]
    (said,) = re.findall(r"its memory is small for chapters ([\d, and]+), and", PAGE)
    assert [int(number) for number in re.findall(r"\d+", said)] == large


def test_the_page_says_where_a_class_can_see_the_solutions():
    assert "whole notebooks with their solutions" in PAGE
