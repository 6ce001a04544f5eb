"""The book's ledger: what each chapter saved, at what quality, and what the savings come to together.

No saving counts where quality fell by more than the stated tolerance: such a row is kept, with its claim and the reason,
and counts as zero. It is kept because a technique that does not pay is a finding too, and because a chapter must run to
its end. Savings stack as a product of what remains, which holds where each technique acts on the joules that the ones
before it left; the capstone checks this by running them together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import pandas as pd

from greenlab.core import chapters
from greenlab.core.names import unknown
from greenlab.lab import state

SECTION = "ledger"
BASES = ("measured", "modelled", "cited")
CHAPTERS = tuple(chapter.name for chapter in chapters.CHAPTERS if chapter.number > 0)  # chapter 0 saves nothing


def stack(saved_fractions: Iterable[float]) -> float:
    """The fraction that several savings save together: one minus the product of what each leaves.

    Half, then a fifth of what is left: 0.5 x 0.8 = 0.4 remains, so 0.6 is saved and not 0.7.

    >>> stack([0.5, 0.2])
    0.6
    >>> stack([])
    0.0

    Raises:
        ValueError: if a fraction is above 1, or not a number.
    """
    remaining = 1.0
    for fraction in saved_fractions:
        remaining *= 1 - _fraction(fraction)
    return 1 - remaining


def _fraction(value: float) -> float:
    if not (math.isfinite(value) and value <= 1):
        raise ValueError(f"saved_fraction is {value}; give a share of the baseline up to 1, such as 0.2 for 20 %")
    return value


@dataclass(frozen=True)
class Entry:
    """One row of the ledger.

    Attributes:
        chapter: the chapter's name, as in ``CHAPTERS``.
        technique: what was done, in a few words.
        baseline_j: energy before [J].
        saved_fraction: share of it that counts as saved; 0 where quality fell too far. Negative if it cost more.
        claimed_fraction: share that was saved, whatever happened to quality.
        quality_before: the chapter's measure of quality before.
        quality_after: the same measure after.
        basis: measured, modelled or cited.
        note: on what, and how.
        reason: why the saving does not count; empty if it does.
    """

    chapter: str
    technique: str
    baseline_j: float
    saved_fraction: float
    claimed_fraction: float
    quality_before: float
    quality_after: float
    basis: str
    note: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if self.chapter not in CHAPTERS:
            raise unknown("chapter", self.chapter, CHAPTERS)
        if self.basis not in BASES:
            raise ValueError(f"basis is {self.basis!r}; write {', '.join(BASES)}")
        if not (math.isfinite(self.baseline_j) and self.baseline_j > 0):
            raise ValueError(f"baseline_j is {self.baseline_j}; give the energy before in joules, above 0")
        if not (math.isfinite(self.quality_before) and math.isfinite(self.quality_after)):
            raise ValueError(
                f"quality is {self.quality_before} before and {self.quality_after} after; give finite numbers"
            )
        _fraction(self.claimed_fraction)
        _fraction(self.saved_fraction)

    def __str__(self) -> str:
        quality = f"quality {self.quality_before:.4g} -> {self.quality_after:.4g}"
        saving = f"{self.claimed_fraction:.0%} of {self.baseline_j:.3g} J"
        if self.reason:
            return f"{self.technique}: {saving} ({self.basis}) does not count, because {self.reason}."
        return f"{self.technique}: saves {saving} ({self.basis}), {quality}."


def record(
    chapter: str,
    technique: str,
    *,
    baseline_j: float,
    saved_fraction: float,
    quality_before: float,
    quality_after: float,
    basis: str,
    note: str = "",
    higher_is_better: bool = True,
    tolerance: float = 0.02,
) -> Entry:
    """Write a chapter's saving to the ledger, replacing the one it wrote before; print what it returns.

    Args:
        chapter: the chapter's name, as in ``CHAPTERS``.
        technique: what was done, in a few words.
        baseline_j: energy before [J].
        saved_fraction: share of it that was saved, such as 0.2; negative if the technique cost energy.
        quality_before: a measure of quality before, such as a score or a loss.
        quality_after: the same measure after.
        basis: measured, modelled or cited.
        note: on what, and how.
        higher_is_better: False where quality is a loss.
        tolerance: the share of ``quality_before`` that may be lost; beyond it the saving counts as 0, with the reason.

    Raises:
        ValueError: if the chapter or the basis is unknown, a number is out of range, or quality is not above 0.
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance is {tolerance}; give the share of quality that may be lost, from 0 to below 1")
    if quality_before <= 0:
        raise ValueError(f"quality_before is {quality_before}; losses are shares of it, so give a measure above 0")
    worse = (quality_before - quality_after if higher_is_better else quality_after - quality_before) / quality_before
    reason = ""
    if worse > tolerance and saved_fraction > 0:
        measure = "quality fell" if higher_is_better else "the loss rose"
        reason = f"{measure} by {worse:.1%} and {tolerance:.1%} is allowed"
    entry = Entry(
        chapter=chapter,
        technique=technique,
        baseline_j=float(baseline_j),
        saved_fraction=0.0 if reason else float(saved_fraction),
        claimed_fraction=float(saved_fraction),
        quality_before=float(quality_before),
        quality_after=float(quality_after),
        basis=basis,
        note=note,
        reason=reason,
    )
    state.save(SECTION, chapter, asdict(entry))
    return entry


def _restore(chapter: str, row: dict[str, Any]) -> Entry:
    try:
        return Entry(**row)
    except (TypeError, ValueError) as error:
        where = state.folder() / SECTION / f"{chapter}.json"
        raise ValueError(f"{where} is not a ledger entry ({error}); delete it and run the chapter again") from error


def table(defaults: Iterable[Entry] = ()) -> pd.DataFrame:
    """The ledger in the order of the chapters, with what remains after each row and all before it.

    Args:
        defaults: entries from the committed studies, used for chapters that the reader has not run yet.

    Returns:
        One row per chapter: the fields of ``Entry``, ``remaining_fraction`` (running product) and ``origin`` ("your run"
        or "committed study").
    """
    own = {chapter: _restore(chapter, row) for chapter, row in state.load(SECTION).items()}
    committed = {entry.chapter: entry for entry in defaults}
    rows: list[dict[str, Any]] = []
    remaining = 1.0
    for chapter in CHAPTERS:
        if entry := own.get(chapter) or committed.get(chapter):
            remaining *= 1 - entry.saved_fraction
            origin = "your run" if chapter in own else "committed study"
            rows.append({**asdict(entry), "remaining_fraction": remaining, "origin": origin})
    names = [field.name for field in fields(Entry)]
    return pd.DataFrame(rows, columns=[*names, "remaining_fraction", "origin"])
