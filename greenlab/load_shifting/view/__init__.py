"""The charts of chapter 9; its widgets are in ``widget.py`` and ``upload.py``, its slider chart in ``twin.py``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import altair as alt
import pandas as pd

from greenlab.core import grid
from greenlab.core.names import MODELLED
from greenlab.lab.charts import Slider, dots, heatmap, lines, points, require_columns
from greenlab.lab.charts.parts import finish, number_tooltip
from greenlab.lab.charts.slider import span, with_slider
from greenlab.lab.theme import BLUE, INK, VERMILION, WIDTH
from greenlab.load_shifting.study import tables as work
from greenlab.load_shifting.view import exercises  # noqa: F401 - registers the exercises
from greenlab.load_shifting.view.twin import plan_twin
from greenlab.load_shifting.view.upload import OwnGrid, plain_csv
from greenlab.load_shifting.view.widget import label, shift, shift_explorer, timeline

__all__ = ["OwnGrid", "country_chart", "day_map", "day_strip", "duck_twin", "error_chart", "fleet_chart", "front_chart"]
__all__ += ["pairs_chart", "photons_chart", "plain_csv", "plan_twin", "reach_chart", "shift", "shift_explorer"]
__all__ += ["signal_chart", "slack_chart", "three_hours", "timeline"]
INTENSITY = "Carbon intensity [g CO₂e/kWh]"
SAVED = "Carbon saved [%]"
# where a country's code stands beside its point, if not on the right
SIDES = {"LV": "left", "BE": "left", "BG": "left", "SE": "below", "SK": "below"}


def _ticks(chart: alt.LayerChart, values: Iterable[float]) -> alt.LayerChart:
    """The same chart with ticks on its horizontal axis at these values only."""
    for layer in chart.layer:
        layer.encoding.x.axis = alt.Axis(values=list(values), format="d")
    return chart


def day_strip(profile: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the average day of every zone as a row of hours, the dirtiest on top; names of modelled zones say so."""
    rows = work.at(profile, month=0)
    order = rows.groupby("zone")["intensity_g_per_kwh"].mean().sort_values(ascending=False).index
    rows = rows.assign(
        place=rows["zone"].map(label),
        intensity_g_per_kwh=rows["intensity_g_per_kwh"].round(),
        rank=rows["zone"].map({z: i for i, z in enumerate(order)}),
    )
    chart = heatmap(
        rows.sort_values(["rank", "hour"])[["hour", "place", "intensity_g_per_kwh"]],
        "hour",
        "place",
        "intensity_g_per_kwh",
        title=title,
        subtitle="each row: the average day of a grid in 2019; bright is dirty. MODELLED rows have no real hours",
        description="Heat map of carbon intensity by hour of the day for 25 European countries and 11 modelled zones",
        x_title="Hour of the day (UTC)",
        y_title="",
        value_title="g CO₂e/kWh",
        width=WIDTH - 130,
        height=36 * 15,
    )
    names = [label(zone) for zone in order]  # every row has its name here, small
    chart.layer[0].mark = alt.MarkDef("rect", aria=False)  # else a screen reader walks through every cell
    chart.layer[0].encoding.y = alt.Y("place:O", title=None, sort=names).axis(labelFontSize=10).scale(paddingInner=0)
    return chart


