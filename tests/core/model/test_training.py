"""core.model.training: does a model learn what can be learned, is a run repeatable, is the recipe the one it says?"""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from greenlab.core.energy import meter
from greenlab.core.model import training
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.core.model.training import (
    CharTokenizer,
    TrainingConfig,
    batches,
    evaluate,
    fit,
    learning_rate,
    make_optimizer,
    next_token_loss,
)

QUICK = TrainingConfig(steps=6, batch_size=4, context_length=12)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Models this small only wait for each other on more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny(vocab_size=11, seed=0, **changes):
    sizes = {"context_length": 16, "n_layers": 2, "d_model": 32, "n_heads": 2, "d_ff": 64}
    return GPT(GPTConfig(vocab_size, **(sizes | changes)), seed=seed)


def tokens(length, vocab_size=11, seed=0):
    return torch.randint(vocab_size, (length,), generator=torch.Generator().manual_seed(seed))


def quiet_fit(model, data, config=QUICK, **options):
    return fit(model, data, config, progress=False, **options)


def markov_chain(length, seed):
    """Tokens of a chain of five states, their loss under the chain's own probabilities, and its entropy rate [nats].

    The rate is the sum over states of pi_i H(row i), pi being the share of time in state i.
    """
    p = np.random.default_rng(0).dirichlet([0.3] * 5, size=5)
    pi = np.linalg.matrix_power(p, 1000)[0]
    cumulative, draws, states = p.cumsum(1), np.random.default_rng(seed).random(length), [0]
    for u in draws[1:]:
        states.append(min(4, int(np.searchsorted(cumulative[states[-1]], u))))
    return torch.tensor(states), -np.log(p[states[:-1], states[1:]]).mean(), -(pi[:, None] * p * np.log(p)).sum()


def test_one_batch_can_be_learned_by_heart():
    """16 random tokens seen 200 times: the loss falls from ln 11 to nearly nothing."""
    data, model = tokens(17), tiny()
    before = next_token_loss(model, data[None, :-1], data[None, 1:]).item()
    quiet_fit(
        model, data, TrainingConfig(steps=200, batch_size=1, context_length=16, weight_decay=0, learning_rate=0.01)
    )
    assert before == pytest.approx(math.log(11), abs=0.1)
    assert next_token_loss(model, data[None, :-1], data[None, 1:]).item() < 0.01


def test_loss_on_a_markov_chain_approaches_its_entropy_rate_and_does_not_pass_it():
    """No model can predict better than the chain's own probabilities; a trained one comes within 0.02 nats."""
    (train, _, rate), (val, own_loss, _) = markov_chain(20_000, seed=1), markov_chain(20_000, seed=2)
    config = TrainingConfig(steps=200, batch_size=16, context_length=16, eval_windows=2000)
    result = quiet_fit(tiny(5), train, config, val=val)
    assert own_loss == pytest.approx(rate, abs=0.03)
    assert rate < 0.75 * math.log(5)
    assert result.history["loss"].iloc[0] == pytest.approx(math.log(5), abs=0.1)
    assert own_loss - 0.003 < result.val_loss < own_loss + 0.02


def test_same_seed_same_weights_and_another_seed_others():
    data = tokens(500)
    first, second, other = tiny(), tiny(), tiny()
    torch.manual_seed(1)
    one = quiet_fit(first, data)
    torch.manual_seed(2)
    two = quiet_fit(second, data)
    quiet_fit(other, data, TrainingConfig(steps=6, batch_size=4, context_length=12, seed=1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    columns = ["step", "tokens", "learning_rate", "loss", "grad_norm"]
    pd.testing.assert_frame_equal(one.history[columns], two.history[columns], check_exact=True)


def test_dropout_is_seeded_too_and_the_global_random_state_is_left_alone():
    def with_dropout():
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=11, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
                attention_dropout=0.5, attn_implementation="eager",
            )
        )  # fmt: skip

    first, second = with_dropout(), with_dropout()
    second.load_state_dict(first.state_dict())
    state = torch.get_rng_state()
    quiet_fit(first, tokens(500))
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(99)
    quiet_fit(second, tokens(500))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_step_equals_torchs_adamw_with_clipping_written_out():
    """Three steps by hand: same windows, torch's AdamW per parameter (not fused), clip at 0.05."""
    data = tokens(500)
    config = TrainingConfig(
        steps=3, batch_size=4, context_length=12, clip_norm=0.05, weight_decay=0.3, warmup_share=0.4
    )
    model, reference = tiny(), tiny()
    quiet_fit(model, data, config)
    optimizer = torch.optim.AdamW(
        [{"params": [p], "weight_decay": 0.3 if p.ndim > 1 else 0.0} for p in reference.parameters()],
        betas=(0.9, 0.95),
        foreach=False,
    )
    for step, (x, y) in zip(range(3), batches(data, 12, 4, seed=0), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(reference(x).flatten(0, 1), y.flatten()).backward()
        nn.utils.clip_grad_norm_(reference.parameters(), 0.05)
        optimizer.step()
    for a, b in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_learning_rate_equals_torchs_cosine_annealing_after_the_warm_up():
    config = TrainingConfig(steps=100, warmup_share=0.1, learning_rate=0.01, final_share=0.2)
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=90, eta_min=0.002)
    rates = []
    for _ in range(91):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert [learning_rate(config, step) for step in range(10, 101)] == pytest.approx(rates, rel=1e-9)
    warmup = [learning_rate(config, step) for step in range(10)]
    assert warmup == pytest.approx([0.001 * (i + 1) for i in range(10)])
    assert learning_rate(TrainingConfig(steps=1), 0) == 3e-3  # no room to warm up


