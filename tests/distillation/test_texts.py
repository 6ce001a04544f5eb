"""Texts that a teacher or a student writes: against the models' own generation, and what counts in them."""

import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.core.model.training import TrainingConfig, logits_of
from greenlab.distillation import distil, on_policy_batches, write_texts

CONFIG = GPTConfig(vocab_size=12, context_length=16, n_layers=1, d_model=8, n_heads=2, d_ff=16)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def model(seed=1):
    return GPT(CONFIG, seed=seed)


def llama(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=12, hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
                num_key_value_heads=1, max_position_embeddings=16, eos_token_id=3, pad_token_id=0,
            )
        )  # fmt: skip


def some(rows=5, tokens=4):
    return torch.randint(12, (rows, tokens), generator=torch.Generator().manual_seed(rows))


# --- the teacher writes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [model, llama])
def test_the_likeliest_text_is_the_models_own(make):
    teacher, prompts = make(), some()
    written = write_texts(teacher, prompts, 6, temperature=0.0, batch_size=2)
    assert written.shape == (5, 10)
    assert torch.equal(written[:, :4], prompts)
    for end in range(4, 10):
        logits = logits_of(teacher.eval(), written[:, :end])
        assert torch.equal(logits[:, -1].argmax(-1), written[:, end])


@pytest.mark.parametrize("make", [model, llama])
def test_the_same_seed_writes_the_same_text_and_leaves_the_random_state_and_the_mode(make):
    teacher = make().train()
    state = torch.get_rng_state()
    first, again = (write_texts(teacher, some(), 6, seed=3, batch_size=2) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, write_texts(teacher, some(), 6, seed=4, batch_size=2))
    assert torch.equal(torch.get_rng_state(), state)
    assert teacher.training


@pytest.mark.parametrize("make", [model, llama])
def test_tokens_are_drawn_from_the_models_own_distribution(make):
    """4,000 draws of one token: within 4 standard deviations of the softmax, at temperature 0.5."""
    teacher, n = make().eval(), 4000
    prompt = some(rows=1)
    with torch.no_grad():
        logits = logits_of(teacher, prompt)
    p = (logits[0, -1] / 0.5).softmax(-1)
    drawn = write_texts(teacher, prompt.expand(n, -1), 1, temperature=0.5, batch_size=n)[:, -1]
    share = torch.bincount(drawn, minlength=12) / n
    assert ((share - p).abs() <= 4 * (p * (1 - p) / n).sqrt()).all()


def test_batches_of_prompts_do_not_repeat_the_same_draws():
    prompt = some(rows=1)
    written = write_texts(model(), prompt.expand(6, -1), 10, batch_size=1)
    assert len({tuple(row.tolist()) for row in written}) > 1


def test_an_end_of_text_does_not_end_the_row():
    """The next token after it is drawn from the model, not filled with padding."""
    written = write_texts(llama(), some(rows=64), 12, seed=1)
    ended = (written[:, 4:-1] == 3).nonzero()
    assert len(ended) > 10
    after = written[ended[:, 0], ended[:, 1] + 5]
    assert len(set(after.tolist())) > 3


def test_the_models_own_settings_of_generation_play_no_part():
    plain, changed = llama(), llama()
    settings = {
        "repetition_penalty": 50.0, "min_p": 0.5, "typical_p": 0.2, "num_beams": 3, "suppress_tokens": [1, 2, 3, 4, 5],
        "no_repeat_ngram_size": 1, "epsilon_cutoff": 0.05, "bad_words_ids": [[6]], "max_length": 5, "max_time": 1e-9,
    }  # fmt: skip
    changed.generation_config.update(**settings)
    own = changed.generation_config
    for temperature in (0.0, 0.5, 1.0):
        expected = write_texts(plain, some(rows=8), 10, temperature=temperature)
        assert torch.equal(write_texts(changed, some(rows=8), 10, temperature=temperature), expected)
    assert changed.generation_config is own
    assert own.repetition_penalty == 50.0
    changed.forward = stopped
    with pytest.raises(RuntimeError, match="stopped"):
        write_texts(changed, some(), 2)
    assert changed.generation_config is own


def stopped(*args, **kwargs):
    raise RuntimeError("stopped")


