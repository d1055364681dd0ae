"""The rows that a model of labels was scored on: by right label and answer, the worst first.

Does not know: why these rows are looked at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.data.findings import counted
from tunesmith.web.controls import (
    Tag,
    badge,
    button,
    choice_field,
    clear,
    details,
    panel,
    script,
    tag,
    text,
    text_field,
    waiting,
)
from tunesmith.web.result_parts.looked import OTHERS, Looked, filled
from tunesmith.web.result_parts.overview import meter
from tunesmith.web.results.words import percent

AT_ONCE = 10
SHOWS = {"wrong": "Wrong answers", "right": "Right answers", "all": "All answers"}
ORDERS = {
    "worst": "Worst first",
    "unsure": "Least sure first",
    "line": "As in the table",
}
SHORT = 600
"""Characters of a text that are shown at once."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which rows."""

    gold: str = ""
    predicted: str = ""
    show: str = "wrong"
    order: str = "worst"
    search: str = ""

    @property
    def sentence(self) -> str:
        """What they are, behind their number."""
        kinds = {"wrong": "answered wrongly", "right": "answered rightly", "all": ""}
        said = [kinds[self.show]] if not (self.gold and self.predicted) else []
        if self.gold:
            said.append(f"whose right label is “{self.gold}”")
        if self.predicted:
            answer = "no known label" if self.predicted == OTHERS else f"“{self.predicted}”"
            said.append(f"answered as {answer}")
        if self.search:
            said.append(f"with “{self.search}” in the text")
        return ", ".join(filter(None, said))


class Rows:
    """The part of the page with rows; other parts have it show the rows behind what they show."""

    def __init__(self, looked: Looked) -> None:
        self._looked = looked
        self._wanted = Wanted()
        self._shown = self._asked = 0

    def build(self) -> None:
        """The part, with the worst rows."""
        with panel("Rows and answers").set(id="rows", tabindex=-1) as self.panel:
            text(
                "What it was asked, what is right and what it answered. The worst are those where "
                "it held the right label least probable; some of these have a wrong label.",
                "quiet",
            )
            self.filters = tag("div", kind="filters")
            self.told = text("", "strong").set(aria_live="polite")
            self.list = tag("ol", kind="cards")
            self.more = tag("div", kind="row")
        self._filters()
        filled(self.list, "Reading the rows", self._first)

    async def show(self, **wanted: str) -> None:
        """Show the rows of that right label, answer and kind, and go there."""
        self._wanted = Wanted(**wanted)
        self._filters()
        script("document.getElementById('rows').scrollIntoView()")
        script("document.getElementById('rows').focus({preventScroll: true})")
        await self._first()

    def behind(self, gold: str, predicted: str) -> Callable[[], Awaitable[None]]:
        """A handler that shows the rows of one cell."""

        async def do() -> None:
            await self.show(gold=gold, predicted=predicted, show="all")

        return do

    def _filters(self) -> None:
        wanted, labels = self._wanted, sorted(self._looked.labels)
        named = {label: label for label in labels}
        answers = named | ({OTHERS: "No known label"} if self._looked.report["has_others"] else {})
        with clear(self.filters):
            self._choice("Right label", {"": "Any"} | named, "gold", wanted.gold)
            self._choice("Answer", {"": "Any"} | answers, "predicted", wanted.predicted)
            self._choice("Show", SHOWS, "show", wanted.show)
            self._choice("Order", ORDERS, "order", wanted.order)
            text_field("Text holds", wanted.search, self._change("search"), type="search")

    def _choice(self, label: str, options: Mapping[str, str], name: str, value: str) -> None:
        choice_field(label, options, value, self._change(name))

    def _change(self, name: str) -> Callable[[Any], Awaitable[None]]:
        async def change(value: Any) -> None:
            now = {**vars(self._wanted), name: str(value).strip()}
            self._wanted = Wanted(**now)
            await self._first()

        return change

    async def _first(self) -> None:
        with clear(self.list), tag("li"):
            waiting("Reading the rows")
        self._shown = 0
        self._asked += 1
        number = self._asked
        found = await self._ask()
        if number != self._asked or self.list.is_deleted:
            return  # something else is wanted by now
        self.list.clear()
        rows = counted(found["total"], "row")
        self.told.text = f"{rows} {self._wanted.sentence}".strip() + "."
        self._add(found)

    async def _next(self) -> None:
        self._add(await self._ask())

    async def _ask(self) -> Any:
        wanted = dict(vars(self._wanted))
        if wanted["predicted"] == OTHERS:
            wanted |= {"predicted": "", "others": True, "labels": self._looked.labels}
        return await self._looked.ask("rows", **wanted, offset=self._shown, limit=AT_ONCE)

    def _add(self, found: Mapping[str, Any]) -> None:
        nearest = self._looked.report["nearest"]
        with self.list:
            for row in found["rows"]:
                card(row, nearest.get(str(row["row"]), ()))
        self._shown += len(found["rows"])
        left = found["total"] - self._shown
        with clear(self.more):
            if left > 0:
                button(f"Show more, {left:,} are left", self._next, busy="Reading the rows")


def card(row: Mapping[str, Any], nearest: Sequence[Mapping[str, Any]] = ()) -> Tag:
    """One row: its text, what is right and what was answered."""
    is_right = row["gold"] == row["predicted"]
    box = tag("li", kind="card")
    with box:
        said(row["text"])
        with tag("div", kind="answers"):
            with tag("div"):
                tag("span", "Right", kind="small quiet")
                tag("span", row["gold"], kind="label")
                if not is_right and row.get("gold_probability") is not None:
                    _sure(row["gold_probability"], "good")
            with tag("div"):
                tag("span", "Answer", kind="small quiet")
                tag("span", row["predicted"], kind="label")
                _sure(row["probability"], "good" if is_right else "bad")
            if "theirs" in row:
                with tag("div"):
                    tag("span", "The other run", kind="small quiet")
                    tag("span", row["theirs"], kind="label")
        with tag("div", kind="more small"):
            if row["line"] is not None:
                tag("span", f"Line {row['line']:,}", kind="quiet")
            if row["cut_tokens"]:
                badge(f"{row['cut_tokens']:,} tokens were cut off", "warn")
            if row["top"] and len(row["top"]) > 1:
                with details("What else it held possible"):
                    _tops(row["top"])
            if nearest:
                with details("The training rows most like it"):
                    _nearest(nearest)
    return box


def said(whole: str) -> None:
    """A text of the data, a long one folded."""
    if len(whole) <= SHORT:
        text(whole, "said")
        return
    text(f"{whole[:SHORT]}…", "said")
    with details("The whole text", kind="small"):
        text(whole, "said")


def _sure(probability: float, kind: str) -> None:
    tag("span", percent(probability), kind="number")
    meter(probability, kind=f"thin {kind}")


def _tops(top: Sequence[Sequence[Any]]) -> None:
    with tag("ul", kind="tops"):
        for label, probability in top:
            with tag("li"):
                tag("span", label, kind="label")
                meter(probability, kind="thin")
                tag("span", percent(probability), kind="number")


def _nearest(rows: Sequence[Mapping[str, Any]]) -> None:
    with tag("ul", kind="nearest"):
        for row in rows:
            with tag("li"):
                text(row["text"], "said")
                with tag("p", kind="row small quiet"):
                    tag("span", row["label"], kind="label")
                    tag("span", f"line {row['line']:,}")
                    tag("span", f"likeness {row['likeness']:.2f}")