def test_fit_uses_the_schedule_and_logs_what_it_did():
    config = TrainingConfig(steps=7, batch_size=4, context_length=12, eval_every=3)
    seen = []
    result = quiet_fit(tiny(), tokens(500), config, val=tokens(200, seed=1), on_step=seen.append)
    history = result.history
    assert history["learning_rate"].tolist() == [learning_rate(config, step) for step in range(7)]
    assert history["tokens"].tolist() == [48 * step for step in range(1, 8)]
    assert history["step"].tolist() == list(range(1, 8))
    assert history.index[history["val_loss"].notna()].tolist() == [2, 5, 6]
    assert result.val_loss == history["val_loss"].iloc[-1]
    assert (history["time_s"].diff().dropna() > 0).all()
    pd.testing.assert_frame_equal(pd.DataFrame(seen), history)


def test_decay_is_for_matrices_and_embeddings_only_and_every_weight_is_in_one_group():
    model = tiny(tied_embeddings=False)
    optimizer = make_optimizer(model, TrainingConfig(weight_decay=0.3))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    named = dict(model.named_parameters())
    assert decay == {id(p): 0.0 if name.endswith("norm.weight") else 0.3 for name, p in named.items()}
    assert len(named) == 2 + 2 * 9 + 1


def test_frozen_weights_stay_as_they_were():
    """Adapters and routers are trained alone."""
    model = tiny()
    for name, weight in model.named_parameters():
        weight.requires_grad_("feed_forward.down" in name)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    quiet_fit(model, tokens(500))
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {"blocks.0.feed_forward.down.weight", "blocks.1.feed_forward.down.weight"}


def test_the_receipt_covers_the_training():
    result = quiet_fit(tiny(), tokens(500), label="a tiny run", region="FR")
    assert (result.receipt.label, result.receipt.region) == ("a tiny run", "FR")
    assert result.receipt.time_s >= result.history["time_s"].iloc[-1] > 0
    assert 0 < result.receipt.low_j <= result.receipt.energy_j <= result.receipt.high_j


def test_a_transformers_model_trains_and_evaluates_as_it_would_by_hand():
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=11, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2)
    )
    data = tokens(13 * 8 + 1)
    with torch.no_grad():
        window = data[:13][None]
        assert evaluate(model, data[:13], 12) == pytest.approx(model(window, labels=window).loss.item(), rel=1e-6)
    result = quiet_fit(model, data, TrainingConfig(steps=60, batch_size=8, context_length=12), val=data)
    assert result.val_loss < evaluate(LlamaForCausalLM(model.config), data, 12) - 0.3


def test_a_loss_handed_in_is_the_one_that_is_minimised():
    """Chapters add a teacher or a load-balancing term."""
    calls = []

    def toward_token_three(model, inputs, targets):
        calls.append(inputs.shape)
        return next_token_loss(model, inputs, torch.full_like(targets, 3))

    model = tiny()
    quiet_fit(model, tokens(500), TrainingConfig(steps=30, batch_size=4, context_length=12), loss_fn=toward_token_three)
    assert calls == [(4, 12)] * 30
    assert (model(tokens(12)[None]).argmax(-1) == 3).all()


