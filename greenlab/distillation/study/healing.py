"""Steps of the study that heal a pruned SmolLM2 with its teacher's answers, asked once and shared between the cuts.

Chapter 6 healed with the teacher running in every step and could afford 70 of them. Here everything that a step would
compute again is computed once: the teacher's 64 likeliest tokens at each position (`distillation.cached`), and the
states that leave the first layers, which all cuts have in common and no step changes. A step runs only the layers after
them.

The training starts from a closed form: the matrix before the cut is refitted by least squares, so that its layer gives
what the removed layers would have given (ReplaceMe, arXiv:2505.02819, sec. 3, which merges a d x d map into this
matrix; here the whole matrix is refitted, and its change is kept small by a ridge). No parameter is added by any of it.

Matrix products run in bfloat16 (weights and updates stay in float32), which is three to four times as fast on a CPU
with AVX-512 BF16. Scores are taken in float32, as in chapter 6.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenlab import layer_pruning
from greenlab.core import studies
from greenlab.core.model import scoring
from greenlab.core.model.decoder import decoder_layers, keep_layers
from greenlab.core.model.training import TrainingConfig, TrainingResult, fit
from greenlab.distillation.cached import TopLogits, top_k_loss, top_of
from greenlab.distillation.texts import write_texts
from greenlab.layer_pruning import study as pruning
from greenlab.layer_pruning.study.text import windows, write_text

LOSSES = ("none", "cross-entropy", "teacher")  # none: the closed form alone
CONTROLS = ("cross-entropy",)  # with the teacher's loss the whole model has nothing to learn: it is the teacher
PRUNING = pruning.Config()  # chapter 6's settings: its cuts and its evaluation text
KEPT = (1, 4, 16, 64, 256, 1024)  # numbers of tokens a position that `kept_tokens` compares


@dataclass(frozen=True)
class HealingConfig:
    """Everything that the healing steps depend on.

    Attributes:
        runs: what is healed: number of layers removed, loss, and whether the closed form comes first.
        text_batches: batches of texts that the unpruned model writes as answers to requests, as in chapter 6.
        continued_batches: batches of windows in which it goes on after a few tokens of the calibration text.
        texts: in a batch.
        text_tokens: the most in an answer.
        prompt_tokens: tokens of the calibration text before what the model writes.
        window: tokens in a training window.
        calibration_repeats: how often the book's calibration text is among the windows (chapter 6: once).
        k: tokens kept at each position.
        frozen_layers: the first layers, whose output is computed once.
        ridge: of the least squares, as a share of the mean square of the inputs.
        steps: updates of a run.
        batch_size: windows in a step.
        learning_rate: the highest one.
        seed: of the texts and of the order of the windows.
    """

    runs: tuple[tuple[int, str, bool], ...] = (
        (6, "none", True),
        (6, "teacher", True),
        (6, "cross-entropy", True),
        (4, "teacher", True),
        (8, "teacher", True),
    )
    text_batches: int = 1
    continued_batches: int = 2
    texts: int = 160
    text_tokens: int = 160
    prompt_tokens: int = 24
    window: int = 128
    calibration_repeats: int = 2
    k: int = 64
    frozen_layers: int = 10
    ridge: float = 0.1
    steps: int = 150  # about once through the windows: a second time lowered the training loss only
    batch_size: int = 4
    learning_rate: float = 2e-4
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Answers:
    """What the teacher gave for the text, once.

    Attributes:
        input_ids: the windows, `(N, S)`.
        pool: numbers of the windows in the proportion in which they are drawn, `(M,)`.
        states: what enters the first layer that is trained, `(N, S, d_model)`, float16.
        targets: what enters other layers, by their number, `(N, S, d_model)`, float16.
        top: its likeliest tokens at the first S - 1 positions.
    """

    input_ids: Tensor
    pool: Tensor
    states: Tensor
    targets: dict[int, Tensor]
    top: TopLogits


def bfloat16() -> Any:
    """Matrix products in bfloat16 inside the block."""
    return torch.autocast("cpu", torch.bfloat16)


def write(material: pruning.Material, config: HealingConfig, batch: int) -> list[list[int]]:
    """One batch of texts of the unpruned model, in bfloat16: its answers to requests, as token ids."""
    writer = copy.deepcopy(material.model).to(torch.bfloat16)
    return write_text(
        writer, material.tokenizer, n_texts=config.texts, n_tokens=config.text_tokens, temperature=1.0,
        batch_size=config.texts, seed=config.seed + batch,
    )  # fmt: skip


def go_on(material: pruning.Material, config: HealingConfig, batch: int) -> list[list[int]]:
    """One batch of windows that begin somewhere in the calibration text and go on as the unpruned model likes."""
    writer = copy.deepcopy(material.model).to(torch.bfloat16)
    text = torch.tensor(material.tokenizer(scoring.held_out_text("calibration")).input_ids)
    places = text.unfold(0, config.prompt_tokens, 1)  # every run of so many tokens
    generator = torch.Generator().manual_seed(config.seed + batch)
    prompts = places[torch.randperm(len(places), generator=generator)[: config.texts]]
    return write_texts(
        writer, prompts, config.window - config.prompt_tokens, batch_size=config.texts, seed=config.seed + batch
    ).tolist()


def healing_windows(
    tokenizer: Any, written: list[list[int]], continued: list[list[int]], config: HealingConfig
) -> tuple[Tensor, Tensor]:
    """The training windows: the model's own texts, then the calibration text.

    Args:
        tokenizer: of the model.
        written: of `write`, of any length.
        continued: of `go_on`, one window each.
        config: of the healing.

    Returns:
        The windows `(N, window)`, and their numbers `(M,)`: each of the own texts once, each of the calibration text as
        often as configured.
    """
    parts = [windows(written, config.window)] if written else []
    parts += [torch.tensor(continued)] if continued else []
    human = scoring.token_windows(tokenizer, scoring.held_out_text("calibration"), config.window)
    n_own = sum(map(len, parts))
    numbers = torch.arange(n_own + len(human))
    return torch.cat([*parts, human]), torch.cat([numbers[:n_own], *[numbers[n_own:]] * config.calibration_repeats])


@contextmanager
def _seen(modules: dict[Any, nn.Module], keep: Callable[[Any, Tensor], None]) -> Iterator[None]:
    """Call ``keep(name, x)`` with the first input of each module, as it comes by."""

    def before(name: Any, _: nn.Module, args: tuple, kwargs: dict) -> None:
        keep(name, (args[0] if args else kwargs["hidden_states"]).detach())

    hooks = [m.register_forward_pre_hook(partial(before, name), with_kwargs=True) for name, m in modules.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def ask(
    model: Any, input_ids: Tensor, pool: Tensor, *, first: int, others: set[int], k: int, batch_size: int = 4
) -> Answers:
    """Let the teacher read the text once, and keep what the healing of every cut needs.

    Args:
        model: the unpruned model.
        input_ids: windows `(N, S)`.
        pool: their numbers, in the proportion in which they will be drawn.
        first: the first layer that is trained: what enters it is kept.
        others: more layers whose input is kept.
        k: tokens kept at each position.
        batch_size: windows in one forward pass.

    Raises:
        ValueError: if a state is too large for float16.
    """
    layers = decoder_layers(model)
    states: dict[int, list[Tensor]] = {i: [] for i in {first} | others}

    def read() -> Iterator[Tensor]:
        for ids in input_ids.split(batch_size):
            with bfloat16():  # around the model alone: torch cannot join tensors of float16 in there
                logits = model(ids, use_cache=False).logits[:, :-1].float()
            yield logits

    with _seen({i: layers[i] for i in states}, lambda i, x: states[i].append(x.half())):
        top = top_of(read(), k)
    kept = {i: torch.cat(parts) for i, parts in states.items()}
    if not all(bool(torch.isfinite(x).all()) for x in kept.values()):
        raise ValueError("model has states beyond 65504: float16 cannot keep them")
    return Answers(input_ids, pool, kept[first], {i: kept[i] for i in others}, top)


@torch.no_grad()
def bridge(model: Any, answers: Answers, *, start: int, n: int, first: int, ridge: float) -> tuple[Any, dict[str, Any]]:
    """Drop ``n`` layers from ``start`` on and refit the matrix before the cut in closed form.

    The layer before the cut ends in ``x + down_proj(a)``. The change of that matrix minimises the squared distance to
    what the removed layers made of it, each token weighed by 1 / |target|^2 as its direction is what the next norm
    keeps; the first token of a window is left out, whose state is a hundred times as large as the others'.

    Args:
        model: the unpruned model; it is not changed.
        answers: of `ask`, with the layer ``start + n`` among ``others``.
        start: first layer to drop, above ``first``.
        n: how many.
        first: the layer that ``answers.states`` enter.
        ridge: share of the mean square of the inputs that is added to their squares.

    Returns:
        The pruned model, and the relative squared error before and after (``error_before``, ``error_after``).

    Raises:
        ValueError: if the layer before the cut is among the first ones.
    """
    if start <= first:
        raise ValueError(f"start={start}: the layer before the cut has to be trained; take frozen_layers < {start}")
    part = keep_layers(model, range(first, start))
    matrix: Any = decoder_layers(part)[-1].get_submodule("mlp.down_proj")
    d_ff, d_model = matrix.in_features, matrix.out_features
    squares, products = torch.zeros(d_ff, d_ff, dtype=torch.float64), torch.zeros(d_ff, d_model, dtype=torch.float64)
    before, tokens = 0.0, 0
    found: dict[str, Tensor] = {}
    for i in range(0, len(answers.states), 16):
        states, target = answers.states[i : i + 16].float(), answers.targets[start + n][i : i + 16].float()
        with _seen({"a": matrix, "out": part.base_model.norm}, found.__setitem__), bfloat16():
            part.base_model(inputs_embeds=states, use_cache=False)
        weight = 1 / target[:, 1:].norm(dim=-1, keepdim=True)
        a = (found["a"][:, 1:].float() * weight).flatten(0, 1)
        missing = ((target - found["out"].float())[:, 1:] * weight).flatten(0, 1)
        squares += (a.T @ a).double()
        products += (a.T @ missing).double()
        before, tokens = before + float(missing.double().square().sum()), tokens + len(a)
    damped = squares.clone()
    damped.diagonal().add_(ridge * squares.diagonal().mean())
    change = torch.linalg.solve(damped, products)  # (d_ff, d_model)
    after = before - 2 * float((change * products).sum()) + float((change * (squares @ change)).sum())
    pruned = layer_pruning.drop_layers(model, start, n)
    refitted: Any = decoder_layers(pruned)[start - 1].get_submodule("mlp.down_proj")
    refitted.weight = nn.Parameter(refitted.weight + change.T.float())  # a new tensor: the old one is the teacher's too
    return pruned, {"error_before": before / tokens, "error_after": after / tokens}


def train_rest(
    pruned: Any, answers: Answers, config: HealingConfig, loss: str, *, progress: bool = False
) -> tuple[Any, TrainingResult]:
    """Train the layers that come after the frozen ones; give a new model of the same shape, and the training.

    Embeddings, which are the output matrix too, stay as they are.

    Args:
        pruned: a pruned model; it is not changed.
        answers: of `ask`, whose states leave the layers that ``config`` freezes.
        config: of the study.
        loss: ``"teacher"``: KL over the kept tokens; ``"cross-entropy"``: of the text itself.
        progress: show a bar.

    Raises:
        ValueError: if ``loss`` is another word.
    """
    if loss not in LOSSES[1:]:
        raise ValueError(f"loss={loss!r}: give 'cross-entropy' or 'teacher'")
    first, n_layers = config.frozen_layers, len(decoder_layers(pruned))
    rest = copy.deepcopy(keep_layers(pruned, range(first, n_layers)))
    for module in (rest.get_input_embeddings(), rest.get_output_embeddings()):
        module.weight.requires_grad_(False)

    def loss_fn(student: nn.Module, numbers: Tensor, targets: Tensor) -> Tensor:
        with bfloat16():
            logits = student(inputs_embeds=answers.states[numbers].float(), use_cache=False).logits[:, :-1]
        if loss == "teacher":
            return top_k_loss(logits, answers.top[numbers])
        return F.cross_entropy(logits.float().flatten(0, 1), targets[:, 1:].flatten())

    recipe = TrainingConfig(
        steps=config.steps, batch_size=config.batch_size, context_length=answers.input_ids.shape[1] - 1,
        learning_rate=config.learning_rate, warmup_share=0.1, final_share=0.0, weight_decay=0.0, betas=(0.9, 0.99),
        clip_norm=1.0, seed=config.seed,
    )  # fmt: skip
    training = fit(
        rest, answers.input_ids.flatten(), recipe, loss_fn=loss_fn, stream=_numbers(answers, config),
        label=f"healing, {loss}", progress=progress,
    )  # fmt: skip
    healed = keep_layers(pruned, range(n_layers))
    for old, new in zip(decoder_layers(healed)[first:], decoder_layers(rest), strict=True):
        old.load_state_dict(new.state_dict(), assign=True)
    healed.base_model.norm.load_state_dict(rest.base_model.norm.state_dict(), assign=True)
    return healed.eval(), training


def _numbers(answers: Answers, config: HealingConfig) -> Iterator[tuple[Tensor, Tensor]]:
    """Numbers of windows `(B,)` and the windows, without end: the pool in a random order, then in another one."""
    generator, order = torch.Generator().manual_seed(config.seed), torch.empty(0, dtype=torch.long)
    while True:
        while len(order) < config.batch_size:
            order = torch.cat([order, answers.pool[torch.randperm(len(answers.pool), generator=generator)]])
        chosen, order = order[: config.batch_size], order[config.batch_size :]
        yield chosen, answers.input_ids[chosen]


def heal(
    material: pruning.Material, config: HealingConfig, answers: Callable[[], Answers], n: int, loss: str, refit: bool
) -> dict[str, Any]:
    """One run: cut, refit where wanted, train, and score the healed model as chapter 6 does."""
    given, start = answers(), layer_pruning.best_block(material.distances, n)
    if refit:
        model, errors = bridge(material.model, given, start=start, n=n, first=config.frozen_layers, ridge=config.ridge)
    else:
        model, errors = layer_pruning.drop_layers(material.model, start, n), {}
    history: list[float] = []
    if loss != "none":
        model, training = train_rest(model, given, config, loss, progress=True)
        history = training.history["loss"].tolist()
    scored = pruning.score(material, model)
    return errors | {
        "loss": scored["loss"],
        "accuracy": scored["accuracy"],
        "train_loss": history,
        "continuations": pruning.continuations(material, model),
    }


def control(
    material: pruning.Material, config: HealingConfig, answers: Callable[[], Answers], loss: str
) -> dict[str, Any]:
    """Train the whole model in the same way: what the text alone brings, where nothing had been lost.

    A loss that a healed model gets back by learning the style of the text is no healing; this model learns it too.
    """
    trained, training = train_rest(material.model, answers(), config, loss, progress=True)
    scored = pruning.score(material, trained)
    return {
        "healing": loss,
        "steps": len(training.history),
        "loss": scored["loss"],
        "accuracy": scored["accuracy"],
        "first_train_loss": float(training.history["loss"].iloc[0]),
        "last_train_loss": float(training.history["loss"].iloc[-20:].mean()),
    }


def kept_tokens(material: pruning.Material, config: HealingConfig, input_ids: Tensor) -> list[dict[str, float]]:
    """What the loss and its gradient lose with k, on one batch of the model with the most common cut, in float32.

    Returns:
        For each k: ``loss`` and ``full_loss`` (all V tokens) [nats per token], ``rest`` (mean probability that is not
        kept), ``cosine`` of the two gradients with respect to the logits, ``bytes_per_token`` of the cache and
        ``full_bytes_per_token`` of all V logarithms in float16.
    """
    n = config.runs[0][0]
    pruned = layer_pruning.drop_layers(material.model, layer_pruning.best_block(material.distances, n), n)
    with torch.no_grad():
        teacher, student = (m(input_ids, use_cache=False).logits for m in (material.model, pruned))

    def gradient(k: int) -> tuple[float, Tensor, TopLogits]:
        x, top = student.clone().requires_grad_(), top_of(teacher, k)
        loss = top_k_loss(x, top)
        loss.backward()
        return loss.item(), x.grad.flatten(), top

    full, exact, _ = gradient(teacher.shape[-1])
    rows = []
    for k in KEPT:
        loss, found, top = gradient(k)
        rows.append(
            {
                "k": k,
                "loss": loss,
                "full_loss": full,
                "rest": float(top.log_rest.double().exp().mean()),
                "cosine": float(F.cosine_similarity(found.double(), exact.double(), dim=0)),
                "bytes_per_token": top.n_bytes / input_ids.numel(),
                "full_bytes_per_token": 2 * teacher.shape[-1],
            }
        )
    return rows


def step_times(
    material: pruning.Material, config: HealingConfig, answers: Callable[[], Answers], rounds: int = 3
) -> list[dict[str, Any]]:
    """CPU time of one step's forward and backward pass with a live teacher, with its answers cached, and with the
    states of the frozen layers cached too; taken in turn [s].
    """
    given, n, first = answers(), config.runs[0][0], config.frozen_layers
    pruned = layer_pruning.drop_layers(material.model, layer_pruning.best_block(material.distances, n), n)
    student = copy.deepcopy(pruned)
    for parameter in student.parameters():
        parameter.requires_grad_(False)
    for layer in decoder_layers(student)[first:]:
        layer.requires_grad_(True)
    rest = keep_layers(student, range(first, len(decoder_layers(student))))
    for module, old in zip(decoder_layers(rest), decoder_layers(student)[first:], strict=True):
        for new, same in zip(module.parameters(), old.parameters(), strict=True):
            new.requires_grad_(same.requires_grad)
    rest.get_input_embeddings().weight.requires_grad_(False)
    numbers = torch.arange(config.batch_size)
    ids = given.input_ids[numbers]

    def answer(model: Any, **given_as: Tensor) -> Tensor:
        with bfloat16():  # around the models alone, as in `train_rest`
            return model(**given_as, use_cache=False).logits[:, :-1]

    def live() -> Tensor:
        with torch.no_grad():
            teacher = answer(material.model, input_ids=ids).float().log_softmax(-1)
        logits = answer(student, input_ids=ids).float().log_softmax(-1)
        return F.kl_div(logits.flatten(0, 1), teacher.flatten(0, 1), log_target=True, reduction="batchmean")

    def cached() -> Tensor:
        return top_k_loss(answer(student, input_ids=ids), given.top[numbers])

    def states_too() -> Tensor:
        return top_k_loss(answer(rest, inputs_embeds=given.states[numbers].float()), given.top[numbers])

    rows = []
    works = {"live teacher": live, "answers cached": cached, "answers and states cached": states_too}
    for turn in range(rounds + 1):
        for name, work in works.items():
            began = time.process_time()
            loss = work()
            loss.backward()
            if turn:  # the first turn warms up
                rows.append({"step": name, "round": turn, "cpu_s": time.process_time() - began, "loss": loss.item()})
            student.zero_grad()
            rest.zero_grad()
    return rows


class _Shared:
    """The teacher's answers for all runs of a process: read from disk when the first run needs them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: Answers | None = None

    def __call__(self) -> Answers:
        if self.answers is None:
            kept = torch.load(self.path, weights_only=True)
            top = TopLogits(kept["log_probabilities"], kept["token_ids"], kept["log_rest"], kept["vocab_size"])
            self.answers = Answers(kept["input_ids"], kept["pool"], kept["states"], kept["targets"], top)
        return self.answers

    def make(
        self, model: Any, input_ids: Tensor, pool: Tensor, config: HealingConfig, others: set[int]
    ) -> dict[str, Any]:
        """Ask the teacher, write the file, and say how large the cache is."""
        self.answers = given = ask(model, input_ids, pool, first=config.frozen_layers, others=others, k=config.k)
        top, partial_path = given.top, self.path.with_suffix(".partial")
        torch.save(
            {
                "input_ids": given.input_ids,
                "pool": given.pool,
                "states": given.states,
                "targets": given.targets,
                "log_probabilities": top.log_probabilities,
                "token_ids": top.token_ids,
                "log_rest": top.log_rest,
                "vocab_size": top.vocab_size,
            },
            partial_path,
        )
        partial_path.replace(self.path)
        return {
            "windows": len(input_ids),
            "tokens": input_ids.numel(),
            "top_bytes": top.n_bytes,
            "full_bytes": 2 * top.log_rest.numel() * top.vocab_size,
            "state_bytes": given.states.numel() * given.states.element_size(),
        }


