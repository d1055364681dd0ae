"""What a check noticed about the user's data: level, line, what, fix.

Knows: the shape of a finding and how a list of lines reads in a sentence.
Does not know: which checks there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from tunesmith.events import Event


@dataclass(frozen=True)
class Finding:
    """Something noticed. `line` is the first line it concerns in the file, where there is one."""

    level: Literal["info", "warning", "error"]
    line: int | None
    what: str
    fix: str = ""

    def event(self) -> Event:
        """The same as an event."""
        kind = "note" if self.level == "info" else self.level
        return Event(kind=kind, message=f"{self.what} {self.fix}".strip(), data=asdict(self))


def lines_phrase(lines: Sequence[int], shown: int = 3) -> str:
    """`line 7`, `lines 7 and 9`, `lines 7, 9, 12 and 40 more`."""
    first = [f"{line:,}" for line in lines[:shown]]
    if len(lines) > shown:
        return f"lines {', '.join(first)} and {len(lines) - shown:,} more"
    if len(first) > 1:
        return f"lines {', '.join(first[:-1])} and {first[-1]}"
    return f"line {first[0]}"


def counted(number: int, singular: str, plural: str = "") -> str:
    """`1 row`, `2,600 rows`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