def test_evaluate_predicts_every_token_once_and_equals_a_loop():
    model, data = tiny().train(), tokens(16 * 7 + 1 + 5)
    losses = []
    with torch.no_grad():
        for start in range(0, 16 * 7, 16):
            log_p = model(data[None, start : start + 16]).log_softmax(-1)[0]
            losses += [-log_p[i, data[start + i + 1]].item() for i in range(16)]
    assert evaluate(model, data, 16, batch_size=3) == pytest.approx(np.mean(losses), rel=1e-5)
    assert evaluate(model, data, 16, n_windows=2) == pytest.approx(np.mean(losses[:16] + losses[-16:]), rel=1e-5)
    assert evaluate(model, data, 16, n_windows=99) == evaluate(model, data, 16)
    assert model.training


def test_fit_and_evaluate_leave_the_mode_of_the_model_as_it_was():
    model = tiny().eval()
    quiet_fit(model, tokens(100), val=tokens(100))
    assert not model.training


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_ctrl_c_or_an_error_leaves_the_mode_of_every_part_as_it_was(error, training):
    def fail(*_):
        raise error

    model = tiny().train(training)
    model.blocks[0].train(not training)  # a part that is kept in the other mode
    modes = [module.training for module in model.modules()]
    with pytest.raises(error):
        quiet_fit(model, tokens(100), loss_fn=fail)
    assert [module.training for module in model.modules()] == modes
    hook = model.register_forward_pre_hook(fail)
    with pytest.raises(error):
        evaluate(model, tokens(100), 12)
    hook.remove()
    assert [module.training for module in model.modules()] == modes


def test_the_global_random_state_is_restored_after_an_error_too():
    state = torch.get_rng_state()

    def fail(*_):
        torch.rand(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quiet_fit(tiny(), tokens(100), loss_fn=fail)
    assert torch.equal(torch.get_rng_state(), state)


FIRST_TRAINING = """
import builtins, os, signal, sys
import torch
from greenlab.core.energy import meter
from greenlab.core.model import training
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.core.model.training import TrainingConfig, fit

class CtrlC:
    # Presses Ctrl+C once, while torch._dynamo imports sympy.
    pressed = 0

    def find_spec(self, name, *_):
        if name.startswith("sympy.strategies.") and not CtrlC.pressed:
            CtrlC.pressed = 1
            os.kill(os.getpid(), signal.SIGINT)
        return None

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs without it
sys.meta_path.insert(0, CtrlC())
data = torch.randint(0, 11, (200,))
recipe = TrainingConfig(steps=2, batch_size=2, context_length=8)
model = GPT(GPTConfig(11, 8, n_layers=1, d_model=8, n_heads=2, d_ff=8))
try:
    fit(model, data, recipe, progress=False)
except KeyboardInterrupt:
    print("stopped", CtrlC.pressed)
print("again", len(fit(model, data, recipe, progress=False).history))
"""


def test_ctrl_c_in_the_first_training_of_a_process_does_not_spoil_the_next():
    """torch imports torch._dynamo when the first optimizer is made; an import broken off there cannot be repeated."""
    done = subprocess.run([sys.executable, "-c", FIRST_TRAINING], capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["stopped", "1", "again", "2"], done.stderr[-2000:]


def test_a_long_training_reads_the_energy_counters_on_the_way(monkeypatch):
    """Some counters restart from zero within minutes; here each step is later than the time between two readings."""
    readings = []
    monkeypatch.setattr(training, "READ_EVERY_S", -1.0)
    monkeypatch.setattr(
        meter.measure, "checkpoint", lambda self, read=meter.measure.checkpoint: readings.append(read(self))
    )
    result = quiet_fit(tiny(), tokens(100))
    assert len(readings) == 6 + 1  # each step, and the end
    assert result.receipt.time_s > 0
    readings.clear()
    monkeypatch.setattr(training, "READ_EVERY_S", 1e9)
    quiet_fit(tiny(), tokens(100))
    assert len(readings) == 1


def test_a_stream_handed_in_gives_the_batches():
    data, seen = tokens(200), []

    def note(model, inputs, targets):
        seen.append((inputs, targets))
        return next_token_loss(model, inputs, targets)

    stream = [(data[i : i + 8][None], data[i + 1 : i + 9][None]) for i in range(6)]
    quiet_fit(tiny(), data, stream=iter(stream), loss_fn=note)
    assert all(torch.equal(a, b) for pair in zip(seen, stream, strict=True) for a, b in zip(*pair, strict=True))
    assert len(seen) == 6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_loss_is_taken_in_float32_whatever_the_model_computes_in(dtype):
    """A mean of bfloat16 numbers near 2.4 would be a multiple of 1/64."""
    model, data = tiny().to(dtype), tokens(101)
    windows = torch.stack([data[i : i + 13] for i in range(0, 96, 12)])
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model(windows[:, :-1]).float().flatten(0, 1), windows[:, 1:].flatten())
    loss = evaluate(model, data, 12)
    assert loss == pytest.approx(expected.item(), abs=1e-6)
    assert loss * 512 != round(loss * 512)


def test_losses_of_a_float64_model_keep_their_digits():
    model = tiny().double()
    x, y = tokens(12)[None], tokens(12, seed=1)[None]
    log_p = model(x).log_softmax(-1)[0]
    expected = -log_p[torch.arange(12), y[0]].mean().item()
    assert next_token_loss(model, x, y).item() == pytest.approx(expected, rel=1e-14)


def test_a_model_with_broken_weights_is_named_not_the_learning_rate():
    model = tiny()
    model.norm.weight.data[0] = math.nan
    with pytest.raises(ValueError, match=r"model gave a loss of nan .*at step 1: .*look for NaN"):
        quiet_fit(model, tokens(100))
    with pytest.raises(ValueError, match=r"model gives a loss of nan on data: look for NaN"):
        evaluate(model, tokens(100), 12)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 5), st.integers(0, 10_000), st.data())
