"""Chapter 2's charts, its widgets at every extreme, its exercises, and SmolLM2's decoding predicted on this machine."""

import pytest
import torch

from greenlab.core import assets, studies
from greenlab.core.facts import value
from greenlab.hardware import compare_published, decode, device, own_machine, prefill, roofline, systolic
from greenlab.hardware import view as see
from greenlab.hardware.own_machine import Prediction
from greenlab.hardware.view.charts import plain_axes
from greenlab.hardware.view.measured import nearest_point
from greenlab.hardware.view.widgets import menu, working_cells
from greenlab.lab.exercises import solutions
from greenlab.lab.widgets import exercise_extremes

ENERGY = {"h100-sxm5-80gb": "H100", "l4": "L4", "epyc-9654": "EPYC 9654"}


@pytest.fixture(scope="module")
def core():
    return own_machine.measured_device("one core", n_threads=1, rounds=1)


def test_every_chart_is_a_valid_specification_with_words(core):
    h100 = device("h100-sxm5-80gb")
    works = {"one": (decode("Llama-3.1-8B"), h100), "prompt": (prefill("Llama-3.1-8B"), h100)}
    charts = [
        see.all_roofs(works, "t", own=[core]),
        see.own_roof(core, core.replace(name="all cores"), Prediction(5.4e8, 1e10, 0.01, 0.07), "t"),
        see.published_chart(compare_published(), "t"),
        see.chips_chart("t"),
        see.energy_chart(see.energy_table(ENERGY), "t"),
        see.roofline_twin("t"),
        see.systolic_twin("t"),
        see.measured_chart(see.bound_table(see.measured_table()), see.served_table(), "t"),
        see.zeros_chart(see.zeros_table(), "t"),
        see.context_chart(see.measured_table(), "t"),
        see.token_twin("t"),
    ]
    for chart in charts:
        spec = chart.to_dict()
        assert spec["description"]
        assert spec["title"]


def test_the_spread_of_zeros_is_that_of_the_repeats_and_holds_the_share():
    """The figures' notes give the same ends for joules: least over greatest, and greatest over least."""
    table = see.zeros_table().set_index("label")
    assert (table["low"] <= table["share"]).all()
    assert (table["share"] <= table["high"]).all()
    zeros = table.drop(index="random numbers")
    assert ((zeros["high"] - zeros["low"]) > 0.5).all()
    assert (zeros["high"] < 100).all()
    notes = studies.load("accelerator", "figures")["figures"].set_index("name")["note"]
    for work in ("product", "copy"):
        low, high = table.loc[f"zeros in a {work}: joules", ["low", "high"]]
        name = {"product": "matmul", "copy": "copy"}[work]
        assert notes[f"{name}-zeros-over-random"].endswith(f"the repeats allow {low:.4g} to {high:.4g}")


def test_a_server_gets_cheaper_with_every_doubling_and_the_blogs_rounded_figure_is_one_of_its_points():
    """The leaderboard's data has four digits where the article has two."""
    table = see.served_table().set_index("batch")["j_per_token"]
    assert table.index.tolist() == [8, 16, 32, 64, 128, 256]
    assert table.is_monotonic_decreasing
    assert round(table[64], 2) == value("energy-h100-llama3-8b")


def test_energy_lines_end_where_memory_is_full_and_never_rise():
    table = see.energy_table(ENERGY)
    assert table.groupby("chip")["batch"].max().to_dict() == {"EPYC 9654": 1024, "H100": 512, "L4": 64}
    assert table.groupby("chip")["j_per_token"].apply(lambda j: j.is_monotonic_decreasing).all()


def test_the_roofline_widget_holds_at_every_extreme_and_its_goal_can_be_reached():
    widget = see.roofline_widget()
    assert widget.text.startswith("Memory sets the time; the units are busy 0.3 %")
    for values, text in exercise_extremes(widget):
        assert ("tokens a second for each user" if values["phase"] == "decode" else "first word comes after") in text
        assert "nan" not in text
    widget.set(batch=512)
    assert "not yet reached" in widget.text, "the cache alone keeps a crowd below the ridge"
    widget.set(batch=512, context=128)
    assert widget.text.endswith("memory: reached.")


