"""Chapter 9's static twin: a plan of one job that follows a slider without a kernel."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from greenlab.lab.theme import BLUE, MUTED, WIDTH
from greenlab.load_shifting import Jobs, simulate
from greenlab.load_shifting.view.widget import RUN_H, hours_of_the_year, label

SLACKS = tuple(range(0, 97, 12))
SHOWN_H = 24 + 96


def plan_twin(zone: str = "DE", week: int = 12) -> alt.LayerChart:
    """Draw the hours that a day-long job with pauses takes, for a slack that the reader moves."""
    full = hours_of_the_year()
    first = (week - 1) * 168
    traces = full.select([zone])
    values = traces.intensity_g_per_kwh[0, first : first + SHOWN_H]
    ran = np.zeros((len(SLACKS), SHOWN_H), bool)
    saved = []
    for row, slack in enumerate(SLACKS):
        schedule = simulate(Jobs(first, RUN_H, 1.0, slack, interruptible=True), traces, "k_cheapest")
        for a, b in zip(schedule.pieces.start, schedule.pieces.stop, strict=True):
            ran[row, int(a) - first : int(b) - first] = True
        saved.append(schedule.metrics()["saved_pct"])
    data = pd.DataFrame({"hour": np.arange(SHOWN_H), "g": values.round(1)})
    data["plans"] = ["".join("1" if on else "0" for on in column) for column in ran.T]  # one letter for each slack
    at = f"round(slack / {SLACKS[1]})"
    text = "[" + ", ".join(f"'{s:.0f} %'" for s in saved) + f"][{at}]"
    x = (
        alt.X("hour:Q", title="Hours since the job was handed in")
        .scale(domain=[0, SHOWN_H], nice=False)
        .axis(tickCount=10)
    )
    y = alt.Y("g:Q", title="g CO₂e/kWh").scale(zero=True)
    base = alt.Chart(data)
    bars = base.transform_calculate(runs=f"datum.plans[{at}] == '1'", end="datum.hour + 1")
    on = (
        bars.transform_filter("datum.runs")
        .mark_rect(color=BLUE, opacity=0.85)
        .encode(x=x, x2="end:Q", y=y, y2=alt.datum(0))
    )
    line = base.mark_line(color="#777777", interpolate="step-after", strokeWidth=1.5).encode(x=x, y=y)
    words = alt.Chart(alt.sequence(0, 1, as_="t")).transform_calculate(d=f"slack + {RUN_H:g}", w=f"'saves ' + {text}")
    due = words.mark_rule(strokeDash=[5, 4], color=MUTED).encode(x=alt.X("d:Q"))
    note = words.mark_text(align="left", x=8, y=10, fontSize=14, fontWeight="bold").encode(text="w:N")
    bind = alt.binding_range(min=0, max=SLACKS[-1], step=SLACKS[1], name="Slack [h]: ")
    chart: Any = alt.layer(on, line, due, note).add_params(alt.param(name="slack", value=24, bind=bind))
    finished: alt.LayerChart = chart.properties(
        title=alt.Title(
            f"A day of slack saves {saved[SLACKS.index(24)]:.0f} % of this job's carbon, four days {saved[-1]:.0f} %",
            subtitle=f"{label(zone)}, week {week} of 2019: a day-long job that may pause runs in blue; "
            "dashed: deadline",
        ),
        description="Hourly intensity with the hours in which a pausing job runs, with a slider for its slack",
        width=WIDTH,
        height=220,
    )
    return finished
