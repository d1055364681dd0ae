"""/data: tables that were dropped for runs, and the files of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from nicegui import background_tasks

from tunesmith.errors import TunesmithError
from tunesmith.store.rows import FileRow, JobRow, RunRow
from tunesmith.web import run_files
from tunesmith.web.controls import Cell, Tag, empty, link, table, tag, text, when
from tunesmith.web.data_sets import PURPOSES, fetched, rows_of
from tunesmith.web.layout import page
from tunesmith.web.lists import Listing, size
from tunesmith.web.states import address as run_address
from tunesmith.web.states import state_badge
from tunesmith.web.tables import shelf
from tunesmith.web.visit import Visit, off

MOST_BYTES = 20_000_000
"""Of a table whose rows are counted for the list; those of others once somebody opens them."""
KINDS = (".jsonl", ".csv", ".tsv")


@page("/data", "Data")
async def data(
    visit: Visit, q: str = "", show: str = "", after: str = "", before: str = ""
) -> None:
    """The list. `show`: files, or a purpose of files, or else the tables of runs."""
    asked = {"q": q, "show": show}
    listing = Listing("/data", asked, after=after, before=before)
    await off(shelf.sweep, visit.desk.settings, visit.desk.store)
    totals = await off(visit.store.files.totals)
    num_files = sum(number for number, _ in totals.values())
    num_tables = sum((await off(visit.store.runs.counts)).values())
    options = {"": f"Tables of runs ({num_tables:,})", "files": f"All files ({num_files:,})"}
    options |= {
        purpose: f"{PURPOSES.get(purpose, purpose)} ({number:,})"
        for purpose, (number, _) in sorted(totals.items())
    }
    with tag("div", kind="filters", role="search"):
        listing.search("Search by name")
        listing.choice("Show", "show", options)
        link("Storage used", "/storage", "button quiet")
    if show:
        await _files(visit, listing, q, None if show == "files" else show)
    else:
        await _tables(visit, listing, q)


# --- tables of runs -------------------------------------------------------------------------------


async def _tables(visit: Visit, listing: Listing, search: str) -> None:
    found = await listing.read(lambda cursor: visit.store.runs.page(cursor, search=search))
    if not found.data and not search:
        with empty(
            "No table yet",
            "Drop a table with texts and labels, or with questions and answers, on the page of a "
            "new run. It stays here, row by row, for as long as its run does.",
        ):
            if visit.may_change:
                link("Begin a run", "/new", "button primary")
        return
    if not found.data:
        text("No table is like that. Search for less.")
        return
    about = await off(_about_tables, visit, found.data)
    cells: dict[str, Tag] = {}
    table(
        ("Table", "Rows", "Size", "Added", "Used by"),
        [_table_cells(row, *facts, cells) for row, facts in zip(found.data, about, strict=True)],
        caption="Tables of runs, the newest first",
        kind="runs",
    )
    listing.turn(found)
    sources = {
        row.id: (shelf.place(visit.desk.settings, row.id), path)
        for row, (path, known, _) in zip(found.data, about, strict=True)
        if path is not None and known is None
    }
    background_tasks.create(_count(cells, sources))


def _about_tables(
    visit: Visit, rows: Sequence[RunRow]
) -> list[tuple[Path | None, int | None, str]]:
    """Of each run its table, with rows and size as far as they are known."""
    about: list[tuple[Path | None, int | None, str]] = []
    for row in rows:
        path = run_files.table(visit.runs.folder(row))
        is_there = path is not None and path.is_file()
        known = rows_of(visit, row.id) or row.summary.get("rows")
        num_bytes = size(path.stat().st_size) if path is not None and is_there else ""
        about.append((path if is_there else None, known, num_bytes))
    return about


def _table_cells(
    row: RunRow, path: Path | None, rows: int | None, size_: str, cells: dict[str, Tag]
) -> tuple[Cell, ...]:
    def name() -> None:
        if path is None:
            tag("span", "No table yet", kind="quiet")
        else:
            link(path.name, f"/data/tables/{row.id}")

    def used() -> None:
        with tag("span", kind="row"):
            link(row.name or "Run", run_address(row))
            state_badge(row)

    return (name, _rows(row.id, rows, cells), size_, lambda: when(row.created_at), used)


def _rows(key: str, known: int | None, cells: dict[str, Tag]) -> Cell:
    """The cell of a number of rows, which may become known a little later."""

    def made() -> None:
        cells[key] = tag("span", "" if known is None else f"{known:,}", kind="count")

    return made


async def _count(cells: Mapping[str, Tag], sources: Mapping[str, tuple[Path, Path]]) -> None:
    """Count the rows that nobody has counted yet, and show them."""
    few = {k: one for k, one in sources.items() if one[1].stat().st_size <= MOST_BYTES}
    if not few:
        return
    tables = [[str(source), str(index)] for index, source in few.values()]
    try:
        counts = await shelf.ask({"do": "indexes", "tables": tables, "folder": ""})
    except TunesmithError:
        return  # the log says why; a list without numbers is one, too
    for key, number in zip(few, counts, strict=True):
        if not cells[key].is_deleted:
            cells[key].text = f"{number:,}" if number else ""


# --- files of the API -----------------------------------------------------------------------------


async def _files(visit: Visit, listing: Listing, search: str, purpose: str | None) -> None:
    files = visit.store.files
    found = await listing.read(lambda cursor: files.page(cursor, purpose=purpose, search=search))
    if not found.data:
        text("No file is like that. Search for less, or show all.")
        return
    ids = [row.id for row in found.data]
    jobs = await off(visit.store.jobs.using, ids)
    counts = await off(lambda: {key: rows_of(visit, key) for key in ids})
    cells: dict[str, Tag] = {}
    table(
        ("File", "Rows", "Size", "Added", "What it holds", "Used by"),
        [_file_cells(row, counts[row.id], jobs, cells) for row in found.data],
        caption="Files, the newest first",
        kind="runs",
    )
    listing.turn(found)
    missing = [row for row in found.data if counts[row.id] is None and row.bytes <= MOST_BYTES]
    background_tasks.create(_count_files(visit, missing, cells))


async def _count_files(visit: Visit, files: Sequence[FileRow], cells: Mapping[str, Tag]) -> None:
    sources = {}
    for row in files:
        if row.filename.lower().endswith(KINDS):
            with suppress(TunesmithError):  # its content is gone
                sources[row.id] = await off(fetched, visit, row)
    await _count(cells, sources)


def _file_cells(
    row: FileRow, rows: int | None, jobs: Sequence[JobRow], cells: dict[str, Tag]
) -> tuple[Cell, ...]:
    mine = [job for job in jobs if row.id in (job.training_file, job.validation_file)]

    def name() -> None:
        link(row.filename, f"/data/files/{row.id}")
        tag("div", row.id, kind="quiet small")

    def used() -> None:
        if not mine:
            tag("span", "–", kind="quiet")
        elif len(mine) == 1:
            link(mine[0].user_provided_suffix or "A job", f"/jobs/{mine[0].id}")
        else:
            link(f"{len(mine):,} jobs", f"/data/files/{row.id}")

    holds = PURPOSES.get(row.purpose, row.purpose)
    counted = _rows(row.id, rows, cells)
    return (name, counted, size(row.bytes), lambda: when(row.created_at), holds, used)