def test_the_widget_counts_the_caches_of_every_batch_under_way():
    """Joules by hand: 145 LPUs at 215 W are 31.2 kW; one batch of 64 sequences under way, 183 tokens a second each."""
    widget = see.roofline_widget()
    widget.set(chip="groqchip1", batch=64, context=2048)
    assert "145 chips hold it, each some layers, and the caches of 1 batch at once." in widget.text
    assert "11,689 tokens a second in all; 2.67 J a token" in widget.text
    assert 145 * device("groqchip1").power_w / 11_689 == pytest.approx(2.67, abs=0.005)
    widget.set(batch=1, context=512)
    assert "71 chips hold it, each some layers, and the caches of 4 batches at once." in widget.text
    widget.set(model="Llama-2-70B", batch=64, context=8192, form="int8 weights")
    assert "190 J a token" in widget.text
    assert "the units are busy 0.1 % of it" in widget.text, "1,046 of 1,047 chips wait"
    widget.set(chip="h100-sxm5-80gb")
    assert "0.785 J a token" in widget.text, "the GPUs of the chapter's table need less, as the table says"


def test_the_systolic_widget_holds_at_every_extreme_and_its_goal_can_be_reached():
    widget = see.systolic_widget()
    assert all(text.startswith("Cycle") for _, text in exercise_extremes(widget))
    widget.set(m=7, cycle=7)
    assert widget.text.endswith("multiply: reached.")
    widget.set(m=6, cycle=6)
    assert "not yet reached" in widget.text


@pytest.fixture(scope="module")
def measured():
    return see.bound_table(see.measured_table())


def test_the_measured_points_are_those_of_the_study(measured):
    assert measured.groupby("model").size().to_dict() == {"Llama-3.1-8B": 13, "Llama-3.2-1B": 4, "SmolLM2-135M": 5}
    assert (measured["basis"] == "measured").all()
    assert ((measured["low"] < measured["j_per_token"]) & (measured["j_per_token"] < measured["high"])).all()
    # power over speed is energy: three columns of the study that must agree
    assert (measured["power_w"] / measured["tokens_per_s"]).to_numpy() == pytest.approx(
        measured["j_per_token"].to_numpy(), rel=1e-5
    )


def test_the_bound_of_an_8b_model_by_hand(measured):
    """16.0 GB of weights and 67 MB of cache at 3,350 GB/s and 700 W; the embedding table is not read but for a row."""
    first = measured.iloc[0]
    weights_b = 2 * (8.03e9 - 128_256 * 4096)
    assert first["bound_j"] == pytest.approx(700 * (weights_b + 512 * 131_072) / 3.35e12, rel=1e-3)
    assert 0.9 < first["j_per_token"] / first["bound_j"] < 1.1, "the chapter says that they agree at batch 1"
    tiny = measured[(measured["model"] == "SmolLM2-135M") & (measured["batch"] == 1)].iloc[0]
    assert tiny["j_per_token"] / tiny["bound_j"] > 7, "and that they differ by seven for the tiny model"


def test_the_bound_is_right_for_one_user_and_too_low_for_a_crowd(measured):
    """The H100's audited figures: 1.88 times the bound at 64 on ML.ENERGY's server."""
    errors = see.bound_errors(measured, see.served_table()).set_index("batch")
    assert errors.index.tolist() == [2**i for i in range(9)]
    assert errors.loc[1, "ratio"] == pytest.approx(3.11158 / 3.1504, rel=1e-4)
    assert errors.loc[64, "served_ratio"] == pytest.approx(0.1186 / 0.06303, rel=1e-3)
    assert errors["served_j"].isna().tolist() == [True] * 3 + [False] * 6
    assert errors["ratio"].is_monotonic_increasing
    assert errors.loc[256, "power_share"] == pytest.approx(694.888 / 700)
    # speed by the other way: our tokens a second over those that the bandwidth allows
    allowed = roofline(decode("Llama-3.1-8B", batch=256), device("h100-sxm5-80gb")).tokens_per_s
    assert errors.loc[256, "speed_share"] == pytest.approx(15031.7 / allowed, rel=1e-3)
    assert errors.loc[256, "user_tokens_per_s"] < errors.loc[1, "user_tokens_per_s"] / 2, "the quality gate says so"
    with pytest.raises(ValueError, match="bound_j"):
        see.bound_errors(see.measured_table(), see.served_table())


