"""How training went, as curves and as sentences on them.

Knows: what was measured step by step. Does not know: how a page is laid out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from tunesmith.metrics.curves import Diagnosis, Point, diagnose
from tunesmith.pipeline.evaluating.run_facts import CurvePoint, RunFacts
from tunesmith.pipeline.pages import charts

LINES = (
    ("train", "training examples of each step"),
    ("dev", "dev slice"),
    ("valid", "held-out examples"),
)
"""Prefix of the measured values, which is the CSS class too, and what it is of."""
MEASURES: tuple[tuple[str, charts.Scale], ...] = (("loss", "loss"), ("accuracy", "share"))


def curves(facts: RunFacts) -> dict[str, Markup]:
    """The curves of loss and accuracy, where there are two steps to draw between."""
    out: dict[str, Markup] = {}
    for name, scale in MEASURES:
        drawn = [
            charts.Line(name=words, css=part, points=points)
            for part, words in LINES
            if (points := _points(facts.curve, f"{part}_{name}"))
        ]
        if any(len(line.points) > 1 for line in drawn):
            title = f"{name} by step: " + ", ".join(line.name for line in drawn)
            out[name] = charts.curves(drawn, marked=facts.chosen_step, scale=scale, title=title)
    return out


def legend(facts: RunFacts) -> list[tuple[str, str]]:
    """(CSS class, words) of each line that is drawn somewhere."""
    return [
        (part, words)
        for part, words in LINES
        if any(_points(facts.curve, f"{part}_{name}") for name, _ in MEASURES)
    ]


def diagnoses(facts: RunFacts, *, num_labels: int | None = None) -> list[Diagnosis]:
    """What the curves show, the gravest first, where the trainer has not said so itself.

    The dev slice is looked at, which decides when to stop; without one, the held-out examples.
    num_labels  of a classifier; None: text is written.
    """
    if facts.diagnoses is not None:
        return list(facts.diagnoses)
    part = "dev" if _points(facts.curve, "dev_loss") else "valid"
    points = [
        Point(
            step=point.step,
            train_loss=point.train_loss,
            held_out_loss=getattr(point, f"{part}_loss"),
            train_accuracy=point.train_accuracy,
            held_out_accuracy=getattr(point, f"{part}_accuracy"),
        )
        for point in facts.curve
    ]
    if not points:
        return []
    total = max(point.total_steps or point.step for point in facts.curve)
    return diagnose(points, total_steps=total, kept_step=facts.chosen_step, num_labels=num_labels)


def _points(curve: Sequence[CurvePoint], name: str) -> list[tuple[float, float]]:
    values = [(point.step, getattr(point, name)) for point in curve]
    return [(float(x), y) for x, y in values if y is not None and math.isfinite(y)]
