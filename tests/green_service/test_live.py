"""The live combination: measured and predicted are told apart, and nothing is claimed where quality is not known."""

import copy
import dataclasses
import math

import pandas as pd
import pytest
import torch

from greenlab.core.model.decoder import decoder_layers, keep_layers
from greenlab.green_service import study
from greenlab.green_service.study import live, matrices, parts
from greenlab.retrieval import Prefix
from tests.retrieval import tiny

PASSAGE = "A counter of joules is a register that adds up energy. It is read before and after."


@pytest.fixture(scope="module")
def given():
    model, tokenizer = tiny.llm()
    return live.material(
        (model, tokenizer), keep_layers(model, [0]), passage=PASSAGE, page="Joules are counted, not guessed. " * 9
    )


@pytest.fixture(scope="module")
def found(given):
    return live.measure_together(1, 3, given=given)


def test_every_lever_is_measured_alone_in_pairs_and_with_all(found):
    assert found.table["what"].tolist() == [one.name for one in live.SETTINGS]
    combined = {(row.healed, row.bits == 8, row.retrieval) for row in found.table.itertuples() if row.bits != 2}
    assert len(combined) == 8
    assert found.table["left_pct"].iloc[0] == 100
    assert (found.table["low_j"] <= found.table["energy_j"]).all()
    assert (found.table["energy_j"] <= found.table["high_j"]).all()
    assert found.table["basis"].isin(["measured", "modelled"]).all()


def test_a_loss_is_computed_for_each_model_and_for_none_of_random_weights(found, given):
    losses = found.table.set_index("what")["loss"]
    assert losses[[one.name for one in live.SETTINGS if one.bits == 2]].isna().all()
    assert losses[live.NONE] == losses[live.FOUND]  # a passage does not change the model
    assert losses[live.NONE] != losses[live.HEALED]
    ids = given.page
    logits = given.floats[False](ids).logits[:, :-1]
    whole = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    assert losses[live.NONE] == pytest.approx(float(whole.detach()), rel=1e-5)


def test_product_and_overlap_follow_from_the_levers(found):
    for way in ("measured_pct", "counts_pct", "parts_pct", "kernel_pct"):
        left = found.predicted.set_index("what")[way]
        assert left["product"] == pytest.approx(100 * left[list(live.NAMES)].div(100).prod())
        assert found.overlap(way) == pytest.approx(left["together"] / left["product"])
    with pytest.raises(ValueError, match="no column 'what'"):
        found.overlap("what")
    measured = found.table.set_index("what")["left_pct"]
    beside = found.predicted.set_index("what")["measured_pct"]
    assert beside["together"] == measured[live.ALL]
    assert len(beside) == 8
    for name in beside.index.intersection(measured.index):
        assert beside[name] == measured[name]


def test_the_prompt_grows_by_the_passage_and_the_instructions_are_read_before(found, given):
    before, after = found.variants
    assert (before.n_layers, after.n_layers) == (2, 1)
    assert after.prompt_tokens - before.prompt_tokens >= len(PASSAGE)  # a token a letter
    for with_passage in (False, True):
        head = given.heads[with_passage]
        assert given.prompts[with_passage][: len(head)] == head


def test_an_answer_writes_what_the_model_finds_likeliest(given):
    model, ids = given.floats[False], given.prompts[False]
    head = given.heads[False]
    written = live._answer(Prefix(model, head).start(), ids[len(head) :], 5)
    again = list(ids)
    for _ in range(5):
        again.append(int(model(torch.tensor([again])).logits[0, -1].argmax()))
    assert written == again[-5:]