def healing(
    steps: studies.Steps, config: HealingConfig = HealingConfig(), pruning_config: pruning.Config = PRUNING
) -> dict[str, pd.DataFrame]:
    """Run what is not done yet and return the tables.

    Args:
        steps: of the chapter's study; its settings should hold ``config``.
        config: of the healing.
        pruning_config: of chapter 6, whose evaluation text and cuts are used.

    Returns:
        ``healing``: n_removed, healing (none: only cut, or only refitted), refitted, steps, loss [nats per token] and
        accuracy (cloze) of the healed model, full_loss, cut_loss, recovered (share of the lost loss), error_before and
        error_after of the refit. ``healing_history``: n_removed, healing, refitted, step, train_loss.
        ``healing_control``: healing, steps, loss and accuracy of the whole model trained in the same way, full_loss and
        full_accuracy without it. ``healing_samples``: n_removed, healing, text. ``kept_tokens``, ``step_times`` and
        ``healing_cache``: as their functions say.
    """
    material = pruning.prepare(pruning_config)
    full = steps.run("healing_full", lambda: pruning.score(material, material.model))
    cuts = sorted({n for n, _, _ in config.runs})
    blocks = {n: layer_pruning.best_block(material.distances, n) for n in cuts}
    cut = {n: steps.run(f"healing_cut_{n}", partial(pruning.cut, material, "angular", n)) for n in cuts}
    batches = range(config.text_batches)
    written = [t for b in batches for t in steps.run(f"healing_texts_{b}", partial(write, material, config, b))]
    more = range(config.continued_batches)
    continued = [t for b in more for t in steps.run(f"healing_continued_{b}", partial(go_on, material, config, b))]
    input_ids, pool = healing_windows(material.tokenizer, written, continued, config)
    answers = _Shared(steps.folder / "healing_answers.pt")
    if not answers.path.exists():
        (steps.folder / "healing_cache.json").unlink(missing_ok=True)
    others = {blocks[n] + n for n in cuts}
    cache = steps.run("healing_cache", lambda: answers.make(material.model, input_ids, pool, config, others))
    rows, losses, samples = [], [], []
    for n in cuts:
        rows.append(_row(n, "none", False, 0, full["loss"], cut[n], cut[n]["loss"]))
    for n, loss, refit in config.runs:
        name = f"healing_{n}_{loss}_{'refit' if refit else 'cut'}"
        found = steps.run(name, partial(heal, material, config, answers, n, loss, refit))
        history = found.pop("train_loss")
        rows.append(_row(n, loss, refit, len(history), full["loss"], found, cut[n]["loss"]))
        losses += [
            {"n_removed": n, "healing": loss, "refitted": refit, "step": i, "train_loss": x}
            for i, x in enumerate(history, 1)
        ]
        samples += [{"n_removed": n, "healing": loss, "text": text} for text in found["continuations"]]
    controls = [
        steps.run(f"healing_control_{loss}", partial(control, material, config, answers, loss)) for loss in CONTROLS
    ]
    kept = steps.run("healing_kept", partial(kept_tokens, material, config, input_ids[: config.batch_size]))
    times = steps.run("healing_times", partial(step_times, material, config, answers))
    return {
        "healing": pd.DataFrame(rows),
        "healing_history": pd.DataFrame(losses),
        "healing_samples": pd.DataFrame(samples),
        "healing_cache": pd.DataFrame([cache]),
        "healing_control": pd.DataFrame(controls).assign(full_loss=full["loss"], full_accuracy=full["accuracy"]),
        "kept_tokens": pd.DataFrame(kept),
        "step_times": pd.DataFrame(times),
    }


def _row(n: int, loss: str, refit: bool, steps: int, full: float, found: dict[str, Any], cut: float) -> dict[str, Any]:
    return {
        "n_removed": n,
        "healing": loss,
        "refitted": refit,
        "steps": steps,
        "loss": found["loss"],
        "accuracy": found["accuracy"],
        "full_loss": full,
        "cut_loss": cut,
        "recovered": (cut - found["loss"]) / (cut - full),
        "error_before": found.get("error_before"),
        "error_after": found.get("error_after"),
    }