# --- the student writes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_prompts_do_not_count_and_targets_follow_inputs(share):
    texts = some(rows=7, tokens=10)
    stream = on_policy_batches(model(), texts, 4, batch_size=3, on_policy_share=share)
    for _ in range(4):
        inputs, targets = next(stream)
        assert inputs.shape == targets.shape == (3, 9)
        assert (targets[:, :3] == -100).all()
        assert torch.equal(targets[:, 3:-1], inputs[:, 4:])
        prompts = {tuple(row) for row in texts[:, :4].tolist()}
        assert {tuple(row) for row in inputs[:, :4].tolist()} <= prompts
        whole = torch.cat([inputs, targets[:, -1:]], dim=1).tolist()
        of_the_data = [row in texts.tolist() for row in whole]
        assert all(of_the_data) if share == 0 else not all(of_the_data)


def test_the_share_is_that_of_the_batches():
    texts = some(rows=7, tokens=12)
    stream = on_policy_batches(model(), texts, 2, batch_size=1, on_policy_share=0.3, seed=5)
    n, known = 300, {tuple(row[1:]) for row in texts.tolist()}
    written = 0
    for _ in range(n):
        inputs, targets = next(stream)
        written += (*inputs[0, 1:].tolist(), int(targets[0, -1])) not in known
    assert abs(written / n - 0.3) <= 4 * math.sqrt(0.3 * 0.7 / n)


def test_the_student_writes_with_the_weights_that_it_has_by_then():
    student, texts = model(), some(rows=7, tokens=10)
    stream = on_policy_batches(student, texts, 4, batch_size=4, temperature=0.0)
    next(stream)
    with torch.no_grad():
        for p in student.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    inputs, targets = next(stream)
    logits = student(inputs)
    assert torch.equal(logits[:, 3:].argmax(-1), targets[:, 3:])


def test_a_stream_is_the_same_for_the_same_seed():
    streams = [on_policy_batches(model(), some(7, 10), 4, on_policy_share=0.5, seed=2) for _ in range(2)]
    for _ in range(3):
        first, second = (next(stream) for stream in streams)
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])


@pytest.mark.parametrize("make", [model, llama])
def test_a_student_is_trained_on_what_it_writes(make):
    student, texts = make(seed=1), some(rows=20, tokens=9)
    recipe = TrainingConfig(steps=3, batch_size=4, context_length=8)
    stream = on_policy_batches(student, texts, 3, batch_size=4)
    found = distil(student, make(seed=2), texts.flatten(), recipe, alpha=1.0, stream=stream, progress=False)
    assert found.teacher_tokens == 3 * 4 * 8
    assert (found.training.history["grad_norm"] > 0).all()


# --- input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"prompts": torch.zeros(2, 3)}, TypeError, "prompts is torch.float32"),
        ({"prompts": torch.zeros(3, dtype=torch.long)}, ValueError, r"prompts has the shape \(3,\)"),
        ({"prompts": torch.full((1, 3), 12)}, ValueError, "prompts holds ids from 12 to 12: give ids from 0 to 11"),
        ({"n_tokens": 0}, ValueError, "n_tokens=0"),
        ({"n_tokens": 13}, ValueError, "n_tokens=13: a row would have 17 tokens, and the model attends to 16"),
        ({"temperature": -1.0}, ValueError, "temperature=-1.0"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"seed": -1}, ValueError, "seed=-1"),
        ({"teacher": torch.nn.Linear(2, 2)}, TypeError, "teacher is Linear"),
    ],
)
@pytest.mark.parametrize("make", [model, llama])
def test_what_cannot_be_written_is_refused(make, change, error, words):
    call = {"teacher": make(), "prompts": some(), "n_tokens": 2} | change
    with pytest.raises(error, match=words):
        write_texts(**call)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"prompt_length": 10}, ValueError, "prompt_length=10.*at least one must be left"),
        ({"prompt_length": 0}, ValueError, "prompt_length=0"),
        ({"texts": some(tokens=17)}, ValueError, "texts=.*17 tokens, and the model attends to 16"),
        ({"on_policy_share": 1.5}, ValueError, "on_policy_share=1.5"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"student": object()}, TypeError, "student="),
    ],
)
def test_a_stream_that_cannot_be_is_refused_when_it_is_made(change, error, words):
    call = {"student": model(), "texts": some(tokens=10), "prompt_length": 4} | change
    with pytest.raises(error, match=words):
        on_policy_batches(**call)
