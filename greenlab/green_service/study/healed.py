"""SmolLM2 without six layers, healed once and kept: the adapters are in a file that `load_healed` merges in a second.

The recipe puts together what chapters 4 and 6 found. The block of six layers that turns a token least is cut out
(chapter 6), the matrix before the cut is refitted in closed form, and the layers behind the tenth are trained towards
the whole model's answers, which were asked once (chapter 4). Here the training moves low-rank adapters only (LoRA,
arXiv:2106.09685), which are cut to half their rank at the end, so that what was learned fits into a small file: the
change of the refitted matrix, and two thin matrices for each adapted one, in bfloat16. What is scored is the model as
it comes back from the file.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from greenlab import layer_pruning
from greenlab.core import checks, studies
from greenlab.core.model.decoder import decoder_layers, keep_layers
from greenlab.core.model.interrupts import delayed_interrupts
from greenlab.core.model.random_state import local_seed
from greenlab.core.model.training import TrainingConfig, fit
from greenlab.distillation.cached import top_k_loss
from greenlab.distillation.study import healing
from greenlab.green_service.study.config import Config

FILE = studies.STUDIES / "green_service" / "healed.safetensors"
SHA256 = "5ea5250aea5eb78ae36bdb91ff7df41f45ecf2c4dd1d33261e86a255e7d417f4"  # of the committed file
CHANGE, DOWN, UP = "change", "down", "up"  # W + change; W + up @ down
Corrections = dict[str, Tensor]  # "layers.12.mlp.down_proj.change" and the like, numbered as in the pruned model


def adapters(student: Any, first: int, scale: float) -> Corrections:
    """The two thin matrices of each adapted one, from a model of peft; ``up`` holds the scale."""
    found: Corrections = {}
    for name, module in student.named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            number, _, rest = name.partition("layers.")[2].partition(".")
            key = f"layers.{first + int(number)}.{rest}"
            found[f"{key}.{DOWN}"] = module.lora_A["default"].weight.detach()
            found[f"{key}.{UP}"] = scale * module.lora_B["default"].weight.detach()
    return found


def train(pruned: Any, answers: healing.Answers, config: Config, *, progress: bool = False) -> tuple[Corrections, list]:
    """Train adapters on the layers behind the frozen ones towards the kept answers of the whole model.

    Returns:
        The corrections, and the loss of each step [nats per token].
    """
    with delayed_interrupts():
        import peft  # takes a second: only who heals waits for it
    first, n_layers = config.frozen_layers, len(decoder_layers(pruned))
    lora = peft.LoraConfig(
        r=config.rank, lora_alpha=2 * config.rank, target_modules="all-linear", task_type="CAUSAL_LM", bias="none"
    )
    rest = keep_layers(pruned, range(first, n_layers))
    with local_seed(config.seed), warnings.catch_warnings():
        # peft still asks transformers for a name that version 6 will drop
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        student = peft.get_peft_model(rest, lora)

    def loss_fn(model: nn.Module, numbers: Tensor, _: Tensor) -> Tensor:
        with healing.bfloat16():
            states = answers.states[numbers].float()
            logits = model(inputs_embeds=states, use_cache=False).logits[:, :-1]
        return top_k_loss(logits, answers.top[numbers])

    recipe = TrainingConfig(
        steps=config.steps, batch_size=config.batch_size, context_length=answers.input_ids.shape[1] - 1,
        learning_rate=config.learning_rate, warmup_share=0.1, final_share=0.0, weight_decay=0.0, betas=(0.9, 0.99),
        clip_norm=1.0, seed=config.seed,
    )  # fmt: skip
    training = fit(
        student, answers.input_ids.flatten(), recipe, loss_fn=loss_fn, stream=_numbers(answers, config),
        label="healing", progress=progress,
    )  # fmt: skip
    return adapters(student, first, 2.0), training.history["loss"].tolist()


def _numbers(answers: healing.Answers, config: Config) -> Iterator[tuple[Tensor, Tensor]]:
    """Numbers of windows `(B,)` and the windows, without end: the pool in a random order, then in another one."""
    generator, order = torch.Generator().manual_seed(config.seed), torch.empty(0, dtype=torch.long)
    while True:
        while len(order) < config.batch_size:
            order = torch.cat([order, answers.pool[torch.randperm(len(answers.pool), generator=generator)]])
        chosen, order = order[: config.batch_size], order[config.batch_size :]
        yield chosen, answers.input_ids[chosen]


def heal(
    material: Any, config: Config, answers: Callable[[], healing.Answers], path: Path, *, progress: bool = True
) -> dict[str, Any]:
    """Cut, refit, train, and write the corrections to ``path``.

    Returns:
        start (the first layer that is cut), sha256 and bytes of the file, train_loss of each step [nats per token], and
        error_before and error_after of the refitted matrix (`distillation.study.healing.bridge`).
    """
    given, start = answers(), layer_pruning.best_block(material.distances, config.n_removed)
    pruned, errors = healing.bridge(
        material.model, given, start=start, n=config.n_removed, first=config.frozen_layers, ridge=config.ridge
    )
    found, losses = train(pruned, given, config, progress=progress)
    before: Any = decoder_layers(material.model)[start - 1].get_submodule("mlp.down_proj")
    after: Any = decoder_layers(pruned)[start - 1].get_submodule("mlp.down_proj")
    found[f"layers.{start - 1}.mlp.down_proj.{CHANGE}"] = (after.weight - before.weight).detach()
    path.parent.mkdir(parents=True, exist_ok=True)
    note = {"n_removed": str(config.n_removed), "start": str(start)}
    save_file({name: found[name].to(torch.bfloat16).contiguous() for name in sorted(found)}, path, metadata=note)
    size = path.stat().st_size
    return errors | {"start": start, "sha256": sha256_of(path), "bytes": size, "train_loss": losses}


def pack(source: Path, target: Path, rank: int) -> dict[str, Any]:
    """Write a smaller file of corrections: of each pair of thin matrices the best approximation of a lower rank.

    A training of a higher rank, cut at the end, loses less than a training of the lower one. The change of the
    refitted matrix stays whole, since its rank is not low.

    Args:
        source: a file of `heal`.
        target: the file to write.
        rank: of the thin matrices in it.

    Returns:
        sha256 and bytes of the file.
    """
    with safe_open(source, framework="pt") as file:
        note, found = file.metadata(), {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    kept = {name: matrix for name, matrix in found.items() if name.endswith(f".{CHANGE}")}
    for name, up in found.items():
        key, _, part = name.rpartition(".")
        if part == UP:
            kept[f"{key}.{UP}"], kept[f"{key}.{DOWN}"] = of_lower_rank(up, found[f"{key}.{DOWN}"], rank)
    save_file({name: kept[name].to(torch.bfloat16).contiguous() for name in sorted(kept)}, target, metadata=note)
    return {"sha256": sha256_of(target), "bytes": target.stat().st_size}


def of_lower_rank(up: Tensor, down: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Two thin matrices whose product is the nearest of a rank to ``up @ down`` (Eckart and Young).

    >>> up, down = of_lower_rank(torch.eye(2), torch.diag(torch.tensor([4.0, 1.0])), 1)
    >>> (up @ down).abs()
    tensor([[4., 0.],
            [0., 0.]])

    Args:
        up: ``(N, R)``.
        down: ``(R, K)``.
        rank: at most R.

    Returns:
        ``(N, rank)`` and ``(rank, K)``.
    """
    left, upper = torch.linalg.qr(up)
    right, lower = torch.linalg.qr(down.T)
    u, values, v = torch.linalg.svd(upper @ lower.T)
    root = values[:rank].sqrt()
    return left @ u[:, :rank] * root, (right @ v[:rank].T * root).T


