"""The tables that chapter 10's charts draw, computed from the technique and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from greenlab.core import checks
from greenlab.green_service import DEFAULT, QUANTITIES, Service, evaluate, overlaps, shares, waterfall

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
OUTPUTS = (100, 300, 500, 700)
MANY = 1e10  # requests a day: so many machines that the last, half-empty one does not show
WORDS = {16: "16 bits", 8: "8 bits", 4: "4 bits"}


def energy_j(service: Service) -> float:
    """Energy of a request [J], with the central value of every assumption."""
    return float(evaluate(service).energy.total_j)


def bits_by_batch(service: Service = DEFAULT, outputs: Iterable[int] = OUTPUTS) -> pd.DataFrame:
    """What fewer bits save of a request's energy, by batch and by the length of the answer.

    Returns:
        One row a batch, length and number of bits: batch, output_tokens, bits (in words), saved_pct.

    Raises:
        TypeError: if ``service`` is no `Service`.
        ValueError: if a length is out of range.
    """
    checks.instance("service", service, Service)
    rows = []
    for length in outputs:
        for batch in BATCHES:
            base = service.replace(batch=batch, output_tokens=length, requests_per_day=MANY)
            whole = energy_j(base)
            rows += [
                {"batch": batch, "output_tokens": length, "bits": WORDS[bits],
                 "saved_pct": 100 * (1 - energy_j(base.replace(bits=bits)) / whole)}
                for bits in (8, 4)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def steps(baseline: Service, design: Service, order: Iterable[str] | None = None, *, n: int = 2000) -> pd.DataFrame:
    """`waterfall` with the band of each step's share: what it saves of what there was before it, draw by draw.

    The band of the joules that a step saves holds how little is known of the service before; that of the share does
    not, as before and after use the same draws.

    Args:
        baseline: the service before.
        design: the service after.
        order: of the levers, as for `waterfall`.
        n: draws.

    Returns:
        The table of `waterfall`, and share_low and share_high of each step; nan where it does not count.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: as for `waterfall`.
    """
    return shares(baseline, design, order=order, n=n)


def alone_and_in_order(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """The share that each counted lever saves alone and at its place in the order.

    Args:
        table: of `waterfall`.
        quantity: a name of `QUANTITIES`.

    Returns:
        Two rows a lever: lever, how ("alone" or "at its place"), saved_pct. Levers that change nothing are left out.

    Raises:
        TypeError: if ``table`` is no table.
        ValueError: if the quantity is unknown.
    """
    checks.instance("table", table, pd.DataFrame, remedy="waterfall(...) gives it")
    checks.one_of("quantity", quantity, tuple(QUANTITIES))
    rows = []
    part = table[(table["quantity"] == quantity) & table["counted"].astype(bool)]
    for row in part.to_dict("records"):
        alone, placed = float(row["alone_fraction"]), float(row["saved_fraction"])
        if alone or placed:
            rows += [
                {"lever": row["lever"], "how": "alone", "saved_pct": 100 * alone},
                {"lever": row["lever"], "how": "at its place", "saved_pct": 100 * placed},
            ]
    return pd.DataFrame(rows, columns=["lever", "how", "saved_pct"])


def by_order(baseline: Service, design: Service, orders: Iterable[Iterable[str]], quantity: str) -> pd.DataFrame:
    """What each lever saves at its place in several orders, and what is left at the end.

    Returns:
        One row an order and lever: order (its number), lever, saved_pct, left_pct (after the step).

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if an order is not one of the design's levers, or the quantity is unknown.
    """
    checks.one_of("quantity", quantity, tuple(QUANTITIES))
    rows = []
    for number, order in enumerate(orders, 1):
        found = waterfall(baseline, design, order=order, n=100).query("quantity == @quantity")
        for row in found.to_dict("records"):
            saved, left = 100 * float(row["saved_fraction"]), 100 * float(row["remaining_fraction"])
            rows.append({"order": number, "lever": row["lever"], "saved_pct": saved, "left_pct": left})
    return pd.DataFrame(rows)


def together(table: pd.DataFrame) -> pd.DataFrame:
    """`overlaps` in per cent: quantity, product_pct, together_pct, overlap."""
    found = overlaps(table)
    return pd.DataFrame({
        "quantity": found["quantity"], "product_pct": 100 * found["product"], "together_pct": 100 * found["together"],
        "overlap": found["overlap"],
    })  # fmt: skip


WAYS = {"measured_pct": "measured", "counts_pct": "by counts", "kernel_pct": "from parts and kernel"}


def said_and_measured(predicted: pd.DataFrame) -> pd.DataFrame:
    """What is left of the time with each lever, each pair and all three, measured and predicted, a row each.

    Args:
        predicted: of the study, or of `Combined`.

    Returns:
        Columns what, how ("measured", "by counts" or "from parts and kernel") and left_pct.

    Raises:
        TypeError: if ``predicted`` is no table.
        ValueError: if it lacks a column.
    """
    checks.instance("predicted", predicted, pd.DataFrame, remedy="study.load('predicted')['predicted'] gives it")
    if missing := [name for name in ("what", *WAYS) if name not in predicted]:
        raise ValueError(f"predicted lacks the column {missing[0]!r}: study.load('predicted')['predicted'] has it")
    rows = predicted.melt("what", list(WAYS), var_name="how", value_name="left_pct")
    names = {"together": "all three", "fewer layers, healed": "fewer layers"}
    what = rows["what"].str.replace("fewer layers, healed + ", "fewer layers + ", regex=False).replace(names)
    return rows.assign(how=rows["how"].map(WAYS), what=what)
