"""The scripts of docs/tab against transformers: the same tokens, the same logits, the same text, cut or whole."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from transformers.convert_slow_tokenizer import bytes_to_unicode

from greenlab.core import speed
from greenlab.core.model.decoder import keep_layers
from greenlab.core.model.scoring import held_out_text
from greenlab.tab.study import browser_model

pytestmark = pytest.mark.assets

CHARACTERS = bytes_to_unicode()
PIECES = (
    *(" ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u0085", "\ufeff", "\u200b", "\u2028"),
    *("the", " The", "don't", "I'll", "'s", "'", "''re", "O'Neill", "naïve", "Ünïcödé", "ﬁ", "ß", "ǅ"),
    *("0", "42", "3.14", "1,000", "2026-11-27", "٣", "Ⅷ", "½", "x²", "12abc"),
    *("日本語", "Привет", "العربية", "हिन्दी", "ไทย", "한국어", "Ελληνικά", "e\u0301"),
    *("🙂", "👩‍👩‍👧", "🇫🇷", "🏳️‍🌈", "\U0001f9ea", "\U0010ffff", "\x00", "\x7f", "\x1b"),
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_", "<repo_name>", "<reponame>x", "|>"),
    *("!", "?!", "...", "—", "“”", "$", "€", "\\n", "def f(x):", "    return x", "</a>", "a_b", "@", "%", "𝔘", "ſ"),
)  # fmt: skip


def texts(n):
    """Strings made of pieces that tokenizers stumble over, of random characters, and of the book's prose."""
    choose = random.Random(0)
    prose = held_out_text()
    made = ["", " ", "The capital of France is", *PIECES]
    while len(made) < n:
        kind = len(made) % 3
        if kind == 0:
            made.append("".join(choose.choice(PIECES) for _ in range(choose.randint(1, 12))))
        elif kind == 1:
            start = choose.randrange(len(prose) - 200)
            made.append(prose[start : start + choose.randint(1, 200)])
        else:
            points = [choose.choice((choose.randint(0, 0x24F), choose.randint(0, 0xD7FF))) for _ in range(20)]
            made.append("".join(map(chr, points)))
    return made


def test_the_tokenizer_is_that_of_transformers_on_a_thousand_texts(scripts, smollm2):
    _, tokenizer = smollm2
    given = texts(1200)
    ids = [tokenizer(text).input_ids for text in given]
    choose = random.Random(1)
    ids_at_random = [[choose.randrange(49152) for _ in range(choose.randint(0, 12))] for _ in range(1200)]
    found = scripts(tokenizer={"encode": given, "decode": ids + ids_at_random})
    different = [text for text, mine, theirs in zip(given, found["encoded"], ids, strict=True) if mine != theirs]
    assert different == []
    wanted = [tokenizer.decode(row) for row in ids + ids_at_random]
    assert found["decoded"] == wanted
    # a text survives the way there and back, but for the few bytes that SmolLM2 has no token for
    known = {CHARACTERS[byte] for byte in range(256)} & set(tokenizer.get_vocab())
    whole = [i for i, text in enumerate(given) if {CHARACTERS[byte] for byte in text.encode()} <= known]
    assert len(whole) > 1000
    assert [found["decoded"][i] for i in whole] == [given[i] for i in whole]


def test_a_character_comes_when_its_bytes_are_whole(scripts, smollm2):
    """An emoji takes several tokens: a decoder that is given them one by one holds the first back."""
    _, tokenizer = smollm2
    ids = tokenizer("🧪").input_ids
    assert len(ids) > 1
    [streamed] = scripts(tokenizer={"encode": [], "decode": [], "streamed": [ids]})["streamed"]
    assert streamed == [*[""] * (len(ids) - 1), "🧪", ""]


CUTS = {
    "whole": [],
    "six from the middle": list(range(13, 19)),
    "twelve that are scattered": [3, 4, 5, 6, 12, 13, 14, 15, 16, 17, 25, 26],
    "the first": [0],  # what is left writes nonsense, and its likeliest tokens are nearly equal: logits only
}
PROMPTS = ("The capital of France is", "The old clock on the wall had stopped at noon, and nobody in the village")


