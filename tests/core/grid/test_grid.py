"""The committed hourly tables: whole, verified, in UTC, near to published means; and what load, zones and generation
give."""

import hashlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from greenlab.core import facts, grid
from greenlab.core.grid import modelled as grid_modelled
from greenlab.core.grid import page as grid_pages
from greenlab.core.grid import sources as grid_sources
from greenlab.core.grid import store
from greenlab.core.grid.modelled import Place

FINDINGS = pd.DataFrame(grid_pages.read_csv(store.FOLDER / "findings.csv"))
USED = FINDINGS[FINDINGS["left_out"] == ""]
YEARS = (2018, 2019, 2020)


# ---- the committed tables --------------------------------------------------------------------------------------------


def test_the_tables_are_the_ones_that_were_hashed():
    lines = (store.FOLDER / "SHA256SUMS").read_text().split("\n")[:-1]
    assert [line.split()[1] for line in lines] == [f"{year}.npz" for year in YEARS]
    for line in lines:
        expected, name = line.split()
        assert hashlib.sha256((store.FOLDER / name).read_bytes()).hexdigest() == expected, name


def test_the_tables_are_small_and_free_of_pickle():
    for year in YEARS:
        path = store.FOLDER / f"{year}.npz"
        assert path.stat().st_size < 1_000_000
        with np.load(path, allow_pickle=False) as arrays:
            assert all(arrays[name].dtype.kind in "uU" for name in arrays.files)


@pytest.mark.parametrize("year", YEARS)
def test_a_year_is_whole(year):
    table = store.read(year)
    hours = 8784 if year == 2020 else 8760
    assert table.intensity_g_per_kwh.shape == (len(table.zones), hours)
    assert list(table.zones) == sorted(table.zones)
    assert 10 < table.intensity_g_per_kwh.min() < table.intensity_g_per_kwh.max() <= 820
    assert np.allclose(table.shares.sum(axis=1), 1)
    assert table.filled.mean() < 0.01


def test_25_countries_have_at_least_two_years_and_19_have_three():
    computed = grid.zones().query("basis == 'computed'")
    assert len(computed) == 25
    assert all({2018, 2019} <= set(years) for years in computed["years"])
    assert sum(len(years) == 3 for years in computed["years"]) == 19


@pytest.mark.parametrize("year", YEARS)
def test_intensity_follows_from_the_shares(year):
    """To the rounding of the shares: ten sources at half a per cent and at most 820 g/kWh; offshore wind is 1 g
    more."""
    table = store.read(year)
    factors = np.array([grid_sources.factors()[source] for source in grid_sources.SOURCES])
    again = np.einsum("zsh,s->zh", table.shares, factors)
    assert np.abs(again - table.intensity_g_per_kwh).max() < 8
    assert np.abs((again - table.intensity_g_per_kwh).mean(axis=1)).max() < 2


@pytest.mark.parametrize("month", [1, 7])
@pytest.mark.parametrize("zone", ["DE", "ES", "FR", "GB", "GR", "IT", "PT", "RO", "BE"])
def test_the_sun_stands_highest_where_the_longitude_puts_it(zone, month):
    """In UTC and in both winter and summer: an hour lost or doubled when clocks change would show."""
    row = grid.zones().set_index("zone").loc[zone]
    shares = grid.generation(zone, 2019).query("source == 'solar'")
    hours = shares[shares["time"].dt.month == month].groupby(shares["time"].dt.hour)["share"].mean()
    noon = ((hours.index + 0.5) * hours).sum() / hours.sum()
    days = pd.date_range(f"2019-{month:02d}-01", periods=24 * 31 * 4, freq="15min", tz="UTC")
    light = grid_modelled.clear_sky(grid_modelled.sun_sine(days, row["latitude"], row["longitude"]))
    expected = np.average(days.hour.to_numpy() + days.minute.to_numpy() / 60, weights=light)
    assert noon == pytest.approx(expected, abs=0.6)


