"""The distillation loss against scipy and torch, at its ends, in chunks, accumulated, and on bad input."""

import math

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlab.distillation import LossSettings, distillation_loss, entropy, hidden_distillation_loss, soft_targets

KINDS = [("forward_kl", 0.5), ("reverse_kl", 0.5), ("jsd", 0.5), ("jsd", 0.1), ("jsd", 0.9), ("jsd", 0.001)]
TEMPERATURES = [0.5, 1.0, 2.0, 8.0]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(rows=6, vocab=11, seed=0, dtype=torch.float64, size=2.0, apart=1.0):
    """Logits of a student that is near its teacher, and labels."""
    generator = torch.Generator().manual_seed(seed)
    teacher = size * torch.randn(rows, vocab, generator=generator, dtype=dtype)
    student = teacher + apart * torch.randn(rows, vocab, generator=generator, dtype=dtype)
    return student, teacher, torch.randint(vocab, (rows,), generator=generator)


def reference(student, teacher, kind, beta, temperature):
    """The divergence of each row from scipy, in float64; the Jensen-Shannon family divided by beta (1 - beta)."""
    p = scipy.special.softmax(teacher.double().numpy() / temperature, axis=-1)
    q = scipy.special.softmax(student.double().numpy() / temperature, axis=-1)
    if kind == "forward_kl":
        return scipy.special.rel_entr(p, q).sum(-1)
    if kind == "reverse_kl":
        return scipy.special.rel_entr(q, p).sum(-1)
    m = beta * p + (1 - beta) * q
    gkd = beta * scipy.special.rel_entr(p, m).sum(-1) + (1 - beta) * scipy.special.rel_entr(q, m).sum(-1)
    return gkd / (beta * (1 - beta))


def soft(student, teacher, kind="forward_kl", beta=0.5, temperature=1.0, **options):
    """The soft part alone."""
    labels = torch.zeros(student.shape[:-1], dtype=torch.long)
    return distillation_loss(
        student, teacher, labels, alpha=1.0, divergence=kind, beta=beta, temperature=temperature, **options
    )


def value_and_gradient(student, loss):
    leaf = student.clone().requires_grad_()
    value = loss(leaf)
    value.backward()
    return value.detach(), leaf.grad


# --- values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("kind", "beta"), KINDS)
def test_every_divergence_equals_scipy(kind, beta, temperature):
    student, teacher, _ = made(rows=40, vocab=97)
    expected = temperature**2 * reference(student, teacher, kind, beta, temperature).mean()
    assert soft(student, teacher, kind, beta, temperature).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_both_kls_equal_torch(temperature):
    student, teacher, _ = made()
    log_q, log_p = (student / temperature).log_softmax(-1), (teacher / temperature).log_softmax(-1)
    forward = F.kl_div(log_q, log_p.exp(), reduction="batchmean") * temperature**2
    backward = torch.nn.KLDivLoss(reduction="batchmean", log_target=True)(log_p, log_q) * temperature**2
    assert soft(student, teacher, "forward_kl", temperature=temperature).item() == pytest.approx(forward.item(), 1e-12)
    assert soft(student, teacher, "reverse_kl", temperature=temperature).item() == pytest.approx(backward.item(), 1e-12)


def test_the_middle_of_the_family_is_four_times_the_jensen_shannon_divergence_of_scipy():
    student, teacher, _ = made(rows=1)
    p, q = soft_targets(teacher)[0].numpy(), soft_targets(student)[0].numpy()
    distance = scipy.spatial.distance.jensenshannon(p, q)  # the square root of the divergence
    assert soft(student, teacher, "jsd").item() == pytest.approx(4 * distance**2, rel=1e-10)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_alpha_weighs_the_teacher_and_the_rest_is_the_cross_entropy_of_torch(alpha):
    student, teacher, labels = made()
    hard = F.cross_entropy(student, labels)
    expected = (1 - alpha) * hard + alpha * soft(student, teacher, temperature=3.0)
    loss = distillation_loss(student, teacher, labels, temperature=3.0, alpha=alpha)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize(("kind", "beta"), KINDS)
def test_float32_of_a_large_vocabulary_at_a_high_temperature_has_five_digits(kind, beta):
    student, teacher, _ = made(rows=4, vocab=49_152, dtype=torch.float32)
    expected = 400 * reference(student, teacher, kind, beta, 20.0).mean()
    assert soft(student, teacher, kind, beta, 20.0).item() == pytest.approx(expected, rel=1e-5)


def test_bfloat16_logits_are_compared_in_float32():
    student, teacher, labels = made(dtype=torch.bfloat16)
    loss = distillation_loss(student, teacher, labels)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(distillation_loss(student.float(), teacher.float(), labels).item(), rel=1e-6)
    leaf = student.clone().requires_grad_()
    distillation_loss(leaf, teacher, labels, chunk_size=2).backward()
    assert leaf.grad.dtype == torch.bfloat16


