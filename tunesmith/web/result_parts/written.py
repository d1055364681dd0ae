"""How good written answers are: scores beside the untuned model's, the curve, and the answers
themselves beside the right ones.

Does not know: labels.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui

from tunesmith.data.findings import counted
from tunesmith.web.controls import (
    badge,
    button,
    choice_field,
    clear,
    details,
    panel,
    table,
    tag,
    text,
    text_field,
    waiting,
)
from tunesmith.web.drafts import in_words
from tunesmith.web.glossary import term
from tunesmith.web.result_parts.looked import Looked, filled
from tunesmith.web.result_parts.rows import said
from tunesmith.web.results import charts, words

AT_ONCE = 5
SHOWS = {"all": "All", "wrong": "Wrong only", "right": "Right only"}
AGAINST = {"better": "Better than untuned", "worse": "Worse than untuned"}
ROLES = {"system": "Instruction", "user": "Asked", "assistant": "Answered", "tool": "Tool"}


def tiles(report: Mapping[str, Any]) -> None:
    """The few scores to see first, with those of the untuned model."""
    untuned = report["untuned"] or {}
    others = [n for n in words.WRITTEN_METRICS if n in report["metrics"] and n != report["main"]]
    with tag("dl", kind="tiles"):
        for name in [report["main"], *others][:4]:
            title, meaning = words.metric(name)
            interval = words.scores(name, report["intervals"].get(name))
            before = untuned.get("metrics", {}).get(name)
            with tag("div"):
                tag("dt", title)
                tag("dd", words.score(name, report["metrics"][name]))
                tag("dd", f"95 % sure: {interval}", kind="small quiet")
                if before is not None:
                    tag("dd", f"untuned: {words.score(name, before)}", kind="small quiet")
                tag("dd", meaning, kind="small quiet")


def scores(report: Mapping[str, Any]) -> None:
    """All scores, beside the untuned model's."""
    untuned = report["untuned"]
    with panel("Was tuning worth it?").set(id="worth"):
        if untuned is None:
            text("The untuned model was not asked, so there is nothing to compare with.", "quiet")
        else:
            text(
                "The same prompts, answered by the tuned model and by the base model as it was "
                "before. Gains in points, with what they lie between, 95 % sure.", "quiet",
            )  # fmt: skip
        rows = []
        for name in words.WRITTEN_METRICS:
            if name not in report["metrics"]:
                continue
            title, meaning = words.metric(name)
            interval = report["intervals"].get(name)
            cells = [title, words.score(name, report["metrics"][name])]
            cells.append(words.scores(name, interval))
            if untuned:
                cells.append(words.score(name, untuned["metrics"].get(name)))
                cells.append(_gain(name, untuned))
            rows.append((*cells, report["counts"].get(name, 0), meaning))
        head = ("Score", "Tuned", "95 % sure", *(("Untuned", "Gain") if untuned else ()))
        table(
            (*head, "Rows", "What it says"), rows,
            caption="Scores of the written answers", kind="numbers",
        )  # fmt: skip


def _gain(name: str, untuned: Mapping[str, Any]) -> str:
    if name not in untuned["gains"]:
        return "–"
    interval = untuned["gain_intervals"][name]
    low, high = (words.gained(name, end) for end in interval)
    return f"{words.gained(name, untuned['gains'][name])} ({low} to {high})"


def curve(report: Mapping[str, Any]) -> None:
    """How the loss fell, and what that says."""
    drawn = charts.losses(report["curve"])
    if not drawn and not report["diagnoses"]:
        return
    with panel("How it learned").set(id="learned"), tag("div", kind="grid two"):
        if drawn:
            with tag("figure", kind="stack tight"):
                with tag("figcaption", kind="row small"):
                    term("loss", "Loss")
                    tag("span", "on training rows", kind="key train")
                    tag("span", "on held-out rows", kind="key dev")
                ui.html(drawn, sanitize=False)
        with tag("ol", kind="advice"):
            for one in report["diagnoses"]:
                with tag("li"):
                    tag("strong", in_words(one["change"]))
                    text(one["sentence"])


