"""A file of each operator loads, each repair is stated, and what cannot be repaired is refused with row, value and
remedy."""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from greenlab.core import grid
from greenlab.core.grid.files.units import factors_to_g_per_kwh
from greenlab.core.grid.traces import Traces

LB_PER_MWH = 0.45359237  # g/kWh
SAMPLES = Path(__file__).parent / "samples"


def utc(text):
    return pd.Timestamp(text, tz="UTC")


def values(found):
    return found.frame["intensity_g_per_kwh"].tolist()


def plain(rows, header="time,intensity"):
    return "\n".join([header, *rows]).encode()


def day(n=48, start="2020-01-01", step="h", value=300.0):
    times = pd.date_range(start, periods=n, freq=step, tz="UTC")
    return [f"{time:%Y-%m-%dT%H:%MZ},{value + i:g}" for i, time in enumerate(times)]


# ---- one sample of each format ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "arguments", "format", "zone", "first", "expected"),
    [
        ("electricity_maps_2022.csv", {}, "electricity-maps", "DE", "2022-01-01 00:00", [266.18, 253.71, 246.02,
         240.5, 242.33]),
        ("electricity_maps_2024.csv", {}, "electricity-maps", "FR", "2024-07-01 22:00", [27.53, 27.02, 26.48]),
        ("electricity_maps_2024.csv", {"signal": "direct"}, "electricity-maps", "FR", "2024-07-01 22:00", [10.11,
         9.87, 9.42]),
        ("neso_website.csv", {}, "neso", "GB", "2024-03-31 00:00", [115.0, 105.0, 97.0]),
        ("neso_api.json", {}, "neso", "GB", "2024-03-31 00:00", [115.0, 105.0]),
        ("neso_portal.csv", {}, "neso", "GB", "2024-03-18 10:00", [148.0, 129.5]),
        ("plain_berlin.csv", {"timezone": "Europe/Berlin"}, "plain", "file", "2023-03-25 23:00", [400.5, 410.5, 420.5,
         430.5]),
    ],
)  # fmt: skip
def test_a_sample_loads(file, arguments, format, zone, first, expected):
    found = grid.read(SAMPLES / file, **arguments)
    assert (found.format, found.zone) == (format, zone)
    assert found.frame["time"].iloc[0] == utc(first)
    assert values(found) == pytest.approx(expected)
    assert (found.frame["time"].diff().dropna() == pd.Timedelta(hours=1)).all()


def test_a_frame_of_a_file_has_the_columns_of_load():
    frame = grid.read(SAMPLES / "neso_website.csv").frame
    assert list(frame.columns) == list(grid.COLUMNS)
    assert frame.dtypes.astype(str).to_dict() == grid.load("FR", 2019).dtypes.astype(str).to_dict()
    assert set(frame["basis"]) == {"file"}


def test_eia_times_are_ends_of_hours_and_generation_becomes_intensity():
    """1000 coal, 3000 gas, 2000 nuclear, 500 hydro, 1500 solar, 2000 wind of 10,000 MW: (820 + 3 x 490 + 2 x 12 + 0.5 x
    24 + 1.5 x 48 + 2 x 11) / 10 = 242 g/kWh; 4000 gas, 2000 nuclear, 2000 wind of 8000 MW: 250.75 g/kWh."""
    found = grid.read(SAMPLES / "eia930_balance.csv", zone="CISO")
    assert values(found) == pytest.approx([242.0, 250.75])
    assert found.frame["time"].iloc[0] == utc("2020-01-01 08:00")  # the hour that ends at 9:00
    assert "times are ends of hours: moved back by one hour" in found.repairs
    assert "1 negative values of generation (own use) counted as 0" in found.repairs
    assert "1 hours without a value at the ends left out" in found.repairs  # coal is missing there


def test_a_file_with_several_zones_asks_which():
    with pytest.raises(
        ValueError, match=r"zone=None: the file has several in its column 'Balancing Authority'.* CISO, ERCO"
    ):
        grid.read(SAMPLES / "eia930_balance.csv")
    with pytest.raises(ValueError, match="zone='PJM': the file has several"):
        grid.read(SAMPLES / "eia930_balance.csv", zone="PJM")
    assert len(grid.read(SAMPLES / "eia930_balance.csv", zone="ERCO").frame) == 2


def test_new_columns_of_eia_are_understood():
    """Hydropower and storage are split since 2024; storage is left out, the spelling "witho" is EIA's own."""
    head = '"Balancing Authority","UTC Time at End of Hour"'
    fuels = [
        "Coal",
        "Hydropower Excluding Pumped Storage",
        "Pumped Storage",
        "Solar witho Integrated Battery Storage",
        "Battery Storage",
    ]
    text = head + "".join(f',"Net Generation (MW) from {fuel}"' for fuel in fuels)
    text += "\n" + '"PJM","07/01/2025 1:00:00 AM","1,000","1,000","500","0","-400"'
    assert values(grid.read(text.encode())) == [(820 + 24) / 2]


def test_entsoe_quarters_of_the_autumn_night_are_four_hours():
    """Lignite rises by 2000 MW an hour, so every hour has its own value; 02:00 to 03:00 comes twice.

    First hour: 2000 lignite, 500 biomass, 1500 gas, 1000 river, 3000 nuclear, 1000 offshore, 6000 onshore of 15,000 MW.
    """
    found = grid.read(SAMPLES / "entsoe_autumn_cet.csv")
    first = (2000 * 820 + 500 * 230 + 1500 * 490 + 1000 * 24 + 3000 * 12 + 1000 * 12 + 6000 * 11) / 15000
    per_hour = 2000 * (820 - 11) / 15000
    assert values(found) == pytest.approx([first + k * per_hour for k in range(4)])
    assert found.frame["time"].tolist() == [utc("2020-10-24 23:00") + pd.Timedelta(hours=k) for k in range(4)]
    assert any("4 local times occur twice at the autumn change of clocks" in repair for repair in found.repairs)
    assert "16 rows of less than an hour averaged to hours" in found.repairs


