"""Every control of a chapter's outputs, found in the page itself and moved by the keyboard, as a reader would.

Nothing is listed here by hand: a control that a chapter gets tomorrow is found tomorrow. A control of a kind that
nobody knows how to move fails the test.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

# What can be moved. A slider's readout and a region that scrolls are no controls of their own; folds have a test.
FIND = """() => {
    const cells = [...document.querySelectorAll('.jp-Notebook .jp-Cell')];
    const all = '.noUi-handle, select, input, textarea, button';
    return [...document.querySelectorAll('.jp-OutputArea-output')].flatMap(out =>
        [...out.querySelectorAll(all)].filter(e => !e.closest('.lm-TabBar')).map((e, n) => {
            e.dataset.control ??= `${cells.indexOf(out.closest('.jp-Cell'))}-${Math.random().toString(36).slice(2)}`;
            const kind = e.classList.contains('noUi-handle') ? 'slider' : e.tagName === 'INPUT' ? e.type
                : e.tagName.toLowerCase();
            return {cell: cells.indexOf(out.closest('.jp-Cell')), key: e.dataset.control, kind, disabled: !!e.disabled,
                name: (e.getAttribute('aria-label') || [...(e.labels ?? [])].map(l => l.textContent).join(' ')
                    || e.textContent || e.title).trim()};
        }));
}"""
# Open the tabs and folds that hide a control, the outermost first
SHOW = """e => {
    const hidden = () => e.offsetParent === null;
    for (let n = e.closest('details'); n; n = n.parentElement.closest('details')) n.open = true;
    if (!hidden()) return;
    for (const panel of [...document.querySelectorAll('.jp-OutputArea-output .widget-tab')].filter(p => p.contains(e)))
        for (const tab of panel.querySelectorAll('.lm-TabBar-tab')) {
            if (!hidden()) return;
            const at = tab.getBoundingClientRect();
            const where = {bubbles: true, button: 0, clientX: at.left + 5, clientY: at.top + 5};
            for (const kind of ['pointerdown', 'pointerup']) tab.dispatchEvent(new PointerEvent(kind, where));
        }
}"""
LOOK = """e => {
    const out = e.closest('.jp-OutputArea-output');
    const own = e.type === 'checkbox' || e.type === 'radio' ? e.checked : e.value ?? e.getAttribute('aria-valuenow');
    return {charts: [...out.querySelectorAll('svg.marks')].map(s => s.outerHTML).join(),
        words: `${out.innerText} ${own}`};
}"""
# The time from a key on this control to the changed chart, seen in each frame of the page
WATCH = """e => {
    const out = e.closest('.jp-OutputArea-output');
    const look = () => [...out.querySelectorAll('svg.marks')].map(s => s.outerHTML).join();
    window.repaintMs = null;
    e.addEventListener('keydown', () => {
        const start = performance.now(), before = look();
        const frame = () => {
            if (look() !== before) window.repaintMs = performance.now() - start;
            else if (performance.now() - start < 20000) requestAnimationFrame(frame);
        };
        requestAnimationFrame(frame);
    }, {capture: true, once: true});
}"""

IDLE = "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"


@dataclass(frozen=True)
class Control:
    """One control: the number of its cell, the mark that finds it, its kind, and the name that a reader hears."""

    cell: int
    key: str
    kind: str
    name: str
    disabled: bool


def find_controls(page: Any) -> list[Control]:
    """Every control in the outputs of a notebook, in the order of the page."""
    return [Control(**found) for found in page.evaluate(FIND)]


def locate(page: Any, control: Control) -> Any:
    """The control as a Playwright locator, made visible."""
    found = page.locator(f"[data-control='{control.key}']")
    found.evaluate(SHOW)
    return found


def moves(page: Any, control: Control, typed: dict[str, str]) -> list[Any]:
    """The ways in which a reader moves a control by the keyboard, each a function without arguments.

    A step may draw the same, or lead beyond the end of a scale; then the next way is tried.

    Args:
        page: the Playwright page.
        control: what to move.
        typed: what a reader types into fields of text, by the name of the field.

    Raises:
        AssertionError: if nobody knows how to move a control of this kind, or it cannot have the focus.
    """
    found = locate(page, control)
    found.focus()
    assert found.evaluate("e => e === document.activeElement"), f"{control} is out of the keyboard's reach"
    if control.kind in ("slider", "range"):
        keys = ["ArrowRight", "ArrowLeft", "End", "Home"]
    elif control.kind == "select":
        keys = ["ArrowDown", "ArrowUp", "End", "Home"]
    elif control.kind in ("text", "number", "search", "textarea"):
        return [lambda: type_into(found, control, typed)]
    elif control.kind in ("checkbox", "radio", "submit", "button"):
        keys = ["Space"]
    else:
        raise AssertionError(f"nobody knows how to move {control}: teach tests/browser/controls.py")
    return [lambda key=key: found.press(key) for key in keys]


def type_into(found: Any, control: Control, typed: dict[str, str]) -> None:
    """Type what the test names for a field; else half the number in it, or a word more."""
    value = found.input_value()
    new = str(float(value) * 0.5) if is_number(value) else f"{value} again".strip()
    found.fill(typed.get(control.name, new))
    found.press("Tab" if control.kind == "textarea" else "Enter")


def changes(page: Any, control: Control, typed: dict[str, str], words_only: bool) -> bool:
    """Move a control; whether the charts around it change, or the words where no chart is beside it.

    A step that a real model takes may last; each way but the last is given up earlier.
    """
    settle(page)
    before = look(page, control)
    part = "charts" if before["charts"] and not words_only else "words"
    for way in (ways := moves(page, control, typed)):
        way()
        if wait_for_change(page, control, before, part, patient=way is ways[-1]):
            return True
    return False


def set_first(page: Any, control: Control, controls: list[Control], keys: dict[str, list[str]]) -> None:
    """Bring the other controls of a cell to where this one can be seen to count.

    Args:
        page: the Playwright page.
        control: the one that is moved next.
        controls: all controls of the chapter.
        keys: what is pressed on each of the others, by its name.
    """
    for other in controls:
        if other.cell == control.cell and other.name in keys:
            found = locate(page, other)
            found.focus()
            for key in keys[other.name]:
                found.press(key)


def settle(page: Any) -> None:
    """Wait until the kernel has answered and the page has drawn, so that nothing late is taken for an answer."""
    for _ in range(2):
        page.wait_for_timeout(60)
        page.wait_for_function(IDLE, timeout=60_000)


def is_number(words: str) -> bool:
    """Whether a field holds a number.

    >>> is_number("1e3"), is_number("Ireland")
    (True, False)
    """
    try:
        float(words)
    except ValueError:
        return False
    return True


def look(page: Any, control: Control) -> dict[str, str]:
    """What the output around a control shows now: its charts, and its words with the state of the control itself.

    Where no chart stands beside it, a box that is ticked need not change what is said before the answer is asked for.
    """
    return page.locator(f"[data-control='{control.key}']").evaluate(LOOK)


def wait_for_change(page: Any, control: Control, before: dict[str, str], part: str, patient: bool) -> bool:
    """Whether the charts, or the words, around a control become others than before.

    Args:
        page: the Playwright page.
        control: what was moved.
        before: what `look` gave before.
        part: "charts" or "words".
        patient: wait for 15 s; else no longer than the kernel works and a chart takes to be drawn.
    """
    start = time.monotonic()
    while look(page, control)[part] == before[part]:
        waited_s = time.monotonic() - start
        if (waited_s > 15 and page.evaluate(IDLE)) or waited_s > 120:
            return False
        if not patient and waited_s > 1.5 and page.evaluate(IDLE):
            page.wait_for_timeout(500)
            return look(page, control)[part] != before[part]
        page.wait_for_timeout(30)
    return True


def repaints(page: Any, control: Control, least: int = 4, most_s: float = 2.0) -> list[float]:
    """Times from a key on a slider to the changed chart [ms]; fewer on a slider that moves a real model."""
    found, times, start = locate(page, control), [], time.monotonic()
    found.focus()
    for turn in range(least):
        if time.monotonic() - start > most_s:
            break
        found.evaluate(WATCH)
        found.press("ArrowLeft" if turn % 2 == 0 else "ArrowRight")
        try:
            page.wait_for_function("() => window.repaintMs !== null", timeout=5_000)
            times.append(page.evaluate("window.repaintMs"))
        except Exception:  # a key at the end of the scale, or a step that draws the same, changes nothing
            break
    return times
