"""/new and /new/RUN: a run is filled in, from the file to the start. The page grows as it is
filled, and what was filled in is kept: the draft is a run that has not begun."""

from __future__ import annotations

import asyncio

from nicegui import ui
from nicegui.element import Element

from tunesmith import catalog
from tunesmith.store.rows import ModelRow, RunRow
from tunesmith.web import drafts, run_files
from tunesmith.web.controls import (
    Tag,
    button,
    clear,
    details,
    grid,
    panel,
    row,
    table,
    tag,
    text,
    text_field,
    told,
    waiting,
)
from tunesmith.web.dialogs import danger
from tunesmith.web.following import Difference
from tunesmith.web.layout import page, retitle
from tunesmith.web.new_run import advanced, bases, columns, found, start
from tunesmith.web.new_run.form import Form
from tunesmith.web.states import address
from tunesmith.web.visit import Visit, off

KINDS = "CSV, Excel, JSON, JSON lines, Parquet and the like, packed or not, up to 1 GB"
NO_CHECKS = "Have rows to check with in a file of their own?"
EXAMPLES = (
    (
        "Texts with labels",
        "The model learns to put the label on texts it has not seen. Some dozen rows of each label "
        "are a beginning, some hundred are good.",
        ("text", "label"),
        (("My card was charged twice", "billing"), ("Where is my parcel?", "delivery")),
    ),
    (
        "Questions with answers",
        "The model learns to answer in the same way. Columns such as prompt and completion, or "
        "whole conversations.",
        ("prompt", "completion"),
        (("Can I return it?", "Within 30 days, free of charge."),),
    ),
    (
        "Better and worse answers",
        "The model learns to answer like the better one of two.",
        ("prompt", "chosen", "rejected"),
        (("Can I return it?", "Yes, within 30 days.", "Maybe."),),
    ),
)
"""Kinds of tables: title, what is learned from one, and what one looks like."""


@page("/new", "New run")
async def new(visit: Visit) -> None:
    """The beginning: a file."""
    visit.check_change()
    text(
        "Give a table with a text in each row and its label, or with questions and their answers. "
        "Tunesmith looks at it and says what it found before anything begins.", "lead",
    )  # fmt: skip
    _drop(drafts.NEW)
    with grid("fit"):
        for title, says, head, rows in EXAMPLES:
            with panel(title):
                text(says, "quiet small")
                table(head, rows, caption=f"An example: {title}", kind="small")


@page("/new/{run_id}", "")
async def draft(visit: Visit, run_id: str) -> None:
    """A draft, with as much as is known of it."""
    run = await visit.run(run_id)
    if run.state not in ("draft", "checking"):
        tag("h1", run.name)
        text("This run has begun.")
        ui.navigate.to(address(run))
        return
    visit.check_change()
    folder = visit.runs.folder(run)
    form = Form(visit, run, await off(run_files.config, folder))
    retitle(run.name)
    await Filling(form).show()


def _drop(run_id: str, *, small: bool = False) -> Tag:
    def arrived(event: object) -> None:
        ui.navigate.to(f"/new/{event.args['run']}")  # type: ignore[attr-defined]

    ui.on("table_arrived", arrived)
    return tag(
        "file-drop",
        kind="compact" if small else "",
        id="drop",
        url=f"/runs/{run_id}/{run_files.TABLE}",
        label="Take another file" if small else "Choose a file",
        hint="or drop it here" if small else f"or drop it here: {KINDS}.",
        limit=drafts.MAX_BYTES,
    )