def sha256_of(path: Path) -> str:
    """Hash of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def merge(model: Any, path: Path) -> Any:
    """Cut the layers that a file of corrections was made for, and add its corrections to the weights of a new model.

    Args:
        model: the whole model; it is not changed, and the layers that nothing corrects are shared with it.
        path: a file of `heal`.

    Returns:
        A model with fewer layers, of plain matrices: it takes the time of a pruned one.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the file cannot be read, or was made for a model of another shape.
    """
    n_layers = len(decoder_layers(model))
    checks.instance("path", path, Path, remedy="the path of a file that the study wrote")
    try:
        with safe_open(path, framework="pt") as file:
            note = file.metadata() or {}
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"path={str(path)!r:.200} cannot be read as a safetensors file ({error})") from None
    remedy = "take the file that the study wrote: make study NAME=green_service"
    if not (note.get("start", "").isdigit() and note.get("n_removed", "").isdigit()):
        raise ValueError(f"path={str(path)!r:.200} does not say which layers it was made for; {remedy}")
    start, n = int(note["start"]), int(note["n_removed"])
    if start + n > n_layers:
        raise ValueError(f"model has {n_layers} layers, and path cuts {n} from layer {start} on; {remedy}")
    healed = layer_pruning.drop_layers(model, start, n)
    for key in dict.fromkeys(name.rpartition(".")[0] for name in found):
        change = _change(found, key)  # one at a time: all of them would take as much memory as the healed layers
        if change is None:
            continue
        try:
            matrix: Any = healed.base_model.get_submodule(key)
        except AttributeError:
            matrix = None
        if not isinstance(matrix, nn.Linear) or matrix.weight.shape != change.shape:
            raise ValueError(f"model has no matrix {key} of the shape {tuple(change.shape)}, which path corrects")
        matrix.weight = nn.Parameter(matrix.weight + change.to(matrix.weight.dtype), requires_grad=False)
    return healed.eval()


def _change(found: Corrections, key: str) -> Tensor | None:
    """What a file of corrections adds to one matrix, in float32."""
    change = found[f"{key}.{CHANGE}"].float() if f"{key}.{CHANGE}" in found else None
    if f"{key}.{UP}" in found and f"{key}.{DOWN}" in found:
        product = found[f"{key}.{UP}"].float() @ found[f"{key}.{DOWN}"].float()
        change = product if change is None else change + product
    return change


def load_healed(model: Any) -> Any:
    """SmolLM2 without six layers, healed: the committed corrections merged into a new model.

    Args:
        model: SmolLM2 as `greenlab.core.assets.load_smollm2` gives it; it is not changed.

    Raises:
        TypeError: if ``model`` is no model of transformers.
        ValueError: if the committed file is missing or altered, or the model has another shape.
    """
    decoder_layers(model)
    if not FILE.is_file():
        raise ValueError(f"{FILE.name} is missing in data/studies/green_service: git checkout brings it back")
    if (found := sha256_of(FILE)) != SHA256:
        raise ValueError(f"{FILE.name} is altered: its sha256 begins with {found[:12]} and not with {SHA256[:12]}")
    return merge(model, FILE)


def ask_once(material: Any, config: Config, steps: studies.Steps) -> healing._Shared:
    """The whole model's texts and its answers to them: made in steps, kept on disk, read when they are needed."""
    of = config.healing
    written = [
        text
        for batch in range(of.text_batches)
        for text in steps.run(f"texts_{batch}", partial(healing.write, material, of, batch))
    ]
    continued = [
        text
        for batch in range(of.continued_batches)
        for text in steps.run(f"continued_{batch}", partial(healing.go_on, material, of, batch))
    ]
    input_ids, pool = healing.healing_windows(material.tokenizer, written, continued, of)
    answers = healing._Shared(steps.folder / "answers.pt")
    if not answers.path.exists():
        (steps.folder / "cache.json").unlink(missing_ok=True)
    start = layer_pruning.best_block(material.distances, config.n_removed)
    others = {start + config.n_removed}
    steps.run("cache", lambda: answers.make(material.model, input_ids, pool, of, others))
    return answers
