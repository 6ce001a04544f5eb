"""The memory of a class: parsed right, told apart right, and measured in real processes."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlab.classroom import code_cells, memory_of, own_of, parse, run_class, study
from greenlab.classroom.load import NOTEBOOK
from greenlab.core import studies

linux = pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="/proc is Linux")
PAGES = 40 * 1024**2


def texts(rss=9, clean=1, dirty=2, anon=2, file=7, shmem=0):
    rollup = f"00400000-7fff [rollup]\nRss: {rss} kB\nPrivate_Clean:   {clean} kB\nPrivate_Dirty: {dirty} kB\n"
    return rollup, f"Name:\tpython\nRssAnon:\t{anon} kB\nRssFile: {file} kB\nRssShmem: {shmem} kB\n"


@given(*[st.integers(0, 2**40)] * 6)
def test_what_linux_writes_is_read(rss, clean, dirty, anon, file, shmem):
    found = parse(*texts(rss, clean, dirty, anon, file, shmem))
    assert (found.own_b, found.file_b, found.resident_b) == (1024 * (anon + shmem), 1024 * file, 1024 * rss)
    assert (found.private_b, found.dirty_b) == (1024 * (clean + dirty), 1024 * dirty)


@pytest.mark.parametrize(
    ("rollup", "status", "words"),
    [
        ("", texts()[1], "rollup lacks Rss"), (texts()[0], "", "status lacks RssAnon"),
        (texts(rss=-1)[0], texts()[1], "rollup says 'Rss: -1 kB'"), (texts(rss="nan")[0], texts()[1], "rollup says"),
        (texts()[0].replace("kB", "MB"), texts()[1], "a number of kB"), (None, "", "rollup"),
        (b"Rss: 1 kB", "", "rollup"),
    ],
)  # fmt: skip
def test_what_it_does_not_write_is_refused(rollup, status, words):
    with pytest.raises((ValueError, TypeError), match=words):
        parse(rollup, status)


CHILD = """
import mmap, sys
kind, path, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
if kind == "own":
    held = bytearray(b"x" * size)
else:
    file = open(path, "rb")
    held = mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    for start in range(0, size, mmap.PAGESIZE):
        held[start]
        if kind == "written":
            held[start] = 1
