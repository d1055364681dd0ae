"""Linear heads on given features, and what they say of rows they have not learnt from.

Features are one row of numbers a text, dense (a base model's embeddings) or sparse (TF-IDF); heads
are multinomial logistic regressions on them. Same rows, same order, same answers.
Knows: scikit-learn. Does not know: texts, where features come from, what the answers are for.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tunesmith.metrics.classification import Array

Features: TypeAlias = Any
"""A numpy array or a scipy sparse matrix, [rows, width]."""
STRENGTH = 10.0
"""Inverse L2 penalty, for features of length 1: of 3, 10, 30 and 100 the best, on average, in test
accuracy on BANKING77 and HWU64 embeddings, and as good as any in finding wrong labels."""
ITERATIONS = 100
NUM_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a classifier says of some rows: `probabilities` [rows, labels], labels by alphabet."""

    labels: tuple[str, ...]
    probabilities: Array

    @property
    def predicted(self) -> list[str]:
        """The likeliest label of each row; of equals the first in the alphabet."""
        return [self.labels[i] for i in self.probabilities.argmax(1)]


def answer(
    train: Features, labels: Sequence[str], test: Features, *, balanced: bool = False
) -> Answers:
    """A head is fitted on `train`, at least one row, and asked about `test`.

    balanced  every label weighs alike, whatever its number of rows.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    names, rows = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    if len(names) == 1:
        ones = np.ones((np.shape(test)[0], 1))
        return Answers(labels=(str(names[0]),), probabilities=ones)
    weights = "balanced" if balanced else None
    head = LogisticRegression(C=STRENGTH, max_iter=ITERATIONS, class_weight=weights)
    # The matrices are small: more threads wait for each other longer than they compute, and sum up
    # in another order on every machine.
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        # A hundred rounds come near enough to the optimum; and labels may have a row or two each.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes is greater")
        head.fit(_single(train), rows)
        table = head.predict_proba(_single(test)).astype(np.float64)
    return Answers(labels=tuple(map(str, names)), probabilities=table)


def out_of_fold(
    features: Features,
    labels: Sequence[str],
    *,
    folds: int = NUM_FOLDS,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> Answers:
    """What heads say of each row that have learnt from the other folds only.

    groups  rows with the same value stay in one fold, such as near-duplicates.

    The probabilities of a row are nan where nothing else has its label, so that nobody can judge.
    """
    names, rows = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    table = np.full((len(rows), len(names)), np.nan)
    which = deal(rows, folds=folds, seed=seed, groups=groups)
    for fold in range(folds):
        held = np.flatnonzero(which == fold)
        fitting = np.flatnonzero(which != fold)
        if not len(held) or not len(fitting):
            continue
        known = np.unique(rows[fitting])
        found = answer(features[fitting], [labels[i] for i in fitting.tolist()], features[held])
        table[held] = 0.0
        table[np.ix_(held, known)] = found.probabilities
        table[held[~np.isin(rows[held], known)]] = np.nan
    return Answers(labels=tuple(map(str, names)), probabilities=table)


def deal(
    rows: NDArray[np.int64],
    *,
    folds: int = NUM_FOLDS,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> NDArray[np.int64]:
    """A fold for each row: labels spread evenly, groups together.

    rows  the label of each row, as a number.

    Labels are dealt out like cards, one label after the other, so each one with two rows (or
    groups) is in two folds at least, and no fold has many rows more than another.
    """
    number: dict[Hashable, int] = {}
    keys = range(len(rows)) if groups is None else groups
    unit = np.array([number.setdefault(key, len(number)) for key in keys], dtype=np.int64)
    assert len(unit) == len(rows)
    _, first, sizes = np.unique(unit, return_index=True, return_counts=True)
    shuffle = np.random.default_rng(seed).random(len(first))
    fold = np.empty(len(first), dtype=np.int64)
    # Large groups first: the small ones even out what they leave uneven.
    fold[np.lexsort((shuffle, -sizes, rows[first]))] = np.arange(len(first)) % folds
    return fold[unit]


def _single(features: Features) -> Features:
    """In single precision, which is exact enough and twice as fast."""
    return features.astype(np.float32) if features.dtype != np.float32 else features
