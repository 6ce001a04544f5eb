"""Indexes against code that we did not write: bm25s itself, brute force, pooling as its authors print it."""

import copy
import json
import re

import bm25s
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from greenlab.core import assets
from greenlab.retrieval import (
    BM25Index,
    Corpus,
    DenseIndex,
    Fusion,
    Index,
    Ladder,
    StaticIndex,
    StaticTable,
    dense_file,
    embed,
    embedder_sha256,
    make_static_table,
    mean_pooling,
)  # fmt: skip
from greenlab.retrieval.bm25 import words
from greenlab.retrieval.embedder import as_words
from greenlab.retrieval.index import best
from greenlab.retrieval.static import principal_components, token_outputs
from tests.retrieval.tiny import encoder

TEXTS = {
    "tea": "Boil the water. Wait three minutes before you drink the tea.",
    "coal": "Coal plants emit carbon. Wind plants emit little carbon.",
    "chips": "A chip waits for memory while it writes one token.",
    "copy": "A chip waits for memory while it writes one token.",
}


@pytest.fixture(scope="module")
def corpus():
    return Corpus.from_texts(TEXTS)


@pytest.fixture(scope="module")
def book():
    return Corpus.from_book()


class Fixed(Index):
    """An index whose scores are given."""

    def __init__(self, corpus, scores):
        super().__init__(corpus)
        self.fixed = np.array(scores, dtype=float)

    def scores(self, query):
        return self.fixed


@pytest.mark.parametrize(
    "query", ["How much energy did training GPT-3 take?", "carbon carbon wind", "PUE of a building"]
)
def test_bm25_scores_equal_bm25s_used_directly(book, query):
    direct = bm25s.BM25(k1=1.2, b=0.6, method="lucene")
    direct.index([words(one.with_title) for one in book], show_progress=False)
    found, scores = direct.retrieve([words(query)], k=10, show_progress=False)
    index = BM25Index(book, k1=1.2, b=0.6)
    np.testing.assert_array_equal(np.sort(index.search(query, 10)["score"])[::-1], scores[0].astype(float))
    np.testing.assert_array_equal(index.scores(query)[found[0]], scores[0])


def test_bm25_has_the_constants_of_anserini(book):
    """k1 = 0.9 and b = 0.4 (Yang, Fang and Lin 2017)."""
    query = "How much energy did training GPT-3 take?"
    np.testing.assert_array_equal(BM25Index(book).scores(query), BM25Index(book, k1=0.9, b=0.4).scores(query))
    assert not np.array_equal(BM25Index(book).scores(query), BM25Index(book, k1=0.9, b=0.75).scores(query))


def test_bm25_by_hand():
    """Lucene's formula (Kamphuis et al. 2020, table 1), for one word in three passages of two words."""
    corpus = Corpus.from_texts({"a": "red red", "b": "red blue", "c": "green blue"})
    got = BM25Index(corpus, k1=1.2, b=0.5).scores("red")
    idf = np.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    want = [idf * 2 / (2 + 1.2), idf * 1 / (1 + 1.2), 0.0]
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_mean_pooling_equals_the_formula_that_sentence_transformers_prints():
    """The model card's own lines: sum of token embeddings times the mask over the clamped sum of the mask."""
    torch.manual_seed(0)
    hidden, mask = torch.randn(3, 5, 4), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    expanded = mask.unsqueeze(-1).expand(hidden.size()).float()
    printed = torch.sum(hidden * expanded, 1) / torch.clamp(expanded.sum(1), min=1e-9)
    torch.testing.assert_close(mean_pooling(hidden, mask), printed)


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=9))
@settings(deadline=None, max_examples=25)
def test_batches_and_padding_change_no_vector(lengths):
    model, tokenizer = encoder()
    texts = [" ".join(["ab", "c", "xyz"][i % 3] for i in range(n)) for n in lengths]
    got = embed(texts, (model, tokenizer), window=64)
    with torch.inference_mode():
        for text, vector in zip(texts, got, strict=True):
            ids = tokenizer(text, add_special_tokens=False).input_ids
            parts = [ids[i : i + 62] for i in range(0, len(ids), 62)]
            total = 0
            for part in parts:
                row = torch.tensor([[tokenizer.cls_token_id, *part, tokenizer.sep_token_id]])
                total = total + model(input_ids=row).last_hidden_state[0].sum(0)
            np.testing.assert_allclose(vector, (total / total.norm()).numpy(), atol=2e-5)


