"""Charts and widgets in a real JupyterLab with no network: the renderer, the explorer, the slider inside a chart."""

import nbformat
import pytest

SETUP = """
import pandas as pd
import ipywidgets as W
from greenlab.lab import setup, predict, reveal
from greenlab.lab.charts import Slider, bars_with_range, dots, energy_bars, heatmap, lines, points, roofline
from greenlab.lab.widgets import Explorer
setup()
words = dict(title="The line rises", description="A rising line")
frame = pd.DataFrame({"x": [0, 1, 2, 3], "y": [0.0, 1.0, 4.0, 9.0]})
"""
PLAIN = 'lines(frame, "x", "y", x_title="x", y_title="y [J]", **words)'
EXPLORER = """
calls = []
def draw(k):
    calls.append(k)
    return lines(frame.assign(y=frame.y * k), "x", "y", x_title="x", y_title="y [J]", **words)
def say(k):
    if k == 9:
        raise RuntimeError("nine is not allowed")
    return f"At k = {k} the line ends at {9 * k}."
explorer = Explorer({"k": W.IntSlider(value=1, min=1, max=10, description="k")}, draw, say,
                    goal=lambda k: k >= 3, goal_text="get the end above 20 J")
explorer
"""
TWIN = """
grid = pd.concat([frame.assign(y=frame.y * k, k=k) for k in range(1, 11)])
lines(grid, "x", "y", x_title="x", y_title="y [J]", slider=Slider("k", "k"), **words)
"""
PARAMS = """
import altair as alt
shift = alt.param(name="shift", value=0)
base = alt.Chart(frame, description="points").mark_point().add_params(shift).transform_calculate(z="datum.y + shift")
base = base.encode(x="x:Q", y=alt.Y("z:Q").scale(domain=[0, 20]))
Explorer(
    {"k": W.IntSlider(value=1, min=0, max=10, description="k")}, lambda k: {"shift": k}, lambda k: f"{k}", base=base
)
"""
PREDICT = 'predict("browser-test", "How many?", low=0, high=10, unit="layers")'
PREDICT_AGAIN = PREDICT.replace("browser-test", "browser-test-keys")  # the first commit of an id counts
SPREAD = 'reveal("browser-test", 7, unit="layers")'
CONTROLS = """
explorer = Explorer({
    "kind": W.Dropdown(options=["dense", "sparse", "ternary"], description="Model"),
    "rate": W.FloatLogSlider(value=100, base=10, min=0, max=3, step=0.5, description="Parameters [billion]"),
    "span": W.IntRangeSlider(value=(2, 4), min=0, max=6, description="Layers"),
}, lambda kind, rate, span: lines(frame, "x", "y", x_title="x", y_title="y", **words),
   lambda kind, rate, span: f"{kind} at {rate:g} from {span[0]} to {span[1]}")
explorer
"""
BUILDERS = {
    "bars": 'bars_with_range(frame.assign(n=list("abcd"), lo=frame.y - 1, hi=frame.y + 1), "n", "y",'
    ' x_title="Energy [J]",'
    ' band=("lo", "hi"), goal=(5, "goal"), **words)',
    "basis": 'bars_with_range(frame.assign(n=list("abcd"), b=["measured", "modelled"] * 2), "n", "y",'
    ' x_title="Energy [J]",'
    ' basis="b", **words)',
    "energy": 'energy_bars(pd.DataFrame({"run": ["a", "a", "b"], "component": ["cpu", "dram", "cpu"], '
    '"basis": ["measured", "modelled", "measured"], "energy_j": [3.0, 1.0, 2.0]}), **words)',
    "heatmap": 'heatmap(pd.DataFrame([(i, j, i * j) for i in range(4) for j in range(3)], columns=["i", "j", "v"]),'
    ' "i", "j",'
    ' "v", x_title="i", y_title="j", value_title="v [J]", label_format="d", **words)',
    "points": 'points(frame.assign(n=list("abcd"), b=["measured", "modelled"] * 2), "x", "y",'
    ' x_title="x", y_title="y [J]",'
    ' label="n", color="b", basis="b", goal=(4, "goal"), **words)',
    "log": 'points(frame.assign(x=[1, 10, 100, 1000], y=1.5), "x", "y", x_title="x", y_title="y", log_x=True, **words)',
    "band": 'lines(pd.concat([frame.assign(m=m, lo=frame.y - 1, hi=frame.y + 1) for m in "ab"]), "x", "y", x_title="x",'
    ' y_title="y [J]", color="m", band=("lo", "hi"), goal=(4, "goal"), **words)',
    "dashes": 'lines(pd.concat([frame.assign(m=m) for m in "ab"]), "x", "y", x_title="x", y_title="y", color="m",'
    " marks=False, **words)",
    "time": 'lines(frame.assign(x=pd.date_range("2020-01-01", periods=4, freq="h")), "x", "y", x_title="Time (UTC)",'
    ' y_title="y [J]", **words)',
    "dots": 'dots(frame.assign(m="a"), "x", "y", "m", x_title="y [J]", **words)',
    "roofline": 'roofline(frame.assign(roof="a", intensity=frame.x + 1, flops_per_s=frame.y + 1),'
    ' frame.assign(work="w", kind="k",'
    " intensity=frame.x + 1, flops_per_s=frame.y + 1), **words)",
    "bar twin": 'bars_with_range(pd.concat([frame.assign(n=list("abcd"), k=k) for k in (1, 2)]), "n", "y",'
    ' x_title="y [J]",'
    ' slider=Slider("k", "k"), **words)',
}


