"""/playground/batches: tables about whose rows a model is asked, and one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from tunesmith.errors import TunesmithError
from tunesmith.web import drafts, model_facts
from tunesmith.web.asking.request import How, number_of
from tunesmith.web.controls import (
    Cell,
    Mood,
    Tag,
    area_field,
    badge,
    bar,
    button,
    choice_field,
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
from tunesmith.web.dialogs import danger
from tunesmith.web.layout import page, retitle
from tunesmith.web.many import work
from tunesmith.web.many.table import INDEX
from tunesmith.web.many.work import Many
from tunesmith.web.playing import Model, find, offered
from tunesmith.web.tables import shelf
from tunesmith.web.tables.form import Form, Row, Rows, said
from tunesmith.web.visit import Visit, off

SHOWN = 50
LOOK_SECONDS = 1.0
ROWS = 5
LONGEST = 160
STATES = {
    "new": ("To be filled in", ""),
    "preparing": ("Being prepared", "live"),
    "asking": ("Being asked", "live"),
    "ended": ("Done", "good"),
    "failed": ("Failed", "bad"),
}
TEXTS = ("text", "message", "body", "content", "question", "prompt", "review", "comment")
"""Names of columns that usually hold the text."""


@page("/playground/batches", "Ask about a table")
async def batches(visit: Visit, model: str = "") -> None:
    """The list, and room for one more. `model`: the one to be asked."""
    text("Drop a table, choose a column and a model, and get the table back with an answer beside "
         "every row. It goes on when you close the page.", "lead")  # fmt: skip
    if visit.may_change:

        def arrived(event: Any) -> None:
            given = urlencode({"model": model} if model else {})
            ui.navigate.to(f"/playground/batches/{event.args['id']}?{given}".rstrip("?"))

        ui.on("table_arrived", arrived)
        tag("file-drop", id="drop", url="/playground/batches/table", label="Choose a file",
            hint="or drop it here: CSV, TSV, JSON Lines, Excel or Parquet.",
            limit=drafts.MAX_BYTES)  # fmt: skip
    else:
        notice("Your key may look and ask models one text at a time. A key with more rights can "
               "ask about tables.")  # fmt: skip
    found = await off(work.newest, visit, SHOWN)
    if not found:
        return
    with panel("Tables"):
        table(
            ("Table", "State", "Rows", "Model", "Dropped"),
            [_cells(many) for many in found],
            caption="Tables, the newest first",
            kind="runs",
        )


def _cells(many: Many) -> tuple[Cell, ...]:
    model = str((many.ask or {}).get("model", ""))

    def asked() -> None:
        if model:
            link(model, model_facts.address(model))

    return (
        lambda: link(many.file, f"/playground/batches/{many.id}"),
        lambda: _state(many),
        many.rows or None,
        asked,
        lambda: when(many.created_at),
    )


def _state(many: Many) -> Tag:
    if many.state == "ended" and many.cancelled:
        return badge("Cancelled")
    return badge(*STATES[many.state])


@page("/playground/batches/{many_id}", "")
async def one_batch(visit: Visit, many_id: str, model: str = "") -> None:
    """One table."""
    many = await off(work.load, visit, many_id)
    retitle(many.file)
    work.go_on(visit, many)
    await _Shown(visit, many, model).show()


class _Shown:
    """The page of a table, in one browser."""

    def __init__(self, visit: Visit, many: Many, model: str) -> None:
        self.visit, self.many = visit, many
        self.ask: dict[str, str] = {"model": model, "column": "", "system": "", "most": "256"}
        self.seen: object = None
        self.state: Tag
        self.box: Tag

    async def show(self) -> None:
        """All of it, as it is now."""
        with tag("div", kind="head"):
            tag("h1", self.many.file)
            self.state = tag("div", kind="row", aria_live="polite")
        self.box = tag("div", kind="stack")
        await self.look()
        self.timer = ui.timer(LOOK_SECONDS, self.look, immediate=False)

    async def look(self) -> None:
        """Show what has changed."""
        self.many = await off(work.load, self.visit, self.many.id)
        if self.many.state == "new":
            await self._look_at_table()
            return
        counts = await work.counts(self.visit, self.many)
        seen = (self.many.state, self.many.cancelled, counts)
        if seen == self.seen:
            return
        is_going = self.many.state in ("preparing", "asking")
        new_state = self.seen is None or self.seen[0] != self.many.state  # type: ignore[index]
        self.seen = seen
        if new_state or not is_going:
            with clear(self.state):
                _state(self.many)
            with clear(self.box):
                self._frame(is_going=is_going)
        if is_going:
            with clear(self.progress):
                self._progress(*counts)

    # --- before it is asked ---------------------------------------------------------------------

    async def _look_at_table(self) -> None:
        source = work.table(self.visit, self.many)
        folder = work.folder(self.visit, self.many.id) / INDEX
        form = await shelf.opened(folder, source)
        seen = None if form is None else (form.columns, form.error, form.done)
        if seen == self.seen and seen is not None:
            return
        is_shown = isinstance(self.seen, tuple) and bool(form and form.columns)
        self.seen = seen
        if form is None:
            with clear(self.box):
                waiting("Reading the file.")
        elif form.error:
            with clear(self.box):
                notice(form.error, "bad", title="It cannot be read")
                self._deletion()
        elif not is_shown or form.done:
            rows = await off(Rows(folder, form).read, 1, ROWS)
            models = await offered(self.visit)
            with clear(self.box):
                await self._form(form, rows, models)

    async def _form(self, form: Form, rows: list[Row], models: Mapping[str, str]) -> None:
        ask = self.ask
        ask["column"] = ask["column"] or _guess(form, rows)
        ask["model"] = ask["model"] or next(iter(models), "")
        options = {ask["model"]: ask["model"]} | dict(models) if ask["model"] else dict(models)
        with panel("What to ask"):
            with tag("div", kind="filters"):
                choice_field("Column with the text", {name: name for name in form.columns},
                             ask["column"], self._keeper("column"))  # fmt: skip
                choice_field("Model", options, ask["model"], self._chosen)
            self.writing = tag("div", kind="stack")
            with row():
                button("Ask about every row", self._start, kind="primary", busy="Beginning …")
                self._deletion()
        with panel("The first rows"):
            count = f"{form.count:,} rows." if form.done else "Counting the rows."
            text(count, "quiet")
            table(
                form.columns,
                [[_cut(said(one.values.get(name))) for name in form.columns] for one in rows],
                caption="The first rows of the table",
                kind="wide",
            )
        await self._chosen(ask["model"])

    async def _chosen(self, name: str) -> None:
        """A model that writes can be told how."""
        self.ask["model"] = name
        self.writing.clear()
        model = await self._model()
        if model is None or model.answers == "labels":
            return
        with self.writing:
            area_field("Instructions (system prompt)", self.ask["system"], self._keeper("system"),
                       rows=2, event="input")  # fmt: skip
            text_field("Most tokens of an answer", self.ask["most"], self._keeper("most"),
                       inputmode="numeric")  # fmt: skip

    async def _model(self) -> Model | None:
        try:
            return await find(self.visit, self.ask["model"])
        except TunesmithError:
            return None

    def _keeper(self, name: str) -> Any:
        def keep(value: str) -> None:
            self.ask[name] = value

        return keep

    async def _start(self) -> None:
        model = await find(self.visit, self.ask["model"])
        most = number_of(self.ask["most"], least=1, most=100_000, whole=True)
        how = How(system=self.ask["system"], temperature=0.0, max_tokens=int(most or 256))
        ask = {"model": model.name, "answers": model.answers, "column": self.ask["column"],
               "how": asdict(how)}  # fmt: skip
        self.seen = None
        self.many = await work.start(self.visit, self.many, ask)
        await self.look()

    # --- while and after ------------------------------------------------------------------------

    def _frame(self, *, is_going: bool) -> None:
        ask = self.many.ask or {}
        facts(
            {
                "Rows": self.many.rows or None,
                "Column": str(ask.get("column")),
                "Model": lambda: link(str(ask["model"]), model_facts.address(str(ask["model"]))),
                "Dropped": lambda: when(self.many.created_at),
            }
        )
        if is_going:
            self.progress = tag("div", kind="stack", role="status")
            with row():
                danger("Cancel", "Really cancel", self._cancel,
                       warns="What has been answered stays.")  # fmt: skip
            return
        if self.many.state == "failed":
            notice(self.many.error, "bad", title="The table could not be answered")
            with row():
                if self.visit.may_change:
                    button("Try again", self._again, busy="Beginning …")
                self._deletion()
            return
        self._result()

    def _progress(self, total: int, answered: int, failed: int) -> None:
        if not total:
            waiting("Making a request of every row.")
            return
        done = answered + failed
        waiting(f"{done:,} of {total:,} rows are answered" + f", {failed:,} failed" * bool(failed))
        bar(done, total, "Rows answered")

    def _result(self) -> None:
        many = self.many
        mood: Mood = "warn" if many.failed else "good"
        title = "Cancelled" if many.cancelled else "Done"
        notice(f"{many.answered:,} rows have an answer"
               + (f", {many.failed:,} have none; the column “error” says why." if many.failed
                  else "."), mood, title=title)  # fmt: skip
        with row():
            tag("a", "Download the table with answers (CSV)", kind="button primary",
                href=f"/playground/batches/{many.id}/predictions.csv")  # fmt: skip
            self._deletion()
        if many.errors:
            with panel("Rows without an answer"):
                if many.failed > len(many.errors):
                    text(f"The first {len(many.errors):,} of {many.failed:,}.", "quiet")
                table(
                    ("Line", "What happened"),
                    [(one["line"], str(one["what"])) for one in many.errors],
                    caption="Rows without an answer",
                )

    def _deletion(self) -> None:
        if self.visit.may_change:
            danger("Delete", "Really delete", self._delete,
                   warns="The table and its answers go for good.")  # fmt: skip

    async def _cancel(self) -> None:
        await work.cancel(self.visit, self.many)
        await self.look()

    async def _again(self) -> None:
        self.seen = None
        self.many = await work.start(self.visit, self.many, self.many.ask or {})
        await self.look()

    async def _delete(self) -> None:
        await work.delete(self.visit, self.many)
        self.timer.cancel()
        ui.navigate.to("/playground/batches")


def _guess(form: Form, rows: list[Row]) -> str:
    """The column that is probably the text: by its name, or the one with the most to read."""
    for name in form.columns:
        if name.casefold() in TEXTS:
            return name
    sizes = {name: sum(len(said(one.values.get(name))) for one in rows) for name in form.columns}
    return max(sizes, key=lambda name: sizes[name], default="")


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST else value[:LONGEST] + "…"
