"""A Lab server for the whole run, and a page that must have stayed on this machine without an error."""

import pytest

from tests.browser.driver import find_chromium, open_page, start_lab


def pytest_collection_modifyitems(items):
    """Everything in this folder drives a browser."""
    for item in items:
        if "tests/browser" in item.path.as_posix() and item.name.startswith("test_"):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory):
    find_chromium()  # skip before a server is started
    with start_lab(tmp_path_factory.mktemp("lab-root")) as server:
        yield server


@pytest.fixture
def lab_page(lab_server):
    """A page; when the test is done, it must not have asked for the outside, nor raised an error."""
    with open_page(lab_server) as page:
        yield page
        assert page.outside == [], f"the page asked for the outside: {page.outside}"
        assert page.errors == [], f"the page reported errors: {page.errors}"
