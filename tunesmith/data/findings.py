"""What a check noticed about the user's data: level, line, what, fix.

Knows: the shape of a finding and how a list of lines reads in a sentence.
Does not know: which checks there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def rows_finding(lines: Iterable[int], what: str, fix: str) -> tuple[Finding, ...]:
    """`7 rows WHAT: lines 3, 9, 14 and 4 more. FIX` as a warning, or nothing without lines."""
    every = list(lines)
    if not every:
        return ()
    sentence = f"{counted(len(every), 'row')} {what}: {lines_phrase(every)}."
    return (Finding("warning", every[0], sentence, fix),)


def percent(share: float) -> str:
    """`73 %`; `over 99 %` and `under 1 %` where rounding would claim all or nothing."""
    if 0 < share < 0.005:
        return "under 1 %"
    return "over 99 %" if 0.995 <= share < 1 else f"{share * 100:.0f} %"


def enumerated(items: Iterable[str], separator: str = ", ", shown: int = 5) -> str:
    """The first few items, and how many more there are."""
    every = list(items)
    more = f" and {len(every) - shown:,} more" if len(every) > shown else ""
    return separator.join(every[:shown]) + more
