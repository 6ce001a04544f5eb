"""Where the time of a pass goes on this machine: matrices, the rest of the layers, the head, and what is outside.

The parts are watched in the real model while it reads; the kernels for fewer bits are timed alone, on the matrices of
all layers in turn, so that weights come from memory as they do in a model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.model.decoder import decoder_layers
from greenlab.green_service import Kernel, Parts, Profile
from greenlab.retrieval import Prefix

ROWS = 128  # tokens of the longer pass
AFTER = 8  # passes over one token after it


def clock() -> Callable[[], float]:
    """What times the parts: CPU seconds where one thread computes, as other programs do not lengthen them.

    Several threads wait for one another, which costs CPU seconds of its own; there the time that passes is taken.
    """
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def _matrices(model: Any) -> list[nn.Module]:
    """The linear layers of all layers, floats or not, in their order."""
    return [m for layer in decoder_layers(model) for m in layer.modules() if hasattr(m, "in_features")]


@contextmanager
def _watched(spent: dict[str, float], modules: dict[str, Sequence[nn.Module]]) -> Iterator[None]:
    """Add the time of each call of a module to its part in ``spent``."""
    now = clock()

    def timed(part: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            start = now()
            result = forward(*arguments, **named)
            spent[part] += now() - start
            return result

        return run

    changed = []
    try:
        for part, found in modules.items():
            for module in found:
                module.forward = timed(part, module.forward)
                changed.append(module)
        yield
    finally:
        for module in changed:
            del module.forward


def profile(model: Any, prefix: Prefix, rounds: int = 3, rows: int = ROWS) -> Profile:
    """Time a pass over ``rows`` tokens and passes over one, part by part; of several rounds the shortest counts.

    Args:
        model: a causal language model of transformers with float matrices.
        prefix: what it has read before, with this model.
        rounds: how often.
        rows: tokens of the longer pass.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a number is out of range.
    """
    checks.instance("prefix", prefix, Prefix)
    rounds = checks.integer("rounds", rounds, low=1, high=100)
    rows = checks.integer("rows", rows, low=2, high=10_000)
    watched: dict[str, Sequence[nn.Module]] = {
        "matrices": _matrices(model), "layers": list(decoder_layers(model)), "head": [model.get_output_embeddings()]
    }  # fmt: skip
    drawn = torch.randint(0, model.config.vocab_size, (rows + AFTER,), generator=torch.Generator().manual_seed(1))
    ids = drawn.tolist()
    found: dict[str, list[Parts]] = {"many": [], "one": []}
    now = clock()
    for turn in range(rounds + 1):
        reading = prefix.start()
        for name, chunks in (("many", [ids[:rows]]), ("one", [[token] for token in ids[rows:]])):
            spent = dict.fromkeys(watched, 0.0)
            with _watched(spent, watched):
                start = now()
                for chunk in chunks:
                    reading.read(chunk)
                whole = now() - start
            parts = (spent["matrices"], spent["layers"] - spent["matrices"], spent["head"])
            if turn:  # the first turn warms up
                found[name].append(Parts(*(max(0.0, x) / len(chunks) for x in (*parts, whole - sum(parts)))))
    one, many = (min(found[name], key=lambda parts: parts.total_s) for name in ("one", "many"))
    return Profile(one, many, rows=rows)


@torch.inference_mode()
def kernel_alone(floats: Any, others: Any, rounds: int = 3, rows: int = ROWS) -> Kernel:
    """What other matrices leave of the time of the float ones: all matrices of both models, one after the other.

    Args:
        floats: the model with float matrices.
        others: the same model with other ones, from `matrices.eight_bits` or `matrices.ternary_shaped`.
        rounds: how often; the shortest counts.
        rows: tokens of the longer pass.

    Raises:
        TypeError: if a number is no integer.
        ValueError: if a number is out of range, or the models have other matrices.
    """
    rounds = checks.integer("rounds", rounds, low=1, high=100)
    rows = checks.integer("rows", rows, low=2, high=10_000)
    pair = [_matrices(model) for model in (floats, others)]
    sizes: list[Any] = [[(m.in_features, m.out_features) for m in found] for found in pair]
    if sizes[0] != sizes[1]:
        raise ValueError("others has matrices of other sizes than floats: give two models of one shape")

    now = clock()

    def multiply_s(found: list[nn.Module], inputs: dict[Any, Tensor]) -> float:
        start = now()
        for matrix in found:
            matrix(inputs[matrix.in_features])
        return now() - start

    left = {}
    for name, n in (("one", 1), ("many", rows)):
        generator = torch.Generator().manual_seed(n)
        inputs = {k: torch.randn(n, k, generator=generator) for k in {k for k, _ in sizes[0]}}
        times = [[multiply_s(found, inputs) for found in pair] for _ in range(rounds + 1)]  # the first turn warms up
        best = [max(min(column), 1e-9) for column in zip(*times[1:], strict=True)]
        left[name] = best[1] / best[0]
    return Kernel(**left)
