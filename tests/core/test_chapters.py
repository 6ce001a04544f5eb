"""The list of chapters: one place, one name a chapter, and what every chapter has on disk."""

import pytest

from greenlab.core.chapters import CHAPTERS, Chapter
from greenlab.core.machine import ROOT


def test_numbers_names_and_titles_are_there_once_and_in_order():
    assert [chapter.number for chapter in CHAPTERS] == list(range(len(CHAPTERS)))
    assert len({chapter.name for chapter in CHAPTERS}) == len({chapter.title for chapter in CHAPTERS}) == len(CHAPTERS)


def test_every_notebook_is_of_a_chapter_that_has_code_and_tests_under_its_name():
    known = {chapter.notebook: chapter.name for chapter in CHAPTERS}
    notebooks = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert notebooks
    assert set(notebooks) <= set(known)
    for notebook in notebooks:
        assert (ROOT / "greenlab" / known[notebook] / "view" / "__init__.py").is_file()
        assert (ROOT / "tests" / known[notebook] / "test_view.py").is_file()


@pytest.mark.parametrize(
    ("number", "name", "title", "words"),
    [(-1, "a", "A", "number=-1"), (100, "a", "A", "number=100"), (1.0, "a", "A", "number"), (True, "a", "A", "number"),
     (float("nan"), "a", "A", "number"), ("1", "a", "A", "number"), (1, "A b", "A", "name='A b'"), (1, "", "A", "name"),
     (1, "../a", "A", "name"), (1, None, "A", "name=None"), (1, "a", " ", "title=' '"), (1, "a", 3, "title=3")],
)  # fmt: skip
def test_a_chapter_of_another_form_is_refused(number, name, title, words):
    with pytest.raises((TypeError, ValueError), match=words):
        Chapter(number, name, title)
