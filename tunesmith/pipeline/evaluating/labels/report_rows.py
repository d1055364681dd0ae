"""The rows and labels that a report of labels tells of one by one.

Knows: answers, rivals, learning curves. Does not know: pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.metrics.intervals import Interval
from tunesmith.metrics.learning_curve import LearningCurve
from tunesmith.pipeline.evaluating.labels.advice import grown, neediest
from tunesmith.pipeline.evaluating.labels.asked import Asked
from tunesmith.pipeline.evaluating.labels.teaching import NearRow
from tunesmith.pipeline.results import Rival

MOST_FLIPPED = 50


@dataclass(frozen=True, kw_only=True)
class AnsweredRow:
    """A held-out row and its answer; probabilities 0 to 1, None where unknown."""

    row: int = 0
    """Its number, from 0."""
    text: str
    gold: str
    predicted: str | None
    probability: float | None = None
    gold_probability: float | None = None
    line: int | None = None
    nearest: tuple[NearRow, ...] = ()
    """The training rows that are most like it."""


@dataclass(frozen=True, kw_only=True)
class Flipped:
    """Rows on which the tuned model and another one differ in being right, the first of them.

    num_mended  rows that this model answers rightly and the other one wrongly; broken: vice versa.
    """

    title: str
    num_mended: int
    num_broken: int
    mended: tuple[AnsweredRow, ...]
    broken: tuple[AnsweredRow, ...]


@dataclass(frozen=True, kw_only=True)
class Needy:
    """A label, its recall now, and what twice as many training rows are expected to add."""

    label: str
    num_rows: int
    recall: float
    gain: float
    interval: Interval


def mistakes(asked: Asked, lines: Sequence[int]) -> list[AnsweredRow]:
    """The rows answered wrongly, those first whose right label got the least probability."""
    probabilities, of_gold = asked.probabilities, asked.gold_probabilities
    rows = [
        AnsweredRow(
            row=i,
            text=asked.texts[i],
            gold=gold,
            predicted=label,
            probability=probabilities[i],
            gold_probability=of_gold[i],
            line=lines[i],
        )
        for i, (gold, label) in enumerate(zip(asked.gold, asked.predicted, strict=True))
        if gold != label
    ]
    return sorted(rows, key=lambda row: row.gold_probability or 0.0)


def flipped(other: Rival, asked: Asked, lines: Sequence[int]) -> Flipped:
    """The rows on which the two differ in being right."""
    found = other.flips
    assert found

    def rows(numbers: Sequence[int]) -> tuple[AnsweredRow, ...]:
        return tuple(
            AnsweredRow(
                row=i,
                text=asked.texts[i],
                gold=asked.gold[i],
                predicted=asked.predicted[i],
                line=lines[i],
            )
            for i in numbers[:MOST_FLIPPED]
        )

    return Flipped(
        title=other.title,
        num_mended=len(found.mended),
        num_broken=len(found.broken),
        mended=rows(found.mended),
        broken=rows(found.broken),
    )


def needy(curve: LearningCurve, errors: Mapping[str, float]) -> tuple[Needy, ...]:
    """The labels that gain most from more rows first; errors: share of wrong answers by label."""
    out = []
    for growth in neediest(curve, dict(errors)):
        error = errors.get(growth.label, 0.0)
        gain, interval = grown(growth, error)
        out.append(
            Needy(
                label=growth.label,
                num_rows=growth.num_rows,
                recall=1 - error,
                gain=gain,
                interval=interval,
            )
        )
    return tuple(out)
