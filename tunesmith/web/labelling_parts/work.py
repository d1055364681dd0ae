"""Labelling row after row, by keys or by buttons; and deciding on ties, in the same way.

Keys press the buttons (assets/labelling.js); a button says which row it was pressed for, and what
was meant for another row is not done.
"""

from __future__ import annotations

import logging
import string
from collections.abc import Callable
from typing import Any

from nicegui import background_tasks, context, ui

from tunesmith.errors import TunesmithError
from tunesmith.store.labelling_rows import LabellingTaskRow
from tunesmith.web import plain
from tunesmith.web.controls import Tag, bar, clear, details, facts, link, tag, text, told
from tunesmith.web.labelling import suggestions
from tunesmith.web.labelling.figures import names_of
from tunesmith.web.labelling.workplace import Workplace
from tunesmith.web.labelling_parts.head import address, done, head
from tunesmith.web.visit import Visit, off

logger = logging.getLogger(__name__)

SCRIPT = f'<script src="/assets/labelling.js?{plain.VERSION}" defer></script>'
TAKEN = "su"
"""Letters that do something else than label."""
KEYS = string.digits[1:] + "".join(c for c in string.ascii_lowercase if c not in TAKEN)
SEARCHED = 10
"""From so many labels on there is a field to search them."""
LOOK_SECONDS = 5.0
PRESSED = (
    "(event) => { const pressed = event.target.closest('[data-act]');"
    " if (pressed) emit(pressed.closest('[data-row]').dataset.row, pressed.dataset.act) }"
)
HELP = {
    "1 … 9": "give the label with that key; the tenth and on have letters",
    "U": "take the last answer back",
    "S": "skip the row",
    "← →": "go back to earlier rows, and forward again",
    "/": "search the labels; Enter takes the first that is left",
    "?": "show these keys",
}


async def show(visit: Visit, task: LabellingTaskRow, *, is_deciding: bool = False) -> None:
    """The page."""
    visit.check_change()
    ui.add_head_html(SCRIPT)
    head(task, "ties" if is_deciding else "")
    place = Workplace(
        store=visit.store, task=task, annotator=visit.caller.id, is_deciding=is_deciding
    )
    await off(place.begin)
    await Work(visit, place).show()


