"""The load of a class on one machine: kernels that run the first half of chapter 6 at once, 1, 2 and 4 of them.

``python -m tests.load --kernels 2`` measures and prints; ``make study NAME=classroom`` measures all sizes and writes
data/studies/classroom, whose figures notebooks/JUPYTERHUB.md quotes. Linux only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from greenlab.classroom.load import LAST, code_cells, run_class
from greenlab.core import checks, studies
from greenlab.core.machine import memory_limit_bytes

CHAPTER = "classroom"
MB = 1e6
WHOLE = "ledger.record("  # the last code cell of chapter 6
MARK_MB = 450.0  # the most that a learner's kernel may hold for itself
ROOM_GIB, RESERVE_MB = 16, 1000.0  # the machine of the example, and what its system and the hub keep for themselves
COLUMNS = ["kernels", "learner", "process", "own_mb", "dirty_mb", "private_mb", "file_mb", "resident_mb", "time_s"]
TOTALS = ["kernels", "together_mb", "samples", "samples_per_s", "slowest_gap_s", "time_s"]


@dataclass(frozen=True)
class Config:
    """Everything that the tables depend on.

    Args:
        kernels: sizes of the class.
        threads: that each kernel computes with.
        samples_per_s: how often each process is looked at, at most.
        servers: whether each learner has a JupyterLab server as well.
        timeout_s: for one cell.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if a number is out of range, or there is no size.
    """

    kernels: tuple[int, ...] = (1, 2, 4)
    threads: int = 1
    samples_per_s: float = 10.0
    servers: bool = True
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        """Refuse what no class can be."""
        sizes = [checks.integer("kernels", n, low=1, high=200) for n in checks.several("kernels", self.kernels)]
        if not sizes or sizes != sorted(set(sizes)):
            raise ValueError(f"kernels={self.kernels!r}: give one size or several, increasing, such as (1, 2, 4)")
        checks.integer("threads", self.threads, low=1, high=1024)
        checks.number("samples_per_s", self.samples_per_s, low=5, high=100)
        checks.flag("servers", self.servers)
        checks.number("timeout_s", self.timeout_s, above=0, high=86400)


def measure_size(n_kernels: int, config: Config, last: str = LAST) -> dict[str, Any]:
    """Measure one size of the class.

    Args:
        n_kernels: learners at once.
        config: the settings.
        last: words of the last cell that they run, by default that of the first cut.

    Returns:
        ``processes``, rows of one process each, and ``total``, one row.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``n_kernels`` is out of range.
        RuntimeError: if a cell fails, a kernel dies or does not start, or the system is not Linux.
    """
    checks.instance("config", config, Config)
    found = run_class(
        n_kernels, code_cells(last=last), threads=config.threads, samples_per_s=config.samples_per_s,
        servers=config.servers, timeout_s=config.timeout_s,
    )  # fmt: skip
    rows = []
    for number, learner in enumerate(found["learners"], 1):
        for process, peaks in (("kernel", learner.kernel), ("server", learner.server)):
            if peaks:
                row = {"kernels": n_kernels, "learner": number, "process": process, "time_s": learner.time_s}
                rows.append(row | {name.removesuffix("_b") + "_mb": value / MB for name, value in peaks.items()})
    total = {"kernels": n_kernels, "together_mb": found["together_b"] / MB, "samples": found["samples"]}
    total |= {"samples_per_s": found["samples"] / found["time_s"], "slowest_gap_s": found["slowest_gap_s"]}
    return {"processes": rows, "total": total | {"time_s": found["time_s"]}}


def figures(processes: pd.DataFrame, totals: pd.DataFrame, whole_mb: float | None = None) -> pd.DataFrame:
    """The numbers that prose may quote: name, value, unit, basis, note.

    Args:
        processes: one row for each process and size.
        totals: one row for each size.
        whole_mb: a kernel's own memory at its peak when it runs the whole chapter [MB], where that was measured.

    Raises:
        TypeError: if an argument is no table.
    """
    checks.instance("processes", processes, pd.DataFrame)
    checks.instance("totals", totals, pd.DataFrame)
    kernel, server = (processes[processes["process"] == name] for name in ("kernel", "server"))
    rows: list[tuple[str, float, str, str, str]] = [
        (
            "own",
            kernel["own_mb"].max(),
            "MB",
            "measured",
            "a kernel's own memory, not backed by a file: the peak of all",
        ),
        ("mark", MARK_MB, "MB", "goal", "the most that a kernel may hold for itself"),
        ("file", kernel["file_mb"].max(), "MB", "measured", "pages of files in a kernel, shared by all kernels"),
    ]
    if whole_mb is not None:
        whole_mb = checks.number("whole_mb", whole_mb, above=0)
        rows.append(("own-whole", whole_mb, "MB", "measured", "a kernel's own memory when the whole chapter is run"))
    for n, group in kernel.groupby("kernels"):
        rows.append((f"own-{n}", group["own_mb"].max(), "MB", "measured", f"the same, {n} side by side"))
        rows.append(
            (f"private-{n}", group["private_mb"].max(), "MB", "measured", f"mapped by nobody else, {n} at once")
        )
    for row in totals.itertuples():
        note = f"all processes of {row.kernels} at one moment, pages of files counted once"
        rows.append((f"together-{row.kernels}", float(row.together_mb), "MB", "measured", note))  # type: ignore[arg-type]
    if len(totals) > 1:
        first, last = totals.iloc[0], totals.iloc[-1]
        more = (last["together_mb"] - first["together_mb"]) / (last["kernels"] - first["kernels"])
        rows.append(("one-more", more, "MB", "measured", "what one learner more adds, kernel and server"))
    if len(server):
        rows.append(("server", server["own_mb"].max(), "MB", "measured", "a JupyterLab server's own memory"))
        learner = processes.groupby(["kernels", "learner"])["own_mb"].sum().max()
        rows.append(("learner", learner, "MB", "measured", "kernel and server of a learner, their own memory"))
        fit = learners_that_fit(learner, kernel["file_mb"].max())
        note = f"with {ROOM_GIB} GiB, of which {RESERVE_MB / 1e3:g} GB for the system and the hub, all at their peak"
        rows.append(("fit", fit, "learners", "modelled", note))
    return pd.DataFrame(rows, columns=["name", "value", "unit", "basis", "note"])


def learners_that_fit(
    own_mb: float, shared_mb: float, memory_mb: float = ROOM_GIB * 1024**3 / MB, reserve_mb: float = RESERVE_MB
) -> int:
    """Return how many learners fit on a machine when all are at their peak at once.

    Args:
        own_mb: what each of them holds for itself [MB].
        shared_mb: what all share, once [MB].
        memory_mb: of the machine [MB].
        reserve_mb: for the system and the hub [MB].

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one is out of range.

    >>> learners_that_fit(500, 1000, memory_mb=17_000)
    30
    """
    own_mb = checks.number("own_mb", own_mb, above=0)
    shared_mb = checks.number("shared_mb", shared_mb, low=0)
    memory_mb = checks.number("memory_mb", memory_mb, low=0)
    left = memory_mb - shared_mb - checks.number("reserve_mb", reserve_mb, low=0)
    return max(0, int(left // own_mb))


def tables_of(found: Sequence[dict[str, Any]], whole: dict[str, Any] | None = None) -> dict[str, pd.DataFrame]:
    """The tables ``processes``, ``totals`` and ``figures`` of what `measure_size` gave.

    Args:
        found: what it gave, once for each size.
        whole: what it gave for the whole chapter; the rows are in the table ``whole``.

    Raises:
        TypeError: if ``found`` is no list.
        ValueError: if it is empty.
    """
    results = checks.several("found", found)
    if not results:
        raise ValueError("found is empty: give what measure_size returned, once for each size")
    processes = pd.DataFrame([row for one in results for row in one["processes"]])[COLUMNS]
    totals = pd.DataFrame([one["total"] for one in results])[TOTALS]
    if whole is None:
        return {"processes": processes, "totals": totals, "figures": figures(processes, totals)}
    table = pd.DataFrame(checks.instance("whole", whole, dict)["processes"])[COLUMNS]
    own_mb = table.loc[table["process"] == "kernel", "own_mb"].max()
    return {"processes": processes, "totals": totals, "whole": table, "figures": figures(processes, totals, own_mb)}


def run(config: Config = Config()) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Measure every size; return the tables and the receipts of the steps."""
    steps = studies.Steps(CHAPTER, checks.instance("config", config, Config))
    modules = ("greenlab.layer_pruning.view",)  # what the cells run: a change of it is measured again
    steps_needed = {f"kernels-{n}": partial(measure_size, n, config) for n in config.kernels}
    found = [steps.run(name, work, modules=modules) for name, work in steps_needed.items()]
    whole = steps.run("whole-chapter", partial(measure_size, 1, config, WHOLE), modules=modules)
    return tables_of(found, whole), steps.receipts()