def test_the_claims_are_recomputed_from_the_data_sheets():
    """989.4 / 188 = 5.26, 121 / 188 = 0.64, 989.4 / 115 = 8.6 and 185 / 66 = 2.8, by hand."""
    found = see.claims_table().set_index("id")["found"]
    assert "H100 5.3 and 2.6; A100 1.7 and 0.83; L4 0.64 and 0.32" in found["groq-compute-ge-gpu"]
    assert "2.8 times the fastest" in found["groq-orders-of-magnitude"]
    assert "Xeon 8480+: 8.6 times in 16 bits" in found["gpu-vs-cpu"]
    assert found["tpu-more-efficient"].endswith("H100 1.4, B200 2.2, TPU v7 2.4 (its watts are inferred)")


def test_a_single_answer_waits_for_memory_on_every_chip():
    """The chapter's takeaway; a chip that publishes no 16-bit or 32-bit rate cannot be asked."""
    chips = [device(id) for id in menu().values()]
    assert len(chips) > 20
    intensity = decode("Llama-3.1-8B").intensity
    assert all(chip.ridge("bf16") > intensity for chip in chips)


def test_what_holds_a_large_model_by_hand():
    """Llama-2-70B has 68.98e9 weights: 138 GB in 16 bits on chips of 0.23 GB, each at 215 W."""
    table = see.chips_table().set_index(["bits", "chip"])
    assert table.loc[(16, "LPU"), "chips"] == 601
    assert table.loc[(16, "LPU"), "power_kw"] == pytest.approx(601 * 0.215)
    assert table.loc[(16, "H100"), "chips"] == 2
    assert (table["at_once"] == 1).all()
    lead = table.xs("LPU", level="chip")["user_tokens_per_s"] / table.xs("H100", level="chip")["user_tokens_per_s"]
    assert (lead > 10).all(), "the chapter says: more than ten times as fast"


@pytest.mark.parametrize("domain", [3, (1,), (0, 1), (2, 1), (1, float("nan"))])
def test_axes_of_a_roofline_refuse_what_is_no_range(domain):
    with pytest.raises((TypeError, ValueError), match="x_domain"):
        plain_axes(domain)


def test_the_token_widget_holds_at_every_extreme_and_shows_measured_points_only(measured):
    widget = see.token_widget()
    points = set(zip(measured["model"], measured["batch"], measured["context"], strict=True))
    for values, text in exercise_extremes(widget):
        assert text.startswith("MEASURED at batch")
        assert ("not measured" in text) == ((values["model"], values["batch"], values["context"]) not in points)
        assert "nan" not in text
        assert " m" not in text.split("Goal:")[0].replace(" meter", "").replace(" measured", ""), "no milli prefix"
    assert widget.text.endswith("for each user: not yet reached.")


def test_an_answers_cost_by_hand():
    widget = see.token_widget()
    widget.set(batch=8)
    assert "0.42 J a token, 384 W, 915 tokens/s in all, 114 for each user." in widget.text
    assert "Writing 300 tokens: 126 J (111 J to 176 J by the meter), 0.035 Wh." in widget.text
    by_hand_j = 300 * 384.276 / 915.178  # watts over tokens a second
    assert by_hand_j == pytest.approx(126, abs=0.5)


def test_the_goal_of_the_token_widget_weighs_joules_against_speed():
    widget = see.token_widget()
    reached = []
    for batch in (1, 64, 128, 256):
        widget.set(batch=batch)
        reached.append(widget.text.endswith(": reached."))
    assert reached == [False, False, True, False]
    widget.set(batch=128, context=2048)
    assert widget.text.endswith("not yet reached."), "what was not measured reaches nothing"


def test_the_nearest_point_is_measured_in_doublings():
    assert nearest_point("Llama-3.2-1B", 32, 512)[0]["batch"] == 64
    row, exact = nearest_point("Llama-3.1-8B", 16, 8192)
    assert (row["batch"], row["context"], exact) == (8, 8192, False)
    with pytest.raises(ValueError, match="no model 'Llama-4'"):
        nearest_point("Llama-4", 1, 512)
    with pytest.raises(ValueError, match="batch"):
        nearest_point("Llama-3.1-8B", 0, 512)