def test_entsoe_hours_and_quarters_may_be_mixed():
    found = grid.read(SAMPLES / "entsoe_mixed_utc.csv")
    assert found.zone == "DE-LU"
    assert values(found) == pytest.approx([175.2, (2 * 283.0666667 + 2 * 390.9333333) / 4, 498.8])
    assert "6 empty cells of sources below 5 % counted as 0" in found.repairs  # "-" is missing, "n/e" is not expected


def test_entsoe_rows_may_name_their_own_clock():
    head = "Area,MTU,Fossil Gas - Actual Aggregated [MW]"
    rows = ["25.10.2020 02:00 - 25.10.2020 03:00 (CEST)", "25.10.2020 02:00 - 25.10.2020 03:00 (CET)"]
    found = grid.read(
        "\n".join([head, *(f"Austria (AT),{row},{power}" for row, power in zip(rows, (10, 20), strict=True))]).encode()
    )
    assert found.frame["time"].tolist() == [utc("2020-10-25 00:00"), utc("2020-10-25 01:00")]
    assert values(found) == [490.0, 490.0]


def test_an_hour_is_weighted_by_generation():
    """A quarter with three times the power counts three times: (820 + 3 x 11) / 4."""
    head = "Area,MTU (UTC),Fossil Hard coal - Actual Aggregated [MW],Wind Onshore - Actual Aggregated [MW]"
    rows = ["X,01.01.2020 00:00 - 01.01.2020 00:30,100,0", "X,01.01.2020 00:30 - 01.01.2020 01:00,0,300"]
    assert values(grid.read("\n".join([head, *rows]).encode())) == [(820 + 3 * 11) / 4]


# ---- other sources of the same ---------------------------------------------------------------------------------------


def test_paths_open_files_bytes_and_pandas_give_the_same():
    path = SAMPLES / "neso_website.csv"
    expected = values(grid.read(path))
    assert values(grid.read(str(path))) == expected
    assert values(grid.read(path.read_bytes())) == expected
    assert values(grid.read(memoryview(path.read_bytes()))) == expected  # what an upload widget hands over
    assert values(grid.read(io.StringIO(path.read_text("utf-8")))) == expected
    assert values(grid.read(path.open("rb"))) == expected
    frame = grid.read(path).frame
    assert values(grid.read(frame[["time", "intensity_g_per_kwh"]])) == expected
    assert values(grid.read(frame.set_index("time")["intensity_g_per_kwh"])) == expected


def test_a_zone_can_be_named():
    found = grid.read(plain(day()), zone="home")
    assert found.zone == "home"
    assert set(found.frame["zone"]) == {"home"}


def test_what_load_gives_can_be_saved_and_read(tmp_path):
    frame = grid.load(["FR", "JP"], 2020)
    frame.to_csv(tmp_path / "two.csv", index=False)
    with pytest.raises(ValueError, match=r"the file has several in its column 'zone': pass zone= one of FR, JP"):
        grid.read(tmp_path / "two.csv")
    for source in (tmp_path / "two.csv", frame):
        found = grid.read(source, zone="JP")
        assert found.zone == "JP"
        assert values(found) == pytest.approx(frame.loc[frame["zone"] == "JP", "intensity_g_per_kwh"].tolist())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252"])
def test_marks_and_old_encodings_are_read(encoding):
    text = "time;Intensität\n01.01.2020 00:00;300,5\n01.01.2020 01:00;301,5\n"
    assert values(grid.read(text.encode(encoding), timezone="UTC")) == [300.5, 301.5]


# ---- clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("date", "hours"), [("2023-03-26", 23), ("2023-10-29", 25), ("2020-02-29", 24), ("2023-06-01", 24)]
)
def test_local_days_have_23_24_or_25_hours(date, hours):
    """A file in local time, as a wall clock shows it: 02:00 is missing in March and comes twice in October."""
    times = pd.date_range(date, periods=hours, freq="h", tz="Europe/Berlin")
    rows = [f"{time:%Y-%m-%d %H:%M},{300 + i}" for i, time in enumerate(times)]
    found = grid.read(plain(rows), timezone="Europe/Berlin")
    assert found.frame["time"].tolist() == times.tz_convert("UTC").tolist()
    assert values(found) == [300 + i for i in range(hours)]
    assert any("occur twice" in repair for repair in found.repairs) == (hours == 25)
    assert not found.frame["filled"].any()


def test_an_autumn_night_without_its_second_hour_has_a_gap():
    times = pd.date_range("2023-10-29", periods=25, freq="h", tz="Europe/Berlin")
    rows = [f"{time:%Y-%m-%d %H:%M},{300 + i}" for i, time in enumerate(times) if i != 3]
    found = grid.read(plain(rows), timezone="Europe/Berlin")
    assert values(found) == [300 + i for i in range(25)]
    assert found.frame["filled"].tolist() == [i == 3 for i in range(25)]


def test_a_time_that_clocks_jump_over_is_refused_unless_its_cell_is_empty():
    rows = ["2023-03-26 01:00,300", "2023-03-26 02:00,310", "2023-03-26 03:00,320"]
    with pytest.raises(
        ValueError, match=r"row 3: 2023-03-26 02:00:00 does not exist in Europe/Berlin.*pass timezone='UTC'"
    ):
        grid.read(plain(rows), timezone="Europe/Berlin")
    rows[1] = "2023-03-26 02:00,"
    found = grid.read(plain(rows), timezone="Europe/Berlin")
    assert values(found) == [300, 320]
    assert "1 empty rows at the spring change of clocks left out" in found.repairs