def day_map(profile: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw Europe as points on the map, coloured by intensity, with a slider for the hour; computed countries only."""
    rows = profile[(profile["month"] == 0) & (profile["basis"] != MODELLED)]
    place = grid.zones().set_index("zone")[["latitude", "longitude"]]
    rows = rows[["zone", "hour", "intensity_g_per_kwh"]].round().join(place, on="zone")
    base = alt.Chart(rows).encode(longitude="longitude:Q", latitude="latitude:Q")
    scale = alt.Scale(scheme="viridis", domain=span(rows, "intensity_g_per_kwh"))
    legend = alt.Legend(orient="right", direction="vertical", titleOrient="top", gradientLength=140)
    circles = base.mark_circle(size=760, opacity=1, stroke="white", strokeWidth=1).encode(
        color=alt.Color("intensity_g_per_kwh:Q", title="g CO₂e/kWh", scale=scale, legend=legend),
        tooltip=["zone:N", "hour:Q", number_tooltip("intensity_g_per_kwh", "g CO₂e/kWh")],
    )  # fmt: skip
    ink = alt.condition("datum.intensity_g_per_kwh < 400", alt.value("white"), alt.value(INK))
    code = base.mark_text(fontSize=10, dy=-5, fontWeight="bold").encode(text="zone:N", color=ink)
    gram = base.mark_text(fontSize=10, dy=6).encode(text=alt.Text("intensity_g_per_kwh:Q", format=".0f"), color=ink)
    chart = with_slider(alt.layer(circles, code, gram), rows, Slider("hour", "Hour of the day (UTC)", 12))
    return chart.project("mercator").properties(
        title=alt.Title(
            title, subtitle="the average day of 2019; move the slider through the day. Middle of each country"
        ),
        description="Map of 25 European countries as circles coloured by carbon intensity, with a slider for the hour",
        width=WIDTH - 80,
        height=470,
    )


def duck_twin(profile: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw what sun and wind leave to other plants through the day, with a slider for the month: the duck."""
    rows = profile[profile["month"] > 0].assign(
        place=profile["zone"].map(label), rest_pct=(100 * profile["rest"]).round(1)
    )
    rows = rows[rows["zone"].isin(["DE", "IT", "US-CAL"])][["place", "hour", "month", "rest_pct"]]
    return lines(
        rows,
        "hour",
        "rest_pct",
        color="place",
        color_title=None,
        title=title,
        zero=True,
        marks=True,
        subtitle="share of generation that is neither sun nor wind, mean day of the month in 2019; "
        "California is MODELLED",
        description="Share left by sun and wind by hour of the day in three grids, with a slider for the month",
        x_title="Hour of the day (local clock)",
        y_title="Not from sun or wind [%]",
        slider=Slider("month", "Month", 6),
    )


def three_hours(intensity: list[float], ran: list[list[int]], names: list[str], title: str) -> Any:
    """Draw a few hours as bars, once for each plan, with the hours in which it runs filled."""
    rows = [
        {"plan": name, "hour": f"hour {h}", "g": g, "state": "runs" if h in hours else "does not run"}
        for name, hours in zip(names, ran, strict=True) for h, g in enumerate(intensity)
    ]  # fmt: skip
    scale = alt.Scale(domain=["runs", "does not run"], range=[BLUE, "#D9D9D9"])
    bars = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("hour:N", title=None).axis(labelAngle=0), y=alt.Y("g:Q", title="g CO₂e/kWh")
    )
    marks = alt.layer(
        bars.mark_bar().encode(color=alt.Color("state:N", title=None, scale=scale)),
        bars.mark_text(dy=-7).encode(text="g:Q"),
    ).properties(width=150, height=120)
    return marks.facet(column=alt.Column("plan:N", title=None, sort=names)).properties(
        title=title,
        description="Bars of the intensity of a few hours; filled where the job runs: "
        "at once, at the best start, with a pause",
    )


def slack_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the mean saving against slack, a line for each way; the band holds the middle half of the countries."""
    chart = lines(
        table, "slack_d", "saved_pct", color="way", color_title=None, band=("low", "high"), title=title, zero=True,
        subtitle="a job of 24 hours in 25 countries, forecast perfect; the band holds the middle half of the countries",
        description="Carbon saved against days of slack, in one piece and with pauses, mean over 25 countries",
        x_title="Slack: how much later it may finish [days]", y_title=SAVED,
    )  # fmt: skip
    return _ticks(chart, range(int(table["slack_d"].max()) + 1))


def country_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw each country's saving against how dirty its grid is."""
    rows = table[table["basis"] != MODELLED]
    chart = points(
        rows,
        "g_per_kwh",
        "pauses_pct",
        title=title,
        x_title=f"Mean of the year [{INTENSITY.split('[')[1]}",
        y_title=SAVED,
        subtitle="a job of 24 hours that may pause, 24 hours of slack, 2019",
        description="Saving by pausing against mean carbon intensity for 25 countries, each named by its code",
    )
    x = chart.layer[0].encoding.x
    x.scale = alt.Scale(domain=[0, 750])
    y = chart.layer[0].encoding.y
    y.scale = alt.Scale(domain=[0, 25])
    base = alt.Chart(rows).encode(x=x, y=y, text="zone:N")
    places: dict[str, dict[str, Any]] = {
        "right": {"align": "left", "dx": 10}, "left": {"align": "right", "dx": -10}, "below": {"dy": 14},
    }  # fmt: skip
    for side, place in places.items():
        zones = [zone for zone in rows["zone"] if SIDES.get(zone, "right") == side]
        words = base.transform_filter(alt.FieldOneOfPredicate("zone", zones))
        chart.layer.append(words.mark_text(**place))
    return chart


