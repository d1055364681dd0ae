"""/labelling: tables that people label, row by row; and the pages of each of them."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from tunesmith.store.labelling_rows import LabellingTaskRow
from tunesmith.store.paging import Cursor
from tunesmith.store.rows import RunRow
from tunesmith.web import drafts, run_files
from tunesmith.web.controls import (
    badge,
    bar,
    button,
    choice_field,
    empty,
    grid,
    link,
    panel,
    row,
    table,
    tag,
    text,
    when,
)
from tunesmith.web.labelling import tasks
from tunesmith.web.labelling_parts import overview, rows, setup, work
from tunesmith.web.labelling_parts.head import address, done
from tunesmith.web.layout import page
from tunesmith.web.lists import Listing, size
from tunesmith.web.visit import Visit, off

KINDS = "CSV, Excel, JSON, JSON lines, Parquet and the like, packed or not, up to 1 GB"
MOST_OFFERED = 100
"""Runs and files that are offered as the source of a task."""


@page("/labelling", "Labelling")
async def labelling(visit: Visit, after: str = "", before: str = "") -> None:
    """The list."""
    listing = Listing("/labelling", {}, after=after, before=before)
    found = await listing.read(visit.store.labelling.page)
    if not found.data:
        with empty(
            "Labels make the model",
            "Give a table of texts and say which labels there are. You, and whoever else has a key "
            "for this project, go through it row by row with a key a label; when you have enough, "
            "train a model with them. A few hundred rows are often enough to begin with.",
        ):
            if visit.may_change:
                link("Label a table", "/labelling/new", "button primary")
            else:
                text("Your key may look and ask models, and label nothing.", "quiet")
        return
    if visit.may_change:
        with row():
            link("Label another table", "/labelling/new", "button primary")
    table(
        ("Name", "State", "How far", "Votes a row", "Made"),
        [_cells(one) for one in found.data],
        caption="Tables that are labelled, the newest first",
    )
    listing.turn(found)


def _cells(task: LabellingTaskRow) -> tuple[Any, ...]:
    def state() -> None:
        if task.state == "draft":
            badge("Draft", "")
        elif task.state == "importing":
            badge("Reading the table", "live")
        elif task.num_done + task.num_tied < task.num_rows:
            badge("Open", "live")
        else:
            badge(*(("Ties are left", "warn") if task.num_tied else ("Done", "good")))

    def share() -> None:
        if task.state == "ready":
            bar(task.num_done, max(1, task.num_rows), f"{task.name}: how much is done")
            tag("span", done(task), kind="small quiet")

    def name() -> None:
        link(task.name, address(task))

    return (name, state, share, task.votes, lambda: when(task.created_at))


@page("/labelling/new", "Label a table")
async def new(visit: Visit) -> None:
    """Where the rows come from."""
    visit.check_change()
    text(
        "Any table will do, with labels or without. In the next step you choose which column "
        "people read and which labels there are.", "lead",
    )  # fmt: skip
    ui.on("table_arrived", lambda event: ui.navigate.to(f"/labelling/{event.args['task']}"))
    tag(
        "file-drop", id="drop", url="/labelling/table", label="Choose a file",
        hint=f"or drop it here: {KINDS}.", limit=drafts.MAX_BYTES,
    )  # fmt: skip
    runs = await off(_tables, visit)
    files = await visit.api.get("/files", limit=MOST_OFFERED)
    offered = {f["id"]: f"{f['filename']}, {size(f['bytes'])}" for f in files["data"]}
    if not runs and not offered:
        return
    with panel("Or take a table that is here already"), grid("two"):
        if runs:
            names = {run_id: f"{run.name} ({name})" for run_id, (run, name) in runs.items()}

            def from_run(run_id: str) -> LabellingTaskRow:
                return tasks.from_run(visit, runs[run_id][0])

            _offer(names, "The table of a run", from_run)
        if offered:
            _offer(offered, "A file", lambda file_id: tasks.from_file(visit, file_id))


def _offer(options: dict[str, str], label: str, make: Any) -> None:
    chosen = [next(iter(options))]

    def choose(value: str) -> None:
        chosen[0] = value

    async def take() -> None:
        task = await off(make, chosen[0])
        ui.navigate.to(f"/labelling/{task.id}")

    with row("end"):
        choice_field(label, options, chosen[0], choose)
        button("Take it", take, busy="Copying …")


def _tables(visit: Visit) -> dict[str, tuple[RunRow, str]]:
    """The newest runs that have a table, with its name."""
    found = {}
    for run in visit.store.runs.page(Cursor(limit=MOST_OFFERED)).data:
        given = run_files.table(visit.runs.folder(run))
        if given is not None and given.is_file():
            found[run.id] = (run, given.name)
    return found


@page("/labelling/{task_id}", "")
async def task(visit: Visit, task_id: str) -> None:
    """A task: filled in, on its way in, or labelled."""
    found = await tasks.find(visit, task_id)
    if found.state == "draft":
        await setup.show(visit, found)
    elif found.state == "importing":
        await setup.show_import(visit, found)
    elif visit.may_change:
        await work.show(visit, found)
    else:
        await overview.show(visit, found)


async def _begun(visit: Visit, task_id: str) -> LabellingTaskRow | None:
    """The task; None, and the reader on the way to its own page, where it has not begun."""
    found = await tasks.find(visit, task_id)
    if found.state == "ready":
        return found
    ui.navigate.to(address(found))
    return None


@page("/labelling/{task_id}/ties", "")
async def ties(visit: Visit, task_id: str) -> None:
    """Rows on which people tie, for one to decide."""
    if found := await _begun(visit, task_id):
        await work.show(visit, found, is_deciding=True)


@page("/labelling/{task_id}/rows", "")
async def listed(  # noqa: PLR0913 - what its address may say
    visit: Visit, task_id: str, q: str = "", show: str = "", label: str = "", by: str = "",
    after: str = "",
) -> None:  # fmt: skip
    """Rows, searched and filtered."""
    if found := await _begun(visit, task_id):
        asked = {"q": q, "show": show, "label": label, "by": by}
        await rows.show_list(visit, found, asked, after)


@page("/labelling/{task_id}/rows/{row_id}", "")
async def one_row(visit: Visit, task_id: str, row_id: str) -> None:
    """A row and its history."""
    if found := await _begun(visit, task_id):
        await rows.show_row(visit, found, row_id)


@page("/labelling/{task_id}/overview", "")
async def overall(visit: Visit, task_id: str) -> None:
    """How far it is, and what can be done with it."""
    if found := await _begun(visit, task_id):
        await overview.show(visit, found)
