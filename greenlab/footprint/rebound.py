"""When does an effort pay back, and what is left of a saving when people use more of what became cheap?

W. S. Jevons saw it with coal (The Coal Question, 1865): better engines raised the demand. The rebound effect is the share
of the expected saving that extra use takes back; above 1 more is used than before (Saunders, Energy Journal 13(4), 1992).
"""

from __future__ import annotations

from dataclasses import dataclass

from greenlab.footprint.checks import Amount, amount


def break_even(invested_kwh: Amount, per_use_wh: Amount) -> Amount:
    """Uses until their energy equals what was invested; per use it may be what a use costs, or what it saves.

    GPT-3's training against prompts of 0.24 Wh:

    >>> f"{break_even(1_287_000, 0.24):.2e}"
    '5.36e+09'
    """
    invested = amount("invested_kwh", invested_kwh, "kWh")
    remedy = "a use that costs or saves nothing never reaches the investment"
    return invested * 1e3 / amount("per_use_wh", per_use_wh, "Wh", above=True, remedy=remedy)


@dataclass(frozen=True)
class Rebound:
    """A saving per use, before and after people changed how much they use.

    Attributes:
        before_wh, after_wh: energy of one use [Wh].
        uses_before, uses_after: how many there are in the same time.
    """

    before_wh: Amount
    after_wh: Amount
    uses_before: Amount
    uses_after: Amount

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
        """The share of the expected saving that extra use took back: 0 none, 1 all, above 1 more than all."""
        return 1 - self.saving_kwh / self.expected_saving_kwh


def rebound(*, before_wh: Amount, after_wh: Amount, uses_before: Amount, uses_after: Amount) -> Rebound:
    """Compare what a saving promised with what it gave.

    Raises:
        ValueError: if an amount is out of range, or a use does not cost less than before.

    Answers cost a third, and people ask twice as much: half of the saving is gone.

    >>> found = rebound(before_wh=3, after_wh=1, uses_before=1000, uses_after=2000)
    >>> found.expected_saving_kwh, found.saving_kwh, found.share
    (2.0, 1.0, 0.5)
    """
    before = amount("before_wh", before_wh, "Wh", above=True)
    after = amount("after_wh", after_wh, "Wh")
    remedy = "a rebound is defined for a use that became cheaper"
    amount("before_wh - after_wh", before - after, "Wh", above=True, remedy=remedy)
    return Rebound(
        before,
        after,
        amount("uses_before", uses_before, "uses", above=True),
        amount("uses_after", uses_after, "uses"),
    )


def uses_after_saving(uses_before: Amount, *, cost_ratio: Amount, elasticity: Amount) -> Amount:
    """Uses after their cost fell to ``cost_ratio`` of what it was, at a constant elasticity of demand.

    ``uses * cost_ratio ** -elasticity``: at 0 nothing changes, at 1 the extra use eats all of the saving.

    >>> uses_after_saving(100, cost_ratio=0.25, elasticity=0.5), uses_after_saving(100, cost_ratio=0.25, elasticity=1)
    (200.0, 400.0)
    """
    ratio = amount("cost_ratio", cost_ratio, "", above=True)
    return amount("uses_before", uses_before, "uses") * ratio ** -amount("elasticity", elasticity, "", high=10.0)