def test_a_text_longer_than_the_window_is_read_to_its_end():
    front = "a b c " * 30
    first, second = embed([front + "x y z " * 30, front + "q r s " * 30], encoder(), window=16)
    assert not np.allclose(first, second, atol=1e-3)


def test_the_window_has_256_tokens_and_no_more_than_the_model_can_read():
    _, tokenizer = encoder()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reader = BertModel(config).eval(), tokenizer
    text = ["a b c d " * 80 + "x y z " * 30]
    usual = embed(text, reader)
    np.testing.assert_array_equal(usual, embed(text, reader, window=256))
    assert not np.allclose(usual, embed(text, reader, window=512), atol=1e-4)
    np.testing.assert_array_equal(embed(text, encoder()), embed(text, encoder(), window=64))


@pytest.mark.parametrize("unit", ["sentence", "passage"])
def test_dense_equals_brute_force(corpus, unit):
    index, query = DenseIndex(corpus, encoder(), unit=unit), "which chip waits?"
    q = embed([query], encoder())[0]
    want = []
    for one in corpus:
        texts = [one.with_title] if unit == "passage" else re.findall(r"[^.]+\.", one.text)
        want.append(max(float(embed([text.strip()], encoder())[0] @ q) for text in texts))
    np.testing.assert_allclose(index.scores(query), want, atol=1e-5)
    order = sorted(range(len(want)), key=lambda i: -want[i])
    assert index.search(query, 1)["passage"].tolist() == [min(order[:1])]


def test_equal_scores_keep_the_order_of_the_corpus(corpus):
    for index in (BM25Index(corpus), DenseIndex(corpus, encoder()), StaticIndex(corpus, table())):
        found = index.search("a chip that waits for memory", 4)
        scores = dict(zip(found["passage"], found["score"], strict=True))
        assert scores[2] == scores[3]
        assert found["passage"].tolist().index(2) + 1 == found["passage"].tolist().index(3)


@given(scores=st.lists(st.integers(0, 4), min_size=1, max_size=30), n=st.integers(1, 40))
def test_best_equals_a_stable_sort(scores, n):
    values = np.array(scores, dtype=float)
    want = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:n]
    assert best(values, n).tolist() == want


def test_the_table_of_a_search(corpus):
    found = BM25Index(corpus).search("carbon of chips: memory, tokens", 3)
    assert list(found.columns) == ["rank", "passage", "score", "text", "link"]
    assert found["rank"].tolist() == [1, 2, 3]
    assert found["link"].tolist() == ["chips", "copy", "coal"]
    assert found["text"].tolist() == [corpus[2].text, corpus[3].text, corpus[1].text]
    assert BM25Index(corpus).search("carbon", 1000)["link"].tolist() == ["coal"]


@pytest.mark.parametrize("query", ["xyzzy plugh", "how much is it?"])
def test_a_search_that_finds_nothing_gives_no_row(corpus, query):
    bm25 = BM25Index(corpus)
    nothing = Fixed(corpus, [0, 0, 0, 0])
    for index in (bm25, Fusion([bm25, nothing]), Fusion([bm25, nothing], by="score"), Ladder(bm25, nothing)):
        found = index.search(query, 3)
        assert list(found.columns) == ["rank", "passage", "score", "text", "link"]
        assert found.empty
    vectors = Fixed(corpus, [0.1, -0.2, 0.3, 0.2])
    assert Fusion([bm25, vectors], by="score").search(query, 4)["passage"].tolist() == [2, 3, 0, 1]
    assert Fusion([bm25, vectors]).search(query, 4)["passage"].tolist() == [2, 3, 0]
    assert Ladder(bm25, vectors).search(query, 1)["passage"].tolist() == [2]