def test_a_leap_year_has_8784_hours():
    times = pd.date_range("2020-01-01", "2021-01-01", freq="h", tz="UTC", inclusive="left")
    found = grid.read(pd.Series(np.full(len(times), 250.0), index=times))
    assert len(found.frame) == 8784
    assert found.repairs == ()


def test_offsets_are_converted():
    rows = ["2020-06-01T00:00+02:00,300", "2020-06-01T01:00+02:00,310"]
    assert grid.read(plain(rows)).frame["time"].iloc[0] == utc("2020-05-31 22:00")
    index = pd.date_range("2020-06-01", periods=2, freq="h", tz="Asia/Tokyo")
    found = grid.read(pd.Series([300.0, 310.0], index=index))
    assert found.frame["time"].iloc[0] == utc("2020-05-31 15:00")
    assert found.repairs == ("Asia/Tokyo converted to UTC",)


@pytest.mark.parametrize(
    "rows",
    [
        ["31/01/2020 23:00,300", "01/02/2020 00:00,310"],
        ["01/31/2020 23:00,300", "02/01/2020 00:00,310"],
        ["1/1/2020 23:00,300", "1/2/2020 00:00,310"],  # as days an hour apart, as months 744
    ],
)
def test_day_and_month_are_told_apart_by_the_steps(rows):
    found = grid.read(plain(rows), timezone="UTC")
    assert len(found.frame) == 2
    assert found.frame["time"].iloc[1].hour == 0


def test_day_and_month_that_cannot_be_told_apart_are_refused():
    with pytest.raises(
        ValueError, match="row 2: time is '01/02/2020 00:00': day and month cannot be told apart; write"
    ):
        grid.read(plain(["01/02/2020 00:00,300", "01/02/2020 01:00,300"]), timezone="UTC")


# ---- repairs are stated ----------------------------------------------------------------------------------------------


def test_short_gaps_lie_on_a_line_and_long_ones_come_from_neighbouring_days():
    rows = day(24 * 10)
    short, long = range(30, 32), range(100, 105)
    text = plain([row for i, row in enumerate(rows) if i not in (*short, *long)])
    found = grid.read(text, max_gap_share=0.05)
    assert values(found)[30:32] == pytest.approx([330, 331])
    assert values(found)[100:105] == pytest.approx([400, 401, 402, 403, 404])  # the mean of 24 h before and after
    assert found.repairs == (
        "2 missing hours filled by a straight line",
        "5 missing hours filled from the same hour of neighbouring days",
    )
    assert np.flatnonzero(found.frame["filled"]).tolist() == [*short, *long]


def test_repeated_rows_that_agree_are_dropped_and_an_empty_one_yields():
    rows = day(4)
    found = grid.read(plain([*rows[:2], rows[1], *rows[2:], "2020-01-01T03:00Z,"]))
    assert values(found) == [300, 301, 302, 303]
    assert "2 repeated rows dropped" in found.repairs


def test_rows_out_of_order_are_sorted():
    found = grid.read(plain(day(5)[::-1]))
    assert values(found) == [300, 301, 302, 303, 304]
    assert found.repairs == ("rows were not in the order of time: sorted",)


def test_half_an_hour_is_enough_for_an_hour_and_less_is_a_gap():
    rows = [row for i, row in enumerate(day(16, step="15min")) if i not in (4, 5, 8, 9, 10)]
    found = grid.read(plain(rows))
    assert values(found)[:2] == [301.5, 306.5]  # 300..303; the second half of the next hour
    assert found.frame["filled"].tolist() == [False, False, True, False]


def test_scale_converts_and_is_stated():
    found = grid.read(plain([row.replace(",3", ",0.3") for row in day(4)]), scale=1000)
    assert found.repairs == ("values multiplied by 1000",)
    assert values(found)[0] == pytest.approx(300)


@settings(max_examples=60, deadline=None)
@given(
    start=st.datetimes(pd.Timestamp("2000-01-01").to_pydatetime(), pd.Timestamp("2035-12-31").to_pydatetime()),
    data=st.lists(st.floats(2, 1500), min_size=2, max_size=60),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney"]),
)
def test_what_is_written_as_a_plain_file_is_read_back(start, data, zone):
    """In any local time, over every change of clocks: the wall-clock file gives the same hours and values."""
    times = pd.date_range(pd.Timestamp(start).floor("h"), periods=len(data), freq="h", tz="UTC")
    local = times.tz_convert(zone)
    assume(local[0].fold == 0)  # a file that begins in the second of two equal hours cannot say so
    rows = [f"{time:%Y-%m-%d %H:%M},{value!r}" for time, value in zip(local, data, strict=True)]
    found = grid.read(plain(rows), timezone=zone)
    assert found.frame["time"].tolist() == times.tolist()
    assert values(found) == data


# ---- what is refused, and how ----------------------------------------------------------------------------------------

GOOD = day(48)


def broken(at, text):
    return plain([*GOOD[:at], text, *GOOD[at + 1 :]])


