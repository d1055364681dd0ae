"""/playground: ask a model, or two side by side, and see the code that does so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from nicegui import background_tasks, context, ui

from tunesmith.errors import TunesmithError
from tunesmith.web import plain
from tunesmith.web.asking.request import How, number_of, schema_of
from tunesmith.web.asking.snippets import snippets
from tunesmith.web.controls import (
    Field,
    Tag,
    area_field,
    button,
    choice_field,
    details,
    empty,
    link,
    notice,
    panel,
    row,
    script,
    tag,
    text,
    text_field,
    told,
)
from tunesmith.web.layout import page
from tunesmith.web.playing import OFFERED, Code, Model, Pane, find, offered
from tunesmith.web.visit import Visit

SCRIPT = f'<script src="/assets/copy.js?{plain.VERSION}" defer></script>'
ENTER = (
    "(event) => { if (event.shiftKey || event.isComposing) return;"
    " event.preventDefault(); emit(event.target.value); }"
)
TEMPERATURE = 0.7
NUMBERS = {"temperature": (0, 2, False), "max_tokens": (1, 1_000_000, True),
           "seed": (0, 2**53, True)}  # fmt: skip
"""Settings that are numbers: the least, the most, and whether they are whole."""


@page("/playground", "Playground")
async def playground(
    visit: Visit, model: str = "", beside: str = "", q: str = "", typed: str = ""
) -> None:
    """The page. `typed`: what is in the field to begin with."""
    ui.add_head_html(SCRIPT)
    shown = _Playground(visit, {"model": model, "beside": beside, "q": q})
    await shown.show(typed)


class _Playground:
    """The page in one browser."""

    def __init__(self, visit: Visit, asked: dict[str, str]) -> None:
        self.visit, self.asked = visit, asked
        self.missing: list[str] = []
        """Why models that were chosen cannot be asked."""
        request = context.client.request
        scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
        self.base_url = f"{scheme}://{request.headers.get('host', 'localhost')}/v1"
        self.panes: list[Pane] = []
        self.typed = ""
        self.given = {"system": "", "temperature": "0.7", "max_tokens": "512", "seed": "",
                      "schema": ""}  # fmt: skip
        self.fields: dict[str, Field] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.input: Tag
        self.code: Code | None = None

    async def show(self, typed: str) -> None:
        """All of it."""
        self.typed = typed
        models = await offered(self.visit, self.asked["q"])
        chosen = self.asked["model"] or next(iter(models), "")
        if not chosen and not self.asked["q"]:
            self._welcome()
            return
        names = [name for name in (chosen, self.asked["beside"]) if name]
        found = [one for name in names if (one := await self._find(name))]
        self._choices(models, chosen)
        for name in self.missing:
            notice(name, "warn")
        if not found:
            return
        self.writes = any(one.answers == "text" for one in found)
        if self.writes:  # a conversation grows above the place where it goes on
            self._panes(found)
        with panel("Ask", kind="asking"):
            self._question()
        if not self.writes:
            self._panes(found)
        with panel("The same as code"):
            if len(found) > 1:
                text(f"For {found[0].title}.", "quiet")
            self.code = Code()
        with panel("Many texts at once"):
            text("Drop a table, choose a column, and get the table back with an answer beside "
                 "every row.", "quiet")  # fmt: skip
            link("Ask about a table", f"/playground/batches?model={found[0].name}", "button")
        self._told()

    def _panes(self, found: list[Model]) -> None:
        with tag("div", kind="grid two panes", aria_live="polite"):
            self.panes = [Pane(self.visit, one) for one in found]

    def _welcome(self) -> None:
        with empty(
            "No model to talk to yet",
            "Here you ask your models: see how sure they are of each label, talk with those that "
            "write, and compare two. The first run ends with the first model.",
        ):
            if self.visit.may_change:
                link("Begin a run", "/new", "button primary")

    async def _find(self, name: str) -> Model | None:
        try:
            return await find(self.visit, name)
        except TunesmithError as error:
            self.missing.append(str(error))
            return None

    # --- choosing -------------------------------------------------------------------------------

    def _choices(self, models: dict[str, str], chosen: str) -> None:
        def go(**changes: str) -> None:
            given = {k: v for k, v in (self.asked | changes).items() if v}
            ui.navigate.to(f"/playground?{urlencode(given)}")

        options = {name: name for name in (chosen, self.asked["beside"]) if name} | models
        with tag("div", kind="filters"):
            if len(models) >= OFFERED or self.asked["q"]:
                text_field("Search models", self.asked["q"], lambda value: go(q=value),
                           type="search")  # fmt: skip
            choice_field("Model", options, chosen, lambda value: go(model=value))
            choice_field("Beside it", {"": "No other model", **options}, self.asked["beside"],
                         lambda value: go(beside=value))  # fmt: skip

    # --- asking ---------------------------------------------------------------------------------

    def _question(self) -> None:
        label = "Message" if self.writes else "Text"
        field = area_field(label, self.typed, self._changed, rows=3, event="input",
                           hint="Enter asks; Shift and Enter begin a new line.")  # fmt: skip
        self.input = field.made
        self.input.on("keydown.enter", self._entered, js_handler=ENTER)
        with row():
            button("Ask", self._ask, kind="primary")
            self.stop = button("Stop", self._stop).show(False)
            if self.writes:
                button("New conversation", self._anew, kind="quiet")
        if self.writes:
            with details("How to answer"), tag("div", kind="stack"):
                self._settings()

    def _settings(self) -> None:
        def keep(name: str) -> Callable[[str], None]:
            def changed(value: str) -> None:
                self.given[name] = value
                self._read(name)
                self._told()

            return changed

        given, fields = self.given, self.fields
        fields["system"] = area_field(
            "Instructions (system prompt)", given["system"], keep("system"), rows=2, event="input",
            hint="What the model is to be and to do, said once, before the conversation.",
        )  # fmt: skip
        with tag("div", kind="grid"):
            fields["temperature"] = text_field(
                "Temperature", given["temperature"], keep("temperature"), event="input",
                inputmode="decimal", hint="0: always the likeliest words. Higher: more variety.",
            )  # fmt: skip
            fields["max_tokens"] = text_field(
                "Most tokens", given["max_tokens"], keep("max_tokens"), event="input",
                inputmode="numeric", hint="Where an answer is cut at the latest.",
            )  # fmt: skip
            fields["seed"] = text_field(
                "Seed", given["seed"], keep("seed"), event="input", inputmode="numeric",
                hint="A number: the same question then gets the same answer.",
            )  # fmt: skip
        fields["schema"] = area_field(
            "JSON Schema", given["schema"], keep("schema"), rows=3, event="input",
            hint="The answer will be JSON that fits it. Empty: plain text.",
        )  # fmt: skip

    def _changed(self, value: str) -> None:
        self.typed = value
        self._told()

    async def _entered(self, event: object) -> None:
        self.typed = str(event.args)  # type: ignore[attr-defined]
        await self._ask()

    def _read(self, name: str) -> Any:
        """The value of a setting. Raises: ConfigError for one that cannot be."""
        given = self.given[name]
        if name == "schema":
            return schema_of(given)
        if name in NUMBERS:
            least, most, whole = NUMBERS[name]
            return number_of(given, least=least, most=most, whole=whole)
        return given

    def _how(self) -> How | None:
        """How to answer; None where something that was given cannot be."""
        try:
            found = {name: self._read(name) for name in self.given}
        except TunesmithError:
            return None
        temperature = found.pop("temperature")
        return How(temperature=TEMPERATURE if temperature is None else temperature, **found)

    async def _ask(self) -> None:
        typed, how = self.typed, self._how()
        if not typed.strip():
            script(f"document.getElementById('{self.input._props['id']}').focus()")
            return
        if self.tasks:
            return
        if how is None:
            told("Correct the settings first.", "warn")
            return
        for pane in self.panes:
            task = background_tasks.create(pane.ask(typed, how, self._told))
            self.tasks.add(task)
            task.add_done_callback(self._ended)
        if self.writes:
            self.stop.show(True)
            self.typed = ""
            script(f"document.getElementById('{self.input._props['id']}').value = ''")
        self._told()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not self.tasks and not self.stop.is_deleted:
            self.stop.show(False)

    def _stop(self) -> None:
        for task in self.tasks:
            task.cancel()

    def _anew(self) -> None:
        self._stop()
        for pane in self.panes:
            pane.clear()
        self._told()

    def _told(self) -> None:
        """Show the code for what is on the screen."""
        how = self._how()
        if self.code is None or how is None:
            return
        self.code.told = snippets(self.base_url, self.panes[0].request(self.typed, how))
        self.code.show()
