"""Telling two sets apart: against scikit-learn, pairs counted by hand, and planted differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tunesmith.metrics.shift import roc_area, shift


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=4, max_size=60))
@settings(deadline=None)
def test_the_area_is_scikit_learns(rows):
    score, positive = zip(*rows, strict=True)
    if min(sum(positive), len(rows) - sum(positive)) < 2:
        return
    area, spread = roc_area(score, positive)
    assert area == pytest.approx(roc_auc_score(positive, score))
    assert spread >= 0


def test_the_standard_error_is_that_of_repeated_draws():
    generator = np.random.default_rng(0)
    found = []
    for _ in range(400):
        score = np.r_[generator.normal(0.7, 1, 60), generator.normal(0, 1, 90)]
        found.append(roc_area(score, np.arange(150) < 60))
    areas, spreads = zip(*found, strict=True)
    assert np.mean(spreads) == pytest.approx(np.std(areas), rel=0.1)


def drawn(distance: float, num_rows: int = 300, seed: int = 0):
    generator = np.random.default_rng(seed)
    is_second = generator.random(num_rows) < 0.3
    features = generator.normal(size=(num_rows, 8))
    features[is_second, 0] += distance
    return features, is_second.tolist()


def test_sets_drawn_alike_are_not_told_apart_and_others_are():
    alike = [shift(*drawn(0.0, seed=seed)) for seed in range(20)]
    assert not any(found.is_clear for found in alike)
    assert sum(found.interval[0] > 0.5 for found in alike) <= 2
    apart = shift(*drawn(3.0))
    assert apart.is_clear and apart.area > 0.9


def test_what_stays_together_gives_no_side_away():
    """Forty texts, each ten times, each on one side: told apart only if copies are learnt from."""
    generator = np.random.default_rng(0)
    features = np.repeat(generator.normal(size=(40, 60)), 10, axis=0)
    is_second = np.repeat(generator.random(40) < 0.5, 10).tolist()
    groups = np.repeat(np.arange(40), 10).tolist()
    assert shift(features, is_second).is_clear
    assert not shift(features, is_second, groups=groups).is_clear


def test_a_row_or_two_tell_nothing():
    assert shift(np.eye(5), [True, False, False, False, False]) is None