# ---- against published numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", USED.to_dict("records"), ids=lambda row: f"{row['zone']}-{row['year']}")
def test_annual_means_are_near_embers_or_the_difference_is_explained(row):
    """The table in data/grid/README.md says what the committed hours say; more than 15 % needs a remark."""
    zone, year = row["zone"], int(row["year"])
    ember = facts.value(f"ember-{zone.lower()}.intensity_{year}_g_per_kwh")
    assert float(row["ember_g_per_kwh"]) == ember
    assert float(row["deviation_percent"]) == pytest.approx(
        100 * (float(row["intensity_g_per_kwh"]) / ember - 1), abs=0.1
    )
    frame = grid.load(zone, year)
    assert frame["intensity_g_per_kwh"].mean() == pytest.approx(float(row["mean_of_hours_g_per_kwh"]), abs=0.1)
    assert float(row["mean_of_hours_g_per_kwh"]) == pytest.approx(
        float(row["intensity_g_per_kwh"]), rel=0.13
    )  # weighted
    assert frame["filled"].sum() == float(row["filled_hours"])
    if abs(float(row["deviation_percent"])) > 15:
        assert grid.zones().set_index("zone")["remark"][zone]


def test_most_years_are_within_fifteen_percent():
    deviation = USED["deviation_percent"].astype(float).abs()
    assert len(USED) == 69
    assert (deviation <= 15).sum() >= 45
    assert deviation.median() < 12
    far = USED[deviation > 25]
    assert set(far["zone"]) == {"CH", "LV"}


@pytest.mark.parametrize("zone", ["GB", "SE", "IT", "HU", "DK", "PT", "FR"])
def test_grids_without_lignite_agree_well(zone):
    assert USED[USED["zone"] == zone]["deviation_percent"].astype(float).abs().max() < 10


def test_grids_that_are_known_for_it():
    """France is nuclear, Norway water, Poland coal; Germany's Sunday noon in May is cleaner than its January
    evening."""
    means = {zone: grid.load(zone, 2019)["intensity_g_per_kwh"].mean() for zone in ("NO", "SE", "FR", "DE", "PL")}
    assert list(means) == sorted(means, key=means.__getitem__)
    shares = {zone: grid.generation(zone, 2019).groupby("source")["share"].mean() for zone in ("FR", "NO", "PL")}
    assert shares["FR"]["nuclear"] > 0.65
    assert shares["NO"]["hydro"] > 0.9
    assert shares["PL"]["coal"] > 0.7
    german = grid.load("DE", 2019).set_index("time")["intensity_g_per_kwh"]
    assert german["2019-05-05 11:00"] < 0.6 * german["2019-01-21 18:00"]


def test_the_page_is_what_the_build_would_write():
    page = (store.FOLDER / "README.md").read_text(encoding="utf-8")
    assert page == grid_pages.render(store.FOLDER), "run `python -m greenlab.core.grid build` and commit data/grid"
    for heading in (
        "## Source and licence",
        "## Method",
        "## Against published means",
        "## Modelled zones",
        "## Left out",
    ):
        assert heading in page


def test_a_large_difference_without_a_remark_is_refused(tmp_path):
    for name in ("findings.csv", "modelled.csv"):
        (tmp_path / name).write_text((store.FOLDER / name).read_text(encoding="utf-8"), encoding="utf-8")
    zones = pd.read_csv(store.FOLDER / "zones.csv", keep_default_na=False)
    zones.loc[zones["zone"] == "RS", "remark"] = ""
    zones.to_csv(tmp_path / "zones.csv", index=False)
    with pytest.raises(
        ValueError, match=r"RS is -20\.3 % from Ember in 2018, more than 15 %: say why in the column remark"
    ):
        grid_pages.render(tmp_path)


