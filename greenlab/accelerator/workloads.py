"""What is repeated: the arithmetic, a decode step, a prompt, layers with experts, a training step. All in bfloat16.

Where the host would be in the way, the work is recorded once as a CUDA graph and replayed: at batch 1 an 8B model runs
some hundred kernels a token, and launching them from Python would take longer than the device needs. Recorded work
has fixed shapes and never asks the device for a value, which would end the recording.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenlab.accelerator.shapes import ExpertLayer
from greenlab.core.model.gpt import GPT, GPTConfig, KVCache

DTYPE = torch.bfloat16
Work = Callable[[], Any]
# Major compute capabilities (Hopper, data-centre Blackwell) for which torch 2.11 to 2.13 has a kernel that multiplies
# all groups at once. Elsewhere its grouped product asks the device where each group ends, which no graph can record.
GROUPED = (9, 10)


def recorded(work: Work, device: torch.device) -> Work:
    """Return a call that replays ``work`` as a CUDA graph; on any other device, ``work`` itself."""
    if device.type != "cuda":
        return work
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):  # warm-up outside the graph, as torch asks for
        for _ in range(3):
            work()
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def launched_by(device: torch.device) -> str:
    """Who launches the kernels of `recorded` work there: "graph" on CUDA, else "host"."""
    return "graph" if device.type == "cuda" else "host"


@contextmanager
def _defaults(device: torch.device) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(DTYPE)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(before)


def random_model(config: GPTConfig, device: torch.device) -> GPT:
    """Make a `GPT` with random bfloat16 weights on ``device``, without ever holding a float32 copy."""
    with _defaults(device):
        return GPT(config).eval()


def matmul(n: int, device: torch.device, *, zeros: bool = False) -> tuple[Work, float]:
    """Return a product of two ``(n, n)`` matrices and its FLOPs; of zeros it switches fewer transistors."""
    a, b = (_values((n, n), device, zeros) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.matmul(a, b, out=out), 2.0 * n**3


def copy(n_bytes: int, device: torch.device, *, zeros: bool = False) -> tuple[Work, float]:
    """Return a copy of ``n_bytes`` and the bytes that it reads and writes."""
    source = _values((n_bytes // DTYPE.itemsize,), device, zeros)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), 2.0 * n_bytes


def _values(shape: tuple[int, ...], device: torch.device, zeros: bool) -> Tensor:
    """Random numbers, or zeros of which none is minus zero: a sign bit would switch as well."""
    make = torch.zeros if zeros else torch.randn
    return make(shape, device=device, dtype=DTYPE)


def decode_step(model: GPT, batch: int, context: int, device: torch.device) -> Work:
    """One step of ``batch`` sequences whose cache holds ``context - 1`` tokens: the last of ``context`` is computed.

    The position stays: every replay overwrites the same place of the cache, so a block of seconds has one context.
    """
    config = dataclasses.replace(model.config, n_layers=len(model.blocks))  # layers may be left out
    cache = KVCache(config, batch, context, dtype=model.embedding.weight.dtype, device=device)
    for layer in cache.layers:
        layer.keys.normal_()
        layer.values.normal_()
    ids = torch.randint(model.config.vocab_size, (batch, 1), device=device)

    @torch.no_grad()
    def step() -> Tensor:
        cache.length = context - 1
        for layer in cache.layers:
            layer.length = context - 1
        return model(ids, cache=cache, head="last").argmax(-1)

    return recorded(step, device)


def prompt(model: GPT, n_tokens: int, device: torch.device) -> Work:
    """Read a prompt of ``n_tokens`` and give the next token's logits; recorded, with the blocks that the model has now.

    A short prompt would wait for the host: 512 tokens keep an H100 busy for less time than Python needs to launch the
    kernels of 32 layers.
    """
    ids = torch.randint(model.config.vocab_size, (1, n_tokens), device=device)

    @torch.no_grad()
    def read() -> Tensor:
        return model(ids, head="last")

    return recorded(read, device)


@contextmanager
def skipping(model: GPT, wrap: Callable[[nn.Module], nn.Module], every: int) -> Iterator[None]:
    """Put ``wrap(block)`` in the place of every ``every``-th block of the model, inside the with block."""
    whole, like = model.blocks, model.embedding.weight
    model.blocks = nn.ModuleList(
        wrap(block).to(like.device, like.dtype) if i % every == every - 1 else block for i, block in enumerate(whole)
    )
    try:
        yield
    finally:
        model.blocks = whole


@contextmanager
def without_layers(model: GPT, n_left_out: int) -> Iterator[None]:
    """Leave the last ``n_left_out`` blocks out, inside the with block; which ones does not matter for the energy."""
    whole = model.blocks
    model.blocks = nn.ModuleList(list(whole)[: len(whole) - n_left_out])
    try:
        yield
    finally:
        model.blocks = whole


@dataclass(frozen=True)
class Draw:
    """One random routing of a batch, sorted by expert.

    Attributes:
        source: the token of every row, on the device.
        ends: where the rows of each expert end, int32 on the device.
        host_ends: the same as numbers.
        n_visited: experts that have rows.
    """

    source: Tensor
    ends: Tensor
    host_ends: list[int]
    n_visited: int

    @classmethod
    def of(cls, layer: ExpertLayer, n_tokens: int, seed: int, device: torch.device) -> Draw:
        """Let each token pick its experts at random."""
        generator = torch.Generator().manual_seed(seed)
        scores = torch.rand(n_tokens, layer.n_experts, generator=generator)
        choice = scores.topk(layer.top_k).indices.flatten()
        counts = torch.bincount(choice, minlength=layer.n_experts)
        ends = counts.cumsum(0)
        source = (choice.argsort() // layer.top_k).to(device)
        return cls(source, ends.to(device, torch.int32), ends.tolist(), int((counts > 0).sum()))


class Experts:
    """The weights of one mixture-of-experts layer, and the three ways to run it: routed, dense of either size.

    ``grouped`` says whether one kernel multiplies the rows of all experts, or one kernel an expert.
    """

    def __init__(self, layer: ExpertLayer, device: torch.device) -> None:
        self.layer, self.device, self.grouped = layer, device, has_grouped_kernel(device)
        shape = (layer.n_experts, layer.d_ff, layer.d_model)
        self.gate, self.up = (torch.randn(shape, device=device, dtype=DTYPE) * 0.02 for _ in range(2))
        self.down = torch.randn(layer.n_experts, layer.d_model, layer.d_ff, device=device, dtype=DTYPE) * 0.02

    def routed(self, n_tokens: int, seeds: Sequence[int]) -> tuple[Work, float]:
        """Return the layer for ``n_tokens`` routed at random, once for each seed, and how many experts they visit.

        Few tokens visit another number of experts in every draw, so one call does all draws in turn: it stands for
        ``len(seeds) * n_tokens`` tokens. The number of experts is the mean of the draws.
        """
        draws = [Draw.of(self.layer, n_tokens, seed, self.device) for seed in seeds]
        x = self._tokens(n_tokens)

        @torch.no_grad()
        def run() -> Tensor:
            for draw in draws:
                y = self._visit(x, draw)
            return y

        return recorded(run, self.device), sum(draw.n_visited for draw in draws) / len(draws)

    def _visit(self, x: Tensor, draw: Draw) -> Tensor:
        """Sort tokens by expert, multiply each group by its expert's weights, add them back where they came from."""
        rows = x[draw.source]
        gated = F.silu(self._product(rows, self.gate, draw)) * self._product(rows, self.up, draw)
        return torch.zeros_like(x).index_add_(0, draw.source, self._product(gated, self.down, draw))

    def _product(self, rows: Tensor, weights: Tensor, draw: Draw) -> Tensor:
        if self.grouped:
            return grouped_product(rows, weights, draw.ends)
        return looped_product(rows, weights, draw.host_ends)

    def dense(self, n_tokens: int, n_experts: int) -> Work:
        """A dense feed-forward part as wide as ``n_experts`` experts together."""
        width = n_experts * self.layer.d_ff
        gate, up = (part[:n_experts].reshape(width, self.layer.d_model) for part in (self.gate, self.up))
        down = self.down[:n_experts].transpose(0, 1).reshape(self.layer.d_model, width).contiguous()
        x = self._tokens(n_tokens)

        @torch.no_grad()
        def run() -> Tensor:
            return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)

        return recorded(run, self.device)

    def _tokens(self, n_tokens: int) -> Tensor:
        return torch.randn(n_tokens, self.layer.d_model, device=self.device, dtype=DTYPE)


