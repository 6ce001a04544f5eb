"""Published footprints from their inputs, the laws the functions obey, arrays against loops, and what they refuse."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlab import footprint as fp
from greenlab.core.facts import value
from greenlab.core.grid.plausible import DIRTIEST_G_PER_KWH
from greenlab.footprint.checks import check_intensity

# Published numbers from their inputs ----------------------------------------------------------------------------------


def gpt3():
    return fp.training_footprint(
        flops=value("gpt3-training-compute"), flops_per_s=value("gpt3-chip-rate") * 1e12,
        power_w=value("gpt3-chip-power"),
        pue=value("gpt3-pue"), intensity_g_per_kwh=value("gpt3-intensity"),
    )  # fmt: skip


def bloom(**more):
    return fp.training_footprint(
        device_hours=value("bloom-gpu-hours"), power_w=1000 * value("bloom-gpu-power"),
        intensity_g_per_kwh=value("bloom-intensity"), **more,
    )  # fmt: skip


def test_gpt3_is_1287_mwh_and_552_t():
    """Patterson et al., arXiv:2104.10350, table 4: 3.14e23 FLOP on V100 at 24.6 TFLOP/s and 330 W, PUE 1.10, 429
    g/kWh."""
    assert gpt3().energy_mwh == pytest.approx(value("gpt3-training-energy"), rel=0.001)
    assert gpt3().carbon_t == pytest.approx(552, rel=0.001)


def test_bloom_is_433_mwh_and_24p7_t():
    """Luccioni et al., JMLR 24(253): 1,082,990 A100 hours at their TDP, 57 g/kWh."""
    assert bloom().energy_mwh == pytest.approx(433.196, rel=1e-4)
    assert bloom().carbon_t == pytest.approx(24.7, rel=0.001)


def test_bloom_over_its_life_cycle_is_50p5_t():
    """The same with idle power and manufacture: twice as much."""
    run = bloom(idle_kwh=1000 * value("bloom-idle-energy"), embodied_g=1e6 * value("bloom-embodied-carbon"))
    assert run.carbon_t == pytest.approx(50.5, rel=0.001)
    assert run.idle_kwh * run.intensity_g_per_kwh / 1e6 == pytest.approx(14.6, rel=0.005)


@pytest.mark.parametrize(
    ("model", "hours", "chip", "tolerance"),
    [
        ("llama-2-70b", "llama2-70b-gpu-hours", "a100-sxm4-80gb", 0.005),
        ("llama-3-70b", "llama3-70b-gpu-hours", "h100-sxm5-80gb", 0.005),
        ("llama-3p1-405b", "llama3p1-405b-gpu-hours", "h100-sxm5-80gb", 0.03),
        ("llama-3p2-1b", "llama3p2-1b-gpu-hours", "h100-sxm5-80gb", 0.03),
        ("llama-4-scout", "llama4-scout-gpu-hours", "h100-sxm5-80gb", 0.1),
        ("llama-4-maverick", "llama4-maverick-gpu-hours", "h100-sxm5-80gb", 0.1),
    ],
)
def test_the_llama_cards_follow_from_hours_and_rated_power(model, hours, chip, tolerance):
    """One grid, that of Llama 2's card (424 g/kWh), serves all cards; the later ones used a somewhat cleaner one."""
    of_llama2 = 1e6 * value("llama2-70b-carbon") / (value("llama2-70b-gpu-hours") * 0.4)
    run = fp.training_footprint(
        device_hours=value(hours), power_w=value(f"{chip}.tdp_w"), intensity_g_per_kwh=of_llama2
    )
    assert run.energy_mwh == pytest.approx(value(f"{model}.training_energy_mwh"), rel=0.001)
    assert run.carbon_t == pytest.approx(value(f"{model}.emissions_tco2e"), rel=tolerance)


