"""What a classifier gains by not answering where it is unsure: accuracy against coverage.

A row is answered when the answer's probability is at least a threshold. The higher it is, the fewer
rows are answered (coverage), and the more of these rightly, if the probabilities are worth
anything.
Knows: the probability of each answer, and whether it was right.
Does not know: labels, texts, what happens to rows without an answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tunesmith.metrics.classification import Array
from tunesmith.metrics.intervals import Interval, at_least, share

NUM_STEPS = 20
"""Coverages among which a threshold is chosen: 5 %, 10 %, ... 100 %."""
DOUBT = 0.05
"""Risk that the accuracy of a chosen threshold is lower than wished."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """Rows answered with a probability of at least `threshold`.

    coverage  their share of all rows; accuracy: the share of them answered rightly, with its 95 %
              interval.
    """

    threshold: float
    num_rows: int
    coverage: float
    accuracy: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Abstaining:
    """What `abstain` found.

    points     one a step of coverage, by falling threshold; fewer where probabilities are equal.
    area       under the curve of risk (1 - accuracy) over coverage, 0 to 1: the mean risk over all
               coverages, lower is better (AURC; Geifman & El-Yaniv 2017).
    best_area  what it would be if all right answers were surer than all wrong ones.
    """

    num_rows: int
    points: tuple[Point, ...]
    area: float
    best_area: float

    def reaching(self, accuracy: float) -> Point | None:
        """The point that answers the most rows and of which it is 95 % sure that it answers at
        least this share of them rightly; None if there is none.

        The sureness is of the choice, not of the one point: each step that could be chosen is
        tested at a part of the doubt (Bonferroni), by its exact bound (see `at_least`). So the best
        of twenty lucky steps is not mistaken for a good one.
        """
        rows = np.array([p.num_rows for p in self.points], dtype=np.int64)
        hits = np.array([round(p.num_rows * p.accuracy) for p in self.points], dtype=np.int64)
        # Steps at which even a perfect record would prove nothing are no choice.
        could = at_least(rows, rows, doubt=DOUBT) >= accuracy
        if not could.any():
            return None
        sure = could & (at_least(hits, rows, doubt=DOUBT / could.sum()) >= accuracy)
        return self.points[np.flatnonzero(sure)[-1]] if sure.any() else None


def abstain(probability: ArrayLike, right: ArrayLike) -> Abstaining:
    """Coverage against accuracy for all thresholds.

    probability  of each row's answer, 0 to 1; nan: no answer, and never one.
    right        whether each answer is right.
    """
    probabilities = np.asarray(probability, dtype=np.float64)
    hits = np.asarray(right, dtype=np.float64)
    assert len(probabilities) == len(hits) > 0
    probabilities = np.where(np.isnan(probabilities), -np.inf, probabilities)
    levels, which, counts = np.unique(-probabilities, return_inverse=True, return_counts=True)
    num_hits = np.bincount(which, hits)
    # Rows of one probability are answered together: in what order they come is nobody's merit.
    risk = 1 - (num_hits / counts)[np.sort(which)]
    return Abstaining(
        num_rows=len(hits),
        points=_points(-levels, np.cumsum(counts), np.cumsum(num_hits)),
        area=_area(risk),
        best_area=_area(np.sort(1 - hits)),
    )


def _points(thresholds: Array, rows: NDArray[np.int64], hits: Array) -> tuple[Point, ...]:
    total = int(rows[-1])
    wished = np.arange(1, NUM_STEPS + 1) / NUM_STEPS * total
    # Rounding must not make a step of 100 % ask for more rows than there are.
    chosen = np.unique(np.searchsorted(rows, np.floor(wished + 1e-9)))
    return tuple(
        Point(
            threshold=float(thresholds[i]),
            num_rows=int(rows[i]),
            coverage=float(rows[i] / total),
            accuracy=float(hits[i] / rows[i]),
            interval=share(int(hits[i]), int(rows[i])),
        )
        for i in chosen
        if np.isfinite(thresholds[i])
    )


def _area(risk: Array) -> float:
    """The mean, over the rows answered, of the share of wrong answers so far."""
    return float(np.mean(np.cumsum(risk) / np.arange(1, len(risk) + 1)))
