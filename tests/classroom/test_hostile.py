"""What an answer tries, with torch loaded: it gets the mark that it should, and nothing else of it works.

``judge`` is what ``grade_folder`` does with each answer. Where the system has a prepared parent, the answers run in
copies of it, as those of a class do; a few run in processes that are started anew, too.
"""

import json
import os
import platform
import signal
import subprocess
import sys

import psutil
import pytest

from greenlab.lab.classroom import Answer, Limits, confine, grading, launch, wire
from greenlab.lab.exercises import Exercise
from tests.classroom.test_grading import TASK, VALUE

LINUX = pytest.mark.skipif(platform.system() != "Linux", reason="the filters of system calls and of files are Linux's")
QUICK = Limits(time_s=2.0)


def total(values):
    return values.sum()


def no_hint(answer):
    """The values are added."""


def draw(random):
    import torch

    return (torch.tensor([random.random(), 2.0]),)


TENSORS = Exercise("total", "title", total, "easy", 1, (), no_hint, draw)


def judged_by(starter):
    """Judges an answer to TENSORS; gives its outcome and its detail."""

    def judged(body, limits=None, before=""):
        source = f"import torch\n{before}\ndef total(values):\n    {body}"
        return grading._judge(TENSORS, Answer("total", "total", source), limits or Limits(), starter)[:2]

    return judged


@pytest.fixture(scope="module")
def judge():
    with launch.Starter() as starter:
        yield judged_by(starter)
        assert (starter.parent is not None) == confine.can_filter()


@pytest.mark.parametrize(
    ("attack", "outcome"),
    [
        ("return values.sum()", "correct"),
        ("while True: torch.ones(300, 300) @ torch.ones(300, 300)", "time limit"),
        ("torch.ones(2_500_000_000); return values.sum()", "memory limit"),
    ],
)
def test_a_process_that_was_started_anew_holds_torch_too(attack, outcome):
    assert judged_by(None)(attack, QUICK if outcome == "time limit" else None)[0] == outcome


@pytest.mark.parametrize(
    ("attack", "outcome"),
    [
        ("while True: values = values + 0.0", "time limit"),
        ("while True: torch.ones(300, 300) @ torch.ones(300, 300)", "time limit"),
        ("import time; time.sleep(1e6)", "time limit"),
        ("import threading; threading.Event().wait()", "time limit"),
        ("import os\n    while True: os.write(1, b'x' * 65536)", "time limit"),
        ("while True: print('x' * 100_000)", "time limit"),
        ("torch.ones(2_500_000_000); return values.sum()", "memory limit"),
        ("kept = [torch.empty(25_000_000) for _ in range(100)]; return values.sum()", "memory limit"),
        ("return torch.zeros(2_000_000)", "wrong"),
        ("import sys; sys.exit()", "wrong"),
        ("import os; os._exit(0)", "wrong"),
        ("import os; os.abort()", "wrong"),
        ("import os; os.closerange(3, 99)\n    while True: pass", "wrong"),
        ("import os; os.fork(); return values.sum()", "wrong"),
        ("import os\n    while True: os.fork()", "wrong"),
        ("import multiprocessing as m; m.Process(target=print).start(); return values.sum()", "wrong"),
        ("import subprocess; subprocess.run(['true']); return values.sum()", "wrong"),
        ("import os; os.kill(os.getppid(), 9); return values.sum()", "wrong"),
        ("import os; os.killpg(0, 9); return values.sum()", "wrong"),
        ("import socket; socket.create_connection(('127.0.0.1', 80)); return values.sum()", "wrong"),
        ("import tempfile; tempfile.TemporaryFile().write(b'1'); return values.sum()", "wrong"),
        ("open('here', 'w').write('1'); return values.sum()", "wrong"),
        ("torch.save(values, 'here'); return values.sum()", "wrong"),
        ("import os, shutil; shutil.rmtree(os.getcwd()); return values.sum()", "wrong"),
        ("import os; os.rmdir(os.getcwd()); return values.sum()", "wrong"),
        ("import os; os.chdir('/'); return values.sum()", "wrong"),
        ("return type('Same', (float,), {'__eq__': lambda *_: True, '__sub__': lambda *_: 0.0})(1)", "wrong"),
        ("return type('Same', (torch.Tensor,), {'__eq__': lambda *_: True})(1)", "wrong"),
        ("return float('nan')", "wrong"),
        ("return 10 ** 4000", "wrong"),
        ("return values.sum().new_full((), float('inf'))", "wrong"),
        ("from greenlab.lab import exercises; exercises.Exercise.verdict = lambda *_: None", "wrong"),
        ("f = lambda: f(); return f()", "wrong"),
        ("import ctypes; ctypes.string_at(0); return values.sum()", "wrong"),
    ],
)  # fmt: skip
def test_an_attack_gets_its_mark_and_the_next_answer_is_right(judge, attack, outcome):
    if "os.fork" in attack and not hasattr(os, "fork"):
        pytest.skip("no fork here")
    assert judge(attack, QUICK if outcome == "time limit" else None)[0] == outcome
    assert judge("return values.sum()") == ("correct", "")