def test_batches_are_windows_of_the_data_with_the_next_token_as_target(length, batch_size, seed, draw):
    context = draw.draw(st.integers(1, length - 1))
    data = torch.arange(length) * 7
    inputs, targets = next(batches(data, context, batch_size, seed))
    assert inputs.shape == targets.shape == (batch_size, context)
    assert torch.equal(targets, inputs + 7)
    assert torch.equal(inputs, inputs[:, :1] + 7 * torch.arange(context))
    assert inputs.min() >= 0
    assert targets.max() < 7 * length


def test_batches_reach_the_first_and_the_last_token_and_follow_the_seed():
    data = torch.arange(6)
    stream = batches(data, 2, 8, seed=0)
    inputs, targets = zip(*[next(stream) for _ in range(20)], strict=True)
    assert set(torch.cat(inputs)[:, 0].tolist()) == {0, 1, 2, 3}
    assert torch.cat(targets).max() == 5
    assert torch.equal(next(batches(data, 2, 8, seed=0))[0], inputs[0])
    assert not torch.equal(next(batches(data, 2, 8, seed=1))[0], inputs[0])


@given(st.text(min_size=1))
def test_char_tokenizer_gives_back_any_text(text):
    tokenizer = CharTokenizer(text)
    ids = tokenizer.encode(text)
    assert ids.tolist() == [sorted(set(text)).index(c) for c in text]
    assert tokenizer.decode(ids) == text
    assert tokenizer.vocab_size == len(set(text)) == ids.max() + 1


def test_no_progress_bar_when_it_is_off_and_none_left_behind_when_it_is_on(capfd):
    quiet_fit(tiny(), tokens(100))
    assert capfd.readouterr() == ("", "")
    fit(tiny(), tokens(100), QUICK, label="seen")
    out, err = capfd.readouterr()
    assert out == ""
    assert "seen" in err
    assert err.endswith("\r")  # the line was wiped


def test_a_loss_that_is_not_a_number_stops_the_training_before_the_weights_are_spoilt():
    model = tiny()

    def broken_at_step_three(model, inputs, targets, count=[0]):  # noqa: B006
        count[0] += 1
        return next_token_loss(model, inputs, targets) * (math.nan if count[0] == 3 else 1)

    with pytest.raises(
        ValueError, match=r"learning_rate=0.003 led to a loss of nan .* at step 3: .*lower learning_rate"
    ):
        quiet_fit(model, tokens(100), loss_fn=broken_at_step_three)
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


