"""/jobs/JOB: one training: its state, what it was asked, what has happened."""

from __future__ import annotations

from functools import partial

from nicegui import ui

from tunesmith.errors import NotFound
from tunesmith.store.paging import Cursor
from tunesmith.store.rows import CheckpointRow, FileRow, JobRow
from tunesmith.web import jobs_shown
from tunesmith.web.controls import (
    Cell,
    Tag,
    clear,
    details,
    facts,
    link,
    notice,
    panel,
    row,
    table,
    tag,
    text,
    when,
)
from tunesmith.web.jobs_shown import AT_WORK, job_badge, named
from tunesmith.web.layout import page, retitle
from tunesmith.web.lists import size, ties
from tunesmith.web.model_facts import address
from tunesmith.web.states import address as run_address
from tunesmith.web.visit import Visit, off

LOOK_SECONDS = 1.5
EVENTS = 50


@page("/jobs/{job_id}", "")
async def job(visit: Visit, job_id: str, after: str = "") -> None:
    """One job. `after`: the event behind which to show older ones."""
    found = await off(visit.store.jobs.get, job_id)
    if found is None:
        raise NotFound("There is no such job.")
    retitle(named(found))
    await _Shown(visit, found, after).show()


class _Shown:
    """The page of a job, in one browser."""

    def __init__(self, visit: Visit, job: JobRow, after: str) -> None:
        self.visit, self.job, self.after = visit, job, after
        self.parts: dict[str, Tag] = {}
        self.seen: dict[str, object] = {}

    async def show(self) -> None:
        """All of it, as it is now."""
        with tag("div", kind="head"):
            tag("h1", named(self.job))
            self.parts["state"] = tag("div", kind="row", aria_live="polite")
        self.parts["failed"] = tag("div", kind="stack")
        self.parts["facts"] = tag("div")
        with tag("div", kind="grid two"):
            await self._ties()
            with panel("Settings"):
                ties(jobs_shown.settings(self.job))
                if self.job.options:
                    with details("All options"):
                        ties(jobs_shown.in_words(self.job.options))
        self.parts["checkpoints"] = tag("div")
        with panel("What happened"):
            self.parts["events"] = tag("div", kind="stack")
        await self.look()
        if self.job.status in AT_WORK:
            self.timer = ui.timer(LOOK_SECONDS, self.look, immediate=False)

    async def look(self) -> None:
        """Show what has changed."""
        jobs = self.visit.store.jobs
        if (found := await off(jobs.get, self.job.id)) is not None:
            self.job = found
        before = await off(jobs.waiting_before, self.job) if self.job.status == "queued" else 0
        newest = await off(jobs.events, self.job.id, Cursor(limit=1))
        state = (self.job.status, self.job.progress, before)
        with_events = newest.data[0].id if newest.data else ""
        if self.seen.get("state") != state:
            self.seen["state"] = state
            with clear(self.parts["state"]):
                self._state(before)
            with clear(self.parts["failed"]):
                self._failed()
            with clear(self.parts["facts"]):
                self._facts()
            await self._checkpoints()
        if self.seen.get("events") != with_events:
            self.seen["events"] = with_events
            await self._events()
        if self.job.status not in AT_WORK and hasattr(self, "timer"):
            self.timer.cancel()

    def _state(self, before: int) -> None:
        job_badge(self.job)
        if where := jobs_shown.place(self.job, before):
            tag("span", where, kind="quiet small")
        jobs_shown.progress(self.job)
        jobs_shown.actions(self.visit, self.job, self.look)

    def _failed(self) -> None:
        if message := self.job.error.get("message"):
            notice(str(message), "bad", title="The job failed")

    def _facts(self) -> None:
        job = self.job
        seen: dict[str, Cell] = {"Made": lambda: when(job.created_at)}
        if job.finished_at:
            seen["Ended"] = lambda: when(job.finished_at)
        if job.estimated_finish:
            seen["Ends about"] = lambda: when(job.estimated_finish)
        if job.trained_tokens:
            seen["Tokens learned from"] = job.trained_tokens
        seen["Learns from"] = "pairs (DPO)" if job.method == "dpo" else "right answers"
        facts(seen)

    async def _ties(self) -> None:
        store, job = self.visit.store, self.job
        run = await off(store.runs.of_job, job.id)
        seen: dict[str, Cell] = {}
        if run is not None:
            seen["Run"] = lambda: link(run.name or "Run", run_address(run))
        if job.start_from:
            begin = job.start_from
            seen["Tuned from"] = lambda: link(begin, address(begin))
        seen["Base model"] = job.base_model
        for use in ("training_file", "validation_file"):
            if file_id := getattr(job, use):
                file = await off(store.files.get, file_id)
                seen[f"{use.partition('_')[0].capitalize()} rows"] = _file(file)
        if name := job.fine_tuned_model:
            seen["Model"] = lambda: link(name, address(name))
        with panel("What it is tied to"):
            ties(seen)

    async def _checkpoints(self) -> None:
        found = await off(self.visit.store.jobs.checkpoints, self.job.id, Cursor(limit=100))
        with clear(self.parts["checkpoints"]):
            if not found.data:
                return
            names = sorted({n for one in found.data for n in one.metrics if n.endswith("loss")})

            def cells(one: CheckpointRow) -> tuple[Cell, ...]:
                model = one.fine_tuned_model_checkpoint
                losses = (_number(one.metrics.get(name)) for name in names)
                return (f"{one.step_number:,}", partial(link, model, address(model)), *losses)

            with panel("Checkpoints"):
                table(
                    ("Step", "Model", *(name.replace("_", " ") for name in names)),
                    [cells(one) for one in found.data],
                    caption="Checkpoints, the last one first",
                )

    async def _events(self) -> None:
        cursor = Cursor(limit=EVENTS, after=self.after or None)
        found = await off(self.visit.store.jobs.events, self.job.id, cursor)
        with clear(self.parts["events"]):
            if not found.data:
                text("Nothing yet, or it was so long ago that it is kept no longer.", "quiet")
                return
            with tag("ol", kind="events dated"):
                for one in found.data:
                    with tag("li"):
                        when(one.created_at, form="full")
                        tag("span", one.message, kind={"warn": "warning"}.get(one.level, one.level))
            with tag("nav", aria_label="Pages of events"), row():
                if self.after:
                    link("← Newest", f"/jobs/{self.job.id}", "button")
                if found.has_more:
                    to = f"/jobs/{self.job.id}?after={found.data[-1].id}"
                    link("Older →", to, "button")


def _file(file: FileRow | None) -> Cell:
    if file is None:
        return lambda: tag("span", "deleted", kind="quiet")
    return lambda: link(f"{file.filename} ({size(file.bytes)})", f"/data/files/{file.id}")


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value or "–")
