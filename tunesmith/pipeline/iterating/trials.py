"""One trial: a training with some settings, watched, stopped where it falls behind, measured.

A trial works in a run directory of its own. Started again there, it goes on with its job.
Knows: a trial's job and its curve. Does not know: how settings are found, what all trials spend.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tunesmith import wire
from tunesmith.config import RunConfig
from tunesmith.errors import (
    JobFailed,
    NotAllowed,
    RequestError,
    StorageError,
    TunesmithError,
    storage_errors,
)
from tunesmith.events import Event
from tunesmith.pipeline.iterating.selection import Measured, Selection
from tunesmith.pipeline.iterating.space import Settings, applied
from tunesmith.pipeline.own_job import OF_RUN
from tunesmith.pipeline.results import Prepared, Trained
from tunesmith.pipeline.rundir import FOLDERS, RESULT, RunDir, write_atomic
from tunesmith.pipeline.train import train
from tunesmith.pipeline.upload import inputs as upload_inputs
from tunesmith.pipeline.workshop import Workshop

State = Literal["running", "done", "pruned", "stopped", "failed"]
Judge = Callable[[int, float], bool]
"""(look from 0, score then) → whether the trial has fallen behind."""
Forecast = Callable[[float, int], str]
"""(seconds, tokens) that a job will take → why that is too much, or nothing."""

RECEIPT = "receipt.parquet"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a trial went."""

    state: State
    seconds: float
    trained: Trained | None = None
    measured: Measured | None = None
    why: str = ""
    error: TunesmithError | None = None


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is the same for all trials."""

    config: RunConfig
    selection: Selection
    shop: Workshop
    """Of the run that the trials belong to."""
    kept_model: str = ""
    """A model that is not theirs, though the first of them may use it."""
    warned: set[str] = field(default_factory=set)
    """What trials have warned of; the rows are the same for all, and so is much of that."""

    def settled(self, settings: Settings) -> tuple[RunConfig, Prepared]:
        """What a trial with these settings asks for, and learns from."""
        return applied(self.config, self.selection.prepared, settings)

    def curve(self, data: Mapping[str, Any]) -> float | None:
        """The score of a look, the more the better; None where nothing was looked at.

        Of labels the accuracy: smoothed or weighed labels change the loss without being worse.
        """
        if "dev_loss" not in data:
            return None
        for name in ("dev_reward_accuracy", "dev_accuracy"):
            if self.selection.prepared.task != "chat" and name in data:
                return float(data[name])
        return -float(data["dev_loss"])


@dataclass(kw_only=True)
class Trial:
    """A trial at work. Any thread may `stop` it."""

    number: int
    settings: Settings
    run_dir: RunDir
    course: Course
    falls_behind: Judge
    is_too_long: Forecast
    stopping: State | None = None
    why: str = ""
    _looks: int = field(default=0, init=False)
    _live: dict[str, Any] = field(default_factory=dict, init=False)

    def run(self) -> Ended:
        """Train, measure, and say how it went. Raises: ProviderError, StorageError, NotAllowed."""
        began = time.monotonic()
        shop = replace(self.course.shop, run_dir=self.run_dir, report=self._watch)
        trained = None
        try:
            config, prepared = self.course.settled(self.settings)
            if prepared.task != "classify":  # there training notes what it had to cut
                keep_receipt(self.course, self.run_dir)
            trained = train(config, prepared, self.course.selection.uploaded, shop)
            measured = self.course.selection.measure(trained, shop)
        except (StorageError, NotAllowed):  # nothing that other settings could change
            raise
        except (JobFailed, RequestError) as error:
            state: State = self.stopping or "failed"
            why = self.why or error.what
            seconds = time.monotonic() - began
            return Ended(state=state, seconds=seconds, trained=trained, why=why, error=error)
        seconds = max(trained.seconds, time.monotonic() - began)
        return Ended(state="done", seconds=seconds, trained=trained, measured=measured)

    def stop(self, state: State, why: str) -> None:
        """Have the job cancelled; `run` then returns soon."""
        if self.stopping:
            return
        self.stopping, self.why = state, why
        self._cancel()

    def _cancel(self) -> None:
        provider = self.course.shop.provider
        with suppress(TunesmithError):  # it may end by itself just now
            job = provider.find_job({OF_RUN: self.run_dir.id})
            if job and job.status not in wire.TERMINAL:
                provider.cancel(job.id)

    def _watch(self, event: Event) -> None:
        """Look at what the job tells; pass on how far it is."""
        if self.stopping:  # asked before there was a job to cancel
            self._cancel()
        if estimate := event.data.get("estimate"):
            why = self.is_too_long(estimate["seconds"], estimate["trained_tokens"])
            if why:
                self.stop("stopped", why)
        score = self.course.curve(event.data) if event.kind == "metric" else None
        if score is not None:
            if self.falls_behind(self._looks, score):
                self.stop("pruned", f"fell behind at look {self._looks + 1}")
            self._looks += 1
        if event.kind == "warning" and event.message not in self.course.warned:
            self.course.warned.add(event.message)
            message = f"Trial {self.number + 1}: {event.message}"
            self.course.shop.report(replace(event, message=message))
        self._tell(event, score)

    def _tell(self, event: Event, score: float | None) -> None:
        for name, key in (("done", "done"), ("total", "total"), ("step", "done")):
            if name in event.data:
                self._live[key] = event.data[name]
        if "total_steps" in event.data:
            self._live["total"] = event.data["total_steps"]
        if score is not None:
            self._live["look"] = abs(score)
        row = {"number": self.number, "state": "running", "settings": dict(self.settings)}
        message = f"Trial {self.number + 1}"
        data = {"trial": row | self._live}
        self.course.shop.report(Event(kind="progress", message=message, data=data))


def keep_receipt(course: Course, run_dir: RunDir) -> None:
    """The receipt of the rows in the trial's directory; rows kept aside are on no side."""
    import io

    import polars as pl

    rows = pl.read_parquet(course.shop.run_dir.folder("prepare") / RECEIPT)
    aside = course.selection.aside
    trained = (rows["split"] == "train").fill_null(False).arg_true()
    if len(trained) == len(aside):
        places = trained.filter(pl.Series(aside, dtype=pl.Boolean))
        notes = rows["note"].clone().scatter(places, "kept aside to choose between trials")
        rows = rows.with_columns(rows["split"].clone().scatter(places, None), notes)
    table = io.BytesIO()
    rows.write_parquet(table)
    write_atomic(run_dir.folder("prepare") / RECEIPT, table.getvalue())


def complete(course: Course, settings: Settings, run_dir: RunDir) -> tuple[Workshop, Prepared]:
    """Make a trial's directory that of a whole run, as far as its training.

    Returns where its run goes on, and what it was prepared from. Raises: StorageError.
    """
    home, prepared = course.shop.run_dir, course.settled(settings)[1]
    source, folder = home.folder("prepare"), run_dir.folder("prepare")
    with storage_errors(folder):
        for file in sorted(source.iterdir()):
            if file.is_file() and file.name not in (RESULT, RECEIPT):
                shutil.copyfile(file, folder / file.name)
        if course.selection.aside:
            shutil.copyfile(home.path / prepared.train, folder / "train.jsonl")
            prepared = replace(prepared, train=f"{FOLDERS['prepare']}/train.jsonl")
    if prepared.task == "classify" or not (folder / RECEIPT).exists():
        keep_receipt(course, run_dir)
    run_dir.save("prepare", prepared, home.inputs("prepare"))
    shop = replace(course.shop, run_dir=run_dir)
    run_dir.save("upload", course.selection.uploaded, upload_inputs(prepared, shop))
    return shop, prepared
