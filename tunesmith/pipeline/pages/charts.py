"""Charts as SVG strings: bars, a heat map, curves, a reliability diagram.

Colours come from the page's CSS classes, so light, dark and print need no second drawing; what is
wide (bars) is drawn in percent, so it stretches without its text growing.
Knows: numbers and labels. Does not know: what they were measured on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from tunesmith.metrics.abstaining import Point
from tunesmith.metrics.classification import Bin

Scale = Literal["loss", "share"]

MAX_POINTS = 160
"""Points of a drawn curve; longer ones are averaged over neighbouring steps."""
MAX_CELLS = 4000
"""Mistakes drawn in a heat map: the largest ones."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve: (x, y) points in order of x; `css` is its class."""

    name: str
    css: str
    points: Sequence[tuple[float, float]]


def percent(share: float) -> str:
    """0.938 → "93.8 %"; never "100.0 %" for less than all."""
    value = round(100 * share, 1)
    return f"{min(value, 99.9) if share < 1 else value:.1f}\u202f%"


def bar(value: float, interval: Sequence[float] | None = None, *, css: str = "") -> Markup:
    """A horizontal bar for a share of 0 to 1, with its interval as a whisker."""
    whisker = Markup("")
    if interval:
        low, high = (f"{100 * min(max(end, 0), 1):.2f}%" for end in interval)
        edges = ((low, high, "50%", "50%"), (low, low, "22%", "78%"), (high, high, "22%", "78%"))
        for edge in edges:
            whisker += Markup('<line class="whisker" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                *edge
            )
    return Markup(
        '<svg class="bar {}" role="img" aria-label="{}"><rect class="track" width="100%" '
        'height="100%" rx="3"/><rect class="fill" width="{}%" height="100%" rx="3"/>{}</svg>'
    ).format(css, percent(value), f"{100 * min(max(value, 0), 1):.2f}", whisker)


def stacked(parts: Sequence[tuple[str, int, str]]) -> Markup:
    """One bar cut into (name, count, css) parts; a small part keeps a visible width."""
    counts = [n for _, n, _ in parts]
    widths = [max(n / max(1, sum(counts)), 0.007) for n in counts]
    out, left = Markup(""), 0.0
    for (name, count, css), width in zip(parts, widths, strict=True):
        share = 100 * width / sum(widths)
        out += Markup(
            '<rect class="{}" x="{}%" width="{}%" height="100%"><title>{}: {}</title></rect>'
        ).format(css, f"{left:.3f}", f"{share:.3f}", name, f"{count:,}")
        left += share
    return Markup('<svg class="stacked" role="img" aria-label="{}">{}</svg>').format(
        "; ".join(f"{name}: {count:,}" for name, count, _ in parts), out
    )


def shade(count: int, total: int, *, right: bool) -> float:
    """How strong a cell's colour is, 0 to 1: its share of the row; of mistakes the root of it, and
    0.45 at least, so that few rows show too."""
    share = count / total if total else 0.0
    return share if right else max(0.45, math.sqrt(share))


def heat_map(
    confusion: Sequence[Sequence[int]], rows: Sequence[str], columns: Sequence[str]
) -> Markup:
    """The confusion table as a square of cells; each filled cell names itself on hover."""
    totals = [sum(row) for row in confusion]
    cells = [(n, i, j) for i, row in enumerate(confusion) for j, n in enumerate(row) if n]
    right = [cell for cell in cells if cell[1] == cell[2]]
    wrong = sorted((c for c in cells if c[1] != c[2]), key=lambda c: (-c[0], c))[:MAX_CELLS]
    out = Markup("")
    for n, i, j in right + wrong:
        meaning = "answered rightly" if i == j else f"answered as {columns[j]}"
        out += Markup(
            '<rect class="{}" x="{}" y="{}" width="1" height="1" fill-opacity="{}">'
            "<title>{}: {:,} of {:,} rows {}</title></rect>"
        ).format(
            "hit" if i == j else "miss", j, i, f"{shade(n, totals[i], right=i == j):.2f}",
            rows[i], n, totals[i], meaning,
        )  # fmt: skip
    return Markup(
        '<svg class="heat" viewBox="-0.5 -0.5 {} {}" role="img" aria-label="Confusion matrix of '
        '{} labels">{}<rect class="frame" x="0" y="0" width="{}" height="{}"/></svg>'
    ).format(len(columns) + 1, len(rows) + 1, len(rows), out, len(columns), len(rows))


