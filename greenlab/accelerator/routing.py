"""How many experts a batch of tokens visits, if each token picks its experts at random."""

from __future__ import annotations

from greenlab.core import checks


def expected_visits(n_experts: int, top_k: int, n_tokens: int) -> float:
    """Mean number of distinct experts that ``n_tokens`` visit: E (1 - (1 - k/E)^n).

    Each token picks ``top_k`` different experts, all equally likely and independently of other tokens, so it leaves a
    given expert out with probability 1 - k/E. A real router prefers some experts, so its batches visit fewer.

    >>> expected_visits(8, 2, 1), expected_visits(8, 2, 4), expected_visits(4, 4, 9)
    (2.0, 5.46875, 4.0)

    Args:
        n_experts: experts of the layer, E.
        top_k: experts that a token visits, k.
        n_tokens: tokens in the batch, n.

    Returns:
        A number from ``top_k`` to ``n_experts``.

    Raises:
        TypeError: if an argument is no whole number.
        ValueError: if one is below 1, or a token visits more experts than there are.
    """
    n_experts = checks.integer("n_experts", n_experts, low=1, high=10**9)
    top_k = checks.integer("top_k", top_k, low=1, high=n_experts)
    n_tokens = checks.integer("n_tokens", n_tokens, low=1, high=10**12)
    return n_experts * (1 - (1 - top_k / n_experts) ** n_tokens)