def write(server, name, *sources):
    """A notebook below the server's root, one code cell per source."""
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in sources]
    kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernelspec})
    nbformat.write(notebook, server.root / name)
    return name


def test_plain_chart_widget_and_vega_slider_work_offline(lab_page, lab_server):
    """What every chapter needs: a chart is drawn, an ipywidgets slider and a Vega slider each change one."""
    lab_page.open_notebook(
        write(lab_server, "basics.ipynb", SETUP, PLAIN, EXPLORER, TWIN, "print(explorer.text, calls)")
    )
    assert lab_page.run_all() == []
    lab_page.chart(1)
    for cell in (1, 2):
        assert lab_page.cell(cell).locator("[role='graphics-document'][aria-label='A rising line']").count() == 1

    before = lab_page.fingerprint(2)
    lab_page.press_slider(2, "ArrowRight")
    changed = lab_page.wait_for_change(2, before)
    message = lab_page.cell(2).get_by_role("status")
    assert "At k = 2 the line ends at 18." in message.inner_text()
    assert "not yet reached" in message.inner_text()
    lab_page.press_slider(2, "ArrowRight")
    lab_page.wait_for_change(2, changed)
    lab_page.page.wait_for_function("e => /Goal: .*: reached/.test(e.innerText)", arg=message.element_handle())

    before = lab_page.fingerprint(3)
    lab_page.press_vega_slider(3, "PageUp")
    lab_page.wait_for_change(3, before)


def test_a_failing_setting_is_said_and_the_widget_goes_on(lab_page, lab_server):
    """An exception in a callback is visible in the page, the chart stays, and the next setting works."""
    lab_page.open_notebook(write(lab_server, "failing.ipynb", SETUP, EXPLORER))
    assert lab_page.run_all() == []
    message = lab_page.cell(1).get_by_role("status")
    lab_page.press_slider(1, "End")
    message.get_by_text("At k = 10 the line ends at 90.").wait_for(timeout=10_000)
    before = lab_page.fingerprint(1)
    lab_page.press_slider(1, "ArrowLeft")
    message.get_by_text("RuntimeError: nine is not allowed").wait_for(timeout=10_000)
    assert lab_page.fingerprint(1) == before
    lab_page.press_slider(1, "ArrowLeft")
    message.get_by_text("At k = 8 the line ends at 72.").wait_for(timeout=10_000)
    lab_page.wait_for_change(1, before)


