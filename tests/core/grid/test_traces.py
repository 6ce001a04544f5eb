"""core.grid.traces: a tidy frame in, arrays out; the error for a bad frame names the row."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlab.core.grid.traces import Traces


def frame(n=48, zones=("DE", "FR"), start="2020-03-28", **columns):
    times = pd.date_range(start, periods=n, freq="h", tz="UTC")
    parts = [
        pd.DataFrame({"zone": z, "time": times, "intensity_g_per_kwh": 100.0 * (i + 1) + np.arange(n)})
        for i, z in enumerate(zones)
    ]
    return pd.concat(parts, ignore_index=True).assign(basis="computed", filled=False, **columns)


def test_a_frame_becomes_arrays_in_the_order_of_its_zones():
    traces = Traces.from_frame(frame(zones=("FR", "DE")))
    assert traces.zones == ("FR", "DE")
    assert (traces.n_steps, traces.step_h, str(traces.start)) == (48, 1.0, "2020-03-28 00:00:00+00:00")
    assert traces.intensity_g_per_kwh[1, :2].tolist() == [200, 201]
    assert traces.time(1.5) == pd.Timestamp("2020-03-28 01:30Z")
    assert traces.select(["DE"]).intensity_g_per_kwh[0, 0] == 200
    with pytest.raises(ValueError, match="read-only"):
        traces.intensity_g_per_kwh[0, 0] = 1


@given(st.integers(1, 3), st.integers(2, 40), st.sampled_from([1.0, 0.5, 0.25]), st.randoms())
@settings(max_examples=100, deadline=None)
def test_there_and_back_whatever_the_order_of_the_rows(n_zones, n_steps, step_h, random):
    rng = np.random.default_rng(random.randint(0, 99))
    shape = (n_zones, n_steps)
    traces = Traces(tuple("ABC"[:n_zones]), "2020-02-28", step_h, rng.uniform(6, 900, shape), ("modelled",) * n_zones,
                    rng.uniform(6, 900, shape), rng.uniform(0, 1, shape), rng.normal(0, 1, shape))  # fmt: skip
    table = traces.to_frame()
    again = Traces.from_frame(table.sample(frac=1, random_state=1)).select(traces.zones)
    for name in ("intensity_g_per_kwh", "marginal_g_per_kwh", "curtailed_share", "price_per_kwh"):
        assert (getattr(again, name) == getattr(traces, name)).all()
    assert (again.zones, again.start, again.step_h, again.basis) == (traces.zones, traces.start, step_h, traces.basis)


def test_hours_are_cut_into_equal_halves():
    half = Traces.from_frame(frame(), step_h=0.5)
    assert (half.n_steps, half.end) == (96, pd.Timestamp("2020-03-30", tz="UTC"))
    assert half.intensity_g_per_kwh[0, :4].tolist() == [100, 100, 101, 101]
    with pytest.raises(ValueError, match=r"step_h=0.7: expected the frame's step of 1 h or a whole fraction"):
        Traces.from_frame(frame(), step_h=0.7)


def test_local_times_with_their_zone_are_converted_over_both_changes_of_the_clocks():
    for start in ("2020-03-28", "2020-10-24"):
        local = frame(72, start=start).assign(time=lambda t: t["time"].dt.tz_convert("Europe/Berlin"))
        assert Traces.from_frame(local).n_steps == 72


def test_a_modelled_hour_makes_the_zone_modelled():
    mixed = frame()
    mixed.loc[50, "basis"] = "modelled"
    assert Traces.from_frame(mixed).basis == ("computed", "modelled")


def without(row):
    return frame().drop(index=row)


def with_value(row, value, name="intensity_g_per_kwh"):
    table = frame()
    table.loc[row, name] = value
    return table


def local_without_zone():
    """What an export in local time looks like in autumn: 02:00 twice."""
    times = pd.date_range("2020-10-24", periods=48, freq="h", tz="UTC").tz_convert("Europe/Berlin").tz_localize(None)
    return frame().assign(time=np.tile(times, 2))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (lambda: without(7), "zone DE has no row for 2020-03-28 07:00.*1 missing in all.*fill the gap and mark it"),
        (lambda: pd.concat([frame(), frame().iloc[[5]]]),
         "row 96: zone DE has 2020-03-28 05:00.*twice.*drop_duplicates"),
        (local_without_zone, "row 25: zone DE has 2020-10-25 02:00.*twice; local time repeats an hour in autumn"),
        (lambda: with_value(50, np.nan), "row 50: intensity_g_per_kwh of zone FR at 2020-03-28 02:00.*is NaN; fill it"),
        (lambda: with_value(3, -1.0), "zone DE at 2020-03-28 03:00.*is -1.*expected a number from 0"),
        (lambda: frame().assign(intensity_g_per_kwh=0.3),
         "zone DE: its median 0.3 looks like kg/kWh, which is 300 g/kWh; multiply by 1000"),
        (lambda: frame().assign(curtailed_share=40.0), "curtailed_share of zone DE.*is 40.*from 0 to 1"),
        (lambda: frame().drop(columns="zone"), "frame has no column 'zone', only"),
        (lambda: frame().iloc[:0], "frame has no rows"),
        (lambda: frame().assign(basis="guessed"), "basis=.*expected one of"),
        (lambda: frame().assign(time=lambda t: t["time"] + pd.to_timedelta([5] + [0] * 95, unit="min")),
         "no row"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_frame_is_named(table, words):
    with pytest.raises(ValueError, match=words):
        Traces.from_frame(table())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Traces(("A",), "2020", 0.0, [[100.0]]), "step_h=0.0"),
        (lambda: Traces(("A", "A"), "2020", 1.0, [[100.0]] * 2), "each once"),
        (lambda: Traces(("A", "B"), "2020", 1.0, [[100.0]]), r"shape \(1, 1\): expected \(2 zones"),
        (
            lambda: Traces(("A",), "2020", 1.0, [[100.0, 90.0]], price_per_kwh=[[1.0]]),
            r"price_per_kwh has shape \(1, 1\)",
        ),
        (lambda: Traces(("A",), "2020", 1.0, [[100.0, np.inf]]), "is inf"),
        (lambda: Traces(("A",), "2020", 1.0, [[100.0]]).index("B"), "no zone 'B'; known: A; grid.load gives more"),
    ],
)
def test_what_is_wrong_with_arrays_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# ---- numbers that are no traces --------------------------------------------------------------------------------------


GOOD = {"zones": ("A",), "start": "2020", "step_h": 1.0, "intensity_g_per_kwh": [[300.0, 310.0]]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("start", None), ("start", 5), ("start", True), ("start", "yesterday"), ("start", pd.NaT), ("start", np.nan),
        ("step_h", "1"), ("step_h", True), ("step_h", np.nan), ("step_h", np.inf), ("step_h", -1.0), ("step_h", None),
        ("step_h", 1e300),
        ("zones", ()), ("zones", 5), ("zones", None), ("zones", (1,)), ("basis", ("guessed",)), ("basis", 5),
        ("basis", ("file", "file")),
        ("intensity_g_per_kwh", [["300", "310"]]), ("intensity_g_per_kwh", [[True, True]]), ("intensity_g_per_kwh",
         None),
        ("intensity_g_per_kwh", np.array([["2020-01-01", "2020-01-02"]], "M8[D]")), ("intensity_g_per_kwh", [[300,
         310j]]),
        ("intensity_g_per_kwh", [[1e308, 300.0]]), ("intensity_g_per_kwh", [[np.nan, 300.0]]), ("intensity_g_per_kwh",
         []),
        ("intensity_g_per_kwh", [[300.0], [300.0, 310.0]]), ("intensity_g_per_kwh", [[[300.0, 310.0]]]),
        ("price_per_kwh", [["1", "2"]]), ("price_per_kwh", [[1e300, 1.0]]), ("curtailed_share", [[0.5, 1.5]]),
        ("marginal_g_per_kwh", [[0.4, 0.5]]), ("marginal_g_per_kwh", [[-1.0, 300.0]]),
    ],
)  # fmt: skip
def test_every_argument_of_the_traces_is_checked_and_named(name, value):
    Traces(**GOOD)
    with pytest.raises((ValueError, TypeError), match=name):
        Traces(**GOOD | {name: value})


def test_a_zone_of_a_file_may_be_as_clean_as_its_reader_found_it():
    """Direct emissions of hydropower: `grid.read` looked at the unit; the same values with another basis are
    refused."""
    low = [[0.5, 0.4, 0.0]]
    assert Traces(("IS",), "2020", 1.0, low, ("file",)).select(["IS"]).intensity_g_per_kwh.tolist() == low
    with pytest.raises(ValueError, match=r"zone IS: its median 0.45 looks like kg/kWh"):
        Traces(("IS",), "2020", 1.0, low)
    assert Traces(("NO",), "2020", 1.0, [[2.9, 3.3]]).n_steps == 2


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (lambda: frame().assign(time=lambda t: t["time"].astype("int64")), "time of row 0 is .*a number"),
        (lambda: frame().assign(time="soon"), "time of row 0 is 'soon', not a time"),
        (lambda: frame().assign(intensity_g_per_kwh="300"), "intensity_g_per_kwh"),
        (lambda: frame().assign(intensity_g_per_kwh=True), "intensity_g_per_kwh does not hold numbers but bool"),
        (lambda: frame().assign(basis=["file", "computed"] * 48), "basis of zone DE is computed and file"),
        (lambda: pd.concat([frame(), frame(1, start="1950-01-01")]),
         "frame has times from 1950-01-01.*drop the stray rows"),
        (lambda: pd.concat([frame(), frame(1, start="1700-01-01")]),
         "time of row 96 is 1700-01-01.*years from 1900 to 2150"),
        (lambda: "DE", "frame is str: give a DataFrame"),
    ],
)  # fmt: skip
def test_a_frame_of_another_kind_is_refused(table, words):
    with pytest.raises((ValueError, TypeError), match=words):
        Traces.from_frame(table())


@pytest.mark.parametrize("step_h", ["1", True, np.nan, 0, -1, np.inf])
def test_a_step_that_is_no_length_is_refused(step_h):
    with pytest.raises((ValueError, TypeError), match="step_h"):
        Traces.from_frame(frame(), step_h=step_h)


@pytest.mark.parametrize("step", ["1", None, True, np.nan, np.inf, 1e300])
def test_a_step_that_is_no_number_has_no_time(step):
    with pytest.raises((ValueError, TypeError), match="step"):
        Traces(**GOOD).time(step)
