"""What is kept between sessions: atomic, one file an entry, damaged files set aside, and never in the reader's way."""

import json
import multiprocessing
import os
import warnings

import pytest

from greenlab.core.machine import ROOT
from greenlab.lab import state


def test_entries_come_back_sorted_and_replace_one_another(empty_state):
    state.save("ledger", "ternary", {"saved": 0.5})
    state.save("ledger", "distillation", {"saved": 0.1})
    state.save("ledger", "ternary", {"saved": 0.6})
    assert list(state.load("ledger").items()) == [("distillation", {"saved": 0.1}), ("ternary", {"saved": 0.6})]
    assert state.load("predictions") == {}
    state.forget("ledger", "ternary")
    state.forget("ledger", "ternary")
    assert list(state.load("ledger")) == ["distillation"]


def test_the_folder_is_the_readers_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENLAB_STATE", str(tmp_path))
    assert state.folder() == tmp_path
    monkeypatch.delenv("GREENLAB_STATE")
    assert state.folder() == ROOT / ".greenlab"


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "\udcff"])
def test_a_damaged_file_is_set_aside_with_a_warning(empty_state, content):
    """Not lost, not fatal: the other entries are read, and the file keeps its content under another name."""
    state.save("ledger", "ternary", {"saved": 0.5})
    broken = empty_state / "ledger" / "distillation.json"
    for number in (1, 2):
        broken.write_text(content, encoding="utf-8", errors="surrogateescape")
        with pytest.warns(
            UserWarning, match=rf"distillation.json is damaged.*kept as distillation.json.damaged-{number}"
        ):
            assert list(state.load("ledger")) == ["ternary"]
        aside = broken.with_name(f"distillation.json.damaged-{number}")
        assert aside.read_text(encoding="utf-8", errors="surrogateescape") == content
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(state.load("ledger")) == ["ternary"]


def test_a_folder_that_cannot_be_written_keeps_the_session_alive(monkeypatch, tmp_path):
    """A read-only checkout (here: a file where the folder should be) must not break Run All."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("GREENLAB_STATE", str(blocked))
    monkeypatch.setattr(state, "_unsaved", {})
    with pytest.warns(UserWarning, match="kept for this session only.*Set GREENLAB_STATE"):
        state.save("ledger", "ternary", {"saved": 0.5})
    assert state.load("ledger") == {"ternary": {"saved": 0.5}}
    monkeypatch.setenv("GREENLAB_STATE", str(tmp_path / "good"))
    state.save("ledger", "ternary", {"saved": 0.7})
    assert state.load("ledger") == {"ternary": {"saved": 0.7}}


def test_a_failed_write_leaves_the_old_entry_and_no_litter(empty_state, monkeypatch):
    """The new text goes to a file of its own first; if renaming fails, nothing of it stays."""
    state.save("ledger", "ternary", {"saved": 0.5})

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state.os, "replace", refuse)
    with pytest.warns(UserWarning, match="No space left on device"):
        state.save("ledger", "ternary", {"saved": 0.9})
    assert [path.name for path in (empty_state / "ledger").iterdir()] == ["ternary.json"]
    assert json.loads((empty_state / "ledger" / "ternary.json").read_text()) == {"saved": 0.5}


@pytest.mark.parametrize("key", ["", "Ternary", "../x", "a b", ".hidden", "a/b"])
def test_a_key_that_is_no_file_name_is_refused(empty_state, key):
    with pytest.raises(ValueError, match="use small letters, digits"):
        state.save("ledger", key, {})


@pytest.mark.parametrize("entry", [{"x": float("nan")}, {"x": object()}, {"x": {1, 2}}])
def test_an_entry_that_json_cannot_hold_is_refused(empty_state, entry):
    with pytest.raises(ValueError, match="not plain JSON"):
        state.save("ledger", "ternary", entry)


def _write_many(name: str) -> None:
    for number in range(100):
        state.save("ledger", name, {"number": number})
        state.save("ledger", "shared", {"writer": name, "number": number, "filler": "x" * 5000})


def test_two_kernels_at_once_lose_nothing(empty_state):
    """Each keeps its own entry; of the entry both write, readers see whole versions only, and the last one stays."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(name,)) for name in ("one", "two")]
    for writer in writers:
        writer.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a half-written file would be set aside with a warning
        while any(writer.is_alive() for writer in writers):
            state.load("ledger")
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    entries = state.load("ledger")
    assert entries["one"] == entries["two"] == {"number": 99}
    assert entries["shared"]["number"] == 99


