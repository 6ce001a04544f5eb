"""What every study keeps: steps that survive an interruption, and a ``run.json`` that says how the tables were made.

A step is done again when its settings or its code have changed (`greenlab.core.provenance` says what counts as its
code), so no number outlives the code that made it. ``run.json`` holds for every step the hash of its code, the commit
and whether files differed from it, the date and the device.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from greenlab.core import checks
from greenlab.core.calls import checked_work, finished
from greenlab.core.energy.meter import measure
from greenlab.core.machine import ROOT, available_cores, cpu_name
from greenlab.core.names import unknown
from greenlab.core.provenance import code_hash, repository

STUDIES = ROOT / "data" / "studies"
PACKAGES = ("torch", "transformers", "peft", "numba", "numpy", "pandas")
FIGURES = ("name", "value", "unit", "basis", "note")  # columns of the table that prose quotes
AMOUNTS = ("energy_j", "low_j", "high_j", "time_s", "cpu_s")
ORIGIN = ("code", "commit", "dirty", "date", "device")  # columns of the receipts that say where a step comes from
# What run.json says of studies that were made before the code was hashed.
NO_CODE = (
    "made before the code of each step was hashed: the commit is the one at the time of writing, not proof of the code"
)


def folder(chapter: str) -> Path:
    """Where the committed tables of a chapter's study stand.

    Raises:
        TypeError: if ``chapter`` is no text.
        ValueError: if it cannot be the name of a chapter.
    """
    if not isinstance(chapter, str):
        raise TypeError(f"chapter={chapter!r} is {type(chapter).__name__}: give a name such as 'layer_pruning'")
    if not re.fullmatch(r"[A-Za-z0-9_]{1,100}", chapter):
        raise ValueError(f"chapter={chapter!r:.120}: give a name of at most 100 letters, digits and _")
    return STUDIES / chapter


def device() -> str:
    """This machine in words, for example "AMD EPYC 7763, 2 cores"."""
    cores = available_cores()
    return f"{cpu_name()}, {cores} core{'s' * (cores != 1)}"


class Steps:
    """Run named steps once: a step's result is kept as JSON, so a study that was stopped goes on where it was.

    Args:
        chapter: the name of the study.
        config: its settings, a dataclass; other settings keep their steps apart.
        on: the device that does the work, where it is not this machine's processor.

    Raises:
        TypeError: if ``chapter`` or ``on`` is no text, or ``config`` no dataclass that JSON can hold.
        ValueError: if ``chapter`` cannot be the name of a chapter.
    """

    def __init__(self, chapter: str, config: Any, *, on: str = "") -> None:
        name = folder(chapter).name
        checks.text("on", on)
        self.device = on or device()
        self.config_json = config_json(config)
        digest = hashlib.sha256(json.dumps(self.config_json, sort_keys=True).encode()).hexdigest()[:12]
        self.folder = ROOT / ".greenlab" / "studies" / name / digest
        self.folder.mkdir(parents=True, exist_ok=True)
        self._asked: dict[str, dict[str, Any]] = {}  # the records of the steps that were asked for, in order

    def run(self, name: str, work: Callable[[], Any], *, modules: Iterable[str] = ()) -> Any:
        """Return the result of a step; its cost and its origin are kept beside it.

        It comes from disk when it was made by the same code before. A step whose source cannot be found is always run.

        Args:
            name: of the step: letters, digits, ``_``, ``-`` and ``.``.
            work: makes the result (anything JSON can hold).
            modules: names of greenlab modules that the work depends on without importing them by name.

        Raises:
            TypeError: if ``work`` cannot be called or returns work that is not done, or JSON cannot hold its result.
            ValueError: if ``name`` cannot be the name of a file, or a module is not part of greenlab.
        """
        if not isinstance(name, str):
            raise TypeError(f"name={name!r} is {type(name).__name__}: give the name of the step as text")
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}", name):
            raise ValueError(f"name={name!r:.120}: give a name of at most 100 letters, digits, _, - and .")
        checked_work("work", work)
        path, code = self.folder / f"{name}.json", code_hash(work, modules)
        record = _kept(path)
        if record is None or code is None or record.get("code") != code:
            origin = {"code": code} | repository() | {"date": datetime.date.today().isoformat(), "device": self.device}
            with measure(name, region="DE") as meter:
                result = finished("work", work())
            receipt = {key: getattr(meter.receipt, key) for key in (*AMOUNTS, "basis")}
            try:
                text = json.dumps({"result": result, "receipt": receipt} | origin)
            except (TypeError, ValueError) as error:
                raise TypeError(f"work of the step {name!r} returned what JSON cannot hold: {error}") from error
            _replace(path, text)
            record = json.loads(text)
        self._asked[name] = record
        return record["result"]

    def receipts(self) -> pd.DataFrame:
        """What each step that was asked for cost, and where it comes from: one row a step, in their order.

        Columns: step, energy_j, low_j, high_j [J], time_s, cpu_s [s], basis, code, commit, dirty, date, device. Steps
            that
        are left over on disk from an older plan are not in it.
        """
        rows = []
        for name, record in self._asked.items():
            dirty = record["dirty"]
            origin = {key: record[key] for key in ORIGIN} | {"dirty": None if dirty is None else bool(dirty)}
            rows.append({"step": name} | record["receipt"] | origin)
        return pd.DataFrame(rows, columns=["step", *AMOUNTS, "basis", *ORIGIN])


def _kept(path: Path) -> dict[str, Any] | None:
    """A step's record as it stands on disk; None if there is none, or it is broken or older than its form."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    complete = isinstance(record, dict) and {"result", "receipt", *ORIGIN} <= set(record)
    return record if complete else None


