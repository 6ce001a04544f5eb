"""The test material of chapter 6: a cloze test that needs its prompts, and prose that no model has seen."""

import hashlib
import re
import zlib
from collections import Counter

import pandas as pd
import pytest

from greenlab.core import studies
from greenlab.core.machine import ROOT

CLOZE, HELD_OUT = ROOT / "data" / "cloze", ROOT / "data" / "held_out"
OPTIONS = ["answer", "wrong_1", "wrong_2", "wrong_3"]
PARTS = ["evaluation", "calibration"]
SCORED = {  # the sha256 of each text, and the loss of the whole SmolLM2-135M on all its windows of 256 tokens
    "evaluation": ("f83f87e0fba003fc7d3a9779dca48c1af9f30f12295ee2d34a7f2a8385793bd8", 3.73),
    "calibration": ("aa5a16d1add6fa29786117e11bb7f527b3e9e8a8448c0ad8eb7ccc740af7a1f6", 3.75),
}


@pytest.fixture(scope="module")
def items():
    return pd.read_csv(CLOZE / "cloze.csv", dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def texts():
    return {part: (HELD_OUT / f"{part}.txt").read_bytes().decode("ascii") for part in PARTS}  # raises unless pure ASCII


def pieces(text):
    return text.removesuffix("\n").split("\n***\n")


def sequences(text, n_words=8):
    """All runs of ``n_words`` words, without case and punctuation."""
    words = re.findall(r"[a-z0-9']+", text.lower())
    return {tuple(words[i : i + n_words]) for i in range(len(words) - n_words + 1)}


def quartets(items):
    return [items.iloc[i : i + 4] for i in range(0, len(items), 4)]


def test_the_table_has_the_columns_that_the_scorer_reads_and_enough_rows(items):
    """At 100 items the standard error is already up to five points; fewer would show nothing."""
    assert list(items.columns) == ["id", "category", "prompt", *OPTIONS]
    assert len(items) >= 100
    assert items["category"].nunique() >= 8
    assert items["category"].value_counts().min() >= 15


def test_ids_and_prompts_name_one_item_each(items):
    assert items["id"].is_unique
    assert items["prompt"].is_unique
    number = items.groupby("category").cumcount() + 1
    expected = items["category"].str.replace("_", "-") + "-" + number.map("{:02d}".format)
    assert items["id"].tolist() == expected.tolist()


def test_prompts_take_a_space_and_a_word(items):
    """A trailing space would split the next token oddly, and a full stop would end the sentence before the answer."""
    for prompt in items["prompt"]:
        assert re.fullmatch(r"[A-Z][A-Za-z0-9'., -]*([a-z,]| I)", prompt), prompt
        assert "  " not in prompt


def test_options_are_four_different_plain_words(items):
    for row in items[OPTIONS].itertuples(index=False):
        assert len({word.lower() for word in row}) == 4, row
        assert all(re.fullmatch(r"[A-Za-z]+", word) for word in row), row


def test_items_come_in_quartets_so_that_a_scorer_blind_to_the_prompt_gets_exactly_a_quarter(items):
    """Four items in a row share four options and each is right once: whatever word is preferred, it is right once."""
    assert len(items) % 4 == 0
    for quartet in quartets(items):
        assert quartet["category"].nunique() == 1
        options = {frozenset(row) for row in quartet[OPTIONS].itertuples(index=False)}
        assert options == {frozenset(quartet["answer"])}, quartet["id"].tolist()


TASTES = {
    "longest": len,
    "shortest": lambda word: -len(word),
    "last_in_the_alphabet": str.lower,
    "last_ending": lambda word: word[::-1],
    "arbitrary": lambda word: zlib.crc32(word.encode()),
}


@pytest.mark.parametrize("taste", TASTES)
def test_a_taste_for_words_alone_scores_chance(items, taste):
    """Whatever makes a word look good without its sentence, it makes it look as good where the word is wrong."""
    chosen = items[OPTIONS].apply(lambda row: max(sorted(row), key=TASTES[taste]), axis=1)
    assert (chosen == items["answer"]).mean() == 0.25


def test_no_two_quartets_ask_the_same_question(items):
    options = [frozenset(quartet["answer"]) for quartet in quartets(items)]
    assert len(set(options)) == len(options)


def test_every_answer_word_is_wrong_three_times_as_often_as_it_is_right(items):
    right = Counter(items["answer"])
    wrong = Counter(items[OPTIONS[1:]].to_numpy().ravel().tolist())
    assert {word: 3 * n for word, n in right.items()} == dict(wrong)


def test_answers_are_neither_the_longest_nor_the_shortest_option_by_habit(items):
    """Strictly longest or shortest at most a quarter of the time; with shared first places it is exactly that."""
    lengths = items[OPTIONS].map(len)
    others, answer = lengths[OPTIONS[1:]], lengths["answer"]
    assert 0.15 <= (answer > others.max(axis=1)).mean() <= 0.25
    assert 0.10 <= (answer < others.min(axis=1)).mean() <= 0.25
    longest = lengths.eq(lengths.max(axis=1), axis=0)
    assert (longest["answer"] / longest.sum(axis=1)).mean() == pytest.approx(0.25, abs=1e-12)


def test_the_answer_cannot_be_copied_from_the_prompt(items):
    """Only the items on who gave what to whom name their answer, and these name a wrong option as well."""
    named = []
    for row in items.itertuples():
        words = set(re.findall(r"[a-z]+", row.prompt.lower()))
        if row.answer.lower() in words:
            named.append(row.answer)
            assert words & {row.wrong_1.lower(), row.wrong_2.lower(), row.wrong_3.lower()}, row.id
    assert sorted(named) == ["Anna", "Mary", "Paul", "Tom"]


def test_stories_have_a_context_sentence(items):
    stories = items.loc[items["category"] == "story", "prompt"]
    assert (stories.str.count(r"\. [A-Z]") == 1).all()


@pytest.mark.parametrize(("part", "n_pieces", "n_words"), [("evaluation", 7, 2200), ("calibration", 11, 3550)])
def test_held_out_prose_is_several_pieces_of_a_page_each(texts, part, n_pieces, n_words):
    """Many topics, so that no single one decides the loss; the word counts are those that the README states."""
    words = [len(piece.split()) for piece in pieces(texts[part])]
    assert len(words) == n_pieces
    assert all(250 <= n <= 400 for n in words), words
    assert sum(words) == pytest.approx(n_words, rel=0.01)


@pytest.mark.parametrize("part", PARTS)
def test_held_out_prose_is_plain_typing(texts, part):
    """No tabs, no double spaces, no lines broken inside a paragraph: each would cost tokens that are not language."""
    text = texts[part]
    assert text.endswith("\n")
    assert not re.search(r"[\t\r!]|  | \n|\n\n\n", text)
    for piece in pieces(text):
        assert piece == piece.strip()
        for paragraph in piece.split("\n\n"):
            assert "\n" not in paragraph


def test_evaluation_and_calibration_share_no_eight_words_in_a_row(texts):
    """What chooses the layers must not be what scores the cut."""
    assert sequences("one two three four five six seven eight nine") & sequences(
        "Two, three four five six seven eight: nine"
    )
    assert not sequences(texts["evaluation"]) & sequences(texts["calibration"])


def test_no_piece_repeats_itself_or_a_cloze_item(texts, items):
    for text in texts.values():
        counts = Counter(re.findall(r"[^.]{40,}\.", text))
        assert counts.most_common(1)[0][1] == 1
        assert not any(prompt in text for prompt in items["prompt"])


def stated(page, pattern):
    """The one number that a README states in this form."""
    found = re.findall(pattern, page)
    assert len(found) == 1, f"{pattern!r} stands {len(found)} times in the page"
    return float(found[0].replace(",", ""))


def test_the_cloze_page_states_the_size_of_the_test(items):
    page = (CLOZE / "README.md").read_text(encoding="utf-8")
    assert stated(page, r"\b(\d+) items in") == len(items)
    for category, n_items in items["category"].value_counts().items():
        assert stated(page, rf"\| {category} \| (\d+) \|") == n_items


@pytest.mark.assets
def test_every_option_is_one_token_so_that_one_pass_scores_four(items):
    """Sums of log-probabilities are then comparable: none has more terms than another."""
    from greenlab.core.assets import load_smollm2

    _, tokenizer = load_smollm2()
    for word in sorted(set(items["answer"])):
        assert len(tokenizer(" " + word, add_special_tokens=False).input_ids) == 1, word
    for prompt, word in zip(items["prompt"], items["answer"], strict=True):  # the seam does not merge
        ids = tokenizer(prompt).input_ids
        assert tokenizer(f"{prompt} {word}").input_ids[:-1] == ids, (prompt, word)


def test_the_pages_state_what_two_studies_measured(items, texts):
    """Chapters 6 and 7 scored the whole model on every item, each in a run of its own."""
    page = (CLOZE / "README.md").read_text(encoding="utf-8")
    n_right = stated(page, r"\b(\d+) of 224 right")
    assert 0.90 <= n_right / len(items) <= 0.97  # room to fall, and far from guessing
    whole = studies.load("layer_pruning", "curve")["curve"].query("n_removed == 0")
    untouched = studies.load("ternary", "smollm2")["smollm2"].query("after == 'none'")
    assert len(whole) >= 1
    assert len(untouched) == 1
    for accuracy in (*whole["accuracy"], *untouched["accuracy"]):
        assert accuracy * len(items) == pytest.approx(n_right, abs=0.01)


@pytest.mark.assets
def test_the_whole_model_scores_what_is_stated(items, texts):
    """Live, on parts of the material: a quarter of the cloze items, 6 of 10 and 2 of 16 windows of the texts.

    The page's losses are those of all windows. They were computed once, and hold while the text and the model are the
    same bytes: the text's sha256 is here, the model's in ``greenlab.core.assets``.
    """
    from greenlab.core.assets import load_smollm2
    from greenlab.core.model import scoring

    model, tokenizer = load_smollm2()
    some = scoring.load_cloze(6)
    assert abs(int(scoring.cloze(model, tokenizer, some)["correct"].sum()) - 50) <= 1
    assert len(some) == 54
    study = studies.load("ternary", "smollm2")["smollm2"].set_index("after").loc["none", "loss"]
    page = (HELD_OUT / "README.md").read_text(encoding="utf-8")
    for part, n_windows, loss in (("evaluation", 6, study), ("calibration", 2, 3.59847)):
        ids = tokenizer(texts[part]).input_ids
        assert len(ids) == stated(page, rf"\| {part}\.txt \|[^|]*\|[^|]*\| ([\d,]+) \|")
        windows = scoring.token_windows(tokenizer, texts[part], 256)[:n_windows]
        assert scoring.text_loss(model, windows) == pytest.approx(loss, abs=0.002)
        sha256, whole_loss = SCORED[part]
        assert hashlib.sha256((HELD_OUT / f"{part}.txt").read_bytes()).hexdigest() == sha256
        assert stated(page, rf"\| {part}\.txt \|.*\| (\d\.\d\d) \|\n") == whole_loss