def curves(lines: Sequence[Line], *, marked: int | None, scale: Scale, title: str) -> Markup:
    """Curves over steps, with the chosen step marked."""
    points = [p for line in lines for p in line.points]
    values, right = [y for _, y in points], max(x for x, _ in points)
    if scale == "share":
        # From a fifth below the lowest point up to 100 %, so that late gains show.
        frame = Frame(right=right, low=min(0.8, math.floor(5 * min(values)) / 5), high=1)
    else:
        frame = Frame(right=right, low=0, high=4 * _round_up(max(values) / 4))
    out = _grid(frame, scale)
    if marked is not None:
        x, _ = frame.at(marked, frame.low)
        aside, anchor = (6, "start") if marked < 0.6 * frame.right else (-6, "end")
        out += Markup(
            '<path class="chosen" d="M{0:.1f} 212V14"/><text class="kept" x="{1:.1f}" y="24" '
            'text-anchor="{2}">kept: step {3:,}</text>'
        ).format(x, x + aside, anchor, marked)
    out += Markup("").join(_drawn(line, frame, scale) for line in lines)
    return Markup(
        '<svg class="curves" viewBox="0 0 440 250" role="img" aria-label="{}">{}'
        '<text x="236" y="247" text-anchor="middle">step</text></svg>'
    ).format(title, out)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where the values of a curve lie in its drawing of 440 by 250."""

    right: float
    low: float
    high: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        across, up = x / (self.right or 1), (y - self.low) / (self.high - self.low)
        return 46 + 382 * across, 212 - 190 * up


def _round_up(step: float) -> float:
    """The next of …, 0.1, 0.2, 0.25, 0.5, 1, 2, … that is not smaller."""
    if step <= 0:
        return 0.25
    size = 10.0 ** math.floor(math.log10(step))
    return next(size * k for k in (1, 2, 2.5, 5, 10) if size * k >= step * (1 - 1e-9))


def _grid(frame: Frame, scale: Scale) -> Markup:
    out = Markup("")
    for k in range(5):
        y = frame.low + (frame.high - frame.low) * k / 4
        words = f"{100 * y:.0f}\u202f%" if scale == "share" else f"{y:.3g}"
        out += Markup(
            '<path class="grid" d="M46 {0:.1f}H428"/>'
            '<text x="40" y="{0:.1f}" dy="4" text-anchor="end">{1}</text>'
        ).format(frame.at(0, y)[1], words)
    for x in sorted({0, round(frame.right / 2), round(frame.right)}):
        out += Markup('<text x="{:.1f}" y="230" text-anchor="middle">{:,}</text>').format(
            frame.at(x, 0)[0], x
        )
    return out


def _drawn(line: Line, frame: Frame, scale: Scale) -> Markup:
    points = _thinned(line.points)
    places = [frame.at(x, y) for x, y in points]
    out = Markup('<polyline class="{}" points="{}"/>').format(
        line.css, " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    )
    if len(points) > 30:
        return out
    for (x, y), (across, down) in zip(points, places, strict=True):
        out += Markup(
            '<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3.5"><title>{}, step {:,}: {}</title>'
            "</circle>"
        ).format(
            line.css, across, down, line.name, round(x),
            percent(y) if scale == "share" else f"{y:.3f}",
        )  # fmt: skip
    return out


def reliability(bins: Sequence[Bin]) -> Markup:
    """Share right (bars) against the model's own probability (the diagonal), by bin."""
    out = Markup("")
    for k in range(5):
        out += Markup(
            '<path class="grid" d="M46 {0}H336"/><text x="40" y="{0}" dy="4" text-anchor="end">'
            '{1}\u202f%</text><text x="{2}" y="228" text-anchor="middle">{1}\u202f%</text>'
        ).format(210 - 47.5 * k, 25 * k, 46 + 72.5 * k)
    for b in bins:
        out += Markup(
            '<rect class="fill" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2">'
            "<title>{:,} rows: {} sure on average, {} right</title></rect>"
        ).format(
            48 + 290 * b.low, 210 - 190 * b.accuracy, 290 * (b.high - b.low) - 4,
            190 * b.accuracy, b.num_rows, percent(b.confidence), percent(b.accuracy),
        )  # fmt: skip
    return Markup(
        '<svg class="curves small" viewBox="0 0 356 250" role="img" aria-label="Share right by the '
        'model’s own probability">{}<path class="ideal" d="M46 210L336 20"/><text x="191" y="247" '
        'text-anchor="middle">the model’s own probability</text></svg>'
    ).format(out)


def coverage(points: Sequence[Point]) -> Markup:
    """Share right among the rows that are answered, over the share of rows that are, with its 95 %
    interval as a band."""
    low = min(p.interval[0] for p in points)
    frame = Frame(right=1.0, low=min(0.8, math.floor(5 * low) / 5), high=1.0)
    upper = [frame.at(p.coverage, p.interval[1]) for p in points]
    lower = [frame.at(p.coverage, p.interval[0]) for p in reversed(points)]
    band = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*upper, *lower))
    line = [frame.at(p.coverage, p.accuracy) for p in points]
    out = Markup("")
    for k in range(5):
        share = frame.low + (frame.high - frame.low) * k / 4
        across, down = frame.at(k / 4, share)
        out += Markup(
            '<path class="grid" d="M46 {0:.1f}H428"/><text x="40" y="{0:.1f}" dy="4" '
            'text-anchor="end">{1:.0f}\u202f%</text><text x="{2:.1f}" y="230" '
            'text-anchor="middle">{3}\u202f%</text>'
        ).format(down, 100 * share, across, 25 * k)
    out += Markup('<polygon class="band" points="{}"/>').format(band)
    out += Markup('<polyline class="dev" points="{}"/>').format(
        " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
    )
    for p, (x, y) in zip(points, line, strict=True):
        out += Markup(
            '<circle class="dev" cx="{:.1f}" cy="{:.1f}" r="3.5"><title>{} of the texts answered, '
            "from a probability of {} on: {} right</title></circle>"
        ).format(x, y, percent(p.coverage), percent(p.threshold), percent(p.accuracy))
    return Markup(
        '<svg class="curves" viewBox="0 0 454 250" role="img" aria-label="Share right by share of '
        'texts answered">{}<text x="236" y="247" text-anchor="middle">texts that it answers</text>'
        "</svg>"
    ).format(out)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MAX_POINTS points: means of neighbours; the first and last stay as they are."""
    if len(points) <= MAX_POINTS:
        return list(points)
    size = math.ceil((len(points) - 2) / (MAX_POINTS - 2))
    inner = points[1:-1]
    groups = [inner[i : i + size] for i in range(0, len(inner), size)]
    means = [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]
    return [points[0], *means, points[-1]]
