"""A student's training: against a loss written with torch, for both kinds of models, its cost, micro-batches, input."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from greenlab.core.model import cost
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.core.model.training import TrainingConfig, fit, logits_of
from greenlab.distillation import LossSettings, distil, distillation_loss, distillation_loss_fn

SMALL = GPTConfig(vocab_size=12, context_length=16, n_layers=1, d_model=8, n_heads=2, d_ff=16)
LARGE = GPTConfig(vocab_size=12, context_length=16, n_layers=2, d_model=16, n_heads=2, d_ff=32)
RECIPE = TrainingConfig(steps=4, batch_size=3, context_length=8)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def data():
    return torch.randint(12, (400,), generator=torch.Generator().manual_seed(0))


def student(seed=1):
    return GPT(SMALL, seed=seed)


def teacher(seed=2):
    return GPT(LARGE, seed=seed)


def llama(seed=0, vocab_size=12, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocab_size, hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
                num_key_value_heads=1, max_position_embeddings=32, **options,
            )
        ).eval()  # fmt: skip


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_the_whole_training_equals_one_with_the_loss_written_in_torch(data):
    the_teacher, t, alpha = teacher(), 3.0, 0.6

    def plain(model, inputs, targets):
        log_q = (model(inputs) / t).log_softmax(-1).flatten(0, 1)
        with torch.no_grad():
            p = (the_teacher(inputs) / t).softmax(-1).flatten(0, 1)
        soft = F.kl_div(log_q, p, reduction="batchmean")
        return (1 - alpha) * F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()) + alpha * t**2 * soft

    mine, theirs = student(), student()
    found = distil(mine, the_teacher, data, RECIPE, temperature=t, alpha=alpha, val=data, progress=False)
    expected = fit(theirs, data, RECIPE, loss_fn=plain, val=data, progress=False)
    for column in ("loss", "grad_norm"):
        assert found.training.history[column].tolist() == pytest.approx(expected.history[column].tolist(), rel=1e-5)
    assert found.val_loss == pytest.approx(expected.val_loss, rel=1e-5)


def test_without_weight_for_the_teacher_it_is_the_usual_training_and_the_teacher_is_not_called(data):
    mine, theirs = student(), student()
    found = distil(mine, teacher(), data, RECIPE, alpha=0.0, progress=False)
    fit(theirs, data, RECIPE, progress=False)
    for name, value in mine.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], rtol=1e-5, atol=1e-6)
    assert (found.teacher_tokens, found.teacher_flops) == (0, 0)
    assert found.student_tokens == 4 * 3 * 8


@pytest.mark.parametrize("divergence", ["forward_kl", "reverse_kl", "jsd"])
def test_a_student_learns_what_its_teacher_thinks_from_meaningless_text(data, divergence):
    """The text is noise; all that there is to learn is the teacher's view of it."""
    the_student, the_teacher = student(), teacher()
    with torch.no_grad():
        the_teacher.embedding.weight.mul_(4)  # opinions strong enough to learn
    recipe = TrainingConfig(steps=80, batch_size=16, context_length=8, learning_rate=1e-2)
    found = distil(the_student, the_teacher, data, recipe, alpha=1.0, divergence=divergence, progress=False)
    losses = found.training.history["loss"]
    assert losses.iloc[-5:].mean() < 0.2 * losses.iloc[:5].mean()


@pytest.mark.parametrize("make_student", [student, llama])
@pytest.mark.parametrize("make_teacher", [teacher, llama])
def test_both_kinds_of_models_teach_each_other(data, make_student, make_teacher):
    the_student, the_teacher = make_student(seed=3), make_teacher(seed=4)
    before, start = weights(the_teacher), weights(the_student)
    found = distil(the_student, the_teacher, data, RECIPE, val=data, progress=False)
    assert found.training.history["loss"].iloc[-1] < found.training.history["loss"].iloc[0]
    assert found.receipt.energy_j > 0
    changed = [not torch.equal(value, start[name]) for name, value in the_student.state_dict().items()]
    assert any(changed)
    for name, value in the_teacher.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None and p.requires_grad for p in the_teacher.parameters())


