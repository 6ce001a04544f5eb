"""How far a student's distribution is from its teacher's: three divergences that are 0 only where the two agree.

p is the teacher's distribution and q the student's, given as logarithms ``(N, V)``. Each function gives a sum over all
rows and tokens [nats]. Its terms are written so that each of them is 0 or more: p and q both sum to 1, so adding q - p
changes no sum, but it takes the rounding errors of first order away, and where the two agree the loss and its gradient
are exactly 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DIVERGENCES = ("forward_kl", "reverse_kl", "jsd")
LARGE = 30.0  # exp(30) is 1e13: large enough for the other form to be exact, far from overflow


def forward_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q), the sum of p log(p / q): missing a token that the teacher likes costs most (arXiv:1503.02531)."""
    p, q = log_p.exp(), log_q.exp()
    return (p * (log_p - log_q) - p + q).sum()


def reverse_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(q || p): liking a token that the teacher does not costs most (MiniLLM, arXiv:2306.08543, eq. 1)."""
    return forward_kl(log_q, log_p)


def jsd(log_p: Tensor, log_q: Tensor, beta: float) -> Tensor:
    """The generalised Jensen-Shannon divergence of GKD (arXiv:2306.13649, eq. 1), divided by beta (1 - beta).

    GKD's own is beta KL(p || m) + (1 - beta) KL(q || m) with m = beta p + (1 - beta) q, which is 0 at beta 0 and 1.
    Divided, it passes into the forward KL as beta goes to 0 and into the reverse KL as beta goes to 1, and near the
    teacher every member of the family has the same size: half the chi-square distance.

    Args:
        log_p: of the teacher.
        log_q: of the student.
        beta: above 0 and below 1, not below 1e-16: float32 has no room for 1 / beta then.
    """
    log_ratio, rest = log_q - log_p, 1 - beta
    of_teacher = log_p.exp() * _log_mixed(log_ratio, rest, beta) / rest  # p log(m / p)
    of_student = log_q.exp() * _log_mixed(-log_ratio, beta, rest) / beta  # q log(m / q)
    return -(of_teacher + of_student).sum()


def _log_mixed(log_ratio: Tensor, share: float, rest: float) -> Tensor:
    """log(rest + share * exp(log_ratio)) with rest = 1 - share, to full precision also where one of them is small.

    ``rest`` is given and not computed here: in float32, 1 - share is 0 for a share near 1.
    """
    change = share * torch.expm1(log_ratio.clamp(max=LARGE))
    usual = torch.log1p(change.clamp(min=-0.5))
    far = (log_ratio > LARGE) | (change < -0.5)  # where exp would overflow, or 1 + change would lose its digits
    if not bool(far.any()):
        return usual
    in_logarithms = torch.logaddexp(torch.full_like(log_ratio, math.log(rest)), log_ratio + math.log(share))
    return torch.where(far, in_logarithms, usual)
