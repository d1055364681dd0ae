"""The parts that pages are made of: plain HTML elements with our classes.

Whatever is given as text or as an attribute's value is shown as such, whoever wrote it.
Does not know: any page.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from nicegui import context, ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from tunesmith.errors import TunesmithError

Attribute = str | int | float | bool | None
Handler = Callable[[], Awaitable[None] | None]
Changed = Callable[[Any], Awaitable[None] | None]
Mood = Literal["", "good", "warn", "bad"]

VALUE = "(event) => emit(event.target.value)"
CHECKED = "(event) => emit(event.target.checked)"


class Tag(TextElement):
    """An HTML element. `tag("a", "Runs", href="/")`; `with` it, elements inside are its children.

    `classes` are set with `kind`; attributes bear their names, `_` standing for `-`, and one whose
    value is None or False is left out.
    """

    def __init__(self, name: str, text: str = "", /, *, kind: str = "", **given: Attribute) -> None:
        super().__init__(tag=name, text=text)
        if not text:
            self._text = None  # else it would have an empty text as its first child
        if kind:
            self._classes.extend(kind.split())
        self.set(**given)

    def set(self, **given: Attribute) -> Tag:
        """Set attributes, or take away those that are None or False."""
        for name, value in given.items():
            key = name.rstrip("_").replace("_", "-")
            if value is None or value is False:
                if key in self._props:
                    del self._props[key]
            elif self._props.get(key) != value:  # each setting is sent to the browser
                self._props[key] = value
        return self

    def set_kind(self, kind: str) -> Tag:
        """Give it these classes and no others."""
        if list(self._classes) != kind.split():
            self.classes(replace=kind)
        return self

    def show(self, is_shown: bool) -> Tag:
        """Show or hide it."""
        return self.set(hidden=not is_shown)


def tag(name: str, text: str = "", /, *, kind: str = "", **given: Attribute) -> Tag:
    """See Tag."""
    return Tag(name, text, kind=kind, **given)


# --- texts ----------------------------------------------------------------------------------------


def text(said: str, kind: str = "") -> Tag:
    """A paragraph."""
    return tag("p", said, kind=kind)


def link(said: str, to: str, kind: str = "") -> Tag:
    """A link to another page."""
    return tag("a", said, kind=kind, href=to)


def when(at: float | None, *, form: Literal["ago", "full"] = "ago") -> Tag:
    """A moment (unix seconds), which the browser writes in its reader's zone and language."""
    if at is None:
        return tag("span", "–", kind="quiet")
    return tag("time", kind="when", data_at=int(at), data_form=form)


def badge(said: str, mood: str = "") -> Tag:
    """A word for a state. The mood is told by more than its colour: the word."""
    return tag("span", said, kind=f"badge {mood}")


def notice(said: str, mood: Mood = "", *, title: str = "") -> Tag:
    """A sentence that stands out. Bad ones are read out at once."""
    box = tag("div", kind=f"notice {mood}", role="alert" if mood == "bad" else "note")
    with box:
        if title:
            tag("strong", title)
        tag("p", said)
    return box


def waiting(said: str) -> Tag:
    """What is being waited for, in words, with something that moves."""
    box = tag("p", kind="waiting", role="status")
    with box:
        tag("span", kind="dots", aria_hidden="true")
        tag("span", said)
    return box


def empty(title: str, said: str) -> Tag:
    """What is said where a list has nothing yet: what belongs there and how it comes about.

    Put the button or link that begins it inside."""
    box = tag("div", kind="empty")
    with box:
        tag("h2", title)
        tag("p", said)
    return box


# --- places ---------------------------------------------------------------------------------------


def panel(title: str, *, kind: str = "", level: int = 2) -> Tag:
    """A part of a page under a heading."""
    box = tag("section", kind=f"panel {kind}", aria_label=title)
    with box:
        tag(f"h{level}", title)
    return box


def row(kind: str = "") -> Tag:
    """Things beside each other, which break into lines where there is no room."""
    return tag("div", kind=f"row {kind}")


def grid(kind: str = "") -> Tag:
    """Things in columns of like width."""
    return tag("div", kind=f"grid {kind}")


def details(title: str, *, is_open: bool = False, kind: str = "") -> Tag:
    """What is folded away behind its title."""
    box = tag("details", kind=kind, open=is_open)
    with box:
        tag("summary", title)
    return box


Cell = str | int | float | None | Callable[[], Any]


def table(
    head: Sequence[str], rows: Iterable[Sequence[Cell]], *, caption: str, kind: str = ""
) -> Tag:
    """A table. A cell is a text, a number, or a function that makes elements.

    caption  what it shows, for those who do not see it.
    """
    listed = list(rows)
    first = listed[0] if listed else [""] * len(head)
    scroll = tag("div", kind="scroll", tabindex=0, role="region", aria_label=caption)
    with scroll, tag("table", kind=kind):
        tag("caption", caption, kind="unseen")
        with tag("thead"), tag("tr"):
            for name, below in zip(head, first, strict=True):
                tag("th", name, scope="col", kind="number" if _is_number(below) else "")
        with tag("tbody"):
            for cells in listed:
                with tag("tr"):
                    for cell in cells:
                        _cell(cell)
    return scroll


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _cell(cell: Cell) -> None:
    if callable(cell):
        with tag("td"):
            cell()
    elif _is_number(cell):
        tag("td", f"{cell:,}", kind="number")
    else:
        tag("td", "" if cell is None else str(cell))


