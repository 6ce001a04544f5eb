"""The built folder of docs/tab, and node (the one that Playwright brings) to run its scripts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from playwright._impl._driver import compute_driver_executable

from greenlab.core import assets
from greenlab.tab import build

RUN = Path(__file__).with_name("run.mjs")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder as ``python -m greenlab.tab`` writes it, with the model."""
    folder = tmp_path_factory.mktemp("tab")
    build(folder)
    return folder


@pytest.fixture(scope="session")
def scripts(site):
    """Calls tests/tab/run.mjs with a request and gives its answer."""

    def call(**request):
        (site / "package.json").write_text('{"type": "module"}')
        node = compute_driver_executable()[0]
        request |= {"folder": str(site), "weights": str(site / "weights")}
        done = subprocess.run(
            [node, str(RUN)], input=json.dumps(request), capture_output=True, text=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return call


@pytest.fixture(scope="session")
def smollm2():
    return assets.load_smollm2()