KG = [row.replace(",3", ",0.3") for row in GOOD]
MG = [row.replace(",3", ",3000") for row in GOOD]
NAIVE = [row.replace("Z", "") for row in GOOD]
EMPTY = [row.split(",")[0] + "," for row in GOOD]
HOLE = GOOD[:10] + GOOD[15:]
ODD = [row + ",x" for row in GOOD]
WHEN = "when,what,where"


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (b"", {}, r"the file is empty: it must have a header and at least one row"),
        (b"time,intensity\n", {}, r"the file is empty"),
        (broken(3, "2020-01-01T03:00Z,-5"), {}, r"row 5: intensity is -5; .* >= 0 g/kWh .*leave the cell empty"),
        (broken(3, "2020-01-01T03:00Z,lots"), {}, r"row 5: intensity is 'lots', not a number .*leave the cell empty"),
        (broken(3, "yesterday,300"), {}, r"row 5: time is 'yesterday', without an offset that other rows have"),
        (broken(3, "2020-01-01T25:00Z,300"), {}, r"row 5: time is '2020-01-01T25:00Z', not a time .*2020-01-31T13:00Z"),
        (broken(3, "2020-01-01T03:00,300"), {}, r"row 5: time is '2020-01-01T03:00', without an offset"),
        (broken(3, "2020-01-01T03:00Z"), {}, r"row 5 has 1 cells where the header has 2"),
        (broken(3, "2020-01-01T02:00Z,999"), {},
         r"rows 4 and 5 are both of 2020-01-01 02:00 UTC but disagree: 302 and 999"),
        (plain(KG), {}, r"the median of 'intensity' is 0\.\d+: .*kg/kWh.*scale=1000"),
        (plain(MG), {}, r"more than any grid emits: is it in mg/kWh"),
        (plain(NAIVE), {}, r"row 2: the time 2020-01-01 00:00:00 has no time zone\. Pass timezone='UTC'"),
        (plain(NAIVE), {"timezone": "Europe/Berln"}, r"no timezone 'Europe/Berln'; close to it: .*Europe/Berlin"),
        (plain(GOOD), {"timezone": "UTC"}, r"timezone='UTC', but the times carry their own offset: leave timezone out"),
        (plain(HOLE), {}, r"5 of 48 hours are missing \(10\.4 %, at most 2 % .*gap has 5 h from 2020-01-01 10:00 UTC"),
        (plain(EMPTY), {}, r"column 'intensity' has no value at all: 48 rows are empty"),
        (plain(day(10, step="D")), {}, r"rows 2 and 3: times are 24 h apart; give a file by the hour or finer"),
        (plain(GOOD, WHEN), {}, r"row 2 has 2 cells where the header has 3"),
        (plain(ODD, WHEN), {}, r"unknown columns 'when', 'what', 'where': a plain file has 'time'"),
        (plain(ODD, WHEN), {"format": "plain"}, r"no column of intensity among"),
        (plain(GOOD), {"format": "excel"}, r"no format 'excel'; known: eia-930, electricity-maps, entsoe"),
        (plain(GOOD), {"format": "entsoe"}, r"no column 'MTU' among|no column of generation"),
        (plain(GOOD), {"signal": "marginal"}, r"no signal 'marginal'; known: direct, lifecycle"),
        (plain(GOOD), {"scale": -1}, r"scale=-1: give a finite number above 0; 1000 for kg/kWh"),
        (plain(GOOD), {"max_gap_share": 2}, r"max_gap_share=2: give a finite number at least 0 and below 1"),
        (b'{"data": [{"when": 1}]}', {},
         r"source is JSON with the keys data: of JSON only that of NESO's API .* is read"),
        (b'{"data": ', {}, r"source is no JSON that can be read"),
        ("nowhere.csv", {}, r"no file 'nowhere\.csv': give the path"),
        (pd.DataFrame({"time": [1, 2], "intensity": [3.0, 4.0]}), {}, r"row 2: time is 1, a number: write times as"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_where_and_what_to_do(text, arguments, message):
    with pytest.raises(ValueError, match=message):
        grid.read(text, **arguments)


@pytest.mark.parametrize(
    ("label", "factor"),
    [
        ("carbon intensity (kgCO2/kWh)", "1000"),
        ("tCO2/MWh", "1000"),
        ("intensity [lb/MWh]", f"{LB_PER_MWH:g}"),
        ("lbs CO2/MWh", f"{LB_PER_MWH:g}"),
    ],
)
def test_units_in_the_name_of_the_column_are_noticed(label, factor):
    with pytest.raises(
        ValueError, match=re.escape(f"column {label!r} is not in g/kWh by its name: pass scale={factor} to")
    ):
        grid.read(plain(GOOD, f"time,{label}"))
    found = grid.read(plain(GOOD, f"time,{label}"), scale=float(factor)) if factor != "1000" else None
    assert found is None or values(found)[0] == pytest.approx(300 * float(factor))
    with pytest.raises(ValueError, match=f"scale=2, but by its name .* needs scale={factor}: pass that, or rename it"):
        grid.read(plain(GOOD, f"time,{label}"), scale=2)


def test_a_column_may_carry_its_unit_in_its_name():
    rows = [f"{row},7" for row in GOOD]
    assert values(grid.read(plain(rows, "time,Carbon intensity [g/kWh],other")))[0] == 300
    with pytest.raises(ValueError, match=r"column 'Carbon intensity \[kg/kWh\]' is not in g/kWh"):
        grid.read(plain(rows, "time,Carbon intensity [kg/kWh],other"))


def test_kg_per_mwh_is_the_same_as_g_per_kwh():
    assert values(grid.read(plain(GOOD, "time,kgCO2/MWh")))[0] == 300


def test_a_source_of_electricity_without_a_factor_is_refused():
    head = "Area,MTU (UTC),Fusion - Actual Aggregated [MW]"
    with pytest.raises(
        ValueError, match=r"unknown source of electricity 'Fusion': known are Biomass.*Rename it, or drop it"
    ):
        grid.read(f"{head}\nX,01.01.2020 00:00 - 01.01.2020 01:00,5\n".encode())


def test_a_read_checks_its_format():
    with pytest.raises(ValueError, match="no format 'xls'; known"):
        grid.Read(pd.DataFrame(), (), "xls", "DE")


# ---- what ENTSO-E and Electricity Maps give today, and gave in 2021 --------------------------------------------------


def long_export(hours, clock="CET/CEST", area="BZN|BE"):
    """ENTSO-E's export of today: one row per unit of time and type; 100 MW of gas, 300 nuclear, wind rising by 50 an
    hour."""
    rows = [f'"MTU ({clock})","Area","Production Type","Generation (MW)"']
    for h, unit in enumerate(hours):
        for kind, mw in (("Fossil Gas", 100), ("Nuclear", 300), ("Wind Onshore", 50 * h), ("Marine", "n/e")):
            rows.append(f'"{unit}","{area}","{kind}","{mw}"')
    return "\n".join(rows).encode()


def gas_nuclear_wind(wind):
    return (100 * 490 + 300 * 12 + wind * 11) / (400 + wind)


def test_the_present_long_export_of_entsoe_is_read():
    hours = [f"01/03/2025 {h:02}:00:00 - 01/03/2025 {h + 1:02}:00:00" for h in range(4)]
    for arguments in ({}, {"format": "entsoe"}):
        found = grid.read(long_export(hours), **arguments)
        assert (found.format, found.zone) == ("entsoe", "BE")
        assert values(found) == pytest.approx([gas_nuclear_wind(50 * h) for h in range(4)])
        assert found.frame["time"].iloc[0] == utc("2025-02-28 23:00")


@pytest.mark.parametrize(
    "hours",
    [
        ["26/10/2025 01:00:00 - 26/10/2025 02:00:00", "26/10/2025 02:00:00 (CEST) - 26/10/2025 02:00:00 (CET)",
         "26/10/2025 02:00:00 (CET) - 26/10/2025 03:00:00 (CET)", "26/10/2025 03:00:00 - 26/10/2025 04:00:00"],
        ["26/10/2025 01:00:00 - 26/10/2025 02:00:00", "26/10/2025 02:00:00 - 26/10/2025 03:00:00",
         "26/10/2025 02:00:00 - 26/10/2025 03:00:00", "26/10/2025 03:00:00 - 26/10/2025 04:00:00"],
    ],
    ids=["marked", "by order"],
)  # fmt: skip
def test_the_autumn_night_of_the_long_export_has_both_hours(hours):
    found = grid.read(long_export(hours))
    assert found.frame["time"].tolist() == [utc("2025-10-25 23:00") + pd.Timedelta(hours=k) for k in range(4)]
    assert values(found) == pytest.approx([gas_nuclear_wind(50 * h) for h in range(4)])
    assert not found.frame["filled"].any()


def test_the_long_export_in_utc_and_of_several_areas():
    hours = [f"01/03/2025 {h:02}:00:00 - 01/03/2025 {h + 1:02}:00:00" for h in range(3)]
    both = long_export(hours, "UTC") + b"\n" + long_export(hours, "UTC", "BZN|FR").split(b"\n", 1)[1]
    found = grid.read(both, zone="FR")
    assert (found.zone, found.frame["time"].iloc[0]) == ("FR", utc("2025-03-01 00:00"))
    with pytest.raises(
        ValueError, match=r"zone=None: the file has several in its column 'Area': pass zone= one of BE, FR"
    ):
        grid.read(both)


def test_the_long_export_of_consumption_is_refused():
    text = long_export(["01/03/2025 00:00:00 - 01/03/2025 01:00:00"]).replace(b"Generation", b"Consumption")
    with pytest.raises(ValueError, match=r"no column 'Generation .*this export may be of consumption"):
        grid.read(text)


LIBRARY = "DateTime(UTC)\tResolutionCode\tAreaCode\tAreaDisplayName\tAreaTypeCode\tAreaMapCode\tProductionType\t"
LIBRARY += "ActualGenerationOutput[MW]\tActualConsumption[MW]\tUpdateTime(UTC)"


def library(*rows):
    """Rows of ENTSO-E's file library: time, type of area, area, type of plant, MW, time of the update."""
    lines = [
        f"{time}\tPT15M\t10Y\tX\t{role}\t{area}\t{kind}\t{mw}\t0.000000\t{update}"
        for time, role, area, kind, mw, update in rows
    ]
    return "\n".join([LIBRARY, *lines]).encode()


def test_the_file_library_of_entsoe_is_read():
    """Quarters in UTC; the area's rows as a country and an earlier update are left out; another area is not looked
    at."""
    rows = []
    for quarter in range(4):
        time = f"2026-02-01 00:{15 * quarter:02}:00"
        rows += [(time, "BZN/CTA", "AT", "Fossil Gas", "100.000000", "2026-02-05 10:00:00"),
                 (time, "BZN/CTA", "AT", "Nuclear", f"{300 + quarter}.000000", "2026-02-05 10:00:00"),
                 (time, "BZN/CTA", "AT", "Nuclear", "9000.000000", "2026-02-04 10:00:00"),
                 (time, "CTY", "AT", "Nuclear", "7000.000000", "2026-02-05 10:00:00"),
                 (time, "BZN", "FR", "Nuclear", "50000.000000", "2026-02-05 10:00:00")]  # fmt: skip
    found = grid.read(library(*rows), zone="AT")
    gas, nuclear = 4 * 100, sum(300 + quarter for quarter in range(4))
    assert values(found) == pytest.approx([(gas * 490 + nuclear * 12) / (gas + nuclear)])
    assert (found.zone, found.frame["time"].iloc[0]) == ("AT", utc("2026-02-01 00:00"))
    assert "the area is in the file in several roles: its rows as BZN taken" in found.repairs
    assert "4 rows replaced by a later update" in found.repairs


def test_older_files_of_the_library_have_other_names():
    text = library(("2019-02-01 00:00:00", "BZN", "AT", "Nuclear", "5", "2019-02-05 10:00:00")).replace(
        b"DateTime(UTC)", b"DateTime"
    )
    text = text.replace(b"AreaMapCode", b"MapCode").replace(b"[MW]", b"")
    assert values(grid.read(text)) == [12.0]


def test_a_type_that_is_in_the_file_twice_with_two_values_is_refused():
    row = ("2019-02-01 00:00:00", "BZN", "AT", "Nuclear")
    text = library((*row, "5", "x"), (*row, "6", "x")).replace(b"UpdateTime(UTC)", b"Remark")
    with pytest.raises(
        ValueError, match="row 3: Nuclear of 2019-02-01 00:00:00 is in the file twice with different values"
    ):
        grid.read(text)


EM_2021 = "datetime,timestamp,zone_name,carbon_intensity_avg"


def test_electricity_maps_of_2021():
    """The Unix time beside the time is not taken for it, and the zone is known by its name."""
    rows = ["2021-01-01 00:00:00+00:00,1609459200,DE,300.1", "2021-01-01 01:00:00+00:00,1609462800,DE,310.2"]
    found = grid.read(plain(rows, EM_2021))
    assert (found.format, found.zone, values(found)) == ("electricity-maps", "DE", [300.1, 310.2])
    assert found.frame["time"].iloc[0] == utc("2021-01-01 00:00")
    two = [*rows, rows[0].replace("DE,300.1", "FR,50")]
    assert values(grid.read(plain(two, EM_2021), zone="FR")) == [50.0]


@pytest.mark.parametrize("factor", [1, 1000])
def test_unix_times_alone_are_read(factor):
    rows = [f"{(1609459200 + 3600 * i) * factor},{300 + i}" for i in range(3)]
    found = grid.read(plain(rows, "timestamp,intensity"))
    assert found.frame["time"].tolist() == [utc("2021-01-01 00:00") + pd.Timedelta(hours=i) for i in range(3)]
    assert found.repairs == ("Unix times read as UTC",)


# ---- units and quantities, by the name of the column -----------------------------------------------------------------

UNITS = {
    LB_PER_MWH: ["intensity (lbs/MWh)", "intensity_lb_per_mwh", "carbon_intensity_lbs_per_mwh", "lbs_co2_per_mwh",
    "lbs_per_mwh",
                 "co2_lb_per_mwh", "lb_co2_mwh", "lb CO₂e/MWh", "pounds per megawatt-hour", "LB_PER_MWH"],
    1000 * LB_PER_MWH: ["intensity_lb_per_kwh", "lbs/kWh"],
    1000.0: ["kgco2_per_kwh", "kg_per_kwh", "kg CO2-eq. / kW·h", "t/MWh", "tCO2/MWh", "tonnes per MWh",
    "tonnes_co2_mwh", "Mg/MWh"],
    1.0: ["g_per_kwh", "gCO2eq/kWh", "gCO2eqPerKWh", "g CO2e per kWh", "grams_per_kilowatt_hour", "kg/MWh", "t/GWh",
          "intensity_g_per_kwh"],
    0.001: ["mg/kWh"],
    3.6: ["intensity g/MJ"],
    907.18474: ["short tons/MWh"],
}  # fmt: skip


@pytest.mark.parametrize(("factor", "label"), [(factor, label) for factor, labels in UNITS.items() for label in labels])
def test_a_unit_is_understood_in_any_spelling(factor, label):
    """870 lb/MWh are 394.6 g/kWh, never 870."""
    assert factors_to_g_per_kwh(label) == pytest.approx((factor,))
    if factor == 1:
        assert values(grid.read(plain(GOOD, f"time,{label}")))[0] == 300
    else:
        with pytest.raises(ValueError, match="is not in g/kWh by its name: pass scale="):
            grid.read(plain(GOOD, f"time,{label}"))
        rows = [f"{row.split(',')[0]},{300 / factor}" for row in GOOD]
        found = grid.read(plain(rows, f"time,{label}"), scale=factor)
        assert values(found)[0] == pytest.approx(300)
        assert found.repairs == (f"values multiplied by {factor:g}",)


def test_tons_may_be_metric_or_short_and_the_reader_says_which():
    rows = [f"{row.split(',')[0]},0.4" for row in GOOD]
    with pytest.raises(ValueError, match=r"pass scale=1000 or scale=907.185 to convert it"):
        grid.read(plain(rows, "time,tons_per_mwh"))
    assert values(grid.read(plain(rows, "time,tons_per_mwh"), scale=907.185))[0] == pytest.approx(362.874)


@pytest.mark.parametrize(
    "label",
    ["stone_per_mwh", "lb/MMBtu", "gC/kWh", "gkwh", "intensity [foo]", "intensity_kg", "intensity_kwh", "co2_t",
     "load MW", "price",
     "price_eur_per_mwh", "Day-ahead Price [EUR/MWh]", "temperature_c", "carbon_price", "Actual Total Load [MW]",
     "net_generation", "DE"],
)  # fmt: skip
def test_unknown_units_and_other_quantities_are_never_taken_for_g_per_kwh(label):
    with pytest.raises(
        ValueError, match=r"not a carbon intensity in a unit that is known|does not say that it is a carbon intensity"
    ):
        grid.read(plain(GOOD, f"time,{label}"))


def test_a_scale_on_a_column_in_grams_is_refused():
    with pytest.raises(ValueError, match="scale=1000, but 'g_per_kwh' is in g/kWh already"):
        grid.read(plain(GOOD, "time,g_per_kwh"), scale=1000)


# ---- wild values, and values near 0 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wild", ["1e7", "1e308", "2501", "1e999"])
def test_one_wild_hour_is_refused_with_its_row(wild):
    rows = [*GOOD[:5], GOOD[5].split(",")[0] + f",{wild}", *GOOD[6:]]
    with pytest.raises(ValueError, match="row 7: intensity is "):
        grid.read(plain(rows))


DIRECT = "Datetime (UTC),Zone id,Carbon intensity gCO₂eq/kWh (direct),Carbon intensity gCO₂eq/kWh (Life cycle)"


def test_direct_emissions_near_zero_are_believed_where_they_are_asked_for():
    """Iceland: 0.5 g/kWh direct, 28 over the life cycle. Both become traces."""
    text = plain([f"2023-01-01 {h:02}:00:00,IS,0.5,28" for h in range(24)], DIRECT)
    assert set(values(grid.read(text))) == {28.0}
    found = grid.read(text, signal="direct")
    assert set(values(found)) == {0.5}
    assert Traces.from_frame(found.frame).intensity_g_per_kwh.max() == 0.5
    with pytest.raises(ValueError, match=r"scale=1000, but .* is in g/kWh already"):
        grid.read(text, signal="direct", scale=1000)


def test_a_plain_file_of_direct_emissions_says_so():
    rows = [row.split(",")[0] + ",0.5" for row in GOOD]
    with pytest.raises(ValueError, match=r"0\.5 looks like kg/kWh, which is 500 g/kWh.*pass signal='direct'"):
        grid.read(plain(rows))
    assert set(values(grid.read(plain(rows), signal="direct"))) == {0.5}
    assert set(values(grid.read(plain(rows), scale=1000))) == {500.0}


def test_what_read_accepts_the_traces_accept():
    """Hydropower's 2.9 to 3.3 g/kWh: neither takes it for kilograms."""
    rows = [row.split(",")[0] + f",{2.9 + 0.01 * (i % 40):g}" for i, row in enumerate(GOOD)]
    frame = grid.read(plain(rows)).frame
    assert Traces.from_frame(frame).intensity_g_per_kwh[0].tolist() == frame["intensity_g_per_kwh"].tolist()


# ---- commas and points -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("separator", "written", "expected", "repair"),
    [
        (";", ["950,5", "1.050,0", "990"], [950.5, 1050, 990], "commas read as decimal marks"),
        (";", ["950,5", "1.050", "990,25"], [950.5, 1050, 990.25], "commas read as decimal marks"),
        (";", ["950.5", "1,050", "990"], [950.5, 1050, 990], "commas between thousands left out"),
        (";", ["412,500", "413,250", "414,125"], [412.5, 413.25, 414.125], "commas read as decimal marks"),
        (";", ["950.125", "951.250", "952.375"], [950.125, 951.25, 952.375], None),
        (",", ["950", "1,050.5", "1,123"], [950, 1050.5, 1123], "commas between thousands left out"),
        (",", ["300,5", "301,5", "302"], [300.5, 301.5, 302], "commas read as decimal marks"),
        (",", ["950", "951.125", "952"], [950, 951.125, 952], None),
        ("\t", ["950,5", "1.050,0", "990"], [950.5, 1050, 990], "commas read as decimal marks"),
        (";", ["950", "1 050", "990"], [950, 1050, 990], None),
    ],
)  # fmt: skip
def test_the_whole_column_says_what_a_comma_is(separator, written, expected, repair):
    rows = [f'2020-01-01T{h:02}:00Z{separator}"{cell}"' for h, cell in enumerate(written)]
    found = grid.read(plain(rows, f"time{separator}intensity"))
    assert values(found) == expected
    assert found.repairs == (() if repair is None else (repair,))