def has_grouped_kernel(device: torch.device) -> bool:
    """Whether torch multiplies all groups in one kernel there that a CUDA graph can hold, in bfloat16."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] in GROUPED


def grouped_product(rows: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """Multiply each group of ``rows`` ``(R, K)`` by its own matrix of ``weights`` ``(G, N, K)``: ``(R, N)``.

    Group g is ``rows[ends[g - 1] : ends[g]]``; ``ends`` is int32 on the device. One kernel does all groups.
    """
    return F.grouped_mm(rows, weights.transpose(1, 2), offs=ends)


def looped_product(rows: Tensor, weights: Tensor, ends: Sequence[int]) -> Tensor:
    """The same, one product a group that has rows; the host knows ``ends``, so a CUDA graph can hold it."""
    starts = [0, *ends]
    groups = [(start, end, g) for g, (start, end) in enumerate(zip(starts, ends, strict=False)) if end > start]
    return torch.cat([rows[start:end] @ weights[g].T for start, end, g in groups])


def training_step(student: GPT, teacher: GPT | None, ids: Tensor) -> Work:
    """One AdamW step of ``student`` on ``ids`` ``(B, S)``; with a teacher, its forward pass and the divergence too."""
    student.train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-5, fused=ids.is_cuda)

    def step() -> None:
        logits = student(ids).flatten(0, 1).float()
        loss = F.cross_entropy(logits[:-1], ids.flatten()[1:])
        if teacher is not None:
            with torch.no_grad():
                target = F.log_softmax(teacher(ids).flatten(0, 1).float(), -1)
            loss = loss + F.kl_div(F.log_softmax(logits, -1), target, log_target=True, reduction="batchmean")
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def forward_pass(model: GPT, ids: Tensor) -> Work:
    """Logits of every token of ``ids`` ``(B, S)``, nothing kept."""

    @torch.no_grad()
    def run() -> None:
        model(ids)

    return run
