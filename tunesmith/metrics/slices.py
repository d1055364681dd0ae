"""Scores by slice of the rows: short and long texts, a language, a source, any column.

Slices are looked at many at a time, and some look bad by chance alone, so a slice is flagged only
when its accuracy differs from that of all other rows by more than chance explains among them all.
Knows: right labels, answers, a value or a number a row.
Does not know: texts, what the slices mean.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tunesmith.metrics.classification import Array, score
from tunesmith.metrics.intervals import Interval, share
from tunesmith.metrics.significance import LEVEL, Verdict

Mask = NDArray[np.bool_]

FEWEST_ROWS = 10
"""Of a slice: values with fewer rows are taken together."""
MOST_VALUES = 30
"""Slices of one column: of more values, the most frequent ones; the rest is taken together."""
RARE = "all rarer values"


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The scores of some of the rows.

    accuracy  with its 95 % interval; rest_accuracy: of all other rows, nan where there are none.
    f1_macro  over the labels that occur in the slice.
    p_value   of the difference to the rest (Fisher's exact test), corrected for the number of
              slices (Holm 1979).
    verdict   whether the slice is better or worse than the rest, by `p_value`.
    """

    name: str
    num_rows: int
    accuracy: float
    interval: Interval
    f1_macro: float
    rest_accuracy: float
    p_value: float
    verdict: Verdict


def by_slice(
    gold: Sequence[str], predicted: Sequence[str | None], masks: Mapping[str, Mask]
) -> tuple[Slice, ...]:
    """The scores of each slice that has rows, in the order given.

    masks  by name, which of the rows belong to the slice; slices may overlap. Give all slices at
           once: the correction must know how many were looked at.
    """
    right = np.array([p == g for p, g in zip(predicted, gold, strict=True)])
    filled = {name: mask for name, mask in masks.items() if mask.any()}
    p_values = holm(np.array([_fisher(right, mask) for mask in filled.values()]))
    return tuple(
        _slice(name, gold, predicted, mask, p_value=float(p_value))
        for (name, mask), p_value in zip(filled.items(), p_values, strict=True)
    )


def _slice(
    name: str,
    gold: Sequence[str],
    predicted: Sequence[str | None],
    mask: Mask,
    *,
    p_value: float,
) -> Slice:
    right = [p == g for p, g in zip(predicted, gold, strict=True)]
    inside, outside = (list(compress(right, rows)) for rows in (mask, ~mask))
    rows = list(compress(gold, mask))
    scores = score(rows, list(compress(predicted, mask)), labels=sorted(set(rows)))
    accuracy, rest = fmean(inside), fmean(outside) if outside else math.nan
    better: Verdict = "better" if accuracy > rest else "worse"
    return Slice(
        name=name,
        num_rows=len(inside),
        accuracy=accuracy,
        interval=share(sum(inside), len(inside)),
        f1_macro=scores.metrics["f1_macro"],
        rest_accuracy=rest,
        p_value=p_value,
        verdict=better if p_value < LEVEL else "undecided",
    )


def _fisher(right: Mask, mask: Mask) -> float:
    """How often chance alone parts right answers so unevenly into the slice and the rest."""
    from scipy.stats import fisher_exact

    table = [[int(np.sum(right & m)), int(np.sum(~right & m))] for m in (mask, ~mask)]
    return float(fisher_exact(table).pvalue)


def value_slices(column: str, values: Sequence[object]) -> dict[str, Mask]:
    """`by_slice`'s masks of a column: one a value, the most frequent first.

    Values of fewer than 10 rows, and those after the thirtieth, are one slice. Empty where all rows
    have the same value: there is nothing to compare.
    """
    counts = Counter(map(str, values))
    ranked = sorted(counts, key=lambda value: (-counts[value], value))
    kept = [value for value in ranked if counts[value] >= FEWEST_ROWS][:MOST_VALUES]
    texts = np.array([str(value) for value in values], dtype=object)
    masks = {f"{column}: {value}": np.asarray(texts == value) for value in kept}
    if len(kept) < len(ranked):
        masks[f"{column}: {RARE}"] = ~np.isin(texts, kept)
    return masks if len(masks) > 1 else {}


def length_slices(lengths: ArrayLike, *, parts: int = 4) -> dict[str, Mask]:
    """`by_slice`'s masks of texts by their numbers of characters: parts of about as many rows each,
    the shortest texts first; fewer parts where many texts have the same length."""
    numbers = np.asarray(lengths, dtype=np.int64)
    cuts = np.quantile(numbers, np.arange(1, parts) / parts, method="inverted_cdf")
    edges = [-1, *np.unique(cuts).tolist(), int(numbers.max())]
    masks = {}
    for low, high in zip(edges, edges[1:], strict=False):
        mask = (numbers > low) & (numbers <= high)
        if mask.any():
            masks[f"{max(low + 1, int(numbers.min())):,} to {high:,} characters"] = mask
    return masks if len(masks) > 1 else {}


def holm(p_values: Array) -> Array:
    """p-values corrected for their number, so that one false alarm in 20 tables is the most.

    Source: Holm 1979, step-down.
    """
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected
