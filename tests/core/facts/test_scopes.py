"""What a row covers and how surely it is known: one scope and one confidence a number, and the figures that a careless
copy gets wrong, each against its source.
"""

import re

import pytest

from greenlab.core import facts
from greenlab.core.facts import index, schema, value
from greenlab.footprint import tables as footprint
from greenlab.hardware.device import devices

CHIPS = schema.rows("accelerators")
MODELS = schema.rows("models")
NUMBERS = {
    table: [c.column for c in schema.columns(table) if c.kind == "number"] for table in ("accelerators", "models")
}
COVERING = re.compile(r"[kMGT]?Wh(/\w+)?|p?J(/\w+)?|k?W|[kM]?t|g")  # energy, power, mass of carbon


def cells(table: str) -> list[tuple[schema.Row, str]]:
    """All numbers of a wide table as (row, column)."""
    return [(row, column) for row in schema.rows(table) for column in NUMBERS[table] if row[column] is not None]


# ---- confidence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["accelerators", "models"])
def test_the_confidence_of_a_row_is_that_of_its_weakest_number(table):
    for row in schema.rows(table):
        filled = [column for column in NUMBERS[table] if row[column] is not None]
        sure = [index.cell_confidence(row, column) for column in (*filled, *schema.weaker_columns(row))]
        assert max(sure, key=index.CONFIDENCES.index) == row["confidence"], row["id"]


@pytest.mark.parametrize("table", ["accelerators", "models", "constants", "claims"])
def test_what_the_remarks_call_inferred_is_not_marked_seen(table):
    told = [row for row in schema.rows(table) if re.search(r"\binferred\b", str(row["notes"]))]
    marked = [row for row in schema.rows(table) if "inferred" in (str(row["confidence"]), *_words(row))]
    assert {row["id"] for row in told} <= {row["id"] for row in marked}
    assert table in ("constants", "claims") or len(told) >= 5


def _words(row: schema.Row) -> list[str]:
    """The confidences that a row gives to columns of it."""
    return list(schema.weaker_columns(row).values())


def test_a_power_that_google_never_printed_is_inferred_and_the_measured_one_is_seen():
    told = [str(row["id"]) for row in CHIPS if re.search(r"power inferred|rated power inferred", str(row["notes"]))]
    assert told == ["tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e", "tpu-v7"]
    assert {facts.fact(f"{id}.tdp_w").confidence for id in told} == {"inferred"}
    assert {facts.fact(f"{id}.peak_dense_tflops_bf16").confidence for id in told} == {"seen"}
    assert facts.fact("tpu-v4.power_mean_w").confidence == "seen"
    assert facts.fact("tpu-v4.onchip_sram_mb").confidence == "unverified"


def test_a_confidence_copied_from_another_table_carries_that_tables_own():
    """Epoch AI calls its compute of Grok 4 speculative and that of GPT-4.5 likely: both are hollow in the charts."""
    for id, word in (("grok-4", "speculative"), ("gpt-4p5", "likely")):
        fact = facts.fact(f"{id}.training_compute_flop")
        assert fact.confidence == "inferred"
        assert fact.is_shaky
        assert word in fact.notes
    assert not facts.fact("gpt-3.training_compute_flop").is_shaky


def test_charts_draw_what_is_inferred_hollow():
    assert not set(footprint.CERTAIN) & set(index.SHAKY)
    assert set(footprint.CERTAIN) | set(index.SHAKY) == set(index.CONFIDENCES)
    known = footprint.trend("compute").set_index("model")["known"]
    assert known["GPT-3 175B"] == "known"
    assert "known" not in {known["Grok 4"], known["GPT-4.5"], known["GPT-4 (RUMOURED)"]}


def test_a_device_may_be_known_by_inference():
    assert {devices()[id].confidence for id in ("tpu-v5p", "tpu-v6e")} == {"inferred"}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: index.cell_confidence([], "tdp_w"), TypeError, r"row=\[\] is list: give a row as"),
        (lambda: index.cell_confidence(CHIPS[0], 7), TypeError, "column=7 is int: give the name of a column"),
        (lambda: index.cell_confidence(CHIPS[0], "tdp"), ValueError, "no column 'tdp'; close to it: tdp_w"),
        (lambda: index.cell_confidence({"tdp_w": 1.0}, "tdp_w"), ValueError, "must have a confidence too"),
        (lambda: schema.weaker_columns("tdp_w"), TypeError, "row='tdp_w' is str: give a row as"),
    ],
)
def test_what_is_no_row_or_column_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---- chips -----------------------------------------------------------------------------------------------------------


