"""A Lab server for the whole run, and a page that must have stayed on this machine without an error."""

from pathlib import Path

import pytest

from tests.browser.driver import find_chromium, honest_page, start_lab


def pytest_itemcollected(item):
    """Everything in this folder drives a browser; marked at once, before a run chooses its tests by their marks."""
    item.add_marker(pytest.mark.browser)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """What looks at one chapter stands together, so that the chapter runs once."""
    params = [getattr(getattr(item, "callspec", None), "params", {}) for item in items]
    here = Path(__file__).parent  # this hook is given the tests of all folders
    places = [n for n, item in enumerate(items) if "chapter" in params[n] and item.path.is_relative_to(here)]
    for place, item in zip(places, sorted((items[n] for n in places), key=chapter_of), strict=True):
        items[place] = item


def chapter_of(item):
    return item.callspec.params["chapter"]


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory):
    find_chromium()  # skip before a server is started
    with start_lab(tmp_path_factory.mktemp("lab-root")) as server:
        yield server


@pytest.fixture
def lab_page(lab_server):
    with honest_page(lab_server) as page:
        yield page