def kept(dropped):
    return [i for i in range(30) if i not in dropped]


@pytest.fixture(scope="module")
def written(scripts, smollm2):
    """What the scripts make of every prompt and cut, in one run: a cut must not remember the one before it."""
    _, tokenizer = smollm2
    asked = [(name, prompt) for name in CUTS for prompt in PROMPTS]
    requests = [{"kept": kept(CUTS[n]), "ids": tokenizer(p).input_ids, "write": 40} for n, p in asked]
    answer = scripts(model=[*requests, requests[0]])
    assert answer["kernel"] == "WebAssembly with SIMD"
    assert answer["texts"][-1] == answer["texts"][0]
    return dict(zip(asked, answer["texts"], strict=False))


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("cut", CUTS)
def test_logits_and_text_are_those_of_the_pruned_model_in_float32(written, smollm2, cut, prompt):
    model, tokenizer = smollm2
    pruned = keep_layers(model, kept(CUTS[cut]))
    ids = torch.tensor([tokenizer(prompt).input_ids])
    with torch.no_grad():
        wanted = pruned(ids).logits[0, -1].numpy()
    found = written[cut, prompt]
    assert np.abs(found["logits"] - wanted).max() <= 2e-3 * np.abs(wanted).max()
    if cut != "the first":
        assert found["written"] == speed.run_decode(pruned, ids, 40)[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("cut", ["whole", "six from the middle"])
def test_logits_are_those_of_the_same_numbers_in_torch(written, smollm2, cut):
    """The same weights and the same rounded vectors: what is left is the order of sums."""
    model, tokenizer = smollm2
    same = browser_model(keep_layers(model, kept(CUTS[cut])))
    ids = torch.tensor([tokenizer(PROMPTS[1]).input_ids])
    with torch.no_grad():
        wanted = same(ids).logits[0, -1].numpy()
    found = written[cut, PROMPTS[1]]["logits"]
    assert np.abs(found - wanted).max() <= 1e-3 * np.abs(wanted).max()


def test_plain_javascript_gives_what_the_kernel_gives(scripts, written, smollm2):
    _, tokenizer = smollm2
    request = {"kept": kept(CUTS["six from the middle"]), "ids": tokenizer(PROMPTS[0]).input_ids, "write": 6}
    answer = scripts(model=[request], plain=True)
    assert answer["kernel"].startswith("plain JavaScript")
    fast, plain = written["six from the middle", PROMPTS[0]], answer["texts"][0]
    assert plain["written"] == fast["written"][:6]
    assert plain["logits"] == pytest.approx(fast["logits"], abs=1e-3 * max(map(abs, fast["logits"])))


def test_the_share_of_weights_is_that_of_the_files(written, site):
    size = {path.name: path.stat().st_size for path in (site / "weights").iterdir()}
    read = written["six from the middle", PROMPTS[0]]["read"]
    assert read["kept"] == size["embedding.bin"] + 24 * size["layer-00.bin"]
    assert read["whole"] == size["embedding.bin"] + 30 * size["layer-00.bin"]


def test_what_the_model_cannot_read_is_refused(scripts):
    everything = list(range(30))
    bad = [-1, 49152, 1.5, None, "504"]
    asked = [{"kept": everything, "ids": [token]} for token in bad] + [{"kept": [0], "ids": [504] * 97}]
    found = [text["error"] for text in scripts(model=asked)["texts"]]
    assert [f"RangeError: token={'null' if t is None else t}: give a whole number from 0 to 49151" for t in bad] == (
        found[:-1]
    )
    assert found[-1] == "RangeError: the text is longer than 96 tokens"


def test_numbers_of_layers_are_said_in_words(scripts):
    given = [[], [5], [13, 14, 15], [3, 5, 12, 13, 25, 26]]
    assert scripts(ranges=given)["ranges"] == ["", "5", "13 to 15", "3, 5, 12 to 13 and 25 to 26"]
