"""Whether two sets of texts differ: whether a classifier can tell which one a text is from.

Sets that were drawn alike cannot be told apart: its area under the ROC curve is then near 0.5, and
1 where every text gives its set away (a classifier two-sample test; Lopez-Paz and Oquab 2017).
Knows: features. Does not know: labels, what the sets are for.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tunesmith.metrics.classification import Array
from tunesmith.metrics.heads import Features, out_of_fold
from tunesmith.metrics.intervals import NORMAL, Interval

TOLD_APART = 0.6
"""Sets are called different when the area is surely larger. Below, scores hardly suffer."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How well the sets can be told apart: area under the ROC curve, 0.5 to 1, and its interval."""

    area: float
    interval: Interval

    @property
    def is_clear(self) -> bool:
        """Whether the sets differ beyond chance, and by more than what hardly matters."""
        return self.interval[0] > TOLD_APART


def shift(
    features: Features, is_second: Sequence[bool], *, groups: Sequence[Hashable] | None = None
) -> Shift | None:
    """Tell the rows of the second set from those of the first.

    features  of the rows of both sets.
    groups    rows with the same value are never learnt from and asked about both, such as
              near-duplicates; else whatever stays on one side of a split would give it away.

    None where one of the sets has too few rows for an interval.
    """
    second = np.asarray(is_second, dtype=bool)
    if min(second.sum(), (~second).sum()) < 2:
        return None
    names = ["second" if row else "first" for row in second.tolist()]
    answers = out_of_fold(features, names, groups=groups)
    score = answers.probabilities[:, answers.labels.index("second")]
    known = np.isfinite(score)
    if min((second & known).sum(), (~second & known).sum()) < 2:
        return None
    area, spread = roc_area(score[known], second[known])
    return Shift(
        area=area,
        interval=(max(0.0, area - NORMAL * spread), min(1.0, area + NORMAL * spread)),
    )


def roc_area(score: ArrayLike, is_positive: ArrayLike) -> tuple[float, float]:
    """The area under the ROC curve and its standard error; two rows of either kind at least.

    Source: DeLong, DeLong and Clarke-Pearson 1988, by ranks as Sun and Xu 2014.
    """
    scores, positive = np.asarray(score, dtype=np.float64), np.asarray(is_positive, dtype=bool)
    high, low = scores[positive], scores[~positive]
    # Share of the other kind that each row beats; equals count half.
    above = (_ranks(scores)[positive] - _ranks(high)) / len(low)
    below = 1 - (_ranks(scores)[~positive] - _ranks(low)) / len(high)
    variance = above.var(ddof=1) / len(high) + below.var(ddof=1) / len(low)
    return float(above.mean()), math.sqrt(variance)


def _ranks(values: NDArray[np.float64]) -> Array:
    """1 for the smallest; equal values share the mean of their ranks."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts).astype(np.float64)
    ranks: Array = (last - (counts - 1) / 2)[which]
    return ranks
