"""A task before it begins: which column is the text, what else is shown, labels, how many votes.

What is filled in is kept at once, so a reload or another day changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import context, ui

from tunesmith.errors import ConfigError, NotFound
from tunesmith.store.labelling_rows import LabellingTaskRow
from tunesmith.web.controls import (
    CHECKED,
    Field,
    Tag,
    bar,
    button,
    choice_field,
    clear,
    details,
    grid,
    notice,
    panel,
    row,
    switch_field,
    table,
    tag,
    text,
    text_field,
    told,
    waiting,
)
from tunesmith.web.labelling import suggestions, tasks
from tunesmith.web.layout import retitle
from tunesmith.web.visit import Visit, off

MOST_COLUMNS = 60
"""That can be chosen from on the page."""


async def show(visit: Visit, task: LabellingTaskRow) -> None:
    """The page of a draft."""
    visit.check_change()
    retitle(task.name)
    await Setup(visit, task).show()


class Setup:
    """The form. Each change is written to the task."""

    def __init__(self, visit: Visit, task: LabellingTaskRow) -> None:
        self.visit = visit
        self.task = task
        self.columns: list[str] = []
        self.labels: Field | None = None

    async def show(self) -> None:
        """The whole page."""
        self.heading = tag("h1", self.task.name)
        if self.task.error:
            notice(self.task.error, "bad", title="The table could not be brought in")
        with panel("1 · The table"):
            text(f"From {self.task.source}.", "quiet")
            self.table = tag("div", kind="stack")
            with self.table:
                waiting("Reading the first rows …")
        self.rest = tag("div", kind="stack")
        ui.timer(0.05, self._look, once=True, immediate=False)

    async def _look(self) -> None:
        found = await tasks.peek(self.visit, self.task)
        with clear(self.table):
            if error := found.get("error"):
                notice(f"{error['what']} {error['fix']}".strip(), "bad", title="This is no table")
                self._read_differently()
                self._delete()
                return
            self.columns = list(found["columns"])
            if not self.task.text_column:
                await self._guess(found)
            self._table(found)
        models = await suggestions.models(self.visit)
        with clear(self.rest):
            self._labels(models)
            self._people(models)
            self._begin()

    async def _guess(self, found: dict[str, Any]) -> None:
        """Begin with what the columns look like."""
        guess = found.get("guess") or {}
        shape = list((found.get("shape") or {}).values())
        column = guess.get("text") or next((c for c in shape if c in self.columns), None)
        if column not in self.columns:
            column = max(self.columns, key=lambda name: _length(found, name))
        await self._keep(text_column=column)

    def _table(self, found: dict[str, Any]) -> None:
        rows = [[str(c or "") for c in cells] for cells in found["rows"]]
        many = f"{found['num_rows']:,} rows" if found.get("is_whole") else "The first rows"
        table(self.columns, rows, caption=f"{many} of {self.task.source}", kind="wide")
        options = {name: name for name in self.columns}

        async def choose(name: str) -> None:
            shown = [other for other in self.task.shown if other != name]
            await self._keep(text_column=name, shown=shown)

        with grid("two"):
            choice_field(
                "Column that holds the text", options, self.task.text_column, choose,
                hint="What people read. It is shown large, as it stands in the table.",
            )  # fmt: skip
            self._shown()
        self._read_differently()

    def _shown(self) -> None:
        with tag("fieldset", kind="plain"):
            tag("legend", "Columns to show beside it")
            with row():
                for name in self.columns[:MOST_COLUMNS]:
                    self._tick(name)

    def _tick(self, name: str) -> None:
        async def changed(event: Any) -> None:
            others = [shown for shown in self.task.shown if shown != name]
            chosen = [*others, name] if event.args else others
            ordered = [column for column in self.columns if column in chosen]
            await self._keep(shown=[c for c in ordered if c != self.task.text_column])

        with tag("label", kind="tick"):
            ticked = tag("input", type="checkbox", checked=name in self.task.shown)
            ticked.on("change", changed, js_handler=CHECKED)
            tag("span", name)

    def _read_differently(self) -> None:
        def change(part: str) -> Callable[[str], Awaitable[None]]:
            async def changed(value: str) -> None:
                reading = {**self.task.reading, part: value.strip()}
                given = {key: said for key, said in reading.items() if said}
                await self._keep(reading=given, text_column="", shown=[])
                ui.navigate.reload()

            return changed

        with details("Read the file differently"), grid("two"):
            text_field(
                "Encoding", self.task.reading.get("encoding", ""), change("encoding"),
                hint="Such as cp1252, where letters look wrong. Empty: it is detected.",
            )  # fmt: skip
            text_field(
                "Sheet", self.task.reading.get("sheet", ""), change("sheet"),
                hint="Of a workbook. Empty: the one that looks most like a table.",
            )  # fmt: skip

    # --- labels and people -----------------------------------------------------------------------

    def _labels(self, models: list[str]) -> None:
        with panel("2 · The labels"):
            with grid("two"):
                self.labels = area_field(
                    "Labels, one a line", "\n".join(self.task.labels), self._typed, rows=8,
                    hint="The first nine get the keys 1 to 9, the next ones letters.",
                )  # fmt: skip
                with tag("div", kind="stack"):
                    text("Or take them from somewhere:", "quiet")
                    self._from_column()
                    if models:
                        self._from_model(models)
            area_field(
                "Guideline", self.task.guideline, lambda said: self._keep(guideline=said), rows=4,
                hint="What each label means and what to do in doubt. People can read it while "
                "they label.",
            )  # fmt: skip

    async def _typed(self, said: str) -> None:
        await self._keep(labels=tasks.read_labels(said))

    def _from_column(self) -> None:
        chosen = [self.columns[-1]]

        def choose(name: str) -> None:
            chosen[0] = name

        async def take() -> None:
            await self._take(await tasks.labels_of_column(self.visit, self.task, chosen[0]))

        with row("end"):
            choice_field("A column", {name: name for name in self.columns}, chosen[0], choose)
            button("Take its values", take, busy="Reading the column …")

    def _from_model(self, models: list[str]) -> None:
        chosen = [models[0]]

        def choose(name: str) -> None:
            chosen[0] = name

        async def take() -> None:
            labels, are_all = await suggestions.labels_of(self.visit.api, chosen[0])
            await self._take(labels)
            if not are_all:
                told("The model may have more labels than these; add what is missing.", "warn")

        with row("end"):
            choice_field("A model", {name: name for name in models}, chosen[0], choose)
            button("Take its labels", take, busy="Asking the model …")

    async def _take(self, labels: list[str]) -> None:
        """Show labels in the field, in place of what stands there."""
        labels = tasks.read_labels("\n".join(" ".join(label.split()) for label in labels))
        await self._keep(labels=labels)
        assert self.labels is not None
        fill(self.labels.made, "\n".join(labels))

    def _people(self, models: list[str]) -> None:
        with panel("3 · Who labels, and how"), grid("two"):
            text_field("Name of the task", self.task.name, self._rename)
            text_field(
                "Votes a row", str(self.task.votes), self._votes, inputmode="numeric",
                hint="How many people are to label each row. With 2 or more you see how far they "
                "agree, and somebody decides on ties.",
            )  # fmt: skip
            if models:
                helper_fields(self.visit, self.task, models, self._keep)

    async def _rename(self, name: str) -> None:
        if not name.strip():
            raise ConfigError("A task needs a name.")
        await self._keep(name=name.strip()[:200])
        self.heading.text = self.task.name
        retitle(self.task.name)

    async def _votes(self, said: str) -> None:
        if not said.strip().isdecimal() or not 1 <= int(said) <= tasks.MOST_VOTES:
            raise ConfigError(f"It has to be a number from 1 to {tasks.MOST_VOTES}.")
        await self._keep(votes=int(said))

    def _begin(self) -> None:
        async def begin() -> None:
            await off(tasks.begin, self.visit, await tasks.find(self.visit, self.task.id))
            ui.navigate.to(f"/labelling/{self.task.id}")

        with row():
            button("Bring in the rows and begin", begin, kind="primary", busy="Beginning …")
            self._delete()

    def _delete(self) -> None:
        async def delete() -> None:
            await off(tasks.delete, self.visit, self.task)
            ui.navigate.to("/labelling")

        button("Throw this draft away", delete, kind="quiet")

    async def _keep(self, **values: Any) -> None:
        change = self.visit.store.labelling.change
        self.task = await off(change, self.task.id, only=("draft",), values=values)


def helper_fields(
    visit: Visit, task: LabellingTaskRow, models: list[str], keep: Callable[..., Awaitable[None]]
) -> None:
    """A model that helps, and whether people see what it says. `keep` is given both."""
    chosen = {"helper": task.helper, "is_suggesting": task.is_suggesting}

    async def choose(name: str) -> None:
        chosen["helper"] = name or None
        await keep(**chosen)

    async def suggest(is_on: bool) -> None:
        chosen["is_suggesting"] = is_on
        await keep(**chosen)

    choice_field(
        "Rows come",
        {"": "in random order", **{name: f"the least certain first, by {name}" for name in models}},
        task.helper or "", choose,
        hint="A model can find the rows that are worth most: those it is least certain of.",
    )  # fmt: skip
    switch_field(
        "Show what the model would say", task.is_suggesting, suggest,
        hint="Faster, and it leads people: they agree with a model more than they would by "
        "themselves.",
    )  # fmt: skip


def area_field(
    label: str, value: str, on_change: Callable[[Any], Any], *, hint: str = "", rows: int = 4
) -> Field:
    """Several lines of text."""
    made = Field(label, hint)
    made.control("textarea", rows=rows, autocomplete="off").text = value
    made.changed("change", "(event) => emit(event.target.value)", on_change)
    return made


def fill(control: Tag, value: str) -> None:
    """Put another text into a text area, where something was typed already."""
    control.text = value
    name = control._props["id"]
    context.client.run_javascript(
        f"setTimeout(() => {{ const area = document.getElementById('{name}');"
        " area.value = area.textContent; }, 50)"
    )


# --- while the rows come in -----------------------------------------------------------------------


async def show_import(visit: Visit, task: LabellingTaskRow) -> None:
    """The page while the rows come in."""
    retitle(task.name)
    tag("h1", task.name)
    with panel("The rows are coming in"):
        box = tag("div", kind="stack")
        text("This goes on when you close the page.", "quiet")

    async def look() -> None:
        try:
            now = await tasks.find(visit, task.id)
        except NotFound:
            ui.navigate.to("/labelling")
            return
        if now.state != "importing":
            ui.navigate.reload()
            return
        with clear(box):
            if now.total:
                bar(now.num_rows, now.total, "Rows that are here")
                waiting(f"{now.num_rows:,} of {now.total:,} rows")
            else:
                waiting("Reading the table …")

    await look()
    ui.timer(1.0, look, immediate=False)


def _length(found: dict[str, Any], name: str) -> int:
    place = found["columns"].index(name)
    return sum(len(str(cells[place] or "")) for cells in found["rows"])
