"""After set-up nothing touches the network: chapters run with every socket but loopback refused."""

import os
import subprocess
import sys

import nbformat
import pytest

from greenlab.core.machine import ROOT

BLOCK = """
import socket
_connect = socket.socket.connect
def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(("127.", "::1")):
        raise AssertionError(f"the chapter asked for {address}")
    return _connect(self, address)
socket.socket.connect = connect
def refuse(host, *args, **kwargs):
    raise AssertionError(f"the chapter looked up {host}")
socket.getaddrinfo = refuse
"""


def test_the_block_itself_works():
    code = BLOCK + "import urllib.request\nurllib.request.urlopen('http://example.org')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "looked up example.org" in result.stderr


@pytest.mark.assets
@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb")))
def test_a_chapter_runs_with_sockets_blocked(name, tmp_path):
    """As a plain script in IPython, so that the kernel's own loopback sockets are not in the way."""
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    script = tmp_path / "chapter.ipy"
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    script.write_text(BLOCK + "\n\n" + "\n\n".join(cells))
    environment = os.environ | {"GREENLAB_STATE": str(tmp_path / "state"), "IPYTHONDIR": str(tmp_path / "ipython")}
    result = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", str(script)],
        cwd=ROOT / "notebooks", env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert "Traceback" not in result.stdout + result.stderr
