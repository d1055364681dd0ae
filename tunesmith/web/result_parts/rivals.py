"""Which rows changed between this run's model and that of another run: from bad to good, and back.

Does not know: how rows are compared.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from tunesmith.data.findings import counted
from tunesmith.store.rows import RunRow
from tunesmith.web.controls import (
    Tag,
    button,
    choice_field,
    clear,
    details,
    facts,
    link,
    panel,
    tag,
    text,
    waiting,
)
from tunesmith.web.result_parts.looked import Looked, filled
from tunesmith.web.result_parts.rows import card
from tunesmith.web.results import words
from tunesmith.web.results.asking import Unanswered
from tunesmith.web.results.others import comparable, named
from tunesmith.web.visit import off

AT_ONCE = 10


class Rivals:
    """The part of the page."""

    def __init__(self, looked: Looked) -> None:
        self._looked = looked
        self._others: list[RunRow] = []
        self._other: RunRow | None = None

    def build(self) -> None:
        """The part, with the run before this one on the same table."""
        with panel("Against another run").set(id="against"):
            self.choice = tag("div", kind="filters")
            self.found = tag("div", kind="stack")
        filled(self.found, "Looking for other runs", self._first)

    async def _first(self) -> None:
        self._others = await off(comparable, self._looked.visit, self._looked.row)
        if not self._others:
            with clear(self.found):
                text(
                    "There is no other run to compare with yet. Train again on the same table, "
                    "with other settings or with labels corrected, and it will stand here: which "
                    "rows it mended, which it broke, and whether the difference may be chance.",
                    "quiet",
                )
            return
        self._other = self._others[0]
        with clear(self.choice):
            options = {other.id: named(other) for other in self._others}
            choice_field("The other run", options, self._other.id, self._choose)
        await self._compare()

    async def _choose(self, run_id: Any) -> None:
        self._other = next((o for o in self._others if o.id == run_id), self._other)
        await self._compare()

    async def _compare(self) -> None:
        with clear(self.found):
            waiting("Comparing the answers of both")
        try:
            asked = [self._question(kind, 0) for kind in ("broken", "mended")]
            broken, mended = await self._looked.ask_all(*asked)
        except Unanswered as error:
            with clear(self.found):
                text(str(error), "quiet")
            return
        assert self._other
        with clear(self.found):
            text(words.duel(broken["comparison"], "This model", "the other one"), "strong")
            facts(
                {
                    "Good to bad": broken["num_broken"],
                    "Bad to good": broken["num_mended"],
                    "Wrong both times, otherwise": broken["num_otherwise"],
                    "As large by chance": words.chance(broken["comparison"]["p_value"]),
                }
            )
            self._caveats(broken)
            self._list("Good to bad", "broken", broken)
            self._list("Bad to good", "mended", mended)
            pair = urlencode({"a": self._other.id, "b": self._looked.row.id})
            link("All scores of both, side by side", f"/compare?{pair}")

    def _caveats(self, found: Mapping[str, Any]) -> None:
        if found["num_rows"] < found["num_ours"]:
            text(
                f"These are the {found['num_rows']:,} of {found['num_ours']:,} rows that both were "
                "scored on; the other one has seen the rest in training, or never.", "quiet small",
            )  # fmt: skip
        if found["num_relabelled"]:
            rows = counted(found["num_relabelled"], "row has", "rows have")
            text(f"{rows} another right label now; the newer one counts.", "quiet small")

    def _list(self, title: str, kind: str, found: Mapping[str, Any]) -> None:
        number = found[f"num_{kind}"]
        if not number:
            return
        with details(f"{title}: {counted(number, 'row')}"):
            cards = tag("ol", kind="cards")
            more = tag("div", kind="row")
        self._add(kind, cards, more, found)

    def _add(self, kind: str, cards: Tag, more: Tag, found: Mapping[str, Any]) -> None:
        with cards:
            for row in found["rows"]:
                card(row)
        shown = len(cards.default_slot.children)
        left = found[f"num_{kind}"] - shown
        with clear(more):
            if left > 0:
                button(
                    f"Show more, {left:,} are left", self._next(kind, cards, more, shown),
                    kind="small", busy="Reading the rows",
                )  # fmt: skip

    def _next(self, kind: str, cards: Tag, more: Tag, shown: int) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            (found,) = await self._looked.ask_all(self._question(kind, shown))
            self._add(kind, cards, more, found)

        return do

    def _question(self, kind: str, offset: int) -> Mapping[str, Any]:
        assert self._other
        other = str(self._looked.visit.runs.folder(self._other))
        about = {"what": "against", "other": other}
        return {**about, "list": kind, "offset": offset, "limit": AT_ONCE}
