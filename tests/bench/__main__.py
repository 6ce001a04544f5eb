"""``python -m tests.bench [NAME ...]``: run the benchmarks one after the other and print their tables."""

import importlib
import pkgutil
import platform
import sys
from pathlib import Path

import pandas as pd

from greenlab.core.machine import available_cores

NAMES = sorted(
    m.name.removeprefix("bench_")
    for m in pkgutil.iter_modules([str(Path(__file__).parent)])
    if m.name.startswith("bench_")
)


def processor() -> str:
    """Name the processor, as well as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    """Print a heading for the machine, then one table for each benchmark asked for (default: all)."""
    print(f"{processor()}, {available_cores()} cores, Python {platform.python_version()}\n")
    for name in sys.argv[1:] or NAMES:
        module = importlib.import_module(f"tests.bench.bench_{name}")
        print((module.__doc__ or name).strip().splitlines()[0])
        with pd.option_context("display.width", 160, "display.max_columns", 20, "display.max_rows", 200):
            tables = module.run()
            for table in tables if isinstance(tables, list) else [tables]:
                print(table.to_string(index=False, na_rep="", float_format=lambda x: f"{x:,.3f}"), "\n", flush=True)


if __name__ == "__main__":
    main()