def facts(pairs: Mapping[str, Cell]) -> Tag:
    """Names and values, side by side."""
    box = tag("dl", kind="facts")
    with box:
        for name, value in pairs.items():
            with tag("div"):
                tag("dt", name)
                if callable(value):
                    with tag("dd"):
                        value()
                else:
                    tag("dd", f"{value:,}" if isinstance(value, int | float) else value or "–")
    return box


# --- what is done ---------------------------------------------------------------------------------


def button(
    said: str, on_click: Handler, *, kind: str = "", busy: str = "", **given: Attribute
) -> Tag:
    """A button. While its handler works it says `busy` and cannot be pressed again; an error of
    ours that the handler raises is told."""
    box = tag("button", said, kind=f"button {kind}", type="button", **given)

    async def pressed() -> None:
        before = box.text
        box.set(disabled=True, aria_busy="true").text = busy or before
        try:
            await _done(on_click())
        except TunesmithError as error:
            told(str(error), "bad")
        finally:
            if not box.is_deleted:
                box.set(disabled=False, aria_busy=None).text = before

    box.on("click", pressed, args=[])
    return box


def told(said: str, mood: Mood = "") -> None:
    """Tell something that has happened, for a few seconds."""
    kinds: dict[str, Any] = {"good": "positive", "warn": "warning", "bad": "negative", "": None}
    ui.notify(said, type=kinds[mood], position="bottom", multi_line=len(said) > 80, timeout=8000)


async def _done(what: Awaitable[None] | None) -> None:
    if inspect.isawaitable(what):
        await what


# --- fields ---------------------------------------------------------------------------------------


class Field(Tag):
    """A control with its label, a hint and room for what is wrong with the value."""

    def __init__(self, label: str, hint: str = "", kind: str = "") -> None:
        super().__init__("div", kind=f"field {kind}")
        self.name = f"f{self.id}"
        with self:
            self.label = tag("label", label, for_=self.name)
            if hint:
                tag("p", hint, kind="hint", id=f"{self.name}-hint")
        self._described = f"{self.name}-hint" if hint else ""
        with self:
            self.wrong = tag("p", kind="wrong", id=f"{self.name}-wrong", role="alert", hidden=True)

    def control(self, name: str, /, **given: Attribute) -> Tag:
        """The control itself, between label and hint."""
        described = f"{self._described} {self.name}-wrong".strip()
        with self:
            made = tag(name, id=self.name, aria_describedby=described).set(**given)
        made.move(self, 1)
        self.made = made
        return made

    def refuse(self, why: str) -> None:
        """Say what is wrong with the value; nothing, when it is right."""
        self.wrong.text = why
        self.wrong.show(bool(why))
        self.made.set(aria_invalid="true" if why else None)

    def changed(self, event: str, script: str, handler: Changed) -> None:
        """Call `handler` with each new value; an error of ours is told beside the control."""

        async def call(args: Any) -> None:
            try:
                await _done(handler(args.args))
            except TunesmithError as error:
                self.refuse(str(error))
            else:
                self.refuse("")

        self.made.on(event, call, js_handler=script)


def text_field(
    label: str,
    value: str,
    on_change: Changed,
    *,
    hint: str = "",
    event: str = "change",
    **given: Attribute,
) -> Field:
    """A line of text. `type`: another one than text; `event`: "input" to be told every letter."""
    made = Field(label, hint)
    control = made.control("input", **{"type": "text", "autocomplete": "off", **given})
    control._props["^value"] = value  # as an attribute: what is typed meanwhile stays
    made.changed(event, VALUE, on_change)
    return made


def area_field(
    label: str,
    value: str,
    on_change: Changed,
    *,
    hint: str = "",
    event: str = "change",
    rows: int = 4,
) -> Field:
    """Several lines of text."""
    made = Field(label, hint)
    made.control("textarea", rows=rows, autocomplete="off").text = value
    made.changed(event, VALUE, on_change)
    return made


def choice_field(
    label: str, options: Mapping[str, str], value: str, on_change: Changed, *, hint: str = ""
) -> Field:
    """One of several; `options`: value → what is shown for it."""
    made = Field(label, hint)
    with made.control("select"):
        for key, said in options.items():
            tag("option", said, value=key, selected=key == value)
    made.changed("change", VALUE, on_change)
    return made


def switch_field(label: str, value: bool, on_change: Changed, *, hint: str = "") -> Field:
    """Yes or no."""
    made = Field(label, hint, kind="switch")
    made.control("input", type="checkbox", role="switch", checked=value)
    made.changed("change", CHECKED, on_change)
    return made


def bar(done: float, total: float, label: str) -> Tag:
    """How far something has come. Without a total it only says that it goes on."""
    box = tag("progress", max=total if total else None, value=done if total else None)
    return box.set(aria_label=label)


def script(call: str) -> None:
    """Run a script of ours in the browser that looks at this page. No text of others belongs in."""
    context.client.run_javascript(call)


def clear(box: Element) -> Element:
    """Take out all that is inside; `with clear(box): …` fills it anew."""
    box.clear()
    return box