@pytest.mark.parametrize(
    ("separator", "written"),
    [
        (";", ["950", "1,050", "990"]),
        (",", ["950", "1,050", "990"]),
        ("\t", ["950", "1,050", "990"]),
        (";", ["950", "1.050", "990"]),
    ],
)
def test_a_number_that_could_be_two_is_refused(separator, written):
    rows = [f'2020-01-01T{h:02}:00Z{separator}"{cell}"' for h, cell in enumerate(written)]
    with pytest.raises(ValueError, match=r"row 3: intensity is '1[.,]050', which can be 1050 or 1\.050"):
        grid.read(plain(rows, f"time{separator}intensity"))


def test_commas_that_mean_two_things_are_refused():
    rows = [f'2020-01-01T{h:02}:00Z,"{cell}"' for h, cell in enumerate(["1,050.5", "300,5", "2"])]
    with pytest.raises(ValueError, match=r"is '300,5' in row 3 and '1,050.5' in row 2: a comma parts decimals in one"):
        grid.read(plain(rows))


def test_kilograms_with_a_decimal_comma_are_refused_not_multiplied():
    """ "0,412" in a file with commas was read as 412."""
    rows = [f'2020-01-01T{h:02}:00Z,"0,412"' for h in range(3)]
    with pytest.raises(ValueError, match="looks like kg/kWh, which is 412 g/kWh"):
        grid.read(plain(rows))


