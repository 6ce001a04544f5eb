"""Layer pruning: drop the block of layers that changes its input least, then heal what is left.

After "The Unreasonable Ineffectiveness of the Deeper Layers" (Gromov et al., arXiv:2403.17887, sec. 3) and the block
influence of ShortGPT (Men et al., arXiv:2403.03853, eq. 1). Everything here is real: the layers are gone, the model that is
left is smaller, faster, can be saved and loaded, and the model it came from is untouched.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from greenlab.core.model.decoder import captured_states, check_input_ids, decoder_layers, keep_layers


def _cosines(model: nn.Module, input_ids: Tensor, tokens: str, attention_mask: Tensor | None) -> Iterator[Tensor]:
    """Yield the cosine between every two depths, ``(L + 1, L + 1, T)``, row by row of the batch: one forward pass each."""
    if tokens not in ("last", "all"):
        raise ValueError(f"tokens={tokens!r}: expected 'last' or 'all'")
    for i, ids in enumerate(check_input_ids(input_ids)):
        mask = torch.ones_like(ids) if attention_mask is None else attention_mask[i]
        ids = ids[mask.bool()][None].to(model.device)  # padding is cut off, so it costs nothing and changes nothing
        states: list[Tensor] = []
        with (
            captured_states(model, states, torch.tensor([ids.shape[1] - 1]) if tokens == "last" else None),
            torch.no_grad(),
        ):
            cast(nn.Module, model.base_model)(ids, use_cache=False)  # no output head: nobody asks for the next word
        x = torch.stack(states, dim=1)  # [T, L+1, d_model]
        yield (x @ x.mT).clamp(-1, 1).permute(1, 2, 0)  # rounding may leave [-1, 1], where arccos is NaN


def block_distances(
    model: nn.Module, input_ids: Tensor, *, tokens: str = "last", attention_mask: Tensor | None = None
) -> Tensor:
    """Angular distance between the input of layer ``l`` and the input of layer ``l + n``, for all ``(l, n)`` at once.

    ``d(l, n) = arccos(cos(x_l, x_(l+n))) / pi``, averaged over samples (arXiv:2403.17887, eq. 7): 0 for the same direction,
    0.5 for a right angle, 1 for the opposite. ``x_L`` is the output of the last block, before the final norm.

    Args:
        model: a causal language model with ``L`` layers; it is not changed.
        input_ids: token ids ``(B, S)``; every row is one sample and passes the model once.
        tokens: ``"last"`` (the paper's choice) or ``"all"``.
        attention_mask: ``(B, S)``, 0 where a row is padding.

    Returns:
        float64 ``(L, L + 1)``: entry ``[l, n]`` is d(l, n); NaN where ``l + n > L``.

    Raises:
        ValueError: for an empty text, or a model that is not a decoder.
    """
    n_layers = len(decoder_layers(model))
    angle = [(torch.arccos(c) / math.pi).mean(dim=-1) for c in _cosines(model, input_ids, tokens, attention_mask)]
    mean = torch.stack(angle).mean(dim=0) if tokens == "last" else _weighted(angle, input_ids, attention_mask)
    distances = torch.full((n_layers, n_layers + 1), torch.nan, dtype=torch.float64)
    for start in range(n_layers):
        distances[start, : n_layers + 1 - start] = mean[start, start:]
    distances[:, 0] = 0  # a state and itself: exactly 0, where arccos of a rounded 1 is only nearly 0
    return distances


def _weighted(per_row: list[Tensor], input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Average rows by how many tokens each has, so that every token counts once."""
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    weight = mask.bool().sum(dim=1).double()
    return torch.einsum("b,bij->ij", weight / weight.sum(), torch.stack(per_row))


def block_influence(model: nn.Module, input_ids: Tensor) -> Tensor:
    """ShortGPT's score of each layer, ``(L,)``: one minus the mean cosine of its input and its output over all tokens."""
    per_row = [1 - c.diagonal(offset=1).mean(dim=0) for c in _cosines(model, input_ids, "all", None)]
    return torch.stack(per_row).mean(dim=0)


def best_block(distances: Tensor, n: int) -> int:
    """Return the start of the block of ``n`` layers whose input and output differ least.

    >>> nan = float("nan")
    >>> best_block(Tensor([[0, .3, .5, .7], [0, .1, .4, nan], [0, .2, nan, nan]]), n=1)
    1

    Raises:
        ValueError: if ``n`` is not from 1 to L - 1.
    """
    n_layers = len(distances)
    _check_n(n, n_layers)
    return int(distances[: n_layers - n + 1, n].argmin())


def _check_n(n: int, n_layers: int) -> None:
    if not 1 <= n < n_layers:
        raise ValueError(
            f"n={n}: expected 1 to {n_layers - 1} layers to drop, as the model has {n_layers} and must keep one"
        )


def drop_layers(model: Any, start: int, n: int) -> Any:
    """Return a new model without layers ``start .. start + n - 1``; the weights that stay are shared, not copied.

    Raises:
        ValueError: if ``n`` is not from 1 to L - 1, or the block does not lie inside the model.
    """
    n_layers = len(decoder_layers(model))
    _check_n(n, n_layers)
    if not 0 <= start <= n_layers - n:
        raise ValueError(
            f"start={start}: a block of {n} layers starts at 0 to {n_layers - n} in a model of {n_layers}; "
            "best_block(distances, n) names the best one"
        )
    return keep_layers(model, [i for i in range(n_layers) if not start <= i < start + n])


def layers_to_drop(
    method: str, n: int, *, distances: Tensor, influence: Tensor | None = None, seed: int = 0
) -> list[int]:
    """Name the ``n`` layers that a method would drop, in increasing order.

    Args:
        method: ``"angular"`` (the block of least distance), ``"block_influence"`` (the least influential, wherever they
            stand), ``"deepest"`` (the deepest, but never the last one) or ``"random"``.
        n: how many, 1 to L - 1.
        distances: from `block_distances`.
        influence: from `block_influence`; needed by that method only.
        seed: of the random choice.

    Raises:
        ValueError: for an unknown method, a missing influence, or an ``n`` outside.
    """
    n_layers = len(distances)
    _check_n(n, n_layers)
    if method == "angular":
        start = best_block(distances, n)
        return list(range(start, start + n))
    if method == "deepest":
        return list(range(n_layers - 1 - n, n_layers - 1))
    if method == "random":
        return sorted(torch.randperm(n_layers, generator=torch.Generator().manual_seed(seed))[:n].tolist())
    if method == "block_influence" and influence is not None:
        return sorted(influence.argsort()[:n].tolist())
    raise ValueError(f"method={method!r}: expected angular, block_influence (with influence=), deepest or random")


@dataclass(frozen=True)
class HealConfig:
    """How a cut is healed: low-rank adapters on every linear layer of every block, the rest frozen."""

    steps: int = 60
    batch_size: int = 8
    rank: int = 32
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "rank", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"HealConfig.{name}={getattr(self, name)!r}: expected more than 0")


