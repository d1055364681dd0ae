"""Training rows whose label is probably wrong: looked through and decided on, one by one or many at
once, with the mouse or the keyboard alone; and a new run with what was decided.

Does not know: how suspects are found, where decisions are kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui

from tunesmith.data.findings import counted
from tunesmith.web.controls import (
    CHECKED,
    Tag,
    badge,
    button,
    choice_field,
    clear,
    panel,
    switch_field,
    tag,
    text,
    text_field,
    told,
    waiting,
)
from tunesmith.web.result_parts.looked import Looked, filled
from tunesmith.web.result_parts.rows import said
from tunesmith.web.results import reviews
from tunesmith.web.results.again import train_again
from tunesmith.web.results.reviews import DROP, Row
from tunesmith.web.results.words import percent
from tunesmith.web.visit import off

AT_ONCE = 20
SHOWS = {"open": "Not decided yet", "decided": "Decided", "all": "All"}
KEYS = (
    ("↑ ↓", "from row to row"), ("K", "keep the label"), ("S", "take the suggested one"),
    ("L", "another label"), ("D", "leave the row out"), ("X", "tick, for several at once"),
    ("A", "tick all"), ("U", "undo"),
)  # fmt: skip
Do = Callable[[], Awaitable[None]]


class Suspects:
    """The part of the page."""

    def __init__(self, looked: Looked) -> None:
        self._looked = looked
        self._show, self._search, self._more = "open", "", False
        self._offset = 0
        self._rows: dict[reviews.Key, Mapping[str, Any]] = {}
        self._cards: dict[reviews.Key, Tag] = {}
        self._ticked: set[reviews.Key] = set()
        self._may = looked.visit.may_change

    def build(self) -> None:
        """The part, with the most suspect rows."""
        with panel("Labels that are probably wrong").set(id="suspects"):
            self._lead()
            if not self._looked.report.get("review"):
                return
            self.progress = tag("div", kind="row", aria_live="polite")
            self._filters()
            with tag("div", kind="bulk row"):
                self._bulk()
            self.list = tag("ul", kind="cards suspects", aria_label="Rows to decide on")
            self.turn = tag("div", kind="row")
            self.again = tag("div", kind="again row")
        filled(self.list, "Looking for the most suspect rows", self._load)

    def _lead(self) -> None:
        noise = (self._looked.report.get("lessons") or {}).get("noise")
        if not self._looked.report.get("review"):
            said = (
                "They were not looked for in this run. Evaluate with “Advice” on, and with some "
                "hundred rows or more."
            )
        elif noise is None:
            said = (
                "The cheap model that was asked about the training rows errs too often to say how "
                "many labels are wrong. Below is where it disagrees, the most sure first; much of "
                "that is its own error. Decide, then train again with what you decided."
            )
        else:
            rows = counted(noise["num_rows"], "row carries", "rows carry")
            said = (
                "A cheap model was asked about training rows that it had not learned from. Of "
                f"{noise['num_judged']:,} rows {rows} another label than the one it is sure of; "
                f"about {percent(noise['share'])} of all labels are probably wrong. Decide, then "
                "train again with what you decided."
            )
        text(said, "quiet")

    def _filters(self) -> None:
        with tag("div", kind="filters"):
            choice_field("Show", SHOWS, self._show, self._set("_show"))
            text_field("Text holds", "", self._set("_search"), type="search")
            switch_field("The less suspect ones too", False, self._set("_more"))
        if self._may:
            with tag("p", kind="keys small quiet"):
                tag("span", "On a row, keys do the same: ")
                for key, meaning in KEYS:
                    with tag("span", kind="nowrap"):
                        tag("kbd", key)
                        tag("span", f" {meaning}")

    def _bulk(self) -> None:
        """What is done to all rows that are ticked."""
        if not self._may:
            text("Your key may look; deciding takes one that may change things.", "quiet")
            return
        self.ticked = tag("span", "None ticked", kind="small quiet", role="status")
        button("Tick all", self._tick_all, kind="small", data_act="a")
        for name, key, act in self._acts():
            button(name, self._to_ticked(act), kind="small", data_bulk=key)
        self._label_choice("Label for those that are ticked", self._many, has_all=True)
        button("Undo", self._undo, kind="small quiet", data_act="u")

    def _acts(self) -> tuple[tuple[str, str, Callable[[Mapping[str, Any]], str]], ...]:
        return (
            ("Keep", "k", lambda row: str(row["label"])),
            ("Take the suggested", "s", lambda row: str(row["proposed"] or row["label"])),
            ("Leave out", "d", lambda row: DROP),
        )

    # --- reading ----------------------------------------------------------------------------------

    def _set(self, name: str) -> Callable[[Any], Awaitable[None]]:
        async def change(value: Any) -> None:
            setattr(self, name, value)
            self._offset = 0
            await self._load()

        return change

    async def _load(self) -> None:
        with clear(self.list), tag("li"):
            waiting("Reading the rows")
        found = await self._looked.ask(
            "suspects", review=self._looked.report["review"], show=self._show, search=self._search,
            more=self._more, offset=self._offset, limit=AT_ONCE,
        )  # fmt: skip
        self._rows = {(row["file"], row["line"]): row for row in found["rows"]}
        self._cards, self._ticked = {}, set()
        with clear(self.list):
            for key in self._rows:
                self._cards[key] = tag("li", kind="card", tabindex=-1)
                self._fill(key)
            if not self._rows:
                with tag("li", kind="quiet"):
                    is_done = self._show == "open" and not self._search
                    text("All of them are decided." if is_done else "No row is like that.")
        if self._cards:
            next(iter(self._cards.values())).set(tabindex=0)
        self._count(found["num_open"], found["num_decided"])
        self._turn(found["total"])

    def _count(self, num_open: int, num_decided: int) -> None:
        self._open, self._decided = num_open, num_decided
        total = num_open + num_decided
        with clear(self.progress):
            tag("progress", max=max(1, total), value=num_decided, aria_label="Rows decided on")
            tag("span", f"{num_decided:,} of {total:,} decided", kind="small")
        with clear(self.again):
            if num_decided and self._may:
                button(
                    f"Train again with {counted(num_decided, 'decision')}", self._again,
                    kind="primary", busy="Beginning the run",
                )  # fmt: skip
                text("A new run with the same table and settings. This one stays.", "quiet small")
        if self._may:
            number = len(self._ticked)
            self.ticked.text = f"{number:,} ticked" if number else "None ticked"

    def _turn(self, total: int) -> None:
        def by(step: int) -> Do:
            async def do() -> None:
                self._offset = max(0, self._offset + step)
                await self._load()

            return do

        with clear(self.turn):
            if self._offset:
                button("← Before", by(-AT_ONCE), kind="small")
            if total > self._offset + AT_ONCE:
                button("More →", by(AT_ONCE), kind="small")

    # --- a row ------------------------------------------------------------------------------------

    def _fill(self, key: reviews.Key) -> None:
        row, card = self._rows[key], self._cards[key]
        card.set(data_decided="true" if row["decision"] else None)
        with clear(card):
            said(row["text"])
            with tag("div", kind="row small"):
                tag("span", "Label", kind="quiet")
                tag("span", row["label"], kind="label")
                tag("span", percent(row["label_probability"]), kind="quiet")
                tag("span", "Suggested", kind="quiet")
                tag("span", row["proposed"] or "–", kind="label")
                tag("span", percent(row["proposed_probability"]), kind="quiet")
                tag("span", f"line {row['line']:,}", kind="quiet")
                if row["decision"]:
                    _outcome(row)
            if self._may:
                self._buttons(key, row)

    def _buttons(self, key: reviews.Key, row: Mapping[str, Any]) -> None:
        with tag("div", kind="row decide"):
            with tag("label", kind="tick small"):
                box = tag("input", type="checkbox", data_key="x", checked=key in self._ticked)
                tag("span", "Tick")
            box.on("change", lambda event: self._tick(key, bool(event.args)), js_handler=CHECKED)
            for name, letter, act in self._acts():
                is_chosen = row["decision"] == act(row)
                button(
                    name, self._to_one(key, act), kind="small", data_key=letter,
                    aria_pressed="true" if is_chosen else "false",
                )  # fmt: skip
            self._label_choice("Another label", lambda label: self._decide({key: label}))

    def _label_choice(
        self, name: str, choose: Callable[[str], Awaitable[None]], *, has_all: bool = False
    ) -> None:
        """A list of all labels; the first entry chooses none. Where there are many lists, each
        takes its labels from the one that has them when it is used (assets/result.js)."""
        box = tag("select", aria_label=name, data_key="l", kind="small")
        with box:
            tag("option", f"{name} …", value="")
            for label in sorted(self._looked.labels) if has_all else ():
                tag("option", label, value=label)

        async def chosen(event: Any) -> None:
            if str(event.args) in self._looked.labels:
                await choose(str(event.args))

        box.on("change", chosen, js_handler=LEAVE)

    # --- deciding ---------------------------------------------------------------------------------

    def _to_one(self, key: reviews.Key, act: Callable[[Mapping[str, Any]], str]) -> Do:
        return lambda: self._decide({key: act(self._rows[key])})

    def _to_ticked(self, act: Callable[[Mapping[str, Any]], str]) -> Do:
        return lambda: self._decide({key: act(self._rows[key]) for key in self._ticked})

    async def _many(self, label: str) -> None:
        await self._decide({key: label for key in self._ticked})

    async def _decide(self, said: Mapping[reviews.Key, str]) -> None:
        """Keep decisions, and show them."""
        if not said:
            told("No row is ticked.", "warn")
            return
        self._looked.visit.check_change()
        rows = []
        for key, decision in said.items():
            row = self._rows[key]
            given = {name: row[name] for name in ("file", "line", "text", "label")}
            rows.append(Row(**given, decision=decision, before=row["decision"]))
        caller = self._looked.visit.caller.id
        await off(reviews.decide, self._looked.folder, rows, by=caller)
        self._take(rows)

    async def _undo(self) -> None:
        self._looked.visit.check_change()
        caller = self._looked.visit.caller.id
        rows = await off(reviews.undo, self._looked.folder, by=caller)
        if not rows:
            told("There is nothing to undo.")
            return
        self._take(rows)
        told(f"Taken back for {counted(len(rows), 'row')}.")
        if not any(row.key in self._cards for row in rows):
            await self._load()

    def _take(self, rows: list[Row]) -> None:
        """Show what has become of these rows."""
        for row in rows:
            if row.key in self._rows:
                self._rows[row.key] = {**self._rows[row.key], "decision": row.decision}
                self._fill(row.key)
            change = bool(row.decision) - bool(row.before)
            self._open, self._decided = self._open - change, self._decided + change
        self._ticked -= {row.key for row in rows}
        for key in {row.key for row in rows} & set(self._cards):
            self._fill(key)
        self._count(self._open, self._decided)

    def _tick(self, key: reviews.Key, is_ticked: bool) -> None:
        (self._ticked.add if is_ticked else self._ticked.discard)(key)
        self._count(self._open, self._decided)

    def _tick_all(self) -> None:
        is_all = len(self._ticked) == len(self._rows)
        self._ticked = set() if is_all else set(self._rows)
        for key in self._rows:
            self._fill(key)
        self._count(self._open, self._decided)

    async def _again(self) -> None:
        looked = self._looked
        row = await train_again(looked.visit, looked.row, looked.report["review"])
        ui.navigate.to(f"/runs/{row.id}")


LEAVE = "(event) => { emit(event.target.value); event.target.value = ''; }"
"""Hand on what was chosen, and stand at the first entry again."""


def _outcome(row: Mapping[str, Any]) -> None:
    if row["decision"] == DROP:
        badge("Left out", "warn")
    elif row["decision"] == row["label"]:
        badge("Stays as it is", "good")
    else:
        badge(f"Becomes {row['decision']}", "good")