def test_float64_is_kept():
    student, teacher, labels = made()
    assert distillation_loss(student, teacher, labels).dtype == torch.float64
    assert distillation_loss(student, teacher, labels, chunk_size=4).dtype == torch.float64


# --- where the student is the teacher ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1.0, 7.0])
@pytest.mark.parametrize(("kind", "beta"), [*KINDS, ("jsd", 0.0), ("jsd", 1.0)])
def test_loss_and_gradient_are_exactly_zero_where_the_student_is_the_teacher(kind, beta, temperature, dtype):
    _, teacher, _ = made(dtype=dtype, vocab=500)
    value, gradient = value_and_gradient(teacher, lambda x: soft(x, teacher, kind, beta, temperature))
    assert value.item() == 0.0
    assert gradient.abs().max() <= (1e-7 if dtype == torch.float32 else 1e-16)


def test_a_cross_entropy_with_the_teacher_is_not_zero_there():
    """The mistake of a public forward KL: it leaves the teacher's own entropy in."""
    _, teacher, _ = made()
    cross_entropy = F.cross_entropy(teacher, teacher.softmax(-1))
    assert cross_entropy.item() == pytest.approx(entropy(soft_targets(teacher)).mean().item(), rel=1e-12)
    assert cross_entropy.item() > 1.0
    assert soft(teacher, teacher).item() == 0.0


@given(st.integers(0, 10_000), st.integers(2, 40), st.sampled_from(KINDS), st.floats(1, 20), st.floats(0.01, 3))
@settings(max_examples=60, deadline=None)
def test_no_divergence_is_negative_and_none_is_zero_elsewhere(seed, vocab, kind, temperature, size):
    student, teacher, _ = made(vocab=vocab, seed=seed, size=size)
    assert soft(student, teacher, *kind, temperature).item() > 0


# --- temperature ------------------------------------------------------------------------------------------------


def norms(student, teacher, kind, temperatures, squared=True):
    """The norm of the gradient at each temperature, with the factor T^2 or without it."""
    found = []
    for t in temperatures:
        _, gradient = value_and_gradient(student, lambda x, t=t: soft(x, teacher, kind, temperature=t))
        found.append(gradient.norm().item() / (1 if squared else t**2))
    return np.array(found)


@pytest.mark.parametrize(("rows", "vocab"), [(64, 65), (4, 49_152)])
@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd"])
def test_the_gradient_has_one_size_from_temperature_4_to_20(kind, rows, vocab):
    """For logits whose standard deviation is 1; the next but one test says what larger ones need."""
    student, teacher, _ = made(rows=rows, vocab=vocab, size=1.0, apart=0.5, dtype=torch.float32)
    found = norms(student, teacher, kind, range(4, 21, 2))
    assert found.max() / found.min() <= 1.05


@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd"])
def test_without_the_square_it_falls_as_the_square(kind):
    student, teacher, _ = made(rows=8, vocab=65, size=1.0, apart=0.5)
    found = norms(student, teacher, kind, [5, 20], squared=False)
    assert found[0] / found[1] == pytest.approx(16, rel=0.03)


@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd"])
def test_logits_three_times_as_large_need_three_times_the_temperature(kind):
    student, teacher, _ = made(rows=8, vocab=65, size=1.0, apart=0.5)
    small, large = norms(student, teacher, kind, [4, 8]), norms(3 * student, 3 * teacher, kind, [12, 24])
    np.testing.assert_allclose(large, 3 * small, rtol=1e-10)


def test_at_a_high_temperature_the_gradient_is_the_difference_of_the_logits():
    """arXiv:1503.02531, eq. 4: (z - v) / N T^2, times T^2, once both have a mean of 0."""
    student, teacher, _ = made(rows=3, vocab=20, size=0.5, apart=0.5)
    student, teacher = (x - x.mean(-1, keepdim=True) for x in (student, teacher))
    _, gradient = value_and_gradient(student, lambda x: soft(x, teacher, temperature=100.0))
    torch.testing.assert_close(gradient, (student - teacher) / 20 / 3, rtol=0, atol=3e-4)


def test_the_hard_part_does_not_feel_the_temperature():
    student, teacher, labels = made()
    found = [distillation_loss(student, teacher, labels, alpha=0.0, temperature=t).item() for t in (1.0, 5.0)]
    assert found[0] == found[1]


# --- the family of Jensen and Shannon ---------------------------------------------------------------------------