def table():
    return make_static_table(encoder(), dimensions=8, file=None)


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENLAB_STATE", str(tmp_path / "state"))


def test_the_static_table_is_the_formula_of_its_source():
    """Outputs for [CLS] token [SEP], principal components from numpy's SVD, times ln(2 + rank)."""
    model, tokenizer = encoder()
    with torch.inference_mode():
        outputs = np.stack([
            model(input_ids=torch.tensor([[tokenizer.cls_token_id, i, tokenizer.sep_token_id]]))
            .last_hidden_state[0].mean(0).numpy()
            for i in range(len(tokenizer))
        ])  # fmt: skip
    np.testing.assert_allclose(token_outputs((model, tokenizer)), outputs, atol=1e-5)
    centred = outputs.astype(float) - outputs.mean(0)
    components = centred @ np.linalg.svd(centred, full_matrices=False)[2][:8].T
    np.testing.assert_allclose(np.abs(principal_components(outputs, 8)), np.abs(components), atol=1e-4)
    got = table().vectors
    np.testing.assert_allclose(
        np.abs(got), np.abs(components) * np.log(2 + np.arange(len(outputs)))[:, None], atol=1e-3
    )


def test_a_text_is_the_mean_of_its_tokens_vectors_with_length_one():
    made, tokenizer = table(), encoder()[1]
    ids = tokenizer("wind", add_special_tokens=False).input_ids
    mean = made.vectors[ids].mean(0)
    np.testing.assert_allclose(made.embed(["wind"])[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_the_table_is_made_once_and_another_encoders_is_refused(tmp_path):
    file = tmp_path / "table.safetensors"
    first = make_static_table(encoder(), dimensions=8, file=file)
    before = file.stat().st_mtime_ns
    np.testing.assert_array_equal(make_static_table(encoder(), dimensions=8, file=file).vectors, first.vectors)
    assert file.stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="made with another embedder"):
        make_static_table(encoder(seed=1), dimensions=8, file=file)
    with pytest.raises(ValueError, match="8 dimensions"):
        make_static_table(encoder(), dimensions=4, file=file)
    file.write_bytes(b"broken")
    with pytest.raises(ValueError, match="cannot be read as a table"):
        make_static_table(encoder(), dimensions=8, file=file)


def test_a_dense_file_is_mapped_and_refused_for_another_text_encoder_or_unit(corpus, tmp_path):
    file = tmp_path / "book.npy"
    made = DenseIndex(corpus, encoder(), file=file)
    again = DenseIndex(corpus, encoder(), file=file)
    assert isinstance(again.vectors, np.memmap)
    np.testing.assert_array_equal(made.vectors, again.vectors)
    np.testing.assert_array_equal(again.scores("wind"), DenseIndex(corpus, encoder()).scores("wind"))
    with pytest.raises(ValueError, match="made with another embedder"):
        DenseIndex(corpus, encoder(seed=1), file=file)
    with pytest.raises(ValueError, match="made from another text"):
        DenseIndex(Corpus.from_texts({"a": "Other."}), encoder(), file=file)
    with pytest.raises(ValueError, match="of other units"):
        DenseIndex(corpus, encoder(), file=file, unit="passage")
    (tmp_path / "book.npy.json").write_text(json.dumps([1]))
    with pytest.raises(ValueError, match=r"book\.npy\.json does not say what it was made from: delete it"):
        DenseIndex(corpus, encoder(), file=file)
    for broken in (b"broken", b""):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match=r"cannot be read as an index.*delete it"):
            DenseIndex(corpus, encoder(), file=file)
    assert dense_file(corpus, encoder()) != dense_file(corpus, encoder(seed=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda vectors: np.where(np.arange(16) == 3, np.float32("nan"), vectors), "not finite: delete it"),
        (lambda vectors: vectors[:, :5], r"float32 \(\d, 5\), not float32 \(\d, 16\): delete it"),
        (lambda vectors: vectors[1:], r"float32 \((\d+), 16\), not float32 \((?!\1)\d+, 16\): delete it"),
        (lambda vectors: vectors.astype(np.float64), "float64"),
    ],
)
def test_a_dense_file_with_other_values_is_refused_and_in_the_cache_made_anew(corpus, tmp_path, change, message):
    right = DenseIndex(corpus, encoder()).scores("wind")
    for file in (tmp_path / "book.npy", dense_file(corpus, encoder())):
        vectors = np.array(DenseIndex(corpus, encoder(), file=file).vectors)
        np.save(file, change(vectors))
    with pytest.raises(ValueError, match=message):
        DenseIndex(corpus, encoder(), file=tmp_path / "book.npy")
    again = DenseIndex(corpus, encoder(), file=dense_file(corpus, encoder()))
    np.testing.assert_allclose(again.scores("wind"), right, atol=1e-6)


