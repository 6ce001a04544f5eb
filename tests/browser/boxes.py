"""Where the words of a drawn chart stand, and which of them a reader cannot read.

Asked of the page itself: a browser's font decides how wide a word is, so nothing can be computed from the chart alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CHARTS = ".greenlab-chart svg.marks"
ROOM_PX = 1.0  # two boxes that touch by less than this do not disturb
# For each chart: its title, its own box, the box that shows it, and of each text: words, kind of mark, box.
# A line of text is taller than its letters; a seventh of it, above and below, is empty.
MEASURE = """charts => charts.map(svg => {
    const box = r => [r.left, r.top, r.right, r.bottom];
    const shown = e => {
        for (let n = e; n && n !== svg; n = n.parentNode) {
            const style = getComputedStyle(n);
            if (style.display === 'none' || style.visibility === 'hidden' || +style.opacity === 0) return false;
        }
        return true;
    };
    const lines = t => [...t.querySelectorAll('tspan')].map(e => e.textContent);
    const said = t => (lines(t).length ? lines(t).join(' ') : t.textContent).trim();
    const seen = t => {
        const r = t.getBoundingClientRect(), m = t.getCTM(), turned = Math.abs(m.b) > Math.abs(m.a);
        const air = (turned ? r.width : r.height) / Math.max(1, lines(t).length) / 7;
        const across = turned ? air : 0, down = turned ? 0 : air;
        const kind = t.closest('[class*=role-]')?.getAttribute('class') || '';
        return {words: said(t), role: kind.match(/role-([\\w-]+)/)?.[1] || '', oblique: Math.abs(m.a * m.b) > 1e-3,
            box: [r.left + across, r.top + down, r.right - across, r.bottom - down]};
    };
    const title = svg.querySelector('.role-title-text text');
    return {title: title ? said(title) : svg.getAttribute('aria-label') || '', svg: box(svg.getBoundingClientRect()),
        cell: box(svg.closest('.greenlab-chart').getBoundingClientRect()),
        texts: [...svg.querySelectorAll('text')].filter(t => said(t) && shown(t)).map(seen)};
})"""
PREFIX = r"^[−-]?[\d.,]+\s?[mkMGµu]$"


@dataclass(frozen=True)
class Words:
    """One text of a chart: what it says, the role of its mark, and the box of its letters in pixels of the page."""

    words: str
    role: str
    box: tuple[float, float, float, float]  # left, top, right, bottom


def faults(chart: dict[str, Any]) -> list[str]:
    """What a reader cannot read in a chart that ``MEASURE`` looked at, each as one sentence.

    >>> at = {"one": 0, "two": 20}
    >>> texts = [{"words": w, "role": "", "box": [x, 0, x + 30, 10], "oblique": False} for w, x in at.items()]
    >>> faults({"title": "It rises", "svg": [0, 0, 45, 50], "cell": [0, 0, 100, 50], "texts": texts})
    ["'It rises': 'one' and 'two' overlap by 10 x 10 px", "'It rises': 'two' is cut by 5 px"]
    """
    found = []
    texts = [Words(t["words"], t["role"], tuple(t["box"])) for t in chart["texts"] if not t["oblique"]]
    for place, one in enumerate(texts):
        for other in texts[place + 1 :]:
            across = min(one.box[2], other.box[2]) - max(one.box[0], other.box[0])
            down = min(one.box[3], other.box[3]) - max(one.box[1], other.box[1])
            if across > ROOM_PX and down > ROOM_PX and (one.words, one.box) != (other.words, other.box):
                found.append(f"{one.words!r} and {other.words!r} overlap by {across:.0f} x {down:.0f} px")
    for one in texts:
        left, top = (max(chart["svg"][i], chart["cell"][i]) for i in (0, 1))
        right, bottom = (min(chart["svg"][i], chart["cell"][i]) for i in (2, 3))
        beyond = max(left - one.box[0], top - one.box[1], one.box[2] - right, one.box[3] - bottom)
        if beyond > ROOM_PX:
            found.append(f"{one.words!r} is cut by {beyond:.0f} px")
    return [f"{chart['title']!r}: {fault}" for fault in found]
