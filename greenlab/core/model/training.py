"""Train and evaluate a language model on a stream of token ids: `core.model.gpt`'s, or one of transformers.

The recipe is the usual one: random windows of text, AdamW with decay on matrices only, linear warm-up then a cosine,
gradients clipped. Everything random comes from ``seed``; the global random state stays as it was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from greenlab.core import checks
from greenlab.core.model.gpt import LARGEST_SIZE, at_least_float32
from greenlab.core.model.interrupts import delayed_interrupts
from greenlab.core.model.random_state import check_seed, local_seed

if TYPE_CHECKING:
    from greenlab.core.energy.meter import Receipt

READ_EVERY_S = 30.0  # some energy counters restart from zero within minutes


@dataclass(frozen=True)
class CharTokenizer:
    """A token for each character that occurs in ``characters``, in the order of their code points.

    Args:
        characters: text in which every character occurs at least once.

    Raises:
        TypeError: if ``characters`` is no text.
        ValueError: if it is empty.

    >>> tokenizer = CharTokenizer("banana")
    >>> tokenizer.characters, tokenizer.encode("nab").tolist(), tokenizer.decode([1, 0, 2])
    ('abn', [2, 0, 1], 'ban')
    """

    characters: str

    def __post_init__(self) -> None:
        _check_text("characters", self.characters)
        if not self.characters:
            raise ValueError("characters is empty: give the text whose characters become tokens")
        object.__setattr__(self, "characters", "".join(sorted(set(self.characters))))

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return len(self.characters)

    def encode(self, text: str) -> Tensor:
        """Token ids ``(len(text),)``, int64.

        Raises:
            TypeError: if ``text`` is no text.
            ValueError: if a character of it has no token.
        """
        _check_text("text", text)
        if unknown := set(text) - set(self.characters):
            raise ValueError(
                f"text has characters without a token, {sorted(unknown)}: make the tokenizer from all texts"
            )
        codes, known = (np.frombuffer(s.encode("utf-32-le"), np.uint32) for s in (text, self.characters))
        return torch.from_numpy(np.searchsorted(known, codes))

    def decode(self, ids: Any) -> str:
        """The text of token ids: a list, or a tensor ``(S,)``.

        Raises:
            TypeError: if an id is no integer.
            ValueError: if ``ids`` has more axes than one, or an id is not from 0 to ``vocab_size - 1``.
        """
        if isinstance(ids, (Tensor, np.ndarray)):
            if ids.ndim != 1:
                raise ValueError(f"ids has the shape {tuple(ids.shape)}: give one row of token ids, (S,)")
            ids = ids.tolist()
        if isinstance(ids, str) or not hasattr(ids, "__iter__"):
            raise TypeError(f"ids={ids!r} is {type(ids).__name__}: give a list of token ids")
        return "".join(self.characters[checks.integer("ids", i, low=0, high=self.vocab_size - 1)] for i in ids)


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r:.80} is {type(value).__name__}: give a text")


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes:
        steps: number of updates.
        batch_size: windows in a step.
        context_length: tokens in a window.
        learning_rate: the highest one, from 1e-9 to 1e3.
        warmup_share: share of the steps in which the learning rate rises linearly, from 0 to 0.99.
        final_share: learning rate of the end as a share of the highest one, from 0 to 1.
        weight_decay: of matrices and embeddings, from 0 to 1e3; norms and biases never decay.
        betas: AdamW's decay of the mean and of the square of the gradient, each from 0 to below 1.
        clip_norm: the most that the norm of the gradient may be, 1e-9 or more; infinity does not clip.
        eval_every: steps between evaluations; 0 evaluates at the end only.
        eval_windows: the most windows in an evaluation.
        seed: of the choice of windows and of dropout.

    Raises:
        TypeError: if a field has the wrong type.
        ValueError: if a field is out of range.
    """

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
        for name in ("steps", "batch_size", "context_length", "eval_windows"):
            checks.integer(name, getattr(self, name), low=1)
        checks.integer("eval_every", self.eval_every, low=0)
        checks.number("learning_rate", self.learning_rate, low=1e-9, high=1e3)
        checks.number("warmup_share", self.warmup_share, low=0, high=0.99)
        checks.number("final_share", self.final_share, low=0, high=1)
        checks.number("weight_decay", self.weight_decay, low=0, high=1e3)
        checks.number("clip_norm", self.clip_norm, low=1e-9, infinite=True)
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            raise TypeError(f"betas={self.betas!r}: give two numbers, for example (0.9, 0.95)")
        for beta in self.betas:
            checks.number("betas", beta, low=0, below=1)
        check_seed(self.seed)


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
    """Give random windows of ``data`` without end: inputs and targets ``(B, S)``; a target is the token after its
    input.

    Args:
        data: token ids ``(N,)``, int64, more than ``context_length`` of them.
        context_length: tokens in a window, S.
        batch_size: windows in a batch, B.
        seed: of the choice.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if ``data`` has the wrong shape or is too short, or a number is out of range.
    """
    windows, generator = _windows(data, context_length), torch.Generator().manual_seed(check_seed(seed))
    return _random_windows(windows, checks.integer("batch_size", batch_size, low=1, high=LARGEST_SIZE), generator)