# ---- files that are no table -----------------------------------------------------------------------------------------

HOSTILE = {
    "gzip": (b"\x1f\x8b\x08" + bytes(range(256)), "source is a gzip archive: unpack it"),
    "xlsx": (b"PK\x03\x04" + bytes(range(256)) * 30, "source is a zip archive or an Excel workbook"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 30, "source is a picture"),
    "utf-16": (plain(GOOD).decode().encode("utf-16"), "source is text in UTF-16: save it as UTF-8"),
    "utf-16 without a mark": (plain(GOOD).decode().encode("utf-16-le"), "source is no text, it holds zero bytes"),
    "web page": (b"<!DOCTYPE html><html><body>Please log in</body></html>", "source is a web page or XML"),
    "xml": (b"<?xml version='1.0'?><a/>", "source is a web page or XML"),
    "another API": (
        b'{"zone": "DE", "history": [{"carbonIntensity": 300}]}',
        "source is JSON with the keys zone, history: of JSON only",
    ),
    "a number in JSON": (b'{"data": 5}', "source is JSON with the keys data"),
    "text in JSON": (b'["a", "b"]', "source is JSON of another kind"),
    "lists in JSON": (b"[[1], [2]]", "source is JSON of another kind"),
    "null in JSON": (b'[{"from": 1, "to": 2, "intensity": null}]', "source is JSON of another kind"),
    "deep JSON": (b"[" * 100_000, "source is no JSON that can be read"),
    "an open quote": (b'time,intensity\n"' + b"2020-01-01T00:00Z,100\n" * 9000, "cannot be read"),
    "same name twice": (plain(GOOD, "intensity,intensity"), "source has 2 columns of the name 'intensity'"),
    "NUL": (plain(GOOD).replace(b"303", b"3\x003"), "source is no text, it holds zero bytes"),
    "year 9999": (
        plain(["9999-01-01T00:00Z,300", "9999-01-01T01:00Z,300"]),
        "row 2: time is '9999-01-01T00:00Z': years from 1900",
    ),
    "blank lines": (b"\n\n  \n", "the file is empty"),
    "one column": (b"intensity\n300\n301\n", "unknown columns"),
    "random bytes": (np.random.default_rng(0).integers(1, 256, 5000, dtype=np.uint8).tobytes(), "."),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_table_is_refused_in_words(name):
    content, message = HOSTILE[name]
    with pytest.raises(ValueError, match=re.escape(message) if message != "." else message):
        grid.read(content)


def test_line_ends_of_any_machine_are_read():
    expected = values(grid.read(plain(GOOD)))
    for ends in (b"\r", b"\r\n"):
        assert values(grid.read(plain(GOOD).replace(b"\n", ends))) == expected


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (None, TypeError, "source is NoneType: give a path"),
        (5, TypeError, "source is int"),
        ([1, 2], TypeError, "source is list"),
        ("time,intensity\n2020-01-01T00:00Z,300", ValueError, "source is text of several lines, not a path"),
        ("x" * 5000, ValueError, "source: cannot read the file"),
        ("a\x00b", ValueError, "source: cannot read the file"),
        (Path(__file__).parent, ValueError, "source: no file"),
        (io.BytesIO(b""), ValueError, "the file is empty"),
        (pd.Series(dtype=float), ValueError, "the file is empty"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "source has 2 columns of the name 'a'"),
        (pd.DataFrame({"time": ["2020-01-01T00:00Z"], "intensity": [True]}), ValueError,
         "is of the type bool: it must hold numbers"),
        (pd.DataFrame({"time": ["2020-01-01T00:00Z"], "intensity": [3 + 1j]}), ValueError, "is of the type complex128"),
        (pd.DataFrame({"time": [None, "2020-01-01T00:00Z"], "intensity": [3.0, 4.0]}), ValueError, "row 2: time"),
        (pd.DataFrame({"time": [pd.NaT, pd.Timestamp("2020")], "intensity": [3.0, 4.0]}), ValueError,
         "row 2: time has no time"),
        (pd.DataFrame({("a", "b"): [1.0], ("a", "c"): [2.0]}), ValueError, "unknown columns"),
    ],
)  # fmt: skip
def test_a_source_of_another_kind_is_refused(source, error, message):
    with pytest.raises(error, match=message):
        grid.read(source)


