"""What a teacher thinks of a text, asked once and kept: its k likeliest tokens at each position.

A teacher beside the student runs in every step. Where the text is known beforehand its answer can be stored instead and
serve many steps and many students; but the whole answer is V numbers a token. Kept are the k largest log-probabilities
and the log of the probability of all other tokens together. The student is then compared over k + 1 classes, the last
of which is "another token". A cache that drops the rest teaches a distribution that is too sure
(Anshumann et al., arXiv:2503.16870, who also show that any top-k cache, this one too, does not teach what is in the
rest; they draw tokens at random instead).

Shapes: N windows, S tokens of each, V vocabulary, k kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.model.gpt import LARGEST_SIZE, at_least_float32
from greenlab.core.model.training import logits_of, mode
from greenlab.distillation.loss import check_floats, refuse_second_derivative

FLOATS = (torch.float16, torch.float32, torch.float64)  # bfloat16 has 3 digits: too few for a log-probability


@dataclass(frozen=True, eq=False)
class TopLogits:
    """The answer of a teacher about windows of text; ``top[i]`` and ``top[[3, 1]]`` give that of some windows.

    Attributes:
        log_probabilities: `(N, S, k)`, of the likeliest tokens, the likeliest first [nats]. Those of position ``s``
            speak about the token after it.
        token_ids: `(N, S, k)`, int32: which tokens these are.
        log_rest: `(N, S)`, log of the probability of all other tokens together, the lowest number of its type where
            there are none [nats].
        vocab_size: V.

    Raises:
        TypeError: if an attribute has the wrong type.
        ValueError: if the shapes do not fit, a token is not in the vocabulary or twice at one position, or the
            probabilities of a position do not sum to 1 within 0.02.
    """

    log_probabilities: Tensor
    token_ids: Tensor
    log_rest: Tensor
    vocab_size: int

    def __post_init__(self) -> None:
        checks.integer("vocab_size", self.vocab_size, low=1, high=LARGEST_SIZE)
        check_floats("log_probabilities", self.log_probabilities)
        check_floats("log_rest", self.log_rest)
        if checks.instance("token_ids", self.token_ids, Tensor).dtype != torch.int32:
            raise TypeError(f"token_ids is {self.token_ids.dtype}: give int32")
        shape = self.log_probabilities.shape
        if len(shape) != 3 or not self.log_probabilities.numel():
            raise ValueError(f"log_probabilities has the shape {tuple(shape)}: give (N, S, k), each 1 or more")
        if self.token_ids.shape != shape or self.log_rest.shape != shape[:2]:
            raise ValueError(
                f"token_ids has the shape {tuple(self.token_ids.shape)} and log_rest {tuple(self.log_rest.shape)}: "
                f"give {tuple(shape)} and {tuple(shape[:2])}, as top_logits does"
            )
        if int(self.token_ids.min()) < 0 or int(self.token_ids.max()) >= self.vocab_size:
            raise ValueError(
                f"token_ids holds ids from {int(self.token_ids.min())} to {int(self.token_ids.max())}: "
                f"vocab_size={self.vocab_size} allows 0 to {self.vocab_size - 1}"
            )
        ordered = self.token_ids.sort(-1).values
        if bool((ordered[..., 1:] == ordered[..., :-1]).any()):
            raise ValueError("token_ids holds a token twice at one position: give each once, as top_logits does")
        total = self.log_probabilities.double().exp().sum(-1) + self.log_rest.double().exp()
        if not bool(((total - 1).abs() < 0.02).all()):  # NaN is not below either
            raise ValueError("log_probabilities and log_rest do not sum to a probability of 1: use top_logits")

    def __len__(self) -> int:
        """How many windows there are, N."""
        return len(self.token_ids)

    def __getitem__(self, windows: Any) -> TopLogits:
        """The same for some windows.

        Args:
            windows: a number, a slice, or a list or tensor `(B,)` of numbers from 0 to ``N - 1``.

        Raises:
            TypeError: if it is something else.
            ValueError: if it names no window, or one that is not there.
        """
        chosen: Iterable[Any] = [windows]
        if isinstance(windows, slice):
            chosen = range(len(self))[windows]
        elif isinstance(windows, (list, tuple, range)):
            chosen = windows
        elif isinstance(windows, Tensor):
            if windows.dtype not in (torch.int64, torch.int32) or windows.ndim > 1:
                raise TypeError(f"windows is {windows.dtype} of the shape {tuple(windows.shape)}: give integers, (B,)")
            chosen = windows.reshape(-1).tolist()
        numbers = [checks.integer("windows", i, low=0, high=len(self) - 1) for i in chosen]
        if not numbers:
            raise ValueError(f"windows names none of the {len(self)} windows: give at least one number")
        return TopLogits(
            self.log_probabilities[numbers], self.token_ids[numbers], self.log_rest[numbers], self.vocab_size
        )

    @property
    def k(self) -> int:
        """How many tokens are kept at each position."""
        return self.token_ids.shape[2]

    @property
    def n_bytes(self) -> int:
        """Size of the cache [B]."""
        return sum(t.numel() * t.element_size() for t in (self.log_probabilities, self.token_ids, self.log_rest))


@torch.no_grad()
def top_logits(
    teacher: Any, input_ids: Tensor, k: int = 64, *, dtype: torch.dtype = torch.float16, batch_size: int = 4
) -> TopLogits:
    """Ask a teacher once what it thinks of a text, and keep its k likeliest tokens at each position.

    Args:
        teacher: a `core.model.gpt.GPT` or a causal language model of transformers; it stays in its mode.
        input_ids: token ids `(N, S)`, windows of equal length without padding.
        k: how many tokens to keep, from 1 to V; with V nothing is left out.
        dtype: of the kept logarithms: float16 keeps three digits, and the loss of the teacher itself is then below
            1e-5 instead of 0.
        batch_size: windows in one forward pass.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a number or the shape is out of range, or the teacher gives NaN or infinity.
    """
    checks.instance("teacher", teacher, nn.Module)
    checks.integer("batch_size", batch_size, low=1, high=LARGEST_SIZE)
    if not isinstance(input_ids, Tensor):
        raise TypeError(f"input_ids is {type(input_ids).__name__}: give a tensor of token ids (N, S)")
    if input_ids.ndim != 2 or not input_ids.numel():
        raise ValueError(f"input_ids has the shape {tuple(input_ids.shape)}: give (N, S), both 1 or more")
    return top_of(_logits_in_parts(teacher, input_ids, batch_size), k, dtype=dtype)


def _logits_in_parts(teacher: nn.Module, input_ids: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Logits `(B, S, V)` of a few windows at a time, so that never more than these exist."""
    for batch in input_ids.split(batch_size):
        with torch.no_grad(), mode(teacher, training=False):
            logits = logits_of(teacher, batch)
        yield logits