def _random_windows(windows: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        chosen = windows[torch.randint(len(windows), (batch_size,), generator=generator)]  # (B, S + 1)
        yield chosen[:, :-1], chosen[:, 1:]


def _windows(data: Tensor, context_length: int, name: str = "data") -> Tensor:
    """All windows of S + 1 tokens, as a view ``(len(data) - S, S + 1)``."""
    checks.integer("context_length", context_length, low=1)
    wanted = f"give token ids of type int64, ({context_length + 1} or more,)"
    if not isinstance(data, Tensor):
        raise TypeError(f"{name} is {type(data).__name__}: {wanted}, as a tensor")
    if data.ndim != 1 or data.dtype != torch.long or len(data) <= context_length:
        raise ValueError(
            f"{name} is {data.dtype} of the shape {tuple(data.shape)}: {wanted}; join the texts into one row with "
            "torch.cat, or shorten context_length"
        )
    return data.unfold(0, context_length + 1, 1)


@contextmanager
def mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Put a model into training or evaluation mode; after the block each part is in the mode that it was in.

    Args:
        model: any module.
        training: True for training, False for evaluation.

    Raises:
        TypeError: if ``model`` is no module, or ``training`` no boolean.
    """
    checks.instance("model", model, nn.Module)
    checks.flag("training", training)
    before = [(module, module.training) for module in model.modules()]
    try:
        model.train(training)
        yield
    finally:
        for module, was_training in before:
            module.training = was_training


def logits_of(model: nn.Module, input_ids: Tensor) -> Tensor:
    """Logits ``(B, S, V)`` of a `core.model.gpt.GPT` or of a causal language model of transformers.

    Args:
        model: the model.
        input_ids: token ids ``(B, S)``, on the device of the model.

    Raises:
        TypeError: if ``model`` is no module, or ``input_ids`` no tensor of integers.
        ValueError: if ``input_ids`` has another shape, or an id is not in the vocabulary (on the CPU).
    """
    checks.instance("model", model, nn.Module)
    return _logits(model, _check_tokens("input_ids", input_ids), "input_ids")


def _logits(model: nn.Module, input_ids: Tensor, name: str) -> Tensor:
    try:
        if hasattr(getattr(model, "config", None), "use_cache"):  # transformers would fill a KV cache nobody reads
            return model(input_ids, use_cache=False).logits
        return model(input_ids)
    except IndexError:
        low, high = int(input_ids.min()), int(input_ids.max())
        raise ValueError(f"{name} holds ids from {low} to {high}: give ids of the model's vocabulary") from None


def _check_tokens(name: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.dtype not in (torch.int64, torch.int32):
        got = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} is {got}: give a tensor of token ids, int64 or int32, of the shape (B, S)")
    if value.ndim != 2 or not value.numel():
        raise ValueError(f"{name} has the shape {tuple(value.shape)}: give (B, S), both 1 or more")
    return value


def next_token_loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of ``targets`` ``(B, S)`` given ``inputs`` ``(B, S)`` [nats per token].

    Taken in float32 at least, since a mean in bfloat16 is a multiple of 1/512 or so.

    Args:
        model: a `core.model.gpt.GPT` or a causal language model of transformers.
        inputs: token ids, on the device of the model.
        targets: the token after each of them.

    Raises:
        TypeError: if ``model`` is no module, or ``inputs`` or ``targets`` no tensor of integers.
        ValueError: if a shape is not ``(B, S)``, the two differ, or an id of ``inputs`` is not in the vocabulary (on
            the CPU).
    """
    checks.instance("model", model, nn.Module)
    _check_tokens("inputs", inputs)
    _check_tokens("targets", targets)
    if inputs.shape != targets.shape:
        raise ValueError(
            f"targets has the shape {tuple(targets.shape)}, inputs {tuple(inputs.shape)}: give equal shapes"
        )
    return F.cross_entropy(at_least_float32(_logits(model, inputs, "inputs")).flatten(0, 1), targets.flatten())


@torch.no_grad()
def evaluate(
    model: nn.Module, data: Tensor, context_length: int = 128, *, n_windows: int | None = None, batch_size: int = 16
) -> float:
    """Loss on fixed windows of ``data`` that follow each other, so that each token is predicted once [nats per token].

    The model stays in the mode, training or not, that it was in, also after Ctrl+C or an error.

    Args:
        model: a `core.model.gpt.GPT` or a causal language model of transformers.
        data: token ids ``(N,)``, more than ``context_length`` of them. They are moved to the device of the model.
        context_length: tokens in a window.
        n_windows: take only so many windows, evenly spread; None takes all.
        batch_size: windows in one forward pass.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if ``data`` has the wrong shape or is too short, a number is out of range, or the loss is not
            finite.
    """
    checks.instance("model", model, nn.Module)
    windows = _windows(data, context_length)[::context_length]
    checks.integer("batch_size", batch_size, low=1, high=LARGEST_SIZE)
    if n_windows is not None and checks.integer("n_windows", n_windows, low=1) < len(windows):
        windows = windows[torch.linspace(0, len(windows) - 1, n_windows).round().long()]
    device, total = _device(model), 0.0
    with mode(model, training=False):
        for batch in windows.split(batch_size):
            batch = batch.to(device)
            total += next_token_loss(model, batch[:, :-1], batch[:, 1:]).item() * len(batch)
    loss = total / len(windows)
    if not math.isfinite(loss):
        raise ValueError(f"model gives a loss of {loss} on data: look for NaN or infinity in its weights")
    return loss


def _device(model: nn.Module) -> torch.device:
    """Where the model's weights are; the CPU if it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Learning rate of ``step`` 0, 1, ...: linear warm-up, then half a cosine down to the final share.

    Args:
        config: the recipe.
        step: from 0 (the first update) to ``config.steps`` (the end, which no update uses).

    Raises:
        TypeError: if ``config`` is no `TrainingConfig`, or ``step`` no integer.
        ValueError: if ``step`` is out of range.

    >>> config = TrainingConfig(steps=100, warmup_share=0.1, learning_rate=1.0, final_share=0.2)
    >>> [round(learning_rate(config, step), 3) for step in (0, 4, 9, 10, 55, 100)]
    [0.1, 0.5, 1.0, 1.0, 0.6, 0.2]
    """
    checks.instance("config", config, TrainingConfig)
    checks.integer("step", step, low=0, high=config.steps)
    warmup = round(config.warmup_share * config.steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    cosine = (1 + math.cos(math.pi * (step - warmup) / (config.steps - warmup))) / 2  # from 1 to 0
    return config.learning_rate * (config.final_share + (1 - config.final_share) * cosine)


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW (arXiv:1711.05101) that decays matrices and embeddings, not norms and biases; frozen weights stay out.

    Args:
        model: any module.
        config: the recipe; its ``learning_rate``, ``betas`` and ``weight_decay`` are used.

    Raises:
        TypeError: if ``model`` is no module, or ``config`` no `TrainingConfig`.
        ValueError: if no weight of the model is trained.
    """
    checks.instance("model", model, nn.Module)
    checks.instance("config", config, TrainingConfig)
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ValueError(f"model={type(model).__name__} has no weight to train: set requires_grad of some to True")
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    with delayed_interrupts():  # the first optimizer of a process makes torch import torch._dynamo
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def fit(
    model: nn.Module,
    data: Tensor,
    config: TrainingConfig,
    *,
    val: Tensor | None = None,
    loss_fn: Callable[[nn.Module, Tensor, Tensor], Tensor] = next_token_loss,
    stream: Iterator[tuple[Tensor, Tensor]] | None = None,
    on_step: Callable[[dict[str, float]], None] | None = None,
    label: str = "training",
    region: str = "WORLD",
    progress: bool = True,
) -> TrainingResult:
    """Train ``model`` in place and give the history and the receipt.

    After Ctrl+C or an error the model keeps the weights of the last whole step and the mode that it was in.

    Args:
        model: a `core.model.gpt.GPT` or a causal language model of transformers.
        data: token ids ``(N,)`` to train on. Batches are moved to the device of the model.
        config: the recipe.
        val: token ids to evaluate on.
        loss_fn: ``loss_fn(model, inputs, targets)``, a scalar; chapters add a teacher or a load-balancing loss here.
        stream: inputs and targets ``(B, S)`` of each step; None draws random windows of ``data`` (`batches`).
        on_step: called after each step with its row of the history.
        label: of the receipt.
        region: of the receipt: whose grid the electricity comes from.
        progress: show a bar. In a notebook it is a widget, elsewhere it goes to stderr.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if ``data`` or ``val`` has the wrong shape or is too short, ``stream`` ends early, or the loss or
            its gradient stops being finite.
    """
    from greenlab.core.energy.meter import measure

    checks.flag("progress", progress)
    checks.instance("model", model, nn.Module)
    checks.instance("config", config, TrainingConfig)
    checks.function("loss_fn", loss_fn)
    if on_step is not None:
        checks.function("on_step", on_step)
    if stream is not None and not hasattr(stream, "__next__"):
        raise TypeError(f"stream is {type(stream).__name__}: give an iterator over inputs and targets, as batches does")
    size = config.context_length
    if val is not None:
        _windows(val, size, "val")  # too short a text shows now, not after the training
    if stream is None:
        stream = batches(data, size, config.batch_size, config.seed)
    optimizer, device = make_optimizer(model, config), _device(model)
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    rows: list[dict[str, float]] = []
    bar = tqdm(range(1, config.steps + 1), desc=label, disable=not progress, leave=False)
    # dropout and the like draw from the global random state: the seed is local to this block
    with bar, local_seed(config.seed), mode(model, training=True), measure(label, region=region) as meter:
        start_s = read_s = time.perf_counter()
        for step in bar:
            rate = learning_rate(config, step - 1)
            for group in optimizer.param_groups:
                group["lr"] = rate
            inputs, targets = _next_batch(stream, step)
            optimizer.zero_grad()
            loss = loss_fn(model, inputs.to(device), targets.to(device))
            loss.backward()
            norm = float(nn.utils.clip_grad_norm_(weights, config.clip_norm))
            value = loss.item()
            if not math.isfinite(value + norm):  # before the weights are spoilt
                raise _not_finite(config, step, value, norm)
            optimizer.step()
            row = {"step": step, "tokens": step * config.batch_size * size, "learning_rate": rate, "loss": value}
            row |= {"grad_norm": norm, "time_s": time.perf_counter() - start_s, "val_loss": math.nan}
            if val is not None and (step == config.steps or (config.eval_every and step % config.eval_every == 0)):
                row["val_loss"] = evaluate(
                    model, val, size, n_windows=config.eval_windows, batch_size=config.batch_size
                )
            rows.append(row)
            bar.set_postfix(loss=f"{value:.3f}", refresh=False)
            if on_step is not None:
                on_step(row)
            if time.perf_counter() - read_s > READ_EVERY_S:
                meter.checkpoint()
                read_s = time.perf_counter()
    return TrainingResult(config, pd.DataFrame(rows), None if val is None else rows[-1]["val_loss"], meter.receipt)


def _next_batch(stream: Iterator[tuple[Tensor, Tensor]], step: int) -> tuple[Tensor, Tensor]:
    try:
        return next(stream)
    except StopIteration:
        raise ValueError(f"stream ended before step {step}: give a batch for each of config.steps") from None


def _not_finite(config: TrainingConfig, step: int, loss: float, norm: float) -> ValueError:
    """The error of a loss or gradient that is NaN or infinite. At step 1 no learning rate has acted yet."""
    found = f"a loss of {loss:g} with a gradient of {norm:g} at step {step}: both must be finite"
    if step == 1:
        return ValueError(f"model gave {found}; look for NaN or infinity in its weights or in loss_fn")
    return ValueError(
        f"learning_rate={config.learning_rate:g} led to {found}; lower learning_rate or clip_norm, or raise "
        "warmup_share"
    )
