"""Rows whose given label is probably wrong: confident learning on out-of-fold probabilities.

A row is suspect when a classifier that has not learnt from it is sure of another label. How sure is
sure differs by label: as sure as it is on average of the rows that carry the label.
Source: Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels".
Knows: given labels and probabilities (see `heads.out_of_fold`).
Does not know: texts, features, what becomes of the suspects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tunesmith.metrics.classification import Array
from tunesmith.metrics.heads import Answers

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A row by number, from 0, its label, and the likeliest one (which may be the same).

    Probabilities are 0 to 1; nan where no other row has the label, so that nobody can judge.
    is_confident  counted as wrong in the confident joint: a matter of evidence, not only of rank.
    """

    row: int
    given: str
    likely: str
    given_probability: float
    likely_probability: float
    is_confident: bool


@dataclass(frozen=True, kw_only=True)
class LabelNoise:
    """What `suspects` found.

    ranked      all rows, the most suspect first; those that cannot be judged are last.
    noise       the estimated share of wrong labels, 0 to 1. It counts what the classifier gets
                wrong with confidence too, so it is rather too high where labels are hard to tell
                apart.
    thresholds  [K] how sure is sure, by label; nan where no row could be judged.
    joint       [K, K] estimated number of rows by given label (down) and true label (across).
    """

    labels: tuple[str, ...]
    ranked: tuple[Suspect, ...]
    noise: float
    thresholds: Array = field(repr=False, compare=False)
    joint: Array = field(repr=False, compare=False)

    @property
    def num_confident(self) -> int:
        """Rows that are wrong by evidence."""
        return sum(suspect.is_confident for suspect in self.ranked)


def suspects(answers: Answers, given: Sequence[str]) -> LabelNoise:
    """Rank rows by how probably their given label is wrong.

    answers  of a classifier that has not learnt from the row it answers to.
    given    the label of each row, all among `answers.labels`.
    """
    table = answers.probabilities
    place = {label: i for i, label in enumerate(answers.labels)}
    rows = np.array([place[label] for label in given], dtype=np.int64)
    assert len(rows) == len(table) > 0
    judged = np.flatnonzero(np.isfinite(table).all(axis=1))
    thresholds = _thresholds(table[judged], rows[judged])
    sure = np.full(len(rows), -1)
    sure[judged] = _sure(table[judged], thresholds)
    joint = _joint(rows, sure, len(place))
    of_given = table[np.arange(len(rows)), rows]
    likely = rows.copy()
    likely[judged] = table[judged].argmax(1)
    of_likely = table[np.arange(len(rows)), likely]
    # First how much less likely than the likeliest label the given one is; where it is the
    # likeliest itself, how unsure. Unjudged rows are nan, which sorts last.
    order = np.lexsort((of_given, of_given / of_likely))
    ranked = tuple(
        Suspect(
            row=i,
            given=answers.labels[rows[i]],
            likely=answers.labels[likely[i]],
            given_probability=float(of_given[i]),
            likely_probability=float(of_likely[i]),
            is_confident=bool(sure[i] >= 0 and sure[i] != rows[i]),
        )
        for i in order.tolist()
    )
    wrong = joint.sum() - np.trace(joint)
    return LabelNoise(
        labels=answers.labels, ranked=ranked, thresholds=thresholds, joint=joint,
        noise=float(wrong / len(rows)),
    )  # fmt: skip


def _thresholds(table: Array, rows: Rows) -> Array:
    """The mean probability of each label over the rows that carry it."""
    counts = np.bincount(rows, minlength=table.shape[1])
    total = np.bincount(rows, table[np.arange(len(rows)), rows], table.shape[1])
    mean: Array = np.divide(total, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return mean


def _sure(table: Array, thresholds: Array) -> Rows:
    """The likeliest of the labels whose threshold a row reaches; -1 where it reaches none."""
    # Rounding must not keep a row of the mean from its own mean.
    reached = np.where(table >= thresholds - 1e-9, table, -1.0)
    best = reached.argmax(1)
    return np.where(reached.max(1) >= 0, best, -1)


def _joint(rows: Rows, sure: Rows, num_labels: int) -> Array:
    """The confident joint, scaled so that each given label has as many rows as it really has."""
    counted = sure >= 0
    cells = rows[counted] * num_labels + sure[counted]
    joint = np.bincount(cells, minlength=num_labels**2).reshape(num_labels, num_labels)
    counts = np.bincount(rows, minlength=num_labels).astype(np.float64)
    total = joint.sum(1)
    # A label with no sure row at all is taken for right.
    joint = np.where((total > 0)[:, None], joint, np.eye(num_labels))
    scaled: Array = joint * (counts / joint.sum(1))[:, None]
    return scaled
