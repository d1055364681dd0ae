"""Charts of a search, as SVG strings: history, importances, parallel coordinates.

Colours come from the page's CSS classes, as in `charts`.
Knows: points and names. Does not know: what a trial is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 640, 270
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 24, 40


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A trial in the history: its number (from 1) and score; `css` is its class."""

    number: int
    score: float
    best: float
    """The best score up to here."""
    css: str
    words: str
    """Shown when pointed at."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis of the parallel coordinates; `places` of the lines lie between 0 and 1."""

    name: str
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A trial across all axes."""

    places: Sequence[float]
    css: str
    words: str


def history(dots: Sequence[Dot], *, target: float | None, shown: Callable[[float], str]) -> Markup:
    """Score by trial, the best so far as a line, and the target. At least one dot."""
    scores = [dot.score for dot in dots] + ([] if target is None else [target])
    ticks = _round_numbers(min(scores), max(scores))
    low, high = ticks[0], ticks[-1]
    most = max(dot.number for dot in dots)

    def across(number: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (number - 0.5) / most

    def down(score: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - score) / (high - low)

    out = Markup("")
    for value in ticks:
        out += Markup(
            '<path class="grid" d="M{0} {1:.1f}H{2}"/>'
            '<text x="{3}" y="{1:.1f}" dy="4" text-anchor="end">{4}</text>'
        ).format(LEFT, down(value), WIDTH - RIGHT, LEFT - 8, shown(value))
    step = max(1, math.ceil(most / 12))
    for number in range(1, most + 1, step):
        out += Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            across(number), HEIGHT - 22, number
        )
    if target is not None:
        out += Markup(
            '<path class="target" d="M{0} {1:.1f}H{2}"/>'
            '<text class="target" x="{2}" y="{1:.1f}" dy="-5" text-anchor="end">target</text>'
        ).format(LEFT, down(target), WIDTH - RIGHT)
    path = f"M{across(dots[0].number):.1f} {down(dots[0].best):.1f}"
    path += "".join(f"H{across(d.number):.1f}V{down(d.best):.1f}" for d in dots[1:])
    out += Markup('<path class="best" d="{}"/>').format(path)
    for dot in dots:
        out += Markup(
            '<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="5"><title>{}</title></circle>'
        ).format(dot.css, across(dot.number), down(dot.score), dot.words)
    return _whole(out, "Score by trial", below="trial")


def parallel(axes: Sequence[Axis], lines: Sequence[Line]) -> Markup:
    """Each trial as a line across its settings to its score; those drawn last lie on top."""
    bottom = HEIGHT - BOTTOM

    def across(number: int) -> float:
        return 70 + (WIDTH - 140) * number / max(1, len(axes) - 1)

    def down(place: float) -> float:
        return bottom - (bottom - 30) * place

    out = Markup("")
    for line in lines:
        points = " ".join(f"{across(i):.1f},{down(p):.1f}" for i, p in enumerate(line.places))
        out += Markup('<polyline class="{}" points="{}"><title>{}</title></polyline>').format(
            line.css, points, line.words
        )
    for number, axis in enumerate(axes):
        x = across(number)
        out += Markup('<path class="axis" d="M{0:.1f} 30V{1}"/>').format(x, bottom)
        # Every other name a line lower, so that long ones do not run into each other; the outer
        # ones inwards, so that they stay in the drawing.
        anchor = {0: "start", len(axes) - 1: "end"}.get(number, "middle")
        out += Markup('<text class="name" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
            x + {"start": -62, "middle": 0, "end": 62}[anchor],
            HEIGHT - 20 + 15 * (number % 2), anchor, axis.name,
        )  # fmt: skip
        for place, words in axis.ticks:
            out += Markup('<text class="tick" x="{:.1f}" y="{:.1f}" dy="4">{}</text>').format(
                x + 5, down(place), words
            )
    return _whole(out, "Trials across their settings")


def _round_numbers(low: float, high: float) -> list[float]:
    """A few numbers a round step apart, from at most `low` to at least `high`."""
    span = max(high - low, abs(high) * 0.02, 1e-3)
    size = 10.0 ** math.floor(math.log10(span / 3))
    step = next(size * k for k in (1, 2, 5, 10) if span / (size * k) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, max(last, first + 1) + 1)]


def _whole(drawn: Markup, title: str, *, below: str = "") -> Markup:
    words = Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
        WIDTH / 2, HEIGHT - 4, below
    )
    return Markup(
        '<svg class="search" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>'
    ).format(WIDTH, HEIGHT, title, drawn, words if below else "")