def test_a_gemini_prompt_is_0p24_wh():
    """Elsworth et al., arXiv:2508.15734: 0.24 Wh with hosts, idle machines and the building."""
    parts = {f"{part}_wh": value(f"gemini-{name}-energy") for part, name in (("accelerator", "tpu"), ("host", "host"))}
    prompt = fp.inference_footprint(
        **parts, idle_wh=value("gemini-idle-energy"), pue=value("pue-best"), intensity_g_per_kwh=125
    )
    assert prompt.query_wh == pytest.approx(value("gemini-median-prompt"), rel=0.01)
    assert prompt.accelerator_wh / prompt.query_wh == pytest.approx(value("gemini-tpu-share") / 100, abs=0.01)
    assert prompt.query_carbon_g == pytest.approx(value("gemini-prompt-carbon"), rel=0.01)


def test_a_gpt4o_answer_is_0p3_wh():
    """Epoch AI, 2025-02: 500 tokens, 100e9 weights in use, a tenth of an H100's peak, 1.5 times 700 W."""
    rate, power_w = 1e12 * value("h100-sxm5-80gb.peak_dense_tflops_bf16"), 1.5 * value("h100-sxm5-80gb.tdp_w")
    wh = fp.answer_wh(tokens=500, params_active=100e9, flops_per_s=rate, power_w=power_w, utilization=0.1)
    assert wh == pytest.approx(value("gpt4o-prompt"), rel=0.03)


def test_de_vries_servers():
    """Joule 7(10):2191: 85.4 TWh for 1.5 million servers, 134.0 TWh of the larger kind, 29.2 TWh for every search."""
    fleet = value("devries-nvidia-servers")
    assert fp.servers_energy(fleet, value("dgx-a100-power")) / 1e9 == pytest.approx(85.4, rel=0.001)
    assert fp.servers_energy(fleet, value("dgx-h100-power")) / 1e9 == pytest.approx(134.0, rel=0.001)
    google = fp.servers_energy(value("devries-google-servers"), value("dgx-a100-power"))
    assert google / 1e9 == pytest.approx(29.2, rel=0.001)
    searches = fp.inference_footprint(
        accelerator_wh=1000 * google / (365 * value("google-searches")),
        queries_per_day=value("google-searches"),
        region="US",
    )
    assert searches.year_twh == pytest.approx(google / 1e9)
    assert searches.query_wh == pytest.approx(8.9, abs=0.05)


def test_gpt3_against_bloom_is_energy_times_grid():
    """552 / 24.7 = 22.3 = 2.97 x 7.53."""
    energy = gpt3().energy_kwh / bloom().energy_kwh
    grid = gpt3().intensity_g_per_kwh / bloom().intensity_g_per_kwh
    assert energy == pytest.approx(2.97, abs=0.01)
    assert grid == pytest.approx(7.53, abs=0.01)
    assert gpt3().carbon_g / bloom().carbon_g == pytest.approx(energy * grid)


def test_the_split_of_2024_and_what_the_averages_leave():
    split = fp.split_energy(460e9, compute=0.4, other_it=0.2, cooling=0.4)
    assert split.pue == pytest.approx(5 / 3)
    assert (split.compute_kwh, split.other_it_kwh, split.cooling_kwh) == pytest.approx((184e9, 92e9, 184e9))
    assert fp.overhead_share(value("pue-average")) == pytest.approx(0.35, abs=0.001)
    assert fp.overhead_share(value("pue-best")) == pytest.approx(0.083, abs=0.001)


# Laws -----------------------------------------------------------------------------------------------------------------

AMOUNT = st.floats(1e-3, 1e9)
GRID = st.floats(2, DIRTIEST_G_PER_KWH)
PUE = st.floats(1, 5)


@given(
    hours=AMOUNT,
    power_w=st.floats(1, 1e4),
    pue=PUE,
    grid=GRID,
    idle_kwh=AMOUNT,
    embodied_g=AMOUNT,
    factor=st.floats(1, 100),
)
def test_training_is_linear_and_its_parts_add_up(hours, power_w, pue, grid, idle_kwh, embodied_g, factor):
    given_ = {"power_w": power_w, "pue": pue, "intensity_g_per_kwh": grid}
    run = fp.training_footprint(device_hours=hours, idle_kwh=idle_kwh, embodied_g=embodied_g, **given_)
    more = fp.training_footprint(
        device_hours=hours * factor, idle_kwh=idle_kwh * factor, embodied_g=embodied_g * factor, **given_
    )
    assert more.carbon_g == pytest.approx(factor * run.carbon_g, rel=1e-9)
    assert run.energy_kwh == pytest.approx((hours * power_w / 1e3 + idle_kwh) * pue, rel=1e-9)
    assert run.carbon_g == pytest.approx(run.operational_g + embodied_g, rel=1e-12)