def heal(
    model: Any, input_ids: Tensor, config: HealConfig = HealConfig(), *, teacher: Any = None, progress: bool = False
) -> tuple[Any, list[float]]:
    """Train low-rank adapters (LoRA, arXiv:2106.09685) on a pruned model and merge them into a new model.

    With a teacher, usually the unpruned model, the loss is KL(teacher || student) over the whole vocabulary at every token
    (Hinton et al., arXiv:1503.02531, at temperature 1); without one it is the cross-entropy of the text itself, as in the paper,
    which used 4-bit adapters (QLoRA) on 164 million tokens or more.

    Args:
        model: the pruned model; it is not changed.
        input_ids: the healing text as windows ``(N, S)``, drawn in random order, all once before any comes again.
        config: steps, batch size, rank, learning rate, seed.
        teacher: a model with the same vocabulary, or None.
        progress: show a progress bar on standard error.

    Returns:
        The healed model, of the same size and speed as the pruned one, and the loss of every step [nats per token].

    Raises:
        ValueError: for an empty text, or a teacher with another vocabulary.
    """
    check_input_ids(input_ids)
    if teacher is not None and teacher.config.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"teacher has a vocabulary of {teacher.config.vocab_size} tokens, the model {model.config.vocab_size}: logits can be "
            "compared over the same vocabulary only; take the model that was pruned as its teacher"
        )
    import peft  # takes a second: only who heals waits for it

    torch.manual_seed(config.seed)  # the adapters' first values
    everything = keep_layers(
        model, range(len(decoder_layers(model)))
    )  # adapters are put into this one, never into `model`
    lora = peft.LoraConfig(
        r=config.rank, lora_alpha=2 * config.rank, target_modules="all-linear", task_type="CAUSAL_LM", bias="none"
    )
    with warnings.catch_warnings():  # peft still asks transformers for a name that version 6 will drop
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        student = peft.get_peft_model(everything, lora).train()
    weights = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps + 1, pct_start=0.1
    )
    losses = []
    for batch in tqdm(
        _batches(input_ids, config), total=config.steps, desc="healing", disable=not progress, leave=False
    ):
        ids = batch.to(model.device)
        logits = student(ids, use_cache=False).logits[:, :-1]  # [B, S-1, vocab]
        if teacher is None:
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        else:
            with torch.no_grad():
                target = teacher(ids, use_cache=False).logits[:, :-1].log_softmax(-1)
            loss = (
                nn.functional.kl_div(logits.log_softmax(-1), target, log_target=True, reduction="sum")
                / ids[:, 1:].numel()
            )
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    healed = student.merge_and_unload(
        safe_merge=True
    )  # safe: into new tensors; the plain merge would write into shared weights
    return healed.train(model.training), losses


def _batches(input_ids: Tensor, config: HealConfig) -> Iterator[Tensor]:
    """Yield ``config.steps`` batches of windows, in a new random order each time round."""
    generator, order = torch.Generator().manual_seed(config.seed), torch.empty(0, dtype=torch.long)
    for _ in range(config.steps):
        while len(order) < config.batch_size:
            order = torch.cat([order, torch.randperm(len(input_ids), generator=generator)])
        yield input_ids[order[: config.batch_size]]
        order = order[config.batch_size :]
