"""The rows of a task: searched, filtered, opened; and one row with all that was ever said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from tunesmith.errors import NotFound, RequestError
from tunesmith.store.labelled import GROUPS, Asked
from tunesmith.store.labelling_rows import AnswerRow, LabellingRow, LabellingTaskRow
from tunesmith.web.controls import (
    badge,
    choice_field,
    facts,
    grid,
    link,
    panel,
    row,
    table,
    tag,
    text,
    when,
)
from tunesmith.web.labelling.figures import figures, names_of
from tunesmith.web.labelling_parts.head import address, head
from tunesmith.web.lists import Listing
from tunesmith.web.visit import Visit, off

SHOWN = 50
LONGEST = 240
"""Characters of a text that a list shows."""
NAMES = {
    "labelled": "Labelled",
    "tied": "Ties",
    "apart": "Votes differ",
    "decided": "Decided by somebody",
    "skipped": "Skipped",
    "open": "Want more votes",
}
STATES = {"open": ("Open", ""), "done": ("Done", "good"), "tied": ("Tie", "warn")}


async def show_list(
    visit: Visit, task: LabellingTaskRow, asked: Mapping[str, str], after: str
) -> None:
    """The list. asked: q, show, label, by; as in the address."""
    head(task, "rows")
    asked = {**asked, "show": asked["show"] if asked["show"] in GROUPS else ""}
    listing = Listing(address(task, "rows"), asked)
    people = await off(figures, visit.store, task.id)
    names = await off(names_of, visit.store, [share.annotator for share in people.shares])
    with tag("div", kind="filters", role="search"):
        listing.search("Search the texts")
        listing.choice("Show", "show", {"": NAMES["labelled"], **_but(NAMES, "labelled")})
        listing.choice("Label", "label", {"": "Any", **{name: name for name in task.labels}})
        listing.choice("Labelled by", "by", {"": "Anybody", **names})
    which = Asked(
        group=asked["show"] or "labelled",
        search=asked["q"],
        label=asked["label"],
        annotator=asked["by"],
    )
    rows = visit.store.labelled
    try:
        found = await off(rows.page, task.id, which, after=after, limit=SHOWN)
    except RequestError:
        found = await off(rows.page, task.id, which, limit=SHOWN)
    if not found.data:
        _nothing(task, asked)
        return
    said = await off(rows.answers, task.id, [one.id for one in found.data])
    table(
        ("Row", "Text", "Label", "Who said what", "Last"),
        [_cells(task, one, said[one.id], names) for one in found.data],
        caption="Rows, those labelled last first",
        kind="labelled",
    )
    with tag("nav", aria_label="Pages of the list"), row():
        if after:
            link("← From the beginning", listing.address(), "button")
        if found.has_more:
            link("More →", listing.address(after=found.data[-1].id), "button")


def _but(names: Mapping[str, str], left_out: str) -> dict[str, str]:
    return {key: name for key, name in names.items() if key != left_out}


def _nothing(task: LabellingTaskRow, asked: Mapping[str, str]) -> None:
    if any(asked.values()):
        text("No row is like that. Search for less, or show all.")
    else:
        text("Nothing is labelled yet. What people label shows up here, and can be changed here.")
        with row():
            link("Label rows", address(task), "button primary")


def _cells(
    task: LabellingTaskRow,
    one: LabellingRow,
    said: Sequence[AnswerRow],
    names: Mapping[str, str],
) -> tuple[Any, ...]:
    def opened() -> None:
        link(_cut(one.text), address(task, f"rows/{one.id}"))

    def label() -> None:
        if one.label is not None:
            tag("span", one.label, kind="label")
        if one.state != "done":
            badge(*STATES[one.state])

    def votes() -> None:
        for answer in said:
            name = names.get(answer.annotator, answer.annotator)
            tag("div", f"{name}: {_words(answer)}", kind="small")

    return (one.number, opened, label, votes, lambda: when(one.answered_at or None))


def _words(answer: AnswerRow) -> str:
    if answer.kind == "skip":
        return "skipped"
    return f"decided {answer.label}" if answer.kind == "decision" else str(answer.label)


def _cut(said: str) -> str:
    one_line = " ".join(said.split())
    return one_line if len(one_line) <= LONGEST else one_line[:LONGEST] + "…"


# --- one row --------------------------------------------------------------------------------------


async def show_row(visit: Visit, task: LabellingTaskRow, row_id: str) -> None:
    """A row: its text, its label to be changed, who said what and when."""
    head(task, "rows")
    one = await off(visit.store.labelled.row, task.id, row_id)
    if one is None:
        raise NotFound("There is no such row.")
    answers = visit.store.labelled.answers
    said = (await off(answers, task.id, [row_id], with_replaced=True))[row_id]
    names = await off(names_of, visit.store, [answer.annotator for answer in said])
    with panel(f"Row {one.number:,} of the table"):
        with row():
            badge(*STATES[one.state])
            if one.label is not None:
                tag("span", one.label, kind="label")
        tag("div", one.text, kind="label-text", dir="auto")
        if one.shown:
            facts({name: str(value) for name, value in one.shown.items()})
    if visit.may_change:
        _change(visit, task, one, said)
    with panel("Who said what"):
        if not said:
            text("Nobody has said anything of it yet.", "quiet")
            return
        table(
            ("Who", "What", "When", "Now"),
            [_history(answer, names) for answer in reversed(said)],
            caption="What was said of the row, the newest first",
        )


def _history(answer: AnswerRow, names: Mapping[str, str]) -> tuple[Any, ...]:
    def ended() -> None:
        if answer.replaced_at is None:
            tag("span", "stands")
        else:
            tag("span", "changed or taken back ", kind="quiet")
            when(answer.replaced_at)

    at = answer.created_at
    return (names[answer.annotator], _words(answer), lambda: when(at, form="full"), ended)


def _change(
    visit: Visit, task: LabellingTaskRow, one: LabellingRow, said: Sequence[AnswerRow]
) -> None:
    me, labels = visit.caller.id, visit.store.labels
    stands = [answer for answer in said if answer.replaced_at is None]
    mine = next((a.label for a in stands if a.annotator == me and a.kind == "vote"), None)
    decided = next((a.label for a in stands if a.kind == "decision"), None)

    async def vote(label: str) -> None:
        visit.check_change()
        if label:
            await off(labels.answer, task.id, one.id, me, label)
        else:
            await off(labels.withdraw, task.id, one.id, me)
            await off(labels.release, task.id, one.id, me)
        ui.navigate.reload()

    async def decide(label: str) -> None:
        visit.check_change()
        await off(labels.decide, task.id, one.id, me, label or None)
        ui.navigate.reload()

    options = {name: name for name in task.labels}
    with panel("Change"), grid("two"):
        choice_field(
            "Your label", {"": "None", **options}, mine or "", vote,
            hint="One vote, beside those of others.",
        )  # fmt: skip
        choice_field(
            "Decision", {"": "None: the votes count", **options}, decided or "", decide,
            hint="Goes before all votes. Everybody's votes stay as they are.",
        )  # fmt: skip
