"""Chapter 4: the cached teacher against torch's own KL divergence over the whole vocabulary and over joined classes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from greenlab.core.model import gpt
from greenlab.distillation.cached import TopLogits, top_k_loss, top_logits, top_of

SEEDS = st.integers(0, 10_000)


def logits(seed: int, n: int = 2, s: int = 3, v: int = 17, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, s, v, generator=generator, dtype=torch.float64)


def joined(student: Tensor, teacher: Tensor, k: int) -> Tensor:
    """KL over the k likeliest classes of the teacher and the sum of the others, a loop over tokens."""
    total = torch.zeros((), dtype=torch.float64)
    rows = list(zip(student.flatten(0, 1).softmax(-1), teacher.flatten(0, 1).softmax(-1), strict=True))
    for p_student, p_teacher in rows:
        order = p_teacher.argsort(descending=True)
        classes = [[int(i)] for i in order[:k]] + [[int(i) for i in order[k:]]]
        for members in classes:
            if members:
                p, q = p_teacher[members].sum(), p_student[members].sum()
                total = total + p * (p / q).log()
    return total / len(rows)


def full_kl(student: Tensor, teacher: Tensor) -> Tensor:
    return torch.nn.functional.kl_div(
        student.flatten(0, 1).log_softmax(-1),
        teacher.flatten(0, 1).log_softmax(-1),
        log_target=True,
        reduction="batchmean",
    )


@given(SEEDS, st.integers(1, 17))
@settings(max_examples=30, deadline=None)
def test_the_loss_is_the_kl_over_the_kept_tokens_and_the_rest_joined(seed, k):
    student, teacher = logits(seed).requires_grad_(), logits(seed + 1)
    ours = top_k_loss(student, top_of(teacher, k, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(ours, student)
    theirs = joined(student, teacher, k)
    (expected,) = torch.autograd.grad(theirs, student)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-11)


def test_with_all_tokens_kept_it_is_torchs_kl_and_so_is_its_gradient():
    student, teacher = logits(1).requires_grad_(), logits(2)
    ours = top_k_loss(student, top_of(teacher, 17, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(ours, student)
    theirs = full_kl(student, teacher)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, torch.autograd.grad(theirs, student)[0], rtol=1e-9, atol=1e-13)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_more_kept_tokens_never_lower_the_loss_and_all_of_them_give_the_kl(seed):
    student, teacher = logits(seed), logits(seed + 1)
    losses = [float(top_k_loss(student, top_of(teacher, k, dtype=torch.float64))) for k in (1, 2, 5, 11, 17)]
    assert losses == sorted(losses)
    assert losses[0] >= 0
    assert losses[-1] == pytest.approx(float(full_kl(student, teacher)), rel=1e-10)


@pytest.mark.parametrize(("dtype", "least"), [(torch.float64, 1e-13), (torch.float32, 1e-6), (torch.float16, 1e-5)])
@pytest.mark.parametrize("k", [1, 4, 17])
def test_a_student_that_agrees_with_its_teacher_loses_nothing(dtype, least, k):
    teacher = logits(5)
    student = teacher.clone().requires_grad_()
    loss = top_k_loss(student, top_of(teacher, k, dtype=dtype))
    loss.backward()
    assert 0 <= loss.item() + 1e-15 < least
    assert float(student.grad.abs().max()) < math.sqrt(least)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("k", [1, 4, 16, 17])
def test_it_loses_exactly_nothing_where_the_cache_keeps_all_digits(k, dtype):
    teacher = logits(6, n=8).to(dtype)
    student = teacher.clone().requires_grad_()
    loss = top_k_loss(student, top_of(teacher, k, dtype=dtype))
    loss.backward()
    assert loss.item() == 0.0
    assert float(student.grad.abs().max()) == 0.0


@given(SEEDS, st.integers(1, 17), st.sampled_from([torch.float16, torch.float32]), st.floats(1e-8, 1e-3))
@settings(max_examples=60, deadline=None)
def test_no_loss_is_negative_however_near_the_student_is(seed, k, dtype, apart):
    teacher = logits(seed)
    student = (teacher + apart * logits(seed + 1)).float()
    assert float(top_k_loss(student, top_of(teacher, k, dtype=dtype))) >= 0


def test_the_gradient_is_that_of_differences_of_the_loss():
    top = top_of(logits(8), 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: 3 * top_k_loss(x, top), [logits(7).requires_grad_()])


def test_a_second_derivative_is_refused():
    student = logits(7).requires_grad_()
    with pytest.raises(RuntimeError, match="top_k_loss has no second derivative"):
        torch.autograd.grad(top_k_loss(student, top_of(logits(8), 4)), student, create_graph=True)


def test_rounding_to_float16_does_not_push_a_row_up_or_down():
    """Softmax does not feel a constant added to all logits, so the gradient of a row sums to 0."""
    student = logits(7).requires_grad_()
    top_k_loss(student, top_of(logits(8), 4)).backward()
    assert float(student.grad.sum(-1).abs().max()) < 1e-15


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_tokens_that_both_sides_exclude_are_as_if_there_were_none(k, dtype):
    teacher = torch.tensor([[[2.0, 1.0, 0.0, -math.inf, -math.inf], [0.0, 3.0, 1.0, 2.0, -1.0]]])
    student = torch.tensor([[[0.0, 1.0, 2.0, -math.inf, -math.inf], [1.0, 2.0, 0.0, 1.0, 3.0]]])
    leaf = student.clone().requires_grad_()
    loss = top_k_loss(leaf, top_of(teacher, k, dtype=dtype))
    loss.backward()
    finite = torch.where(student == -math.inf, -60.0, student).double().requires_grad_()
    expected = joined(finite, torch.where(teacher == -math.inf, -60.0, teacher).double(), k)
    expected.backward()
    exact = 1e-3 if dtype == torch.float16 else 1e-6
    torch.testing.assert_close(loss.double(), expected, rtol=exact, atol=0)
    torch.testing.assert_close(leaf.grad.double(), finite.grad, rtol=exact, atol=exact)
    if k >= 3:
        alone = float(top_k_loss(student[:, :1], top_of(teacher[:, :1], k, dtype=dtype)))
        assert alone == pytest.approx(1.15042, rel=max(exact, 1e-5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_excluded_tokens_keep_the_lowest_number(dtype):
    top = top_of(torch.tensor([[[1.0, 0.0, -math.inf, -math.inf]]]), 3, dtype=dtype)
    lowest = torch.finfo(dtype).min
    assert top.log_probabilities[0, 0, 2].item() == lowest
    assert top.log_rest.item() == lowest
    assert top.log_probabilities.dtype == top.log_rest.dtype == dtype


def test_float32_logits_can_be_kept_in_float64():
    teacher = logits(2).float()
    top, expected = top_of(teacher, 4, dtype=torch.float64), top_of(teacher, 4, dtype=torch.float32)
    assert torch.equal(top.log_probabilities, expected.log_probabilities.double())


def test_a_teacher_in_training_mode_is_asked_in_evaluation_mode():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=12, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                max_position_embeddings=16, attention_dropout=0.5,
            )
        ).eval()  # fmt: skip
    ids = torch.arange(12).view(2, 6)
    expected = top_logits(teacher, ids, 3)
    found = top_logits(teacher.train(), ids, 3)
    assert torch.equal(found.log_probabilities, expected.log_probabilities)
    assert torch.equal(found.token_ids, expected.token_ids)
    assert teacher.training


def test_the_rest_keeps_its_digits_where_it_is_a_millionth_of_a_millionth():
    teacher = torch.tensor([[[30.0, 0.0, 0.0, 1.0]]])
    rest = top_of(teacher, 1, dtype=torch.float32).log_rest
    exact = teacher.double().log_softmax(-1)[..., 1:].logsumexp(-1)
    torch.testing.assert_close(rest.double(), exact, rtol=1e-6, atol=0)


def test_logits_of_ten_thousand_and_excluded_tokens_give_finite_losses():
    teacher = torch.tensor([[[1e4, 0.0, -math.inf, -1e4]]])
    student = torch.tensor([[[0.0, 1e4, 3.0, -1e4]]], requires_grad=True)
    for k in (1, 2, 3, 4):
        loss = top_k_loss(student, top_of(teacher, k))
        (gradient,) = torch.autograd.grad(loss, student)
        assert loss.item() == pytest.approx(1e4, rel=1e-3)
        assert torch.isfinite(gradient).all()


def test_a_model_is_asked_in_batches_without_a_gradient_and_keeps_its_mode():
    config = gpt.GPTConfig(vocab_size=12, context_length=16, n_layers=2, d_model=8, n_heads=2, d_ff=16)
    model, ids = gpt.GPT(config, seed=1).train(), torch.arange(30).view(5, 6) % 12
    top = top_logits(model, ids, 3, batch_size=2, dtype=torch.float32)
    assert model.training
    expected = model.eval()(ids).log_softmax(-1).topk(3)
    torch.testing.assert_close(top.log_probabilities, expected.values, rtol=1e-5, atol=1e-6)
    assert torch.equal(top.token_ids.long(), expected.indices)
    assert not top.log_probabilities.requires_grad
    assert (len(top), top.k, top.n_bytes) == (5, 3, 5 * 6 * (3 * (4 + 4) + 4))


def test_chosen_windows_give_the_loss_of_these_windows():
    teacher, student = logits(3, n=5), logits(4, n=5)
    top = top_of(teacher, 4)
    for chosen in ([3, 1], torch.tensor([3, 1]), slice(1, 4), 2):
        rows = student[[chosen] if isinstance(chosen, int) else chosen]
        alone = top_of(teacher[[chosen] if isinstance(chosen, int) else chosen], 4)
        assert float(top_k_loss(rows, top[chosen])) == float(top_k_loss(rows, alone))


def test_bfloat16_logits_are_compared_in_float32():
    student, teacher = logits(3).bfloat16().requires_grad_(), logits(4)
    loss = top_k_loss(student, top_of(teacher, 17))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(float(full_kl(student.detach().double(), teacher)), rel=1e-3)
    loss.backward()
    assert student.grad.dtype == torch.bfloat16


def test_what_cannot_be_cached_or_compared_is_refused():
    good, ids = logits(1), torch.zeros(1, 3, dtype=torch.long)
    top = top_of(good, 4)
    for k, error in ((0, ValueError), (18, ValueError), (True, TypeError), ("4", TypeError), (2.5, TypeError)):
        with pytest.raises(error, match="k="):
            top_of(good, k)
    for bad in (good * math.nan, good + math.inf, torch.full_like(good, -math.inf)):
        with pytest.raises(ValueError, match="logits holds NaN"):
            top_of(bad, 4)
    with pytest.raises(TypeError, match="dtype"):
        top_of(good, 4, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="shape"):
        top_of(good[0], 4)
    with pytest.raises(ValueError, match="no part"):
        top_of(iter([]), 4)
    with pytest.raises(TypeError, match="teacher"):
        top_logits("model", ids, 4)
    with pytest.raises(ValueError, match="same vocabulary"):
        top_k_loss(logits(1, v=16), top)
    with pytest.raises(ValueError, match="the loss is nan"):
        top_k_loss(good * math.nan, top)
    with pytest.raises(TypeError, match="cached"):
        top_k_loss(good, good)
    for wrong, error in (("a", TypeError), (1.0, TypeError), (True, TypeError), ([2], ValueError), (-1, ValueError)):
        with pytest.raises(error, match="windows"):
            top[wrong]
    for empty in ([], slice(0, 0)):
        with pytest.raises(ValueError, match="none of the 2 windows"):
            top[empty]
    with pytest.raises(ValueError, match="probability of 1"):
        TopLogits(top.log_probabilities - 1, top.token_ids, top.log_rest, 17)
    with pytest.raises(ValueError, match="probability of 1"):
        TopLogits(top.log_probabilities - 0.05, top.token_ids, top.log_rest, 17)
    for other in (logits(1, v=16), logits(1, s=2)):
        with pytest.raises(
            ValueError, match=r"a part of the shape .* after one of \(N, 3, 17\): give parts of the same"
        ):
            top_of([good, other], 4)
    twice = top.token_ids.clone()
    twice[1, 2, 3] = twice[1, 2, 0]
    with pytest.raises(ValueError, match="token_ids holds a token twice"):
        TopLogits(top.log_probabilities, twice, top.log_rest, 17)
    with pytest.raises(ValueError, match="vocab_size=3"):
        TopLogits(top.log_probabilities, top.token_ids, top.log_rest, 3)