def test_a_dense_file_writes_over_no_file_of_the_reader(corpus, tmp_path):
    mine, other = tmp_path / "results.json", tmp_path / "table.npy.json"
    mine.write_text("[1, 2]")
    other.write_text('{"mine": 1}')
    DenseIndex(corpus, encoder(), file=tmp_path / "results.npy")
    assert mine.read_text() == "[1, 2]"
    with pytest.raises(ValueError, match=r"table\.npy\.json is there and is no part of an index: give another name"):
        DenseIndex(corpus, encoder(), file=tmp_path / "table.npy")
    assert other.read_text() == '{"mine": 1}'


def test_an_encoder_in_training_mode_gives_the_same_vectors_and_keeps_its_mode():
    model, tokenizer = encoder(seed=4)
    want, tokens = embed(["wind and coal"], (model, tokenizer)), token_outputs((model, tokenizer))
    model.train()
    model.pooler.eval()
    try:
        np.testing.assert_array_equal(embed(["wind and coal"], (model, tokenizer)), want)
        np.testing.assert_array_equal(token_outputs((model, tokenizer)), tokens)
        assert model.training
        assert model.encoder.training
        assert not model.pooler.training
    finally:
        model.eval()


def test_a_typed_special_token_is_letters_and_marks():
    model, tokenizer = encoder()
    typed, apart = embed(["a [SEP] b [CLS]", "a [ SEP ] b [ CLS ]"], (model, tokenizer))
    np.testing.assert_array_equal(typed, apart)
    ids = tokenizer(as_words(["[SEP] x[PAD]"], tokenizer), add_special_tokens=False).input_ids[0]
    assert not {tokenizer.sep_token_id, tokenizer.pad_token_id} & set(ids)
    first, second = table().embed(["a [SEP] b", "a [ sep ] b"])
    np.testing.assert_array_equal(first, second)


def test_an_encoders_hash_sees_one_weight_and_one_word():
    model, tokenizer = encoder(seed=3)
    before = embedder_sha256((model, tokenizer))
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[5, 5] += 1e-3
    assert embedder_sha256((model, tokenizer)) != before


def test_an_encoders_hash_sees_another_vocabulary():
    model, tokenizer = encoder(seed=3)
    swapped = copy.deepcopy(tokenizer)
    core = json.loads(swapped.backend_tokenizer.to_str())
    vocabulary = core["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    other = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(core)), pad_token="[PAD]", unk_token="[UNK]",
        cls_token="[CLS]", sep_token="[SEP]",
    )  # fmt: skip
    assert other("ab", add_special_tokens=False).input_ids != tokenizer("ab", add_special_tokens=False).input_ids
    assert embedder_sha256((model, other)) != embedder_sha256((model, tokenizer))


def test_reciprocal_rank_fusion_by_hand(corpus):
    first, second = Fixed(corpus, [9, 5, 1, 0]), Fixed(corpus, [0.1, 0.4, 0.2, 0.3])
    got = Fusion([first, second], k=60).scores("x")
    want = [1 / 61 + 1 / 64, 1 / 62 + 1 / 61, 1 / 63 + 1 / 63, 1 / 62]  # a score of 0 has no rank
    np.testing.assert_allclose(got, want)
    np.testing.assert_allclose(Fusion([first, second], depth=1, weights=[2, 1]).scores("x"), [2 / 61, 1 / 61, 0, 0])


