"""Random numbers from a seed, inside a block only: the reader's global random state is the same before and after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from greenlab.core import checks

SEED_LIMIT = 2**63 - 1  # what torch.Generator.manual_seed and torch.manual_seed both take


def check_seed(seed: int) -> int:
    """Return ``seed`` as an int.

    Raises:
        TypeError: if it is no integer.
        ValueError: if it is not from 0 to 2**63 - 1.

    >>> check_seed(7)
    7
    """
    return checks.integer("seed", seed, low=0, high=SEED_LIMIT)


@contextmanager
def local_seed(seed: int) -> Iterator[None]:
    """Let everything inside the block draw from ``seed``, and restore the global random states when it ends.

    The state of the CPU is always covered. The states of CUDA devices are covered if CUDA is in use already or is the
    default device; otherwise CUDA is not started for it.

    Args:
        seed: a whole number from 0 to 2**63 - 1.

    Raises:
        TypeError: if ``seed`` is no integer.
        ValueError: if it is out of range.
    """
    seed = check_seed(seed)
    uses_cuda = torch.cuda.is_initialized() or torch.get_default_device().type == "cuda"
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count())) if uses_cuda else []):
        torch.default_generator.manual_seed(seed)
        if uses_cuda:
            torch.cuda.manual_seed_all(seed)
        yield
