"""Scoring against transformers' own loss and a naive loop over options."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from greenlab.core.model import scoring
from tests.core.model.test_decoder import FAMILIES, IDS


class Letters:
    """A tokenizer of one token a letter, enough for options of several tokens."""

    def __call__(self, text, add_special_tokens=True, **_):
        return SimpleNamespace(input_ids=[3 + ord(c) % 50 for c in text])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return FAMILIES["llama"]().eval()


def test_text_loss_equals_transformers_own(model):
    with torch.no_grad():
        expected = model(IDS, labels=IDS).loss.item()
    assert scoring.text_loss(model, IDS, batch_size=1) == pytest.approx(expected, rel=1e-5)


def test_option_log_probabilities_equal_a_naive_loop(model):
    """Options of one and of several letters, prompts of different lengths: padding and shared rows change nothing."""
    prompts, options = ["ab", "abcdefg"], [["c", "de", "fgh", "i"], ["j", "kk", "l", "mno"]]
    found, letters = scoring.option_log_probabilities(model, Letters(), prompts, options), Letters()
    for i, prompt in enumerate(prompts):
        for j, option in enumerate(options[i]):
            head, tail = letters(prompt).input_ids, letters(" " + option).input_ids
            with torch.no_grad():
                logits = model(torch.tensor([head + tail])).logits[0].log_softmax(-1)
            expected = sum(logits[len(head) - 1 + k, token].item() for k, token in enumerate(tail))
            assert found[i, j].item() == pytest.approx(expected, abs=1e-4)


def test_the_likeliest_option_is_the_choice(model):
    items = pd.DataFrame(
        [{"id": "a", "category": "x", "prompt": "ab", "answer": "c", "wrong_1": "d", "wrong_2": "e", "wrong_3": "f"}]
    )
    scores = scoring.option_log_probabilities(model, Letters(), ["ab"], [["c", "d", "e", "f"]])[0]
    row = scoring.cloze(model, Letters(), items).iloc[0]
    assert row["choice"] == "cdef"[int(scores.argmax())]
    assert row["correct"] == (row["choice"] == "c")


def test_what_cannot_be_scored_is_refused(model):
    with pytest.raises(ValueError, match=r"shape \(1, 1\).*S >= 2"):
        scoring.text_loss(model, IDS[:1, :1])
    with pytest.raises(ValueError, match="length=9: the text has 2 tokens"):
        scoring.token_windows(Letters(), "ab", 9)
    with pytest.raises(ValueError, match="no part 'training'"):
        scoring.held_out_text("training")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: scoring.standard_error(1.2, 10), ValueError, r"accuracy=1\.2: .*at most 1"),
        (lambda m: scoring.standard_error(float("nan"), 10), ValueError, "accuracy=nan"),
        (lambda m: scoring.standard_error(0.5, 0), ValueError, "n_items=0"),
        (lambda m: scoring.standard_error("0.5", 10), TypeError, "accuracy='0.5' is str"),
        (lambda m: scoring.load_cloze(0), ValueError, "n_items=0"),
        (lambda m: scoring.load_cloze(-1), ValueError, "n_items=-1"),
        (lambda m: scoring.token_windows(Letters(), "abc", 1), ValueError, "length=1: .*at least 2"),
        (lambda m: scoring.token_windows(Letters(), 5, 2), TypeError, "text=5 is int"),
        (lambda m: scoring.text_loss(m, IDS, batch_size=0), ValueError, "batch_size=0"),
        (lambda m: scoring.text_loss(m, IDS.float()), TypeError, "input_ids is torch.float32"),
        (lambda m: scoring.option_log_probabilities(m, Letters(), [], []), ValueError, "prompts is empty"),
        (lambda m: scoring.option_log_probabilities(m, Letters(), "ab", ["c"]), TypeError, "prompts='ab' is str"),
        (lambda m: scoring.option_log_probabilities(m, Letters(), ["ab"], ["cd"]), TypeError, "options.0.='cd'"),
        (
            lambda m: scoring.option_log_probabilities(m, Letters(), ["a", "b"], [["c"], ["d", "e"]]),
            ValueError,
            "options.1. has 2 entries, options.0. 1",
        ),
        (lambda m: scoring.option_log_probabilities(m, Letters(), ["a", "b"], [["c"]]), ValueError, "options has 1"),
        (lambda m: scoring.cloze(m, Letters(), [1]), TypeError, "items is list"),
        (lambda m: scoring.cloze(m, Letters(), pd.DataFrame({"id": [1]})), ValueError, "items lacks the columns"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(model, call, error, message):
    with pytest.raises(error, match=message):
        call(model)


def test_the_first_items_of_each_category():
    few = scoring.load_cloze(2)
    assert (few["category"].value_counts() == 2).all()
    assert len(few) == 2 * scoring.load_cloze()["category"].nunique()