class Work:
    """The elements, and what is shown in them."""

    def __init__(self, visit: Visit, place: Workplace) -> None:
        self.visit = visit
        self.place = place
        self.labels = list(place.task.labels)
        self.buttons: list[Tag] = []
        self.pressed: int | None = None
        self.is_busy = False

    async def show(self) -> None:
        """Build the page once; `paint` fills it."""
        self._progress()
        self.work = tag("div", kind="labelling")
        self.work.set(data_row="", data_labelling="yes")
        self.work.on("click", self._pressed, js_handler=PRESSED)
        with self.work:
            self._reading()
            self._choices()
        self.nothing = tag("div", kind="empty")
        self.status = tag("p", kind="status quiet small", role="status")
        _help()
        await self.paint()
        ui.timer(LOOK_SECONDS, self._look, immediate=False)
        leave = suggestions.join(self.visit, self.place.task)
        context.client.on_delete(lambda: self._gone(leave))

    # --- the elements ----------------------------------------------------------------------------

    def _progress(self) -> None:
        with tag("div", kind="labelling-progress"):
            self.bar = bar(0, 1, "How much of the table is done")
            self.figures = tag("p", kind="small quiet")

    def _reading(self) -> None:
        task = self.place.task
        with tag("section", kind="panel reading", aria_label="The row"):
            self.number = tag("p", kind="small quiet")
            self.text = tag("div", kind="label-text", tabindex=0, role="region", dir="auto")
            self.text.set(aria_label="Text", aria_live="polite")
            self.more = tag("div")
            self.votes = tag("div", kind="stack tight")
            self.suggestion = tag("p", kind="small")
            if task.guideline.strip():
                with details("Guideline", is_open=self.place.num_mine == 0):
                    tag("p", task.guideline, kind="said")

    def _choices(self) -> None:
        with tag("section", kind="panel choices", aria_label="Labels"):
            if len(self.labels) >= SEARCHED:
                self._search()
            with tag("div", kind="label-buttons", role="group", aria_label="Labels"):
                for number, label in enumerate(self.labels):
                    self._label(number, label)
            tag("p", "No label is like that.", kind="small quiet none", hidden=True)
            with tag("div", kind="row actions"):
                self._action("back", "← Back", "ArrowLeft")
                self._action("forward", "Forward →", "ArrowRight")
                self._action("skip", "Not now" if self.place.is_deciding else "Skip", "s")
                self._action("undo", "Undo", "u")
                help_ = tag("button", kind="button quiet small", type="button", data_key="?")
                help_.set(data_opens="keys", aria_label="Keys")
                with help_:
                    tag("kbd", "?")
                    tag("span", "Keys")

    def _search(self) -> None:
        with tag("div", kind="field"):
            tag("label", "Search the labels", for_="label-search", kind="unseen")
            tag(
                "input", id="label-search", type="search", autocomplete="off",
                placeholder="Search the labels  ( / )", aria_describedby="label-search-hint",
            )  # fmt: skip
            tag("p", "Enter takes the first one.", kind="unseen", id="label-search-hint")

    def _label(self, number: int, label: str) -> None:
        key = KEYS[number] if number < len(KEYS) else None
        made = tag("button", kind="button label-button", type="button", aria_pressed="false")
        made.set(data_act=str(number), data_key=key, aria_keyshortcuts=key)
        with made:
            if key:
                tag("kbd", key, aria_hidden="true")
            tag("span", label, kind="name")
        self.buttons.append(made)

    def _action(self, act: str, said: str, key: str) -> None:
        made = tag("button", kind="button small", type="button", data_act=act, data_key=key)
        made.set(aria_keyshortcuts=key)
        with made:
            tag("span", said)
            if len(key) == 1:
                tag("kbd", key.upper(), aria_hidden="true")

    # --- what is done ----------------------------------------------------------------------------

    async def _pressed(self, event: Any) -> None:
        row_id, act = event.args
        place = self.place
        if self.is_busy or place.row is None or place.row.id != row_id:
            return
        if act.isdecimal():
            label = self.labels[int(act)]
            await self._do(lambda: place.answer(label), f"Labelled {label}.")
        elif act == "skip":
            said = "Left for later." if place.is_deciding else "Skipped."
            await self._do(lambda: place.answer(None), said)
        elif act == "undo":
            await self._undo()
        elif act == "back":
            await self._do(place.back, "")
        elif act == "forward":
            await self._do(place.forward, "")

    async def _undo(self) -> None:
        was: list[str | None] = [None]

        def undo() -> None:
            was[0] = self.place.undo()

        await self._do(undo, "")
        self.status.text = f"Taken back: {was[0]}." if was[0] else "There is nothing to take back."

    async def _do(self, act: Callable[[], object], said: str) -> None:
        self.is_busy = True
        try:
            await off(act)
            self.status.text = said
        except TunesmithError as error:
            told(str(error), "bad")
        finally:
            self.is_busy = False
        await self.paint()

    async def _look(self) -> None:
        """See what others have done meanwhile."""
        if self.is_busy:
            return
        try:
            had = self.place.row
            await off(self.place.refresh)
            await off(self.place.look_again)
        except TunesmithError as error:
            told(str(error), "bad")
            return
        if self.place.row is not had:
            await self.paint()
        else:
            self._count()

    def _gone(self, leave: Callable[[], None]) -> None:
        leave()

        async def give_back() -> None:
            try:
                await off(self.place.leave)
            except TunesmithError as error:
                logger.info("a row could not be given back: %s", error)

        background_tasks.create(give_back())

    # --- what is shown ---------------------------------------------------------------------------

    async def paint(self) -> None:
        """Show the row that is next, or that there is none."""
        place = self.place
        self._count()
        self.work.show(place.row is not None)
        self.nothing.show(place.row is None)
        if place.row is None:
            self.work.set(data_row="")
            self._nothing()
            return
        names = {}
        if place.is_deciding:
            names = await off(names_of, place.store, [one.annotator for one in place.votes])
        self.work.set(data_row=place.row.id)
        where = "An earlier row · row" if place.at is not None else "Row"
        self.number.text = f"{where} {place.row.number:,} of the table"
        self.text.text = place.row.text
        with clear(self.more):
            if place.row.shown:
                facts({name: str(value) for name, value in place.row.shown.items()})
        self._press(place.current)
        self._say(names)

    def _press(self, label: str | None) -> None:
        now = self.labels.index(label) if label in self.labels else None
        for number in {self.pressed, now} - {None}:
            assert number is not None
            self.buttons[number].set(aria_pressed="true" if number == now else "false")
        self.pressed = now

    def _say(self, names: dict[str, str]) -> None:
        place = self.place
        assert place.row is not None
        with clear(self.votes):
            if place.is_deciding:
                tag("p", "The votes", kind="small quiet")
                for vote in place.votes:
                    with tag("p", kind="small"):
                        tag("span", f"{names[vote.annotator]}: ")
                        tag("span", str(vote.label), kind="label")
            elif place.is_skipped:
                tag("p", "You have skipped this row.", kind="small quiet")
        suggestion = place.row.suggestion if place.task.is_suggesting else None
        self.suggestion.show(bool(suggestion))
        if suggestion:
            sure = f"{100 * (place.row.certainty or 0):.0f} %"
            self.suggestion.text = f"The model would say: {suggestion} ({sure} certain)"

    def _nothing(self) -> None:
        place, task = self.place, self.place.task
        with clear(self.nothing):
            if place.is_deciding:
                tag("h2", "There is no tie to decide")
                text("Ties show up here as soon as people give a row different labels.")
                link("Label rows", address(task), "button")
                return
            tag("h2", "There is no row left for you")
            waits = task.num_rows - task.num_done - task.num_tied
            if waits:
                text(
                    f"{waits:,} rows wait for other people, are looked at by them just now, or "
                    "were skipped by you. As soon as there is one for you, it shows up here."
                )
            else:
                text("Every row is labelled. Train a model with them, or take the table along.")
            with tag("div", kind="row"):
                link("To the overview", address(task, "overview"), "button primary")
                if waits:
                    tag("button", "Look at skipped rows again", kind="button", type="button").on(
                        "click", self._skipped_again, args=[]
                    )

    async def _skipped_again(self) -> None:
        await self._do(self.place.take_up_skipped, "")
        if self.place.row is None:
            self.status.text = "You have skipped no row that is still open."

    def _count(self) -> None:
        place, task = self.place, self.place.task
        self.bar.set(max=max(1, task.num_rows), value=task.num_done)
        said = [done(task)]
        if not place.is_deciding:
            said.append(f"{place.num_mine:,} by you")
        if pace := place.pace:
            said.append(f"{pace:.0f} a minute")
            left = task.num_rows - task.num_done - task.num_tied
            if task.votes == 1 and left:
                said.append(f"{_time(left / pace)} left at this pace")
        if wrong := suggestions.trouble(task.id):
            said.append(f"the model does not help: {wrong}")
        self.figures.text = " · ".join(said)


def _time(minutes: float) -> str:
    if minutes < 1.5:
        return "about a minute"
    if minutes < 90:
        return f"about {minutes:.0f} minutes"
    return f"about {minutes / 60:,.0f} hours"


def _help() -> None:
    with tag("dialog", id="keys", kind="stack", aria_labelledby="keys-title"):
        tag("h2", "Keys", id="keys-title")
        with tag("dl", kind="key-list"):
            for key, does in HELP.items():
                with tag("div"):
                    with tag("dt"):
                        tag("kbd", key)
                    tag("dd", does)
        with tag("label", kind="tick"):
            tag("input", type="checkbox", data_keys="switch")
            tag("span", "Use keys")
        tag("button", "Close", kind="button", type="button", data_closes="keys", autofocus=True)