def reach_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the mean saving for each reach of a job: moved once for good, and with every freedom of place and time."""
    first, *_, last = table["way"].unique()
    names = {first: "move once, for good", last: "choose for each job, wait, pause"}
    rows = table[table["way"].isin(names)]
    reach = ["home only" if km == 0 else f"up to {km:,.0f} km" for km in rows["reach_km"]]
    return dots(
        rows.assign(way=rows["way"].map(names), reach=reach),
        "reach",
        "saved_pct",
        "way",
        title=title,
        subtitle="24-hour jobs, mean over 25 homes; no limit of capacity, moving is free",
        description="Carbon saved by how far a job may go: moved once for good, and with every freedom on top",
        x_title=SAVED,
    )


def error_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the saving against the size of the forecast's errors; the band is the spread over seeds."""
    rows = table.assign(error_pct=100 * table["error"])
    chart = lines(
        rows,
        "error_pct",
        "saved_pct",
        color="forecast",
        color_title=None,
        band=("low", "high"),
        title=title,
        zero=True,
        subtitle="Germany, 24-hour job in one piece, 24 hours of slack; the band is the spread over five draws",
        description="Carbon saved against the standard error of the forecast, "
        "for independent errors and errors with memory",
        x_title="Standard error of the forecast [%]",
        y_title=SAVED,
    )
    return _ticks(chart, sorted(rows["error_pct"].round().unique()))


def fleet_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the saving of a fleet against how full its machines are; the band is the spread over times of the year."""
    rows = table.assign(full_pct=100 * table["utilisation"])
    chart = lines(
        rows,
        "full_pct",
        "saved_pct",
        color="line",
        color_title=None,
        band=("low", "high"),
        title=title,
        max_colors=4,
        zero=True,
        subtitle="share of the whole fleet's carbon; eight countries with equal machines; band: six times of the year",
        description="Carbon saved by a fleet against its utilisation, at home and in eight countries, "
        "all or a quarter flexible",
        x_title="Machines in use [%]",
        y_title=SAVED,
    )
    return _ticks(chart, sorted(rows["full_pct"].round().unique()))


def signal_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the saving of schedules that follow the average signal, counted by it and by a MODELLED marginal signal."""
    rows = work.at(table, decided_by="average")
    order = {"gas": "gas is dispatched last", "coal": "coal is dispatched last"}
    label_ = [f"{label(z)}, {order[last]}" for z, last in zip(rows["zone"], rows["last"], strict=True)]
    long = rows.assign(label=label_).melt("label", ["average_saved_pct", "marginal_saved_pct"], "counted", "saved_pct")
    names = {
        "average_saved_pct": "average of the hour",
        "marginal_saved_pct": "marginal plant (MODELLED)",
    }
    chart = dots(
        long.assign(counted=long["counted"].map(names)),
        "label",
        "saved_pct",
        "counted",
        title=title,
        x_title=SAVED,
        subtitle="24-hour jobs that pause, a day of slack; the marginal plant is a model with two orders of dispatch",
        description="The same schedules counted by average and by modelled marginal intensity, in four countries",
    )
    sizes = alt.Scale(domain=list(names.values()), range=[260, 70])  # where both agree, one shows around the other
    chart.layer[1].encoding.size = alt.Size("counted:N", title=None, scale=sizes)
    return chart