@given(compute=AMOUNT, other=AMOUNT, pue=PUE)
def test_parts_of_a_data_centre_and_its_pue_are_two_ways_to_say_it(compute, other, pue):
    centre = fp.datacentre_energy(compute_kwh=compute, other_it_kwh=other, pue=pue)
    assert centre.pue == pytest.approx(pue, rel=1e-9)
    assert centre.overhead_kwh / centre.total_kwh == pytest.approx(fp.overhead_share(pue), abs=1e-9)


@given(kwh=AMOUNT, grid=GRID, embodied_g=AMOUNT, units=st.floats(1, 1e9))
def test_sci_times_its_units_is_the_whole(kwh, grid, embodied_g, units):
    rate = fp.sci(energy_kwh=kwh, intensity_g_per_kwh=grid, embodied_g=embodied_g, functional_units=units)
    assert rate * units == pytest.approx(kwh * grid + embodied_g, rel=1e-9)
    assert fp.sci(energy_kwh=kwh, intensity_g_per_kwh=grid, embodied_g=embodied_g, functional_units=2 * units) < rate


@given(before=st.floats(0.01, 100), ratio=st.floats(0.01, 0.9), uses=st.floats(1, 1e9), elasticity=st.floats(0, 2))
def test_rebound_is_zero_without_more_use_and_all_at_elasticity_one(before, ratio, uses, elasticity):
    def share(e):
        after = fp.uses_after_saving(uses, cost_ratio=ratio, elasticity=e)
        return fp.rebound(before_wh=before, after_wh=before * ratio, uses_before=uses, uses_after=after).share

    assert share(0) == pytest.approx(0, abs=1e-9)
    assert share(1) == pytest.approx(1, rel=1e-9)
    assert (share(elasticity) > 1) == (elasticity > 1) or elasticity == pytest.approx(1, abs=1e-9)


@given(invested=AMOUNT, per_use=st.floats(1e-3, 1e3))
def test_at_break_even_use_equals_the_investment(invested, per_use):
    assert fp.break_even(invested, per_use) * per_use / 1e3 == pytest.approx(invested, rel=1e-9)


# Arrays ---------------------------------------------------------------------------------------------------------------


def test_a_million_runs_at_once_equal_a_loop_over_a_sample():
    rng, n = np.random.default_rng(0), 1_000_000
    inputs = {
        "device_hours": rng.uniform(1, 1e7, n), "power_w": rng.uniform(100, 1000, n), "pue": rng.uniform(1, 2, n),
        "intensity_g_per_kwh": rng.uniform(20, 800, n), "idle_kwh": rng.uniform(0, 1e5, n), "embodied_g":
        rng.uniform(0, 1e7, n),
    }  # fmt: skip
    runs = fp.training_footprint(**inputs)
    query = {
        "accelerator_wh": rng.uniform(0.01, 10, n), "pue": inputs["pue"], "queries_per_day": inputs["device_hours"],
        "intensity_g_per_kwh": inputs["intensity_g_per_kwh"],
    }  # fmt: skip
    answers = fp.inference_footprint(**query)
    rates = fp.sci(
        energy_kwh=runs.energy_kwh,
        intensity_g_per_kwh=runs.intensity_g_per_kwh,
        functional_units=inputs["device_hours"],
    )
    fleets = fp.servers_energy(inputs["device_hours"], inputs["power_w"] / 100, pue=inputs["pue"])
    for i in rng.integers(0, n, 200):
        one = fp.training_footprint(**{name: float(column[i]) for name, column in inputs.items()})
        assert runs.carbon_g[i] == pytest.approx(one.carbon_g, rel=1e-12)
        assert answers.year_kwh[i] == pytest.approx(
            fp.inference_footprint(**{name: float(column[i]) for name, column in query.items()}).year_kwh, rel=1e-12
        )
        hours, grid = float(inputs["device_hours"][i]), float(inputs["intensity_g_per_kwh"][i])
        assert rates[i] == pytest.approx(
            fp.sci(energy_kwh=one.energy_kwh, intensity_g_per_kwh=grid, functional_units=hours), rel=1e-12
        )
        assert fleets[i] == pytest.approx(
            fp.servers_energy(hours, float(inputs["power_w"][i]) / 100, pue=float(inputs["pue"][i])), rel=1e-12
        )


