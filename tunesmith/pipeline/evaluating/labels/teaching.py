"""What the errors teach: labels that are probably wrong, labels that need more rows, what the model
had to go by, rows that leaked, and whether training and scored rows are alike.

All from cheap heads on the training rows as numbers: the tuned model has learned its training rows,
so it cannot judge them.
Knows: training rows, scored rows and answers. Does not know: what is advised, or pages.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tunesmith.config import PrepareConfig
from tunesmith.data.likeness import near
from tunesmith.metrics.baselines import tfidf
from tunesmith.metrics.heads import answer, out_of_fold
from tunesmith.metrics.intervals import Interval, accuracy_gain
from tunesmith.metrics.learning_curve import LearningCurve, learning_curve
from tunesmith.metrics.neighbours import nearest
from tunesmith.metrics.shift import Shift, shift
from tunesmith.metrics.suspects import LabelNoise, Suspect, suspects
from tunesmith.pipeline.evaluating.labels.asked import Asked
from tunesmith.pipeline.evaluating.labels.taught import Seen, Taught, alike, threshold
from tunesmith.pipeline.preparing import review_rows
from tunesmith.pipeline.rundir import write_atomic

NUM_NEAREST = 3
SHOWN_SUSPECTS = 15
LEAST_TRUSTED = 0.5
"""Share that a head must get right: what a worse one takes for wrong labels says little of them."""


@dataclass(frozen=True, kw_only=True)
class NearRow:
    """A training row near to a scored one; likeness: the cosine of their features."""

    text: str
    label: str
    line: int
    likeness: float


@dataclass(frozen=True, kw_only=True)
class SuspectRow:
    """A training row and the label that it probably should have."""

    text: str
    line: int
    given: str
    proposed: str
    given_probability: float
    proposed_probability: float


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Labels that are probably wrong.

    share  of the training rows, estimated; num_rows: those with evidence, one by one.
    relabelled, interval  what a head gains on the scored rows when it learns the proposed labels.
    """

    share: float
    num_rows: int
    num_judged: int
    relabelled: float
    interval: Interval
    worst: tuple[SuspectRow, ...]


@dataclass(frozen=True, kw_only=True)
class Leaks:
    """Scored rows that are nearly the same as a training row.

    lines, train_lines  of the pairs, in the user's table.
    accuracy  on these rows; rest_accuracy: on all others, None where there are none.
    """

    lines: tuple[int, ...]
    train_lines: tuple[int, ...]
    accuracy: float
    rest_accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """All that was found, None where there were too few rows to find it.

    by  what stood for the texts, in words.
    """

    by: str
    noise: Noise | None = None
    growth: LearningCurve | None = None
    shift: Shift | None = None
    leaks: Leaks | None = None


def learn(
    taught: Taught, asked: Asked, seen: Seen, lines: Sequence[int], config: PrepareConfig
) -> tuple[Lessons, LabelNoise | None]:
    """All of it; and how probably each training label is wrong.

    lines   of the scored rows; config: of prepare.
    """
    groups = alike([*taught.texts, *asked.texts], config)
    own = groups[: len(taught.texts)]
    found = noise = growth = None
    if len(set(taught.labels)) > 1:
        found = suspects(out_of_fold(seen.train, taught.labels, groups=own), taught.labels)
        noise = _noise(found, taught, asked, seen)
        growth = learning_curve(seen.train, taught.labels, groups=own)
        if growth and growth.overall.scores[-1] < LEAST_TRUSTED:
            noise = None
    lessons = Lessons(
        by=seen.by,
        noise=noise,
        growth=growth,
        shift=_shift(taught.texts, asked.texts, groups),
        leaks=leaks(taught, asked, lines, config),
    )
    return lessons, found


def near_rows(seen: Seen, taught: Taught, rows: Sequence[int]) -> dict[int, tuple[NearRow, ...]]:
    """Scored row by number → the training rows that are nearest to it, the nearest first."""
    if not rows:
        return {}
    found = nearest(seen.train, seen.scored[list(rows)], NUM_NEAREST)
    return {
        row: tuple(
            NearRow(
                text=taught.texts[j],
                label=taught.labels[j],
                line=taught.lines[j],
                likeness=float(likeness),
            )
            for j, likeness in zip(near_to, likenesses, strict=True)
        )
        for row, near_to, likenesses in zip(
            rows, found.rows.tolist(), found.similarity.tolist(), strict=True
        )
    }


