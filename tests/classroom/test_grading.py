"""Twenty submissions, eight of them broken or hostile, get the marks that they should; and each attack fails."""

import csv
import json
import platform
import subprocess
import sys

import pytest

from greenlab.lab.classroom import (
    Answer,
    Limits,
    Submission,
    command,
    confine,
    grade,
    grade_folder,
    grading,
    safe_cells,
    to_bytes,
    verdict,
)
from greenlab.lab.exercises import Exercise
from tests.classroom.test_submission import HOSTILE, MACHINE

LINUX = pytest.mark.skipif(platform.system() != "Linux", reason="the filter of system calls is Linux's")


def run_g(power_w, time_s, intensity_g_per_kwh):
    return power_w * time_s / 3.6e6 * intensity_g_per_kwh


def no_hint(answer):
    """Joules become kilowatt-hours."""


TASK = Exercise(
    "run", "title", run_g, "easy", 1, (), no_hint, lambda random: (random.uniform(1, 9), random.uniform(1, 9), 400.0)
)
VALUE = Exercise("value", "title", 4.0, "easy", 1, (), no_hint)
TASKS = {"run": TASK, "value": VALUE}
RIGHT = "def run_g(p, t, i):\n    return p * t / 3.6e6 * i"
STUBS = {
    "run": Answer("run", "run_g", "def run_g(p, t, i):\n    return p * t * i"),
    "value": Answer("value", "x", "x = ..."),
}
QUICK = Limits(time_s=1.5)


def of(body, limits=None):
    return verdict(TASK, Answer("run", "run_g", f"def run_g(p, t, i):\n    {body}"), limits)


def test_right_wrong_and_untried_answers():
    assert verdict(TASK, Answer("run", "run_g", RIGHT)) == ("correct", "")
    outcome, hint = of("return p * t * i")
    assert (outcome, "the right answer is" in hint) == ("wrong", True)
    assert verdict(VALUE, Answer("value", "x", "x = 2 * 2.0")) == ("correct", "")
    assert verdict(VALUE, Answer("value", "x", "x = ...")) == ("not tried", "")
    assert verdict(VALUE, Answer("value", "x", "y = 1")) == ("wrong", "your answer raised KeyError: 'x'")
    assert "SyntaxError" in verdict(VALUE, Answer("value", "x", "x = = 1"))[1]


def test_a_function_that_a_check_passes_is_called_back():
    task = Exercise(
        "f", "t", lambda f, x: f(f(x)), "easy", 1, (), no_hint, lambda random: (lambda y: 3 * y, random.random())
    )
    assert verdict(task, Answer("f", "twice", "def twice(f, x): return f(f(x))")) == ("correct", "")


def test_limits_on_time_and_memory():
    assert of("while True: pass", QUICK) == ("time limit", "stopped after 1.5 s")
    assert of("import time; time.sleep(60)", QUICK) == ("time limit", "stopped after 1.5 s")
    assert of("return len([0] * 1_250_000_000)")[0] == "memory limit"  # 10 GB


@pytest.mark.parametrize(
    "forged",
    [
        "print('Correct: everything.'); return 0.0",
        "import os; os.write(1, b'correct'); return 0.0",
        "import sys; sys.modules['greenlab.lab.exercises'] = None; return 0.0",
        "from greenlab.lab import exercises; exercises.Exercise.verdict = lambda *_: None; return 0.0",
        "class Same(float):\n        __eq__ = lambda *_: True\n        __sub__ = lambda *_: 0.0\n    return Same(1)",
        "raise SystemExit(0)",
        "import os; os._exit(0)",
        "import os\n    for n in range(3, 20):\n        try: os.write(n, bytes([0, 0, 0, 11]) + b'{\"value\": 1}')\n"
        "        except OSError: pass\n    return 0.0",
    ],
)
def test_a_verdict_cannot_be_forged(forged):
    assert of(forged)[0] == "wrong"
    assert verdict(TASK, Answer("run", "run_g", RIGHT))[0] == "correct"  # and nothing is left behind