@pytest.mark.parametrize(("beta", "kind"), [(1e-6, "forward_kl"), (1 - 1e-6, "reverse_kl")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_family_does_not_jump_at_its_ends(beta, kind, dtype):
    student, teacher, _ = made(dtype=dtype, rows=20, vocab=100)
    end, end_gradient = value_and_gradient(student, lambda x: soft(x, teacher, kind))
    near, near_gradient = value_and_gradient(student, lambda x: soft(x, teacher, "jsd", beta))
    assert near.item() == pytest.approx(end.item(), rel=1e-3)
    assert (near_gradient - end_gradient).norm() <= 1e-3 * end_gradient.norm()
    at_end = soft(student, teacher, "jsd", round(beta))
    assert at_end.item() == end.item()


def test_the_family_as_published_vanishes_at_its_ends():
    """What the division is for: GKD's own divergence near beta = 0 is near 0, and the forward KL is not."""
    student, teacher, _ = made()
    beta = 1e-3
    published = beta * (1 - beta) * soft(student, teacher, "jsd", beta).item()
    assert published < 2e-3 * soft(student, teacher).item()


def test_members_of_the_family_have_one_size_near_the_teacher():
    """All go to half the chi-square distance, the sum of (q - p)^2 / p."""
    student, teacher, _ = made(apart=1e-3)
    p, q = soft_targets(teacher), soft_targets(student)
    chi_square = ((q - p) ** 2 / p).sum(-1).mean().item()
    for kind, beta in KINDS:
        assert soft(student, teacher, kind, beta).item() == pytest.approx(chi_square / 2, rel=5e-3), (kind, beta)


@pytest.mark.parametrize("beta", [1e-4, 0.1, 0.5, 0.9, 1 - 1e-4])
def test_the_family_is_exact_where_one_side_is_certain(beta):
    """Ratios of exp(90) overflow float32 on their way unless they are taken in logarithms."""
    student = torch.tensor([[0.0, 90.0, 1.0], [60.0, 0.0, -30.0]])
    teacher = torch.tensor([[90.0, 0.0, 1.0], [0.0, 60.0, 30.0]])
    expected = reference(student, teacher, "jsd", beta, 1.0).mean()
    value, gradient = value_and_gradient(student, lambda x: soft(x, teacher, "jsd", beta))
    assert value.item() == pytest.approx(expected, rel=1e-4)
    assert torch.isfinite(gradient).all()


BETA_NEAR_0 = {  # of student (25, 0, 1) and teacher (0, 25, 1), computed with 60 digits
    1e-6: 14.815355655, 1e-7: 17.116724909, 3e-8: 18.318051594, 1e-8: 19.410153852, 1e-12: 24.964831839,
    1e-16: 24.999996398,
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("beta", "expected"), BETA_NEAR_0.items())
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_family_keeps_its_digits_near_its_ends(beta, expected, mirrored, dtype):
    one, other = torch.tensor([[25.0, 0.0, 1.0]], dtype=dtype), torch.tensor([[0.0, 25.0, 1.0]], dtype=dtype)
    student, teacher = (other, one) if mirrored else (one, other)
    value, gradient = value_and_gradient(student, lambda x: soft(x, teacher, "jsd", 1 - beta if mirrored else beta))
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert torch.isfinite(gradient).all()


def test_a_beta_that_float32_cannot_divide_by_is_refused():
    student, teacher, _ = made(dtype=torch.float32)
    for beta in (1e-46, 9e-17):
        with pytest.raises(ValueError, match=rf"beta={beta}: give 0, which is the forward KL, or at least 1e-16"):
            soft(student, teacher, "jsd", beta)


# --- gradients --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize(("kind", "beta"), KINDS)
def test_gradients_equal_finite_differences(kind, beta, chunk_size):
    student, teacher, labels = made(rows=3, vocab=5)
    options = {"temperature": 2.0, "alpha": 0.7, "divergence": kind, "beta": beta, "chunk_size": chunk_size}
    leaf = student.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: 3 * distillation_loss(x, teacher, labels, **options), leaf)


def test_the_teacher_gets_no_gradient():
    student, teacher, labels = made()
    teacher.requires_grad_()
    for chunk_size in (None, 4):
        leaf = student.clone().requires_grad_()
        distillation_loss(leaf, teacher, labels, chunk_size=chunk_size).backward()
        assert teacher.grad is None
        assert leaf.grad.abs().max() > 0


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_a_teacher_with_a_gradient_and_a_student_without_one_is_a_number(chunk_size):
    student, teacher, labels = made()
    assert not distillation_loss(student, teacher.requires_grad_(), labels, chunk_size=chunk_size).requires_grad
    tensors, labels = states()
    for tensor in tensors[2:]:
        tensor.requires_grad_()
    assert not hidden_distillation_loss(*tensors, labels).requires_grad


def test_a_second_derivative_is_refused_in_closed_form_and_given_by_the_plain_loss():
    student, teacher, labels = made(rows=2, vocab=4)
    leaf = student.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: distillation_loss(x, teacher, labels, temperature=2.0), leaf)
    loss = distillation_loss(leaf, teacher, labels, chunk_size=1)
    with pytest.raises(RuntimeError, match=r"chunk_size has no second derivative.*leave chunk_size out"):
        torch.autograd.grad(loss, leaf, create_graph=True)
    tensors, labels = states()
    loss = hidden_distillation_loss(tensors[0].requires_grad_(), *tensors[1:], labels)
    with pytest.raises(RuntimeError, match=r"hidden states has no second derivative"):
        torch.autograd.grad(loss, tensors[0], create_graph=True)