def test_the_teacher_is_asked_in_evaluation_mode_and_left_in_the_mode_it_was_in(data):
    the_teacher, the_student = llama(attention_dropout=0.5).train(), student()
    inputs, targets = data[:16].view(2, 8), data[1:17].view(2, 8)
    loss_fn = distillation_loss_fn(the_teacher)
    found = {loss_fn(the_student, inputs, targets).item() for _ in range(3)}
    assert len(found) == 1
    assert the_teacher.training


def test_the_same_seed_gives_the_same_student(data):
    first, second = student(), student()
    for model in (first, second):
        distil(model, teacher(), data, RECIPE, progress=False)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


# --- what it costs ----------------------------------------------------------------------------------------------


def test_tokens_and_flops_of_both_are_counted(data):
    """The products with weights, as torch counts them: it counts no fused attention, which the formula adds."""
    the_student, the_teacher = student(), teacher()
    found = distil(the_student, the_teacher, data, RECIPE, val=data, progress=False)
    assert found.teacher_tokens == found.student_tokens == 4 * 3 * 8
    texts = 4 * 3
    for model, config, passes, flops in (
        (the_teacher, LARGE, 1, found.teacher_flops),
        (the_student, SMALL, 3, found.student_flops),
    ):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(data[:8][None])
        pairs = 8 * 9 // 2
        scores = 4 * config.d_model * pairs * config.n_layers
        products = sum(counter.flop_counts["Global"].values())
        attention = sum(n for op, n in counter.flop_counts["Global"].items() if "attention" in str(op))
        assert flops == passes * texts * (products - attention + scores)


def test_a_model_of_another_shape_has_no_flops(data):
    with_more = student()
    with_more.extra = torch.nn.Linear(2, 2)
    found = distil(with_more, llama(), data, RECIPE, progress=False)
    assert found.student_flops is None
    shape = cost.TransformerShape.from_config(llama().config)
    assert found.teacher_flops == 12 * cost.prefill_flops(shape, 8).total


def test_the_counts_go_on_over_several_trainings(data):
    loss_fn = distillation_loss_fn(teacher())
    for _ in range(2):
        fit(student(), data, RECIPE, loss_fn=loss_fn, progress=False)
    assert loss_fn.teacher_tokens == loss_fn.student_tokens == 2 * 4 * 3 * 8


# --- micro-batches ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("double", "exact"), [(True, 1e-12), (False, 1e-6)])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("chunk_size", [None, 5])
def test_micro_batches_of_different_lengths_give_the_gradient_of_the_whole_batch(data, double, exact, size, chunk_size):
    inputs, targets = data[:40].view(5, 8), data[1:41].view(5, 8).clone()
    for row, length in enumerate((8, 3, 1, 0, 6)):
        targets[row, length:] = -100
    the_teacher = teacher().double() if double else teacher()
    whole, parts = (student().double() if double else student() for _ in range(2))
    options = {"temperature": 2.0, "alpha": 0.7}
    expected = distillation_loss_fn(the_teacher, **options)(whole, inputs, targets)
    expected.backward()
    loss_fn = distillation_loss_fn(the_teacher, micro_batch_size=size, chunk_size=chunk_size, **options)
    loss = loss_fn(parts, inputs, targets)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=exact)
    for mine, other in zip(parts.parameters(), whole.parameters(), strict=True):
        assert (mine.grad - other.grad).norm() <= exact * max(1.0, float(other.grad.norm()))
    assert loss_fn.teacher_tokens == loss_fn.student_tokens == 40