def test_eight_bits_are_at_most_twice_as_fast_as_sixteen_on_gpus_and_tpus():
    """A figure with 2:4 sparsity, or one with the faster 16-bit sums beside one with 32-bit sums, is four times."""
    compared = [
        (row["id"], row[column] / row["peak_dense_tflops_bf16"])
        for row in CHIPS
        for column in ("peak_dense_tflops_fp8", "peak_dense_tops_int8")
        if row["kind"] in ("gpu", "tpu") and row[column] and row["peak_dense_tflops_bf16"]
    ]
    assert len(compared) >= 18
    # integer units need no sums in floats: INT8 of the RTX 4090 and of Apple's separate engine stand apart
    odd = {id for id, ratio in compared if ratio > 2.01}
    assert odd == {"rtx-4090", "m4-max"}
    assert value("rtx-4090.peak_dense_tflops_fp8") / value("rtx-4090.peak_dense_tflops_bf16") == pytest.approx(2, 0.001)


def test_mi355x_has_its_own_rates_not_the_mi350xs():
    """AMD at ISSCC 2026: 8,192 FP8 FLOP a clock and compute unit; 256 units at 2.4 GHz; 256 FP32 FLOP each."""
    assert value("mi355x.peak_dense_tflops_fp8") == pytest.approx(8192 * 256 * 2.4e9 / 1e12, rel=1e-4) == 5033
    assert value("mi355x.peak_dense_tflops_fp32") == pytest.approx(256 * 256 * 2.4e9 / 1e12, rel=1e-3) == 157.3
    assert value("mi355x.peak_dense_tops_int8") == value("mi355x.peak_dense_tflops_fp8")
    assert "10,066" in facts.fact("mi355x.tdp_w").notes


@pytest.mark.parametrize(
    ("id", "gain", "watts"), [("tpu-v5p", 5.2, 540), ("tpu-v6e", 14.6, 380), ("tpu-v7", 29.3, 960)]
)
def test_inferred_powers_follow_from_googles_rounded_ratios(id, gain, watts):
    """Epoch AI: peak over v2's 46 TFLOP/s, times v2's 280 W, over the gain in FLOP/s a watt; rounded to 10 W."""
    inferred = value(f"{id}.peak_dense_tflops_fp8") / 46 * value("tpu-v2.tdp_w") / gain
    assert round(inferred, -1) == value(f"{id}.tdp_w") == watts


def test_measured_powers_of_tpus():
    """Google Cloud, TPU documentation, pages v3 and v4: measured min/mean/max power."""
    assert [value(f"tpu-v3.power_{part}_w") for part in ("min", "mean", "max")] == [123, 220, 262]
    assert [value(f"tpu-v4.power_{part}_w") for part in ("min", "mean", "max")] == [90, 170, 192]
    measured = [row for row in CHIPS if row["power_mean_w"]]
    assert measured
    for row in measured:
        assert row["power_min_w"] < row["power_mean_w"] < row["power_max_w"] < row["tdp_w"], row["id"]


def test_trainium3():
    """Amazon, Neuron documentation, Trainium3 architecture: rates without sparsity, memory and its bandwidth."""
    columns = ["peak_dense_tflops_fp32", "peak_dense_tflops_bf16", "peak_dense_tflops_fp8", "memory_gb"]
    assert [value(f"trainium3.{column}") for column in columns] == [183, 671, 2517, 144]
    assert value("trainium3.memory_bandwidth_gb_s") == 4900
    assert value("trainium3.tdp_w") == 700
    assert facts.fact("trainium3.tdp_w").confidence == "secondary"


# ---- scopes ----------------------------------------------------------------------------------------------------------


def test_every_constant_of_energy_power_or_carbon_says_what_it_covers():
    covering = [fact for fact in index.facts().values() if fact.table == "constants" and COVERING.fullmatch(fact.unit)]
    assert len(covering) >= 70
    assert [fact.id for fact in covering if fact.scope not in index.SCOPES] == []


def test_every_training_says_what_it_covers():
    energies = [row for row in MODELS if row["training_energy_mwh"] is not None]
    carbons = [row for row in MODELS if row["emissions_tco2e"] is not None]
    assert len(energies) >= 15
    assert len(carbons) >= 15
    assert [row["id"] for row in energies if not row["energy_scope"]] == []
    assert [row["id"] for row in carbons if not row["emissions_scope"]] == []
    both = [row for row in energies if row["emissions_tco2e"] is not None and row["emissions_scope"] != "not stated"]
    assert both
    assert [row["id"] for row in both if row["energy_scope"] != row["emissions_scope"]] == []


def test_the_column_with_pue_has_one_basis():
    """Where the row's own figure has the PUE in it the two are equal; where it has not the other is greater."""
    of = {row["id"]: row for row in MODELS if row["emissions_with_pue_tco2e"] is not None}
    assert len(of) >= 12
    for id, row in of.items():
        assert row["emissions_scope"] in ("with PUE", "without PUE"), id
        grows = row["emissions_with_pue_tco2e"] / row["emissions_tco2e"]
        assert (grows == 1) if row["emissions_scope"] == "with PUE" else (1.05 < grows < 1.3), id
    assert {row["id"] for row in MODELS if row["emissions_scope"] == "with PUE"} <= set(of)