def test_a_burst_of_moves_does_not_queue_up(lab_page, lab_server):
    """Holding an arrow key on a slow widget ends at the last value without drawing every one on the way."""
    slow = EXPLORER.replace("calls.append(k)", "calls.append(k); import time; time.sleep(0.3)").replace(
        "max=10", "max=60"
    )
    slow = slow.replace("k == 9", "False")
    lab_page.open_notebook(write(lab_server, "burst.ipynb", SETUP, slow))
    assert lab_page.run_all() == []
    for _ in range(40):
        lab_page.press_slider(1, "ArrowRight")
    lab_page.cell(1).get_by_role("status").get_by_text("At k = 41 the line ends at 369.").wait_for(timeout=10_000)
    lab_page.page.evaluate(
        """async () => { const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            const future = kernel.requestExecute({code: 'print(len(calls))'});
            future.onIOPub = m => { if (m.header.msg_type === 'stream') window.drawn = Number(m.content.text); };
            await future.done; }"""
    )
    assert 2 <= lab_page.page.evaluate("window.drawn") <= 30


def test_parameters_move_without_a_new_chart(lab_page, lab_server):
    """The fast path: the kernel sends a number and Vega recomputes the marks."""
    lab_page.open_notebook(write(lab_server, "params.ipynb", SETUP, PARAMS))
    assert lab_page.run_all() == []
    before = lab_page.fingerprint(1)
    lab_page.press_slider(1, "ArrowRight")
    lab_page.wait_for_change(1, before)


def test_a_prediction_is_kept_and_revealed(lab_page, lab_server):
    """Slider, button, then the reveal compares with what was committed."""
    lab_page.open_notebook(write(lab_server, "predict.ipynb", SETUP, PREDICT, SPREAD))
    assert lab_page.run_all() == []
    assert "You have not predicted yet" in "".join(lab_page.outputs()[2][0]["data"]["text/html"])
    lab_page.press_slider(1, "Home")
    lab_page.cell(1).get_by_role("button", name="Commit").click()
    lab_page.cell(1).get_by_role("status").get_by_text("Kept: 0 layers").wait_for(timeout=10_000)
    assert lab_page.run_all() == []
    lab_page.page.wait_for_function(
        "() => document.body.innerText.includes('You were 7 layers too low')", timeout=10_000
    )


def test_keys_belong_to_the_control_that_has_the_focus(lab_page, lab_server):
    """The keys d d delete no cell, arrows move menus and sliders of charts, Enter presses Commit, Escape leads out."""
    lab_page.open_notebook(write(lab_server, "keys.ipynb", SETUP, CONTROLS, TWIN, PREDICT_AGAIN))
    assert lab_page.run_all() == []
    cells, keyboard = lab_page.page.locator(".jp-Notebook .jp-Cell"), lab_page.page.keyboard
    for cell, control in (
        (1, ".noUi-handle"),
        (1, "select"),
        (2, ".vega-bind input[type=range]"),
        (3, ".noUi-handle"),
        (3, "button"),
    ):
        lab_page.cell(cell).locator(control).first.focus()
        for keys in ("dd", "b", "x"):
            keyboard.type(keys)
            assert cells.count() == 4, f"{keys} on {control} changed the cells"
        assert lab_page.cell(cell).locator(control).first.is_visible()

    message = lab_page.cell(1).get_by_role("status")
    lab_page.cell(1).locator("select").focus()
    keyboard.press("Home")
    keyboard.press("ArrowDown")
    message.get_by_text("sparse at 100").wait_for(timeout=10_000)
    before = lab_page.fingerprint(2)
    lab_page.press_vega_slider(2, "ArrowRight")
    lab_page.wait_for_change(2, before)
    lab_page.press_slider(3, "Home")
    keyboard.press("Tab")
    lab_page.cell(3).get_by_role("button", name="Commit").focus()
    keyboard.press("Enter")
    lab_page.cell(3).get_by_role("status").get_by_text("Kept: 0 layers").wait_for(timeout=10_000)
    lab_page.page.wait_for_function("() => document.activeElement.getAttribute('role') === 'status'", timeout=10_000)
    keyboard.press("Escape")
    keyboard.press("b")
    lab_page.page.wait_for_function(
        "() => document.querySelectorAll('.jp-Notebook .jp-Cell').length === 5", timeout=5_000
    )


