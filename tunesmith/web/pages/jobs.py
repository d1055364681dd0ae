"""/jobs: trainings: those at work, those that wait, and those that have ended."""

from __future__ import annotations

from collections.abc import Mapping

from nicegui import ui

from tunesmith.store.paging import Page
from tunesmith.store.rows import JobRow
from tunesmith.web import jobs_shown
from tunesmith.web.controls import Cell, Tag, clear, empty, link, table, tag, text, when
from tunesmith.web.jobs_shown import AT_WORK, STATES, job_badge, named
from tunesmith.web.layout import page
from tunesmith.web.lists import Listing
from tunesmith.web.model_facts import address
from tunesmith.web.visit import Visit, off

GROUPS: Mapping[str, tuple[str, ...]] = {
    "": (),
    "work": AT_WORK,
    "succeeded": ("succeeded",),
    "failed": ("failed", "cancelled"),
}
NAMES = {"": "All", "work": "At work", "succeeded": "Done", "failed": "Failed or cancelled"}
LOOK_SECONDS = 2.0


@page("/jobs", "Jobs")
async def jobs(
    visit: Visit, q: str = "", show: str = "", after: str = "", before: str = ""
) -> None:
    """The list."""
    show = show if show in GROUPS else ""
    counts = await off(visit.store.jobs.counts, search=q)
    if not counts and not q:
        with empty(
            "No training yet",
            "A job is one training. Runs make them, and so do programs, through the API. They wait "
            "here in a queue, and can be paused, resumed and cancelled.",
        ):
            if visit.may_change:
                link("Begin a run", "/new", "button primary")
        return
    shown = _Jobs(visit, Listing("/jobs", {"q": q, "show": show}, after=after, before=before))
    await shown.show(q, show, counts)


class _Jobs:
    """The list in one browser; while something is at work in it, it is looked at now and then."""

    def __init__(self, visit: Visit, listing: Listing) -> None:
        self.visit, self.listing = visit, listing
        self.box: Tag
        self.seen: object = None

    async def show(self, search: str, group: str, counts: Mapping[str, int]) -> None:
        """All of it."""
        self.search, self.states = search, GROUPS[group]
        options = {
            key: f"{name} ({sum(counts.get(s, 0) for s in GROUPS[key] or STATES):,})"
            for key, name in NAMES.items()
        }
        with tag("div", kind="filters", role="search"):
            self.listing.search("Search by name or model")
            self.listing.choice("Show", "show", options)
        self.box = tag("div", kind="stack")
        await self.look()
        if any(counts.get(state) for state in AT_WORK):
            ui.timer(LOOK_SECONDS, self.look, immediate=False)

    async def look(self) -> None:
        """Show what has changed."""
        found = await self.listing.read(
            lambda cursor: self.visit.store.jobs.search(
                cursor, search=self.search, states=self.states
            )
        )
        before = {
            job.id: await off(self.visit.store.jobs.waiting_before, job)
            for job in found.data
            if job.status == "queued"
        }
        seen = [(job.id, job.status, job.progress, before.get(job.id)) for job in found.data]
        if seen != self.seen:
            self.seen = seen
            with clear(self.box):
                self._table(found, before)

    def _table(self, found: Page[JobRow], before: Mapping[str, int]) -> None:
        if not found.data:
            text("No job is like that. Search for less, or show all.")
            return
        table(
            ("Job", "State", "Model", "Made", "Actions"),
            [self._cells(job, before.get(job.id, 0)) for job in found.data],
            caption="Jobs, the newest first",
            kind="runs",
        )
        self.listing.turn(found)

    def _cells(self, job: JobRow, before: int) -> tuple[Cell, ...]:
        def state() -> None:
            with tag("div", kind="row"):
                job_badge(job)
                if where := jobs_shown.place(job, before):
                    tag("span", where, kind="quiet small")
            jobs_shown.progress(job)

        def model() -> None:
            if job.fine_tuned_model:
                link(job.fine_tuned_model, address(job.fine_tuned_model))
            else:
                tag("span", job.model, kind="quiet")

        def buttons() -> None:
            with tag("div", kind="row"):
                jobs_shown.actions(self.visit, job, self.look, kind="small")

        return (
            lambda: link(named(job), f"/jobs/{job.id}"),
            state,
            model,
            lambda: when(job.created_at),
            buttons,
        )
