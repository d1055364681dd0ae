"""How sure a score is: 95 % intervals, by bootstrap and for shares of rows exactly.

Bootstrap: rows are drawn again with replacement many times and scored each time. Rows in the same
cell of the confusion table are interchangeable, so it is enough to draw how many rows each filled
cell gets: a thousand resamples of 3,080 rows in 77 classes take a fraction of a second.
Does not know: what was scored, or why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.metrics.classification import Array, ClassificationScores, rates

Interval = tuple[float, float]
TAIL = 0.025  # left out at either end: 95 % lie between
NORMAL = 1.959964  # the normal distribution's quantile of 1 - TAIL
# Cells drawn at a time: bounds the memory, about 32 MB an array.
CHUNK = 4_000_000


def bootstrap(
    scores: ClassificationScores, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """95 % percentile intervals of accuracy, balanced accuracy, precision, recall and F1.

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
    num_rows = scores.num_examples
    averages, _ = rates(*(counts * row_weight @ of for of in (of_hit, of_gold, of_answer)))
    intervals = {
        name: middle(np.concatenate(values), num_rows, float(averages[name]))
        for name, values in found.items()
    }
    bound = TAIL ** (1 / num_rows)
    hits = int(counts[gold == answer].sum())
    if hits == num_rows:
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
    return float(difference.mean()), middle((drawn[:, 2] - drawn[:, 0]) / len(gold), len(gold))


def gains(
    gold: Sequence[str],
    predicted: Sequence[str | None],
    rival: Sequence[str | None],
    *,
    labels: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, tuple[float, Interval]]:
    """The same for all averages of `rates`, by name; at least one row, labels all known ones."""
    place: dict[str | None, int] = {label: i for i, label in enumerate(labels)}
    other = len(place)
    rows = [
        (place[g], place.get(p, other), place.get(r, other))
        for g, p, r in zip(gold, predicted, rival, strict=True)
    ]
    cells, counts = np.unique(np.array(rows), axis=0, return_counts=True)
    of_gold = _indicator(cells[:, 0], other)
    sides = [
        (of_gold * (cells[:, 0] == answer)[:, None], _indicator(answer, other + 1)[:, :-1])
        for answer in (cells[:, 1], cells[:, 2])
    ]

    def difference(drawn: Array) -> dict[str, Array]:
        ours, theirs = (
            rates(drawn @ of_hit, drawn @ of_gold, drawn @ of_answer)[0]
            for of_hit, of_answer in sides
        )
        return {name: ours[name] - theirs[name] for name in ours}

    parts = [difference(d.astype(np.float64)) for d in _draws(counts, resamples, seed)]
    observed = difference(counts.astype(np.float64))
    return {
        name: (
            float(value),
            middle(np.concatenate([part[name] for part in parts]), len(gold), float(value)),
        )
        for name, value in observed.items()
    }


def mean(values: Sequence[float], *, resamples: int = 1000, seed: int = 0) -> Interval:
    """95 % percentile interval of the mean of scores from 0 to 1, one a row.

    When all are 1, or all 0, it ends at the exact bound of that case, as in `bootstrap`.
    """
    low, high = middle(resampled_means(values, resamples, seed), len(values))
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
    difference = np.array(ours, dtype=float) - np.array(theirs, dtype=float)
    means = resampled_means(difference, resamples, seed)
    return float(difference.mean()), middle(means, len(difference))


def share(hits: int, num_rows: int) -> Interval:
    """95 % interval of a share of rows, such as the accuracy of a few.

    Source: Wilson 1927; unlike the bootstrap it holds for few rows and for shares of 0 and 1. No
    rows: 0 to 1.
    """
    if num_rows == 0:
        return 0.0, 1.0
    observed, z = hits / num_rows, NORMAL
    centre = observed + z * z / (2 * num_rows)
    half = z * math.sqrt(observed * (1 - observed) / num_rows + (z / (2 * num_rows)) ** 2)
    scale = 1 + z * z / num_rows
    # Rounding must not part an end from a share of 0 or 1.
    low = (centre - half) / scale if hits else 0.0
    return low, (centre + half) / scale if hits < num_rows else 1.0


def at_least(hits: NDArray[np.int64], num_rows: NDArray[np.int64], *, doubt: float) -> Array:
    """The shares above which the true ones lie, each but for a risk of `doubt`.

    Source: Clopper & Pearson 1934, one-sided, exact. No hits: 0.
    """
    from scipy.special import betaincinv

    low: Array = betaincinv(np.maximum(hits, 1), num_rows - hits + 1, doubt)
    return np.where(hits > 0, low, 0.0)


def resampled_means(values: Sequence[float] | Array, resamples: int, seed: int) -> Array:
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


def middle(values: Array, num_rows: int, observed: float | None = None) -> Interval:
    """What 95 % of the scores of resamples lie between.

    Resamples of few rows differ too little, since their spread is that of the rows at hand and not
    of those they stand for. So a little less is left out at either end: for 10 rows 0.9 % and not
    2.5 %. Source: the expanded percentile interval, Hesterberg 2015.

    observed  the score of the rows themselves. F1 of labels with few rows is lower in resamples
              than in the rows, and so lower in the rows than in truth; the ends are moved back by
              that. Source: the bias-corrected percentile interval, Efron 1987.
    """
    from scipy.special import ndtr, ndtri

    tails = np.array([expanded(TAIL, num_rows), 1 - expanded(TAIL, num_rows)])
    if observed is not None:
        below = (np.sum(values < observed) + np.sum(values == observed) / 2) / len(values)
        bias = ndtri(np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values)))
        tails = ndtr(2 * bias + ndtri(tails))
    low, high = np.quantile(values, tails)
    return float(low), float(high)


def expanded(tail: float, num_rows: int) -> float:
    """The tail of a bootstrap distribution that stands for the true one of that size."""
    from scipy.special import ndtr, stdtrit

    if num_rows < 2:
        return tail
    wider = math.sqrt(num_rows / (num_rows - 1)) * float(stdtrit(num_rows - 1, tail))
    return float(ndtr(wider))


def unexpanded(tail: float, num_rows: int) -> float:
    """The true tail that a tail of a bootstrap distribution stands for: undoes `expanded`."""
    from scipy.special import ndtri, stdtr

    if num_rows < 2:
        return tail
    narrower = math.sqrt((num_rows - 1) / num_rows) * float(ndtri(tail))
    return float(stdtr(num_rows - 1, narrower))


def _indicator(which: NDArray[np.int64], size: int) -> Array:
    return np.eye(size)[which]
