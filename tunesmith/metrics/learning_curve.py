"""What more rows would bring, by label: recall over the number of training rows.

Heads learn from a quarter, a half, three quarters and all of the rows, and answer rows they have
not learnt from. Errors mostly fall as a power of the number of rows, error = a · rows ** -b
(Hestness et al. 2017), so b says what doubling them would bring; a little less, since the power
itself falls with the rows. One label has too few rows to know its own b well, so it is drawn
towards that of all labels, the more the less is known (random effects; DerSimonian and Laird 1986).
Knows: features and labels. Does not know: texts, the tuned model; its own errors are other ones,
and fall by about the same share (see `Growth.gain_from`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.metrics.classification import Array
from tunesmith.metrics.heads import NUM_FOLDS, Features, answer, deal
from tunesmith.metrics.intervals import Interval, middle

SHARES = (0.25, 0.5, 0.75, 1.0)
RESAMPLES = 300
STEEPEST = 1.0
"""Largest b: errors that halve with each doubling. Steeper ones are seen at the very start only."""
FLATTENING, FLATTENING_DOUBT = 0.75, 0.23
"""What the next doubling brings, as a share of b so far: mean and standard deviation, measured at
450 to 4,000 rows of HWU64 and BANKING77, where the next doubling was at hand."""
Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How one label, or all together, get better with more rows.

    label         empty: all labels together.
    num_rows      training rows there are.
    sizes         training rows the heads learnt from, at each share: a mean over the folds.
    scores        recall of the label (of all together: accuracy) at each share.
    exponent      b of the next doubling, 0 or more.
    gain          what twice as many rows would add to the score of such a head, with its 95 %
                  interval. It allows for chance in the rows and for curves that flatten, not for
                  new rows that are unlike these.
    """

    label: str
    num_rows: int
    sizes: tuple[float, ...]
    scores: tuple[float, ...]
    exponent: float
    gain: float
    interval: Interval

    def gain_from(self, error: float, *, times: float = 2.0) -> float:
        """What `times` as many rows would add to a model whose error is this one now."""
        return error * (1 - float(times**-self.exponent))


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """What `learning_curve` found; `labels`: those that gain most from more rows first."""

    overall: Growth
    labels: tuple[Growth, ...]


