"""Train and evaluate a language model on a stream of token ids: `core.gpt`'s, or one of transformers.

The recipe is the usual one: random windows of text, AdamW with decay on matrices only, linear warm-up then a cosine,
gradients clipped. Everything random comes from ``seed``; the global random state stays as it was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

if TYPE_CHECKING:
    from greenlab.core.energy.meter import Receipt

READ_EVERY_S = 30.0  # some energy counters restart from zero within minutes
_ALLOWED = {
    "steps": (1, math.inf), "batch_size": (1, math.inf), "context_length": (1, math.inf), "learning_rate": (1e-9, 1e3),
    "warmup_share": (0, 0.99), "final_share": (0, 1), "weight_decay": (0, 1e3), "clip_norm": (1e-9, math.inf),
    "eval_every": (0, math.inf), "eval_windows": (1, math.inf),
}  # fmt: skip


@dataclass(frozen=True)
class CharTokenizer:
    """A token for each character that occurs in ``characters``, in the order of their code points.

    >>> tokenizer = CharTokenizer("banana")
    >>> tokenizer.characters, tokenizer.encode("nab").tolist(), tokenizer.decode([1, 0, 2])
    ('abn', [2, 0, 1], 'ban')
    """

    characters: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "characters", "".join(sorted(set(self.characters))))

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return len(self.characters)

    def encode(self, text: str) -> Tensor:
        """Token ids ``(len(text),)``; a ValueError if a character has none."""
        if unknown := set(text) - set(self.characters):
            raise ValueError(
                f"text has characters without a token, {sorted(unknown)}: make the tokenizer from all texts"
            )
        codes, known = (np.frombuffer(s.encode("utf-32-le"), np.uint32) for s in (text, self.characters))
        return torch.from_numpy(np.searchsorted(known, codes))

    def decode(self, ids: Any) -> str:
        """The text of token ids, a list or a tensor ``(S,)``."""
        return "".join(self.characters[int(i)] for i in ids)


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. Shares: warm-up of the steps, last of the peak ``learning_rate``. ``eval_every=0``: at the end only."""

    steps: int = 300
    batch_size: int = 16
    context_length: int = 128
    learning_rate: float = 3e-3
    warmup_share: float = 0.05
    final_share: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float = 1.0
    eval_every: int = 0
    eval_windows: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _ALLOWED.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"{name} must lie in [{low:g}, {high:g}], got {getattr(self, name)}: see TrainingConfig()"
                )


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What came out of `fit`.

    Attributes:
        history: a row per step: step, tokens (so far), learning_rate, loss and val_loss [nats per token; NaN where not
            evaluated], grad_norm (before clipping), time_s (so far).
        val_loss: of the last row; None without ``val``.
        receipt: energy, time and carbon of all steps and evaluations.
    """

    config: TrainingConfig
    history: pd.DataFrame
    val_loss: float | None
    receipt: Receipt


def batches(data: Tensor, context_length: int, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Give random windows of ``data`` without end: inputs and targets ``(B, S)``; a target is the token after its input."""
    windows, generator = _windows(data, context_length), torch.Generator().manual_seed(seed)
    while True:
        chosen = windows[torch.randint(len(windows), (batch_size,), generator=generator)]  # (B, S + 1)
        yield chosen[:, :-1], chosen[:, 1:]


def _windows(data: Tensor, context_length: int) -> Tensor:
    """All windows of S + 1 tokens, as a view ``(len(data) - S, S + 1)``."""
    if data.ndim != 1 or data.dtype != torch.long or len(data) <= context_length:
        raise ValueError(
            f"data must be token ids of type int64, ({context_length + 1} or more,), got {data.dtype} {tuple(data.shape)}: join "
            "the texts into one row with torch.cat, or shorten context_length"
        )
    return data.unfold(0, context_length + 1, 1)


def logits_of(model: nn.Module, input_ids: Tensor) -> Tensor:
    """Logits ``(B, S, V)`` of a `core.gpt.GPT` or of a causal language model of transformers."""
    if hasattr(getattr(model, "config", None), "use_cache"):  # transformers would fill a KV cache that nobody reads
        return model(input_ids, use_cache=False).logits
    return model(input_ids)