class Answers:
    """Prompts with the right answer, the tuned model's and the untuned one's."""

    def __init__(self, looked: Looked) -> None:
        self._looked = looked
        self._show, self._search = "all", ""
        self._shown = self._asked = 0

    def build(self) -> None:
        """The part, with the worst answers."""
        shows = SHOWS | (AGAINST if self._looked.report["untuned"] else {})
        with panel("Answers").set(id="rows"):
            title = words.metric(self._looked.report["main"])[0]
            text(f"The worst first, by “{title}”.", "quiet")
            with tag("div", kind="filters"):
                choice_field("Show", shows, self._show, self._set("_show"))
                text_field("Prompt or answer holds", "", self._set("_search"), type="search")
            self.told = text("", "strong").set(aria_live="polite")
            self.list = tag("ol", kind="cards")
            self.more = tag("div", kind="row")
        filled(self.list, "Reading the answers", self._first)

    def _set(self, name: str) -> Callable[[Any], Awaitable[None]]:
        async def change(value: Any) -> None:
            setattr(self, name, str(value).strip())
            await self._first()

        return change

    async def _first(self) -> None:
        with clear(self.list), tag("li"):
            waiting("Reading the answers")
        self._shown = 0
        self._asked += 1
        number = self._asked
        found = await self._ask()
        if number != self._asked or self.list.is_deleted:
            return
        self.list.clear()
        self.told.text = f"{counted(found['total'], 'answer')}."
        self._add(found)

    async def _next(self) -> None:
        self._add(await self._ask())

    async def _ask(self) -> Any:
        return await self._looked.ask(
            "answers", main=self._looked.report["main"], show=self._show, search=self._search,
            offset=self._shown, limit=AT_ONCE,
        )  # fmt: skip

    def _add(self, found: Mapping[str, Any]) -> None:
        with self.list:
            for row in found["rows"]:
                _card(row, self._looked.report["main"])
        self._shown += len(found["rows"])
        left = found["total"] - self._shown
        with clear(self.more):
            if left > 0:
                button(f"Show more, {left:,} are left", self._next, busy="Reading the answers")


def _card(row: Mapping[str, Any], main: str) -> None:
    with tag("li", kind="card"):
        for role, content in row["turns"]:
            with tag("div", kind=f"turn {'system' if role == 'system' else ''}"):
                tag("span", ROLES.get(role, role), kind="small quiet")
                said(content)
        with tag("div", kind="beside"):
            _answer("Right answer", row["right_answer"], kind="right")
            value = row["scores"].get(main)
            _answer(
                "This model", row["answer"], kind="good" if row["is_right"] else "bad",
                note=words.score(main, value) if value is not None else "",
            )  # fmt: skip
            if "untuned" in row:
                before = row["untuned_scores"].get(main)
                note = words.score(main, before) if before is not None else ""
                _answer("Untuned", row["untuned"], note=note)
            if row["worse_answer"]:
                _answer("The worse answer of the pair", row["worse_answer"])
        with tag("div", kind="row small quiet"):
            if row["line"] is not None:
                tag("span", f"Line {row['line']:,}")
            if row["ended"] == "length":
                badge("It did not stop by itself", "warn")
            elif row["ended"] not in ("stop", "tool_calls", None):
                tag("span", row["ended"])
        if row["judged"]:
            with details("What the judge says", kind="small"):
                text(row["judged"], "said")


def _answer(title: str, content: str, *, kind: str = "", note: str = "") -> None:
    with tag("div", kind=f"one {kind}"):
        with tag("div", kind="row small quiet"):
            tag("span", title)
            if note:
                tag("span", note, kind="number")
        said(content or "(nothing)")
