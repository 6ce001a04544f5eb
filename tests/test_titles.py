"""Every title of a chart states what the data under it show: each has its proof, and each proof is computed here."""

import importlib
import importlib.util

import pytest

from greenlab.core.machine import ROOT
from tests import titles

NOTEBOOKS = {path.stem[3:]: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
PROVED = [name for name in NOTEBOOKS if importlib.util.find_spec(f"tests.{name}.titles")]
MODULES = {name: importlib.import_module(f"tests.{name}.titles") for name in PROVED}
PROOFS = [(name, title) for name, module in MODULES.items() for title in module.TITLES]
LIVE = [(name, widget) for name, module in MODULES.items() for widget in module.LIVE]


def test_every_chapter_proves_its_titles():
    assert sorted(PROVED) == sorted(NOTEBOOKS)
    assert [name for name in PROVED if not MODULES[name].LIVE and name != "start_here"] == []


@pytest.mark.parametrize("name", PROVED)
def test_each_stored_title_has_its_proof_and_no_proof_is_left_over(name):
    assert set(MODULES[name].TITLES) == set(titles.stored(NOTEBOOKS[name]))


@pytest.mark.parametrize(("name", "title"), PROOFS)
def test_the_title_states_what_the_data_show(name, title):
    assert MODULES[name].TITLES[title]() is True, f"{title!r} is not what the data show"


@pytest.mark.parametrize(("name", "widget"), LIVE)
def test_the_title_of_a_widget_is_true_at_every_stop(name, widget):
    make, proof = MODULES[name].LIVE[widget]
    shown = titles.live(make())
    assert shown, f"the widget {widget!r} shows no title"
    assert [(values, title) for values, title in shown if proof(values, title) is not True] == []
