"""The JavaScript of live charts: made once, read whole or not at all, and the same as Altair's own."""

import os
import stat
import subprocess
import sys

import altair as alt
import pytest

from greenlab.lab import widget_script

TEXT = "export default { render() {} };\nconst umlaut = 'ü';\r\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of assets, and charts that are not offline yet."""
    monkeypatch.setenv("GREENLAB_ASSETS", str(tmp_path))
    monkeypatch.setattr(alt.JupyterChart, "_is_offline", False)
    monkeypatch.setattr(alt.JupyterChart, "_esm", alt.JupyterChart._esm)
    return tmp_path


def test_the_bundle_is_the_one_that_altair_makes(folder):
    code = "import sys, altair; altair.JupyterChart.enable_offline(); sys.stdout.write(altair.JupyterChart._esm)"
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.decode()
    assert widget_script.bundle() == theirs
    assert "cdn" not in theirs[:200]
    assert len(theirs) > 500_000


def test_it_is_made_once_and_then_read(folder, monkeypatch):
    made = []
    monkeypatch.setattr(widget_script, "bundle", lambda: made.append(1) or TEXT)
    for _ in range(2):
        monkeypatch.setattr(alt.JupyterChart, "_is_offline", False)
        widget_script.enable()
        assert alt.JupyterChart._is_offline
        assert alt.JupyterChart._esm == TEXT
    assert made == [1]
    assert widget_script.read() == TEXT
    assert stat.S_IMODE(widget_script.script_file().stat().st_mode) == 0o644
    assert [path.name for path in (folder / "widgets").iterdir()] == [widget_script.script_file().name]


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-10],
        lambda b: b + b"x",
        lambda b: b"",
        lambda b: b"\xff" + b,
        lambda b: b.replace(b"render", b"rendor"),
    ],
)
def test_a_damaged_file_is_made_again(folder, monkeypatch, damage):
    assert widget_script.keep(TEXT)
    file = widget_script.script_file()
    file.write_bytes(damage(file.read_bytes()))
    assert widget_script.read() is None
    monkeypatch.setattr(widget_script, "bundle", lambda: TEXT)
    widget_script.enable()
    assert widget_script.read() == TEXT


def test_a_folder_that_cannot_be_written_is_no_error(folder, monkeypatch, capsys):
    (folder / "widgets").write_text("a file in its place")  # root may write in every folder, so a mode is no test
    monkeypatch.setattr(widget_script, "bundle", lambda: TEXT)
    widget_script.enable()
    assert alt.JupyterChart._esm == TEXT
    assert widget_script.main() == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_disk_that_fills_up_leaves_nothing_half_written(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert not widget_script.keep(TEXT)
    assert list((folder / "widgets").iterdir()) == []


def test_the_file_names_the_versions_it_was_made_of(folder):
    from importlib import metadata

    name = widget_script.script_file().name
    assert metadata.version("altair") in name
    assert metadata.version("vl-convert-python") in name


def test_a_bundle_that_fails_says_what_it_said(monkeypatch):
    monkeypatch.setattr(widget_script, "_BUNDLE", "raise SystemExit('no vl-convert')")
    with pytest.raises(RuntimeError, match="it said: no vl-convert"):
        widget_script.bundle()


@pytest.mark.parametrize("text", [None, 3, b"bytes", ["text"], float("nan"), True])
def test_what_is_no_text_is_refused(folder, text):
    with pytest.raises(TypeError, match="text="):
        widget_script.keep(text)
    assert widget_script.read() is None
