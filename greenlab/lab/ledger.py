"""The book's ledger: what each chapter saved, at what quality, and what the savings come to together.

Energy, carbon and memory are kept apart: 12 % less carbon is no energy saved. Within one of them, savings stack as a
product of what remains, which holds where each technique acts on what the ones before it left; the capstone checks this
by running them together.

No saving counts where quality fell by more than the stated tolerance: such a row is kept, with its claim and reason,
and counts as zero. It is kept because a technique that does not pay is a result too, and because a chapter must run to
its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any

import pandas as pd

from greenlab.core import chapters, checks
from greenlab.core.checks import flag, number, one_of
from greenlab.core.names import SAVING_BASES, unknown
from greenlab.lab import receipts, state

SECTION = "ledger"
UNITS = MappingProxyType({"energy": "J", "carbon": "g", "memory": "B"})  # of the baseline, by quantity
QUANTITIES = tuple(UNITS)
CHAPTERS = tuple(chapter.name for chapter in chapters.CHAPTERS if chapter.number > 0)  # chapter 0 saves nothing
_MEANT = "give a share of the baseline up to 1, such as 0.2 for 20 %"


def stack(saved_fractions: Iterable[float]) -> float:
    """The fraction that several savings save together: one minus the product of what each leaves.

    Half, then a fifth of what is left: 0.5 x 0.8 = 0.4 remains, so 0.6 is saved and not 0.7.

    Args:
        saved_fractions: shares of one and the same quantity, each of what the ones before it left.

    Raises:
        TypeError: if a fraction is no number, or there is nothing to go through.
        ValueError: if a fraction is above 1, or not finite.

    >>> stack([0.5, 0.2])
    0.6
    >>> stack([])
    0.0
    """
    if isinstance(saved_fractions, str) or not isinstance(saved_fractions, Iterable):
        raise TypeError(f"saved_fractions is {saved_fractions!r}; give a list of shares, such as [0.5, 0.2]")
    remaining = 1.0
    for fraction in saved_fractions:
        remaining *= 1 - number("saved_fractions", fraction, high=1, remedy=_MEANT)
    return 1 - remaining


@dataclass(frozen=True)
class Entry:
    """One row of the ledger.

    Attributes:
        chapter: the chapter's name, as in ``CHAPTERS``.
        technique: what was done, in a few words.
        quantity: what was saved: energy, carbon or memory.
        baseline: how much of it there was before, in the quantity's unit [J, g or B].
        saved_fraction: share of it that counts as saved; 0 where quality fell too far. Negative if it cost more.
        claimed_fraction: share that was saved, whatever happened to quality.
        quality_before: the chapter's measure of quality before.
        quality_after: the same measure after.
        basis: measured, modelled or cited.
        note: on what, and how.
        reason: why the saving does not count; empty if it does.

    Raises:
        TypeError: if a number or a text is none.
        ValueError: if a name is unknown, or a number is out of range.
    """

    chapter: str
    technique: str
    quantity: str
    baseline: float
    saved_fraction: float
    claimed_fraction: float
    quality_before: float
    quality_after: float
    basis: str
    note: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        for name in ("chapter", "technique", "note", "reason"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} is {getattr(self, name)!r}; give text")
        if self.chapter not in CHAPTERS:
            raise unknown("chapter", self.chapter, CHAPTERS)
        one_of("quantity", self.quantity, QUANTITIES)
        one_of("basis", self.basis, SAVING_BASES)
        number("baseline", self.baseline, above=0, remedy=f"it is what there was before, in {self.unit}")
        number("quality_before", self.quality_before)
        number("quality_after", self.quality_after)
        number("claimed_fraction", self.claimed_fraction, high=1, remedy=_MEANT)
        number("saved_fraction", self.saved_fraction, high=1, remedy=_MEANT)

    @property
    def unit(self) -> str:
        """The unit of the baseline: J, g or B."""
        return UNITS[self.quantity]

    @property
    def key(self) -> str:
        """The entry's name among the reader's files: a chapter has one entry for each quantity."""
        return f"{self.chapter}.{self.quantity}"

    def __str__(self) -> str:
        amount = receipts.quantity(self.baseline, self.unit) + (" CO2e" if self.quantity == "carbon" else "")
        kind = self.basis if self.quantity == "energy" else f"{self.quantity}, {self.basis}"
        saving = f"{100 * self.claimed_fraction:.0f} % of {amount} ({kind})"
        if self.reason:
            return f"{self.technique}: {saving} does not count, because {self.reason}."
        if self.claimed_fraction < 0:
            saving = f"{-100 * self.claimed_fraction:.0f} % more than {amount} ({kind})"
        verb = "takes" if self.claimed_fraction < 0 else "saves"
        return f"{self.technique}: {verb} {saving}, quality {self.quality_before:.4g} -> {self.quality_after:.4g}."


def record(
    chapter: str,
    technique: str,
    *,
    baseline_j: float | None = None,
    baseline_g: float | None = None,
    baseline_b: float | None = None,
    saved_fraction: float,
    quality_before: float,
    quality_after: float,
    basis: str,
    note: str = "",
    higher_is_better: bool = True,
    tolerance: float = 0.02,
) -> Entry:
    """Write a chapter's saving to the ledger, replacing the one of the same quantity that it wrote before.

    Exactly one baseline is given; its unit says which quantity was saved.

    Args:
        chapter: the chapter's name, as in ``CHAPTERS``.
        technique: what was done, in a few words.
        baseline_j: energy before [J].
        baseline_g: carbon before [g CO2e].
        baseline_b: memory before [bytes].
        saved_fraction: share of the baseline that was saved, such as 0.2; negative if the technique cost more.
        quality_before: a measure of quality before, such as a score or a loss.
        quality_after: the same measure after.
        basis: measured, modelled or cited.
        note: on what, and how.
        higher_is_better: False where quality is a loss.
        tolerance: the share of ``quality_before`` that may be lost; beyond it the saving counts as 0, with the reason.

    Returns:
        What was written; its text is the entry as a sentence.

    Raises:
        TypeError: if a number or a text is none.
        ValueError: if the chapter or the basis is unknown, a number is out of range, quality is not above 0, or there
            is not exactly one baseline.
    """
    quantity, baseline = _baseline({"baseline_j": baseline_j, "baseline_g": baseline_g, "baseline_b": baseline_b})
    number("tolerance", tolerance, low=0, below=1, remedy="it is the share of quality that may be lost")
    saved = number("saved_fraction", saved_fraction, high=1, remedy=_MEANT)
    before = number("quality_before", quality_before, above=0, remedy="losses of quality are shares of it")
    after = number("quality_after", quality_after)
    worse = (before - after if flag("higher_is_better", higher_is_better) else after - before) / before
    reason = ""
    if worse > tolerance and saved > 0:
        measure = "quality fell" if higher_is_better else "the loss rose"
        reason = f"{measure} by {100 * worse:.1f} % and {100 * tolerance:.1f} % is allowed"
    entry = Entry(
        chapter=chapter,
        technique=technique,
        quantity=quantity,
        baseline=baseline,
        saved_fraction=0.0 if reason else saved,
        claimed_fraction=saved,
        quality_before=before,
        quality_after=after,
        basis=basis,
        note=note,
        reason=reason,
    )
    if _problem(entry.key, state.load(SECTION).get(entry.key, asdict(entry))):
        state.set_aside(SECTION, entry.key)  # an entry of another version, which must not be overwritten
    state.save(SECTION, entry.key, asdict(entry))
    state.forget(SECTION, chapter)  # the file's name when a chapter had one entry, always of energy
    return entry


def _baseline(given: dict[str, float | None]) -> tuple[str, float]:
    """The quantity and the amount of the one baseline that was given."""
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise ValueError(f"{' and '.join(named) or 'no baseline'} given; give exactly one of {', '.join(given)}")
    quantity = QUANTITIES[list(given).index(named[0])]
    return quantity, number(named[0], given[named[0]], above=0, remedy=f"it is the {quantity} before")


def _restore(row: state.Entry) -> Entry:
    """The entry of a stored row; rows without a quantity are of the version that knew joules only."""
    if "quantity" not in row and "baseline_j" in row:
        if row.get("chapter") == "load_shifting":
            raise ValueError("it says joules and means carbon")
        row = row | {"quantity": "energy", "baseline": row["baseline_j"]}
        del row["baseline_j"]
    return Entry(**row)


def _problem(key: str, row: state.Entry) -> str:
    """What keeps a stored row from being an entry of this version; empty if nothing does."""
    try:
        entry = _restore(row)
    except (TypeError, ValueError) as error:
        return f"it is not a ledger entry ({error})"
    expected = entry.key if "quantity" in row else entry.chapter
    return "" if key == expected else f"it says chapter {entry.chapter} and quantity {entry.quantity}"


def table(defaults: Iterable[Entry] = ()) -> pd.DataFrame:
    """The ledger by quantity, within each in the order of the chapters, with what remains after each row.

    Args:
        defaults: entries from the committed studies, used for chapters that the reader has not run yet.

    Returns:
        One row per chapter and quantity: the fields of ``Entry``, ``unit`` (of the baseline), ``remaining_fraction``
        (running product within the quantity) and ``origin`` ("your run" or "committed study"). Files that are no
        entries of this version are left out with a warning.

    Raises:
        TypeError: if ``defaults`` is no list, or one of them no ``Entry``.
    """
    committed: dict[str, Entry] = {}
    for default in checks.several("defaults", defaults):
        if not isinstance(default, Entry):
            raise TypeError(f"defaults holds {default!r}; give entries, as record(...) returns them")
        committed[default.key] = default
    restored = [_restore(row) for row in state.load(SECTION, _problem).values()]
    own = {entry.key: entry for entry in restored}  # "ternary" comes before "ternary.energy", which is the newer one
    rows: list[dict[str, Any]] = []
    for quantity in QUANTITIES:
        remaining = 1.0
        for chapter in CHAPTERS:
            key = f"{chapter}.{quantity}"
            if entry := own.get(key) or committed.get(key):
                remaining *= 1 - entry.saved_fraction
                origin = "your run" if key in own else "committed study"
                rows.append({**asdict(entry), "unit": entry.unit, "remaining_fraction": remaining, "origin": origin})
    names = [field.name for field in fields(Entry)]
    return pd.DataFrame(rows, columns=[*names, "unit", "remaining_fraction", "origin"])
