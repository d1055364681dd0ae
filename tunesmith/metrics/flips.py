"""What changed between two models' answers: rows mended, rows broken.

Knows: right labels and answers. Does not know: texts, which model is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Flips:
    """Rows by number, from 0, in their order.

    mended    wrong before, right after; broken: right before, wrong after.
    otherwise wrong both times, with another answer.
    """

    mended: tuple[int, ...]
    broken: tuple[int, ...]
    otherwise: tuple[int, ...]

    @property
    def net(self) -> int:
        """Rows won: mended minus broken."""
        return len(self.mended) - len(self.broken)


def flips(gold: Sequence[str], before: Sequence[str | None], after: Sequence[str | None]) -> Flips:
    """Which rows the second model answers otherwise than the first, for better and for worse."""
    mended, broken, otherwise = [], [], []
    for i, (label, old, new) in enumerate(zip(gold, before, after, strict=True)):
        if old == new:
            continue
        if new == label:
            mended.append(i)
        elif old == label:
            broken.append(i)
        else:
            otherwise.append(i)
    return Flips(mended=tuple(mended), broken=tuple(broken), otherwise=tuple(otherwise))