def test_a_series_keeps_its_index_and_lists_are_arrays():
    grids = pd.Series({"FR": 44.0, "PL": 615.0})
    run = fp.training_footprint(device_hours=1000, power_w=400, intensity_g_per_kwh=grids)
    assert run.carbon_t.to_dict() == pytest.approx({"FR": 0.0176, "PL": 0.246})
    split = fp.datacentre_energy(compute_kwh=[80, 90], pue=[1.25, 2])
    assert split.cooling_kwh.tolist() == [20, 90]


# What is refused ------------------------------------------------------------------------------------------------------

RUN = {"device_hours": 1000, "power_w": 400, "intensity_g_per_kwh": 400}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fp.training_footprint(**RUN | {"power_w": -400}),
            r"power_w=-400: give a finite number at least 0 .*; in W",
        ),
        (
            lambda: fp.training_footprint(**RUN, pue=0.9),
            r"pue=0.9: .* at least 1 and at most 5; it is total energy over IT energy",
        ),
        (
            lambda: fp.training_footprint(**RUN | {"intensity_g_per_kwh": 0.344}),
            r"looks like kg/kWh, which is 344 g/kWh",
        ),
        (lambda: fp.training_footprint(**RUN | {"intensity_g_per_kwh": 0}), r"no grid is outside"),
        (
            lambda: fp.training_footprint(**RUN | {"intensity_g_per_kwh": 344000}),
            r"at least 2 and at most 2500; in g/kWh",
        ),
        (
            lambda: fp.training_footprint(device_hours=1, power_w=1, region="Grmany"),
            r"no region.*close to it: .*DE \(Germany\)",
        ),
        (lambda: fp.training_footprint(device_hours=1, power_w=1), r"exactly one of them, such as region='DE'"),
        (lambda: fp.training_footprint(**RUN, region="DE"), r"exactly one of them"),
        (lambda: fp.training_footprint(power_w=1, region="DE"), r"device_hours=None and flops=None"),
        (lambda: fp.training_footprint(flops=1e20, power_w=1, region="DE"), r"flops_per_s is missing"),
        (
            lambda: fp.training_footprint(flops=1e20, flops_per_s=312, power_w=1, region="DE"),
            r"must be multiplied by 1e12",
        ),
        (lambda: fp.device_hours_of(1e20, 1e12, 40), r"utilization=40: .* fractions: 0.4, not 40"),
        (lambda: fp.training_footprint(**RUN | {"power_w": [400, -1]}), r"power_w holds -1.0 at position 1"),
        (lambda: fp.training_footprint(**RUN | {"power_w": "400 W"}), r"power_w='400 W' is str: give a finite number"),
        (lambda: fp.training_footprint(**RUN | {"power_w": float("nan")}), r"power_w=nan: give a finite number"),
        (lambda: fp.inference_footprint(accelerator_wh=-1, region="DE"), r"accelerator_wh=-1"),
        (lambda: fp.datacentre_energy(compute_kwh=1, cooling_kwh=1, pue=1.2), r"exactly one of them"),
        (lambda: fp.datacentre_energy(compute_kwh=0, cooling_kwh=1), r"no PUE"),
        (lambda: fp.datacentre_energy(compute_kwh=10, losses_kwh=5, pue=1.1), r"cooling_kwh=-3.99.*smaller losses"),
        (lambda: fp.split_energy(1, compute=0.4, other_it=0.2, cooling=0.3), r"= 0.9, not 1"),
        (lambda: fp.servers_energy(100, 6500), r"power_kw=6500: .* 6.5, not 6500"),
        (
            lambda: fp.sci(energy_kwh=1, region="DE", functional_units=0),
            r"functional_units=0: .* above 0 .*per unit of work",
        ),
        (lambda: fp.embodied_share(1, hours_used=3, lifetime_h=2), r"longer than it lives"),
        (lambda: fp.rebound(before_wh=1, after_wh=2, uses_before=1, uses_after=1), r"became cheaper"),
        (lambda: fp.break_even(1, 0), r"never reaches the investment"),
        (lambda: fp.uses_after_saving(1, cost_ratio=0, elasticity=1), r"cost_ratio=0"),
    ],
)
def test_bad_input_is_named_with_its_remedy(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_the_grid_is_that_of_the_table():
    assert check_intensity("Germany", None) == check_intensity("DE", None) == value("DE.intensity_g_per_kwh")


# Whole numbers, Series that do not fit, arguments without effect ------------------------------------------------------


def test_whole_numbers_do_not_overflow():
    """GPT-3: 6 x 175e9 x 300e9 = 3.15e23 is beyond 64 bits."""
    n, d = np.array([175_000_000_000]), np.array([300_000_000_000])
    assert fp.training_flops(n, d).tolist() == [3.15e23]
    assert fp.training_flops(pd.Series(n), pd.Series(d)).tolist() == [3.15e23]
    assert fp.training_flops(175_000_000_000, [300_000_000_000]).tolist() == [3.15e23]
    run = fp.training_footprint(device_hours=np.array([2**62]), power_w=np.array([700]), intensity_g_per_kwh=[400])
    assert run.energy_kwh == pytest.approx([2**62 * 0.7])
    part = fp.TrainingFootprint(np.array([1]), np.array([2**62]), np.array([2**62]), np.array([2**62]), 400, 0)
    assert part.energy_kwh.tolist() == [3 * 2.0**62]


def test_uses_after_a_saving_take_whole_numbers():
    assert fp.uses_after_saving(100, cost_ratio=[1, 2], elasticity=1).tolist() == [100, 50]
    assert fp.uses_after_saving(100, cost_ratio=np.array([1, 2]), elasticity=np.array([1, 1])).tolist() == [100, 50]


FR, DE = pd.Series({"FR": 10.0, "PL": 20.0}), pd.Series({"DE": 10.0, "PL": 20.0})


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda a, b: fp.sci(energy_kwh=a, functional_units=b, intensity_g_per_kwh=400),
         "energy_kwh and functional_units"),
        (lambda a, b: fp.sci(energy_kwh=1, functional_units=1, embodied_g=a, intensity_g_per_kwh=b),
         "intensity_g_per_kwh and embodied_g"),
        (fp.break_even, "invested_kwh and per_use_wh"),
        (fp.training_flops, "params_active and tokens"),
        (lambda a, b: fp.training_footprint(device_hours=a, power_w=b, region="DE"), "device_hours and power_w"),
        (lambda a, b: fp.inference_footprint(accelerator_wh=a, queries_per_day=b, region="DE"),
         "accelerator_wh and queries_per_day"),
        (lambda a, b: fp.datacentre_energy(compute_kwh=a, cooling_kwh=b), "compute_kwh and cooling_kwh"),
        (fp.servers_energy, "n_servers and power_kw"),
        (lambda a, b: fp.uses_after_saving(a, cost_ratio=b, elasticity=1), "uses_before and cost_ratio"),
        (lambda a, b: fp.rebound(before_wh=a, after_wh=1, uses_before=1, uses_after=b), "before_wh and uses_after"),
        (lambda a, b: fp.embodied_share(a, hours_used=b, lifetime_h=1e4), "embodied_g and hours_used"),
        (lambda a, b: fp.device_hours_of(a, b * 1e9), "flops and flops_per_s"),
    ],
)  # fmt: skip
def test_series_of_different_indexes_and_arrays_of_different_shapes_are_refused(call, names):
    call(FR, FR)
    for other in (DE, FR[::-1]):
        with pytest.raises(ValueError, match=f"{names} are Series of different indexes"):
            call(FR, other)
    with pytest.raises(ValueError, match=f"{names} have the shapes"):
        call(np.full(2, 5.0), np.full(3, 5.0))


