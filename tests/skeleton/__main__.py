"""Write the skeleton of a chapter: ``python -m tests.skeleton retrieval``, or ``make chapter NAME=retrieval``.

Package, tests, study and notebook are made from ``template/`` and ``notebook.py``. The study is run and the notebook is
executed, so everything is green from the start. Nothing that exists is overwritten.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

from greenlab.core.chapters import CHAPTERS, Chapter
from greenlab.core.machine import ROOT
from greenlab.core.names import unknown

TEMPLATE = Path(__file__).parent / "template"


def begun(chapter: Chapter) -> list[Path]:
    """What there is of a chapter already."""
    places = [Path("greenlab") / chapter.name, Path("tests") / chapter.name, Path("notebooks") / chapter.notebook]
    places.append(Path("data/studies") / chapter.name)
    return [place for place in places if (ROOT / place).exists()]


def find(name: str) -> Chapter:
    """Return the chapter of a name that nobody has begun.

    Raises:
        ValueError: if there is no such chapter in ``greenlab.core.chapters``, or it has been begun.
    """
    free = [chapter.name for chapter in CHAPTERS if not begun(chapter)]
    for chapter in CHAPTERS:
        if chapter.name == name:
            if there := begun(chapter):
                places = ", ".join(place.as_posix() for place in there)
                raise ValueError(
                    f"NAME={name}: this chapter has been begun ({places}), and nothing is overwritten; "
                    f"not begun yet: {', '.join(free) or 'none'}"
                )
            return chapter
    raise unknown("chapter", name, free, "chapters are registered in greenlab/core/chapters.py, and there only")


def write(chapter: Chapter) -> list[Path]:
    """Write package, tests and notebook, run the study, execute the notebook; return the files that were made."""
    from tests.skeleton import notebook

    targets = {"package": ROOT / "greenlab" / chapter.name, "tests": ROOT / "tests" / chapter.name}
    made = []
    for path in sorted(TEMPLATE.rglob("*.txt")):
        kind, *rest = path.relative_to(TEMPLATE).parts
        target = targets[kind].joinpath(*rest).with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(notebook.fill(path.read_text(encoding="utf-8"), chapter), encoding="utf-8")
        made.append(target)
    folders = [str(folder) for folder in targets.values()]
    subprocess.run([sys.executable, "-m", "ruff", "check", "--fix", "--quiet", *folders], cwd=ROOT, check=True)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", *folders], cwd=ROOT, check=True)
    importlib.invalidate_caches()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    subprocess.run([sys.executable, "-m", f"greenlab.{chapter.name}.study"], cwd=ROOT, check=True, env=environment)
    os.environ["PYTHONPATH"] = environment["PYTHONPATH"]  # for the notebook's kernel
    import nbformat

    target = ROOT / "notebooks" / chapter.notebook
    executed = notebook.execute(notebook.notebook(chapter))
    target.write_text(nbformat.writes(executed) + "\n", encoding="utf-8")
    return [*made, target]


def main() -> int:
    """Write the skeleton of the chapter that is named; the exit code is 1 if the name is refused."""
    try:
        chapter = find(sys.argv[1] if len(sys.argv) == 2 else "")
    except ValueError as error:
        print(f"greenlab: {error}", file=sys.stderr)
        return 1
    for path in write(chapter):
        print(path.relative_to(ROOT).as_posix())
    print(f"next: pytest tests/{chapter.name}, then write the chapter and its line in README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
