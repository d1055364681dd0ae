"""What stands above every page of a task that has begun: its name, and the ways to its pages."""

from __future__ import annotations

from tunesmith.store.labelling_rows import LabellingTaskRow
from tunesmith.web.controls import link, tag
from tunesmith.web.layout import retitle

PLACES = {"": "Label", "ties": "Decide ties", "rows": "Rows", "overview": "Overview"}
"""Behind the task's address → what it is called."""


def address(task: LabellingTaskRow, place: str = "") -> str:
    """Where the task is."""
    return f"/labelling/{task.id}/{place}".rstrip("/")


def head(task: LabellingTaskRow, here: str) -> None:
    """The heading and the links."""
    retitle(f"{PLACES[here]}: {task.name}" if here else task.name)
    with tag("div", kind="head"):
        tag("h1", task.name)
        with tag("nav", kind="tabs", aria_label="This task"):
            for place, name in PLACES.items():
                if place == "ties":
                    if task.num_tied == 0 and here != place and task.votes < 2:
                        continue
                    name = f"{name} ({task.num_tied:,})" if task.num_tied else name
                made = link(name, address(task, place))
                made.set(aria_current="page" if place == here else None)


def done(task: LabellingTaskRow) -> str:
    """How far the task is, in words."""
    many = f"{task.num_done:,} of {task.num_rows:,} rows done"
    return f"{many}, {_count(task.num_tied, 'tie')}" if task.num_tied else many


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"
