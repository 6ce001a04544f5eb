"""A service is refused with the reason if it cannot be built, and every possible one has finite figures."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlab import footprint
from greenlab.green_service import DEFAULT, MODELS, Service, assumptions, bands, evaluate, regions
from greenlab.green_service.design import BITS, INDEXES, SMOLLM2_LAYERS
from greenlab.green_service.energy import J_PER_KWH, busy_s, devices_per_replica


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pue": 0.9}, r"pue=0\.9: .*at least 1.*total energy over IT energy"),
        ({"removed_layers": 40}, r"removed_layers=40: Llama-3\.1-8B has 32 layers.*at least one has to stay"),
        ({"removed_layers": 32}, r"removed_layers=32: .*at least one has to stay"),
        ({"removed_layers": 20}, r"removed_layers=20 of 32: give at most 12; chapter 6"),
        ({"removed_layers": 10, "healed": True}, r"give at most 8; .*healed"),
        ({"region": ""}, r"region"),
        ({"region": "XX"}, r"region.*a grid is never assumed"),
        ({"region": None}, r"region=None is NoneType"),
        ({"bits": 3}, r"bits=3: give 16, 8, 4 or 2"),
        ({"bits": 0}, r"bits=0"),
        ({"batch": 0}, r"batch=0: give a whole number at least 1"),
        ({"batch": 2.0}, r"batch=2\.0 is float"),
        ({"capacity": 0.5}, r"capacity=0\.5: give 1 .* or 0\.125"),
        ({"capacity": 0.0}, r"capacity=0\.0"),
        ({"capacity": 0.125, "removed_layers": 2}, r"capacity=0\.125 with removed_layers=2: .*never trained"),
        ({"model": "Mixtral-8x7B", "removed_layers": 2}, r"removed_layers=2 with model='Mixtral-8x7B'"),
        ({"model": "Qwen3-30B-A3B", "capacity": 0.125}, r"capacity=0\.125 with model"),
        ({"model": "Lama-3.1-8B"}, r"model.*Llama-3\.1-8B"),
        ({"healed": True}, r"healed=True with removed_layers=0"),
        ({"index": "minilm"}, r"index='minilm' with retrieved_tokens=0"),
        ({"retrieved_tokens": 100}, r"index='none' with retrieved_tokens=100"),
        ({"index": "google", "retrieved_tokens": 100}, r"index"),
        ({"device": "h100"}, r"device"),
        ({"device": "groqchip1"}, r"device"),
        ({"utilization": 0.0}, r"utilization=0\.0"),
        ({"utilization": 40}, r"utilization=40: .*shares are fractions"),
        ({"flexible": 1.5}, r"flexible=1\.5"),
        ({"requests_per_day": 0}, r"requests_per_day=0"),
        ({"requests_per_day": float("nan")}, r"requests_per_day=nan"),
        ({"requests_per_day": "1e6"}, r"requests_per_day='1e6' is str"),
        ({"input_tokens": True}, r"input_tokens=True is bool"),
        ({"n_devices": 0}, r"n_devices=0"),
        ({"wue_l_per_kwh": -1}, r"wue_l_per_kwh=-1"),
        ({"quality_gate": 0}, r"quality_gate=0"),
        ({"reference": "GPT-9"}, r"reference"),
        ({"colour": "green"}, r"colour: a service has no such field"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_reason(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        DEFAULT.replace(**changes)


def test_too_few_accelerators_are_refused_with_the_number_that_is_needed():
    needed = evaluate(DEFAULT).machines.needed
    with pytest.raises(ValueError, match=rf"n_devices=1: .* need {needed} x h100"):
        evaluate(DEFAULT.replace(n_devices=1))
    assert evaluate(DEFAULT.replace(n_devices=needed)).energy.total_j == evaluate(DEFAULT).energy.total_j


@st.composite
def services(draw):
    """Services of all kinds that can be built."""
    name = draw(st.sampled_from(sorted(MODELS)))
    dense = MODELS[name].kind != "mixture of experts"
    most = MODELS[name].shape.n_layers * 8 // SMOLLM2_LAYERS
    removed = draw(st.integers(0, most)) if dense else 0
    index = draw(st.sampled_from(INDEXES))
    return Service(
        requests_per_day=draw(st.floats(1, 1e9)),
        input_tokens=draw(st.integers(1, 4000)),
        output_tokens=draw(st.integers(1, 2000)),
        retrieved_tokens=0 if index == "none" else draw(st.integers(1, 2000)),
        index=index,
        batch=draw(st.integers(1, 256)),
        model=name,
        removed_layers=removed,
        healed=draw(st.booleans()) and removed > 0,
        capacity=draw(st.sampled_from([1.0, 0.125])) if dense and not removed else 1.0,
        bits=draw(st.sampled_from(BITS)),
        device=draw(st.sampled_from(["h100-sxm5-80gb", "a100-sxm4-80gb", "b200", "l4"])),
        utilization=draw(st.floats(0.05, 1)),
        region=draw(st.sampled_from(sorted(regions()))),
        flexible=draw(st.floats(0, 1)),
        pue=draw(st.none() | st.floats(1, 3)),
    )


@settings(deadline=None, max_examples=60)
@given(services())
def test_every_service_has_figures_that_agree_with_chapter_1(service):
    outcome, assumed = evaluate(service), assumptions(service).values()
    each, machines = outcome.energy, outcome.machines
    assert each.total_j > 0
    assert np.isfinite(each.total_j)
    assert 0 <= outcome.quality <= 1
    assert 0 < machines.busy_share <= service.utilization * (1 + 1e-6)
    per_device_g = 1e3 * (assumed["device_embodied_kg"] + assumed["server_embodied_kg"] / assumed["devices_per_server"])
    year_g = footprint.embodied_share(
        per_device_g * machines.n_devices, hours_used=8760.0, lifetime_h=8760.0 * assumed["lifetime_years"]
    )
    grid = assumed["intensity_g_per_kwh"] * (1 - service.flexible * assumed["shift_saving"])
    units = outcome.requests_per_year
    sci = (each.total_kwh * units * grid + year_g) / units  # chapter 1 refuses grids below the cleanest one
    assert outcome.sci_g == pytest.approx(sci, rel=1e-9)
    prompt = footprint.inference_footprint(
        accelerator_wh=(each.reading_j + each.writing_j + each.retrieval_j) / 3600,
        host_wh=each.host_j / 3600,
        idle_wh=each.waiting_j / 3600,
        pue=assumed["pue"],
        intensity_g_per_kwh=assumed["intensity_g_per_kwh"],
    )
    assert each.total_j / 3600 == pytest.approx(prompt.query_wh, rel=1e-9)


def test_sci_is_chapter_1s():
    outcome = evaluate(DEFAULT)
    units = outcome.requests_per_year
    sci = footprint.sci(
        energy_kwh=outcome.energy.total_kwh * units,
        functional_units=units,
        embodied_g=float(outcome.carbon.embodied_g) * units,
        region="DE",
    )
    assert outcome.sci_g == pytest.approx(sci)


def test_input_tokens_and_the_batch_count():
    base = evaluate(DEFAULT)
    longer = evaluate(DEFAULT.replace(input_tokens=4 * DEFAULT.input_tokens))
    assert 3 < longer.energy.reading_j / base.energy.reading_j < 4  # the weights are read once for each prompt
    fuller = evaluate(DEFAULT.replace(batch=64))
    assert fuller.energy.writing_j < 0.5 * base.energy.writing_j
    assert fuller.energy.reading_j == base.energy.reading_j


def test_spare_accelerators_cost_waiting_hosts_and_manufacture_and_nothing_else():
    base = evaluate(DEFAULT)
    spare = evaluate(DEFAULT.replace(n_devices=2 * base.machines.needed))
    assert spare.energy.reading_j == base.energy.reading_j
    assert spare.energy.writing_j == base.energy.writing_j
    assert spare.energy.host_j == pytest.approx(2 * base.energy.host_j)
    assert spare.carbon.embodied_g == pytest.approx(2 * base.carbon.embodied_g)
    assert spare.cost.total_usd == pytest.approx(2 * base.cost.total_usd)
    seconds = base.machines.n_devices * 86_400 / DEFAULT.requests_per_day
    assert spare.energy.waiting_j - base.energy.waiting_j == pytest.approx(seconds * 126.5, rel=0.01)


def test_water_is_cooling_of_the_machines_and_power_stations_of_all():
    service = DEFAULT.replace(wue_l_per_kwh=1.0, pue=1.5)
    outcome, assumed = evaluate(service), assumptions(service).values()
    machines_kwh = outcome.energy.machines_j / J_PER_KWH
    assert outcome.water.on_site_ml == pytest.approx(1e3 * machines_kwh)
    assert outcome.water.off_site_ml == pytest.approx(1.5e3 * machines_kwh * assumed["water_l_per_kwh"])


def test_latency_grows_with_the_batch_and_a_large_model_is_shared():
    small, large = (evaluate(DEFAULT.replace(batch=batch)).latency for batch in (1, 64))
    assert small.total_s < large.total_s
    assert small.first_token_s == large.first_token_s
    seventy = DEFAULT.replace(model="Llama-3.1-70B")
    assert devices_per_replica(seventy) == 3  # 141 GB of weights and the caches
    assert devices_per_replica(seventy.replace(bits=4)) == 1
    busy = busy_s(DEFAULT, assumptions(DEFAULT).values())
    assert busy == pytest.approx(small.first_token_s + 300 * evaluate(DEFAULT).latency.token_s / 16)


def test_ternary_weights_and_dropped_layers_save_what_the_shapes_say():
    whole = evaluate(DEFAULT.replace(batch=1))
    fewer = evaluate(DEFAULT.replace(batch=1, removed_layers=8))
    measured = table_ratio()
    assert fewer.energy.writing_j / whole.energy.writing_j == pytest.approx(measured, rel=0.05)


def table_ratio():
    """Joules of a token of the 8B model with 24 of 32 layers over those of the whole one, measured on the H100."""
    from greenlab.green_service.committed import figure

    name = "decode-llama-3p1-8b-batch-1-context-512"
    return figure("accelerator", f"{name}-layers-24") / figure("accelerator", name)


def test_a_service_is_frozen_and_equal_by_value():
    assert Service() == DEFAULT
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULT.batch = 2
    assert len(bands(DEFAULT, n=100)) == 10