# --- rows that count --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_padding_counts_in_neither_part(alpha, chunk_size):
    student, teacher, labels = made(rows=7)
    kept = torch.tensor([0, 2, 3, 6])
    masked = torch.full_like(labels, -100)
    masked[kept] = labels[kept]
    student[1], teacher[4] = math.nan, math.inf  # what is not looked at may be anything
    options = {"alpha": alpha, "temperature": 2.0, "chunk_size": chunk_size}
    value, gradient = value_and_gradient(student, lambda x: distillation_loss(x, teacher, masked, **options))
    expected, expected_gradient = value_and_gradient(
        student[kept], lambda x: distillation_loss(x, teacher[kept], labels[kept], alpha=alpha, temperature=2.0)
    )
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    torch.testing.assert_close(gradient[kept], expected_gradient, rtol=1e-12, atol=1e-14)
    assert gradient[[1, 4, 5]].abs().max() == 0


def test_another_label_may_stand_for_padding():
    student, teacher, labels = made(rows=4)
    labels[1] = 0
    others = labels != 0
    expected = distillation_loss(student[others], teacher[others], labels[others])
    assert distillation_loss(student, teacher, labels, ignore_index=0).item() == pytest.approx(expected.item(), 1e-12)


def test_texts_and_rows_give_the_same():
    student, teacher, labels = made(rows=6)
    texts = [x.view(2, 3, -1) for x in (student, teacher)]
    expected = distillation_loss(student, teacher, labels)
    assert distillation_loss(*texts, labels.view(2, 3)).item() == expected.item()


