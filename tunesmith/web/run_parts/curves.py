"""How training goes: the curves of loss and of what is right, live, and the numbers beside them.

A page draws its curves itself; it is told all points once and then only new ones.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from nicegui import ui

from tunesmith.events import Event
from tunesmith.store.rows import JobRow
from tunesmith.web.controls import Tag, script, table, tag
from tunesmith.web.following import Followed, Point
from tunesmith.web.glossary import term
from tunesmith.web.new_run.start import duration

LOOKS = 12
"""Looks at the dev slice that the table shows."""


class Curves:
    """The two charts of one page."""

    def __init__(self, points: Sequence[Point]) -> None:
        with tag("div", kind="grid two"):
            self._charts = [
                _chart("Loss", ("train", "dev"), points, is_share=False),
                _chart("Right", ("train_right", "dev_right"), points, is_share=True),
            ]

    def add(self, points: Sequence[Point]) -> None:
        """Draw what is new."""
        if points:
            told = json.dumps(points)
            for number in self._charts:
                script(f"curves.add({number}, {told})")


def _chart(name: str, names: Sequence[str], points: Sequence[Point], *, is_share: bool) -> int:
    """A chart with a heading; its number, by which the browser finds it."""
    with tag("figure", kind="stack tight"):
        with tag("figcaption", kind="row"):
            if is_share:
                tag("strong", "Share that is right")
            else:
                term("loss", "Loss: how wrong it is")
        axis = {"type": "value", "nameLocation": "middle", "scale": True}
        chart = ui.echart(
            {
                "grid": {"left": 48, "right": 16, "top": 36, "bottom": 32},
                "legend": {"top": 0, "left": 0, "icon": "roundRect"},
                "tooltip": {"trigger": "axis"},
                "xAxis": {**axis, "minInterval": 1, "min": "dataMin", "max": "dataMax"},
                "yAxis": {
                    **axis,
                    **({"max": 100, "axisLabel": {"formatter": "{value} %"}} if is_share else {}),
                },
                "series": [
                    {"name": "on training rows", "type": "line", "data": []},
                    {"name": "on rows set aside", "type": "line", "data": []},
                ],
            }
        ).classes("curves")
        chart._props["role"] = "img"
        what = "the share that is right" if is_share else "the loss"
        chart._props["aria-label"] = f"Curve of {what} by step; the table below has the numbers"
    told = json.dumps([list(names), is_share, list(points)])
    script(f"curves.start({chart.id}, ...{told})")
    return int(chart.id)


def estimate(events: Sequence[Event]) -> str:
    """What the training was told to take, measured before it began; empty until then."""
    return next((e.message for e in reversed(events) if "estimate" in e.data), "")


class Numbers:
    """Where training stands, in numbers, which are changed in place."""

    def __init__(self) -> None:
        self._told: dict[str, Tag] = {}
        with tag("dl", kind="facts"):
            for name in ("Step", "Epoch", "Tokens a second", "Time left"):
                with tag("div"):
                    tag("dt", name)
                    self._told[name] = tag("dd", "–")

    def update(self, followed: Followed) -> None:
        """Show them as they are now."""
        metric = followed.metric
        numbers = {
            "Step": f"{metric.get('step', 0):,} of {metric.get('total_steps', 0):,}",
            "Epoch": _counted(metric.get("epoch")),
            "Tokens a second": _counted(metric.get("tokens_per_second")),
            "Time left": remaining(followed.job),
        }
        for name, said in numbers.items():
            self._told[name].text = said


def _counted(number: Any) -> str:
    return f"{number:,}" if isinstance(number, int | float) else "–"


def remaining(job: JobRow | None) -> str:
    """How long the job will still take, as it says."""
    if job is None or job.status != "running" or not job.estimated_finish:
        return "–"
    return f"about {duration(max(1.0, job.estimated_finish - time.time()))}"


def looks(points: Sequence[Point]) -> None:
    """The newest looks at the rows set aside, as a table."""
    seen = [p for p in points if "dev" in p][-LOOKS:]
    rows = [(int(p["step"]), f"{p['dev']:.3f}", _percent(p.get("dev_right"))) for p in seen]
    if rows:
        head = ("Step", "Loss", "Right")
        table(head, rows[::-1], caption="Looks at the rows set aside, the newest first")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