def _replace(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)


def config_json(config: Any) -> dict[str, Any]:
    """Return a config as JSON would give it back (tuples are lists), so that a stored one can be compared with today's.

    Raises:
        TypeError: if ``config`` is no dataclass, or holds what JSON cannot.
    """
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"config={config!r} is {type(config).__name__}: give a dataclass with the settings")
    try:
        return json.loads(json.dumps(dataclasses.asdict(config)))
    except (TypeError, ValueError) as error:
        raise TypeError(f"config={config!r} holds what JSON cannot: {error}") from error


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _step_records(receipts: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The origin of each step by its name; receipts that do not hold it give none."""
    if not {"step", *ORIGIN} <= set(receipts):
        return {}
    rows = receipts.astype(object).where(receipts.notna(), None).to_dict("records")
    return {str(row["step"]): {key: row[key] for key in ORIGIN} for row in rows}


def _one_hash(steps: Mapping[str, Mapping[str, Any]]) -> str | None:
    """One hash for the code of all steps; None if that of any is not known."""
    codes = {name: step["code"] for name, step in steps.items()}
    if not codes or None in codes.values():
        return None
    return hashlib.sha256(json.dumps(codes, sort_keys=True).encode()).hexdigest()[:12]


def save(
    chapter: str, config: Any, tables: Mapping[str, pd.DataFrame], receipts: pd.DataFrame, *, on: str = ""
) -> None:
    """Write the tables and ``run.json`` of a finished study, and the page of figures.

    Everything is made and checked before the first file is replaced, and each file is replaced whole. Energy comes from
    `greenlab.core.energy.meter`; its basis and range are summed over the receipts.

    Args:
        chapter: the name of the study.
        config: its settings, a dataclass.
        tables: by name; ``figures`` holds the numbers that prose quotes.
        receipts: of the steps, as `Steps.receipts` gives them.
        on: the device that did the work, where it is not this machine's processor.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a table has no columns, or a column is missing.
    """
    target, settings = folder(chapter), config_json(config)
    checks.text("on", on)
    _check_receipts(receipts)
    _check_tables(tables)
    steps = _step_records(receipts)
    code = _one_hash(steps)
    amounts = {key: float(receipts[key].sum()) for key in AMOUNTS}
    measured = len(receipts) > 0 and bool((receipts["basis"] == "measured").all())
    run = {
        "chapter": target.name,
        "config": settings,
        "date": datetime.date.today().isoformat(),
        **repository(),
        "code": code,
        **({} if code else {"code_note": "the code of some steps could not be found"}),
        "device": on or device(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "energy": amounts | {"basis": "measured" if measured else "modelled"},
        "steps": steps,
        "tables": sorted(tables),
    }
    texts = {
        f"{name}.csv": table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        for name, table in tables.items()
    }
    texts["run.json"] = json.dumps(run, indent=1) + "\n"
    page = _page(_committed() | {target.name: (run, tables["figures"])})
    target.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        _replace(target / name, text)
    _replace(STUDIES / "README.md", page)


def _check_tables(tables: Mapping[str, pd.DataFrame]) -> None:
    if not isinstance(tables, Mapping):
        raise TypeError(f"tables is {type(tables).__name__}: give a dict of names and tables")
    for name, table in tables.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise ValueError(f"tables has the name {name!r}: give letters, digits and _")
        if not isinstance(table, pd.DataFrame):
            raise TypeError(f"tables[{name!r}] is {type(table).__name__}: give a table")
        if not len(table.columns):
            raise ValueError(f"tables[{name!r}] has no columns: give a table that can be read back")
    if "figures" not in tables:
        raise ValueError(f"tables lacks 'figures' (it has {', '.join(tables) or 'none'}): prose quotes its rows")
    if missing := [name for name in FIGURES if name not in tables["figures"]]:
        raise ValueError(f"tables['figures'] lacks the column {missing[0]!r}")


def _check_receipts(receipts: pd.DataFrame) -> None:
    if not isinstance(receipts, pd.DataFrame):
        raise TypeError(f"receipts is {type(receipts).__name__}: give the table of Steps.receipts()")
    if missing := [name for name in (*AMOUNTS, "basis") if name not in receipts]:
        raise ValueError(f"receipts lacks the column {missing[0]!r}: give the table of Steps.receipts()")


def _committed() -> dict[str, tuple[dict[str, Any], pd.DataFrame]]:
    """The run and the figures of every committed study, by chapter."""
    found = {}
    for path in sorted(STUDIES.glob("*/run.json")):
        chapter = path.parent.name
        found[chapter] = (json.loads(path.read_text(encoding="utf-8")), load(chapter, "figures")["figures"])
    return found


def readme() -> str:
    """Return data/studies/README.md: every figure that prose quotes, each with an anchor, and how its study was run."""
    return _page(_committed())


def _page(found: Mapping[str, tuple[dict[str, Any], pd.DataFrame]]) -> str:
    lines = [
        "# Studies",
        "",
        "Made by `make study NAME=...`; do not edit. Prose links to the figures below, and a test compares the digits.",
        "",
    ]
    for chapter, (run, figures) in sorted(found.items()):
        energy, versions, name = run["energy"], run["versions"], chapter.replace("_", "-")
        lines += [
            f"## {name}",
            "",
            f"Run on {run['date']} ({run['device']}; "
            f"torch {versions['torch']}, transformers {versions['transformers']}): "
            f"{energy['cpu_s'] / 60:.0f} CPU-minutes, {energy['energy_j'] / 1e3:.1f} kJ "
            f"({energy['low_j'] / 1e3:.1f} to {energy['high_j'] / 1e3:.1f}), {energy['basis']}.",
            "",
            _origin(run),
            "",
            "| figure | value | unit | basis | note |",
            "|---|---|---|---|---|",
        ]
        for row in figures.itertuples():
            anchor = f"{name}.{row.name}"
            lines.append(
                f'| <a id="{anchor}"></a>{row.name} | {row.value:.4g} | {row.unit} | {row.basis} | {row.note} |'
            )
        lines.append("")
    return "\n".join(lines)


def _origin(run: Mapping[str, Any]) -> str:
    """A sentence that says which code made the tables, and how sure that is."""
    commit = str(run.get("commit") or "unknown")[:7]
    if run.get("code") is None:
        return f"Code: not recorded ({run.get('code_note', NO_CODE)}); commit {commit}."
    changes = {None: "", False: ", nothing else changed", True: ", with changes that were not committed"}
    dirty = run.get("dirty")
    return f"Code: {run['code']}; commit {commit}{changes[None if dirty is None else bool(dirty)]}."


def load(chapter: str, *names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables of a study by name, or all of them.

    Args:
        chapter: the name of the study.
        names: of the tables.

    Raises:
        TypeError: if a name is no text.
        ValueError: if the study or a table is not there.
    """
    place = folder(chapter)
    found = sorted(path.stem for path in place.glob("*.csv"))
    if not found:
        raise unknown("chapter", chapter, sorted(path.parent.name for path in STUDIES.glob("*/run.json")))
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names={name!r} is {type(name).__name__}: give the name of a table")
        if name not in found:
            raise ValueError(f"names={name!r}: the study {chapter!r} has {', '.join(found)}")
    return {name: pd.read_csv(place / f"{name}.csv") for name in names or found}
