"""/: the runs of a project, with search, filter and pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from tunesmith.store.paging import Cursor, Page
from tunesmith.store.rows import RunRow
from tunesmith.store.runs import Runs
from tunesmith.web.controls import (
    choice_field,
    empty,
    link,
    row,
    table,
    tag,
    text,
    text_field,
    when,
)
from tunesmith.web.layout import page
from tunesmith.web.states import WORDS, address, score, state_badge
from tunesmith.web.visit import Visit, off

SHOWN = 50
GROUPS = {
    "": (),
    "work": ("checking", "queued", "running", "paused"),
    "succeeded": ("succeeded",),
    "failed": ("failed", "cancelled"),
    "draft": ("draft",),
}
NAMES = {"": "All", "work": "At work", "succeeded": "Done", "failed": "Failed or cancelled",
         "draft": "Drafts"}  # fmt: skip


@page("/", "Runs")
async def runs(
    visit: Visit, q: str = "", show: str = "", after: str = "", before: str = ""
) -> None:
    """The list. `after` and `before` are ids of runs, between pages."""
    show = show if show in GROUPS else ""
    counts = await off(visit.store.runs.counts, search=q)
    if not counts and not q:
        _welcome(visit)
        return
    asked = {"q": q, "show": show}
    with tag("div", kind="filters", role="search"):
        text_field(
            "Search by name", q, lambda value: _go(asked | {"q": value}), type="search", name="q"
        )
        options = {key: f"{name} ({_sum(counts, key):,})" for key, name in NAMES.items()}
        choice_field("Show", options, show, lambda value: _go(asked | {"show": value}))
        if visit.may_change:
            link("New run", "/new", "button primary")
        if counts.get("succeeded", 0) > 1:
            link("Compare runs", "/compare", "button")
    found = await off(_page, visit.store.runs, q, GROUPS[show], (after, before))
    if not found.data:
        text("No run is like that. Search for less, or show all.")
        return
    table(
        ("Name", "State", "Score", "Task", "Begun"),
        [_cells(one) for one in found.data],
        caption="Runs, the newest first",
        kind="runs",
    )
    _turn_pages(asked, found, (after, before))


def _welcome(visit: Visit) -> None:
    with empty(
        "From a table to a model that answers",
        "Drop a file with texts and their labels, or with questions and answers. Tunesmith looks "
        "at it, trains a model on it, checks how good it is on rows it has not seen, and lets you "
        "use it. What you begin here shows up in this list, and goes on when you close the page.",
    ):
        if visit.may_change:
            link("Begin the first run", "/new", "button primary")
        else:
            text("Your key may look and ask models, and begin no runs.", "quiet")


def _cells(run: RunRow) -> tuple[Any, ...]:
    def name() -> None:
        link(run.name or "Without a name", address(run))

    def begun() -> None:
        when(run.started_at or run.created_at)

    task = {"classify": "Labels", "chat": "Answers", "preference": "Better answers"}
    known = task.get(str(run.summary.get("task")), "")
    return (name, lambda: state_badge(run), score(run), known, begun)


def _page(
    runs: Runs, search: str, states: tuple[str, ...], between: tuple[str, str]
) -> Page[RunRow]:
    """One page, the newest first; `between`: behind this run, or before that one."""
    after, before = between
    if not before:
        cursor = Cursor(limit=SHOWN, after=after or None)
        return runs.page(cursor, search=search, states=states)
    cursor = Cursor(limit=SHOWN, after=before, newest_first=False)
    found = runs.page(cursor, search=search, states=states)
    return Page(data=found.data[::-1], has_more=found.has_more)


def _turn_pages(asked: dict[str, str], found: Page[RunRow], between: tuple[str, str]) -> None:
    after, before = between
    with tag("nav", aria_label="Pages of the list"), row():
        if after or (before and found.has_more):
            link("← Newer", _address(asked | {"before": found.data[0].id}), "button")
        if before or found.has_more:
            link("Older →", _address(asked | {"after": found.data[-1].id}), "button")


def _sum(counts: dict[str, int], group: str) -> int:
    states = GROUPS[group] or tuple(WORDS)
    return sum(counts.get(state, 0) for state in states)


def _address(asked: dict[str, str]) -> str:
    given = {name: value for name, value in asked.items() if value}
    return f"/?{urlencode(given)}" if given else "/"


def _go(asked: dict[str, str]) -> None:
    ui.navigate.to(_address(asked))
