"""One call that makes a notebook behave the same everywhere: threads, offline, quiet, our theme, fixed seeds."""

from __future__ import annotations

import os
import random
import sys

import numpy as np

from greenlab.core.machine import available_cores
from greenlab.lab import page, renderer, theme

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
NUMBA_VARIABLE = "NUMBA_NUM_THREADS"
# Threads of torch that wait for each other sleep. By default they spin, and beside another busy program each holds the
# core that the other needs: SmolLM2 then writes 4 tokens a second and not 23. Alone, sleeping costs 5 to 10 %.
WAIT_VARIABLE, WAIT_POLICY = "OMP_WAIT_POLICY", "PASSIVE"
# Read by huggingface_hub and transformers when they are imported. A notebook stores no stderr, hence no bars, no
# advice.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",  # else tokenizers warns when a process forks
}


def thread_count() -> int:
    """Threads to compute with: the cores this process may use, or OMP_NUM_THREADS if that is fewer."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    cores = available_cores()
    return min(cores, int(asked)) if asked.isdigit() and int(asked) > 0 else cores


def setup(seed: int = 0) -> None:
    """Prepare a notebook. Call it first, before torch and transformers are imported; calling it again is harmless.

    Threads are set to the cores that are really available and sleep while they wait, Hugging Face libraries stay
    offline and quiet, charts get the book's theme and a renderer that needs no network, the page is told how to treat
    keys and screen readers, and the global random generators are seeded. Nothing is printed.

    Args:
        seed: seeds ``random`` and NumPy, and torch if it is already imported. A torch that is imported later starts
            from its own fixed seed; the book's functions take a ``seed`` of their own and do not depend on either.

    Raises:
        ValueError: if the seed is not an integer from 0 to 2**32 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed!r}; give an integer from 0 to 2**32 - 1 (NumPy's range), for example setup(0)")
    threads = thread_count()
    os.environ.update(QUIET)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    os.environ.setdefault(WAIT_VARIABLE, WAIT_POLICY)
    if "numba" not in sys.modules:  # once its threads have started, numba refuses to compile under another number
        os.environ[NUMBA_VARIABLE] = str(threads)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  the global generator is the one a reader's own cell would use
    _tell_imported(seed, threads)
    theme.enable()
    renderer.enable()
    page.attend()


def _tell_imported(seed: int, threads: int) -> None:
    """Libraries that are already imported have read the environment before us: tell them directly."""
    if numba := sys.modules.get("numba"):  # it has started its threads already: use no more of them
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    if torch := sys.modules.get("torch"):  # after numba, whose first use sets torch back to all cores
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
    if constants := sys.modules.get("huggingface_hub.constants"):
        constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
    if logging := sys.modules.get("transformers.utils.logging"):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    if hub := sys.modules.get("huggingface_hub.utils"):
        hub.disable_progress_bars()
