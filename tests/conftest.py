"""The whole test run, and every kernel it starts, keeps its state in a folder of its own."""

import os
import shutil
import tempfile

import pytest


def pytest_configure(config):
    """The reader's own predictions and ledger are neither read nor changed by a test."""
    config.greenlab_state = tempfile.mkdtemp(prefix="greenlab-state-")
    os.environ["GREENLAB_STATE"] = config.greenlab_state
    config.addinivalue_line("markers", "gpu: needs an NVIDIA GPU whose energy counter can be read")


def pytest_unconfigure(config):
    shutil.rmtree(config.greenlab_state, ignore_errors=True)


@pytest.fixture
def empty_state(tmp_path, monkeypatch):
    """A reader who opens the book for the first time."""
    from greenlab.lab import state

    monkeypatch.setenv("GREENLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(state, "_unsaved", {})
    return tmp_path / "state"
