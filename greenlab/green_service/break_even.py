"""What a lever costs once, in energy, and after how many requests it has paid for itself.

Training, healing and indexing are spent before the first request; machines, grids and batches cost nothing once. The
energies of training are hours that makers published times the power of an accelerator at work, or FLOPs times the
joules of a FLOP that `passes` fitted (a lower bound: reading and waiting come on top); both are modelled. Where nothing
is published the cost is nan, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core import checks, facts
from greenlab.core.model import cost
from greenlab.core.names import unknown
from greenlab.green_service import passes
from greenlab.green_service.assumptions import Assumption, assumptions
from greenlab.green_service.committed import table
from greenlab.green_service.design import Service
from greenlab.green_service.evaluation import N_DRAWS, SEED, SHARE, draws, evaluate, outcome_of_draws
from greenlab.green_service.levers import LEVERS, apply
from greenlab.green_service.waterfall import waterfall

TRAINING_FLOPS = 6  # for each weight in use and token: arXiv:2001.08361, sec. 2.1
COLUMNS = ("lever", "invested_j", "invested_low_j", "invested_high_j", "source", "basis")


def _hours(fact: str) -> tuple[float, float, float, str]:
    """Published hours of H100s: at the power of a matrix product, and from the least power of a pass to rated power."""
    rows = table("accelerator", "summary")
    product = float(rows[(rows["section"] == "matmul") & (rows["what"] == "random numbers")]["power_w"].iloc[0])
    least = float(rows[(rows["section"] == "decode") & (rows["what"] == "Llama-3.1-8B")]["power_w"].min())
    rated, seconds = facts.value("h100-sxm5-80gb.tdp_w"), 3600 * facts.value(fact)
    source = f"{fact} x power of a matrix product (data/studies/accelerator); high = h100-sxm5-80gb.tdp_w"
    return seconds * product, seconds * least, seconds * rated, source


def _flops(n_active: float, tokens: float) -> float:
    return TRAINING_FLOPS * n_active * tokens * passes.fitted().j_per_flop


def _real_over_flops() -> float:
    """Energy of a real training over that of its FLOPs alone: Llama 3.1 405B, whose hours and FLOPs are published."""
    hours = 3600 * facts.value("llama3p1-405b-gpu-hours") * facts.value("h100-sxm5-80gb.tdp_w")
    return hours / (facts.value("llama-3p1-405b.training_compute_flop") * passes.fitted().j_per_flop)


def _model(service: Service) -> tuple[float, float, float, str]:
    kind = service.kind
    if not kind.training:
        return math.nan, math.nan, math.nan, f"nobody published what {kind.name} took to train"
    if facts.unit(kind.training) == "h":
        return _hours(kind.training)
    least = _flops(float(cost.parameters(kind.shape).active), facts.value(kind.training))
    most = least * _real_over_flops()
    return most, least, most, f"6 FLOPs x active weights x {kind.training}, as far above it as Llama 3.1 405B"


def _healing(service: Service) -> tuple[float, float, float, str]:
    if not service.healed:
        return 0.0, 0.0, 0.0, "leaving layers out costs nothing once"
    low, high = facts.low_high("prune-healing-tokens")
    ends = [_flops(float(cost.parameters(service.shape).active), tokens) for tokens in (low, high)]
    most = ends[1] * _real_over_flops()
    return ends[1], ends[0], most, "6 FLOPs x weights x prune-healing-tokens; high as far above it as Llama 3.1 405B"


def _bits(service: Service) -> tuple[float, float, float, str]:
    if service.bits > 2:
        return 0.0, 0.0, 0.0, "rounding after training reads the weights once"
    value, low, high, source = _model(service)
    return value, low, high, f"ternary weights are trained with: once more {source}"


def _depths(service: Service) -> tuple[float, float, float, str]:
    value, low, high, source = _model(service)
    return value, low, high, f"a mixture of depths is trained with: once more {source}"


def _index(service: Service) -> tuple[float, float, float, str]:
    """Building the index of chapter 8's corpus; a corpus of another size costs in proportion."""
    if service.index == "none":
        return 0.0, 0.0, 0.0, "no index"
    kinds = {"bm25": ["BM25"], "static": ["static"], "minilm": ["MiniLM"], "bm25 + minilm": ["BM25", "MiniLM"]}
    rows = table("retrieval", "made")
    rows = rows[(rows["passage_tokens"] == 140) & rows["what"].isin(["split", *kinds[service.index]])]
    cpu_s, power = float(rows["cpu_s"].sum()), assumptions(service)["cpu_power_w"]
    words = int(rows["n_words"].max())
    return (
        cpu_s * power.value, cpu_s * power.low, cpu_s * power.high,
        f"data/studies/retrieval, made.csv: a corpus of {words:,} words",
    )  # fmt: skip


_INVESTED = {
    "other model": _model, "fewer layers": _healing, "fewer bits": _bits, "mixture of depths": _depths,
    "retrieval": _index,
}  # fmt: skip


