"""Asking before something is done that cannot be undone, and asking for a word or two.

The browser's own dialogs: Escape closes them, and the focus goes back to where it was.
Does not know: what is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from nicegui import context

from tunesmith.errors import TunesmithError
from tunesmith.web.controls import Tag, button, row, script, tag, text, text_field

OPEN = (
    "(function open(tries) {{ const box = document.getElementById('{id}');"
    " if (box && !box.open) box.showModal(); else if (tries) setTimeout(() => open(tries - 1), 20);"
    " }})(100)"
)
CLOSE = "document.getElementById('{id}')?.close()"

Do = Callable[[], Awaitable[None]]


def confirm(
    title: str, says: Sequence[str], verb: str, do: Do, *, lists: Sequence[str] = ()
) -> None:
    """Ask whether to do something, and do it if so.

    says   sentences: what goes, and what stays; lists: names of what depends on it.
    verb   what the button says, such as "Delete".
    """
    box = _dialog(title)
    with box:
        for sentence in says:
            text(sentence)
        if lists:
            with tag("ul", kind="names"):
                for name in lists:
                    tag("li", name)
        _buttons(box, verb, do, kind="danger")


def danger(said: str, verb: str, do: Do, *, warns: str) -> Tag:
    """A button for what cannot be undone: it asks once more.

    verb   what the second button says, such as "Really delete"; warns: what is lost.
    """
    return button(said, lambda: confirm(f"{said}?", [warns], verb, do), kind="danger")


def ask(
    title: str, label: str, value: str, verb: str, do: Callable[[str], Awaitable[None]]
) -> None:
    """Ask for a line of text, and do something with it."""
    typed = [value]

    def changed(new: str) -> None:
        typed[0] = new

    box = _dialog(title)
    with box:
        field = text_field(label, value, changed, event="input", maxlength=200)

        async def done() -> None:
            try:
                await do(typed[0].strip())
            except TunesmithError as error:
                field.refuse(str(error))
                raise

        _buttons(box, verb, done, kind="primary")


def _buttons(box: _Dialog, verb: str, do: Do, *, kind: str) -> None:
    async def done() -> None:
        await do()
        script(CLOSE.format(id=box.name))

    with row("end"):
        button(verb, done, kind=kind, busy=f"{verb} …")
        tag("button", "Keep as it is", kind="button", type="button", autofocus=True).on(
            "click", js_handler=f"() => {{ {CLOSE.format(id=box.name)} }}"
        )


class _Dialog(Tag):
    name: str


def _dialog(title: str) -> _Dialog:
    with context.client.content:
        box = _Dialog("dialog", kind="stack")
    box.name = f"d{box.id}"
    box.set(id=box.name, aria_labelledby=f"{box.name}-title")

    def closed() -> None:
        if not box.is_deleted:
            box.delete()

    box.on("close", closed, args=[])
    with box:
        tag("h2", title, id=f"{box.name}-title")
    script(OPEN.format(id=box.name))
    return box
