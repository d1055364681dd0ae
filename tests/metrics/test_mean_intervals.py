"""Intervals of means of scores, one a row, and of the difference of two models' scores."""

import numpy as np
import pytest

from tunesmith.metrics.intervals import mean, mean_gain


def test_they_match_drawing_rows_one_by_one():
    values = np.random.default_rng(1).random(80)
    draw = np.random.default_rng(2)
    means = [draw.choice(values, 80).mean() for _ in range(20_000)]
    expected = np.quantile(means, (0.025, 0.975))
    assert mean(list(values), resamples=20_000) == pytest.approx(tuple(expected), abs=0.003)


@pytest.mark.parametrize("n", [1, 20, 500])
def test_a_perfect_score_is_not_certainty(n):
    bound = 0.025 ** (1 / n)
    assert mean([1.0] * n) == (pytest.approx(bound), 1.0)
    assert mean([0.0] * n) == (0.0, pytest.approx(1 - bound))
    assert mean([0.5] * n) == (0.5, 0.5)


def test_rows_that_both_get_alike_add_no_doubt():
    ours, theirs = [1.0] * 50 + [0.25] * 50, [1.0] * 50 + [0.0] * 50
    gain, (low, high) = mean_gain(ours, theirs)
    assert gain == pytest.approx(0.125) and low < gain < high
    gain, span = mean_gain(ours, ours)
    assert (gain, span) == (0.0, (0.0, 0.0))
    gain, (low, high) = mean_gain(theirs, ours)
    assert gain < 0 and high < 0


def test_the_true_mean_is_inside_about_95_times_of_100():
    draw = np.random.default_rng(3)
    inside = 0
    for i in range(300):
        values = list((draw.random(60) < 0.7).astype(float))
        low, high = mean(values, resamples=400, seed=i)
        inside += low <= 0.7 <= high
    assert 0.91 < inside / 300 < 0.98
