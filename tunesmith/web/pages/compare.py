"""/compare?a=…&b=…: finished runs side by side on the same rows, and whether they really differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from tunesmith.data.findings import counted
from tunesmith.errors import NotFound
from tunesmith.store.paging import Cursor
from tunesmith.store.rows import RunRow
from tunesmith.web import run_files
from tunesmith.web.controls import (
    badge,
    button,
    choice_field,
    clear,
    details,
    empty,
    facts,
    link,
    panel,
    row,
    table,
    tag,
    text,
)
from tunesmith.web.layout import page
from tunesmith.web.result_parts.looked import filled
from tunesmith.web.result_parts.overview import meter
from tunesmith.web.results import words
from tunesmith.web.results.asking import PREDICTIONS, ask
from tunesmith.web.results.others import named
from tunesmith.web.visit import Visit, off

LETTERS = "abcdef"
OFFERED = 200
"""Runs to choose from, the newest."""


@page("/compare", "Compare runs")
async def compare(visit: Visit) -> None:
    """Runs by their ids, under the letters a to f; each is compared with the first."""
    query = ui.context.client.request.query_params
    offered = await off(_finished, visit)
    chosen = list(dict.fromkeys(query[letter] for letter in LETTERS if query.get(letter)))
    rows = [await visit.run(run_id) for run_id in chosen]
    if len(offered) < 2:
        with empty(
            "Two finished runs are needed",
            "Once two runs have been evaluated on the same table, this page says which is better, "
            "by how much, and whether the difference may be chance.",
        ):
            link("To your runs", "/", "button primary")
        return
    _choice(offered, chosen)
    if len(rows) < 2:
        text("Choose two runs or more; each is compared with the first.", "quiet")
        return
    for run in rows:
        if not (visit.runs.folder(run) / PREDICTIONS).is_file():
            raise NotFound(f"The run {run.name} has not been evaluated yet.")
    body = tag("div", kind="stack")

    async def fill() -> None:
        folders = [str(visit.runs.folder(run)) for run in rows]
        main = str(rows[0].summary.get("metric") or "")
        found = (await ask({"what": "compare", "folders": folders, "main": main}))[0]
        settings = await off(_settings, visit, rows)
        with clear(body):
            _show(rows, found, settings)

    filled(body, "Comparing the answers of these runs", fill)


def _finished(visit: Visit) -> list[RunRow]:
    return visit.store.runs.page(Cursor(limit=OFFERED), states=("succeeded",)).data


def _choice(offered: Sequence[RunRow], chosen: Sequence[str]) -> None:
    """One list a run, and one more to add another."""
    options = {run.id: named(run) for run in offered}

    def change(place: int) -> Any:
        def go(run_id: Any) -> None:
            now = list(chosen)
            now[place : place + 1] = [str(run_id)] if run_id else []
            ui.navigate.to(_address(now))

        return go

    with tag("div", kind="filters"):
        for place in range(min(len(chosen) + 1, len(LETTERS))):
            title = "The first run" if place == 0 else "Against it" if place == 1 else "And"
            value = chosen[place] if place < len(chosen) else ""
            some = {"": "None" if value else "Choose a run"} | options
            choice_field(title, some, value, change(place))
        if len(chosen) == 2:
            turned = list(reversed(chosen))
            button("Swap the two", lambda: ui.navigate.to(_address(turned)))


def _address(run_ids: Sequence[str]) -> str:
    return f"/compare?{urlencode(dict(zip(LETTERS, run_ids, strict=False)))}"


def _show(rows: Sequence[RunRow], found: Mapping[str, Any], settings: Any) -> None:
    names = _names(rows)
    with tag("div", kind="verdict stack tight"):
        for name, duel in zip(names[1:], found["duels"], strict=True):
            text(words.duel(duel, f"“{name}”", f"“{names[0]}”"), "first")
    least = max(found["num_each"])
    if found["num_rows"] < least:
        text(
            f"Compared on the {counted(found['num_rows'], 'row')} that all of them were scored on; "
            f"up to {least:,} were held out in a single run. A row that one of them was trained on "
            "does not count.", "quiet",
        )  # fmt: skip
    with panel("Scores on the same rows"):
        table(
            ("Score", *names), [_scores(name, found) for name in found["names"]],
            caption="Scores of each run on the same rows, with 95 % intervals", kind="numbers",
        )  # fmt: skip
    for name, run, duel in zip(names[1:], rows[1:], found["duels"], strict=True):
        _duel(name, names[0], run, duel)
    if settings:
        with panel("Settings that differ"):
            table(("Setting", *names), settings, caption="Settings that differ between the runs")


def _scores(name: str, found: Mapping[str, Any]) -> tuple[Any, ...]:
    title, meaning = words.metric(name)
    best = max(model["metrics"].get(name, 0.0) for model in found["models"])

    def cell(model: Mapping[str, Any]) -> Any:
        value, interval = model["metrics"].get(name), model["intervals"].get(name)

        def show() -> None:
            tag("span", words.score(name, value), kind="strong" if value == best else "")
            tag("span", f" {words.scores(name, interval)}", kind="quiet small nowrap")
            if value is not None and value <= 1:
                meter(value, interval)

        return show

    def head() -> None:
        tag("span", title)
        tag("span", meaning, kind="quiet small block")

    return (head, *(cell(model) for model in found["models"]))


def _duel(name: str, first: str, run: RunRow, duel: Mapping[str, Any]) -> None:
    moods = {"better": "good", "worse": "bad", "undecided": "warn"}
    with panel(f"{name} against {first}"):
        with tag("p"):
            badge(duel["verdict"] if duel["verdict"] != "undecided" else "not decided",
                  moods[duel["verdict"]])  # fmt: skip
        facts(
            {
                "Only this one is right": duel["num_mended"],
                "Only the first is right": duel["num_broken"],
                "As large by chance": words.chance(duel["p_value"]),
                "Test": duel["test"],
            }
        )
        table(
            ("Score", "Ahead by, points", "95 % sure"),
            [
                (words.metric(key)[0], words.gained(key, gain[0]), words.ends(gain[1]))
                for key, gain in duel["gains"].items()
            ],
            caption=f"How far {name} is ahead of {first}", kind="numbers",
        )  # fmt: skip
        if duel["labels"]:
            with details("Labels that changed most"):
                table(
                    ("Label", "Rows", "F1 of the first", "F1 of this one", "Change"),
                    [
                        (c["label"], c["support"], words.percent(c["before"]),
                         words.percent(c["after"]), words.points(c["after"] - c["before"]))
                        for c in duel["labels"]
                    ],
                    caption="Labels whose F1 changed most", kind="numbers",
                )  # fmt: skip
        with row():
            link("Rows that changed", f"/runs/{run.id}/result#against", "button small")


def _names(rows: Sequence[RunRow]) -> list[str]:
    """The runs' names, told apart by a number where they are the same."""
    names = [run.name or "Without a name" for run in rows]
    return [
        f"{name} ({place + 1})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def _settings(visit: Visit, rows: Sequence[RunRow]) -> list[tuple[str, ...]]:
    """Setting and its value in each run, of those that differ; files by their names."""
    asked = [run_files.config(visit.runs.folder(run)) for run in rows]
    found = []
    for section in ("prepare", "train", "evaluate"):
        parts = [vars(getattr(one, section)) for one in asked]
        for name in parts[0]:
            values = [_said(part[name]) for part in parts]
            if len(set(values)) > 1:
                found.append((f"{section}: {name.replace('_', ' ')}", *values))
    return found


def _said(value: Any) -> str:
    if isinstance(value, str) and value.startswith("/"):
        return value.rpartition("/")[2]
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "–"
    return "chosen by Tunesmith" if value is None else str(value)