def next_token_loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of ``targets`` ``(B, S)`` given ``inputs`` ``(B, S)`` [nats per token]."""
    return F.cross_entropy(logits_of(model, inputs).flatten(0, 1), targets.flatten())


@torch.no_grad()
def evaluate(
    model: nn.Module, data: Tensor, context_length: int = 128, *, n_windows: int | None = None, batch_size: int = 16
) -> float:
    """Loss on fixed windows of ``data`` that follow each other, so that each token is predicted once [nats per token].

    ``n_windows`` takes only so many, evenly spread. The model stays in the mode, training or not, that it was in.
    """
    windows = _windows(data, context_length)[::context_length]
    if n_windows is not None and n_windows < len(windows):
        windows = windows[torch.linspace(0, len(windows) - 1, n_windows).round().long()]
    was_training = model.training
    model.eval()
    total = 0.0
    for batch in windows.split(batch_size):
        total += next_token_loss(model, batch[:, :-1], batch[:, 1:]).item() * len(batch)
    model.train(was_training)
    return total / len(windows)


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Learning rate of ``step`` 0, 1, ...: linear warm-up, then half a cosine down to the final share.

    >>> config = TrainingConfig(steps=100, warmup_share=0.1, learning_rate=1.0, final_share=0.2)
    >>> [round(learning_rate(config, step), 3) for step in (0, 4, 9, 10, 55, 100)]
    [0.1, 0.5, 1.0, 1.0, 0.6, 0.2]
    """
    warmup = round(config.warmup_share * config.steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    cosine = (1 + math.cos(math.pi * (step - warmup) / (config.steps - warmup))) / 2  # from 1 to 0
    return config.learning_rate * (config.final_share + (1 - config.final_share) * cosine)


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW (arXiv:1711.05101) that decays matrices and embeddings, not norms and biases; frozen weights stay out."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def fit(
    model: nn.Module,
    data: Tensor,
    config: TrainingConfig,
    *,
    val: Tensor | None = None,
    loss_fn: Callable[[nn.Module, Tensor, Tensor], Tensor] = next_token_loss,
    on_step: Callable[[dict[str, float]], None] | None = None,
    label: str = "training",
    region: str = "WORLD",
    progress: bool = True,
) -> TrainingResult:
    """Train ``model`` in place and give the history and the receipt.

    Args:
        model: a `core.gpt.GPT` or a causal language model of transformers.
        data: token ids ``(N,)`` to train on.
        config: the recipe.
        val: token ids to evaluate on.
        loss_fn: ``loss_fn(model, inputs, targets)``, a scalar; chapters add a teacher or a load-balancing loss here.
        on_step: called after each step with its row of the history.
        label: of the receipt.
        region: of the receipt: whose grid the electricity comes from.
        progress: show a bar. In a notebook it is a widget, elsewhere it goes to stderr.

    Raises:
        ValueError: if the loss or its gradient stops being a number.
    """
    from greenlab.core.energy.meter import measure

    size, sample = config.context_length, {"n_windows": config.eval_windows, "batch_size": config.batch_size}
    if val is not None:
        _windows(val, size)  # too short a text shows now, not after the training
    stream, optimizer = batches(data, size, config.batch_size, config.seed), make_optimizer(model, config)
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    rows: list[dict[str, float]] = []
    was_training = model.training
    bar = tqdm(range(1, config.steps + 1), desc=label, disable=not progress, leave=False)
    with bar, torch.random.fork_rng(devices=[]), measure(label, region=region) as meter:
        torch.manual_seed(config.seed)  # dropout and the like draw from the global state
        model.train()
        start_s = read_s = time.perf_counter()
        for step in bar:
            rate = learning_rate(config, step - 1)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            loss = loss_fn(model, *next(stream))
            loss.backward()
            norm = float(nn.utils.clip_grad_norm_(weights, config.clip_norm))
            if not math.isfinite(loss.item() + norm):  # before the weights are spoilt
                raise ValueError(
                    f"learning_rate={config.learning_rate:g} led to a loss of {loss.item():g} with a gradient of {norm:g} at step "
                    f"{step}: both must be finite; lower learning_rate or clip_norm, or raise warmup_share"
                )
            optimizer.step()
            row = {"step": step, "tokens": step * config.batch_size * size, "learning_rate": rate, "loss": loss.item()}
            row |= {"grad_norm": norm, "time_s": time.perf_counter() - start_s, "val_loss": math.nan}
            if val is not None and (step == config.steps or (config.eval_every and step % config.eval_every == 0)):
                row["val_loss"] = evaluate(model, val, size, **sample)
            rows.append(row)
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            if on_step is not None:
                on_step(row)
            if time.perf_counter() - read_s > READ_EVERY_S:
                meter.checkpoint()
                read_s = time.perf_counter()
    model.train(was_training)
    return TrainingResult(config, pd.DataFrame(rows), None if val is None else rows[-1]["val_loss"], meter.receipt)
