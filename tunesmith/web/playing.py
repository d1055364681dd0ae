"""The parts of the playground: choosing a model, a pane for each model's answers, the code.

Does not know: which panes there are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from nicegui import background_tasks

from tunesmith.catalog import shelf
from tunesmith.errors import TunesmithError
from tunesmith.store.paging import Cursor
from tunesmith.store.rows import ModelRow
from tunesmith.web.api import Refused
from tunesmith.web.asking import nearby
from tunesmith.web.asking.labels import judge
from tunesmith.web.asking.request import ADDRESS, Answers, How, Message, body
from tunesmith.web.controls import (
    Tag,
    bar,
    button,
    clear,
    details,
    link,
    notice,
    script,
    tag,
    text,
    waiting,
)
from tunesmith.web.model_facts import address, named
from tunesmith.web.visit import Visit, off

OFFERED = 50
"""Models in a choice; others are found by search."""
SHOWN_LABELS = 5
PAINT_SECONDS = 0.06
"""Between two looks of an answer that is being written."""
LOOK_SECONDS = 0.7


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that can be asked."""

    name: str
    title: str
    answers: Answers
    row: ModelRow | None = None
    """Of a tuned model."""
    labels: tuple[str, ...] = ()


async def find(visit: Visit, name: str) -> Model:
    """The model of that name. Raises: Refused."""
    about = (await visit.api.get(f"/models/{name}")).get("tunesmith") or {}
    row = await off(visit.store.models.get, name)
    answers: Answers = "text" if about.get("answers") == "text" else "labels"
    if not about.get("answers"):
        why = "is a base model, which answers once it is tuned" if about else "has lost its files"
        raise Refused(400, f"{name} {why}.")
    return Model(
        name=name,
        title=named(row) if row else name,
        answers=answers,
        row=row,
        labels=tuple(about.get("labels") or ()),
    )


async def offered(visit: Visit, search: str = "") -> dict[str, str]:
    """Name → title of the models that can be asked, the newest first."""
    found = await off(visit.store.models.page, Cursor(limit=OFFERED), search=search)
    tuned = {row.id: named(row) for row in found.data}
    bases = await off(shelf.installed, visit.desk.settings.base_models_dir)
    wanted = search.casefold()
    untuned = {n: f"{n} (not tuned)" for n in bases if wanted in n.casefold()}
    return {**tuned, **untuned}


# --- panes ----------------------------------------------------------------------------------------


