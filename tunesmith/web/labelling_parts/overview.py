"""How far a task is, live: who has done what, which labels, how alike the votes are; and what can
be done with it: train, take along, change, delete."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from tunesmith.errors import NotFound, TunesmithError
from tunesmith.store.labelling_rows import LabellingTaskRow
from tunesmith.web.controls import (
    badge,
    bar,
    button,
    choice_field,
    clear,
    details,
    facts,
    grid,
    link,
    notice,
    panel,
    row,
    table,
    tag,
    text,
    text_field,
    told,
    when,
)
from tunesmith.web.dialogs import confirm
from tunesmith.web.labelling import export, suggestions, tasks
from tunesmith.web.labelling.agreement import Agreement
from tunesmith.web.labelling.figures import Figures, figures, names_of
from tunesmith.web.labelling_parts.head import address, done, head
from tunesmith.web.labelling_parts.setup import area_field, helper_fields
from tunesmith.web.visit import Visit, off

LOOK_SECONDS = 3.0
MOST_SHOWN = 30
"""Labels of which the share is shown."""


async def show(visit: Visit, task: LabellingTaskRow) -> None:
    """The page."""
    head(task, "overview")
    live = tag("div", kind="stack")
    seen: list[Any] = []

    async def look() -> None:
        try:
            found = await off(figures, visit.store, task.id)
        except NotFound:
            ui.navigate.to("/labelling")
            return
        except TunesmithError as error:
            told(str(error), "bad")
            return
        if seen != [found]:
            seen[:] = [found]
            people = [share.annotator for share in found.shares]
            names = await off(names_of, visit.store, people)
            with clear(live):
                _live(found, names)

    await look()
    ui.timer(LOOK_SECONDS, look, immediate=False)
    with grid("two"):
        _use(visit, task, seen)
        _settings(visit, task, await suggestions.models(visit))


# --- how far it is --------------------------------------------------------------------------------


def _live(found: Figures, names: dict[str, str]) -> None:
    task = found.task
    with panel("So far"):
        bar(task.num_done, max(1, task.num_rows), "How much of the table is done")
        told_ = {
            "Rows": task.num_rows,
            "Labelled": task.num_labelled,
            "Done": task.num_done,
            "Votes wanted a row": task.votes,
        }
        if task.num_tied:
            told_["Ties"] = task.num_tied
        facts(told_)
        if task.num_empty:
            text(f"{task.num_empty:,} rows of the table have no text and were left out.", "quiet")
        if task.num_tied:
            with row():
                link(f"Decide {task.num_tied:,} tied", address(task, "ties"), "button primary")
    with grid("two"):
        with panel("People"):
            _people(found, names)
        with panel("Labels"):
            _labels(found)
    if found.agreement is not None:
        with panel("How far people agree"):
            _agreement(found.agreement)


def _people(found: Figures, names: dict[str, str]) -> None:
    if not found.shares:
        text("Nobody has labelled yet. Who has a key for this project can: give them this page's "
             "address.", "quiet")  # fmt: skip
        return
    rows = [
        (names[s.annotator], s.votes, s.skips, s.decisions, lambda at=s.last_at: when(at))
        for s in found.shares
    ]
    head_ = ("Who", "Labelled", "Skipped", "Decided", "Last")
    table(head_, rows, caption="Who has done how much", kind="people")


def _labels(found: Figures) -> None:
    counts = {label: found.labels.get(label, 0) for label in found.task.labels}
    if not sum(counts.values()):
        text("Once rows are labelled, this shows how often each label is given.", "quiet")
        return
    most = max(counts.values())
    listed = sorted(counts.items(), key=lambda entry: -entry[1])
    with tag("div", kind="shares"):
        for label, count in listed[:MOST_SHOWN]:
            tag("span", label, kind="name")
            with tag("span", kind="track", aria_hidden="true"):
                if count:
                    tag("span").style(f"width: {100 * count / most:.1f}%")
            tag("span", f"{count:,}", kind="count")
    if len(listed) > MOST_SHOWN:
        text(f"And {len(listed) - MOST_SHOWN:,} more labels with fewer rows.", "quiet")


def _agreement(found: Agreement) -> None:
    mood = {"reliable": "good", "too low to rely on": "bad"}.get(found.in_words(), "warn")
    with row():
        badge(found.in_words().capitalize(), mood)
    shown: dict[str, Any] = {
        "All votes alike": f"{100 * found.share:.1f} %",
        "Krippendorff's alpha": _measure(found.krippendorff_alpha),
        "Fleiss' kappa": _measure(found.fleiss_kappa),
        "Rows with two votes or more": found.num_rows,
        "Votes on them": found.num_votes,
    }
    facts(shown)
    with details("What these say"):
        text(
            "Alpha and kappa say how far people agree beyond what chance would give: 1 is perfect, "
            "0 is chance. From 0.8 on labels are usually called reliable; below 0.667 it helps to "
            "make the guideline clearer, or to have fewer labels, before more is labelled."
        )


def _measure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2f}"


# --- what can be done with it ---------------------------------------------------------------------


def _use(visit: Visit, task: LabellingTaskRow, seen: list[Any]) -> None:
    how = {"": ""}

    def choose(value: str) -> None:
        how[""] = value

    async def train() -> None:
        now = await tasks.find(visit, task.id)
        run = await off(export.new_run, visit, now, by_annotators=bool(how[""]))
        ui.navigate.to(f"/new/{run.id}")

    with panel("Use them"):
        text("A new run begins with the rows that are labelled so far. You can go on labelling.")
        several = seen and len([s for s in seen[0].shares if s.votes]) > 1
        if several and visit.may_change:
            choice_field(
                "Where people differ",
                {"": "take decisions, else what most say; leave ties out",
                 "people": "hand over everybody's votes; the run settles them"},
                "", choose,
            )  # fmt: skip
        with row():
            if visit.may_change:
                button("Train with these", train, kind="primary", busy="Writing the table …")
            link("Labelled rows as CSV", f"{address(task, 'table.csv')}", "button")
            link("All rows as CSV", f"{address(task, 'table.csv')}?rows=all", "button quiet")
        text(
            "The file has the text, a column “label” with what was settled, and one column for "
            "each person, as `tunesmith prepare --annotators` reads them.", "quiet small",
        )  # fmt: skip


def _settings(visit: Visit, task: LabellingTaskRow, models: list[str]) -> None:
    if not visit.may_change:
        return

    async def keep(**values: Any) -> None:
        visit.check_change()
        await off(visit.store.labelling.change, task.id, values=values)

    async def rename(name: str) -> None:
        await keep(name=name.strip()[:200] or task.name)
        ui.navigate.reload()

    async def help_with(**chosen: Any) -> None:
        suggests = bool(chosen["is_suggesting"])
        await suggestions.choose(visit, task, chosen["helper"], is_suggesting=suggests)

    async def add(typed: str) -> None:
        now = await tasks.find(visit, task.id)
        await off(tasks.add_labels, visit, now, typed)
        ui.navigate.reload()

    with panel("Settings"):
        text_field("Name", task.name, rename)
        area_field("Guideline", task.guideline, lambda said: keep(guideline=said))
        area_field("More labels, one a line", "", add, rows=2, hint=_labels_hint(task))
        if models:
            helper_fields(visit, task, models, help_with)
        elif task.helper:
            notice(f"The model {task.helper}, which finds the hard rows, is gone.", "warn")
        with row():
            button("Delete this task", lambda: _delete(visit, task), kind="danger")


def _labels_hint(task: LabellingTaskRow) -> str:
    shown = ", ".join(task.labels[:8])
    many = f"There are {len(task.labels):,}: {shown}"
    return f"{many}, and more." if len(task.labels) > 8 else f"{many}."


async def _delete(visit: Visit, task: LabellingTaskRow) -> None:
    visit.check_change()
    now = await tasks.find(visit, task.id)

    async def delete() -> None:
        suggestions.stop(task.id)
        await off(tasks.delete, visit, now)
        ui.navigate.to("/labelling")

    confirm(
        f"Delete “{now.name}”?",
        (
            f"All {now.num_rows:,} rows go, with what people said of {now.num_labelled:,} of them "
            "and the whole history. It cannot be undone.",
            f"Runs that were begun with these labels keep their own table. So far: {done(now)}.",
        ),
        "Delete",
        delete,
    )
