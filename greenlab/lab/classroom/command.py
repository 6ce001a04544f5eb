"""``python -m greenlab submit`` and ``python -m greenlab grade FOLDER``."""

from __future__ import annotations

import argparse
import getpass
import os
import tempfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from greenlab.core import checks
from greenlab.lab.classroom import folder, grading, printable, submission
from greenlab.lab.classroom.process import Limits


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m greenlab", description="Hand in a reader's work, or check a class's."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    submit = commands.add_parser(
        "submit", help="pack predictions, receipts, ledger, answers and the machine into one file"
    )
    submit.add_argument("--out", default="", help="the file to write; by default submission-NAME.zip")
    submit.add_argument("--name", default="", help="your name or a pseudonym; by default your user name")
    submit.add_argument("--notebooks", default=None, help="folder of the notebooks; by default the book's own")
    grade = commands.add_parser("grade", help="check every submission of a folder")
    grade.add_argument("folder", help="holds the .zip files of a class")
    grade.add_argument("--out", default="grades.csv", help="the table to write; by default grades.csv")
    grade.add_argument("--seconds", type=float, default=Limits.time_s, help="for one answer; by default 10")
    grade.add_argument("--megabytes", type=int, default=1000, help="for one answer; by default 1000")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run one of the two commands.

    Args:
        arguments: the words of the command line behind ``python -m greenlab``.

    Returns:
        0 if it was done, 2 if an argument or a file does not fit; then one line says what to do.

    Raises:
        TypeError: if the arguments are no list of texts.
    """
    words = [checks.text("arguments", word) for word in checks.several("arguments", arguments)]
    chosen = _parser().parse_args(words)
    try:
        return _submit(chosen) if chosen.command == "submit" else _grade(chosen)
    except (ValueError, TypeError) as error:
        print(f"greenlab {chosen.command}: {error}")
    except OSError as error:
        print(f"greenlab {chosen.command}: {error.filename or 'a file'} cannot be used ({error.strerror or error})")
    return 2


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        raise ValueError("name: this system has no user name; give one with --name") from None


def _submit(chosen: argparse.Namespace) -> int:
    name = chosen.name or _user()
    given, passed = submission.collect(name, chosen.notebooks)
    # letters of all alphabets: where they were left out, two names of another alphabet gave one file
    plain = "".join(letter if letter.isalnum() else "-" for letter in unicodedata.normalize("NFC", name))[:40]
    path = Path(chosen.out or f"submission-{plain}.zip")
    if not path.parent.is_dir():
        raise ValueError(f"out={chosen.out!r}: there is no folder {path.parent}; make it first")
    _replace(path, submission.to_bytes(given))
    for line in passed:
        print(line)
    counts = f"{len(given.answers)} answers, {len(given.predictions)} predictions, {len(given.ledger)} ledger entries"
    machine = f"{given.machine['processor']}, {given.machine['cores']} cores"
    print(f"{path}: {counts}, {len(given.receipts)} receipts, and this machine ({machine})")
    print("Notebooks count as they were last saved. Give this file to your teacher; open it with any zip program.")
    return 0


def _grade(chosen: argparse.Namespace) -> int:
    limits = Limits(chosen.seconds, chosen.megabytes * 1_000_000)
    out = Path(chosen.out)
    if not out.parent.is_dir():  # said before an hour of checking, not after it
        raise ValueError(f"out={chosen.out!r}: there is no folder {out.parent}; make it first")
    folder.paths_of(chosen.folder)
    print("What holds an answer here:")
    for line in grading.containment():
        print(f"- {line}")
    if others := folder.passed_over(chosen.folder):
        shown = ", ".join(printable.one_line(name)[:80] for name in others[:10])
        more = f" and {len(others) - 10} more" if len(others) > 10 else ""
        print(f"Passed over, as their names do not end in .zip: {shown}{more}")
    table = grading.grade_folder(chosen.folder, limits, say=print)
    _replace(out, printable.safe_cells(table).to_csv(index=False).encode("utf-8", "replace"))
    print(f"{out}: {len(table)} rows for {table['file'].nunique()} files")
    return 0


def _replace(path: Path, data: bytes) -> None:
    """Write a file in one step: a full disk leaves the old one as it was."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
