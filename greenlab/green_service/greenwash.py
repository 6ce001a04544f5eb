"""Ten short claims of products that do not exist, and what each leaves out.

Six things decide whether a number about the energy of AI can be checked: what it is a number of (the functional unit),
whether the building is in it (PUE), what else is in it (scope: accelerators alone, or hosts and waiting machines too),
which grid it means (marginal or average), manufacture, and whether quality stayed the same. A claim may need only some
of them: a speed needs no grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from greenlab.core import checks
from greenlab.core.names import unknown

KINDS = ("functional unit", "PUE", "scope", "marginal or average", "embodied", "quality")


@dataclass(frozen=True)
class ProductClaim:
    """One claim.

    Attributes:
        id: its name.
        text: what is claimed.
        missing: what is missing, each with the reason.
    """

    id: str
    text: str
    missing: Mapping[str, str]


@dataclass(frozen=True)
class Judgement:
    """What a reader's answer is worth.

    Attributes:
        correct: whether exactly what is missing was named.
        found: what was named and is missing.
        overlooked: how many missing things were not named.
        wrong: what was named and is there, or does not matter here.
        hint: one sentence that helps on.
    """

    correct: bool
    found: tuple[str, ...]
    overlooked: int
    wrong: tuple[str, ...]
    hint: str


def _claim(id: str, text: str, **missing: str) -> ProductClaim:
    names = {"unit": "functional unit", "pue": "PUE", "scope": "scope", "grid": "marginal or average",
             "embodied": "embodied", "quality": "quality"}  # fmt: skip
    return ProductClaim(id, text, MappingProxyType({names[name]: why for name, why in missing.items()}))


CLAIMS = {
    claim.id: claim
    for claim in (
        _claim(
            "half-the-energy", "Fennel 2 uses half the energy of Fennel 1.",
            unit="half of the energy of what: a token, an answer, a year?",
            scope="accelerators alone, or hosts and waiting machines too?",
            quality="a smaller model uses less and may answer worse",
        ),
        _claim(
            "joules-per-token",
            "Measured at the accelerators, Kestrel writes a token at 0.05 J, at a batch of 128; its score on our test "
            "is that of the version before. Hosts, waiting machines, buildings and manufacture are not in it.",
        ),
        _claim(
            "carbon-free-answers",
            "Every answer of Marlin is carbon-free: we buy certificates for as much wind power in a year as our data "
            "centres use, cooling included. Quality is measured and unchanged.",
            grid="certificates of a year say nothing about the grid of the hour: give the location-based mean as well",
            embodied="making the machines emits, whatever they run on",
        ),
        _claim(
            "per-prompt-chip",
            "A median text prompt of Osprey takes 0.1 Wh of accelerator power; that is all it needs. The prompts are "
            "the same as before and so are the ratings of users.",
            pue="the building's cooling and losses are left out and not named as left out",
            scope="hosts and waiting machines are left out: they can be as much again",
        ),
        _claim(
            "grams-per-answer",
            "One answer of Sorrel, at the median and with hosts, waiting machines and a PUE of 1.1, emits 0.02 g on "
            "the yearly mean of its grid. Blind ratings are equal to those of the version before.",
            embodied="manufacture is neither counted nor named as left out",
        ),
        _claim(
            "four-bits",
            "Four-bit Dunlin answers a question with a third of the energy of 16-bit Dunlin, whole servers and "
            "buildings included.",
            quality="rounding to four bits can cost accuracy: no score is given",
        ),
        _claim(
            "midnight-training",
            "By moving its training to the night, Plover avoided 30 t CO2e, whole site and manufacture included; the "
            "model came out the same.",
            grid="avoided against the mean of the day, or against the power station that ran because of it?",
            unit="30 t of how many: no total or unit of work is given",
        ),
        _claim(
            "green-cloud",
            "Our cloud for AI is 80 % greener than your own servers.",
            unit="80 % of what, for which work?",
            pue="is that the building alone?",
            scope="which machines are counted, and at which load?",
            grid="on which grid, of which hour or year?",
            embodied="with or without new machines?",
            quality="with the same models?",
        ),
        _claim(
            "best-building",
            "Our new hall has a PUE of 1.05, so a chat there uses a third less energy than in an average hall, servers "
            "and waiting machines counted the same way; the model is the same.",
        ),
        _claim(
            "sci-with-card",
            "Tern: 0.09 g CO2e per answer (0.06 to 0.14), location-based yearly mean, servers, waiting machines, a PUE "
            "of 1.2 and manufacture over four years included.",
            quality="the number is complete for its emissions, and nothing says whether the answers are as good",
        ),
    )
}  # fmt: skip


def judge(claim_id: str, missing: Iterable[str]) -> Judgement:
    """Compare what a reader found missing with what is missing.

    Args:
        claim_id: a name of `CLAIMS`.
        missing: what is missing, names of `KINDS`; none of them if nothing is.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if there is no such claim, or a name is unknown or stands there twice.

    >>> judge("four-bits", ["quality"]).correct, judge("four-bits", ["PUE"]).hint
    (True, 'PUE: read again, it is there or does not matter here')
    """
    checks.text("claim_id", claim_id)
    if claim_id not in CLAIMS:
        raise unknown("claim_id", claim_id, CLAIMS)
    named = checks.several("missing", missing, remedy=f"name some of {', '.join(KINDS)}")
    for name in named:
        checks.one_of("missing", name, KINDS)
    if len(set(named)) < len(named):
        raise ValueError(f"missing={named}: name each thing once")
    truth = CLAIMS[claim_id].missing
    found = tuple(name for name in KINDS if name in named and name in truth)
    wrong = tuple(name for name in KINDS if name in named and name not in truth)
    overlooked = len(truth) - len(found)
    if wrong:
        hint = f"{wrong[0]}: read again, it is there or does not matter here"
    elif overlooked:
        hint = f"{overlooked} more {'is' if overlooked == 1 else 'are'} missing"
    else:
        hint = (
            "; ".join(f"{name}: {why}" for name, why in truth.items()) or "nothing is missing: it says what it counts"
        )
    return Judgement(not wrong and not overlooked, found, overlooked, wrong, hint)
