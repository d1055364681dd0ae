"""Scores of a classifier: accuracy, precision, recall, F1, confusion, log loss, Brier, calibration.

Everything comes from one table of counts: right label by given answer. An answer that is no known
label, or no answer at all (None), is wrong and falls into the last column, "(other)".
Knows: labels, answers, probabilities, row weights.
Does not know: texts, models, files, how sure the scores are (that is `intervals`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import DataError

OTHER = "(other)"
NUM_BINS = 10

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One label's scores, 0 to 1; `support` counts the rows whose right label it is."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Rows whose answer had a probability from `low` up to `high`.

    confidence  their mean probability; accuracy: the share of them answered rightly.
    """

    low: float
    high: float
    num_rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class ClassificationScores:
    """What `score` found.

    metrics      accuracy, balanced_accuracy, {precision,recall,f1}_{macro,micro,weighted}, and
                 where probabilities are known log_loss (nats) and expected_calibration_error. The
                 Brier score is the mean of `squared_error`.
    per_class    one entry a label, in the order of `labels`.
    calibration  the non-empty bins, lowest first; empty when no probabilities are known.
    counts       rows by right label (K) and answer (K + 1, the last one "(other)").
    weights      the same table with row weights added up instead of rows.
    """

    num_examples: int
    labels: tuple[str, ...]
    metrics: dict[str, float]
    per_class: tuple[ClassScore, ...]
    calibration: tuple[Bin, ...]
    counts: NDArray[np.int64] = field(repr=False, compare=False)
    weights: Array = field(repr=False, compare=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of `confusion`: the labels, and "(other)" if there is such."""
        return self.labels + ((OTHER,) if self.counts[:, -1].any() else ())

    @property
    def confusion(self) -> list[list[int]]:
        """Rows by right label (down) and answer (across), as plain lists."""
        return list(self.counts[:, : len(self.columns)].tolist())


def score(
    gold: Sequence[str],
    predicted: Sequence[str | None],
    *,
    labels: Sequence[str],
    weights: Sequence[float] | Array | None = None,
    gold_probabilities: Sequence[float] | Array | None = None,
    answer_probabilities: Sequence[float] | Array | None = None,
) -> ClassificationScores:
    """Score answers against right labels, row by row.

    labels                the K known labels, each once; every gold label must be among them.
    weights               how much each row counts, by default 1 (see `natural_weights` and
                          `balanced_weights`).
    gold_probabilities    probability given to the right label of each row.
    answer_probabilities  probability given to the answer of each row; nan: no answer.

    Macro averages run over the labels that occur, as right label or as answer, and balanced
    accuracy over those that are the right label of a row; a ratio of nothing to nothing is 0, as in
    scikit-learn.

    Raises: DataError when there are no rows, or a gold label is not among `labels`.
    """
    labels = tuple(labels)
    place = {label: i for i, label in enumerate(labels)}
    if not gold:
        raise DataError("There are no rows to score.", fix="Give at least one validation row.")
    if unknown := next((g for g in gold if g not in place), None):
        raise DataError(
            f"The right label {unknown!r} is not among the {len(labels)} known labels.",
            fix="Score with all labels that occur in the rows.",
        )
    assert len(gold) == len(predicted) and len(place) == len(labels)
    shape = (len(labels), len(labels) + 1)
    rows = np.array([place[g] for g in gold])
    answers = np.array([len(labels) if p is None else place.get(p, len(labels)) for p in predicted])
    cells = rows * shape[1] + answers
    weight = np.ones(len(gold)) if weights is None else np.asarray(weights, dtype=np.float64)
    counts = np.bincount(cells, minlength=math.prod(shape)).reshape(shape)
    weighed = np.bincount(cells, weight, math.prod(shape)).reshape(shape).astype(np.float64)
    averages, each = rates(np.diagonal(weighed), weighed.sum(1), weighed[:, :-1].sum(0))
    metrics = {name: float(value) for name, value in averages.items()}
    if gold_probabilities is not None:
        # The floor is scikit-learn's: the smallest step at 1.0.
        sure = np.clip(np.asarray(gold_probabilities), np.finfo(np.float64).eps, 1.0)
        sure, share = _in_own_order(sure, weight)
        metrics["log_loss"] = float(np.average(-np.log(sure), weights=share))
    bins: tuple[Bin, ...] = ()
    if answer_probabilities is not None:
        bins, metrics["expected_calibration_error"] = calibrate(
            np.asarray(answer_probabilities), rows == answers, weight
        )
    per_class = tuple(
        ClassScore(label=label, precision=float(p), recall=float(r), f1=float(f), support=int(n))
        for label, p, r, f, n in zip(labels, *each, counts.sum(1), strict=True)
    )
    return ClassificationScores(
        num_examples=len(gold), labels=labels, metrics=metrics, per_class=per_class,
        calibration=bins, counts=counts, weights=weighed,
    )  # fmt: skip


def rates(hits: Array, gold: Array, answered: Array) -> tuple[dict[str, Array], list[Array]]:
    """Averages by name, and [precision, recall, F1] per label.

    hits, gold, answered: weight of right answers, of rows and of answers per label, of any shape
    [..., K]; averages have shape [...], so a thousand resamples are scored at once.
    """
    per_label = {
        "precision": _ratio(hits, answered),
        "recall": _ratio(hits, gold),
        "f1": _ratio(2 * hits, gold + answered),
    }
    num_present = ((gold + answered) > 0).sum(-1)
    total, num_hits, num_answers = gold.sum(-1), hits.sum(-1), answered.sum(-1)
    averages = {
        "accuracy": _ratio(num_hits, total),
        "balanced_accuracy": _ratio(per_label["recall"].sum(-1), (gold > 0).sum(-1)),
        "precision_micro": _ratio(num_hits, num_answers),
        "recall_micro": _ratio(num_hits, total),
        "f1_micro": _ratio(2 * num_hits, total + num_answers),
    }
    for name, value in per_label.items():
        averages[f"{name}_macro"] = _ratio(value.sum(-1), num_present)
        averages[f"{name}_weighted"] = _ratio((value * gold).sum(-1), total)
    return averages, list(per_label.values())


def calibrate(
    probability: Array, right: NDArray[np.bool_], weights: Array | None = None
) -> tuple[tuple[Bin, ...], float]:
    """Reliability bins of equal width, and the expected calibration error: the mean distance
    between probability and accuracy over the bins' rows. Rows with nan, or of no weight, are left
    out."""
    weight = np.ones(len(right)) if weights is None else weights
    known = np.isfinite(probability) & (weight > 0)
    probability, right, weight = _in_own_order(probability[known], right[known], weight[known])
    which = np.clip((probability * NUM_BINS).astype(int), 0, NUM_BINS - 1)
    counts, total, stated, hits = (
        np.bincount(which, values, NUM_BINS)
        for values in (None, weight, weight * probability, weight * right)
    )
    bins = tuple(
        Bin(
            low=int(i) / NUM_BINS,
            high=(int(i) + 1) / NUM_BINS,
            num_rows=int(counts[i]),
            confidence=float(stated[i] / total[i]),
            accuracy=float(hits[i] / total[i]),
        )
        for i in np.flatnonzero(counts)
    )
    return bins, float(_ratio(np.abs(stated - hits).sum(), total.sum()))


def _in_own_order(*columns: NDArray[Any]) -> list[NDArray[Any]]:
    """The rows sorted by their values, so that sums are the same to the last digit however the rows
    came."""
    order = np.lexsort(columns)
    return [column[order] for column in columns]


def natural_weights(gold: Sequence[str], shares: Mapping[str, float]) -> Array:
    """Row weights that give every label its natural share: share / share among these rows.

    A label without a natural share weighs 0.
    """
    counts = Counter(gold)
    weight = {label: shares.get(label, 0.0) * len(gold) / n for label, n in counts.items()}
    return np.array([weight[label] for label in gold])


def balanced_weights(gold: Sequence[str]) -> Array:
    """Row weights that give every label that occurs the same share; their sum is the row count."""
    present = set(gold)
    return natural_weights(gold, {label: 1 / len(present) for label in present})


def probability(label: str, top: Mapping[str, float], *, num_labels: int) -> float:
    """Probability of `label` from the log-probabilities of the best labels.

    A label outside `top` gets an even part of what the best ones leave over; so a row without any
    answer gives 1 / num_labels.
    """
    if label in top:
        return min(1.0, math.exp(top[label]))
    rest = max(0.0, 1.0 - math.fsum(map(math.exp, top.values())))
    return rest / max(1, num_labels - len(top))


def squared_error(label: str, top: Mapping[str, float], *, num_labels: int) -> float:
    """Squared distance of the probabilities from the right answer, summed over the labels: 0 to 2.

    top  log-probabilities of the best labels; what they leave over is shared as in `probability`.

    The mean over rows is the Brier score (Brier 1950).
    """
    best = [min(1.0, math.exp(value)) for value in top.values()]
    num_others = max(0, num_labels - len(best))
    rest = max(0.0, 1.0 - math.fsum(best)) / max(1, num_others)
    of_label = probability(label, top, num_labels=num_labels)
    return math.fsum(p * p for p in best) + num_others * rest * rest - 2 * of_label + 1


def squared_errors(probabilities: Array, gold: NDArray[np.int64]) -> Array:
    """`squared_error` of each row of a table of probabilities [rows, labels]; gold: which label is
    right, by column."""
    of_gold = probabilities[np.arange(len(gold)), gold]
    errors: Array = np.square(probabilities).sum(1) - 2 * of_gold + 1
    return errors


def _ratio(part: Array, whole: Array) -> Array:
    """part / whole, 0 where `whole` is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) > 0)