def test_an_absurd_learning_rate_is_named_as_the_cause():
    with pytest.raises(ValueError, match=r"learning_rate=1000 led to a loss of .* both must be finite"):
        quiet_fit(
            tiny(),
            tokens(500),
            TrainingConfig(steps=300, batch_size=4, learning_rate=1000, clip_norm=1e30, context_length=12),
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TrainingConfig(steps=0), "steps=0: give a whole number at least 1"),
        (lambda: TrainingConfig(learning_rate=-1), "learning_rate=-1: give a finite number at least 1e-09"),
        (lambda: TrainingConfig(learning_rate=math.inf), "learning_rate=inf: .*at most 1000"),
        (lambda: TrainingConfig(warmup_share=1), "warmup_share=1: .*at least 0 and at most 0.99"),
        (lambda: TrainingConfig(final_share=math.nan), "final_share=nan: .*at least 0 and at most 1"),
        (lambda: TrainingConfig(clip_norm=0), "clip_norm=0: give a number at least 1e-09"),
        (lambda: TrainingConfig(betas=(0.9, 1.0)), "betas=1.0: .*below 1"),
        (lambda: TrainingConfig(seed=-1), "seed=-1: .*at least 0"),
        (lambda: quiet_fit(tiny(), tokens(12)), r"data is torch.int64 of the shape .12,.: .*13 or more"),
        (lambda: quiet_fit(tiny(), tokens(100)[None]), r"data is torch.int64 of the shape .1, 100.: .*join the texts"),
        (lambda: quiet_fit(tiny(), tokens(100).float()), "data is torch.float32 of .*type int64"),
        (lambda: quiet_fit(tiny(), tokens(100), val=tokens(5)), r"val is torch.int64 of the shape .5,."),
        (lambda: quiet_fit(tiny(), tokens(100), stream=iter([])), "stream ended before step 1"),
        (lambda: quiet_fit(nn.Linear(2, 2).requires_grad_(False), tokens(100)), "model=Linear has no weight to train"),
        (lambda: evaluate(tiny(), tokens(5), 16), "data is .*17 or more"),
        (lambda: evaluate(tiny(), tokens(50), 16, n_windows=0), "n_windows=0: .*at least 1"),
        (lambda: evaluate(tiny(), tokens(50), 16, batch_size=0), "batch_size=0: .*at least 1"),
        (lambda: evaluate(tiny(), tokens(50), 0), "context_length=0: .*at least 1"),
        (lambda: batches(tokens(9), 0, 2, 0), "context_length=0: .*at least 1"),
        (lambda: batches(tokens(9), 2, 0, 0), "batch_size=0: .*at least 1"),
        (lambda: batches(tokens(9), 2, 2, -1), "seed=-1: .*at least 0"),
        (lambda: learning_rate(QUICK, -1), "step=-1: .*at least 0 and at most 6"),
        (lambda: learning_rate(QUICK, 7), "step=7: .*at least 0 and at most 6"),
        (
            lambda: next_token_loss(tiny(), tokens(8)[None], tokens(7)[None]),
            "targets has the shape .1, 7., inputs .1, 8.",
        ),
        (lambda: CharTokenizer(""), "characters is empty"),
        (lambda: CharTokenizer("abc").decode([-1]), "ids=-1: .*at least 0 and at most 2"),
        (lambda: CharTokenizer("abc").decode([3]), "ids=3: .*at most 2"),
        (lambda: CharTokenizer("abc").decode(torch.zeros(1, 2)), "ids has the shape .1, 2.: give one row"),
        (lambda: CharTokenizer("abc").encode("abd"), "text has characters without a token, .'d'.: .*all texts"),
    ],
)
def test_wrong_values_are_named_with_the_value_and_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TrainingConfig(steps=1.5), "steps=1.5 is float"),
        (lambda: TrainingConfig(batch_size="8"), "batch_size='8' is str"),
        (lambda: TrainingConfig(learning_rate=True), "learning_rate=True is bool"),
        (lambda: TrainingConfig(betas=0.9), "betas=0.9: give two numbers"),
        (lambda: quiet_fit(tiny(), [1, 2, 3]), "data is list: give token ids"),
        (lambda: quiet_fit(tiny(), tokens(100), config={"steps": 3}), "config=.* is dict: give a TrainingConfig"),
        (lambda: fit(tiny(), tokens(100), QUICK, progress="no"), "progress='no' is str"),
        (lambda: CharTokenizer(5), "characters=5 is int"),
        (lambda: CharTokenizer("abc").encode(b"abc"), "text=b'abc' is bytes"),
        (lambda: CharTokenizer("abc").decode("abc"), "ids='abc' is str"),
        (lambda: CharTokenizer("abc").decode([0.5]), "ids=0.5 is float"),
    ],
)
def test_wrong_types_are_named_with_the_value_and_the_remedy(call, message):
    with pytest.raises(TypeError, match=message):
        call()