@pytest.mark.parametrize(
    ("id", "pue", "without", "with_it"),
    [
        ("gpt-3", 1.1, 502, 552),
        ("gopher-280b", 1.08, 352, 380),
        ("opt-175b", 1.09, 70, 76.3),
        ("bloom-176b", 1.2, 25, 30),
    ],
)
def test_the_two_columns_of_blooms_table_4(id, pue, without, with_it):
    """Luccioni et al., JMLR 24(253), table 4: CO2eq emissions, and CO2eq emissions x PUE [t]."""
    assert value(f"{id}.emissions_with_pue_tco2e") == with_it
    assert without * pue == pytest.approx(with_it, rel=0.005)
    if facts.fact(f"{id}.emissions_tco2e").scope == "without PUE":
        assert round(value(f"{id}.emissions_tco2e")) == without
    else:
        assert value(f"{id}.emissions_tco2e") == with_it


def test_like_for_like_bloom_is_18_to_20_times_below_gpt3_and_2_5_to_2_7_in_energy():
    """552 over 24.7 is 22, but GPT-3's figure has a PUE of 1.1 in it and BLOOM's lacks one of 1.2."""
    gpt3, bloom = facts.fact("gpt3-training-carbon"), facts.fact("bloom-training-carbon")
    assert gpt3.scope != bloom.scope
    ratio = value("gpt-3.emissions_with_pue_tco2e") / value("bloom-176b.emissions_with_pue_tco2e")
    assert round(ratio, 1) == 18.4
    energy = value("gpt3-training-energy") / value("bloom-training-energy")
    assert round(energy / 1.2, 1) == 2.5
    assert round(energy / value("gpt3-pue"), 1) == 2.7
    assert round(value("gpt3-intensity") / value("bloom-intensity"), 1) == 7.5


@pytest.mark.parametrize(("id", "g_per_kwh"), [("gpt-3", 429), ("gopher-280b", 330), ("bloom-176b", 57)])
def test_energy_and_carbon_of_a_row_have_one_scope_so_their_ratio_is_the_grid(id, g_per_kwh):
    """The carbon intensity that table 4 of Luccioni et al. prints."""
    assert 1000 * value(f"{id}.emissions_tco2e") / value(f"{id}.training_energy_mwh") == pytest.approx(
        g_per_kwh, rel=0.002
    )


def test_olmo_3_is_a_development_and_an_estimate():
    """Morrison, Smith, Strubell, arXiv:2605.01158, abstract: about 12.3 GWh, 4,251 t, 82.2 % of the compute."""
    row = next(row for row in MODELS if row["id"] == "olmo-3-32b")
    assert (row["training_energy_mwh"], row["emissions_tco2e"]) == (12300, 4251)
    assert (row["energy_scope"], row["energy_basis"]) == ("development with PUE", "estimated")
    assert row["emissions_with_pue_tco2e"] is None
    assert "82.2 % of its compute" in row["notes"]


def test_bloom_and_the_llamas_are_hours_times_rated_power_not_measured():
    derived = {row["id"] for row in MODELS if row["energy_basis"] == "derived"}
    assert {"bloom-176b", "llama-2-70b", "llama-3p1-405b", "deepseek-v3"} <= derived
    assert {facts.fact(f"{id}.training_energy_mwh").scope for id in derived} == {"without PUE"}


def test_world_electricity_of_2022_is_consumption_and_of_2025_generation():
    """A share needs one denominator: 460 TWh over 24,398 of consumption, 485 over 31,772 of generation."""
    scopes = [facts.fact(f"world-electricity-{id}").scope for id in ("consumption-2022", "2025")]
    assert scopes == ["consumption", "generation"]
    assert facts.fact("world-electricity-2025").is_shaky


@pytest.mark.parametrize("part", ["tpu", "host", "idle", "overhead"])
def test_the_parts_of_a_gemini_prompt_are_seen(part):
    assert facts.fact(f"gemini-{part}-energy").confidence == "seen"


def test_the_calculators_regions():
    """mlco2/impact, data/impact.csv: Montreal 20 (Hydro-Quebec), Des Moines 736.6 (eGRID)."""
    assert (value("lacoste-quebec"), value("lacoste-iowa")) == (20, 736.6)
    assert "Des Moines" in facts.fact("lacoste-iowa").name


def test_reports_of_2026_have_their_address():
    ids = [id for id in facts.ids() if facts.fact(id).source == "IEA, Key Questions on Energy and AI"]
    assert len(ids) >= 4
    assert {facts.fact(id).url for id in ids} == {"https://www.iea.org/reports/key-questions-on-energy-and-ai"}


def test_no_scope_is_misspelt():
    with pytest.raises(ValueError, match="scope of 'iea-dc-2022' must be one of"):
        index.of_constant({**schema.rows("constants")[0], "notes": "scope: whole planet; x"})