print("ready", flush=True)
sys.stdin.read()
"""


@linux
@pytest.mark.parametrize(
    ("kind", "grows", "stays"),
    [("own", "own_b", "file_b"), ("read", "file_b", "own_b"), ("written", "own_b", "file_b")],
)
def test_a_page_is_ones_own_when_it_was_written_and_a_files_when_it_was_read(tmp_path, kind, grows, stays):
    """The three kinds of pages, made in a process of their own."""
    path = tmp_path / "weights"
    path.write_bytes(b"w" * PAGES)
    found = []
    for size in (mmap.PAGESIZE, PAGES):
        command = [sys.executable, "-c", CHILD, kind, str(path), str(size)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "ready\n"
            found.append(memory_of(child.pid))
            assert abs(own_of(child.pid)[0] - found[-1].own_b) < 2**20
            child.stdin.close()
    small, large = found
    assert getattr(large, grows) - getattr(small, grows) == pytest.approx(PAGES, rel=0.1)
    assert abs(getattr(large, stays) - getattr(small, stays)) < 0.1 * PAGES


@linux
def test_a_process_that_is_not_there_is_an_error():
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    with pytest.raises(OSError, match=str(child.pid)):
        memory_of(child.pid)


@pytest.mark.parametrize("pid", [0, -1, True, None, "1", 1.0, float("nan")])
@pytest.mark.parametrize("call", [memory_of, own_of])
def test_what_is_no_process_is_refused(call, pid):
    with pytest.raises((ValueError, TypeError), match="pid"):
        call(pid)


def test_the_first_half_ends_with_the_first_real_cut():
    cells = code_cells()
    assert "layer_pruning.drop_layers(model" in cells[-1]
    assert not any("drop_layers(" in cell for cell in cells[:-1])
    assert any("load_smollm2()" in cell for cell in cells)
    assert code_cells(last=study.WHOLE)[: len(cells)] == cells
    assert len(code_cells(last=study.WHOLE)) > 2 * len(cells)


@pytest.mark.parametrize("last", ["no cell holds this", "", " ", None, 3])
def test_words_that_no_cell_holds_are_refused(last):
    with pytest.raises((ValueError, TypeError), match="last"):
        code_cells(last=last)


@pytest.mark.parametrize("notebook", [None, 3, NOTEBOOK.with_name("99.ipynb")])
def test_what_is_no_notebook_is_refused(notebook):
    with pytest.raises((ValueError, TypeError), match="notebook="):
        code_cells(notebook)


BAD = {
    "n_kernels": [0, -1, 201, True, 1.5, "2", None], "threads": [0, True, "1"], "cells": [[], [3], "print(1)", None],
    "samples_per_s": [0, -1, float("nan"), float("inf"), "10"], "timeout_s": [0, -1, float("nan"), None],
    "servers": [1, None],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_an_impossible_class_is_refused_by_name(name, value):
    given = {"n_kernels": 1, "cells": ["pass"]} | {name: value}
    with pytest.raises((ValueError, TypeError), match=name):
        run_class(given.pop("n_kernels"), given.pop("cells"), **given)


@linux
def test_kernels_side_by_side_are_looked_at_until_the_last_has_finished():
    cells = ["import time; held = b'x' * 60_000_000; time.sleep(1.5)", "del held; time.sleep(0.5)"]
    found = run_class(2, cells, samples_per_s=20)
    empty = run_class(1, ["pass"])["learners"][0].kernel["own_b"]
    assert len(found["learners"]) == 2
    for learner in found["learners"]:  # the peak was before the end
        assert learner.kernel["own_b"] - empty == pytest.approx(60e6, rel=0.15)
        assert learner.time_s > 1
        assert learner.server == {}
    assert found["together_b"] > 2 * 60e6
    assert found["samples"] >= 5


@linux
def test_a_cell_that_fails_is_named_and_nobody_waits_for_the_others():
    import time

    begun = time.monotonic()
    cells = [
        "import os, time",
        "if os.environ['GREENLAB_STATE'].endswith('0/state'): raise KeyError('nothing')",
        "time.sleep(300)",
    ]
    with pytest.raises(RuntimeError, match=r"cell 2 failed \(KeyError: 'nothing'\)"):
        run_class(2, cells)
    assert time.monotonic() - begun < 200  # a promise about waiting: the other kernel would have slept for 300


@linux
def test_a_kernel_that_is_killed_is_said():
    with pytest.raises(RuntimeError, match=r"ended early|died"):
        run_class(1, ["import os, signal; os.kill(os.getpid(), signal.SIGKILL)"], timeout_s=60)


# The committed study --------------------------------------------------------------------------------------------------


def test_the_figures_follow_from_the_tables():
    found = study.load()
    whole = found["whole"].query("process == 'kernel'")["own_mb"].max()
    again = study.figures(found["processes"], found["totals"], whole)
    pd.testing.assert_frame_equal(again, found["figures"], rtol=1e-4)


def test_a_kernel_is_within_the_mark_and_thirty_learners_fit():
    figure = study.load("figures")["figures"].set_index("name")["value"]
    assert figure["own"] <= study.MARK_MB == figure["mark"]
    assert figure["fit"] >= 30
    assert figure["fit"] * figure["learner"] + figure["file"] + study.RESERVE_MB <= 16 * 1024**3 / 1e6


def test_the_study_looked_often_enough_and_at_every_learner():
    found = study.load("processes", "totals")
    assert (found["totals"]["samples_per_s"] >= 5).all()
    assert list(found["totals"]["kernels"]) == list(study.Config().kernels)
    for process in ("kernel", "server"):
        assert found["processes"].query(f"process == '{process}'").groupby("kernels").size().to_dict() == {
            1: 1,
            2: 2,
            4: 4,
        }


def test_the_weights_are_in_the_shared_part():
    """Three hundred thousand pages of weights are mapped, and no kernel has a copy: it would be above the mark."""
    rows = study.load("processes")["processes"].query("process == 'kernel'")
    weights_mb = (studies.ROOT / "data/assets/smollm2/model.safetensors").stat().st_size / 1e6
    assert (rows["file_mb"] > 0.9 * weights_mb).all()
    assert (rows["own_mb"] < weights_mb).all()


@pytest.mark.parametrize(
    ("given", "learners"),
    [((500, 0, 15_000, 0), 30), ((500, 1, 15_000, 0), 29), ((500, 0, 0, 0), 0), ((1e9, 0, 1, 0), 0)],
)
def test_learners_that_fit_by_hand(given, learners):
    assert study.learners_that_fit(*given) == learners


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "500", None, True])
def test_a_learner_without_memory_is_refused(value):
    with pytest.raises((ValueError, TypeError), match="own_mb"):
        study.learners_that_fit(value, 0)


@pytest.mark.parametrize("kernels", [(), (2, 1), (1, 1), (0,), (True,), ("2",), (1.5,), 3])
def test_a_class_of_no_size_is_refused(kernels):
    with pytest.raises((ValueError, TypeError), match="kernels"):
        study.Config(kernels=kernels)


@pytest.mark.parametrize(
    "arguments", [["--kernels", "0"], ["--threads", "0"], ["--samples-per-s", "nan"], ["--timeout", "-1"]]
)
def test_the_command_refuses_in_one_line(arguments, capsys):
    assert study.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("greenlab: ")
    assert said.count("\n") == 1


@linux
def test_the_command_prints_the_peaks(monkeypatch, capsys):
    monkeypatch.setattr(study, "code_cells", lambda **_: ["held = bytearray(b'x' * 10_000_000)"])
    assert study.main(["--kernels", "1", "--no-servers"]) == 0
    said = capsys.readouterr().out
    assert "within the mark of 450 MB" in said
    assert "kernel" in said


def test_a_kernel_above_the_mark_is_said_and_gives_an_exit_code(monkeypatch, capsys):
    row = dict.fromkeys(study.COLUMNS, 1.0) | {"kernels": 1, "learner": 1, "process": "kernel", "own_mb": 451.0}
    total = dict.fromkeys(study.TOTALS, 1.0) | {"kernels": 1}
    monkeypatch.setattr(study, "measure_size", lambda n, config: {"processes": [row], "total": total})
    assert study.main(["--kernels", "1"]) == 1
    assert "ABOVE the mark" in capsys.readouterr().out