def top_of(logits: Any, k: int, *, dtype: torch.dtype = torch.float16) -> TopLogits:
    """The k likeliest tokens of logits that somebody has already computed.

    Args:
        logits: `(N, S, V)`, or an iterable of such parts, which are joined along N.
        k: how many tokens to keep, from 1 to V.
        dtype: of the kept logarithms: float16, float32 or float64.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if ``k`` or a shape is out of range, parts differ in S or V, or the logits hold NaN or infinity.

    >>> top = top_of(torch.tensor([[[0.5, 0.25, 0.125, 0.125]]]).log(), 2)
    >>> top.token_ids.tolist(), [round(p, 2) for p in top.log_probabilities.exp().flatten().tolist()]
    ([[[0, 1]]], [0.5, 0.25])
    >>> round(top.log_rest.exp().item(), 2)
    0.25
    """
    checks.integer("k", k, low=1)
    if dtype not in FLOATS:
        raise TypeError(f"dtype={dtype!r}: give torch.float16, torch.float32 or torch.float64")
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    wanted: torch.Size | None = None
    for part in _parts(logits):
        check_floats("logits", part)
        if part.ndim != 3 or not part.numel():
            raise ValueError(f"logits has the shape {tuple(part.shape)}: give (N, S, V), each 1 or more")
        wanted = wanted or part.shape[1:]
        if part.shape[1:] != wanted:
            raise ValueError(
                f"logits has a part of the shape {tuple(part.shape)} after one of (N, {wanted[0]}, {wanted[1]}): give "
                "parts of the same S and V"
            )
        checks.integer("k", k, high=wanted[1], remedy="the vocabulary has no more tokens")
        kept.append(_top(at_least_float32(part.detach()), k, dtype))
    if wanted is None:
        raise ValueError("logits has no part: give (N, S, V)")
    values, ids, rest = (torch.cat([row[i] for row in kept]) for i in range(3))
    return TopLogits(values, ids, rest, wanted[1])


def _parts(logits: Any) -> Iterable[Any]:
    if isinstance(logits, Tensor):
        return [logits]
    if isinstance(logits, (str, bytes)) or not isinstance(logits, Iterable):
        raise TypeError(f"logits is {type(logits).__name__}: give a tensor (N, S, V), or an iterable of them")
    return logits