def learning_curve(
    features: Features,
    labels: Sequence[str],
    *,
    folds: int = NUM_FOLDS,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> LearningCurve:
    """Refit heads on parts of the rows, the smaller ones within the larger ones.

    groups  rows with the same value are learnt from or asked about, never both.
    """
    names, rows = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    which = deal(rows, folds=folds, seed=seed, groups=groups)
    hits = np.zeros((len(rows), len(SHARES)), dtype=np.int64)
    sizes = np.zeros((len(names), len(SHARES)))
    for fold in range(folds):
        held, fitting = np.flatnonzero(which == fold), np.flatnonzero(which != fold)
        if not len(held) or not len(fitting):
            continue
        for i, part in enumerate(_parts(rows, fitting, seed)):
            found = answer(features[part], [labels[j] for j in part.tolist()], features[held])
            predicted = np.array(found.predicted)
            hits[held, i] = predicted == names[rows[held]]
            sizes[:, i] += np.bincount(rows[part], minlength=len(names)) / folds
    return grow(rows, hits, names=tuple(map(str, names)), sizes=sizes, seed=seed)


def _parts(rows: Rows, fitting: Rows, seed: int) -> list[Rows]:
    """A share of each label's rows, one row at least, for each of SHARES."""
    shuffled = np.random.default_rng(seed).permutation(fitting)
    order = shuffled[np.argsort(rows[shuffled], kind="stable")]
    counts = np.bincount(rows[order])
    # How far on in its label a row is: 0 for the first, under 1 for the last.
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return [np.sort(order[place < share * counts[rows[order]]]) for share in SHARES]


def grow(
    rows: Rows, hits: Rows, *, names: tuple[str, ...], sizes: Array, seed: int = 0
) -> LearningCurve:
    """The curves of answers that are already there.

    rows   [rows] the label of each one; hits: [rows, shares] 1 where it was answered rightly.
    sizes  [labels, shares] rows of each label that were learnt from.
    """
    generator = np.random.default_rng(seed)
    wrong, total = _drawn(rows, hits, len(names), generator)
    sizes = np.vstack([sizes, sizes.sum(0)])
    flat = np.append(FLATTENING, generator.normal(FLATTENING, FLATTENING_DOUBT, RESAMPLES))
    steep = _exponents(wrong, total, sizes) * np.maximum(flat, 0)[:, None]
    # The heads learnt from a part of the rows; with all of them the error is a little lower.
    part = sizes[:, -1] / np.maximum(total[0], 1)
    error = (wrong[..., -1] + 0.5) / (total + 1) * np.maximum(part, 1e-3) ** steep
    gains = error * (1 - 2.0**-steep)
    found = [
        Growth(
            label=label,
            num_rows=int(total[0, k]),
            sizes=tuple(sizes[k].tolist()),
            scores=tuple((1 - wrong[0, k] / total[0, k]).tolist()),
            exponent=float(steep[0, k]),
            gain=float(gains[0, k]),
            interval=middle(gains[1:, k], int(total[0, k])),
        )
        for k, label in enumerate([*names, ""])
        if total[0, k]
    ]
    ranked = sorted(found[:-1], key=lambda growth: (-growth.gain, growth.label))
    return LearningCurve(overall=found[-1], labels=tuple(ranked))


def _drawn(
    rows: Rows, hits: Rows, num_labels: int, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Rows answered wrongly [1 + resamples, labels + 1, shares], and rows [1 + resamples, labels +
    1]: of the rows themselves first, then of resamples; by label, and last of all together."""
    cells, counts = np.unique(np.column_stack([rows, hits]), axis=0, return_counts=True)
    drawn = generator.multinomial(len(rows), counts / len(rows), RESAMPLES)
    weight = np.vstack([counts, drawn]).astype(np.float64)
    of_label = np.column_stack([np.eye(num_labels)[cells[:, 0]], np.ones(len(cells))])
    misses = 1.0 - cells[:, 1:]
    wrong = np.stack([(weight * miss) @ of_label for miss in misses.T], axis=-1)
    return wrong, weight @ of_label


def _exponents(wrong: Array, total: Array, sizes: Array) -> Array:
    """b of each label, and last of all together: [resamples, labels + 1]."""
    own, precision = _slope(wrong, total, sizes)
    overall = own[:, -1:]
    own, precision = own[:, :-1], precision[:, :-1]
    weight = np.maximum(precision.sum(-1), 1e-12)
    centre = (precision * own).sum(-1) / weight
    # How much labels differ beyond chance, by the method of moments.
    beyond = (precision * (own - centre[:, None]) ** 2).sum(-1) - (own.shape[-1] - 1)
    spread = np.maximum(beyond, 0) / np.maximum(weight - (precision**2).sum(-1) / weight, 1e-12)
    trust = (precision * spread[:, None]) / (1 + precision * spread[:, None])
    steep = np.hstack([overall + trust * (own - overall), overall])
    clipped: Array = np.clip(steep, 0, STEEPEST)
    return clipped


def _slope(wrong: Array, total: Array, sizes: Array) -> tuple[Array, Array]:
    """-slope of log(error) over log(rows) by weighted least squares, and its precision (1 /
    variance), over the last axis. The logarithm of a count varies by about one over the count."""
    errors = (wrong + 0.5) / (total[..., None] + 1)
    weight = wrong + 0.5
    x, y = np.log(np.maximum(sizes, 0.5)), np.log(errors)
    norm = weight.sum(-1, keepdims=True)
    x = x - (weight * x).sum(-1, keepdims=True) / norm
    y = y - (weight * y).sum(-1, keepdims=True) / norm
    precision = (weight * x * x).sum(-1)
    slope = (weight * x * y).sum(-1) / np.maximum(precision, 1e-12)
    return -slope, precision
