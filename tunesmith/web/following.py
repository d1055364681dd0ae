"""Follows runs for the pages that look at them: one reader a run, however many pages.

Once a second the reader looks at what is new in the run's folder, its row and its job, and hands
each page the difference. What it has seen is kept as long as a page looks.
Knows: where a run's state can be read. Does not know: how it is shown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool

from tunesmith.errors import TunesmithError
from tunesmith.events import Event
from tunesmith.store.paging import Cursor
from tunesmith.store.rows import JobRow, RunRow
from tunesmith.store.runs import AT_WORK, OF_RUN
from tunesmith.store.store import Store
from tunesmith.web import run_files
from tunesmith.web.run_files import Progress
from tunesmith.web.running import Runs
from tunesmith.wire import TERMINAL

logger = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
MOST_POINTS = 1500
"""Of a curve; beyond that every second one is left out, over and over."""
MOST_EVENTS = 400

Point = dict[str, float]
"""A step's numbers: step, train, dev (losses), train_right, dev_right (shares), where known."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What has changed since the last one."""

    row: RunRow
    job: JobRow | None
    done: int
    """Verbs that are done."""
    progress: Progress | None
    events: list[Event]
    """New ones but for metrics."""
    points: list[Point]
    metric: Mapping[str, Any]
    """The newest numbers of training as they were told; empty where there are none yet."""


@dataclass(kw_only=True)
class Followed:
    """A run that is followed, and all that was seen of it. Pages read it to begin with."""

    row: RunRow
    folder: Path
    job: JobRow | None = None
    done: int = 0
    progress: Progress | None = None
    events: list[Event] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    metric: Mapping[str, Any] = field(default_factory=dict)
    offset: int = 0
    listeners: dict[int, Callable[[Difference], None]] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    is_seen: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether there has been a first look, from which pages begin."""


class Following:
    """The runs that are followed."""

    def __init__(self, store: Store, runs: Runs) -> None:
        self._store = store
        self._runs = runs
        self._followed: dict[str, Followed] = {}
        self._count = 0

    async def join(
        self, row: RunRow, listener: Callable[[Difference], None]
    ) -> tuple[Followed, Callable[[], None]]:
        """What was seen of the run so far, and how to stop listening to what comes."""
        followed = self._followed.get(row.id)
        if followed is None:
            followed = self._followed[row.id] = Followed(row=row, folder=self._runs.folder(row))
            followed.task = asyncio.create_task(self._follow(followed))
        self._count += 1
        number = self._count
        followed.listeners[number] = listener
        await followed.is_seen.wait()

        def leave() -> None:
            followed.listeners.pop(number, None)
            if not followed.listeners:
                self._forget(followed)

        return followed, leave

    def stop(self) -> None:
        """Follow nothing any more."""
        for followed in list(self._followed.values()):
            self._forget(followed)

    def _forget(self, followed: Followed) -> None:
        self._followed.pop(followed.row.id, None)
        if followed.task is not None:
            followed.task.cancel()

    async def _follow(self, followed: Followed) -> None:
        while True:
            seen = None
            try:
                seen = await run_in_threadpool(self._look, followed)
            except (TunesmithError, OSError) as error:
                logger.warning("run %s could not be looked at: %s", followed.row.id, error)
            if followed.is_seen.is_set() and seen is not None:
                for listener in list(followed.listeners.values()):
                    listener(seen)
            followed.is_seen.set()
            await asyncio.sleep(EVERY_SECONDS)

    def _look(self, followed: Followed) -> Difference | None:
        """Take in what is new; None where nothing is."""
        row = self._store.runs.get(followed.row.id) or followed.row
        job = self._job(followed)
        if job and {job.status, row.state} == {"paused", "running"}:  # by somebody else
            row = self._runs.noted(row, job.status)
        new, offset = run_files.events(followed.folder, followed.offset)
        done = run_files.verbs_done(followed.folder)
        progress = run_files.progress(followed.folder)
        before = (followed.row, followed.job, followed.done, followed.progress, followed.offset)
        if (row, job, done, progress, offset) == before:
            return None
        points = [point for event in new if (point := _point(event))]
        told = [event for event in new if event.kind != "metric"]
        metric = next((e.data for e in reversed(new) if e.kind == "metric"), followed.metric)
        followed.row, followed.job, followed.done, followed.progress = row, job, done, progress
        followed.offset, followed.metric = offset, metric
        followed.events = (followed.events + told)[-MOST_EVENTS:]
        followed.points = thinned(followed.points + points)
        return Difference(
            row=row,
            job=job,
            done=done,
            progress=progress,
            events=told,
            points=points,
            metric=metric,
        )

    def _job(self, followed: Followed) -> JobRow | None:
        """The run's newest job, if it has one."""
        jobs = self._store.of(followed.row.project_id).jobs
        known = followed.job
        if known and (known.status not in TERMINAL or followed.row.state not in AT_WORK):
            return jobs.get(known.id)
        found = jobs.page(Cursor(limit=1), metadata={OF_RUN: followed.row.id}).data
        return found[0] if found else None


def thinned(points: list[Point]) -> list[Point]:
    """At most so many points; those with a look at the dev slice stay."""
    while len(points) > MOST_POINTS:
        fewer = [p for n, p in enumerate(points[:-1]) if n % 2 == 0 or "dev" in p]
        if len(fewer) + 1 >= len(points):
            return points[-MOST_POINTS:]
        points = [*fewer, points[-1]]
    return points


def _point(event: Event) -> Point | None:
    """The numbers of a metric event that the curves show."""
    data = event.data
    if event.kind != "metric" or "step" not in data:
        return None
    held_out = "dev" if "dev_loss" in data else "valid"
    found: dict[str, Any] = {
        "step": data["step"],
        "train": data.get("train_loss"),
        "dev": data.get(f"{held_out}_loss"),
        "train_right": _right(data, "train"),
        "dev_right": _right(data, held_out),
    }
    return {name: float(v) for name, v in found.items() if isinstance(v, int | float)}


def _right(data: Mapping[str, Any], part: str) -> Any:
    """The share that is right, by whatever name the method has for it."""
    names = (name for name in data if name.startswith(f"{part}_") and name.endswith("accuracy"))
    return next((data[name] for name in names), None)
