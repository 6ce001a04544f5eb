"""When an effort pays back, and how much of a saving is left when people use more of what became cheap.

W. S. Jevons saw it with coal (The Coal Question, 1865): better engines raised the demand. The rebound effect is the
share of the expected saving that extra use takes back; above 1 more is used than before (Saunders, Energy Journal
13(4), 1992).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from greenlab.footprint.checks import SMALLEST, Amount, check_amount, check_together


def break_even(invested_kwh: Amount, per_use_wh: Amount) -> Amount:
    """Uses until their energy equals what was invested; per use it may be what a use costs, or what it saves.

    Args:
        invested_kwh: energy of the effort [kWh].
        per_use_wh: energy of one use, or what one use saves [Wh], above 0.

    Returns:
        Number of uses, a float or shaped like the arguments.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is out of range, or two do not fit together.

    GPT-3's training against prompts of 0.24 Wh:

    >>> f"{break_even(1_287_000, 0.24):.2e}"
    '5.36e+09'
    """
    invested = check_amount("invested_kwh", invested_kwh, "kWh")
    remedy = "a use that costs or saves nothing never reaches the investment"
    per_use = check_amount("per_use_wh", per_use_wh, "Wh", low=SMALLEST, remedy=remedy)
    check_together(invested_kwh=invested, per_use_wh=per_use)
    return invested * 1e3 / per_use


@dataclass(frozen=True)
class Rebound:
    """A saving per use, before and after people changed how much they use.

    Attributes:
        before_wh, after_wh: energy of one use [Wh].
        uses_before, uses_after: how many there are in the same time.

    Each is a number, or an array or Series of one shape.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is out of range, or two do not fit together.
    """

    before_wh: Amount
    after_wh: Amount
    uses_before: Amount
    uses_after: Amount

    def __post_init__(self) -> None:
        units = {"before_wh": "Wh", "after_wh": "Wh", "uses_before": "uses", "uses_after": "uses"}
        for name, unit in units.items():
            object.__setattr__(self, name, check_amount(name, getattr(self, name), unit))
        check_together(**{name: getattr(self, name) for name in units})

    @property
    def before_kwh(self) -> Amount:
        """Energy before [kWh]."""
        return self.before_wh * self.uses_before / 1e3

    @property
    def after_kwh(self) -> Amount:
        """Energy after, with the new number of uses [kWh]."""
        return self.after_wh * self.uses_after / 1e3

    @property
    def expected_saving_kwh(self) -> Amount:
        """The saving if nobody used more [kWh]."""
        return (self.before_wh - self.after_wh) * self.uses_before / 1e3

    @property
    def saving_kwh(self) -> Amount:
        """What is really saved [kWh]; negative when more is used than before."""
        return self.before_kwh - self.after_kwh

    @property
    def share(self) -> Amount:
        """The share of the expected saving that extra use took back: 0 none, 1 all, above 1 more than all.

        Raises:
            ValueError: if no saving was expected, as a use costs what it did.
        """
        if not np.all(np.asarray(self.expected_saving_kwh) != 0):
            raise ValueError("before_wh and after_wh are the same: without a saving there is no share of it")
        return 1 - self.saving_kwh / self.expected_saving_kwh


def rebound(*, before_wh: Amount, after_wh: Amount, uses_before: Amount, uses_after: Amount) -> Rebound:
    """Compare what a saving promised with what it gave.

    Args:
        before_wh: energy of one use before [Wh], above 0.
        after_wh: energy of one use after [Wh], less than before.
        uses_before: how many there were, above 0.
        uses_after: how many there are in the same time.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is out of range, two do not fit together, or a use does not cost less than before.

    Answers cost a third, and people ask twice as much: half of the saving is gone.

    >>> found = rebound(before_wh=3, after_wh=1, uses_before=1000, uses_after=2000)
    >>> found.expected_saving_kwh, found.saving_kwh, found.share
    (2.0, 1.0, 0.5)
    """
    before = check_amount("before_wh", before_wh, "Wh", above=True)
    after = check_amount("after_wh", after_wh, "Wh")
    check_together(before_wh=before, after_wh=after)
    remedy = "a rebound is defined for a use that became cheaper"
    check_amount("before_wh - after_wh", before - after, "Wh", above=True, remedy=remedy)
    uses = check_amount("uses_before", uses_before, "uses", above=True)
    return Rebound(before, after, uses, uses_after)


def uses_after_saving(uses_before: Amount, *, cost_ratio: Amount, elasticity: Amount) -> Amount:
    """Uses after their cost fell to ``cost_ratio`` of what it was, at a constant elasticity of demand.

    ``uses * cost_ratio ** -elasticity``: at 0 nothing changes, at 1 the extra use eats all of the saving.

    Args:
        uses_before: uses before their cost fell.
        cost_ratio: new cost over old cost, from 1e-9 to 1e9.
        elasticity: by how many per cent use grows when the cost falls by one per cent, 0 to 10.

    Returns:
        Number of uses, a float or shaped like the arguments.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is out of range, or two do not fit together.

    >>> uses_after_saving(100, cost_ratio=0.25, elasticity=0.5), uses_after_saving(100, cost_ratio=0.25, elasticity=1)
    (200.0, 400.0)
    """
    uses = check_amount("uses_before", uses_before, "uses")
    ratio = check_amount("cost_ratio", cost_ratio, "", low=1e-9, high=1e9)
    exponent = check_amount("elasticity", elasticity, "", high=10.0)
    check_together(uses_before=uses, cost_ratio=ratio, elasticity=exponent)
    return uses * ratio**-exponent
