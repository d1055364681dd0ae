"""Coverage against accuracy: the curve, its area, and thresholds that are not luck."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.metrics.abstaining import abstain

answered = st.lists(
    st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9, math.nan]), st.booleans()),
    min_size=1,
    max_size=60,
)


@given(answered)
@settings(deadline=None)
def test_each_point_counts_the_rows_at_or_above_its_threshold(rows):
    probability, right = (np.array(column) for column in zip(*rows, strict=True))
    found = abstain(probability, right)
    for point in found.points:
        above = probability >= point.threshold
        assert point.num_rows == above.sum()
        assert point.coverage == above.sum() / len(rows)
        assert point.accuracy == pytest.approx(right[above].mean())
        low, high = point.interval
        assert low <= point.accuracy <= high
    thresholds = [point.threshold for point in found.points]
    assert thresholds == sorted(set(thresholds), reverse=True)
    if found.points:
        assert found.points[-1].num_rows == np.isfinite(probability).sum()


@given(answered, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_rows_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    assert abstain(*zip(*rows, strict=True)) == abstain(*zip(*shuffled, strict=True))


def test_the_area_is_the_mean_risk_over_all_coverages():
    found = abstain([0.9, 0.8, 0.7, 0.6], [True, True, False, True])
    assert found.area == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)
    assert found.best_area == pytest.approx((0 + 0 + 0 + 1 / 4) / 4)
    worst = abstain([0.6, 0.7, 0.8, 0.9], [True, True, True, False])
    assert worst.area == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_equal_probabilities_make_the_mean_risk_at_every_coverage():
    assert abstain([0.5] * 8, [True] * 6 + [False] * 2).area == pytest.approx(0.25)


@given(answered)
@settings(deadline=None)
def test_no_order_is_better_than_the_best(rows):
    found = abstain(*zip(*rows, strict=True))
    assert -1e-12 <= found.best_area <= found.area + 1e-12 <= 1 + 1e-9


def calibrated(num_rows: int, seed: int):
    generator = np.random.default_rng(seed)
    probability = generator.beta(5, 1, num_rows)
    return probability, generator.random(num_rows) < probability


def test_a_wished_accuracy_is_reached_on_other_rows_too():
    probability, right = calibrated(3000, seed=0)
    point = abstain(probability, right).reaching(0.95)
    assert point is not None
    assert point.interval[0] > 0.94 and 0.2 < point.coverage < 0.8
    fresh, truth = calibrated(100_000, seed=1)
    assert truth[fresh >= point.threshold].mean() >= 0.95
    # The higher the wish, the fewer rows.
    easier = abstain(probability, right).reaching(0.9)
    assert easier.coverage > point.coverage and easier.threshold < point.threshold


def test_luck_is_rarely_taken_for_merit():
    """All answers are right with 0.9, whatever their probability: 0.92 cannot be reached. Picking
    the luckiest of twenty thresholds by an uncorrected bound would claim it more than twice as
    often."""
    generator = np.random.default_rng(2)
    claims = 0
    for _ in range(300):
        found = abstain(generator.random(1000), generator.random(1000) < 0.9)
        claims += found.reaching(0.92) is not None
    assert claims <= 0.05 * 300


def test_what_cannot_be_proved_is_not_claimed():
    assert abstain([0.9] * 20, [True] * 20).reaching(0.95) is None
    point = abstain([0.9] * 60, [True] * 60).reaching(0.95)
    assert point is not None and (point.coverage, point.num_rows) == (1.0, 60)
    assert abstain([math.nan] * 100, [False] * 100).reaching(0.5) is None
