"""The book's widget: a few controls, a chart that follows them, and a sentence that says what the chart shows.

It is a ``VBox`` with observers. ``interact`` and ``Output`` were measured to be slower, to blank the chart at every
step, and to hide exceptions. The message is text, so a screen reader hears it and a test can read it.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

import altair as alt
import ipywidgets as W
import traitlets

from greenlab.core.names import unknown
from greenlab.lab import page, widget_script
from greenlab.lab.renderer import fit

Values = dict[str, Any]
MESSAGE = '<div role="status" aria-live="polite" style="line-height:1.5;max-width:44em">{}</div>'
FAILED = "This setting failed"  # how the message starts when draw or say raised


class _FittingChart(alt.JupyterChart):
    """A chart that a kernel updates, as wide as the cell that shows it."""

    @traitlets.validate("spec")
    def _fit(self, proposal: Any) -> Any:
        return proposal["value"] and fit(proposal["value"])


def panel(chart: alt.TopLevelSpec) -> alt.JupyterChart:
    """Give a chart that a kernel can update (``.chart = ...``), for a widget that is not an ``Explorer``.

    Its JavaScript is bundled once for a machine (``widget_script``), so that no CDN is asked.

    Raises:
        ValueError: if the chart has no description.
        TypeError: if it is no chart of Altair.
    """
    if not isinstance(chart, alt.TopLevelMixin):
        raise TypeError(f"chart={chart!r:.80} is {type(chart).__name__}: give an Altair chart")
    if getattr(chart, "description", alt.Undefined) is alt.Undefined:
        raise ValueError("the chart has no description; it is what a reader hears who does not see the chart")
    widget_script.enable()
    page.attend()
    return _FittingChart(chart)


class LiveChart(W.VBox):
    """A chart of something measured just now: drawn by the kernel, so its digits are not stored with the notebook."""

    def __init__(self, chart: alt.TopLevelSpec) -> None:
        super().__init__([panel(chart)])
        self._words = str(chart.description)

    def __repr__(self) -> str:
        return f"[live chart] Run the cell to see it. {self._words}"


class Explorer(W.VBox):
    """Controls on top, the chart below, then what it says and whether the goal is reached.

    Args:
        controls: widgets by the name of the argument that they give to ``draw``, ``say`` and ``goal``. Each needs a
            description, which is its label.
        draw: control values to a chart; or, with ``base``, to the values of that chart's parameters.
        say: control values to one or two sentences of plain text.
        goal: control values to True when the reader has reached what ``goal_text`` asks for.
        goal_text: the goal, such as "get below 60 % of the energy at no more than 2 % loss".
        base: a chart with parameters that Vega recomputes itself; faster than a new chart (42 against 64 ms a step).

    A burst of slider moves does not queue up: ipywidgets sends the next value only when the kernel has answered the
    last one, and then the newest.

    Raises:
        ValueError: if there are no controls, one has no description, or the goal has no words. Whatever ``draw`` or
            ``say`` raise for the first values is passed on.
        TypeError: if controls is no mapping of widgets, or draw, say or goal cannot be called.
    """

    def __init__(
        self,
        controls: Mapping[str, W.ValueWidget],
        draw: Callable[..., Any],
        say: Callable[..., str],
        goal: Callable[..., bool] | None = None,
        goal_text: str = "",
        *,
        base: alt.TopLevelSpec | None = None,
    ) -> None:
        if not isinstance(controls, Mapping):
            raise TypeError(f"controls={controls!r:.80} is {type(controls).__name__}: give a dict of name and widget")
        for name, call in (("draw", draw), ("say", say), ("goal", goal)):
            if not callable(call) and not (name == "goal" and call is None):
                raise TypeError(f"{name}={call!r:.80} is {type(call).__name__}: give a function of the control values")
        if not isinstance(goal_text, str):
            raise TypeError(f"goal_text={goal_text!r:.80} is {type(goal_text).__name__}: give words")
        if not controls:
            raise ValueError("controls is empty; give at least one widget, for example a W.IntSlider")
        for name, control in controls.items():
            if not isinstance(control, W.ValueWidget):
                raise TypeError(f"controls[{name!r}]={control!r:.80} is no control: give a widget with a value")
            if not getattr(control, "description", ""):
                raise ValueError(f"control {name!r} has no description; it is the label that the reader sees and hears")
        if (goal is None) != (not goal_text):
            raise ValueError("goal and goal_text belong together; give both or neither")
        self.controls = dict(controls)
        self._draw, self._say, self._goal, self._goal_text, self._base = draw, say, goal, goal_text, base
        self._text, self._quiet, self._setting = "", False, False
        self._first: Values = {name: control.value for name, control in controls.items()}
        self._wanted: Values = {}  # the parameters that were set last
        self.message = W.HTML()
        self.panel = panel(base if base is not None else draw(**self.value))
        self.panel.observe(self._on_params, names="_params")
        for control in self.controls.values():
            control.style.description_width = "initial"
            control.layout.width = "auto" if isinstance(control, W.Checkbox) else "340px"
            control.observe(self._on_change, names="value")
        row = W.HBox(list(self.controls.values()), layout=W.Layout(flex_flow="row wrap"))
        super().__init__([row, self.panel, self.message])
        self._redraw(first=base is None)

    @property
    def value(self) -> Values:
        """The values of the controls by name."""
        return {name: control.value for name, control in self.controls.items()}

    @property
    def text(self) -> str:
        """What the widget says now, as plain text."""
        return self._text

    def set(self, **values: Any) -> None:
        """Move controls from code, all at once, and draw once.

        Raises:
            ValueError: if a name is not a control, or a value is not one that the control can take. Nothing has moved
                then. Whatever ``draw`` or ``say`` raise is shown in the message and passed on.
        """
        for name in values:
            if name not in self.controls:
                raise unknown("control", name, self.controls)
        before, self._quiet = self.value, True
        try:
            for name, value in values.items():
                _assign(name, self.controls[name], value)
        except ValueError:
            for name, value in before.items():
                self.controls[name].value = value
            raise
        finally:
            self._quiet = False
        if self.value != before:
            self._redraw()

    def text_at(self, **values: Any) -> str:
        """What the widget says at another setting; then it stands again where it stood.

        For a cell that shows the widget at work: it prints the same each time it runs, wherever the reader has moved
        the controls, and it reaches no goal for the reader.

        Args:
            values: controls that differ from the setting in which the widget was made.

        Raises:
            ValueError: as `set` does.
        """
        before = self.value
        try:
            self.set(**{**self._first, **values})
            return self.text
        finally:
            self.set(**before)

    def _on_change(self, _: Any) -> None:
        if not self._quiet:
            self._redraw()

    def _redraw(self, first: bool = False) -> None:
        values = self.value
        try:
            # the sentence first: if it fails, chart and sentence both stay what they were
            text = self._say(**values)
            reached = self._goal(**values) if self._goal else None
            drawn = None if first else self._draw(**values)
            if self._base is not None:
                self._set_params(drawn or {})
            elif not first:
                self.panel.chart = drawn
        except Exception as error:
            failed = f"{FAILED}: {type(error).__name__}: {error}"
            self._show(failed, html.escape(f"{failed}. The chart still shows the setting before."))
            raise
        body = html.escape(text).replace("\n", "<br>")
        if reached is not None:
            mark, state = ("✓", "reached") if reached else ("○", "not yet reached")
            text = f"{text}\nGoal: {self._goal_text}: {state}."
            body += f"<br><b>{mark} Goal:</b> {html.escape(self._goal_text)}: <b>{state}</b>."
        self._show(text, body)

    def _set_params(self, params: Mapping[str, Any]) -> None:
        for name in params:
            if not self.panel.params.has_trait(name):
                raise unknown("parameter of the base chart", name, self.panel.params.trait_names())
        self._wanted, self._setting = {**self._wanted, **params}, True
        try:
            with self.panel.hold_sync():  # one message to the page, however many parameters change
                for name, value in params.items():
                    setattr(self.panel.params, name, value)
        finally:
            self._setting = False

    def _on_params(self, change: Any) -> None:
        """Tell a page that shows the chart for the first time the values that hold now.

        Such a page reports the values that the chart was made with.
        """
        stale = {name: value for name, value in self._wanted.items() if change["new"].get(name, value) != value}
        if stale and not self._setting:
            self._set_params(stale)

    def _show(self, text: str, body: str) -> None:
        self._text = text
        self.message.value = MESSAGE.format(body)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.value.items())
        return f"[widget] Run the cell to use it. It starts at {settings}"


def _choices(control: W.ValueWidget) -> list[Any] | None:
    """The values that a menu, a row of buttons or a selection slider offers; None for other controls."""
    if not hasattr(control, "options"):
        return None
    options = control.options.items() if isinstance(control.options, Mapping) else control.options
    return [option[1] if isinstance(option, tuple) else option for option in options]


def _range(control: W.ValueWidget) -> tuple[float, float] | None:
    """The least and the greatest number that a slider can stand at; None for other controls."""
    if isinstance(control, W.FloatLogSlider):
        return control.base**control.min, control.base**control.max
    return (control.min, control.max) if hasattr(control, "min") else None


def _assign(name: str, control: W.ValueWidget, value: Any) -> None:
    """Set one control, refusing what the browser could not have chosen: ipywidgets clamps and truncates silently."""
    allowed, limits = f"a value like {control.value!r}", _range(control)
    if choices := _choices(control):
        allowed = f"one of {', '.join(repr(choice) for choice in choices)}"
    elif limits:
        allowed = f"{'whole numbers' if isinstance(control.value, int) else 'numbers'} from {limits[0]} to {limits[1]}"
    refusal = ValueError(f"control {name!r} cannot take {value!r}; give {allowed}")
    try:
        parts = value if isinstance(value, tuple) else (value,)
        if limits and not all(limits[0] <= part <= limits[1] for part in parts):
            raise refusal
        control.value = value
    except (traitlets.TraitError, TypeError) as error:
        raise refusal from error
    if control.value != value:  # an IntSlider makes 2 of 2.5
        raise refusal


def exercise_extremes(explorer: Explorer) -> list[tuple[Values, str]]:
    """Move every control to its least, its first and its greatest value, alone and all together; for tests.

    Returns:
        The values and the text of each stop. The controls are put back; an exception of ``draw`` or ``say`` is passed
        on.

    Raises:
        TypeError: if ``explorer`` is no Explorer.
    """
    if not isinstance(explorer, Explorer):
        raise TypeError(f"explorer={explorer!r:.80} is {type(explorer).__name__}: give an Explorer")
    start = explorer.value
    ends = {name: _ends(control) for name, control in explorer.controls.items()}
    stops = [start] + [start | {name: end} for name in ends for end in ends[name]]
    stops += [{name: end[side] for name, end in ends.items()} for side in (0, -1)]
    seen = []
    for stop in stops:
        explorer.set(**stop)
        seen.append((stop, explorer.text))
    explorer.set(**start)
    return seen


def _ends(control: W.ValueWidget) -> list[Any]:
    choices, limits = _choices(control), _range(control)
    if choices is not None:
        return choices
    if isinstance(control.value, bool):
        return [False, True]
    if limits is None:  # free text: its first value is all we know
        return [control.value]
    low, high = limits
    # a range slider has two ends: as narrow and as wide as it gets
    return [(low, low), (low, high), (high, high)] if isinstance(control.value, tuple) else [low, high]