@pytest.mark.parametrize(
    ("name", "value"),
    [("scale", True), ("scale", "1000"), ("scale", np.nan), ("scale", np.inf), ("scale", 0), ("max_gap_share", None),
     ("zone", 5),
     ("max_gap_share", -0.1), ("max_gap_share", np.nan), ("timezone", 5), ("timezone", ""), ("signal", None),
     ("format", 5), ("format", "")],
)  # fmt: skip
def test_arguments_of_another_kind_are_named(name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        grid.read(plain(NAIVE), **{name: value})


def _long_export(*more):
    rows = [
        f'"01/03/2025 {hour:02}:00:00 - 01/03/2025 {hour + 1:02}:00:00","BZN|BE","{kind}","{mw}"'
        for hour in range(3)
        for kind, mw in (("Fossil Gas", 100), ("Nuclear", 300), ("Solar", 0))
    ]
    return "\n".join(['"MTU (CET/CEST)","Area","Production Type","Generation (MW)"', *rows, *more]).encode()


def test_a_single_row_of_entsoes_long_export_that_comes_again_is_dropped_or_refused():
    again = '"01/03/2025 00:00:00 - 01/03/2025 01:00:00","BZN|BE","Fossil Gas",'
    plain, repeated = grid.read(_long_export()), grid.read(_long_export(again + '"100"'))
    assert repeated.frame.equals(plain.frame)
    assert "1 repeated rows dropped" in repeated.repairs
    with pytest.raises(ValueError, match=r"Fossil Gas of 01/03/2025 00:00:00 .* twice with different values"):
        grid.read(_long_export(again + '"900"'))
