"""/data/files/FILE and /data/tables/RUN: one data set, row by row, whatever its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from nicegui import ui

from tunesmith.web import actions, dialogs
from tunesmith.web.controls import (
    Cell,
    Tag,
    button,
    clear,
    facts,
    link,
    notice,
    panel,
    row,
    table,
    tag,
    text,
    text_field,
    waiting,
    when,
)
from tunesmith.web.data_sets import PURPOSES, DataSet, of_file, of_run
from tunesmith.web.layout import page, retitle
from tunesmith.web.lists import size
from tunesmith.web.states import address as run_address
from tunesmith.web.tables import shelf
from tunesmith.web.tables.form import Form, Row, Rows, said
from tunesmith.web.visit import Visit, off

SHOWN = 50
LONGEST = 280
"""Characters of a value in the list; the row by itself shows all."""
MOST_COLUMNS = 12
LOOK_SECONDS = 0.4
PATIENCE = 0.3
"""Seconds that a page waits for the first rows before it says that it does."""


@dataclass(frozen=True)
class Place:
    """Where in the data set somebody is."""

    row: int = 1
    """Number of the first row that is shown."""
    open: int = 0
    """Number of the row that is shown whole; 0: none."""
    words: str = ""
    """What is looked for."""


@page("/data/files/{file_id}", "")
async def file(visit: Visit, file_id: str, row: int = 1, open: int = 0, q: str = "") -> None:
    """A file of the API."""
    found = await off(of_file, visit, file_id)
    await _Shown(visit, found, Place(max(1, row), open, q)).show()


@page("/data/tables/{run_id}", "")
async def run_table(visit: Visit, run_id: str, row: int = 1, open: int = 0, q: str = "") -> None:
    """The table of a run."""
    found = await off(of_run, visit, run_id)
    await _Shown(visit, found, Place(max(1, row), open, q)).show()


class _Shown:
    """The page of a data set."""

    def __init__(self, visit: Visit, found: DataSet, place: Place) -> None:
        self.visit, self.found, self.place = visit, found, place
        self.rows: Tag
        self.form: Form | None = None
        self.found_rows: Sequence[Row] | None = None

    async def show(self) -> None:
        retitle(self.found.name)
        with tag("div", kind="head"):
            tag("h1", self.found.name)
            with row():
                self._buttons()
        self.about = tag("div", kind="stack")
        self._uses()
        self.whole = tag("div")
        with panel("Rows"):
            self.finding = tag("div", kind="filters", role="search")
            self.rows = tag("div", kind="stack")
        with self.finding:
            self._fields()
        await self._look()
        if self.form is None or not self.form.done:
            self.timer = ui.timer(LOOK_SECONDS, self._look, immediate=False)

    # --- what it is -----------------------------------------------------------------------------

    def _buttons(self) -> None:
        tag("a", "Download", kind="button", href=f"{self.found.address}/download")
        if self.found.run is not None and self.visit.may_change:
            button("New run with this table", self._again, busy="Copying …")
        if self.found.file is not None and self.visit.may_change:
            button("Delete", self._delete, kind="danger")

    async def _again(self) -> None:
        assert self.found.run is not None
        fresh = await actions.like(self.visit, self.found.run)
        ui.navigate.to(run_address(fresh))

    def _delete(self) -> None:
        waits = [job for job in self.found.jobs if job.status in ("validating_files", "queued")]
        says = [f"{self.found.name} ({size(self.found.num_bytes)}) goes for good."]
        if waits:
            says.append("Jobs that have yet to read it will fail:")
        elif self.found.jobs:
            says.append(
                "Jobs that have read it go on, and models stay; the playground can show no nearest "
                "training rows from it any more."
            )

        async def do() -> None:
            await self.visit.api.delete(f"/files/{self.found.key}")
            await off(shelf.forget, self.found.index)
            ui.navigate.to("/data?show=files")

        dialogs.confirm("Delete this file?", says, "Delete", do, lists=[job.id for job in waits])

    def _about(self, form: Form | None) -> None:
        count: Cell = "–"
        if form is not None and not form.error:
            count = form.count if form.done else f"{form.count:,} so far"
        seen: dict[str, Cell] = {
            "Rows": count,
            "Size": size(self.found.num_bytes),
            "Added": lambda: when(self.found.created_at),
        }
        if (file := self.found.file) is not None:
            seen["What it holds"] = PURPOSES.get(file.purpose, file.purpose)
            if file.expires_at:
                seen["Goes"] = lambda: when(file.expires_at)
        facts(seen)

    def _uses(self) -> None:
        found = self.found
        if not (found.run or found.jobs or found.batches):
            return
        with tag("div", kind="uses"):
            tag("h2", "Used by")
            with tag("ul", kind="names"):
                if found.run is not None:
                    with tag("li"):
                        link(found.run.name or "Run", run_address(found.run))
                for job in found.jobs[:SHOWN]:
                    use = "training" if job.training_file == found.key else "validation"
                    with tag("li"):
                        link(job.user_provided_suffix or job.id, f"/jobs/{job.id}")
                        tag("span", f" for {use}", kind="quiet")
                for batch in found.batches[:SHOWN]:
                    tag("li", f"Batch {batch.id}, {batch.status.replace('_', ' ')}")

    # --- rows -----------------------------------------------------------------------------------

    def _fields(self) -> None:
        def to_line(value: str) -> None:
            if value.strip().isdigit() and self.form is not None:
                self._go(Place(Rows(self.found.index, self.form).at_line(int(value))))

        text_field("Go to line", "", to_line, type="number", min=1, inputmode="numeric")
        text_field(
            "Find words", self.place.words, lambda value: self._go(Place(words=value.strip())),
            type="search",
        )  # fmt: skip

    async def _look(self) -> None:
        """Show what is known by now."""
        form = await shelf.opened(self.found.index, self.found.source, patience=PATIENCE)
        if form == self.form and form is not None:
            return
        first = self.form is None or not self.form.count
        self.form = form
        with clear(self.about):
            self._about(form)
        if form is not None and form.done and hasattr(self, "timer"):
            self.timer.cancel()
        if form is None:
            with clear(self.rows):
                waiting("Reading the file.")
            return
        if form.error:
            with clear(self.rows):
                notice(form.error, "bad", title="It cannot be shown row by row")
            return
        if first or form.done:
            await self._read(form)

    async def _read(self, form: Form) -> None:
        reader = Rows(self.found.index, form)
        if self.place.words and not form.done:
            with clear(self.rows):
                waiting("Reading the file, to look for the words then.")
            return
        if self.place.words:
            await self._find(form, reader)
        else:
            found = await off(reader.read, self.place.row, SHOWN)
            with clear(self.rows):
                self._table(found)
                self._turn(found, form)
        if self.place.open:
            opened = await off(reader.read, self.place.open, 1)
            with clear(self.whole):
                self._whole(opened)

    async def _find(self, form: Form, reader: Rows) -> None:
        with clear(self.rows):
            waiting(f"Looking through {form.count - self.place.row + 1:,} rows.")
        asked = {"do": "find", "folder": str(self.found.index), "words": self.place.words,
                 "after": self.place.row - 1}  # fmt: skip
        answer = await shelf.ask(asked)
        numbers, until = answer["numbers"], answer["until"]
        found = await off(lambda: [one for n in numbers for one in reader.read(n, 1)])
        with clear(self.rows):
            where = f"up to row {until:,} of {form.count:,}" if until < form.count else "to the end"
            text(f"{len(found):,} rows hold these words, {where}.", "quiet").set(role="status")
            if found:
                self._table(found)
            if until < form.count:
                link("Look further", self._address(Place(until + 1, words=self.place.words)),
                     "button")  # fmt: skip

    def _table(self, found: Sequence[Row]) -> None:
        if not found:
            text("There are no rows here.")
            return
        names = dict.fromkeys([name for one in found for name in one.values])
        columns = list(names)[:MOST_COLUMNS]

        def cells(one: Row) -> list[Cell]:
            def line() -> None:
                to = self._address(Place(self.place.row, one.number, self.place.words))
                link(f"{one.line:,}", to).set(aria_label=f"Line {one.line:,}, all of it")

            return [line, *(_cut(said(one.values.get(name))) for name in columns)]

        table(
            ("Line", *columns),
            [cells(one) for one in found],
            caption="Rows of the table",
            kind="wide rows",
        )
        if len(names) > MOST_COLUMNS:
            text(f"{len(names) - MOST_COLUMNS:,} more columns show when a line is opened.", "quiet")

    def _turn(self, found: Sequence[Row], form: Form) -> None:
        first = self.place.row
        with tag("nav", aria_label="Pages of rows", kind="row"):
            if first > 1:
                link("← Before", self._address(Place(max(1, first - SHOWN))), "button")
            if found and found[-1].number < form.count:
                link("Next →", self._address(Place(first + SHOWN)), "button")
            if found:
                text(f"Rows {found[0].number:,} to {found[-1].number:,}", "quiet")

    def _whole(self, found: Sequence[Row]) -> None:
        for one in found:
            with panel(f"Line {one.line:,}"):
                with tag("dl", kind="whole"):
                    for name, value in one.values.items():
                        tag("dt", name)
                        tag("dd", said(value) or "–")
                link("Close", self._address(Place(self.place.row, words=self.place.words)),
                     "button small")  # fmt: skip

    def _address(self, place: Place) -> str:
        given: dict[str, str | int] = {}
        if place.row > 1:
            given["row"] = place.row
        if place.open:
            given["open"] = place.open
        if place.words:
            given["q"] = place.words
        return f"{self.found.address}?{urlencode(given)}" if given else self.found.address

    def _go(self, place: Place) -> None:
        ui.navigate.to(self._address(place))


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST else value[:LONGEST] + "…"