def _spent(lever: str, service: Service) -> tuple[float, float, float, str]:
    """What a lever costs once, its range [J, without the building] and the source."""
    return _INVESTED[lever](service) if lever in _INVESTED else (0.0, 0.0, 0.0, "costs nothing once")


def invested(lever: str, service: Service) -> dict[str, Any]:
    """Energy that a lever costs before the first request [J], building included.

    Args:
        lever: a name of `LEVERS`.
        service: the design with the lever pulled.

    Returns:
        lever, invested_j, invested_low_j, invested_high_j [J], source, basis. nan where nothing is published.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if there is no such lever.

    >>> from greenlab.green_service.design import DEFAULT
    >>> invested("larger batch", DEFAULT)["invested_j"]
    0.0
    """
    checks.instance("service", service, Service)
    checks.text("lever", lever)
    if lever not in LEVERS:
        raise unknown("lever", lever, LEVERS)
    value, low, high, source = _spent(lever, service)
    pue = assumptions(service)["pue"]
    numbers = (value * pue.value, low * pue.low, high * pue.high)
    return dict(zip(COLUMNS, (lever, *numbers, source, "modelled"), strict=True))


def break_even(baseline: Service, design: Service, *, order: Iterable[str] | None = None) -> pd.DataFrame:
    """After how many requests each lever of a design has paid back what it cost once.

    The saving is that of the lever at its place in the order, so a lever behind others needs longer. The range holds
    what is not known of the saving as well as of the cost, draw by draw; the building is the same for both.

    Args:
        baseline: the service before.
        design: the service after.
        order: as for `waterfall`.

    Returns:
        One row a lever that counts: lever, invested_j with its range [J], saved_j (of a request), requests, days,
        low_days, high_days (the ends of 95 % of the draws), source, basis. Requests and days are 0 where nothing was
        spent, inf where something was and nothing is saved, nan where the cost is not published.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: as for `waterfall`.
    """
    steps = waterfall(baseline, design, order=order, n=100)
    steps = steps[(steps["quantity"] == "energy") & steps["counted"].astype(bool)]
    rows: list[dict[str, Any]] = []
    taken: list[str] = []
    for step in steps.to_dict("records"):
        lever, per_day = step["lever"], design.requests_per_day
        spent, saved_j = invested(lever, design), float(step["saved"])
        here, after = apply(baseline, design, taken), apply(baseline, design, [*taken, lever])
        taken.append(lever)
        requests = _requests(spent["invested_j"], saved_j)
        low, high = _range_of_requests(lever, design, here, after)
        row = spent | {"saved_j": saved_j, "requests": requests, "days": requests / per_day}
        rows.append(row | {"low_days": min(low, requests) / per_day, "high_days": max(high, requests) / per_day})
    names = [*COLUMNS[:4], "saved_j", "requests", "days", "low_days", "high_days", *COLUMNS[4:]]
    return pd.DataFrame(rows, columns=names)


def _range_of_requests(lever: str, design: Service, here: Service, after: Service) -> tuple[float, float]:
    """The ends that hold 95 % of the draws of the requests after which a lever has paid back."""
    value, low, high, _ = _spent(lever, design)
    if math.isnan(value) or value == 0:
        return (_requests(value, 0.0),) * 2
    before_j, after_j = (outcome_of_draws(one, assumptions(one), N_DRAWS, SEED).energy.total_j for one in (here, after))
    cost_of = Assumption("invested_j", "energy before the first request", value, low, high, "J", "modelled", lever)
    spent_j = draws(cost_of) * draws(assumptions(design)["pue"])
    saved_j = np.broadcast_to(np.subtract(before_j, after_j), N_DRAWS)
    drawn = np.full(N_DRAWS, math.inf)
    np.divide(spent_j, saved_j, out=drawn, where=saved_j > 0)
    ends = np.quantile(drawn, [(1 - SHARE) / 2, (1 + SHARE) / 2], method="inverted_cdf")  # no mean with an inf
    return float(ends[0]), float(ends[1])


def _requests(invested_j: float, saved_j: float) -> float:
    if math.isnan(invested_j):
        return math.nan
    if invested_j == 0:
        return 0.0
    return invested_j / saved_j if saved_j > 0 else math.inf


def pays_back(baseline: Service, design: Service, *, days: float) -> bool:
    """Whether all that the design costs once is paid back by its saving within so many days; False if it is not known.

    Args:
        baseline: the service before.
        design: the service after.
        days: the time that is given [d], above 0.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: as for `waterfall`, or if ``days`` is not above 0.
    """
    days = checks.number("days", days, above=0)
    found = break_even(baseline, design)
    total = float(found["invested_j"].sum(skipna=False)) if len(found) else 0.0
    saved = float(evaluate(baseline).energy.total_j) - float(evaluate(design).energy.total_j)
    return bool(saved * design.requests_per_day * days >= total) and not math.isnan(total)
