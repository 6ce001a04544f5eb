"""A pytest plugin for the notebooks' run: kernels refuse every address but this machine's, and each try is reported.

``python -m pytest -p tests.offline --nbval ...``. A kernel runs the files of IPython's start-up folder before its first
cell, so the refusal is there before the notebook. A library may swallow the error, so each try is also written to a
file, and the run fails if the file holds one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

LOG = "GREENLAB_OFFLINE_LOG"
READY = "ready"
BLOCK = f"""
import os, socket

def _note(words):
    with open(os.environ["{LOG}"], "a", encoding="utf-8") as file:
        file.write(words + "\\n")

def _is_here(host):
    return host in (None, "", "localhost") or str(host).startswith("127.") or str(host) == "::1"

def _refusing(method):
    def call(self, address, *rest):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
            _note(f"asked for {{address}}")
            raise OSError(f"this run is offline, and {{address}} was asked for")
        return method(self, address, *rest)
    return call

def _refuse_lookup(look_up):
    def call(host, *rest, **more):
        if not _is_here(host.decode() if isinstance(host, bytes) else host):
            _note(f"looked up {{host}}")
            raise OSError(f"this run is offline, and {{host}} was looked up")
        return look_up(host, *rest, **more)
    return call

for _name in ("connect", "connect_ex"):
    setattr(socket.socket, _name, _refusing(getattr(socket.socket, _name)))
for _name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
    setattr(socket, _name, _refuse_lookup(getattr(socket, _name)))
_note("{READY}")
"""


def pytest_configure(config: pytest.Config) -> None:
    """Give every kernel a start-up file, in a folder that the processes of one run share."""
    if LOG in os.environ:  # a worker of pytest-xdist: the controller has made the folder
        return
    folder = Path(tempfile.mkdtemp(prefix="greenlab-offline-"))
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-offline.py").write_text(BLOCK, encoding="utf-8")
    os.environ |= {LOG: str(folder / "log.txt"), "IPYTHONDIR": str(folder / "ipython")}
    config.stash[FOLDER] = folder


FOLDER = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give each notebook a state of its own, before its kernel starts: stored outputs are those of a first visit."""
    if item.path.suffix == ".ipynb":
        base = Path(os.environ[LOG]).parent / "state"
        os.environ["GREENLAB_STATE"] = str(base / item.path.stem)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run if a kernel asked for the outside, or if no kernel was blocked at all."""
    folder = session.config.stash.get(FOLDER, None)
    if folder is None:
        return
    log = folder / "log.txt"
    said = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    tries = sorted({line for line in said if line != READY})
    if exitstatus == pytest.ExitCode.OK and READY not in said:
        tries.append("ran no kernel under the block")
    for line in tries:
        print(f"\noffline: a notebook {line}")
    if tries:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    for name in (LOG, "IPYTHONDIR"):
        os.environ.pop(name, None)
    shutil.rmtree(folder, ignore_errors=True)