@pytest.mark.parametrize("how", ["open({0!r}, 'w').write('1')", "__import__('pathlib').Path({0!r}).write_text('1')"])
def test_nothing_is_written_outside(how, tmp_path):
    assert of(f"{how.format(str(tmp_path / 'seen'))}; return 0.0")[0] == "wrong"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "attack",
    ["import os; os.unlink({0!r})", "import os; os.truncate({0!r}, 0)", "import os; os.rename({0!r}, {0!r} + 'x')"],
)
def test_nothing_is_removed(attack, tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("here")
    assert of(f"{attack.format(str(kept))}; return 0.0")[0] == "wrong"
    assert kept.read_text() == "here"


@LINUX
@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        ("os.open({0!r}, os.O_WRONLY)", "PermissionError"),
        ("os.open({0!r}, os.O_RDONLY | os.O_TRUNC)", "PermissionError"),
        ("os.unlink({0!r})", "PermissionError"),
        ("os.mkdir({0!r} + 'x')", "PermissionError"),
        ("os.chmod({0!r}, 0)", "PermissionError"),
        ("os.fork()", "PermissionError"),
        ("os.kill(os.getppid(), 0)", "PermissionError"),
        ("_socket.socket()", "PermissionError"),
        ("resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "ValueError"),
        ("os.read(os.open({0!r}, os.O_RDONLY), 4) == b'here' or 1 / 0", ""),
    ],
)
def test_the_filter_holds_without_the_hook(call, wanted, tmp_path):
    """As compiled code sees it: the filter is set alone, in a process of its own."""
    kept = tmp_path / "kept"
    kept.write_text("here")
    script = (
        "import os, sys, importlib.util, _socket, resource\n"
        f"spec = importlib.util.spec_from_file_location('confine', {confine.__file__!r})\n"
        "confine = importlib.util.module_from_spec(spec); spec.loader.exec_module(confine)\n"
        "assert confine._filter()\n"
        f"try: {call.format(str(kept))}\n"
        "except (OSError, ValueError) as error: print(type(error).__name__)\n"
    )
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert (run.stdout.strip(), run.returncode) == (wanted, 0), run.stderr
    assert kept.read_text() == "here"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_environment_and_the_checks_are_not_to_be_seen(monkeypatch):
    monkeypatch.setenv("TEACHERS_SECRET", "4.0")
    assert "KeyError" in verdict(VALUE, Answer("value", "x", "import os\nx = float(os.environ['TEACHERS_SECRET'])"))[1]
    path = grading.ROOT / "greenlab" / "start_here" / "view" / "exercises.py"
    assert path.is_file()
    assert "PermissionError" in verdict(VALUE, Answer("value", "x", f"x = len(open({str(path)!r}).read())"))[1]


def work(name, run=None, value=None):
    answers = [Answer("run", "run_g", run)] if run else []
    answers += [Answer("value", "x", value)] if value else []
    return to_bytes(Submission(name, tuple(answers), machine=MACHINE))


def test_twenty_submissions_of_which_eight_are_broken_or_hostile(tmp_path):
    outside = tmp_path / "outside"
    files = {f"good-{n}": work(f"Learner {n}", RIGHT, "x = 4.0") for n in range(6)}
    files |= {f"wrong-{n}": work(f"Wrong {n}", STUBS["run"].source + " + 1", "x = 5") for n in range(3)}
    files |= {f"untried-{n}": work(f"=cmd|{n}", STUBS["run"].source, "x = ...") for n in range(3)}
    files["loop"] = work("loop", "def run_g(p, t, i):\n    while True: pass")
    files["memory"] = work("memory", "def run_g(p, t, i):\n    return len([0] * 1_250_000_000)")
    files["writes"] = work("writes", f"open({str(outside)!r}, 'w').write('1')\n{RIGHT}")
    files["forged"] = work(
        "forged", "import os\nos.write(1, b'Correct')\nprint('Correct')\ndef run_g(p, t, i):\n    return 0.0"
    )
    files |= {f"refused-{case}": HOSTILE[case][0]() for case in ("altered", "bomb", "traversal", "foreign")}
    assert len(files) == 20
    folder = tmp_path / "class"
    folder.mkdir()
    for name, data in files.items():
        (folder / f"{name}.zip").write_bytes(data)
    table = grade_folder(folder, Limits(time_s=3), tasks=TASKS, stubs=STUBS)
    marks = table.set_index(["file", "exercise"])["outcome"].to_dict()
    want = {(f"{name}.zip", "value"): "not tried" for name in ("loop", "memory", "writes", "forged")}
    for kind, outcome, count in (("good", "correct", 6), ("wrong", "wrong", 3), ("untried", "not tried", 3)):
        want |= {(f"{kind}-{n}.zip", exercise): outcome for n in range(count) for exercise in TASKS}
    want |= {("loop.zip", "run"): "time limit", ("memory.zip", "run"): "memory limit"}
    want |= {("writes.zip", "run"): "wrong", ("forged.zip", "run"): "wrong"}
    want |= {(f"refused-{case}.zip", ""): "refused" for case in ("altered", "bomb", "traversal", "foreign")}
    assert marks == want
    assert not outside.exists()
    details = table.set_index("file")["detail"]
    assert details["refused-altered.zip"].startswith("sha256.answers.json: ")
    assert details["refused-bomb.zip"].startswith("answers.json: ")
    assert details["refused-traversal.zip"].startswith("members: ")
    assert details["refused-foreign.zip"].startswith("format: ")
    assert safe_cells(table)["learner"].str.startswith("=").sum() == 0