def leaks(
    taught: Taught, asked: Asked, lines: Sequence[int], config: PrepareConfig
) -> Leaks | None:
    """Scored rows that share most words with a training row; None where there are none."""
    texts, others = (pl.Series(some, dtype=pl.String) for some in (asked.texts, taught.texts))
    match = near.matches(texts, others, threshold=threshold(config), seed=config.seed)
    leaked = match.is_not_null().arg_true().to_list()
    if not leaked:
        return None
    right = np.array([p == g for p, g in zip(asked.predicted, asked.gold, strict=True)])
    rest = np.delete(right, leaked)
    return Leaks(
        lines=tuple(lines[i] for i in leaked),
        train_lines=tuple(taught.lines[match[i]] for i in leaked),
        accuracy=float(right[leaked].mean()),
        rest_accuracy=float(rest.mean()) if len(rest) else None,
    )


def write_review(
    found: LabelNoise, taught: Taught, file: str, folder: Path, earlier: str | None
) -> str:
    """Write all training rows, the most suspect first, for people to decide on; the file's name.

    file     the table's name; earlier: the review that prepare has read, whose decisions are kept.
    Raises: StorageError.
    """
    order = [suspect.row for suspect in found.ranked]
    rows = pl.DataFrame(
        {
            "file": [file] * len(order),
            "line": pl.Series([taught.lines[i] for i in order], dtype=pl.Int64),
            "text": [taught.texts[i] for i in order],
            "label": [suspect.given for suspect in found.ranked],
            "proposed": [suspect.likely for suspect in found.ranked],
            "label_probability": [_rounded(s.given_probability) for s in found.ranked],
            "proposed_probability": [_rounded(s.likely_probability) for s in found.ranked],
            "is_probably_wrong": [suspect.is_confident for suspect in found.ranked],
        }
    )
    before = Path(earlier) if earlier else None
    name = review_rows.name_of(folder, before)
    listed = review_rows.ranked(rows, before)
    table = io.BytesIO()
    listed.write_csv(table)
    write_atomic(folder / name, table.getvalue())
    return name


def _noise(found: LabelNoise, taught: Taught, asked: Asked, seen: Seen) -> Noise:
    wrong = [suspect for suspect in found.ranked if suspect.is_confident]
    proposed = list(taught.labels)
    for suspect in wrong:
        proposed[suspect.row] = suspect.likely
    gain, interval = 0.0, (0.0, 0.0)
    if wrong:
        before = answer(seen.train, taught.labels, seen.scored).predicted
        after = answer(seen.train, proposed, seen.scored).predicted
        gain, interval = accuracy_gain(asked.gold, after, before)
    return Noise(
        share=found.noise,
        num_rows=len(wrong),
        num_judged=len(found.ranked),
        relabelled=gain,
        interval=interval,
        worst=tuple(_suspect_row(suspect, taught) for suspect in wrong[:SHOWN_SUSPECTS]),
    )


def _suspect_row(suspect: Suspect, taught: Taught) -> SuspectRow:
    return SuspectRow(
        text=taught.texts[suspect.row],
        line=taught.lines[suspect.row],
        given=suspect.given,
        proposed=suspect.likely,
        given_probability=suspect.given_probability,
        proposed_probability=suspect.likely_probability,
    )


def _shift(taught: Sequence[str], scored: Sequence[str], groups: Sequence[int]) -> Shift | None:
    """Whether words tell training texts from scored ones."""
    counted = tfidf([*taught, *scored])
    if counted is None:
        return None
    is_scored = [False] * len(taught) + [True] * len(scored)
    return shift(counted[1], is_scored, groups=groups)


def _rounded(probability: float) -> float | None:
    return round(probability, 4) if np.isfinite(probability) else None