def test_the_answer_to_commit_gets_the_focus_that_commit_gives_up(lab_page, lab_server):
    """Commit switches itself off: the keyboard goes on from what is said. A reader who has moved on is left alone."""
    questions = [PREDICT.replace("browser-test", f"browser-test-focus-{n}") for n in (1, 2)]
    lab_page.open_notebook(write(lab_server, "focus.ipynb", SETUP, *questions, CONTROLS))
    assert lab_page.run_all() == []
    keyboard = lab_page.page.keyboard
    for cell in (1, 2):
        button = lab_page.cell(cell).get_by_role("button", name="Commit")
        button.focus()
        keyboard.press("Enter")
        lab_page.cell(cell).get_by_role("status").get_by_text("Kept: 5 layers").wait_for(timeout=10_000)
        lab_page.page.wait_for_function(
            "cell => cell.contains(document.activeElement) && document.activeElement.innerText.startsWith('Kept')",
            arg=lab_page.cell(cell).element_handle(),
            timeout=10_000,
        )
        assert button.is_disabled()
    keyboard.press("Tab")
    lab_page.page.wait_for_function("() => document.activeElement.getAttribute('role') !== 'status'", timeout=5_000)
    select = lab_page.cell(3).locator("select")
    select.focus()
    lab_page.press_slider(3, "ArrowRight")
    select.focus()
    lab_page.page.evaluate("() => document.querySelector('.jp-Notebook [role=status]').append(' ')")
    lab_page.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert select.evaluate("e => document.activeElement === e")


def test_sliders_have_names_and_speak_what_they_show(lab_page, lab_server):
    """For a screen reader: the label is the name; the value is the shown one with its unit, not an exponent."""
    lab_page.open_notebook(write(lab_server, "names.ipynb", SETUP, CONTROLS))
    assert lab_page.run_all() == []
    handles = lab_page.cell(1).locator(".noUi-handle")
    lab_page.cell(1).locator("[role=slider][aria-label='Parameters [billion]']").wait_for(timeout=10_000)
    spoken = [
        (handles.nth(n).get_attribute("aria-label"), handles.nth(n).get_attribute("aria-valuetext")) for n in range(3)
    ]
    assert spoken == [("Parameters [billion]", "100 billion"), ("Layers, from", "2"), ("Layers, to", "4")]
    lab_page.press_slider(1, "ArrowRight")
    lab_page.cell(1).locator("[aria-valuetext='316 billion']").wait_for(timeout=10_000)


def test_a_widget_says_that_its_kernel_is_gone(lab_page, lab_server):
    """After a restart it would look alive and answer to nothing; run again, it is quiet."""
    lab_page.open_notebook(write(lab_server, "gone.ipynb", SETUP, EXPLORER))
    assert lab_page.run_all() == []
    lab_page.chart(1)
    gone = lab_page.cell(1).get_by_text("Run its cell again.")
    assert gone.count() == 0
    lab_page.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    gone.wait_for(timeout=20_000)
    assert gone.count() == 1
    lab_page.page.evaluate("async () => { await jupyterapp.shell.currentWidget.sessionContext.session.kernel.info; }")
    assert lab_page.run_all() == []
    gone.wait_for(state="detached", timeout=20_000)