@pytest.mark.parametrize("extra", [{"utilization": 0.4}, {"utilization": -7}, {"flops_per_s": 1e12}])
def test_an_argument_without_effect_is_refused(extra):
    with pytest.raises(ValueError, match=f"{next(iter(extra))}=.* has no effect on device_hours"):
        fp.training_footprint(**RUN | extra)


def test_utilization_is_all_of_the_peak_if_left_out():
    work = {"flops": 3.6e18, "flops_per_s": 1e15, "power_w": 1000, "region": "DE"}
    assert fp.training_footprint(**work).device_hours == 1
    assert fp.training_footprint(**work, utilization=0.5).device_hours == 2


BAD = [None, "1", True, float("nan"), float("inf"), -1.0, 1e300, [], ["1"], {"a": 1}, pd.DataFrame({"a": [1.0]})]
CALLS = {
    fp.training_flops: {"params_active": 1e9, "tokens": 1e9},
    fp.device_hours_of: {"flops": 1e18, "flops_per_s": 1e15, "utilization": 0.5},
    fp.training_footprint: {"power_w": 400, "device_hours": 10, "intensity_g_per_kwh": 400, "pue": 1.1, "idle_kwh": 0,
    "embodied_g": 0},
    fp.inference_footprint: {"accelerator_wh": 1, "host_wh": 1, "idle_wh": 1, "pue": 1.1, "queries_per_day": 1,
                             "intensity_g_per_kwh": 400, "embodied_g": 0},
    fp.answer_wh: {"tokens": 1, "params_active": 1e9, "flops_per_s": 1e15, "power_w": 700, "utilization": 0.5},
    fp.datacentre_energy: {"compute_kwh": 1, "other_it_kwh": 1, "losses_kwh": 0, "cooling_kwh": 1},
    fp.split_energy: {"total_kwh": 1, "compute": 0.4, "other_it": 0.2, "cooling": 0.3, "losses": 0.1},
    fp.overhead_share: {"pue": 1.1},
    fp.servers_energy: {"n_servers": 1, "power_kw": 1, "utilization": 1, "pue": 1.1, "hours": 1},
    fp.embodied_share: {"embodied_g": 1, "hours_used": 1, "lifetime_h": 2, "share_of_device": 1},
    fp.sci: {"energy_kwh": 1, "functional_units": 1, "embodied_g": 1, "intensity_g_per_kwh": 400},
    fp.break_even: {"invested_kwh": 1, "per_use_wh": 1},
    fp.rebound: {"before_wh": 2, "after_wh": 1, "uses_before": 1, "uses_after": 1},
    fp.Rebound: {"before_wh": 2, "after_wh": 1, "uses_before": 1, "uses_after": 1},
    fp.uses_after_saving: {"uses_before": 1, "cost_ratio": 1, "elasticity": 1},
    fp.DatacentreEnergy: {"compute_kwh": 1, "other_it_kwh": 1, "cooling_kwh": 1, "losses_kwh": 1},
    fp.TrainingFootprint: {"device_hours": 1, "devices_kwh": 1, "idle_kwh": 1, "overhead_kwh": 1,
    "intensity_g_per_kwh": 400, "embodied_g": 0},
    fp.InferenceFootprint: {"accelerator_wh": 1, "host_wh": 1, "idle_wh": 1, "overhead_wh": 1, "queries_per_day": 1,
                            "intensity_g_per_kwh": 400, "embodied_g": 0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("function", "name", "value"),
    [(function, name, value) for function, inputs in CALLS.items() for name in inputs for value in BAD],
)
def test_every_amount_of_every_function_is_checked_and_named(function, name, value):
    function(**CALLS[function])
    with pytest.raises((ValueError, TypeError), match=name):
        function(**CALLS[function] | {name: value})


@pytest.mark.parametrize("region", [5, True, ["DE"], ""])
def test_a_region_that_is_no_name_is_refused(region):
    with pytest.raises((ValueError, TypeError), match="region"):
        fp.sci(energy_kwh=1, functional_units=1, region=region)


def test_without_a_saving_there_is_no_rebound():
    with pytest.raises(ValueError, match="before_wh and after_wh are the same"):
        _ = fp.Rebound(1, 1, 1, 2).share