@LINUX
@pytest.mark.parametrize("command", ["F_SETOWN", "F_SETSIG"])
def test_a_pipe_cannot_be_made_to_send_a_signal_to_another_process(command):
    """By the filter alone, as compiled code meets it: F_SETOWN with O_ASYNC would end the grader."""
    number = {"F_SETOWN": 8, "F_SETSIG": 10}[command]
    script = (
        "import fcntl, importlib.util, os\n"
        f"spec = importlib.util.spec_from_file_location('confine', {confine.__file__!r})\n"
        "confine = importlib.util.module_from_spec(spec); spec.loader.exec_module(confine)\n"
        "end, _ = os.pipe()\n"
        "assert confine._filter()\n"
        "print(fcntl.fcntl(end, fcntl.F_GETFL) >= 0)\n"
        f"try: print(fcntl.fcntl(end, {number}, {{'F_SETOWN': os.getppid(), 'F_SETSIG': 9}}[{command!r}]))\n"
        "except PermissionError: print('refused')\n"
    )
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["True", "refused"], run.stderr


def test_the_hook_does_not_let_the_process_s_own_folder_lead_elsewhere():
    """Also without Landlock: /proc/self/root is the whole disk."""
    hook = confine._make_hook(confine.readable(str(grading.ROOT)))
    for path in ("/proc/self/root/etc/passwd", "/proc/self/cwd/secret", f"/proc/{os.getpid()}/root/etc/passwd"):
        with pytest.raises(PermissionError, match="no other file"):
            hook("open", (path, "r", 0))