def test_every_chart_builder_draws_in_the_vega_lite_that_lab_ships(lab_page, lab_server):
    """Altair writes for Vega-Lite 6, Lab ships 5.6.1: each builder must come out with marks and without a warning."""
    warnings = []
    lab_page.page.on("console", lambda message: warnings.append(message.text) if message.type == "warning" else None)
    lab_page.open_notebook(write(lab_server, "builders.ipynb", SETUP, *BUILDERS.values()))
    assert lab_page.run_all() == []
    for number, name in enumerate(BUILDERS, start=1):
        marks = lab_page.chart(number).locator(
            "[class*='mark-'] [aria-roledescription], .mark-line path, .mark-rect path"
        )
        assert marks.count() > 0, f"the chart {name!r} has no marks"
    assert [text for text in warnings if "WARN" in text or "vega" in text.lower()] == []


@pytest.mark.parametrize("key", ["PageUp"])
def test_the_outside_is_blocked_and_noticed(lab_server, key):
    """The guard itself works: a page that loads from the outside is caught, and gets nothing."""
    from tests.browser.driver import open_page

    with open_page(lab_server) as lab:
        lab.page.goto(f"{lab_server.base}/lab?token={lab_server.token}")
        loaded = lab.page.evaluate("() => fetch('https://cdn.example/vega.js').then(() => true, () => false)")
        assert loaded is False
        assert lab.outside == ["https://cdn.example/vega.js"]


TABLE = """cell => { const fold = cell.querySelector('details.greenlab-data'); fold.open = true;
    return [...fold.querySelectorAll('tr')].map(row => [...row.cells].map(c => c.textContent)); }"""


def data_of(lab_page, cell):
    """The table behind the fold of a cell's chart, opened."""
    lab_page.chart(cell)
    lab_page.cell(cell).locator("details.greenlab-data").wait_for(timeout=10_000)
    lab_page.cell(cell).evaluate(TABLE)
    lab_page.cell(cell).locator("details.greenlab-data tbody tr").first.wait_for(timeout=10_000)
    return lab_page.cell(cell).evaluate(TABLE)


def test_the_data_of_a_chart_is_a_table_that_follows_every_move(lab_page, lab_server):
    """The figures of the frame that was drawn, each row once; a kernel's slider and Vega's own change them."""
    sources = [BUILDERS["bars"], BUILDERS["points"], EXPLORER, TWIN]
    lab_page.open_notebook(write(lab_server, "data.ipynb", SETUP, *sources))
    assert lab_page.run_all() == []
    lows, highs = ("−1", "0", "3", "8"), ("1", "2", "5", "10")
    bars = [list(row) for row in zip("abcd", "0149", lows, highs, strict=True)]
    assert data_of(lab_page, 1) == [["n", "Energy [J]", "low", "high"], *bars]
    assert len(data_of(lab_page, 2)) == 5
    lines = data_of(lab_page, 3)
    assert lines == [["x", "y [J]"], ["0", "0"], ["1", "1"], ["2", "4"], ["3", "9"]]
    lab_page.press_slider(3, "ArrowRight")
    lab_page.cell(3).locator("details.greenlab-data td").get_by_text("18", exact=True).wait_for(timeout=10_000)
    assert data_of(lab_page, 3) == [["x", "y [J]"], ["0", "0"], ["1", "2"], ["2", "8"], ["3", "18"]]
    assert data_of(lab_page, 4)[1:] == [["0", "0"], ["1", "1"], ["2", "4"], ["3", "9"]]
    lab_page.press_vega_slider(4, "ArrowRight")
    lab_page.cell(4).locator("details.greenlab-data td").get_by_text("18", exact=True).wait_for(timeout=10_000)
    assert data_of(lab_page, 4)[-1] == ["3", "18"]
    assert lab_page.page.locator("details.greenlab-data").count() == 4