def test_every_file_is_described():
    page = (store.FOLDER / "README.md").read_text(encoding="utf-8")
    overview = (store.ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for path in store.FOLDER.iterdir():
        if path.name != "README.md":
            assert path.name in page
            assert path.name in overview


# ---- load, zones, generation -----------------------------------------------------------------------------------------


def test_load_gives_one_row_per_zone_and_hour():
    frame = grid.load(["PL", "FR", "US-CAL"], 2020)
    assert list(frame.columns) == list(grid.COLUMNS)
    assert len(frame) == 3 * 8784
    assert frame["zone"].unique().tolist() == ["PL", "FR", "US-CAL"]  # in the order that was asked for
    assert not frame.duplicated(["zone", "time"]).any()
    assert not frame.isna().any().any()
    assert str(frame["time"].dtype) == "datetime64[ns, UTC]"
    assert frame["filled"].dtype == bool
    assert frame["intensity_g_per_kwh"].dtype == np.float64
    first = frame.groupby("zone")["time"].agg(["min", "max"])
    assert (first["min"] == pd.Timestamp("2020-01-01", tz="UTC")).all()
    assert (first["max"] == pd.Timestamp("2020-12-31 23:00", tz="UTC")).all()
    assert frame.groupby("zone")["basis"].first().to_dict() == {
        "FR": "computed",
        "PL": "computed",
        "US-CAL": "modelled",
    }


def test_one_zone_may_be_given_as_text():
    pd.testing.assert_frame_equal(grid.load("DE", 2019), grid.load(["DE"], 2019))


def test_all_zones_load_in_every_year_they_name():
    for year in YEARS:
        codes = [row.zone for row in grid.zones().itertuples() if year in row.years]
        frame = grid.load(codes, year)
        assert frame["zone"].nunique() == len(codes)
        assert frame["intensity_g_per_kwh"].between(10, 1000).all()


def test_what_is_given_may_be_changed():
    hours, sources, zones = grid.load("DE", 2019), grid.generation("DE", 2019), grid.zones()
    hours["intensity_g_per_kwh"], sources["share"], zones["name"] = 0.0, 0.0, ""
    assert grid.load("DE", 2019)["intensity_g_per_kwh"].mean() > 100
    assert grid.generation("DE", 2019)["share"].sum() == pytest.approx(8760)
    assert "Germany" in set(grid.zones()["name"])


@pytest.mark.parametrize("zone", ["DE", "JP"])
def test_generation_adds_up_to_the_intensity(zone):
    shares = grid.generation(zone, 2019)
    assert list(shares.columns) == ["zone", "time", "source", "share", "basis"]
    assert np.allclose(shares.groupby("time")["share"].sum(), 1)
    assert shares["source"].unique().tolist() == list(grid.SOURCES)
    wide = shares.pivot(index="time", columns="source", values="share")
    again = grid_sources.intensity_g_per_kwh(wide)
    assert np.abs(again.to_numpy() - grid.load(zone, 2019)["intensity_g_per_kwh"]).max() < 8


def test_zones_have_a_place_a_clock_and_years():
    zones = grid.zones()
    assert zones["zone"].is_unique
    assert zones["latitude"].between(-60, 72).all()
    assert zones["longitude"].between(-180, 180).all()
    assert set(zones["basis"]) == {"computed", "modelled"}
    for row in zones.itertuples():
        assert pd.Timestamp("2020-06-01", tz=row.timezone).tz is not None
        assert row.years


@pytest.mark.parametrize(
    ("zones", "year", "message"),
    [
        ("Germny", 2019, r"no zone 'Germny'; close to it: DE \(Germany\)"),
        ("us-ca", 2019, r"no zone 'us-ca'; close to it: .*US-CAL \(California\)"),
        ("XYZZY", 2019, r"no zone 'XYZZY'; known: .* and 24 more; grid\.zones\(\) lists all 36"),
        ("NL", 2019, r"zone='NL' was left out of the tables: solar power .*data/grid/README\.md"),
        ("MK", 2019, r"zone='MK' was left out of the tables: 13\.0 % of the energy missing"),
        ("DE", 2017, r"year=2017: DE has 2018, 2019, 2020; use one of them, or grid\.read"),
        ("SE", 2020, r"year=2020: SE has 2018, 2019"),
        ("US-CAL", 2031, r"year=2031: US-CAL has 2018, 2019, 2020"),
        ([], 2019, r"zones is empty: name at least one"),
        (["DE", "FR", "DE"], 2019, r"zones has 'DE' more than once"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(zones, year, message):
    with pytest.raises(ValueError, match=message):
        grid.load(zones, year)


def test_generation_refuses_what_load_refuses():
    with pytest.raises(ValueError, match="year=2020: NO has 2018, 2019"):
        grid.generation("NO", 2020)


def test_the_package_alone_loads_nothing_heavy():
    code = "import sys, greenlab; print([m for m in ('pandas', 'numpy', 'torch', 'pyarrow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_using_the_grid_needs_neither_pyarrow_nor_torch():
    code = (
        "import sys; sys.modules['pyarrow'] = None; from greenlab.core import grid; grid.load(['DE', 'JP'], 2019); "
        "print([m for m in ('torch', 'altair', 'greenlab.core.grid.build') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ---- modelled zones --------------------------------------------------------------------------------------------------

MODELLED = grid.zones().query("basis == 'modelled'")["zone"].tolist()
FRESNO = Place("US-CAL", 36.8, -119.8, "America/Los_Angeles")


def simulated(zone, year=2019, seed=0):
    row = grid.zones().set_index("zone").loc[zone]
    return grid_modelled.simulate(Place(zone, row["latitude"], row["longitude"], row["timezone"]), year, seed)


@pytest.mark.parametrize("zone", MODELLED)
def test_a_modelled_year_has_the_published_mix_and_mean(zone):
    made = simulated(zone)
    assert (made >= -1e-9).all().all()
    for source in grid.SOURCES:
        assert made[source].sum() / 1e6 == pytest.approx(
            facts.value(f"mix-{zone.lower()}.{source}_twh"), rel=1e-3, abs=1e-6
        )
    total = made.sum(axis=1)
    mean = np.average(grid_sources.intensity_g_per_kwh(made), weights=total)
    published = facts.table("grid_mixes").set_index("zone")["published_g_per_kwh"][zone]
    if not np.isnan(published):
        assert mean == pytest.approx(published, rel=0.15)
    assert set(grid.load(zone, 2019)["basis"]) == {"modelled"}
    assert set(grid.generation(zone, 2019)["basis"]) == {"modelled"}


def test_modelled_years_depend_on_the_seed_and_on_nothing_else():
    one, other = grid.load("AU", 2019), grid.load("AU", 2019, seed=1)
    grid_modelled._simulate.cache_clear()
    pd.testing.assert_frame_equal(one, grid.load("AU", 2019))
    assert not np.allclose(one["intensity_g_per_kwh"], other["intensity_g_per_kwh"])
    assert one["intensity_g_per_kwh"].mean() == pytest.approx(other["intensity_g_per_kwh"].mean(), rel=0.03)


def test_california_has_a_duck_and_the_sun_follows_its_clock():
    made = simulated("US-CAL")
    local = made.index.tz_convert("America/Los_Angeles")
    by_hour = grid_sources.intensity_g_per_kwh(made).groupby(local.hour).mean()
    assert 9 <= by_hour.idxmin() <= 14
    assert by_hour[20] > 1.3 * by_hour[12]
    night = made["solar"][(local.hour <= 3) | (local.hour >= 22)]
    assert night.max() == 0


def test_the_sun_is_on_the_other_side_of_the_world_at_the_same_time():
    """What follow-the-sun needs: when the sun is high in Australia it is night in Brazil."""
    sydney, sao_paulo = simulated("AU")["solar"], simulated("BR")["solar"]
    assert np.corrcoef(sydney, sao_paulo)[0, 1] < -0.2


@pytest.mark.parametrize(
    ("when", "latitude", "longitude", "height"),
    [
        ("2019-06-21 12:02", 23.45, 0.0, 90.0),  # the tropic at the summer solstice
        ("2019-12-21 11:58", 51.48, 0.0, 15.1),  # Greenwich in midwinter: 90 - 51.5 - 23.4
        ("2019-06-21 12:02", 51.48, 0.0, 62.0),
        ("2019-03-21 20:07", 0.0, -120.0, 90.0),  # noon eight hours later, 120 degrees west
    ],
)
def test_height_of_the_sun_at_places_and_days_that_are_known(when, latitude, longitude, height):
    sine = grid_modelled.sun_sine(pd.DatetimeIndex([when], tz="UTC"), latitude, longitude)
    assert np.degrees(np.arcsin(np.clip(sine[0], -1, 1))) == pytest.approx(height, abs=1.0)


def test_ar1_has_the_memory_and_the_spread_that_was_asked_for():
    values = grid_modelled.ar1(200_000, 0.9, np.random.default_rng(0))
    assert np.corrcoef(values[1:], values[:-1])[0, 1] == pytest.approx(0.9, abs=0.01)
    assert values.std() == pytest.approx(1, abs=0.05)


def test_bands_hold_their_energies_and_fill_from_below():
    residual = np.random.default_rng(0).uniform(0, 10, 1000)
    total = residual.sum()
    cut = grid_modelled.bands(residual, {"coal": 0.5 * total, "gas": 0.3 * total, "oil": 0.2 * total})
    assert sum(cut.values()) == pytest.approx(residual)
    assert [cut[name].sum() / total for name in cut] == pytest.approx([0.5, 0.3, 0.2])
    assert (
        cut["gas"][cut["coal"] < cut["coal"].max() - 1e-9] < 1e-9
    ).all()  # gas runs only above the full band of coal


def test_wind_and_sun_are_curtailed_to_what_there_is_room_for():
    used = grid_modelled._curtailed(np.array([0.0, 4.0, 2.0]), np.array([3.0, 3.0, 3.0]), 5.0)
    assert used.tolist() == pytest.approx([0.0, 3.0, 2.0], abs=1e-6)


def test_a_place_without_statistics_is_refused():
    with pytest.raises(ValueError, match=r"no zone 'MARS'; known: AU, BR"):
        grid_modelled.simulate(Place("MARS", 0.0, 0.0, "UTC"), 2019)


# ---- arguments of another kind --------------------------------------------------------------------------------------

TIMES = pd.date_range("2019-01-01", periods=3, freq="h", tz="UTC")
BAD = [None, "1", True, np.nan, np.inf, 1e300, [], {"a": "b"}, object()]
CALLS = {
    grid.load: {"zones": "DE", "year": 2019, "seed": 0},
    grid.generation: {"zone": "DE", "year": 2019, "seed": 0},
    Place: {"zone": "AU", "latitude": 1.0, "longitude": 1.0, "timezone": "UTC"},
    grid_modelled.sun_sine: {"times": TIMES, "latitude": 1.0, "longitude": 1.0},
    grid_modelled.clear_sky: {"sine": [0.5]},
    grid_modelled.ar1: {"n": 3, "memory": 0.5, "rng": np.random.default_rng(0)},
    grid_modelled.load_shape: {"times": TIMES, "place": FRESNO},
    grid_modelled.bands: {"residual": [1.0, 2.0], "energies": {"a": 1.0, "b": 1.0}},
    grid_modelled.simulate: {"place": FRESNO, "year": 2019, "seed": 0},
    grid_sources.intensity_g_per_kwh: {"generation": pd.DataFrame({"coal": [1.0]})},
    grid_sources.shares: {"generation": pd.DataFrame({"coal": [1.0]})},
    store.hours: {"year": 2019},
    store.read: {"year": 2019},
    store.whole_shares: {"shares": np.array([[0.5], [0.5]])},
}


@pytest.mark.parametrize(
    ("function", "name", "value"),
    [
        (function, name, value)
        for function, inputs in CALLS.items()
        for name in inputs
        for value in BAD
        if not (function is Place and name == "zone" and value == "1")  # a code is any text
    ],
)  # fmt: skip
def test_every_argument_is_checked_and_named(function, name, value):
    function(**CALLS[function])
    with pytest.raises((ValueError, TypeError), match=name):
        function(**CALLS[function] | {name: value})


@pytest.mark.parametrize(
    "generation",
    [
        pd.DataFrame({"coal": [-1.0]}), pd.DataFrame({"coal": [np.inf]}), pd.DataFrame({"coal": ["1"]}),
        pd.DataFrame({"coal": [True]}), pd.DataFrame({"fusion": [1.0]}), pd.DataFrame(),
    ],
)  # fmt: skip
def test_generation_is_checked_cell_by_cell(generation):
    for function in (grid_sources.intensity_g_per_kwh, grid_sources.shares):
        with pytest.raises((ValueError, TypeError), match="generation"):
            function(generation)


def test_the_last_hour_of_2020_follows_the_hour_before_it():
    """The raw tables of 2020 end with the local year. ENTSO-E has about 425 g/kWh for Germany's last hour, not 259."""
    hours = grid.load(["DE", "FR", "PL"], 2020).groupby("zone", sort=False).tail(2)
    assert hours["filled"].tolist() == [False, True] * 3
    for _, last in hours.groupby("zone"):
        before, filled = last["intensity_g_per_kwh"]
        assert filled == before
