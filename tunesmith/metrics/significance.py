"""Whether one model is better than another on the same rows, or whether that may be chance.

Labels: McNemar's test, since only rows that one model gets right and the other wrong tell them
apart. Scores from 0 to 1: a paired bootstrap of their mean difference.
Knows: which rows were right, or one score a row.
Does not know: labels, texts, what is compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tunesmith.metrics.classification import Array
from tunesmith.metrics.intervals import (
    NORMAL,
    Interval,
    accuracy_gain,
    middle,
    resampled_means,
    unexpanded,
)

Verdict = Literal["better", "worse", "undecided"]
Test = Literal["McNemar, exact", "McNemar, chi-squared", "paired bootstrap"]

LEVEL = 0.05
"""A difference is decided when chance alone makes one as large in fewer than 1 of 20 tests."""
FEWEST_DISCORDANT = 25
"""With fewer rows that tell two models apart, chi-squared is a poor approximation."""
POWER_NORMAL = 0.841621
"""The normal distribution's quantile of 0.8: the power that `rows_to_decide` asks for."""
MOST_ROWS = 10_000_000
"""A difference that takes more rows to decide is none."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One model ("we") against another on the same rows.

    gain            our mean score minus theirs, with its 95 % interval.
    p_value         how often chance alone makes such a difference, either way.
    verdict         whether we are better, by `p_value`.
    rows_to_decide  test rows that would decide a difference of this size (80 % power at 5 %); None
                    where there is no difference to decide.
    only_ours, only_theirs  rows that we alone, or they alone, do better.
    """

    num_rows: int
    gain: float
    interval: Interval
    test: Test
    p_value: float
    verdict: Verdict
    rows_to_decide: int | None
    only_ours: int
    only_theirs: int


def compare_answers(
    gold: Sequence[str], ours: Sequence[str | None], theirs: Sequence[str | None], *, seed: int = 0
) -> Comparison:
    """Two models' labels for the same rows. At least one row."""
    right = np.array([p == g for p, g in zip(ours, gold, strict=True)])
    rival = np.array([p == g for p, g in zip(theirs, gold, strict=True)])
    only_ours, only_theirs = int(np.sum(right & ~rival)), int(np.sum(rival & ~right))
    gain, interval = accuracy_gain(gold, ours, theirs, seed=seed)
    test, p_value = mcnemar(only_ours, only_theirs)
    return Comparison(
        num_rows=len(gold), gain=gain, interval=interval, test=test, p_value=p_value,
        verdict=_verdict(gain, p_value), only_ours=only_ours, only_theirs=only_theirs,
        rows_to_decide=rows_to_decide(only_ours, only_theirs, len(gold)),
    )  # fmt: skip


def compare_scores(
    ours: Sequence[float], theirs: Sequence[float], *, resamples: int = 2000, seed: int = 0
) -> Comparison:
    """Two models' scores from 0 to 1 for the same rows, such as token F1. At least one row."""
    gains = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    means = resampled_means(gains, resamples, seed)
    only_ours, only_theirs = int(np.sum(gains > 0)), int(np.sum(gains < 0))
    # The observed rows are a resample too, so no p-value is 0.
    crossing = (min(np.sum(means <= 0), np.sum(means >= 0)) + 1) / (resamples + 2)
    # Few rows differ alike by chance, which drawing from these same rows cannot know.
    least = 2 * 0.5 ** (only_ours + only_theirs)
    p_value = min(1.0, max(least, 2 * unexpanded(float(crossing), len(gains))))
    gain = float(gains.mean())
    return Comparison(
        num_rows=len(gains), gain=gain, interval=middle(means, len(gains)), test="paired bootstrap",
        p_value=p_value, verdict=_verdict(gain, p_value),
        only_ours=only_ours, only_theirs=only_theirs, rows_to_decide=rows_to_decide_scores(gains),
    )  # fmt: skip


def mcnemar(only_ours: int, only_theirs: int) -> tuple[Test, float]:
    """The test used, and the two-sided p-value of so uneven a split of the discordant rows.

    Source: McNemar 1947. Exact binomial below 25 discordant rows, else chi-squared with the
    continuity correction of Edwards (1948).
    """
    from scipy.special import bdtr

    num_discordant = only_ours + only_theirs
    if num_discordant == 0:
        return "McNemar, exact", 1.0
    if num_discordant < FEWEST_DISCORDANT:
        return "McNemar, exact", min(
            1.0, 2 * float(bdtr(min(only_ours, only_theirs), num_discordant, 0.5))
        )
    uneven = max(0, abs(only_ours - only_theirs) - 1)
    return "McNemar, chi-squared", math.erfc(uneven / math.sqrt(2 * num_discordant))


def rows_to_decide(only_ours: int, only_theirs: int, num_rows: int) -> int | None:
    """Test rows with which McNemar's test finds this difference in 4 of 5 cases, at 5 %.

    It takes the observed shares of discordant rows for the true ones, so it is a rough number where
    they are few. None: there is no difference, or so small a one that no table decides it.

    Source: Connor 1987 for paired shares; solved with the test's continuity correction.
    """
    difference = abs(only_ours - only_theirs) / num_rows
    discordant = (only_ours + only_theirs) / num_rows
    if difference == 0:
        return None
    spread = NORMAL * math.sqrt(discordant)
    spread += POWER_NORMAL * math.sqrt(discordant - difference**2)
    # rows * difference - 1 = spread * sqrt(rows), where the 1 is the correction.
    root = (spread + math.sqrt(spread**2 + 4 * difference)) / (2 * difference)
    return _rows(root**2)


def rows_to_decide_scores(gains: Array) -> int | None:
    """The same for the mean of differences of scores, by their mean and spread."""
    mean = float(np.mean(gains))
    if mean == 0:
        return None
    return _rows(((NORMAL + POWER_NORMAL) * float(np.std(gains)) / mean) ** 2)


def _rows(number: float) -> int | None:
    return max(1, math.ceil(number)) if number <= MOST_ROWS else None


def _verdict(gain: float, p_value: float) -> Verdict:
    if p_value >= LEVEL:
        return "undecided"
    return "better" if gain > 0 else "worse"