def front_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw carbon saved against money saved for weights from price only to carbon only."""
    rows = table.drop_duplicates(["saved_pct", "cheaper_pct"], keep="last").sort_values("saved_pct")
    chart = points(
        rows,
        "cheaper_pct",
        "saved_pct",
        title=title,
        x_title="Money saved under the tariff [%]",
        y_title=SAVED,
        subtitle="Germany, 8-hour jobs that pause, a day of slack; the two-part tariff is assumed",
        description="Trade-off between carbon saved and money saved under a day and night tariff, "
        "from price only to carbon only",
    )
    x, y = chart.layer[0].encoding.x, chart.layer[0].encoding.y
    x.scale, y.scale = alt.Scale(domain=[-5, 35]), alt.Scale(domain=[0, 22])
    x.axis = y.axis = alt.Undefined
    # the least weights change nothing, so the first point is price only
    ends: list[tuple[str, pd.DataFrame, dict[str, Any]]] = [
        ("price only", rows.head(1), {"align": "right", "dx": -12, "dy": 8}),
        ("carbon only", rows.tail(1), {"align": "left", "dx": -4, "dy": -14}),
    ]
    for words, row, place in ends:
        chart.layer.append(alt.Chart(row).mark_text(text=words, **place).encode(x=x, y=y))
    return chart


def photons_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw what moving the data takes, as a share of the work's energy, beside what a power line loses."""
    require_columns(table, "work", "network_pct", "line_pct", "basis")
    rows = table.assign(
        work=[f"{w}{' (assumed)' * (b == 'assumed')}" for w, b in zip(table["work"], table["basis"], strict=True)]
    )
    long = rows.sort_values("network_pct").melt("work", ["network_pct", "line_pct"], "way", "share")
    names = {"network_pct": "move the data (0.06 kWh/GB)", "line_pct": "move the electricity (1,000 km of line)"}
    return dots(
        long.assign(way=long["way"].map(names)), "work", "share", "way", title=title, log_x=True,
        x_title="Energy lost on the way [% of the work's energy]",
        subtitle="logarithmic, further left is better; gigabytes are our estimates",
        description="Share of a work's energy that moving its data takes, beside the loss of a power line of 1,000 km",
    )  # fmt: skip


def pairs_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw how often one grid is how many times dirtier than another; the claimed 30 to 40 times stands out."""
    times = work.at(table, kind="grids", basis="computed")["times"]
    edges = [1, 2, 3, 5, 10, 15, 20, 30, 40, 50]
    cut = pd.cut(times, edges, right=False)
    counts = cut.value_counts(sort=False).reset_index()
    counts.columns = pd.Index(["bin", "n"])
    rows = pd.DataFrame(
        {"times": [f"{int(b.left)}–{int(b.right)}" for b in counts["bin"]], "n": counts["n"].to_numpy()}
    )
    rows["kind"] = ["the claim" if t == "30–40" else "other pairs" for t in rows["times"]]
    base = alt.Chart(rows).encode(
        x=alt.X("times:N", title="How many times dirtier, mean of 2019", sort=None).axis(labelAngle=0),
        y=alt.Y("n:Q", title=f"Pairs of countries, of {len(times)}").scale(
            domain=[0, 1.1 * counts["n"].max()], nice=False
        ),
    )
    scale = alt.Scale(domain=["other pairs", "the claim"], range=[BLUE, VERMILION])
    bars = base.mark_bar().encode(color=alt.Color("kind:N", title=None, scale=scale), tooltip=["times:N", "n:Q"])
    return finish(
        [bars, base.mark_text(dy=-7, fontWeight="bold").encode(text="n:Q", color=alt.Color("kind:N", scale=scale))],
        rows,
        title=title,
        subtitle=None,
        slider=None,
        description="Histogram of the ratio of mean intensities over all pairs of 25 countries; "
        "one pair lies between 30 and 40",
        width=WIDTH,
        height=220,
    )