@pytest.mark.parametrize(("dtype", "exact"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("chunk_size", [None, 3])
@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd"])
def test_accumulated_micro_batches_equal_one_large_batch(kind, chunk_size, dtype, exact):
    """The micro-batches have 5, 2, 0 and 1 tokens that count; a mean of means would be another number."""
    student, teacher, labels = made(rows=20, dtype=dtype)
    counted = [0, 1, 2, 3, 4, 5, 9, 16]
    masked = torch.full_like(labels, -100)
    masked[counted] = labels[counted]
    options = {"temperature": 2.0, "divergence": kind, "chunk_size": chunk_size}
    value, gradient = value_and_gradient(student, lambda x: distillation_loss(x, teacher, masked, **options))

    def accumulated(leaf):
        parts = zip(leaf.split(5), teacher.split(5), masked.split(5), strict=True)
        return sum(distillation_loss(*part, n_tokens=len(counted), **options) for part in parts)

    other, other_gradient = value_and_gradient(student, accumulated)
    assert other.item() == pytest.approx(value.item(), rel=exact)
    assert (other_gradient - gradient).norm() <= exact * gradient.norm()
    means = [
        distillation_loss(student[i : i + 5], teacher[i : i + 5], masked[i : i + 5], **options).item()
        for i in (0, 5, 15)
    ]
    assert abs(np.mean(means) - value.item()) > 0.01


# --- chunks -----------------------------------------------------------------------------------------------------


@given(
    st.integers(0, 1000),
    st.integers(1, 13),
    st.integers(2, 17),
    st.integers(1, 20),
    st.sampled_from([*KINDS, ("jsd", 0.0), ("jsd", 1.0)]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.floats(0.5, 8.0),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_chunks_give_the_value_and_the_gradient_of_the_whole(seed, rows, vocab, size, kind, alpha, temperature, padded):
    student, teacher, labels = made(rows, vocab, seed)
    if padded:
        labels[torch.rand(rows, generator=torch.Generator().manual_seed(seed)) < 0.4] = -100
        labels[0] = 1
    options = {"alpha": alpha, "temperature": temperature, "divergence": kind[0], "beta": kind[1]}
    value, gradient = value_and_gradient(student, lambda x: distillation_loss(x, teacher, labels, **options))
    other, other_gradient = value_and_gradient(
        student, lambda x: distillation_loss(x, teacher, labels, chunk_size=size, **options)
    )
    torch.testing.assert_close(other, value, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(other_gradient, gradient, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_chunks_can_be_sent_backward_twice_and_be_part_of_a_larger_loss(scale):
    student, teacher, labels = made()
    _, gradient = value_and_gradient(student, lambda x: scale * distillation_loss(x, teacher, labels))
    leaf = student.clone().requires_grad_()
    loss = scale * distillation_loss(leaf, teacher, labels, chunk_size=4)
    loss.backward(retain_graph=True)
    torch.testing.assert_close(leaf.grad, gradient, rtol=1e-12, atol=1e-14)
    loss.backward()
    torch.testing.assert_close(leaf.grad, 2 * gradient, rtol=1e-12, atol=1e-14)


def one_leaf(way):
    """A leaf, and a loss of it whose gradient is kept: texts, rows, a head, hidden states."""
    if way in ("texts", "rows"):
        student, teacher, labels = made(dtype=torch.float32)
        shape = (2, 3) if way == "texts" else (6,)
        leaf = student.view(*shape, -1).requires_grad_()
        return leaf, distillation_loss(leaf, teacher.view(*shape, -1), labels.view(shape), chunk_size=4)
    tensors, labels = states(rows=6)
    tensors[0], tensors[2] = (x.view(2, 3, -1) for x in (tensors[0], tensors[2]))
    leaf = tensors[way == "head"].requires_grad_()
    return leaf, hidden_distillation_loss(*tensors, labels.view(2, 3), chunk_size=4)


@pytest.mark.parametrize("way", ["texts", "rows", "head", "hidden states"])
def test_what_is_done_to_a_gradient_does_not_reach_the_kept_one(way):
    leaf, loss = one_leaf(way)
    loss.backward(retain_graph=True)
    first = leaf.grad.clone()
    leaf.grad.zero_()
    for times in (1, 2, 3):
        loss.backward(retain_graph=True)
        torch.testing.assert_close(leaf.grad, times * first, rtol=1e-6, atol=0)
    (given_out,) = torch.autograd.grad(loss, leaf, retain_graph=True)
    given_out.zero_()
    with pytest.raises(RuntimeError, match=r"changed in place.*change a clone"):
        loss.backward()


def test_a_scaled_loss_of_float16_logits_keeps_small_gradients():
    """A gradient below 6e-8 is 0 in float16; the scale of the loss must reach it before it is rounded."""
    student, teacher, labels = made(rows=2, vocab=500, dtype=torch.float32)
    student, teacher = student.half(), teacher.half()
    options = {"n_tokens": 100_000, "temperature": 2.0}
    _, wide = value_and_gradient(student.float(), lambda x: 2**15 * distillation_loss(x, teacher, labels, **options))
    _, found = value_and_gradient(
        student, lambda x: 2**15 * distillation_loss(x, teacher, labels, chunk_size=1, **options)
    )
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), wide, rtol=1e-3, atol=6e-8)


def test_chunks_without_a_gradient():
    student, teacher, labels = made()
    loss = distillation_loss(student, teacher, labels, chunk_size=4)
    assert not loss.requires_grad
    with torch.no_grad():
        leaf = student.clone().requires_grad_()
        assert distillation_loss(leaf, teacher, labels, chunk_size=4).item() == loss.item()


# --- from hidden states -----------------------------------------------------------------------------------------


def states(rows=9, width=4, teacher_width=6, vocab=13, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((rows, width), (vocab, width), (rows, teacher_width), (vocab, teacher_width))
    tensors = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    return tensors, torch.randint(vocab, (rows,), generator=generator)


@given(st.integers(0, 1000), st.integers(1, 12), st.sampled_from(KINDS), st.booleans(), st.sampled_from([0.0, 0.6]))
@settings(max_examples=40, deadline=None)
def test_hidden_states_give_the_value_and_the_gradients_of_the_logits(seed, chunk_size, kind, padded, alpha):
    (hidden, head, teacher_hidden, teacher_head), labels = states(seed=seed)
    if padded:
        labels[1::3] = -100
    options = {"alpha": alpha, "temperature": 2.0, "divergence": kind[0], "beta": kind[1]}
    plain = [hidden.clone().requires_grad_(), head.clone().requires_grad_()]
    chunked = [hidden.clone().requires_grad_(), head.clone().requires_grad_()]
    expected = distillation_loss(plain[0] @ plain[1].T, teacher_hidden @ teacher_head.T, labels, **options)
    loss = hidden_distillation_loss(*chunked, teacher_hidden, teacher_head, labels, chunk_size=chunk_size, **options)
    (2 * expected).backward()
    (2 * loss).backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-14)
    for mine, other in zip(chunked, plain, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("chunk_size", [2, 96])
def test_accumulated_hidden_states_equal_one_large_batch(chunk_size):
    (hidden, head, teacher_hidden, teacher_head), labels = states(rows=9)
    labels[[1, 4, 5]] = -100
    plain, mine = head.clone().requires_grad_(), head.clone().requires_grad_()
    expected = distillation_loss(hidden @ plain.T, teacher_hidden @ teacher_head.T, labels)
    expected.backward()
    total = 0.0
    for part in (slice(0, 2), slice(2, 9)):
        texts = hidden[part], mine, teacher_hidden[part], teacher_head, labels[part]
        loss = hidden_distillation_loss(*texts, n_tokens=6, chunk_size=chunk_size)
        loss.backward()
        total += loss.item()
    assert total == pytest.approx(expected.item(), rel=1e-12)
    torch.testing.assert_close(mine.grad, plain.grad, rtol=1e-10, atol=1e-13)


def test_another_label_may_stand_for_padding_of_hidden_states():
    tensors, labels = states()
    labels[[1, 5]] = 0
    masked = torch.where(labels == 0, -100, labels)
    expected = hidden_distillation_loss(*tensors, masked)
    assert hidden_distillation_loss(*tensors, labels, ignore_index=0).item() == expected.item()


def test_hidden_states_keep_their_dtype_under_autocast():
    tensors, labels = states(dtype=torch.float32)
    found = []
    for enabled in (False, True):
        leaves = [x.clone().requires_grad_() for x in tensors[:2]]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = hidden_distillation_loss(*leaves, *tensors[2:], labels)
        loss.backward()
        found.append((loss.detach(), *(x.grad for x in leaves)))
    for plain, under_autocast in zip(*found, strict=True):
        assert torch.equal(plain, under_autocast)


def test_the_gradient_of_a_bfloat16_head_is_summed_in_float32():
    """A sum of 400 equal chunks, 8 bits each, stops growing long before its end."""
    tensors, _ = states(rows=1, dtype=torch.bfloat16)
    tensors[0], tensors[2] = (x.repeat(800, 1) for x in (tensors[0], tensors[2]))
    labels = torch.full((800,), 3)
    plain, mine = tensors[1].float().requires_grad_(), tensors[1].clone().requires_grad_()
    distillation_loss(tensors[0].float() @ plain.T, tensors[2].float() @ tensors[3].float().T, labels).backward()
    hidden_distillation_loss(tensors[0], mine, *tensors[2:], labels, chunk_size=2).backward()
    assert mine.grad.dtype == torch.bfloat16
    assert (mine.grad.float() - plain.grad).norm() <= 0.02 * plain.grad.norm()


@pytest.mark.parametrize("wrong", [0, 1, 2, 3])
def test_hidden_states_in_float16_are_refused(wrong):
    tensors, labels = states()
    tensors[wrong] = tensors[wrong].half()
    with pytest.raises(TypeError, match=r"is torch.float16, in which small gradients are 0: give bfloat16 or float32"):
        hidden_distillation_loss(*tensors, labels)


@pytest.mark.parametrize("frozen", [0, 1])
def test_hidden_states_or_head_may_be_frozen(frozen):
    tensors, labels = states()
    for i in {0, 1} - {frozen}:
        tensors[i].requires_grad_()
    hidden_distillation_loss(*tensors, labels).backward()
    assert [t.grad is None for t in tensors] == [frozen == 0, frozen == 1, True, True]


def test_hidden_states_of_texts_equal_those_of_rows():
    (hidden, head, teacher_hidden, teacher_head), labels = states(rows=6)
    expected = hidden_distillation_loss(hidden, head, teacher_hidden, teacher_head, labels)
    texts = hidden_distillation_loss(
        hidden.view(2, 3, -1), head, teacher_hidden.view(2, 3, -1), teacher_head, labels.view(2, 3), chunk_size=4
    )
    assert texts.item() == pytest.approx(expected.item(), rel=1e-12)


def test_hidden_states_are_refused_by_name():
    (hidden, head, teacher_hidden, teacher_head), labels = states()
    with pytest.raises(ValueError, match="teacher_head has 12 tokens, student_head 13"):
        hidden_distillation_loss(hidden, head, teacher_hidden, teacher_head[:-1], labels)
    with pytest.raises(ValueError, match=r"student_head is torch\.float64 of the shape \(13, 3\)"):
        hidden_distillation_loss(hidden, head[:, :3], teacher_hidden, teacher_head, labels)
    with pytest.raises(ValueError, match=r"student_head is torch\.float32"):
        hidden_distillation_loss(hidden, head.float(), teacher_hidden, teacher_head, labels)
    with pytest.raises(ValueError, match="teacher_hidden has the shape"):
        hidden_distillation_loss(hidden, head, teacher_hidden[:-1], teacher_head, labels)
    with pytest.raises(ValueError, match="labels has the shape"):
        hidden_distillation_loss(hidden, head, teacher_hidden, teacher_head, labels[:-1])
    with pytest.raises(ValueError, match="chunk_size=0"):
        hidden_distillation_loss(hidden, head, teacher_hidden, teacher_head, labels, chunk_size=0)


# --- soft targets -----------------------------------------------------------------------------------------------


def test_soft_targets_equal_scipy_and_entropy_too():
    _, teacher, _ = made(vocab=50)
    p = soft_targets(teacher, 2.0)
    expected = scipy.special.softmax(teacher.numpy() / 2, axis=-1)
    np.testing.assert_allclose(p.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(entropy(p).numpy(), scipy.stats.entropy(expected, axis=-1), rtol=1e-12)


def test_entropy_rises_with_the_temperature_up_to_that_of_equal_chances():
    _, teacher, _ = made(vocab=50)
    found = [entropy(soft_targets(teacher, t)).mean().item() for t in (0.05, 0.5, 1, 2, 10, 100)]
    assert found == sorted(found)
    assert found[0] < 0.2
    assert found[-1] == pytest.approx(math.log(50), rel=1e-3)


def test_soft_targets_of_bfloat16_are_taken_in_float32():
    _, teacher, _ = made(dtype=torch.bfloat16, vocab=50)
    found = soft_targets(teacher, 3.0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), soft_targets(teacher.double(), 3.0), rtol=1e-6, atol=0)


def test_numbers_of_numpy_do_not_overflow():
    """100 squared is no numpy.int8, nor is 20 squared."""
    student, teacher, labels = made()
    for t in (20, 100):
        expected = distillation_loss(student, teacher, labels, temperature=float(t), alpha=1.0)
        found = distillation_loss(student, teacher, labels, temperature=np.int8(t), alpha=np.int8(1))
        assert found.item() == expected.item()
    assert torch.equal(soft_targets(teacher, np.int8(20)), soft_targets(teacher, 20.0))
    settings = LossSettings(np.int8(20), np.float16(0.5), "jsd", np.int8(1), np.int16(-100))
    for value, kind in ((settings.temperature, float), (settings.alpha, float), (settings.beta, float)):
        assert type(value) is kind
    assert type(settings.ignore_index) is int


def test_an_excluded_token_has_no_probability():
    assert soft_targets(torch.tensor([0.0, -math.inf])).tolist() == [1.0, 0.0]
    for wrong in ([math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]):
        with pytest.raises(ValueError, match="logits holds NaN"):
            soft_targets(torch.tensor(wrong))


@pytest.mark.parametrize("wrong", [[0.5, 0.6], [1.2, -0.2], [math.nan, 1.0], [math.inf, 0.0]])
def test_what_is_no_distribution_has_no_entropy(wrong):
    with pytest.raises(ValueError, match="probabilities holds a row that is no distribution"):
        entropy(torch.tensor(wrong))


# --- extreme and bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [None, 1])
@pytest.mark.parametrize(("kind", "beta"), KINDS)
def test_huge_logits_do_not_overflow(kind, beta, chunk_size):
    student = torch.tensor([[1e4, -1e4, 0.0], [0.0, 1.0, 1e4]])
    teacher = torch.tensor([[-1e4, 1e4, 0.0], [0.0, 1.0, 1e4]])
    expected = reference(student.clone(), teacher, kind, beta, 1.0)
    if kind != "jsd":  # scipy's own p underflows: KL is infinite there, and 20,000 in truth
        expected = np.array([2e4, 0.0])
    value, gradient = value_and_gradient(student, lambda x: soft(x, teacher, kind, beta, chunk_size=chunk_size))
    assert value.item() == pytest.approx(expected.mean(), rel=1e-4)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize(("kind", "beta"), [k for k in KINDS if k[0] != "reverse_kl"])
def test_a_token_that_the_teacher_excludes_is_defined(kind, beta, chunk_size):
    student, teacher, _ = made()
    teacher[0, 3] = teacher[2, 5] = -math.inf
    expected = reference(student, teacher, kind, beta, 1.0).mean()
    value, gradient = value_and_gradient(student, lambda x: soft(x, teacher, kind, beta, chunk_size=chunk_size))
    assert value.item() == pytest.approx(expected, rel=1e-10)
    assert torch.isfinite(gradient).all()
    assert gradient[0, 3] > 0  # it is pushed down


@pytest.mark.parametrize(("kind", "beta"), KINDS)
def test_a_token_that_both_exclude_is_as_if_there_were_none(kind, beta):
    student, teacher, _ = made()
    expected, kept = soft(student[:, :-1], teacher[:, :-1], kind, beta).item(), student.shape[1] - 1
    student[:, -1] = teacher[:, -1] = -math.inf
    value, gradient = value_and_gradient(student, lambda x: soft(x, teacher, kind, beta))
    assert value.item() == pytest.approx(expected, rel=1e-12)
    assert gradient[:, kept].abs().max() == 0


@pytest.mark.parametrize(("kind", "side"), [("forward_kl", "student_logits"), ("reverse_kl", "teacher_logits")])
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_an_infinite_divergence_is_refused(kind, side, chunk_size):
    student, teacher, _ = made()
    (student if side == "student_logits" else teacher)[1, 2] = -math.inf
    with pytest.raises(ValueError, match=rf"{side} holds -inf .* is infinite there"):
        soft(student, teacher, kind, chunk_size=chunk_size)


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(("kind", "beta"), KINDS)
def test_nan_and_infinity_do_not_pass(kind, beta, side, wrong, chunk_size):
    logits = made()
    logits[side][1, 2] = wrong
    with pytest.raises(ValueError, match="student_logits or teacher_logits holds NaN"):
        soft(*logits[:2], kind, beta, chunk_size=chunk_size)


def test_a_label_that_the_student_excludes_is_refused():
    student, teacher, labels = made()
    student[0, labels[0]] = teacher[0, labels[0]] = -math.inf
    with pytest.raises(ValueError, match="names a token whose logit is -inf"):
        distillation_loss(student, teacher, labels)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"temperature": 0.0}, ValueError, "temperature=0.0.*at least 0.01"),
        ({"temperature": -1.0}, ValueError, "temperature=-1.0"),
        ({"temperature": math.nan}, ValueError, "temperature=nan"),
        ({"temperature": "2"}, TypeError, "temperature='2'"),
        ({"alpha": -0.1}, ValueError, "alpha=-0.1.*weight of the soft part"),
        ({"alpha": 1.1}, ValueError, "alpha=1.1"),
        ({"alpha": True}, TypeError, "alpha=True"),
        ({"beta": 2.0}, ValueError, "beta=2.0"),
        ({"divergence": "kl"}, ValueError, "divergence"),
        ({"chunk_size": 0}, ValueError, "chunk_size=0"),
        ({"chunk_size": 2.0}, TypeError, "chunk_size=2.0"),
        ({"n_tokens": 5}, ValueError, "n_tokens=5.*this call has 6"),
        ({"n_tokens": 0}, ValueError, "n_tokens=0"),
        ({"ignore_index": 1.5}, TypeError, "ignore_index=1.5"),
        ({"labels": torch.zeros(5, dtype=torch.long)}, ValueError, r"labels has the shape \(5,\)"),
        ({"labels": torch.zeros(6)}, TypeError, "labels is torch.float32"),
        ({"labels": torch.full((6,), 11)}, ValueError, "labels holds ids from 11 to 11: give ids from 0 to 10"),
        ({"labels": torch.full((6,), -1)}, ValueError, "labels holds ids from -1"),
        ({"labels": torch.full((6,), -100)}, ValueError, "labels holds nothing but ignore_index=-100"),
        ({"student_logits": torch.zeros(6, 11, dtype=torch.long)}, TypeError, "student_logits is torch.int64"),
        ({"teacher_logits": torch.zeros(6, 11, dtype=torch.long)}, TypeError, "teacher_logits is torch.int64"),
        ({"teacher_logits": torch.zeros(6, 12)}, ValueError, "teacher_logits has the shape .* same vocabulary"),
        ({"teacher_logits": torch.zeros(5, 11)}, ValueError, "teacher_logits has the shape .* equal shapes"),
        ({"student_logits": torch.zeros(11)}, ValueError, r"student_logits has the shape \(11,\)"),
        ({"student_logits": torch.zeros(0, 11)}, ValueError, r"student_logits has the shape \(0, 11\)"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_the_remedy(change, error, words):
    student, teacher, labels = made()
    call = {"student_logits": student, "teacher_logits": teacher, "labels": labels} | change
    with pytest.raises(error, match=words):
        distillation_loss(**call)


def test_a_micro_batch_of_padding_alone_adds_nothing():
    student, teacher, labels = made()
    for chunk_size in (None, 4):
        for kind in ("forward_kl", "jsd"):
            value, gradient = value_and_gradient(
                student,
                lambda x, size=chunk_size, kind=kind: distillation_loss(
                    x, teacher, torch.full_like(labels, -100), n_tokens=9, chunk_size=size, divergence=kind
                ),
            )
            assert value.item() == 0
            assert gradient.abs().max() == 0


def test_hidden_states_of_padding_alone_add_nothing():
    tensors, labels = states()
    tensors[0].requires_grad_()
    loss = hidden_distillation_loss(*tensors, torch.full_like(labels, -100), n_tokens=5)
    loss.backward()
    assert loss.item() == 0
    assert tensors[0].grad.abs().max() == 0
    with pytest.raises(ValueError, match="labels holds nothing but ignore_index"):
        hidden_distillation_loss(*tensors, torch.full_like(labels, -100))


def test_hidden_states_in_more_rows_than_are_computed_together():
    """The rows of a chunk go through the loss a few at a time, and the gradient is written over the logits."""
    tensors, labels = states(rows=45)
    mine, plain = ([x.clone().requires_grad_() for x in tensors[:2]] for _ in range(2))
    loss = hidden_distillation_loss(*mine, *tensors[2:], labels, chunk_size=19)
    expected = distillation_loss(plain[0] @ plain[1].T, tensors[2] @ tensors[3].T, labels)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-14)
    for one, other in zip(mine, plain, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-13)