class Filling:
    """The parts of the page, and when each is shown anew."""

    def __init__(self, form: Form) -> None:
        self.form = form
        form.on_change = self.changed
        self.parts: dict[str, Element] = {}
        self.cards: list[bases.Card] = []
        self.tuned: list[ModelRow] = []
        self.is_left = False
        self.begins_from: object = None
        """What the part with the button was made from. It stays while that does: a button that is
        made anew under the mouse is not clicked."""

    async def show(self) -> None:
        """The whole page; its parts fill as they become known."""
        form = self.form
        self._head()
        with panel("1 · The file"):
            self._file()
            self.parts["columns"] = tag("div", kind="stack")
        with panel("2 · What is in it"):
            self.parts["found"] = tag("div", kind="stack")
        with panel("3 · The base model"):
            text("What the training begins with. The one that is chosen fits most tables.", "quiet")
            self.parts["bases"] = tag("div", kind="stack")
        with panel("4 · Settings"):
            text(
                "Nothing needs to be set: what is left alone is chosen for your rows, and the run "
                "says what was chosen and why.", "quiet",
            )  # fmt: skip
            self.parts["advanced"] = tag("div", kind="stack")
        with panel("5 · Begin"):
            self.parts["start"] = tag("div", kind="stack")
        with self.parts["columns"]:
            waiting("Reading the first rows …")
        self.cards = await off(bases.cards, form.visit.desk.settings)
        self.tuned = await off(bases.tuned, form.visit.store)
        await form.look()
        await self._fill("bases", "advanced", "found", "start")
        followed, leave = await form.visit.desk.following.join(form.row, self._heard)
        ui.context.client.on_delete(leave)
        ui.timer(0.05, self._begin, once=True, immediate=False)

    def _head(self) -> None:
        form = self.form

        def rename(name: str) -> None:
            form.row = form.visit.runs.rename(form.row, name)

        async def discard() -> None:
            await off(form.visit.runs.delete, form.row)
            ui.navigate.to("/")

        with tag("div", kind="head"):
            tag("h1", "New run")
            danger(
                "Discard this draft", "Really discard", discard,
                warns="Its file and what was filled in go for good.",
            )  # fmt: skip
        with tag("div", kind="filters"):
            text_field("Name of the run", form.row.name, rename)

    def _file(self) -> None:
        table = self.form.asked.prepare.table
        with row("top"), tag("div", kind="stack tight grow"):
            if table:
                tag("strong", table.rpartition("/")[2])
            _drop(self.form.row.id, small=bool(table))
        if table:
            self._checks()

    def _checks(self) -> None:
        """Rows to check with, of a file of their own."""
        form = self.form
        given = form.asked.prepare.validation

        async def without() -> None:
            await off(drafts.split_off, form.visit, form.row)
            ui.navigate.to(address(form.row))

        title = "Rows to check with come from a file of their own" if given else NO_CHECKS
        with details(title), tag("div", kind="stack tight"):
            if given:
                with row():
                    tag("strong", given.rpartition("/")[2])
                    button("Split them off the table again", without, kind="small")
            tag(
                "file-drop", kind="compact", id="drop-checks",
                url=f"/runs/{form.row.id}/{run_files.CHECKS}", limit=drafts.MAX_BYTES,
                label="Choose a file with rows to check with",
                hint="or drop it here. Its columns have the names of the table's.",
            )  # fmt: skip

    # --- as it becomes known ---------------------------------------------------------------------

    async def _begin(self) -> None:
        form = self.form
        if not form.asked.prepare.table:
            clear(self.parts["columns"])
            return
        form.peeked = await drafts.peek(form.folder, form.asked.prepare)
        await self._fill("columns", "bases")
        if form.is_stale and "error" not in form.peeked:
            form.row = await off(form.visit.runs.check, form.row)
        await self._fill("found", "start")

    async def changed(self, by: str) -> None:
        """Show anew what a change may have touched, save the part that has made it."""
        await self._fill(*(part for part in self.parts if part != by))

    def _heard(self, seen: Difference) -> None:
        """The draft's row or progress has changed."""
        asyncio.get_running_loop().create_task(self._take(seen))

    async def _take(self, seen: Difference) -> None:
        form = self.form
        if seen.row.state not in ("draft", "checking"):
            with self.parts["found"]:
                self._leave(seen.row)
            return
        was_known = form.prepared is not None
        await form.look()
        if form.prepared is not None and was_known:
            return
        await self._fill("found", *(["start", "bases"] if form.prepared is not None else []))

    async def _fill(self, *parts: str) -> None:
        form = self.form
        for name in parts:
            box = self.parts[name]
            if box.is_deleted:
                return
            seconds = await self._expected() if name == "start" else None
            if name == "start":
                made_from = (form.prepared, seconds)
                if box.default_slot.children and made_from == self.begins_from:
                    continue
                self.begins_from = made_from
            progress = await off(run_files.progress, form.folder) if name == "found" else None
            with clear(box):
                if name == "columns" and form.peeked:
                    columns.show(form)
                elif name == "found" and "error" not in form.peeked:
                    found.show(form, progress)
                elif name == "bases":
                    bases.show(form, self.cards, self.tuned)
                elif name == "advanced":
                    advanced.show(form)
                elif name == "start":
                    start.show(form, seconds, self._start)

    async def _expected(self) -> float | None:
        form = self.form
        if form.prepared is None:
            return None
        base = form.asked.train.base_model or catalog.DEFAULT
        return await off(start.expected, form.visit.store, base, form.prepared)

    async def _start(self) -> None:
        form = self.form
        form.visit.check_change()
        row: RunRow = await off(form.visit.runs.start, form.row)
        told("The run has begun.", "good")
        self._leave(row)

    def _leave(self, row: RunRow) -> None:
        """Go to the page of the run, once: both the button and the run itself say that it began."""
        if not self.is_left:
            self.is_left = True
            ui.navigate.to(address(row))
