"""How alike the votes of several people are, from counts alone.

The same measures as in `tunesmith.data.labels.agreement`, whose docstrings name the papers; here of
counts that a database gives, so that nothing of a table is in memory. A test compares the two.
Does not know: where the counts come from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.store.labelled import Likeness


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of the rows with two votes or more."""

    num_rows: int
    num_votes: int
    share: float
    """Of these rows, on which all votes are alike."""
    fleiss_kappa: float | None
    """None where it is undefined: all votes are for the same label."""
    krippendorff_alpha: float | None

    def in_words(self) -> str:
        """Krippendorff's alpha as a word, by the bounds he recommends (2004, Content Analysis)."""
        alpha = self.krippendorff_alpha
        if alpha is None:
            return "not defined while all votes are for one label"
        if alpha >= 0.8:
            return "reliable"
        return "good enough to go on with care" if alpha >= 0.667 else "too low to rely on"


def agreement(likenesses: Sequence[Likeness]) -> Agreement | None:
    """The measures; None where no row has two votes."""
    if not likenesses:
        return None
    rows = sum(one.alike * one.num_rows / one.size for one in likenesses)
    votes = sum(one.alike * one.num_rows for one in likenesses)
    whole = sum(one.num_rows for one in likenesses if one.alike == one.size)
    return Agreement(
        num_rows=round(rows),
        num_votes=votes,
        share=whole / rows,
        fleiss_kappa=_kappa(likenesses, rows),
        krippendorff_alpha=_alpha(likenesses, votes),
    )


def _kappa(likenesses: Sequence[Likeness], rows: float) -> float | None:
    observed, shares = 0.0, defaultdict[str, float](float)
    for one in likenesses:
        pairs = one.alike * (one.alike - 1) / (one.size * (one.size - 1))
        observed += one.num_rows * pairs / rows
        shares[one.label] += one.num_rows * one.alike / one.size / rows
    return _beyond_chance(observed, sum(share**2 for share in shares.values()))


def _alpha(likenesses: Sequence[Likeness], votes: int) -> float | None:
    alike, totals = 0.0, defaultdict[str, int](int)
    for one in likenesses:
        alike += one.num_rows * one.alike * (one.alike - 1) / (one.size - 1)
        totals[one.label] += one.num_rows * one.alike
    expected = sum(total * (total - 1) for total in totals.values()) / (votes * (votes - 1))
    return _beyond_chance(alike / votes, expected)


def _beyond_chance(observed: float, expected: float) -> float | None:
    # 1 but for rounding: there is only one label.
    return None if expected > 1 - 1e-12 else (observed - expected) / (1 - expected)
