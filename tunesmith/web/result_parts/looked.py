"""The run whose result is looked at, and what its parts ask about it.

Does not know: any part.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nicegui import background_tasks, ui
from nicegui.element import Element

from tunesmith.errors import TunesmithError
from tunesmith.store.rows import RunRow
from tunesmith.web.controls import clear, notice, waiting
from tunesmith.web.results.asking import ask
from tunesmith.web.visit import Visit

OTHERS = "(other)"
"""Stands for all answers that are no known label."""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """A run, as one page looks at it."""

    visit: Visit
    row: RunRow
    folder: Path
    report: Mapping[str, Any]
    """See `results.reports.report`."""
    told: dict[str, Any] = field(default_factory=dict)
    """What was asked together with the report → the answer, for whoever asks it first."""

    async def ask(self, what: str, **given: Any) -> Any:
        """The answer to a question about the run. Raises: Unanswered."""
        if what in self.told:
            return self.told.pop(what)
        return (await self.ask_all({"what": what, **given}))[0]

    async def ask_all(self, *questions: Mapping[str, Any]) -> list[Any]:
        """The answers to several questions, which are read at once. Raises: Unanswered."""
        return await ask(*({"folder": str(self.folder), **one} for one in questions))

    @property
    def labels(self) -> list[str]:
        """The labels, those that are mixed up side by side."""
        return list(self.report["labels"])

    @property
    def worst(self) -> int:
        """How many rows stand beside training rows."""
        return int(self.report.get("num_worst", 0))


def filled(box: Element, said: str, fill: Callable[[], Awaitable[None]]) -> None:
    """Say what is being waited for in `box`, and let `fill` fill it, once the page is there; or
    say why not."""

    async def do() -> None:
        try:
            await fill()
        except TunesmithError as error:
            if not box.is_deleted:
                with clear(box):
                    notice(str(error), "bad")

    with clear(box):
        waiting(said)
        ui.timer(0.01, lambda: background_tasks.create(_within(box, do)), once=True)


async def _within(box: Element, do: Callable[[], Awaitable[None]]) -> None:
    with box:
        await do()