def test_a_signal_cannot_be_ignored_away_and_a_thread_does_not_survive(judge):
    before = (
        "import signal, threading\n"
        "for one in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "    try: signal.signal(one, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        "threading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()"
    )
    children = set(psutil.Process().children(recursive=True))
    assert judge("return values.sum()", before=before) == ("correct", "")
    assert judge("while True: pass", QUICK, before) == ("time limit", "stopped after 2 s")
    left = set(psutil.Process().children(recursive=True)) - children
    assert [one for one in left if "parent.py" not in " ".join(one.cmdline())] == []


def test_frames_that_an_answer_writes_are_values_and_no_verdict(judge):
    frames = [{"outcome": "correct"}, {"value": 1}, {"kind": "untried"}, {"ready": []}, {"call": 0, "arguments": []}]
    texts = [json.dumps(frame) for frame in frames]
    body = (
        "import os, struct\n"
        f"    for text in {texts!r}:\n"
        "        for n in range(3, 40):\n"
        "            try: os.write(n, struct.pack('>I', len(text)) + text.encode())\n"
        "            except OSError: pass\n"
        "    return 0.0"
    )
    assert judge(body)[0] == "wrong"
    assert judge(body.replace("return 0.0", "os.write(4, b'x' * 100)\n    return 0.0"))[0] == "wrong"


@pytest.mark.parametrize("place", ["home", "class", "environment"])
def test_the_teacher_s_files_are_not_read(judge, place, tmp_path, monkeypatch):
    secret = tmp_path / "secret.txt"
    secret.write_text("the marks")
    monkeypatch.setenv("TEACHERS_SECRET", "the marks")
    path = {"home": str(secret), "class": os.path.relpath(secret), "environment": f"/proc/{os.getpid()}/environ"}[place]
    assert "PermissionError" in judge(f"raise ValueError(open({path!r}).read())")[1]
    if place == "home":
        assert "PermissionError" in judge(f"import os; raise ValueError(str(os.listdir({str(tmp_path)!r})))")[1]


@LINUX
def test_compiled_code_does_not_read_the_teacher_s_files_either(judge, tmp_path):
    """torch opens a file by its own code, which no hook of Python sees."""
    secret = tmp_path / "secret.pt"
    secret.write_bytes(b"the marks!!!")
    reader = f"torch.from_file({str(secret)!r}, size=3, dtype=torch.int32)"
    assert subprocess.run([sys.executable, "-c", f"import torch; {reader}"], check=False).returncode == 0
    outcome, detail = judge(f"raise ValueError(str({reader}))")
    assert (outcome, "unable to open file" in detail.lower()) == ("wrong", True)


PATCHES = {
    "builtins": "import builtins\nbuiltins.isinstance = lambda *_: False\n"
    "builtins.str = builtins.bytes = builtins.set = list",
    "os": "import os\nos.fsdecode = os.getcwd = os.path.realpath = os.path.abspath = lambda *_: '/usr'",
    "globals": "import sys\nframe = sys._getframe()\nwhile frame:\n    for one in list(frame.f_locals.values()):\n"
    "        if hasattr(one, '_REFUSED'): one._REFUSED, one._HIDDEN, one._HIDDEN_FILES = (), None, None\n"
    "    frame = frame.f_back",
    "traceback": "try: open('/etc/passwd')\nexcept OSError as error: step = error.__traceback__.tb_next\n"
    "while step:\n    step.tb_frame.f_globals.update(_REFUSED=(), _HIDDEN_FILES=None)\n"
    "    step.tb_frame.f_locals.update(roots=('/',), refused=())\n    step = step.tb_next",
    "lying text": "class Path(str):\n    __str__ = lambda self: '/usr'\n    startswith = lambda *_: True\n"
    "    encode = lambda *_: b'/usr/x'\nreal_open = open\nopen = lambda path: real_open(Path(path))",
}


@pytest.mark.parametrize("patch", PATCHES)
def test_the_hook_holds_against_an_answer_that_changes_python(patch, tmp_path):
    """Without the other layers, as on systems that have none."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the marks")
    script = (
        "import importlib.util, os, sys\n"
        f"spec = importlib.util.spec_from_file_location('confine', {confine.__file__!r})\n"
        "confine = importlib.util.module_from_spec(spec); spec.loader.exec_module(confine)\n"
        "confine._filter = confine._landlock = lambda *_: False\n"
        f"print(*confine.confine(60, 10**10, {str(grading.ROOT)!r}), flush=True)\n"
        f"{PATCHES[patch]}\n"
        f"try: print(open({str(secret)!r}).read())\n"
        "except PermissionError as error: print('refused')\n"
    )
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert run.stdout.split()[-2:] == ["hook", "refused"], run.stderr


SIMULATED = """
import os, platform, sys
platform.system = lambda: {system!r}
if {system!r} == "Windows": sys.modules["resource"] = None
sys.path.insert(0, {folder!r})
import runner
runner.main(sys.argv[1])
"""


@pytest.fixture(params=["Windows", "Darwin"])
def other_system(request, tmp_path, monkeypatch):
    """A grader whose answers' processes take this system for another one."""
    monkeypatch.setattr(platform, "system", lambda: request.param)
    folder = tmp_path / "code"
    folder.mkdir()
    for name in ("runner", "wire", "confine"):
        (folder / f"{name}.py").write_text((launch.HERE / f"{name}.py").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "start").mkdir()
    (folder / "start" / "runner.py").write_text(SIMULATED.format(system=request.param, folder=str(folder)))
    monkeypatch.setattr(launch, "HERE", folder / "start")
    return request.param


def test_what_cannot_be_held_elsewhere_is_said_and_the_rest_holds(other_system, tmp_path):
    said = grading.containment()
    held = {"Windows": ["hook"], "Darwin": ["limits", "hook"]}[other_system]
    assert [line.split(":")[0] for line in said if line.split(":")[0] in confine.WORDS] == sorted(
        held, key=list(confine.WORDS).index
    )
    missing = [layer for layer in confine.NOT_HELD if layer not in held]
    assert [line.split(" ")[1] for line in said if line.startswith("no ")] == missing
    assert said[-1] == "grade files of strangers on Linux, or in a container"
    body = "def run_g(p, t, i):\n    {}\n    return p * t / 3.6e6 * i"
    with launch.Starter() as starter:
        assert not starter.allowed

        def judged(attack, limits=QUICK):
            return grading._judge(TASK, Answer("run", "run_g", body.format(attack)), limits, starter)

        assert judged("pass") == ("correct", "", ", ".join(held))
        assert judged("while True: pass")[0] == "time limit"
        assert judged("kept = [b'x' * 20_000_000 for _ in range(500)]", Limits(20, 50_000_000))[0] == "memory limit"
        writing = f"open({str(tmp_path / 'seen')!r}, 'w')"
        for attack in (writing, "__import__('subprocess').run(['true'])", "__import__('os')._exit(0)"):
            assert judged(attack)[0] == "wrong"
        assert "PermissionError" in judged(f"open({__file__!r})")[1]
    assert not (tmp_path / "seen").exists()


@LINUX
def test_a_program_that_holds_the_pipe_does_not_hold_the_grader(monkeypatch, tmp_path):
    """As on a system whose filter does not stop it: a child in a session of its own keeps the pipe open."""
    text = json.dumps({"ready": []})
    (tmp_path / "runner.py").write_text(
        "import os, sys, time\n"
        "if os.fork() == 0:\n    os.setsid()\n"
        f"    open({str(tmp_path / 'child')!r}, 'w').write(str(os.getpid()))\n    time.sleep(60)\n    os._exit(0)\n"
        f"os.write(1, ({len(text)}).to_bytes(4, 'big') + {text.encode()!r})\ntime.sleep(60)\n"
    )
    monkeypatch.setattr(launch, "HERE", tmp_path)
    judged = grading._judge(VALUE, Answer("value", "x", "x = 4.0"), Limits(time_s=1.0))
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)  # it was there all the time
    assert judged[:2] == ("time limit", "stopped after 1 s")