def test_a_file_that_is_nested_too_deeply_is_left_out_and_left_alone(empty_state):
    """It is JSON, so it is not damaged; Python cannot read it."""
    state.save("ledger", "ternary", {"saved": 0.5})
    deep = empty_state / "ledger" / "deep.json"
    deep.write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    with pytest.warns(UserWarning, match=r"ledger/deep.json is nested too deeply"):
        assert list(state.load("ledger")) == ["ternary"]
    assert deep.exists()


@pytest.mark.parametrize("content", ['{"prediction": NaN}', '{"x": -Infinity}'])
def test_a_file_that_python_reads_and_json_does_not_is_set_aside(empty_state, content):
    """Numbers that JSON does not have."""
    state.save("ledger", "ternary", {"saved": 0.5})
    (empty_state / "ledger" / "other.json").write_text(content)
    with pytest.warns(UserWarning, match=r"other.json is damaged.*kept as other.json.damaged-1"):
        assert list(state.load("ledger")) == ["ternary"]


def test_a_folder_named_like_an_entry_is_passed_over(empty_state):
    state.save("ledger", "ternary", {"saved": 0.5})
    (empty_state / "ledger" / "folder.json").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(state.load("ledger")) == ["ternary"]
    assert (empty_state / "ledger" / "folder.json").is_dir()


def test_an_entry_that_does_not_fit_is_left_out_and_left_alone(empty_state):
    """Another version of the book may still need it."""
    state.save("ledger", "ternary", {"saved": 0.5})
    state.save("ledger", "other", {"version": 2})
    with pytest.warns(UserWarning, match=r"ledger/other.json is left out: no saving in it"):
        found = state.load("ledger", lambda _, entry: "" if "saved" in entry else "no saving in it")
    assert list(found) == ["ternary"]
    assert json.loads((empty_state / "ledger" / "other.json").read_text()) == {"version": 2}


def test_leftovers_of_killed_writers_go_and_those_of_living_ones_stay(empty_state):
    state.save("ledger", "ternary", {"saved": 0.5})
    directory = empty_state / "ledger"
    dead = multiprocessing.get_context("fork").Process(target=lambda: None)
    dead.start()
    dead.join()
    killed, older, living = (
        directory / name for name in (f".x.{dead.pid}-abc.tmp", ".x.abc.tmp", f".x.{os.getppid()}-abc.tmp")
    )
    for path in (killed, older, living):
        path.write_text("half")
    assert list(state.load("ledger")) == ["ternary"]
    assert not killed.exists()
    assert not older.exists()  # earlier versions did not write the process into the name
    assert living.exists()


def test_an_interrupt_while_writing_leaves_no_litter(empty_state, monkeypatch):
    state.save("ledger", "ternary", {"saved": 0.5})

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(state.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        state.save("ledger", "ternary", {"saved": 0.9})
    assert [path.name for path in (empty_state / "ledger").iterdir()] == ["ternary.json"]


def test_keeping_says_why_it_failed(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("GREENLAB_STATE", str(blocked))
    monkeypatch.setattr(state, "_unsaved", {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "cannot be written" in state.keep("ledger", "ternary", {"saved": 0.5})
    monkeypatch.setenv("GREENLAB_STATE", str(tmp_path / "good"))
    assert state.keep("ledger", "ternary", {"saved": 0.5}) == ""


def test_setting_aside_makes_room_and_keeps_the_old_file(empty_state):
    state.save("ledger", "ternary", {"saved": 0.5})
    state.set_aside("ledger", "ternary")
    state.set_aside("ledger", "ternary")
    assert [path.name for path in (empty_state / "ledger").iterdir()] == ["ternary.json.damaged-1"]


@pytest.mark.parametrize("section", ["../x", "", "Ledger"])
def test_a_section_that_is_no_folder_name_is_refused(empty_state, section):
    for call in (lambda: state.load(section), lambda: state.save(section, "x", {}), lambda: state.forget(section, "x")):
        with pytest.raises(ValueError, match=r"section is .*use small letters"):
            call()


@pytest.mark.parametrize(("key", "entry"), [(3, {}), (None, {}), ("x", [1]), ("x", None)])
def test_wrong_types_are_named(empty_state, key, entry):
    with pytest.raises(TypeError, match=r"key is|entry is"):
        state.save("ledger", key, entry)