def load(*names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables by name, or all of them."""
    return studies.load(CHAPTER, *names)


def shown(tables: dict[str, pd.DataFrame]) -> str:
    """The tables as text for a terminal, and whether the mark is held.

    Raises:
        TypeError: if ``tables`` is no dict.
        ValueError: if a table is missing.
    """
    checks.instance("tables", tables, dict)
    if missing := [name for name in ("processes", "totals", "figures") if name not in tables]:
        raise ValueError(f"tables lacks {missing[0]!r}: give what tables_of returns")
    figure = tables["figures"].set_index("name")["value"]
    parts = [
        tables[name].to_string(index=False, float_format=lambda x: f"{x:,.1f}") for name in ("processes", "totals")
    ]
    held = "within" if figure["own"] <= MARK_MB else "ABOVE"
    words = f"A kernel's own memory: at most {figure['own']:,.0f} MB, {held} the mark of {MARK_MB:,.0f} MB."
    if "fit" in figure:
        here = learners_that_fit(figure["learner"], figure["file"], memory_limit_bytes() / MB)
        words += f" With its server {figure['learner']:,.0f} MB: {figure['fit']:,.0f} learners fit on {ROOM_GIB} GiB, "
        words += f"{here:,} on this machine, all at their peak at once."
    return "\n\n".join([*parts, words])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code says whether the mark is held.

    Args:
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.load", description="How much memory a class takes on this machine (Linux)."
    )
    parser.add_argument("--kernels", type=int, nargs="+", default=[2], help="learners at once: one size, or several")
    parser.add_argument("--threads", type=int, default=1, help="that each kernel computes with")
    parser.add_argument("--no-servers", action="store_true", help="kernels alone, without a JupyterLab server each")
    parser.add_argument("--samples-per-s", type=float, default=10.0, help="how often each process is looked at")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one cell")
    given = parser.parse_args(arguments)
    try:
        sizes = tuple(sorted(set(given.kernels)))
        config = Config(sizes, given.threads, given.samples_per_s, not given.no_servers, given.timeout)
        tables = tables_of([measure_size(n, config) for n in config.kernels])
    except (ValueError, RuntimeError) as error:
        print(f"greenlab: {error}", file=sys.stderr)
        return 2
    print(shown(tables))
    return 0 if tables["figures"].set_index("name")["value"]["own"] <= MARK_MB else 1


def save() -> None:
    """Run the study and write data/studies/classroom."""
    config = Config()
    tables, receipts = run(config)
    studies.save(CHAPTER, config, tables, receipts)


if __name__ == "__main__":
    save()
