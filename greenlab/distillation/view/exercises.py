"""Chapter 4's exercises: the loss, the factor T^2, the mean of an update, the break-even, and three public mistakes."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import torch
from torch import Tensor

from greenlab.lab.exercises import exercise

WIDE = torch.float64  # in which answers are compared


def _draw(random: Random, *shape: int) -> Tensor:
    """Logits of a realistic spread."""
    generator = torch.Generator().manual_seed(random.randrange(2**31))
    return 2 * torch.randn(*shape, generator=generator, dtype=WIDE)


def _loss(student, teacher, label, temperature, alpha):  # type: ignore[no-untyped-def]
    log_q = (student / temperature).log_softmax(-1)
    log_p = (teacher / temperature).log_softmax(-1)
    soft = (log_p.exp() * (log_p - log_q)).sum()
    hard = -student.log_softmax(-1)[label]
    return (1 - alpha) * hard + alpha * temperature**2 * soft


def _tokens(random: Random) -> tuple[Tensor, Tensor, int, float, float]:
    n = random.randint(3, 9)
    numbers = random.randrange(n), random.uniform(1.2, 8), random.uniform(0.1, 0.95)
    return _draw(random, n), _draw(random, n), *numbers


STUDENT = torch.tensor([2.0, 1.0, 0.0], dtype=WIDE)
TEACHER = torch.tensor([1.0, 2.5, -0.5], dtype=WIDE)


@exercise(
    "distillation-loss",
    reference=_loss,
    inputs=_tokens,
    difficulty="medium",
    minutes=10,
    hints=(
        "Three lines are enough for the soft part: both logarithms of the softmax at T, then the sum of p (log p - log "
        "q).",
        "The hard part is the cross-entropy of one label, at temperature 1.",
    ),
)
def _(answer: Any) -> str | None:
    """What the text says and what the teacher knows, each with its weight."""
    if not math.isclose(hard := float(answer(STUDENT, TEACHER, 1, 4.0, 0.0)), _value(STUDENT, TEACHER, 1, 4.0, 0.0)):
        if math.isclose(hard, _value(STUDENT, TEACHER, 1, 4.0, 1.0), rel_tol=1e-6):
            return (
                "with alpha = 0 only the label should count, and yours listens to the teacher alone: swap the weights"
            )
        cold = float(-(STUDENT / 4).log_softmax(-1)[1])
        if math.isclose(hard, cold, rel_tol=1e-6):
            return "the label is compared at temperature 1: only the soft part is taken at T"
        return f"with alpha = 0 the loss is the cross-entropy of the label, 1.4076 here; yours gives {hard:.4f}"
    if abs(same := float(answer(TEACHER, TEACHER, 1, 2.0, 1.0))) > 1e-9:
        return (
            f"with alpha = 1 a student that agrees with its teacher has nothing to learn, and yours pays {same:.3f}: "
            "a cross-entropy with the teacher is no divergence, as the teacher's own entropy is left in it"
        )
    soft, right = float(answer(STUDENT, TEACHER, 1, 4.0, 1.0)), _value(STUDENT, TEACHER, 1, 4.0, 1.0)
    if math.isclose(16 * soft, right, rel_tol=1e-6):
        return "your loss ignores T^2: compare its gradient at T = 1 and at T = 10"
    if math.isclose(4 * soft, right, rel_tol=1e-6):
        return "the soft part is multiplied by T squared, not by T"
    if math.isclose(soft, _value(TEACHER, STUDENT, 1, 4.0, 1.0), rel_tol=1e-6):
        return "that is KL(student || teacher); here the teacher's probabilities do the weighing"
    return None


def _value(*arguments: Any) -> float:
    return float(_loss(*arguments))


def _true_alpha(alpha, temperature):  # type: ignore[no-untyped-def]
    return alpha / (alpha + (1 - alpha) * temperature**2)


@exercise(
    "distillation-temperature",
    reference=_true_alpha,
    inputs=lambda random: (random.uniform(0.05, 0.95), random.uniform(0.5, 8)),
    difficulty="medium",
    minutes=8,
    hints=(
        "Only the proportion of the two parts matters. Without the factor it is (1 - alpha) to alpha.",
        "With it the parts of the answer b stand as (1 - b) to b T^2. Set the proportions equal.",
    ),
)
def _(answer: Any) -> str | None:
    """Without T^2 the teacher has less to say than alpha promises."""
    if not math.isclose(same := float(answer(0.9, 1.0)), 0.9):
        return f"at T = 1 the factor is 1, so alpha stays what it is, 0.9; yours gives {same:.4g}"
    got = float(answer(0.5, 4.0))
    if math.isclose(got, 16 / 17, rel_tol=1e-6):
        return (
            "that is the other way round: forgetting the factor makes the teacher weaker, so the answer is below alpha"
        )
    if math.isclose(got, 0.2, rel_tol=1e-6):
        return "the factor is T squared, not T"
    if math.isclose(got, 0.5 / 16, rel_tol=1e-6):
        return "alpha / T^2 leaves the labels' weight at 1 - alpha: the two weights have to add up to 1"
    if not 0 <= got <= 1:
        return f"answer(0.5, 4) = {got:.4g} is no weight: it lies from 0 to 1"
    return None


def _update(means, tokens):  # type: ignore[no-untyped-def]
    return (means * tokens).sum() / tokens.sum()


def _micro_batches(random: Random) -> tuple[Tensor, Tensor]:
    n = random.randint(2, 6)
    means = torch.tensor([random.uniform(0.5, 4) for _ in range(n)], dtype=WIDE)
    counts = [random.randint(1, 900) for _ in range(n)]
    return means, torch.tensor(counts)


@exercise(
    "distillation-normalisation",
    reference=_update,
    inputs=_micro_batches,
    difficulty="easy",
    minutes=5,
    hints=("Undo each mean first: how large is the sum of the losses in a micro-batch?",),
)
def _(answer: Any) -> str | None:
    """Every token of the update counts once, wherever it stands."""
    means, tokens = torch.tensor([1.0, 3.0], dtype=WIDE), torch.tensor([900, 100])
    got = float(answer(means, tokens))
    if math.isclose(got, 2.0):
        return "the mean of 1.0 over 900 tokens and 3.0 over 100 is not 2.0: that is a mean of means, as in public code"
    if math.isclose(got, 1200):
        return "that is the sum over all tokens; divide by how many there are"
    if math.isclose(got, 600):
        return "you divide by the number of micro-batches; the sum is over tokens, so divide by the tokens"
    if not math.isclose(got, 1.2):
        return f"900 tokens that lose 1.0 each and 100 that lose 3.0 lose 1.2 in the mean; yours gives {got:.4g}"
    return None


def _queries(distillation_j, teacher_j, student_j, tokens):  # type: ignore[no-untyped-def]
    saved_j = (teacher_j - student_j) * tokens
    return distillation_j / saved_j if saved_j > 0 else float("inf")


def _bills(random: Random) -> tuple[float, float, float, int]:
    teacher_j = random.uniform(0.05, 4)
    # a third of the students save nothing, and some cost exactly as much as the teacher
    student_j = teacher_j * random.choice((random.uniform(0.05, 0.9), random.uniform(0.05, 0.9), 1.0, 1.3))
    tokens = random.choice((1, random.randint(2, 2000)))  # an answer may save less than a joule
    return 10 ** random.uniform(3, 12), teacher_j, student_j, tokens


@exercise(
    "distillation-break-even",
    reference=_queries,
    inputs=_bills,
    difficulty="easy",
    minutes=6,
    hints=("How many joules does one answer save?", "What if it saves none?"),
)
def _(answer: Any) -> str | None:
    """The price of the distillation over what each answer saves, and never where it saves nothing."""
    got = float(answer(6000.0, 2.0, 0.5, 100))
    if math.isclose(got, 4000):
        return "that is how many tokens it takes; an answer has 100 of them"
    if math.isclose(got, 30):
        return "you divide by what the teacher spends on an answer; the student spends something, too"
    if math.isclose(got, 120):
        return "you divide by what the student spends; what pays the bill back is the difference to the teacher"
    if not math.isclose(got, 40):
        return f"6,000 J, 1.5 J saved for each of 100 tokens: 40 answers; yours gives {got:.4g}"
    for student_j in (2.0, 3.0):
        try:
            never = float(answer(6000.0, 2.0, student_j, 100))
        except Exception as error:
            return f"a student that costs {student_j:g} J where its teacher costs 2 J: yours stops with {error}"
        if never != math.inf:
            return f"a student of {student_j:g} J a token saves nothing against 2 J: it never pays, so give infinity"
    return None


def _soft(student, teacher, counts, temperature):  # type: ignore[no-untyped-def]
    log_q = (student / temperature).log_softmax(-1)
    log_p = (teacher / temperature).log_softmax(-1)
    each = (log_p.exp() * (log_p - log_q)).sum(-1)
    return temperature**2 * each[counts].sum() / counts.sum()


def _soft_with_bugs(student, teacher, counts, temperature):  # type: ignore[no-untyped-def]
    log_q = (student / temperature).log_softmax(-1)
    log_p = (teacher / temperature).log_softmax(-1)
    each = -(log_p.exp() * log_q).sum(-1)
    return (each * counts).mean()


def _texts(random: Random) -> tuple[Tensor, Tensor, Tensor, float]:
    n, v = random.randint(3, 8), random.randint(2, 6)
    counts = torch.tensor([True, False] + [random.random() < 0.6 for _ in range(n - 2)])
    return _draw(random, n, v), _draw(random, n, v), counts, random.uniform(1.2, 8)


@exercise(
    "distillation-find-the-bug",
    reference=_soft,
    inputs=_texts,
    bug=_soft_with_bugs,
    difficulty="hard",
    minutes=15,
    hints=(
        "There are three mistakes. What should the loss be where student and teacher agree?",
        "How many rows does the last line divide by, and how many of them count?",
    ),
)
def _(answer: Any) -> str | None:
    """Nothing where both agree, the same size at every temperature, and only tokens that count."""
    student, teacher = torch.stack([STUDENT, TEACHER, STUDENT]), torch.stack([TEACHER, STUDENT, STUDENT])
    all_count = torch.ones(3, dtype=torch.bool)
    same = float(answer(teacher, teacher, all_count, 2.0))
    if abs(same) > 1e-9:
        return (
            f"a student that agrees with its teacher everywhere should pay nothing, and pays {same:.3f}: a "
            "cross-entropy is sold as a divergence here"
        )
    some = torch.tensor([True, True, False])
    whole, part = float(answer(student, teacher, some, 2.0)), float(answer(student[:2], teacher[:2], some[:2], 2.0))
    if not math.isclose(whole, part, rel_tol=1e-9):
        return (
            f"a row that does not count changes the loss from {part:.4f} to {whole:.4f}: divide by the rows that count"
        )
    got, right = (float(f(student, teacher, all_count, 8.0)) for f in (answer, _soft))
    if math.isclose(64 * got, right, rel_tol=1e-6):
        return "at T = 8 the loss, and with it the gradient, is 64 times too small: the factor T^2 is missing"
    if math.isclose(8 * got, right, rel_tol=1e-6):
        return "the factor is T squared, not T"
    return None