def test_a_chart_of_measured_joules_refuses_a_table_without_its_columns(measured):
    with pytest.raises(ValueError, match="bound_j"):
        see.measured_chart(measured.drop(columns="bound_j"), see.served_table(), "t")
    with pytest.raises(TypeError, match="table"):
        see.context_chart("text", "t")
    with pytest.raises(TypeError, match="title"):
        see.token_twin(3)


@pytest.mark.parametrize("m", [1, 4, 8])
def test_the_drawn_wave_is_the_simulated_one(m):
    trace = systolic.simulate([[1.0] * 4] * m, [[1.0] * 4] * 4)
    drawn = [working_cells(m, cycle) for cycle in range(1, 15)]
    assert drawn == [int((rows >= 0).sum()) for rows in trace.row] + [0] * (14 - trace.cycles)
    k, n = (trace.row[2] >= 0).nonzero()  # the formula that Vega computes: cycle - k - n + 2, all from 1
    assert (trace.row[2][k, n] + 1 == 3 - (k + 1) - (n + 1) + 2).all()


WRONG = {
    "hardware-roof": [
        (lambda i, p, b: max(p, b * i), "higher of the two"), (lambda i, p, b: min(p, b / i), "check the units"),
        (lambda i, p, b: b * i, "stop at 100"), (lambda i, p, b: p, "20 FLOP/s only"),
        (lambda i, p, b: 1.0, "not 20 and 100"),
    ],
    "hardware-batch": [
        (148, "counted once"), (591, "half as many"), (1, "one FLOP a byte"), (64, "the ridge is the batch"),
    ],
    "hardware-chips": [
        (lambda p, b, m: p * b / m / 1e9, "eight bits"), (lambda p, b, m: p * b / 8 / (m * 1e9), "round up"),
        (lambda p, b, m: 609, "bits that are given"), (lambda p, b, m: 7, "compare bytes with bytes"),
    ],
    "hardware-cycles": [
        (lambda m, k, n: m * k * n, "at the same time"), (lambda m, k, n: m, "still has to cross"),
        (lambda m, k, n: m + k + n, "one cell and one number"), (lambda m, k, n: m + k + n - 1, "takes 10 cycles"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_each_slip_gets_its_own_hint_and_the_reference_passes(name):
    task = solutions()[name]
    assert task.verdict(task.reference) is None
    for answer, hint in WRONG[name]:
        assert hint in task.verdict(answer)


def test_the_readers_machine_is_a_device(core):
    assert core.confidence == "measured"
    assert core.power_w is None
    assert 1e8 < core.flops_per_s["fp32"] < 1e15
    assert 1e8 < core.bandwidth_b_per_s < 1e13
    with pytest.raises(ValueError, match="n=0: give a whole number at least 1"), own_machine.threads(0):
        pass


@pytest.mark.assets
def test_two_small_measurements_add_up_to_a_prediction_of_the_real_model():
    """The parts only: how well it predicts depends on who else uses the machine, and is printed in the notebook."""
    model, tokenizer = assets.load_smollm2()
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    before = torch.get_num_threads()
    found = own_machine.predict_decode(model, ids, rounds=1)
    assert torch.get_num_threads() == before
    weights = 4 * 134_515_008
    assert found.bytes_moved == pytest.approx(weights, rel=0.01)
    assert found.predicted_s == pytest.approx(found.overhead_s + found.bytes_moved / found.matvec_b_per_s)
    tiny = own_machine.tiny_twin(model)
    assert len(tiny.model.layers) == 30
    assert sum(p.numel() for p in tiny.parameters()) < 1e-2 * 134_515_008
    with pytest.raises(ValueError, match=r"expected torch\.float32 only"):
        own_machine.predict_decode(tiny.to(torch.bfloat16), ids)


def test_a_server_pays_more_a_token_than_bare_steps_and_the_gap_grows_with_the_batch():
    """ML.ENERGY's whole requests beside our bare decode steps of the same model on the same kind of chip."""
    ours = see.measured_table().query("model == 'Llama-3.1-8B' and context == 512").set_index("batch")["j_per_token"]
    served = see.served_table().set_index("batch")["j_per_token"]
    ratio = served / ours[served.index]
    assert ratio[8] == pytest.approx(1.08, abs=0.01)
    assert ratio[256] == pytest.approx(1.66, abs=0.01)
    assert (ratio > 1).all()
