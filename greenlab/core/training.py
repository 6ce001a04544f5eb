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
    from greenlab.core.meter import Receipt

READ_EVERY_S = 30.0  # some energy counters restart from zero within minutes


@dataclass(frozen=True)
class CharTokenizer:
    """One token per character of ``characters``.

    >>> tokenizer = CharTokenizer.from_text("banana")
    >>> tokenizer.encode("nab").tolist(), tokenizer.decode([1, 0, 2])
    ([2, 0, 1], 'ban')
    """

    characters: str

    @classmethod
    def from_text(cls, text: str) -> CharTokenizer:
        """A token for each character that occurs in ``text``, in the order of their code points."""
        return cls("".join(sorted(set(text))))

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return len(self.characters)

    def encode(self, text: str) -> Tensor:
        """Token ids ``(len(text),)``.

        Raises:
            ValueError: if a character of ``text`` has no token.
        """
        unknown = set(text) - set(self.characters)
        if unknown:
            raise ValueError(
                f"text has characters without a token, {sorted(unknown)}: build the tokenizer from all texts"
            )
        codes, known = (np.frombuffer(s.encode("utf-32-le"), np.uint32) for s in (text, self.characters))
        return torch.from_numpy(np.searchsorted(known, codes))

    def decode(self, ids: Any) -> str:
        """The text of token ids: a list or a tensor ``(S,)``."""
        return "".join(self.characters[int(i)] for i in ids)


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. The learning rate ends at ``learning_rate * final_share``; ``eval_every=0`` evaluates at the end only."""

    steps: int = 300
    batch_size: int = 16
    context_length: int = 128
    learning_rate: float = 3e-3
    final_share: float = 0.1
    warmup_steps: int = 20
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float = 1.0
    eval_every: int = 0
    eval_windows: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in {
            "steps": 1,
            "batch_size": 1,
            "context_length": 1,
            "eval_every": 0,
            "eval_windows": 1,
        }.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 <= self.warmup_steps < self.steps:
            raise ValueError(
                f"warmup_steps must lie in 0..steps-1 = 0..{self.steps - 1}, got {self.warmup_steps}: a tenth of the steps or "
                "less is usual"
            )
        for name in ("learning_rate", "clip_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        if not (0 <= self.final_share <= 1 and self.weight_decay >= 0):
            raise ValueError(
                f"final_share must lie in [0, 1] and weight_decay be >= 0, got {self.final_share} and {self.weight_decay}"
            )


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What came out of `fit`.

    Attributes:
        history: one row per step: step, tokens (seen so far), learning_rate, loss [nats per token], grad_norm (before
            clipping), time_s (since the start), val_loss [nats per token; NaN where not evaluated].
        val_loss: after the last step [nats per token]; None without ``val``.
        receipt: energy, time and carbon of the steps and of evaluations in between; the last evaluation is not in it.
    """

    config: TrainingConfig
    history: pd.DataFrame
    val_loss: float | None
    receipt: Receipt


def batches(data: Tensor, context_length: int, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Give random windows of ``data`` without end: inputs and targets ``(B, S)``; a target is the token after its input.

    Raises:
        ValueError: if ``data`` is not one long row of token ids, or shorter than a window.
    """
    generator = torch.Generator().manual_seed(seed)
    last = len(_windows(data, context_length))
    span = torch.arange(context_length + 1)
    while True:
        starts = torch.randint(last, (batch_size, 1), generator=generator)
        windows = data[starts + span]  # (B, S + 1)
        yield windows[:, :-1], windows[:, 1:]


def _windows(data: Tensor, context_length: int) -> Tensor:
    """All windows of ``context_length + 1`` tokens, as a view ``(len(data) - context_length, context_length + 1)``."""
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

    Args:
        model: left in the mode, training or not, that it was in.
        data: token ids; a rest shorter than a window is left out.
        context_length: tokens in a window; the first of them is predicted from one token, the last from all.
        n_windows: take only so many, evenly spread; None: all.
        batch_size: windows at a time.
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

    >>> c = TrainingConfig(steps=110, warmup_steps=10, learning_rate=1.0, final_share=0.2)
    >>> [round(learning_rate(c, step), 3) for step in (0, 4, 9, 10, 60, 110)]
    [0.1, 0.5, 1.0, 1.0, 0.6, 0.2]
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / (config.steps - config.warmup_steps)
    share = config.final_share + (1 - config.final_share) * (1 + math.cos(math.pi * progress)) / 2
    return config.learning_rate * share


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW (arXiv:1711.05101) that decays matrices and embeddings; norms and biases have no scale that decay could cost.

    Frozen parameters are left out, so that adapters can be trained alone.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def fit(
    model: nn.Module,
    data: Tensor,
    config: TrainingConfig | None = None,
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
        config: the recipe; the default one when None.
        val: token ids to evaluate on.
        loss_fn: ``loss_fn(model, inputs, targets)``, a scalar; chapters add a teacher or a load-balancing loss here.
        on_step: called after each step with its row of the history.
        label: of the receipt.
        region: whose grid the electricity comes from.
        progress: show a bar. In a notebook it is a widget, elsewhere it goes to stderr.

    Raises:
        ValueError: if the loss or its gradient stops being a number.
    """
    from greenlab.core.meter import measure

    config = config or TrainingConfig()
    optimizer = make_optimizer(model, config)
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    stream = batches(data, config.context_length, config.batch_size, config.seed)
    scoring = {
        "context_length": config.context_length,
        "n_windows": config.eval_windows,
        "batch_size": config.batch_size,
    }
    rows: list[dict[str, float]] = []
    was_training = model.training
    bar = tqdm(range(1, config.steps + 1), desc=label, disable=not progress, leave=False)
    with torch.random.fork_rng(devices=[]), measure(label, region=region) as meter:
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
                    f"{step}: both must be finite; lower learning_rate or clip_norm, or raise warmup_steps"
                )
            optimizer.step()
            row = {"step": step, "tokens": step * config.batch_size * config.context_length, "learning_rate": rate}
            row |= {
                "loss": loss.item(),
                "grad_norm": norm,
                "time_s": time.perf_counter() - start_s,
                "val_loss": math.nan,
            }
            if val is not None and config.eval_every and step % config.eval_every == 0 and step < config.steps:
                row["val_loss"] = evaluate(model, val, **scoring)
            rows.append(row)
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            if on_step is not None:
                on_step(row)
            if time.perf_counter() - read_s > READ_EVERY_S:
                meter.checkpoint()
                read_s = time.perf_counter()
    val_loss = None if val is None else evaluate(model, val, **scoring)
    if val_loss is not None:
        rows[-1]["val_loss"] = val_loss
    model.train(was_training)
    return TrainingResult(config, pd.DataFrame(rows), val_loss, meter.receipt)