class Pane:
    """What one model answers."""

    def __init__(self, visit: Visit, model: Model) -> None:
        self.visit, self.model = visit, model
        self.said: list[Message] = []
        """The conversation so far, of a model that writes."""
        self.asked: dict[str, object] | None = None
        """The last request."""
        self.task: asyncio.Task[None] | None = None
        with tag("section", kind="panel pane", aria_label=model.title):
            with tag("div", kind="row"):
                with tag("h2", kind="grow"):
                    link(model.title, address(model.name))
                self.seconds = tag("span", kind="quiet small")
            if model.answers == "text":
                self.answer = tag("div", kind="stack talk", tabindex=0, role="region",
                                  aria_label=f"Conversation with {model.title}")  # fmt: skip
            else:
                self.answer = tag("div", kind="stack")
            self.near = tag("div", kind="stack")
        with self.answer:
            self._nothing()

    def request(self, typed: str, how: How) -> dict[str, object]:
        """The request that is on the screen: what is typed, or else what was asked last."""
        if not typed.strip() and self.asked is not None:
            return self.asked
        question = {"role": "user", "content": typed}
        return body(self.model.name, self.model.answers, [*self.said, question], how)

    async def ask(self, typed: str, how: How, after: Callable[[], None]) -> None:
        """Ask, and show what is answered; `after`: called when that is done."""
        self.asked = self.request(typed, how)
        begun = time.monotonic()
        self.seconds.text = ""
        try:
            if self.model.answers == "labels":
                await self._label(typed)
            else:
                await self._write(typed)
            self.seconds.text = f"{time.monotonic() - begun:.2f} s"
        finally:
            after()

    def clear(self) -> None:
        """Begin the conversation anew."""
        self.said, self.asked = [], None
        self.seconds.text = ""
        self.near.clear()
        with clear(self.answer):
            self._nothing()

    def _nothing(self) -> None:
        what = "Its labels, each with its probability," if self.model.answers == "labels" else (
            "What it writes"
        )  # fmt: skip
        text(f"{what} will be here.", "quiet")

    # --- labels ---------------------------------------------------------------------------------

    async def _label(self, typed: str) -> None:
        with clear(self.answer):
            waiting("Asking.")
        try:
            found = await judge(self.visit.api, self.asked or {}, self.model.labels)
        except TunesmithError as error:
            with clear(self.answer):
                notice(str(error), "bad")
            return
        with clear(self.answer):
            if found.cut_tokens:
                notice(f"The text is too long: its last {found.cut_tokens:,} tokens were not "
                       "read.", "warn")  # fmt: skip
            best, share = found.labels[0]
            with tag("p", kind="best", role="status"):
                tag("strong", best)
                tag("span", f" {_percent(share)}", kind="quiet")
            shares(found.labels[:SHOWN_LABELS])
            if rest := found.labels[SHOWN_LABELS:]:
                with details(f"{len(rest):,} more labels"):
                    shares(rest)
        background_tasks.create(self._nearest(typed))

    # --- nearest rows ---------------------------------------------------------------------------

    async def _nearest(self, typed: str) -> None:
        """The training rows that are most like the text, as soon as they have been read."""
        try:
            with clear(self.near):
                tag("h3", "Nearest training rows")
                box = tag("div", kind="stack", aria_live="polite")
            corpus = await nearby.corpus(self.visit, self.model.row)
            nearby.begin(self.visit.api, corpus)
            while nearby.is_reading(corpus) and not box.is_deleted:
                done, total = nearby.known(corpus), len(corpus.numbers)
                with clear(box):
                    waiting(f"Reading the training rows, this once: {done:,} of {total:,}.")
                    bar(done, total, "Training rows read")
                await asyncio.sleep(LOOK_SECONDS)
            if box.is_deleted:
                return
            found = await nearby.nearest(self.visit.api, corpus, typed)
            if not box.is_deleted:
                with clear(box):
                    _near_rows(found, corpus)
        except TunesmithError as error:
            if not self.near.is_deleted:
                with clear(self.near):
                    tag("h3", "Nearest training rows")
                    text(f"Left out. {error}", "quiet")

    # --- writing --------------------------------------------------------------------------------

    async def _write(self, typed: str) -> None:
        question = {"role": "user", "content": typed}
        if not self.said:
            self.answer.clear()
        with self.answer:
            _turn("You", typed, "mine")
            box = _turn(self.model.title, "", "theirs")
            waits = waiting("Waiting for its first word.")
        written, ended = "", ""
        try:
            painted = 0.0
            async with aclosing(self.visit.api.stream(ADDRESS, self.asked or {})) as events:
                async for event in events:
                    for choice in event.get("choices", ()):
                        written += choice["delta"].get("content") or ""
                        ended = choice.get("finish_reason") or ended
                    if written and time.monotonic() - painted > PAINT_SECONDS:
                        painted = time.monotonic()
                        waits.show(False)
                        box.text = written
                        self._follow()
        except asyncio.CancelledError:
            ended = "stopped"
        except TunesmithError as error:
            with self.answer:
                notice(str(error), "bad")
        if waits.is_deleted:
            return
        waits.delete()
        box.text = written
        if written:
            self.said += [question, {"role": "assistant", "content": written}]
        told = {"length": "It was cut at the most tokens it may write.", "stopped": "Stopped."}
        if ended in told:
            with self.answer:
                text(told[ended], "quiet small")
        self._follow()

    def _follow(self) -> None:
        """Have the end of the conversation be in sight."""
        with self.answer:
            script(f"(box => box && (box.scrollTop = box.scrollHeight))"
                   f"(document.getElementById('{self.answer.html_id}'))")  # fmt: skip


def _turn(who: str, said: str, kind: str) -> Tag:
    with tag("div", kind=f"turn {kind}"):
        tag("p", who, kind="quiet small")
        return tag("div", said, kind="said")


def _near_rows(found: Sequence[nearby.Near], corpus: nearby.Corpus) -> None:
    with tag("ol", kind="near"):
        for one in found:
            with tag("li"):
                tag("span", one.label, kind="tag")
                tag("p", one.text)
                to = f"/data/files/{corpus.file}?open={one.line}&row={one.line}"
                with tag("p", kind="quiet small"):
                    tag("span", f"{100 * one.likeness:.0f} % alike, ")
                    link(f"line {one.line:,}", to)
    if corpus.numbers.step > 1:
        text(f"Of {len(corpus.numbers):,} rows from all over the {corpus.form.count:,}.",
             "quiet small")  # fmt: skip


def shares(pairs: Sequence[tuple[str, float]]) -> None:
    """Labels with a bar each."""
    with tag("div", kind="shares", role="list"):
        for label, share in pairs:
            with tag("div", kind="share", role="listitem"):
                tag("span", label, kind="name")
                with tag("span", kind="track", aria_hidden="true"):
                    tag("span", style=f"width: {100 * share:.2f}%")
                tag("span", _percent(share), kind="count")


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %") if share >= 0.0005 else "< 0.1 %"


# --- the code -------------------------------------------------------------------------------------


class Code:
    """The request as code, in one language at a time."""

    def __init__(self) -> None:
        self.told: Mapping[str, str] = {}
        self.language = "curl"
        self.tabs: dict[str, Tag] = {}
        with tag("div", kind="row"):
            with tag("div", kind="row languages", role="group", aria_label="Language"):
                for name in ("curl", "Python", "Node"):
                    self.tabs[name] = button(name, partial(self.show, name), kind="small")
            tag("button", "Copy", kind="button small", type="button", data_copy="code")
        with tag("pre", kind="code", tabindex=0, role="region", aria_label="Code"):
            self.box = tag("code", id="code")
        text("The key is read from the environment variable OPENAI_API_KEY.", "quiet small")
        self.show("curl")

    def show(self, language: str = "") -> None:
        """Show it in that language, or anew."""
        self.language = language or self.language
        for name, tab in self.tabs.items():
            tab.set(aria_pressed="true" if name == self.language else "false")
        self.box.text = self.told.get(self.language, "")
