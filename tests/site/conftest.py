"""The built site, once for all tests that look at it; they run with the browser's, one at a time."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the pages, built with every warning an error. GREENLAB_SITE names one that is built already."""
    if built := os.environ.get("GREENLAB_SITE"):
        return Path(built)
    from docs.book.__main__ import build

    out = tmp_path_factory.mktemp("book")
    assert build(out) == 0
    return out / "html"