def _top(logits: Tensor, k: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    ids = logits.topk(k, dim=-1).indices
    classes, _ = _classes(logits.flatten(0, 1), ids.flatten(0, 1))
    if bool(torch.isnan(classes).any()):
        raise ValueError("logits holds NaN, +inf, or a row of -inf only: look for them in the teacher's weights")
    wide, lowest = torch.promote_types(classes.dtype, dtype), torch.finfo(dtype).min
    classes = classes.to(wide).clamp(min=lowest).to(dtype)  # a probability of 0 keeps a finite logarithm
    classes = classes.view(*ids.shape[:2], k + 1)
    return classes[..., :k].contiguous(), ids.int(), classes[..., k].contiguous()


def _classes(logits: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities `(rows, k + 1)` of the tokens ``ids`` and of all others together, and how these share theirs.

    Teacher and student go through this same arithmetic, so that their difference is exactly 0 where they agree.
    """
    top = logits.gather(1, ids)
    rest = logits.scatter(1, ids, -math.inf)
    highest, where = rest.max(1, keepdim=True)
    empty = highest == -math.inf  # no other token is left, or each of them is excluded
    # The logarithm of the rest is summed over the rest itself: 1 minus the others has no digits where the rest is small
    if bool(empty.all()):
        within, log_rest = torch.zeros_like(rest), highest
    else:
        within = rest.softmax(1)  # the distribution inside the rest, (rows, V)
        log_rest = highest - within.gather(1, where).log()  # = logsumexp, without another pass over V
        if bool(empty.any()):
            within, log_rest = within.masked_fill(empty, 0.0), torch.where(empty, highest, log_rest)
    total = torch.logaddexp(top.logsumexp(1, keepdim=True), log_rest)
    return torch.cat([top, log_rest], 1) - total, within


def top_k_loss(student_logits: Tensor, cached: TopLogits) -> Tensor:
    """Forward KL(teacher || student) over the k kept tokens and "another token", mean over tokens [nats per token].

    Joining the classes of the rest can only lower a KL divergence, so this is never above the KL over the whole
    vocabulary; it is 0 where the student agrees with the teacher, and with k = V it is the whole KL. The gradient
    reaches every logit: those of the rest are raised or lowered together, in the student's own proportions. There is no
    second derivative: ``create_graph=True`` raises a RuntimeError.

    Args:
        student_logits: `(N, S, V)`, of the same windows.
        cached: of N windows of S tokens.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if the shapes differ, or the loss is not finite.

    >>> teacher = torch.tensor([[[0.5, 0.25, 0.125, 0.125]]]).log()
    >>> student = torch.tensor([[[0.25, 0.25, 0.4, 0.1]]]).log()
    >>> round(top_k_loss(student, top_of(teacher, 2)).item(), 3)  # 0.5 log 2 + 0.25 log(0.25 / 0.5)
    0.173
    """
    check_floats("student_logits", student_logits)
    checks.instance("cached", cached, TopLogits)
    wanted = (*cached.log_rest.shape, cached.vocab_size)
    if tuple(student_logits.shape) != wanted:
        raise ValueError(
            f"student_logits has the shape {tuple(student_logits.shape)}: give {wanted}, the logits of the same "
            "windows from a student with the same vocabulary"
        )
    rows = at_least_float32(student_logits).flatten(0, 1)
    known = torch.cat([cached.log_probabilities.flatten(0, 1), cached.log_rest.reshape(-1, 1)], 1)
    log_teacher = (
        known.detach().to(rows.device, rows.dtype).log_softmax(-1)
    )  # rounding to float16 moved the sum away from 1
    loss = _TopK.apply(rows, log_teacher, cached.token_ids.flatten(0, 1).to(rows.device).long())
    if not bool(torch.isfinite(loss.detach())):
        raise ValueError(
            f"the loss is {loss.item()}: student_logits holds NaN, +inf, or -inf where the teacher sees a chance; look "
            "for the first layer that gives one"
        )
    return loss


class _TopK(torch.autograd.Function):
    """The loss with its gradient in closed form: one table `(rows, V)` is kept for the way back, not five."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, log_teacher: Tensor, ids: Tensor) -> Tensor:
        classes, within = _classes(logits, ids)
        log_student = classes.log_softmax(-1)  # the teacher's are rounded so too
        teacher, student = log_teacher.exp(), log_student.exp()
        ctx.save_for_backward(within, ids, student - teacher)
        parts = torch.where(teacher > 0, teacher * (log_teacher - log_student), torch.zeros_like(teacher))
        parts = (parts - teacher + student).clamp(min=0)  # as in `divergences`: 0 or more but for the last digit
        return parts.sum() / len(logits)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        refuse_second_derivative("top_k_loss", "take distillation_loss of the teacher's logits")
        within, ids, difference = ctx.saved_tensors
        difference = difference * (grad / len(ids))
        change = within * difference[:, -1:]  # what the class "another token" needs, shared inside it
        return change.scatter_(1, ids, difference[:, :-1]), None, None
