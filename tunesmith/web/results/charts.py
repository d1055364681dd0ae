"""Charts as SVG: numbers only, so nothing that anybody wrote is in them.

Colours come from the page's classes, so light and dark need no second drawing. Each has a name for
those who do not see it; what it says stands beside it in words.
Does not know: what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.web.results.words import percent

MOST_POINTS = 300


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where values lie in a drawing of 440 by 250."""

    left: float
    right: float
    low: float
    high: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point."""
        across = (x - self.left) / ((self.right - self.left) or 1)
        up = (y - self.low) / ((self.high - self.low) or 1)
        return 48 + 380 * across, 212 - 190 * min(max(up, 0), 1)


def reliability(bins: Sequence[Mapping[str, float]]) -> str:
    """Share right against the stated probability, by bin."""
    frame = Frame(left=0, right=1, low=0, high=1)
    parts = [_grid(frame, [0, 0.25, 0.5, 0.75, 1], [0, 0.25, 0.5, 0.75, 1])]
    for one in bins:
        x, y = frame.at(one["low"], one["accuracy"])
        width = frame.at(one["high"], 0)[0] - x
        said = f"{one['num_rows']:,} rows: {percent(one['confidence'])} sure on average, "
        said += f"{percent(one['accuracy'])} right"
        parts.append(
            f'<rect class="fill" x="{x + 2:.1f}" y="{y:.1f}" width="{width - 4:.1f}" '
            f'height="{212 - y:.1f}" rx="2"><title>{said}</title></rect>'
        )
    (x0, y0), (x1, y1) = frame.at(0, 0), frame.at(1, 1)
    parts.append(f'<path class="ideal" d="M{x0} {y0}L{x1} {y1}"/>')
    name = "Share of answers that are right, by the probability that the model stated"
    return _drawing(name, "stated probability", parts)


def coverage(points: Sequence[Sequence[float]], total: int, chosen: Sequence[float]) -> str:
    """Share right among the rows answered, over the share of rows answered, with its interval as a
    band and the chosen point marked. points: see `labels.sureness`."""
    some = [p for p in points if p[1]]
    low = min((p[3] for p in some), default=0.8)
    frame = Frame(left=0, right=1, low=min(0.8, math.floor(5 * low) / 5), high=1)
    steps = [frame.low + (1 - frame.low) * k / 4 for k in range(5)]
    line = " ".join(_place(frame, p[1] / total, p[2] / p[1]) for p in some)
    upper = [_place(frame, p[1] / total, p[4]) for p in some]
    lower = [_place(frame, p[1] / total, p[3]) for p in reversed(some)]
    parts = [
        _grid(frame, [0, 0.25, 0.5, 0.75, 1], steps),
        f'<polygon class="band" points="{" ".join(upper + lower)}"/>',
        f'<polyline class="line" points="{line}"/>',
    ]
    if chosen[1]:
        x, y = frame.at(chosen[1] / total, chosen[2] / chosen[1])
        parts.append(f'<path class="chosen" d="M{x:.1f} 212V14"/>')
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
    name = "Share of answers that are right, by the share of texts that are answered"
    return _drawing(name, "texts that it answers itself", parts)


def losses(rows: Sequence[Mapping[str, Any]]) -> str:
    """The loss while training, on training rows and held-out ones, over steps."""
    held_out = next((n for n in ("dev_loss", "valid_loss") if any(n in r for r in rows)), "")
    lines = {
        css: [(r["step"], r[name]) for r in rows if name and name in r]
        for css, name in (("train", "train_loss"), ("dev", held_out))
    }
    every = [point for line in lines.values() for point in line]
    if len(every) < 3:
        return ""
    top = max(y for _, y in every)
    high = next(s * 10.0**e for e in range(-4, 9) for s in (1, 2, 5) if s * 10.0**e >= top)
    frame = Frame(left=0, right=max(x for x, _ in every), low=0, high=high)
    across = [0, round(frame.right / 2), frame.right]
    parts = [_grid(frame, across, [high * k / 4 for k in range(5)], are_shares=False)]
    for css, line in lines.items():
        some = line[:: max(1, len(line) // MOST_POINTS)]
        drawn = " ".join(_place(frame, x, y) for x, y in some)
        parts.append(f'<polyline class="{css}" points="{drawn}"/>')
    return _drawing("Loss on training rows and on held-out rows, by step", "step", parts)


def _grid(
    frame: Frame, across: Sequence[float], up: Sequence[float], *, are_shares: bool = True
) -> str:
    out = []
    for value in up:
        y = frame.at(0, value)[1]
        words = f"{100 * value:.0f}\u202f%" if are_shares else f"{value:.3g}"
        out.append(f'<path class="grid" d="M48 {y:.1f}H428"/>')
        out.append(f'<text x="42" y="{y + 4:.1f}" text-anchor="end">{words}</text>')
    for value in across:
        x = frame.at(value, 0)[0]
        words = f"{100 * value:.0f}\u202f%" if are_shares else f"{value:,.0f}"
        out.append(f'<text x="{x:.1f}" y="229" text-anchor="middle">{words}</text>')
    return "".join(out)


def _place(frame: Frame, x: float, y: float) -> str:
    across, down = frame.at(x, y)
    return f"{across:.1f},{down:.1f}"


def _drawing(name: str, below: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 456 252" role="img" aria-label="{name}">'
        f'{"".join(parts)}<text x="238" y="247" text-anchor="middle">{below}</text></svg>'
    )