def test_micro_batches_can_be_evaluated_without_a_gradient(data):
    inputs, targets = data[:40].view(5, 8), data[1:41].view(5, 8)
    the_student, the_teacher = student(), teacher()
    expected = distillation_loss(logits_of(the_student, inputs), logits_of(the_teacher, inputs), targets)
    with torch.no_grad():
        loss = distillation_loss_fn(the_teacher, micro_batch_size=2)(the_student, inputs, targets)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert all(p.grad is None for p in the_student.parameters())


def test_a_batch_without_a_token_that_counts_is_refused_also_in_micro_batches(data):
    inputs, targets = data[:40].view(5, 8), torch.full((5, 8), -100)
    for size in (None, 2):
        with pytest.raises(ValueError, match="labels holds nothing but ignore_index=-100"):
            distillation_loss_fn(teacher(), micro_batch_size=size)(student(), inputs, targets)


# --- input ------------------------------------------------------------------------------------------------------


def test_a_teacher_of_another_vocabulary_is_refused_before_the_training(data):
    before = (the_student := student()).state_dict()
    before = copy.deepcopy(before)
    with pytest.raises(ValueError, match="teacher has a vocabulary of 13 tokens, the student 12"):
        distil(the_student, llama(vocab_size=13), data, RECIPE, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in the_student.state_dict().items())


def test_the_student_cannot_teach_itself(data):
    the_student = student()
    with pytest.raises(ValueError, match="teacher is the student itself"):
        distil(the_student, the_student, data, RECIPE, progress=False)


def test_a_teacher_that_shares_weights_with_the_student_is_refused(data):
    the_student, the_teacher = student(), student(seed=2)
    the_teacher.embedding = the_student.embedding
    before = weights(the_teacher)
    with pytest.raises(ValueError, match=r"shares memory with the weight embedding\.weight of the student.*deepcopy"):
        distil(the_student, the_teacher, data, RECIPE, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in the_teacher.state_dict().items())
    of_a_part = student(seed=2)
    of_a_part.norm.weight = torch.nn.Parameter(the_student.embedding.weight.detach()[1])
    with pytest.raises(ValueError, match=r"embedding\.weight"):
        distil(the_student, of_a_part, data, RECIPE, progress=False)
    distil(the_student, copy.deepcopy(the_teacher), data, RECIPE, progress=False)


def test_a_frozen_weight_may_be_shared(data):
    the_student, the_teacher = student(), student(seed=2)
    the_teacher.embedding = the_student.embedding
    the_student.embedding.weight.requires_grad_(False)
    before = weights(the_teacher)
    distil(the_student, the_teacher, data, RECIPE, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in the_teacher.state_dict().items())


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"temperature": 0.0}, ValueError, "temperature=0.0"),
        ({"alpha": 2.0}, ValueError, "alpha=2.0"),
        ({"divergence": "tv"}, ValueError, "divergence"),
        ({"chunk_size": 0}, ValueError, "chunk_size=0"),
        ({"micro_batch_size": 0}, ValueError, "micro_batch_size=0"),
        ({"micro_batch_size": True}, TypeError, "micro_batch_size=True"),
    ],
)
def test_wrong_settings_are_refused_before_the_training(data, options, error, words):
    with pytest.raises(error, match=words):
        distil(student(), teacher(), data, RECIPE, progress=False, **options)


def test_a_teacher_with_nan_does_not_spoil_the_student(data):
    broken, the_student = teacher(), student()
    with torch.no_grad():
        broken.norm.weight[0] = float("nan")
    before = weights(the_student)
    with pytest.raises(ValueError, match="teacher_logits holds NaN"):
        distil(the_student, broken, data, RECIPE, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in the_student.state_dict().items())


def test_the_result_names_its_settings(data):
    found = distil(student(), teacher(), data, RECIPE, temperature=2.0, divergence="jsd", beta=0.2, progress=False)
    assert found.settings == LossSettings(2.0, 0.9, "jsd", 0.2)
    assert found.val_loss is None
