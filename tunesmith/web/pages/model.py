"""/models/NAME: one model: what made it, what was made from it, and what can be done with it."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from nicegui import ui

from tunesmith import catalog
from tunesmith.errors import ConfigError, NotFound
from tunesmith.store.paging import Cursor
from tunesmith.store.rows import FileRow, ModelRow
from tunesmith.web import archives, dialogs, jobs_shown, plain
from tunesmith.web.api import Refused
from tunesmith.web.controls import (
    Cell,
    button,
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
    waiting,
    when,
)
from tunesmith.web.layout import page, retitle
from tunesmith.web.lists import size, ties
from tunesmith.web.model_facts import ANSWERS, Lineage, address, lineage, named
from tunesmith.web.states import address as run_address
from tunesmith.web.visit import Visit, off

SCRIPT = f'<script src="/assets/copy.js?{plain.VERSION}" defer></script>'
MERGE_LOOK_SECONDS = 1.0
MOST_SHOWN = 50
"""Models of a kind; more are only counted."""


@page("/models/{model:path}", "")
async def model(visit: Visit, model: str) -> None:
    """One model."""
    try:
        found = await off(lineage, visit, model)
    except NotFound:
        await _base(visit, model)
        return
    retitle(named(found.row))
    ui.add_head_html(SCRIPT)
    await _Tuned(visit, found).show()


class _Tuned:
    """The page of a tuned model."""

    def __init__(self, visit: Visit, found: Lineage) -> None:
        self.visit, self.found, self.row = visit, found, found.row

    async def show(self) -> None:
        try:
            about = (await self.visit.api.get(f"/models/{self.row.id}")).get("tunesmith") or {}
        except Refused:
            about = {}
        with tag("div", kind="head"):
            tag("h1", named(self.row))
            with row():
                self._buttons()
        with row("naming"):
            tag("span", "Its name in requests", kind="quiet small")
            tag("code", self.row.id, id="model-id")
            tag("button", "Copy", kind="button small", type="button", data_copy="model-id")
        answers = str(about.get("answers"))
        if not about:
            notice("The model's files are gone, so it cannot answer.", "bad")
        seen: dict[str, Cell] = {
            "Answers with": ANSWERS.get(answers, "–"),
            "Base model": lambda: link(self.row.base_model, address(self.row.base_model)),
            "Made": lambda: when(self.row.created),
            "Size": size(self.found.num_bytes),
        }
        if self.found.labels and answers == "labels":
            seen["Labels"] = len(self.found.labels)
        facts(seen)
        with tag("div", kind="grid two"):
            self._origin()
            with tag("div", kind="stack"):
                self._takeaway()
                self._children()
        self._checkpoints()
        self._labels(answers)

    # --- what can be done -----------------------------------------------------------------------

    def _buttons(self) -> None:
        to = f"/playground?model={quote(self.row.id, safe='')}"
        link("Try it in the playground", to, "button primary")
        if self.found.is_own and self.visit.may_change:
            button("Rename", self._rename)
        if self.found.is_own and self.visit.caller.role == "admin":
            button("Delete", self._delete, kind="danger")

    async def _rename(self) -> None:
        async def do(new: str) -> None:
            self.visit.check_change()
            if not new:
                raise ConfigError("A name is needed.")
            title = None if new == self.row.id else new
            await off(self.visit.store.models.rename, self.row.id, title)
            ui.navigate.reload()

        dialogs.ask("Rename the model", "Shown as", named(self.row), "Rename", do)

    async def _delete(self) -> None:
        found = await off(lineage, self.visit, self.row.id)

        async def do() -> None:
            await self.visit.api.delete(f"/models/{self.row.id}")
            await off(archives.forget, self.visit.desk.settings, self.row)
            ui.navigate.to("/models")

        says = [
            f"{named(self.row)} and its files ({size(found.num_bytes)}) go for good, and programs "
            "that ask for it get an error.",
        ]
        if found.run:
            says.append(f"The run {found.run.name!r} stays, with its result.")
        if found.children:
            says.append(
                "Models that were tuned from it stay and go on working; trainings that have yet "
                "to begin from it will fail:"
            )
        names = [named(child) for child in found.children]
        dialogs.confirm("Delete this model?", says, "Delete", do, lists=names[:MOST_SHOWN])

    # --- what it is tied to ---------------------------------------------------------------------

    def _origin(self) -> None:
        found, job = self.found, self.found.job
        with panel("Where it comes from"):
            if job is None:
                text("It belongs to another project, which lets yours use it.", "quiet")
                return
            seen: dict[str, Cell] = {}
            if found.run is not None:
                run = found.run
                seen["Run"] = lambda: link(run.name or "Run", run_address(run))
            seen["Job"] = lambda: link(job.id, f"/jobs/{job.id}")
            if job.start_from:
                begin = job.start_from
                seen["Tuned from"] = lambda: link(begin, address(begin))
            for use, file in found.files.items():
                seen[f"{use.capitalize()} rows"] = _file_cell(file)
            ties(seen)
            with details("The settings that made it"):
                ties(jobs_shown.settings(job))

    def _children(self) -> None:
        with panel("Made from it"):
            if not self.found.children:
                text("No other model has been tuned from this one.", "quiet")
                return
            with tag("ul", kind="names"):
                for child in self.found.children[:MOST_SHOWN]:
                    with tag("li"):
                        link(named(child), address(child.id))
            _more(len(self.found.children))

    def _checkpoints(self) -> None:
        if not self.found.siblings:
            return
        with panel("Checkpoints of the same training"):
            text("Models as they were at earlier steps, which can be asked too.", "quiet")
            table(
                ("Name", "Made"),
                [_cells(other) for other in self.found.siblings[:MOST_SHOWN]],
                caption="Checkpoints",
            )
            _more(len(self.found.siblings))  # fmt: skip

    def _labels(self, answers: str) -> None:
        if answers != "labels" or not self.found.labels:
            return
        with details(f"Its {len(self.found.labels):,} labels"), tag("ul", kind="tags"):
            for label in self.found.labels:
                tag("li", label)

    # --- taking it elsewhere --------------------------------------------------------------------

    def _takeaway(self) -> None:
        settings = self.visit.desk.settings
        to = f"{address(self.row.id)}/download"
        with panel("Take it with you"):
            if not archives.is_adapter(settings, self.row):
                text("The whole model, in the layout that transformers reads.", "quiet")
                tag("a", f"Download ({size(self.found.num_bytes)}, zip)", kind="button", href=to)
                return
            text(
                "It is a small addition (an adapter) on top of its base model. Take it as it is, "
                "or merged with the base model into one that stands by itself.", "quiet",
            )  # fmt: skip
            tag("a", f"Download the adapter ({size(self.found.num_bytes)}, zip)", kind="button",
                href=to)  # fmt: skip
            self.merged = tag("div", kind="stack", aria_live="polite")
            self._merged()
            self.shown = ""
            ui.timer(MERGE_LOOK_SECONDS, self._merged)

    def _merged(self) -> None:
        settings, source = self.visit.desk.settings, self.row
        folder = archives.merged(settings, source)
        failed = archives.why_not(settings, source)
        is_going = archives.is_merging(settings, source)
        state = "going" if is_going else "done" if folder.is_dir() else failed or "none"
        if state == getattr(self, "shown", None):
            return
        self.shown = state
        with clear(self.merged):
            if is_going:
                waiting("Merging, and checking that both answer alike. This takes some minutes.")
            elif state == "done":
                num_bytes = archives.bytes_of(folder)
                to = f"{address(source.id)}/download?form=merged"
                tag("a", f"Download merged ({size(num_bytes)}, zip)", kind="button", href=to)
            else:
                if failed:
                    notice(failed, "bad", title="It could not be merged")
                if self.visit.may_change:
                    button("Merge with the base model", self._merge, busy="Beginning …")

    def _merge(self) -> None:
        self.visit.check_change()
        archives.merge(self.visit.desk.settings, self.row)
        self._merged()


def _more(number: int) -> None:
    if number > MOST_SHOWN:
        text(f"And {number - MOST_SHOWN:,} more.", "quiet")


def _cells(row: ModelRow) -> tuple[Cell, ...]:
    return (partial(link, named(row), address(row.id)), partial(when, row.created))


def _file_cell(file: FileRow | str) -> Cell:
    if isinstance(file, FileRow):
        return lambda: link(f"{file.filename} ({size(file.bytes)})", f"/data/files/{file.id}")
    return lambda: tag("span", "deleted", kind="quiet", title=str(file))


# --- base models ----------------------------------------------------------------------------------


async def _base(visit: Visit, name: str) -> None:
    """The page of a base model. Raises: NotFound."""
    place = visit.desk.settings.base_models_dir
    try:
        base = await off(catalog.find, name, place, folders=False)
    except NotFound:
        raise NotFound(f"There is no model {name!r}.") from None
    retitle(base.name)
    tag("h1", base.name)
    if base.description and not base.description.startswith("local folder"):
        text(base.description[:1].upper() + base.description[1:] + ".", "lead")
    try:
        base.files()
        is_here = True
    except NotFound as error:
        is_here = False
        notice(str(error))
    facts(
        {
            "To be tuned for": "labels" if base.kind == "encoder" else "text, or labels",
            "Parameters": f"{base.parameters / 1e6:,.0f} million" if base.parameters else None,
            "Size": size(base.num_bytes) if base.num_bytes else None,
            "Reads at most": f"{base.max_length:,} tokens",
            "Licence": base.licence or None,
            "Languages": ", ".join(base.languages) or None,
        }
    )
    with row():
        if is_here and base.kind == "causal":
            to = f"/playground?model={quote(base.name, safe='')}"
            link("Try it in the playground", to, "button primary")
        if visit.may_change:
            link("Begin a run", "/new", "button")
    await _tuned_of(visit, base.name)


async def _tuned_of(visit: Visit, base: str) -> None:
    found = await off(visit.store.models.page, Cursor(limit=50), search=base)
    mine = [one for one in found.data if one.base_model == base]
    with panel("Tuned from it"):
        if not mine:
            text("No model of yours has been tuned from it yet.", "quiet")
            return

        table(
            ("Name", "Made"),
            [
                (partial(link, named(one), address(one.id)), partial(when, one.created))
                for one in mine
            ],
            caption=f"Models tuned from {base}",
        )
        if found.has_more:
            link("All of them", f"/models?q={quote(base)}")
