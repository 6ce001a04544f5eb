"""Chapter 9's upload: reads the reader's own grid file, repairs or refuses it with a message, and shifts jobs on it."""

from __future__ import annotations

import html
from typing import Any

import altair as alt
import ipywidgets as W
import numpy as np
import pandas as pd

from greenlab.core import checks, grid
from greenlab.core.grid.traces import Traces
from greenlab.lab.charts import lines
from greenlab.lab.widgets import panel
from greenlab.load_shifting import Jobs, simulate

SHOWN_H = 14 * 24
UNITS = {  # factors to g/kWh
    "g/kWh": 1.0,
    "kg/kWh or t/MWh": 1000.0,
    "lb/MWh": 0.45359237,
    "lb/kWh": 453.59237,
    "mg/kWh": 0.001,
    "short tons/MWh": 907.18474,
    "g/MJ": 3.6,
}
SIGNALS = {"life cycle": "lifecycle", "direct emissions": "direct"}


class OwnGrid(W.VBox):
    """Choose a file of a grid operator; see what was read and repaired, the hours as a chart, and what waiting saves in
    them.

    A file that cannot be read takes the hours, the chart and the saving of the one before away.

    Attributes:
        read: what `greenlab.core.grid.read` made of the file, or None.
        text: what the widget says now.
    """

    def __init__(self) -> None:
        self.read: grid.Read | None = None
        self._traces: Traces | None = None
        self._content: bytes | None = None
        self.text = ""
        self.upload = W.FileUpload(accept=".csv,.json,.txt", multiple=False, description="Your file (CSV, JSON)")
        self.upload.layout.width = "220px"
        self.zone = W.Text(description="Zone, if it holds several", placeholder="e.g. CISO", continuous_update=False)
        self.timezone = W.Text(
            description="Time zone, if it names none", placeholder="e.g. Europe/Berlin", continuous_update=False
        )
        self.unit = W.Dropdown(options=list(UNITS), description="Unit, if it is a plain file")
        self.signal = W.Dropdown(options=list(SIGNALS), description="Emissions, if it gives both or near 0")
        self.duration = W.IntSlider(value=4, min=1, max=48, description="Job [h]")
        self.slack = W.IntSlider(value=24, min=0, max=168, description="Slack [h]")
        self.pause = W.Checkbox(value=True, description="It may pause", indent=False)
        self.message, self.drawing = W.HTML(), W.VBox([])
        controls = [
            self.upload,
            self.zone,
            self.timezone,
            self.unit,
            self.signal,
            self.duration,
            self.slack,
            self.pause,
        ]
        for control in controls[1:]:
            control.style.description_width = "initial"
            control.layout.width = "auto" if isinstance(control, W.Checkbox) else "330px"
        self.upload.observe(self._on_upload, names="value")
        for box in (self.zone, self.timezone, self.unit, self.signal):
            box.observe(lambda _: self._read(), names="value")
        for control in (self.duration, self.slack, self.pause):
            control.observe(lambda _: self._say(), names="value")
        super().__init__([W.HBox(controls, layout=W.Layout(flex_flow="row wrap")), self.message, self.drawing])
        self._show("No file yet. Formats: Electricity Maps, NESO, EIA-930, ENTSO-E, or plain time,intensity in g/kWh.")

    @property
    def traces(self) -> Traces:
        """The hours of the file, for `simulate`.

        Raises:
            ValueError: if no file has been read.
        """
        if self._traces is None:
            raise ValueError("no file has been read yet: choose one, or call load(content)")
        return self._traces

    def load(
        self,
        content: bytes | str,
        *,
        zone: str = "",
        timezone: str = "",
        unit: str = "g/kWh",
        signal: str = "life cycle",
    ) -> OwnGrid:
        """Read a file's content from code, as the upload does.

        Args:
            content: of a CSV or JSON file.
            zone: which zone, if it holds several.
            timezone: of its times, if they name none.
            unit: one of ``UNITS``.
            signal: one of ``SIGNALS``.

        Returns:
            The widget itself; ``text`` says what came of it, also where the content cannot be read.

        Raises:
            TypeError: if an argument is of the wrong type.
            ValueError: if the unit or the signal is not one of those.
        """
        if not isinstance(content, (str, bytes, bytearray, memoryview)):
            raise TypeError(f"content is {type(content).__name__}: give the bytes of a file, or its text")
        checks.one_of("unit", unit, tuple(UNITS))
        checks.one_of("signal", signal, tuple(SIGNALS))
        for name, text in (("zone", zone), ("timezone", timezone)):
            if not isinstance(text, str):
                raise TypeError(f"{name}={text!r} is {type(text).__name__}: give text, or leave it out")
        self._content = None  # the boxes below are set without reading
        self.zone.value, self.timezone.value, self.unit.value, self.signal.value = zone, timezone, unit, signal
        self._content = content.encode() if isinstance(content, str) else bytes(content)
        self._read()
        return self

    def _on_upload(self, change: Any) -> None:
        if change["new"]:
            self._content = bytes(change["new"][0]["content"])
            self._read()

    def _read(self) -> None:
        if self._content is None:
            return
        self.read, self._traces, self.drawing.children = None, None, ()
        try:
            read = grid.read(
                self._content,
                zone=self.zone.value or None,
                timezone=self.timezone.value or None,
                scale=UNITS[self.unit.value],
                signal=SIGNALS[self.signal.value],
            )
            traces = Traces.from_frame(read.frame)
        except ValueError as error:  # what the reader can do about it stands in the message
            self._show(
                f"This file was not read: {error}\n"
                "(zone=, timezone=, scale= and signal= are the boxes Zone, Time zone, Unit and Emissions above.)"
            )
            return
        except Exception as error:  # in Lab an error in a callback is only in the log
            self._show(f"This file was not read, by a fault of the book: {type(error).__name__}: {error}")
            return
        self.read, self._traces = read, traces
        self.drawing.children = (panel(self.chart()),)
        self._say()

    def chart(self) -> alt.LayerChart:
        """The first two weeks of the file.

        Raises:
            ValueError: if no file has been read.
        """
        if self.read is None:
            raise ValueError("no file has been read yet: choose one, or call load(content)")
        frame = self.read.frame.head(SHOWN_H)
        mean = float(self.read.frame["intensity_g_per_kwh"].mean())
        return lines(
            frame[["time", "intensity_g_per_kwh"]], "time", "intensity_g_per_kwh", marks=len(frame) < 50, zero=True,
            title=f"{self.read.zone}: {mean:,.0f} g/kWh in the mean of your file",
            subtitle="its first two weeks at most, UTC",
            description="Hourly carbon intensity in the uploaded file", x_title="Time (UTC)", y_title="g CO₂e/kWh",
            height=200,
        )  # fmt: skip

    def _say(self) -> None:
        if self.read is None:
            return
        frame = self.read.frame
        repairs = "; ".join(self.read.repairs) or "none"
        start = f"{frame['time'].iloc[0]:%Y-%m-%d %H:%M} UTC"
        words = f"Read as {self.read.format}: zone {self.read.zone}, {len(frame):,} hours from {start}.\n"
        self._show(words + f"Repairs: {repairs}.\n" + self._saving())

    def _saving(self) -> str:
        traces, duration, slack = self.traces, self.duration.value, self.slack.value
        last = int(traces.n_steps - duration - slack)
        if last < 0:
            return f"The file is too short for a job of {duration} h with {slack} h of slack: move the sliders down."
        jobs = Jobs(np.arange(last + 1), duration, 1.0, slack, interruptible=self.pause.value)
        found = simulate(jobs, traces, "k_cheapest").metrics()
        way = "pausing" if self.pause.value else "in one piece"
        return (
            f"A job of {duration} h, {way}, that may finish up to {slack} h later saves {found['saved_pct']:.1f} % "
            f"(mean over {found['jobs']:,} starts, forecast perfect)."
        )

    def _show(self, text: str) -> None:
        self.text = text
        body = html.escape(text).replace("\n", "<br>")
        self.message.value = (
            f'<div role="status" aria-live="polite" style="line-height:1.5;max-width:44em">{body}</div>'
        )

    def __repr__(self) -> str:
        return (
            f"[upload] {self.read.zone}, {len(self.read.frame)} hours"
            if self.read
            else "[upload] Run the cell to use it; no file yet"
        )


def plain_csv(zone: str, year: int, n_hours: int = 14 * 24) -> str:
    """Some hours of a zone as the plain format, to see what such a file looks like.

    Args:
        zone: a code of `greenlab.core.grid.zones`.
        year: one of its years.
        n_hours: how many hours, from the first of the year.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if the zone has no such year, or ``n_hours`` is below 1.
    """
    n_hours = checks.integer("n_hours", n_hours, low=1)
    frame = grid.load(zone, year).head(n_hours)
    rows = [
        f"{t:%Y-%m-%dT%H:%MZ},{g:.1f}"
        for t, g in zip(pd.to_datetime(frame["time"]), frame["intensity_g_per_kwh"], strict=True)
    ]
    return "\n".join(["time,intensity", *rows]) + "\n"
