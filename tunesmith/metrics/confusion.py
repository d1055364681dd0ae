"""A confusion matrix made readable: mixed-up labels side by side, the worst pairs in words.

Knows: rows by right label and answer. Does not know: texts, models, how it is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.findings import counted, percent
from tunesmith.metrics.classification import Array

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class MixedUp:
    """Two labels that are taken for each other.

    forth, back  rows of `first` answered as `second`, and the other way round.
    expected     how many such rows there would be if every label's mistakes were spread over the
                 other answers as all mistakes are.
    """

    first: str
    second: str
    forth: int
    back: int
    num_first: int
    num_second: int
    expected: float

    @property
    def num_rows(self) -> int:
        """Mistakes between the two, both ways."""
        return self.forth + self.back

    @property
    def share(self) -> float:
        """Of the rows of both labels."""
        return self.num_rows / max(1, self.num_first + self.num_second)

    def __str__(self) -> str:
        ways = [
            f"{n:,} of {total:,} “{one}” ({percent(n / total)}) were answered as “{other}”"
            for n, total, one, other in (
                (self.forth, self.num_first, self.first, self.second),
                (self.back, self.num_second, self.second, self.first),
            )
            if n
        ]
        chance = f"{self.expected:.1f}" if self.expected >= 0.05 else "almost none"
        rows = counted(self.num_rows, "mistake")
        return f"{'; '.join(ways)}. {rows}, where an even spread of mistakes would make {chance}."


def worst_pairs(counts: Counts, labels: Sequence[str], *, most: int = 10) -> tuple[MixedUp, ...]:
    """The pairs of labels with the most mistakes between them, in rows.

    counts  rows by right label (K) and answer (K, or K + 1 with "(other)" last, which is left out).
    """
    totals = counts.sum(1)
    mistakes = _mistakes(counts)
    expected = _expected(mistakes)
    both, both_expected = mistakes + mistakes.T, expected + expected.T
    first, second = np.triu_indices(len(labels), 1)
    # Of pairs with equal numbers the one that surprises more, then the order of the labels.
    order = np.lexsort((both_expected[first, second], -both[first, second]))[:most]
    pairs = []
    for i, j in zip(first[order], second[order], strict=True):
        if not both[i, j]:
            break
        one, other = (i, j) if mistakes[i, j] >= mistakes[j, i] else (j, i)
        pairs.append(
            MixedUp(
                first=labels[one],
                second=labels[other],
                forth=int(mistakes[one, other]),
                back=int(mistakes[other, one]),
                num_first=int(totals[one]),
                num_second=int(totals[other]),
                expected=float(both_expected[i, j]),
            )
        )
    return tuple(pairs)


def side_by_side(counts: Counts) -> list[int]:
    """The order of the labels, by place, that puts mixed-up ones next to each other.

    Labels are joined one after the other by the share of their rows that is mixed up (hierarchical
    clustering, average linkage), and the branches turned so that neighbours are alike (Bar-Joseph
    et al. 2001). Labels that are never mixed up keep their order, at the end.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    mistakes = _mistakes(counts)
    both = mistakes + mistakes.T
    mixed = np.flatnonzero(both.any(1))
    rest = np.flatnonzero(~both.any(1)).tolist()
    if len(mixed) < 3:
        return [*mixed.tolist(), *rest]
    totals = counts.sum(1)[mixed].astype(np.float64)
    rows = np.maximum(1, np.add.outer(totals, totals))
    distance = 1 - both[np.ix_(mixed, mixed)] / rows
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), method="average", optimal_ordering=True)
    return [*mixed[leaves_list(tree)].tolist(), *rest]


def _mistakes(counts: Counts) -> Counts:
    mistakes = np.array(counts[:, : len(counts)])
    np.fill_diagonal(mistakes, 0)
    return mistakes


def _expected(mistakes: Counts) -> Array:
    """Mistakes in each cell if those of each label went to the other answers as all do."""
    wrong = mistakes.sum(1).astype(np.float64)
    taken = np.tile(mistakes.sum(0).astype(np.float64), (len(mistakes), 1))
    np.fill_diagonal(taken, 0)
    total = taken.sum(1, keepdims=True)
    spread: Array = np.divide(wrong[:, None] * taken, total, np.zeros(taken.shape), where=total > 0)
    return spread
