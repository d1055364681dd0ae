"""How sure a score is: 95 % bootstrap intervals.

Rows are drawn again with replacement many times and scored each time. Rows in the same cell of
the confusion table are interchangeable, so it is enough to draw how many rows each filled cell
gets: a thousand resamples of 3,080 rows in 77 classes take a fraction of a second.
Does not know: what was scored, or why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.metrics.classification import Array, ClassificationScores, rates

Interval = tuple[float, float]
TAIL = 0.025  # left out at either end: 95 % lie between
# Cells drawn at a time: bounds the memory, about 32 MB an array.
CHUNK = 4_000_000


def bootstrap(
    scores: ClassificationScores, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """95 % percentile intervals of accuracy, precision, recall and F1 (macro and weighted).

    Row weights are kept: each row counts as much as the rows of its cell do on average.

    When all answers are right every resample is too, and the bootstrap would claim certainty. The
    low ends are then the exact bound of that case, 0.025 ** (1 / rows): 0.83 for 20 rows. When all
    are wrong, the same holds for the high ends.
    """
    gold, answer = np.nonzero(scores.counts)
    counts = scores.counts[gold, answer]
    row_weight = scores.weights[gold, answer] / counts
    num_labels = len(scores.labels)
    # Indicator matrices that add cells up to labels; the last answer, "(other)", is no label.
    of_gold = _indicator(gold, num_labels)
    of_answer = _indicator(answer, num_labels + 1)[:, :-1]
    of_hit = of_gold * (gold == answer)[:, None]
    found: dict[str, list[Array]] = {}
    for drawn in _draws(counts, resamples, seed):
        weight = drawn * row_weight
        averages, _ = rates(weight @ of_hit, weight @ of_gold, weight @ of_answer)
        for name, values in averages.items():
            found.setdefault(name, []).append(values)
    intervals = {name: _middle(np.concatenate(values)) for name, values in found.items()}
    bound = TAIL ** (1 / scores.num_examples)
    hits = int(counts[gold == answer].sum())
    if hits == scores.num_examples:
        return {name: (min(low, bound), high) for name, (low, high) in intervals.items()}
    if hits == 0:
        return {name: (low, max(high, 1 - bound)) for name, (low, high) in intervals.items()}
    return intervals


def accuracy_gain(
    gold: Sequence[str],
    predicted: Sequence[str | None],
    rival: Sequence[str | None],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, Interval]:
    """Accuracy of `predicted` minus that of `rival` on the same rows, with its 95 % interval.

    Rows are drawn in pairs, so rows that both get right or wrong add no doubt.
    """
    assert len(gold) == len(predicted) == len(rival) > 0
    first = np.array([p == g for p, g in zip(predicted, gold, strict=True)], dtype=np.int64)
    second = np.array([r == g for r, g in zip(rival, gold, strict=True)], dtype=np.int64)
    difference = first - second
    counts = np.array([np.sum(difference == d) for d in (-1, 0, 1)])
    drawn = np.concatenate(list(_draws(counts, resamples, seed)))
    return float(difference.mean()), _middle((drawn[:, 2] - drawn[:, 0]) / len(gold))


def mean(values: Sequence[float], *, resamples: int = 1000, seed: int = 0) -> Interval:
    """95 % percentile interval of the mean of scores from 0 to 1, one a row.

    When all are 1, or all 0, it ends at the exact bound of that case, as in `bootstrap`.
    """
    low, high = _middle(_means(values, resamples, seed))
    bound = TAIL ** (1 / len(values))
    if min(values) == 1:
        return min(low, bound), high
    if max(values) == 0:
        return low, max(high, 1 - bound)
    return low, high


def mean_gain(
    ours: Sequence[float], theirs: Sequence[float], *, resamples: int = 1000, seed: int = 0
) -> tuple[float, Interval]:
    """Mean of `ours` minus that of `theirs` on the same rows, with its 95 % interval.

    Rows are drawn in pairs, as in `accuracy_gain`.
    """
    gains = np.array(ours, dtype=float) - np.array(theirs, dtype=float)
    return float(gains.mean()), _middle(_means(gains, resamples, seed))


def _means(values: Sequence[float] | Array, resamples: int, seed: int) -> Array:
    """The mean of each resample. Equal values are one cell: most scores are 0 or 1."""
    assert len(values) > 0
    cells, counts = np.unique(np.asarray(values, dtype=float), return_counts=True)
    drawn = np.concatenate(list(_draws(counts.astype(np.int64), resamples, seed)))
    means: Array = drawn @ cells / len(values)
    return means


def _draws(counts: NDArray[np.int64], resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Counts of resampled rows per cell, [resamples, cells], a chunk of resamples at a time."""
    generator = np.random.default_rng(seed)
    num_rows = int(counts.sum())
    step = max(1, CHUNK // len(counts))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        yield generator.multinomial(num_rows, counts / num_rows, size=size)


def _middle(values: Array) -> Interval:
    low, high = np.quantile(values, (TAIL, 1 - TAIL))
    return float(low), float(high)


def _indicator(which: NDArray[np.int64], size: int) -> Array:
    return np.eye(size)[which]