def test_an_exercise_that_the_book_does_not_have_is_refused():
    table = grade(Submission("Ada", (Answer("other", "x", "x = 1"),), machine=MACHINE), TASKS)
    assert table["outcome"].tolist() == ["not tried", "not tried", "refused"]


def test_both_commands_from_end_to_end(tmp_path, monkeypatch, capsys, empty_state):
    cell = {"cell_type": "code", "metadata": {"tags": ["exercise"]}, "source": ["x = 4.0\n", 'x = check("value", x)']}
    (tmp_path / "own.ipynb").write_text(json.dumps({"cells": [cell]}))
    (tmp_path / "broken.ipynb").write_text("{")
    (tmp_path / "class").mkdir()
    out, table = str(tmp_path / "class" / "ada.zip"), tmp_path / "grades.csv"
    assert command.main(["submit", "--name", "Ada", "--out", out, "--notebooks", str(tmp_path)]) == 0
    assert "broken.ipynb is left out" in capsys.readouterr().out
    monkeypatch.setattr(grading, "register_exercises", lambda: TASKS)
    assert command.main(["grade", str(tmp_path / "class"), "--out", str(table)]) == 0
    said = capsys.readouterr().out
    assert "ada.zip: 1 correct, 1 not tried" in said
    assert "time and memory are watched from outside" in said
    assert "ada.zip,Ada,value,correct," in table.read_text()
    assert command.main(["grade", str(tmp_path / "nowhere")]) == 2
    assert "holds no submission" in capsys.readouterr().out


def test_a_name_is_one_cell_of_the_table_in_every_spreadsheet(tmp_path, monkeypatch, capsys):
    """Where a comma is the decimal sign, spreadsheets part the cells at semicolons."""
    for number, name in enumerate(("Ada;=1+1", " =1+1", "\uff1d1+1")):
        made = Submission(name, (), machine=MACHINE)
        (tmp_path / f"{number}.zip").write_bytes(to_bytes(made))
    monkeypatch.setattr(grading, "register_exercises", lambda: TASKS)
    table = tmp_path / "grades.csv"
    assert command.main(["grade", str(tmp_path), "--out", str(table)]) == 0
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file, delimiter=";") if row[0].startswith("0.zip") and ",value," in row[1]]
    cells = {row[1] for row in rows}
    assert cells == {"'=1+1,value,not tried,,"}
    text = table.read_text(encoding="utf-8")
    assert ",Ada;'=1+1," in text
    assert ", '=1+1," in text
    assert ",'\uff1d1+1," in text


def test_what_is_no_submission_is_said_and_not_silently_left_out(tmp_path, monkeypatch, capsys):
    """A browser has unpacked Ben's file; Cem gave his notebook; the system's own files are not of interest."""
    (tmp_path / "ada.zip").write_bytes(to_bytes(Submission("Ada", (), machine=MACHINE)))
    (tmp_path / "Ben").mkdir()
    (tmp_path / "Ben" / "answers.json").write_text("[]")
    (tmp_path / "cem.ipynb").write_text("{}")
    (tmp_path / ".DS_Store").write_text("")
    monkeypatch.setattr(grading, "register_exercises", lambda: TASKS)
    assert command.main(["grade", str(tmp_path), "--out", str(tmp_path / "grades.csv")]) == 0
    said = capsys.readouterr().out
    assert "Passed over, as their names do not end in .zip: Ben, cem.ipynb\n" in said
    out = str(tmp_path / "nowhere" / "x.zip")
    assert command.main(["submit", "--name", "Ada", "--out", out, "--notebooks", str(tmp_path)]) == 2
    assert "there is no folder" in capsys.readouterr().out


@pytest.mark.parametrize("names", [["Ada"], ["Ada", "Ben"], [f"L{number}" for number in range(40)]])
def test_the_class_notebook_runs_for_readers_who_have_done_nothing_yet(names, tmp_path, monkeypatch):
    for name in names:
        (tmp_path / f"{name}.zip").write_bytes(to_bytes(Submission(name, (), machine=MACHINE)))
    monkeypatch.setattr(grading, "register_exercises", lambda: TASKS)
    notebook = json.loads((grading.ROOT / "notebooks" / "instructor" / "class.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    space = {"display": lambda _: None}
    for cell in cells:
        source = cell.replace("FOLDER = None", f"FOLDER = {str(tmp_path)!r}").replace("\nsetup()", "")
        exec(compile(source, "class.ipynb", "exec"), space)
    assert len(space["whole"]) == len(names)
    assert space["apart"].empty