def test_fusion_by_scores_is_the_sum_of_standardised_scores(corpus):
    a, b = [9.0, 5, 1, 1], [0.1, 0.4, 0.2, 0.1]
    got = Fusion([Fixed(corpus, a), Fixed(corpus, b)], by="score", weights=[1, 3]).scores("x")
    frame = pd.DataFrame({"a": a, "b": b})
    z = (frame - frame.mean()) / frame.std(ddof=0)
    np.testing.assert_allclose(got, z["a"] + 3 * z["b"])
    flat = Fusion([Fixed(corpus, [1, 1, 1, 1]), Fixed(corpus, b)], by="score").scores("x")
    assert np.isfinite(flat).all()


@pytest.mark.parametrize(
    ("scores", "margin", "asks"),
    [
        ([10, 7.9, 0, 0], 0.2, False),
        ([10, 8.1, 0, 0], 0.2, True),
        ([0, 0, 0, 0], 0.0, True),
        ([10, 10, 0, 0], 0.0, False),
    ],
)
def test_the_ladder_asks_the_dear_index_where_the_cheap_one_is_not_sure(corpus, scores, margin, asks):
    dear = Fixed(corpus, [0, 0, 0, 1])
    ladder = Ladder(Fixed(corpus, scores), dear, margin=margin)
    assert ladder.asks_dear("x") is asks
    assert ladder.search("x", 1)["passage"].item() == (3 if asks else 0)


@pytest.mark.parametrize(("second", "asks"), [(8.1, True), (7.9, False)])
def test_a_lead_of_a_fifth_is_enough_unless_another_is_given(corpus, second, asks):
    ladder = Ladder(Fixed(corpus, [10, second, 0, 0]), Fixed(corpus, [0, 0, 0, 1]))
    assert ladder.lead("x") == pytest.approx(1 - second / 10)
    assert ladder.asks_dear("x") is asks


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: BM25Index(c).search("", 1), "query=''"),
        (lambda c: BM25Index(c).search(" ?! ", 1), "has no word in it"),
        (lambda c: BM25Index(c).search("x" * 10_001, 1), "query has 10,001 characters"),
        (lambda c: BM25Index(c).search("x", 0), "n=0"),
        (lambda c: Fusion([BM25Index(c)]), "indexes holds 1"),
        (lambda c: Fusion([BM25Index(c), BM25Index(Corpus.from_texts({"a": "b"}))]), "made from different texts"),
        (lambda c: Fusion([BM25Index(c), BM25Index(c)], weights=[1]), "weights holds 1 numbers for 2"),
        (lambda c: Ladder(BM25Index(c), BM25Index(Corpus.from_texts({"a": "b"}))), "made from different texts"),
        (lambda c: DenseIndex(c, encoder(), file="x.txt"), "ends in .npy"),
        (lambda c: DenseIndex(c, encoder(), unit="word"), "no unit 'word'"),
    ],
)  # fmt: skip
def test_what_an_index_cannot_mean_is_refused(corpus, call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(corpus)


def test_arguments_of_another_type_are_refused(corpus):
    with pytest.raises(TypeError, match="minilm"):
        DenseIndex(corpus, "minilm")
    with pytest.raises(TypeError, match="table"):
        StaticIndex(corpus, np.ones((3, 3)))
    with pytest.raises(ValueError, match="vectors has 3 rows"):
        StaticTable(np.ones((3, 3)), encoder()[1], "x")


@pytest.mark.assets
def test_minilm_gives_the_similarity_that_its_page_prints():
    """sentence-transformers' documentation prints 0.6660 and 0.1046 for these three sentences (Quickstart)."""
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    first, second, third = embed(texts, assets.load_minilm())
    assert first @ second == pytest.approx(0.6660, abs=5e-4)
    assert first @ third == pytest.approx(0.1046, abs=5e-4)
