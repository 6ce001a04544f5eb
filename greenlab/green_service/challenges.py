"""Three challenges: a service as it stands, goals to reach, and a score that a test pins.

The work stays the same: tokens, traffic and gate are given. What nobody can buy is limited: no building better than the
best published fleet, no machines without spare time for peaks, no more waiting than the level allows. Points are given
goal by goal, so half of the way is half of the points; but a saving gives none where the quality goal is missed, as no
saving may be claimed there. Goals of energy, carbon, water and cost have to hold in 95 % of the paired draws, not only
for the central numbers, and always with the published assumptions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core import checks, facts
from greenlab.green_service.assumptions import assumptions
from greenlab.green_service.break_even import pays_back
from greenlab.green_service.design import DEFAULT, Service
from greenlab.green_service.evaluation import N_DRAWS, QUANTITIES, SEED, Outcome, evaluate, outcome_of_draws

FIXED = ("requests_per_day", "input_tokens", "output_tokens", "reference", "quality_gate")
SURE = 0.95  # of the paired draws
SAVINGS = ("energy", "carbon", "water", "cost", "pays back")  # worth nothing where quality fell


@dataclass(frozen=True)
class Goal:
    """One goal of a challenge.

    Attributes:
        quantity: "energy", "carbon", "water" or "cost" (at most a share of the baseline), "first token" or "whole
            answer" (at most so many seconds), "quality" (at least a share), or "pays back" (within so many days).
        limit: the number.
        points: for reaching it.
    """

    quantity: str
    limit: float
    points: int

    @property
    def text(self) -> str:
        """The goal in words."""
        if self.quantity == "quality":
            return f"quality: at least {100 * self.limit:g} % is left"
        if self.quantity == "pays back":
            return f"what the levers cost once is paid back within {self.limit:g} days"
        if self.quantity in ("first token", "whole answer"):
            return f"{self.quantity}: at most {self.limit:g} s without a queue"
        return f"{self.quantity}: at most {100 * self.limit:g} % of the baseline, in {100 * SURE:.0f} % of the draws"


@dataclass(frozen=True)
class Challenge:
    """One level.

    Attributes:
        level: 1, 2 or 3.
        title: in a few words.
        baseline: the service as it stands.
        goals: what to reach.
        most_utilization, most_flexible: what the level allows.
    """

    level: int
    title: str
    baseline: Service
    goals: tuple[Goal, ...]
    most_utilization: float
    most_flexible: float


@dataclass(frozen=True)
class Score:
    """What a design reaches.

    Attributes:
        level: of the challenge.
        points: reached.
        most: that can be reached.
        refused: what the level does not allow, in words; then no points are given.
        goals: one row a goal: goal, reached, value, limit, points, most (points that it can give), reason (why a goal
            that is reached gives none).
    """

    level: int
    points: int
    most: int
    refused: tuple[str, ...]
    goals: pd.DataFrame

    @property
    def solved(self) -> bool:
        """Whether every goal is reached."""
        return self.points == self.most


CHALLENGES = {
    challenge.level: challenge
    for challenge in (
        Challenge(
            1, "Less than half of the energy, and nobody notices", DEFAULT,
            (Goal("energy", 0.45, 2), Goal("quality", 0.99, 1), Goal("whole answer", 8.0, 1)), 0.6, 0.0,
        ),
        Challenge(
            2, "An eighth of the carbon, a third of the water", DEFAULT,
            (
                Goal("carbon", 0.125, 2), Goal("water", 0.35, 2), Goal("cost", 0.35, 1), Goal("quality", 0.97, 1),
                Goal("whole answer", 8.0, 1),
            ), 0.7, 0.2,
        ),
        Challenge(
            3, "A large model's service at a hundredth of its carbon",
            DEFAULT.replace(model="Llama-3.1-70B", reference="Llama-3.1-70B", region="PL", batch=8),
            (
                Goal("carbon", 0.01, 2), Goal("water", 0.04, 2), Goal("energy", 0.04, 1), Goal("cost", 0.04, 1),
                Goal("quality", 0.97, 2), Goal("first token", 0.1, 1), Goal("whole answer", 10.0, 1),
                Goal("pays back", 365.0, 2),
            ), 0.8, 0.3,
        ),
    )
}  # fmt: skip


def challenge(level: int) -> Challenge:
    """One of the three challenges.

    >>> challenge(1).title
    'Less than half of the energy, and nobody notices'

    Raises:
        TypeError: if ``level`` is no whole number.
        ValueError: if it is not 1, 2 or 3.
    """
    return CHALLENGES[checks.integer("level", level, low=1, high=len(CHALLENGES))]


def refusals(service: Service, level: int) -> tuple[str, ...]:
    """What a level does not allow in a design, in words; empty if nothing.

    Args:
        service: the design.
        level: 1, 2 or 3.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if there is no such level.
    """
    checks.instance("service", service, Service)
    given, found = challenge(level), []
    for name in FIXED:
        was, now = getattr(given.baseline, name), getattr(service, name)
        if was != now:
            found.append(f"{name}={now!r}: the work stays the same, which is {name}={was!r}")
    best = facts.value("pue-best")
    if service.pue is not None and service.pue < best:
        found.append(f"pue={service.pue:g}: the best fleet that is published has {best:g}")
    if service.wue_l_per_kwh is not None:
        found.append(f"wue_l_per_kwh={service.wue_l_per_kwh:g}: no building is built here; leave it None")
    if service.utilization > given.most_utilization:
        found.append(
            f"utilization={service.utilization:g}: peaks need room; this level allows {given.most_utilization:g}"
        )
    if service.flexible > given.most_flexible:
        found.append(f"flexible={service.flexible:g}: no more than {given.most_flexible:g} of the requests may wait")
    return tuple(found)


def score(service: Service, level: int) -> Score:
    """How far a design reaches the goals of a level.

    Args:
        service: the design.
        level: 1, 2 or 3.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if there is no such level, or the design gives fewer accelerators than it needs.

    >>> score(CHALLENGES[1].baseline, 1).points  # quality and latency are as they were
    2
    """
    given, refused = challenge(level), refusals(service, level)
    most = sum(goal.points for goal in given.goals)
    after = evaluate(service)
    # other work gives no points, and is still shown beside the baseline at the same work
    before = given.baseline.replace(**{name: getattr(service, name) for name in FIXED})
    drawn = [outcome_of_draws(one, assumptions(one), N_DRAWS, SEED) for one in (before, service)]
    kept = all(after.quality >= goal.limit for goal in given.goals if goal.quantity == "quality")
    rows = []
    for goal in given.goals:
        value, reached = _reached(goal, before, after, drawn)
        lost = goal.quantity in SAVINGS and not kept
        why = "not allowed at this level" if refused else "quality fell, so no saving counts" if lost else ""
        row = {"goal": goal.text, "reached": reached, "value": value, "limit": goal.limit}
        row |= {"points": goal.points if reached and not why else 0, "most": goal.points}
        rows.append(row | {"reason": why if reached else ""})
    goals = pd.DataFrame(rows)
    return Score(given.level, int(goals["points"].sum()), most, refused, goals)


def _reached(goal: Goal, baseline: Service, after: Outcome, drawn: list[Outcome]) -> tuple[float, bool]:
    if goal.quantity == "quality":
        return after.quality, after.quality >= goal.limit
    if goal.quantity == "pays back":
        paid = pays_back(baseline, after.service, days=goal.limit)
        return float(paid), paid
    of: Callable[[Outcome], Any] = QUANTITIES[goal.quantity][3]
    if goal.quantity in ("first token", "whole answer"):
        value = float(of(after))
        return value, value <= goal.limit
    shares = np.divide(of(drawn[1]), of(drawn[0]))
    value = float(np.quantile(np.broadcast_to(shares, N_DRAWS), SURE))
    return value, value <= goal.limit
