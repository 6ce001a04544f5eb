"""Compiled loops: a cache that is damaged, closed or gone never stops one, and threads are counted right."""

import os
import subprocess
import sys

import pytest

from greenlab.core import compiled
from greenlab.core.machine import ROOT

LOOP = """
from greenlab.core.compiled import njit
@njit(cache=True)
def plus_one(x):
    return x + 1
"""
CALL = "import loop; print(loop.plus_one(1), sum(loop.plus_one.stats.cache_hits.values()))"
SEPARATOR = os.pathsep


def run(code, folder, **environment):
    """Run code in a new process that finds ``loop`` in ``folder``: what it printed, in words."""
    path = SEPARATOR.join([str(folder), str(ROOT), *(p for p in sys.path if "site-packages" in p)])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder,
        env=os.environ | {"PYTHONPATH": path} | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def loop(tmp_path):
    (tmp_path / "loop.py").write_text(LOOP)
    return tmp_path


def cache_files(folder):
    found = sorted((folder / "__pycache__").glob("*.nb[ci]"))
    assert [path.suffix for path in found] == [".nbc", ".nbi"]
    return found


def test_what_is_compiled_once_is_found_again(loop):
    assert run(CALL, loop) == ["2", "0"]
    assert run(CALL, loop) == ["2", "1"]


def test_numba_is_not_imported_before_a_loop_is_decorated(tmp_path):
    assert run("import sys, greenlab.core.compiled; print('numba' in sys.modules)", tmp_path) == ["False"]


def damaged(name):
    return {
        "truncated": lambda data: data[:40],
        "empty": lambda data: b"",
        "zeros": lambda data: bytes(len(data)),
        "one byte in the middle": lambda data: data[: len(data) // 2] + b"\xff" + data[len(data) // 2 + 1 :],
        "other content": lambda data: b"not a pickle",
    }[name]


@pytest.mark.parametrize("which", [0, 1], ids=["code", "index"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "zeros", "one byte in the middle", "other content"])
def test_a_damaged_file_is_passed_over_and_replaced(loop, which, damage):
    run(CALL, loop)
    path = cache_files(loop)[which]
    good = path.read_bytes()
    bad = damaged(damage)(good)
    assert bad != good
    path.write_bytes(bad)
    assert run(CALL, loop) == ["2", "0"]  # compiled again, without a word
    assert run(CALL, loop) == ["2", "1"]  # and kept again


def test_with_nothing_to_write_to_the_code_goes_to_a_temporary_folder(loop, tmp_path_factory):
    """numba's two usual places are files here, which not even root can write into."""
    (loop / "__pycache__").write_text("")
    home, temporary = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("tmp")
    (home / "cache").write_text("")
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(temporary), "NUMBA_CACHE_DIR": ""}
    assert run(CALL, loop, **places) == ["2", "0"]
    assert list(temporary.rglob("*.nbc"))
    assert run(CALL, loop, **places) == ["2", "1"]


def test_without_even_a_temporary_folder_the_loop_still_runs(monkeypatch):
    def nowhere(function):
        raise RuntimeError("cannot cache function: no locator available")

    def full():
        raise OSError("No space left on device")

    monkeypatch.setattr(compiled, "_cache_class", lambda: nowhere)
    monkeypatch.setattr(compiled, "cache_folder", full)
    assert compiled.njit(lambda x: x + 1)(1) == 2


def test_a_disk_that_fills_while_code_is_kept_does_not_stop_the_loop(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    loop = compiled.njit(lambda x: x + 2)
    monkeypatch.setattr(type(loop._cache._cache_file), "save", full)
    assert loop(1) == 3


def test_a_temporary_folder_that_others_can_write_to_is_not_used(monkeypatch, tmp_path):
    """Compiled code that somebody else put there would be run."""
    monkeypatch.setattr(compiled.tempfile, "tempdir", str(tmp_path))
    ours = compiled.cache_folder()
    assert (ours, compiled.cache_folder()) == (tmp_path / f"greenlab-numba-{os.getuid()}", ours)
    ours.chmod(0o777)
    assert compiled.cache_folder() != ours
    ours.rmdir()
    ours.symlink_to(tmp_path)
    assert compiled.cache_folder() not in (ours, tmp_path)
    ours.unlink()
    ours.write_text("a file")
    assert compiled.cache_folder().stat().st_mode & 0o077 == 0


def test_threads_start_without_a_word_to_torch(tmp_path):
    """numba's first use of its threads sets torch, which shares its OpenMP library, back to all cores."""
    code = (
        "import torch; torch.set_num_threads(1); from greenlab.core import compiled; compiled.start_threads(); "
        "print(torch.get_num_threads()); compiled.set_threads(1); import numba; "
        "print(torch.get_num_threads(), numba.get_num_threads(), compiled.threads_lost())"
    )
    assert run(code, tmp_path) == ["1", "1", "1", "False"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_knows_that_it_has_no_threads(tmp_path):
    code = (
        "import os; from greenlab.core import compiled; print(compiled.threads_lost(), flush=True); "
        "compiled.start_threads(); "
        "pid = os.fork(); os.waitpid(pid, 0) if pid else None; print(compiled.threads_lost(), flush=True)"
    )
    assert run(code, tmp_path) == ["False", "True", "False"]  # before, in the child, in the parent


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: compiled.njit(3), TypeError, "function=3 is int: give a Python function"),
        (lambda: compiled.njit(len, cache="no"), TypeError, "cache='no' is str"),
        (lambda: compiled.cfunc("int64(int64)", None), TypeError, "function=None is NoneType"),
        (lambda: compiled.set_threads(0), ValueError, "n=0: give a whole number at least 1"),
        (lambda: compiled.set_threads(1.0), TypeError, r"n=1\.0 is float"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
