"""/runs/RUN: a run as it goes: its steps, its curves, what happened, and what can be done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from tunesmith.store.rows import JobRow, RunRow
from tunesmith.web import actions
from tunesmith.web.controls import (
    Tag,
    button,
    clear,
    details,
    link,
    notice,
    panel,
    tag,
    text,
    waiting,
    when,
)
from tunesmith.web.dialogs import danger
from tunesmith.web.drafts import in_words
from tunesmith.web.following import Difference, Followed
from tunesmith.web.layout import page, retitle
from tunesmith.web.run_parts import curves, steps
from tunesmith.web.run_parts.told import Events
from tunesmith.web.running import ENDED
from tunesmith.web.states import address, score, state_badge
from tunesmith.web.visit import Visit


@page("/runs/{run_id}", "")
async def run(visit: Visit, run_id: str) -> None:
    """One run."""
    found = await visit.run(run_id)
    if found.state in ("draft", "checking"):
        tag("h1", found.name)
        link("Go on filling it in", address(found), "button primary")
        ui.navigate.to(address(found))
        return
    retitle(found.name)
    shown = RunPage(visit)
    followed, leave = await visit.desk.following.join(found, shown.heard)
    ui.context.client.on_delete(leave)
    await shown.show(followed)


class RunPage:
    """The page of one run, in one browser."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.parts: dict[str, Tag] = {}
        self.shown: dict[str, object] = {}
        """Part → what it was made from; it is made anew when that changes."""
        self.events: Events | None = None
        self.curves: curves.Curves | None = None

    async def show(self, followed: Followed) -> None:
        """All of it, as it is now."""
        self.followed = followed
        with tag("div", kind="head"):
            tag("h1", followed.row.name or "Run")
            self.parts["state"] = tag("div", kind="row", aria_live="polite")
        self.parts["verdict"] = tag("div", kind="stack")
        self.parts["actions"] = tag("div", kind="row")
        with panel("Steps"):
            self.steps = steps.Steps()
        self.training = panel("How training goes").show(False)
        with self.training:
            self.parts["estimate"] = tag("div")
            self.numbers = curves.Numbers()
            self.parts["curves"] = tag("div")
            with details("The numbers") as self.looks:
                self.parts["looks"] = tag("div")
        with tag("div", kind="grid two"):
            with panel("What happened"):
                self.events = Events(followed.events)
            with panel("What was decided, and why"):
                self.parts["reasons"] = tag("div")
        self._refresh()

    def heard(self, seen: Difference) -> None:
        """Show what has changed, and nothing else."""
        if self.events is None or self.parts["state"].is_deleted:
            return
        with self.parts["state"].client:
            self.events.add(seen.events)
            if self.curves is not None:
                self.curves.add(seen.points)
            self._refresh()

    def _refresh(self) -> None:
        """Make anew the parts whose content has changed."""
        followed = self.followed
        row, job = followed.row, followed.job
        status = job.status if job else ""
        looks = sum("dev" in point for point in followed.points)
        made_from: dict[str, tuple[object, Callable[[], None]]] = {
            "state": ((row.state, row.started_at, row.ended_at), self._state),
            "verdict": ((row.state, row.summary), self._verdict),
            "actions": ((row.state, status), self._actions),
            "estimate": (curves.estimate(followed.events), self._estimate),
            "curves": (bool(followed.points), self._curves),
            "looks": (looks, self._looks),
            "reasons": (followed.done, lambda: steps.show_reasons(followed.folder)),
        }
        self.looks.show(looks > 0)
        self.steps.update(followed)
        self.numbers.update(followed)
        self.training.show(bool(followed.points or curves.estimate(followed.events)))
        for name, (content, fill) in made_from.items():
            if self.shown.get(name) != content:
                self.shown[name] = content
                with clear(self.parts[name]):
                    fill()

    # --- the parts ------------------------------------------------------------------------------

    def _state(self) -> None:
        row = self.followed.row
        state_badge(row)
        if row.ended_at:
            tag("span", "ended", kind="quiet small")
            when(row.ended_at)
        elif row.started_at:
            tag("span", "begun", kind="quiet small")
            when(row.started_at)

    def _verdict(self) -> None:
        row = self.followed.row
        if row.state == "failed":
            said = str(row.summary.get("error") or "The run ended unexpectedly.")
            notice(in_words(said), "bad", title="The run failed")
            text(
                "What is done stays done: begin again, and it goes on where it stopped. Or change "
                "a setting first.", "quiet",
            )  # fmt: skip
        elif row.state == "cancelled":
            notice("The run was cancelled. It can go on where it stopped.")
        elif row.state == "queued":
            waiting("Waiting until the runs before it have ended. It begins by itself.")
        elif row.state == "succeeded":
            self._result()

    def _result(self) -> None:
        summary = self.followed.row.summary
        with panel("Result"):
            if verdict := summary.get("verdict"):
                text(str(verdict))
            with tag("p", f"{score(self.followed.row)}, reached by the model "):
                tag("code", str(summary.get("model") or "–"))
            with tag("div", kind="row"):
                link("The whole result", f"/runs/{self.followed.row.id}/result", "button primary")
                link("Report", f"/runs/{self.followed.row.id}/files/report.html", "button")
                link(
                    "Report on the data",
                    f"/runs/{self.followed.row.id}/files/data-report.html",
                    "button",
                )

    def _actions(self) -> None:
        if not self.visit.may_change:
            return
        row, job = self.followed.row, self.followed.job
        if row.state == "running" and job is not None and job.status == "running":
            self._button("Pause", self._with_job(actions.pause), busy="Pausing …")
        if row.state == "paused":
            self._button(
                "Resume", self._with_job(actions.resume), kind="primary", busy="Resuming …"
            )
        if row.state in ("queued", "running", "paused"):
            self._button(
                "Cancel", self._with_job(actions.cancel), kind="danger", busy="Cancelling …"
            )
        if row.state in ("failed", "cancelled"):
            self._button("Begin again", self._again, kind="primary", busy="Beginning …")
        if row.state in ENDED:
            self._button("New run like this", self._like, busy="Copying …")
            warns = "Its file, settings and results go; a model that it made stays."
            danger("Delete", "Really delete", self._delete, warns=warns)

    def _button(
        self, said: str, do: Callable[[], Awaitable[None]], *, kind: str = "", busy: str = ""
    ) -> None:
        button(said, do, kind=kind, busy=busy)

    def _with_job(
        self, act: Callable[[Visit, RunRow, JobRow | None], Awaitable[RunRow]]
    ) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            self.followed.row = await act(self.visit, self.followed.row, self.followed.job)
            self._refresh()

        return do

    async def _again(self) -> None:
        self.followed.row = await actions.again(self.visit, self.followed.row)
        self._refresh()

    async def _like(self) -> None:
        ui.navigate.to(address(await actions.like(self.visit, self.followed.row)))

    async def _delete(self) -> None:
        await actions.delete(self.visit, self.followed.row)
        ui.navigate.to("/")

    def _estimate(self) -> None:
        if said := curves.estimate(self.followed.events):
            text(said, "quiet")

    def _curves(self) -> None:
        if self.followed.points:
            self.curves = curves.Curves(self.followed.points)

    def _looks(self) -> None:
        curves.looks(self.followed.points)
