"""Who says yes to spending money: an option, or a person at the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from tunesmith.pipeline import Spending


@dataclass(frozen=True, kw_only=True)
class Paying:
    """What was said on the command line."""

    yes: bool = False
    max_cost: float | None = None

    def spending(self) -> Spending:
        """What may be spent; somebody who is there is asked."""
        from tunesmith.cli.terminal import is_interactive
        from tunesmith.pipeline import Spending

        ask = _asked if is_interactive() else None
        return Spending(yes=self.yes, max_cost=self.max_cost, ask=ask)


def _asked(question: str) -> bool:
    return typer.confirm(question, err=True)


NOTHING = Paying()