def test_parts_of_a_pass_are_its_whole_time_and_leave_the_model_as_it_was(given):
    model = given.floats[False]
    before = {name: module.__dict__.get("forward") for name, module in model.named_modules()}
    profile = parts.profile(model, Prefix(model, given.heads[False]), 1, rows=16)
    assert {name: module.__dict__.get("forward") for name, module in model.named_modules()} == before
    for part in (profile.one, profile.many):
        assert min(vars(part).values()) > 0
    assert len(parts._matrices(model)) == 7 * len(decoder_layers(model))
    with pytest.raises(ValueError, match="rows=1"):
        parts.profile(model, Prefix(model, [1]), 1, rows=1)
    with pytest.raises(ValueError, match="matrices of other sizes"):
        parts.kernel_alone(model, given.floats[True])


def test_packed_models_share_what_no_lever_touches(given):
    """Head and embedding are those of the whole model, which keeps its own matrices."""
    whole = given.floats[False]
    head = whole.get_output_embeddings().weight.data_ptr()
    for model in (given.floats[True], matrices.eight_bits(whole), matrices.ternary_shaped(given.floats[True])):
        assert model.get_output_embeddings().weight.data_ptr() == head
    assert {type(m) for m in parts._matrices(whole)} == {torch.nn.Linear}
    assert {type(m) for m in parts._matrices(matrices.eight_bits(whole))} == {matrices.Int8Linear}
    assert {type(m) for m in parts._matrices(matrices.ternary_shaped(whole))} == {matrices.PackedLinear}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: live.measure_together(0, given=g), "rounds=0"),
        (lambda g: live.measure_together(1, 1, given=g), "n_tokens=1"),
        (lambda g: live.measure_together(1, given=g.floats), "given"),
        (lambda g: live.with_quality(pd.DataFrame({"what": ["a"]})), "lacks the column 'healed'"),
        (lambda g: live.with_quality([1]), "table"),
        (lambda g: live.shifted(pd.DataFrame({"what": ["a"]})), "lacks the column 'energy_j'"),
        (lambda g: live.shifted(pd.DataFrame({"what": [], "energy_j": []})), "table is empty"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, message, given):
    with pytest.raises((ValueError, TypeError), match=message):
        call(given)


def test_waiting_multiplies_exactly_with_every_lever(found):
    """Another hour changes the grams of a joule, so it acts on whatever is left."""
    rows = study.shifted(found.table)
    saving = study.best_hour_saving()
    assert (rows["waited_g"] / rows["at_once_g"]).to_list() == pytest.approx([1 - saving] * len(rows))
    left = found.table["energy_j"] / found.table["energy_j"].iloc[0]
    assert rows["left_pct"].to_list() == pytest.approx((100 * left * (1 - saving)).to_list())


def test_no_saving_is_claimed_where_quality_fell_or_is_unknown():
    rows = study.with_quality(study.load("race")["race"])
    claims = rows.set_index("what")["claim"]
    assert (claims[[one.name for one in live.SETTINGS if one.bits == 2]] == "no quality").all()
    assert rows.loc[rows["bits"] == 2, "accuracy_pct"].isna().all()
    fell = rows["kept_pct"] < 98
    assert fell.any()
    assert (rows.loc[fell, "claim"] == "quality fell").all()
    counted = rows[rows["claim"] == "yes"]
    assert ((counted["kept_pct"] >= 98) & (counted["left_pct"] < 100)).all()
    assert math.isnan(rows.loc[rows["what"] == live.TERNARY, "hit_pct"].iloc[0])


def test_intervals_hold_the_share_of_right_answers():
    rows = study.with_quality(study.load("race")["race"]).dropna(subset="hit_pct")
    assert len(rows) == 8
    assert ((rows["hit_low_pct"] <= rows["hit_pct"]) & (rows["hit_pct"] <= rows["hit_high_pct"])).all()
    assert (rows["hit_high_pct"] > rows["hit_low_pct"]).all()


def test_settings_have_names_of_their_own():
    assert len({one.name for one in live.SETTINGS}) == len(live.SETTINGS)
    assert len({dataclasses.replace(one, name="") for one in live.SETTINGS}) == len(live.SETTINGS)
    assert copy.copy(live.SETTINGS[0]) == live.Setting(live.NONE)
