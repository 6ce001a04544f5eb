"""The workloads are what they say, on the CPU and at small sizes: against loops and against torch's own layers."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from greenlab.accelerator import Bench, workloads
from greenlab.accelerator.shapes import EXPERT_LAYERS, MODELS, ExpertLayer, cache_bytes, weight_bytes
from greenlab.core.model.gpt import GPTConfig
from greenlab.mixture_of_depths import MoDBlock

CPU = torch.device("cpu")
SMALL = GPTConfig(vocab_size=50, context_length=64, n_layers=4, d_model=32, n_heads=4, n_kv_heads=2, d_ff=48)


@pytest.fixture
def model():
    return workloads.random_model(SMALL, CPU)


@pytest.mark.parametrize(
    ("name", "billions"), [("Llama-3.1-8B", 8.03), ("Llama-3.2-1B", 1.236), ("SmolLM2-135M", 0.1345)]
)
def test_the_shapes_have_the_published_number_of_parameters(name, billions):
    """Model cards of Meta (8.03B, 1.24B) and Hugging Face (134.5M)."""
    assert weight_bytes(MODELS[name]) / 2e9 == pytest.approx(billions, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "billions"), [("Mixtral-8x7B", 45.1), ("Qwen3-30B-A3B", 29.0), ("DeepSeek-V3", 653.9)]
)
def test_the_experts_of_all_layers_are_most_of_the_published_total(name, billions):
    """32, 48 and 58 layers with experts: 46.7B, 30.5B and 671B in all."""
    n_layers = {"Mixtral-8x7B": 32, "Qwen3-30B-A3B": 48, "DeepSeek-V3": 58}[name]
    assert EXPERT_LAYERS[name].weight_bytes / 2e9 * n_layers == pytest.approx(billions, rel=2e-3)


def test_the_cache_of_the_8b_model_is_128_kb_a_token():
    assert cache_bytes(MODELS["Llama-3.1-8B"], 1, 1) == 131_072


def test_a_model_is_made_in_bfloat16_and_leaves_the_defaults_alone(model):
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32


def test_a_decode_step_computes_the_last_token_of_its_context(model):
    step = workloads.decode_step(model, 3, 20, CPU)
    first, second = step(), step()
    assert first.shape == (3, 1)
    assert torch.equal(first, second)  # the position does not move from call to call


def test_a_prompt_gives_the_logits_of_its_last_token(model):
    assert workloads.prompt(model, 24, CPU)().shape == (1, 1, 50)


@pytest.mark.parametrize("grouped", [True, False])
def test_experts_equal_a_loop_over_tokens(grouped):
    """Both ways to multiply; the last of the draws is what a call gives back."""
    torch.manual_seed(0)
    experts = workloads.Experts(ExpertLayer(16, 24, 6, 2), CPU)
    experts.gate, experts.up, experts.down = (w.float() * 20 for w in (experts.gate, experts.up, experts.down))
    experts._tokens = lambda n: tokens
    experts.grouped = grouped
    tokens = torch.randn(3, 16)
    work, n_visited = experts.routed(3, seeds=(5, 6, 3))
    choices = [
        torch.rand(3, 6, generator=torch.Generator().manual_seed(seed)).topk(2).indices.tolist() for seed in (5, 6, 3)
    ]
    expected = torch.zeros(3, 16)
    for token, visited in enumerate(choices[-1]):
        for e in visited:
            hidden = F.silu(experts.gate[e] @ tokens[token]) * (experts.up[e] @ tokens[token])
            expected[token] += experts.down[e] @ hidden
    torch.testing.assert_close(work(), expected, rtol=1e-4, atol=1e-4)
    sets = [len({e for visited in choice for e in visited}) for choice in choices]
    assert len(set(sets)) > 1, "the draws differ, else their mean says nothing"
    assert n_visited == pytest.approx(sum(sets) / 3)


def test_a_dense_layer_is_its_experts_side_by_side():
    experts = workloads.Experts(ExpertLayer(16, 24, 6, 2), CPU)
    tokens = torch.randn(5, 16, dtype=torch.bfloat16)
    experts._tokens = lambda n: tokens
    expected = sum(
        (F.silu(tokens.float() @ experts.gate[e].float().T) * (tokens.float() @ experts.up[e].float().T))
        @ experts.down[e].float().T
        for e in range(6)
    )
    found = experts.dense(5, 6)().float()
    assert (found - expected).norm() / expected.norm() < 0.02  # bfloat16


def test_layers_left_out_come_back(model):
    with workloads.without_layers(model, 3):
        assert len(model.blocks) == 1
    assert len(model.blocks) == 4


def test_skipped_tokens_pass_and_entering_ones_keep_their_positions():
    torch.manual_seed(0)
    model = workloads.random_model(SMALL, CPU).float()
    with workloads.skipping(model, partial(MoDBlock, d_model=32, capacity=0.25), 2):
        kinds = [type(block).__name__ for block in model.blocks]
        block = model.blocks[1].float()
        seen = {}
        block.block.register_forward_hook(lambda module, given, out: seen.update(x=given[0], rotation=given[1]))
        x = torch.randn(1, 16, 32)
        rotation = _rotation_of(model, 16)
        out = block(x, rotation)
    assert kinds == ["Block", "MoDBlock", "Block", "MoDBlock"]
    assert [type(block).__name__ for block in model.blocks] == ["Block"] * 4
    chosen = block.router(x).squeeze(-1).topk(4, dim=1).indices[0].sort().values
    changed = (out != x).any(-1)[0].nonzero().flatten()
    assert torch.equal(changed, chosen)
    torch.testing.assert_close(seen["x"], x[:, chosen])
    torch.testing.assert_close(seen["rotation"], rotation[chosen][None])


def _rotation_of(model, n):
    """The rotary rows that the model hands to its blocks for the first ``n`` positions."""
    seen = []
    handle = model.blocks[0].register_forward_hook(lambda module, given, out: seen.append(given[1]))
    model(torch.zeros(1, n, dtype=torch.long))
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("with_teacher", [False, True])
def test_a_training_step_changes_the_student_and_not_the_teacher(with_teacher):
    student, teacher = (workloads.random_model(SMALL, CPU).float() for _ in range(2))
    before = student.head.weight.detach().clone(), teacher.head.weight.detach().clone()
    ids = torch.randint(50, (2, 16))
    workloads.training_step(student, teacher if with_teacher else None, ids)()
    assert not torch.equal(student.head.weight, before[0])
    assert torch.equal(teacher.head.weight, before[1])
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Bench("cpu"), "device='cpu'"),
        (lambda: Bench(torch.device("cpu"), counters=(None,)), "counters=None"),
        (lambda: Bench(torch.device("cpu"), component="disk"), "component"),
        (lambda: Bench(torch.device("cpu"), clock=3), "clock=3"),
        (lambda: Bench(torch.device("cpu")).run(3, 1.0), "work=3"),
        (lambda: ExpertLayer(8, 16.0, 4, 2), "d_ff=16.0"),
        (lambda: ExpertLayer(8, 16, 4, 5), "top_k=5"),
        (lambda: ExpertLayer(0, 16, 4, 2), "d_model=0"),
    ],
)
def test_what_is_no_bench_and_no_layer_is_named(build, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build()


@pytest.mark.parametrize("grouped", [True, False])
def test_recorded_work_never_asks_the_device_for_a_value(model, monkeypatch, grouped):
    """A CUDA graph cannot hold an operation whose result the host needs, nor one whose shape depends on values."""
    kept = []
    monkeypatch.setattr(workloads, "recorded", lambda work, device: kept.append(work) or work)
    monkeypatch.setattr(workloads, "has_grouped_kernel", lambda device: grouped)
    workloads.decode_step(model, 2, 20, CPU)
    workloads.prompt(model, 24, CPU)
    experts = workloads.Experts(ExpertLayer(16, 24, 6, 2), CPU)
    experts.routed(5, seeds=(1, 2))
    experts.dense(5, 6)
    operations = [_operations(work) for work in kept]
    with workloads.skipping(model, partial(MoDBlock, d_model=32, capacity=0.25), 2):
        workloads.prompt(model, 32, CPU)
        operations.append(_operations(kept[-1]))
    assert len(kept) == len(operations) == 5, "each of them is recorded"
    assert min(len(names) for names in operations) > 3
    assert not set.union(*operations) & WAITING


def _operations(work):
    with Operations() as seen:
        work()
    return seen.names


WAITING = {
    "_local_scalar_dense", "item", "nonzero", "masked_select", "unique", "_unique", "_unique2", "unique_dim",
    "is_nonzero", "equal", "repeat_interleave", "bincount", "histc",
}  # fmt: skip


class Operations(TorchDispatchMode):
    """Writes down the names of the operations that run."""

    def __init__(self):
        super().__init__()
        self.calls = []

    @property
    def names(self):
        return set(self.calls)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def test_the_list_of_waiting_operations_finds_one():
    with Operations() as seen:
        torch.tensor([1, 0, 1]).nonzero()
        float(torch.ones(1).sum())
    assert seen.names & WAITING == {"nonzero", "_local_scalar_dense"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("counts", [[3, 0, 5, 1], [0, 0, 0, 9], [9, 0, 0, 0], [1, 1, 1, 6]])
def test_a_loop_over_the_groups_equals_torchs_own_grouped_product(counts, dtype):
    torch.manual_seed(0)
    rows, weights = torch.randn(9, 16, dtype=dtype), torch.randn(4, 24, 16, dtype=dtype)
    ends = torch.tensor(counts).cumsum(0)
    looped = workloads.looped_product(rows, weights, ends.tolist())
    torch.testing.assert_close(looped, workloads.grouped_product(rows, weights, ends.to(torch.int32)))
    own = torch.nn.functional.grouped_mm(rows, weights.transpose(1, 2), offs=ends.to(torch.int32))
    torch.testing.assert_close(looped, own)


def test_the_loop_multiplies_no_group_without_rows():
    """An expert that nobody visits has its weights left in memory, which is where the energy goes."""
    rows, weights = torch.randn(4, 16), torch.randn(6, 24, 16)
    with Operations() as seen:
        workloads.looped_product(rows, weights, [0, 3, 3, 3, 4, 4])
    assert seen.calls.count("mm") == 2


def test_no_zero_has_a_sign():
    """Minus zero differs from zero in one bit, which would switch."""
    work, _ = workloads.copy(4096, CPU, zeros=True)
    copied = work()
    assert not copied.any()
    assert not copied.signbit().any()
    with pytest.MonkeyPatch.context() as patch:
        given = []
        patch.setattr(torch, "matmul", lambda a, b, out: given.extend([a, b]))
        workloads.matmul(32, CPU, zeros=True)[0]()
        workloads.matmul(32, CPU)[0]()
    assert [bool(part.any()) for part in given] == [False, False, True, True]
    assert not any(part.signbit().any() for part in given[:2])
    assert {part.dtype for part in given} == {torch.bfloat16}


def test_zeros_are_zeros_and_units_are_flops_and_bytes():
    work, flops = workloads.matmul(8, CPU, zeros=True)
    assert flops == 1024
    assert not work().any()
    work, n_bytes = workloads.copy(64, CPU)
    assert n_bytes == 128
    assert work().any()