@LINUX
def test_the_prepared_parent_ends_with_its_grader_and_a_lost_one_is_replaced():
    answer = Answer("total", "total", "import torch\ndef total(values):\n    return values.sum()")
    with launch.Starter() as starter:
        assert grading._judge(TENSORS, answer, Limits(), starter)[:2] == ("correct", "")
        parent = starter.parent
        assert parent is not None
        os.killpg(parent.process.pid, signal.SIGKILL)
        parent.process.wait()
        assert grading._judge(TENSORS, answer, Limits(), starter)[:2] == ("correct", "")
        assert starter.parent is None
    with launch.Starter() as starter:
        assert grading._judge(TENSORS, answer, Limits(), starter)[:2] == ("correct", "")
        parent = starter.parent
        assert parent is not None
    assert parent.process.returncode == 0


@LINUX
def test_one_answer_leaves_nothing_to_the_next():
    patch = "torch.Tensor.sum = lambda self: 0.0\nmath.kept = 1\n"
    second = "import torch, math\ndef total(values):\n    return values.sum() if not hasattr(math, 'kept') else 0.0"
    first = second.replace("def", f"{patch}def")
    with launch.Starter() as starter:
        assert grading._judge(TENSORS, Answer("total", "total", first), Limits(), starter)[0] == "wrong"
        assert grading._judge(TENSORS, Answer("total", "total", second), Limits(), starter)[:2] == ("correct", "")


def test_what_a_made_up_frame_holds_is_refused():
    for made_up in (
        {"dict": [[{"list": []}, 1]]},
        {"array": ["float64", [-1], ""]},
        {"tensor": ["object", [1], "AA=="]},
    ):
        with pytest.raises(wire.WireError):
            wire.decode(made_up)
