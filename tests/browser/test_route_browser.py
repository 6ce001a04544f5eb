"""The 45-minute route as INSTRUCTOR.md says it, in the notebooks of a class: cell after cell with Shift+Enter."""

import re
from pathlib import Path

import pytest

from greenlab.core.machine import ROOT
from greenlab.workshop import write_student
from tests.browser.controls import IDLE
from tests.browser.driver import find_chromium, honest_page, start_lab

PAGE = (ROOT / "notebooks" / "INSTRUCTOR.md").read_text(encoding="utf-8")
ACTIVE = "() => jupyterapp.shell.currentWidget.content.activeCellIndex"
SOURCES = """() => [...jupyterapp.shell.currentWidget.content.model.cells].map(
    c => ({type: c.type, source: c.sharedModel.getSource()}))"""
SELECT = """place => {
    const notebook = jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = place; notebook.mode = 'command'; notebook.activate(); }"""
RAN = """place => {
    const cell = jupyterapp.shell.currentWidget.content.model.cells.get(place);
    return cell.type !== 'code' || cell.executionCount !== null; }"""
SAVE_AND_STOP = """async () => {
    await jupyterapp.commands.execute('docmanager:save');
    await jupyterapp.shell.currentWidget.sessionContext.shutdown(); }"""


def steps():
    """What the page tells to run, in order: the chapter, and its words with skip, heading or run before each."""
    found = []
    for number, words in re.findall(r"^- \*\*Run\*\* chapter (\d+)(.*)$", PAGE, re.M):
        words = re.sub(r"`[\w./-]+\.ipynb`", "", words)
        parts = re.findall(r"skip to the heading \*(.+?)\*|(skip )?`([^`]+)`", words)
        todo = [("heading", h) if h else ("skip" if skip else "run", words) for h, skip, words in parts]
        found.append((int(number), todo))
    return found


class Learner:
    """Somebody at the keyboard, with one notebook open."""

    def __init__(self, lab):
        self.lab, self.page, self.predicted = lab, lab.page, 0

    def open(self, number):
        (path,) = (ROOT / "notebooks").glob(f"{number:02d}_*.ipynb")
        self.lab.open_notebook(f"student/{path.name}")
        self.cells = self.page.evaluate(SOURCES)
        self.page.evaluate(SELECT, 0)

    def place(self, words, kind="code"):
        """The next cell that holds these words."""
        begin = self.page.evaluate(ACTIVE)
        places = [n for n, c in enumerate(self.cells) if n >= begin and c["type"] == kind and words in c["source"]]
        assert places, f"no cell with {words!r} is left from cell {begin} on"
        return places[0]

    def press(self, at):
        """Shift+Enter runs the active cell and goes on to the next."""
        assert "Side road" not in self.cells[at]["source"].split("\n")[0], "Shift+Enter would open a side road"
        self.page.keyboard.press("Shift+Enter")
        self.page.wait_for_function(f"place => ({ACTIVE})() > place", arg=at, timeout=10_000)
        self.page.wait_for_function(RAN, arg=at, timeout=120_000)

    def run_to(self, words):
        """Shift+Enter, from where the learner is, until the cell that holds these words has run."""
        target = self.place(words)
        while (at := self.page.evaluate(ACTIVE)) <= target:
            self.press(at)
        self.page.wait_for_function(IDLE, timeout=120_000)
        outputs = self.lab.outputs()[: target + 1]
        assert [o for cell in outputs for o in cell if o["output_type"] == "error"] == []
        return target

    def skip(self, words):
        """Run what stands before the cell that holds these words, and click on the one behind it."""
        target = self.place(words)
        while (at := self.page.evaluate(ACTIVE)) < target:
            self.press(at)
        self.page.evaluate(SELECT, target + 1)

    def commit(self, at):
        """With the mouse, as most do; afterwards the cell with the question is the active one again."""
        self.lab.cell(at).get_by_role("button", name="Commit").click()
        self.lab.cell(at).get_by_role("status").get_by_text("Kept:").wait_for(timeout=10_000)
        self.predicted += 1

    def says(self, place):
        return self.lab.cell(place).locator(".jp-Cell-outputWrapper").inner_text()


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    find_chromium()
    root = tmp_path_factory.mktemp("class")
    write_student(Path(root) / "student")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GREENLAB_STATE", str(root / "state"))  # a class that begins; also keeps a developer's own score
        with start_lab(root) as server, honest_page(server) as lab:
            yield Learner(lab)


@pytest.mark.assets
def test_a_class_walks_the_route_from_its_page_alone(learner):
    """Each cell that the page names runs in its turn; each prediction meets its answer; no chart stays empty."""
    opened, said = None, {}
    for number, todo in steps():
        if number != opened:
            if opened is not None:
                learner.page.evaluate(SAVE_AND_STOP)
            learner.open(number)
            opened = number
        for what, words in todo:
            if what == "heading":
                learner.page.evaluate(SELECT, learner.place(f"## {words}", "markdown"))
            elif what == "skip":
                learner.skip(words)
            else:
                place = learner.run_to(words)
                if "predict(" in learner.cells[place]["source"]:
                    learner.commit(place)
                if "view." in words or "see." in words:
                    learner.lab.chart(place)  # waits until it is drawn
                said[words] = learner.says(place)
    assert learner.predicted == 2
    assert "hold as they stand" in said["see.verdict_chart("]
    for reveal in ("speed.run_decode(model, ids, 16)", "forgets = next("):
        assert "Your prediction:" in said[reveal]
        assert "The answer:" in said[reveal]
    assert "Range" in said["show_receipt(token, product)"]
    assert "one of 64 users" in said["h100.loc["]
    assert "Most layers before the first clear fall: 1." in said["study_tables.quality_gate(curve, shape)"]
