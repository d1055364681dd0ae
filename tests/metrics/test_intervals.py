"""Intervals: honest, repeatable, fast."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as peer
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.metrics.classification import natural_weights, score
from tunesmith.metrics.intervals import accuracy_gain, bootstrap

NAMES = {
    "accuracy",
    *(f"{kind}_{mean}" for kind in ("precision", "recall", "f1") for mean in ("macro", "weighted")),
}


def rows(num_rows: int, num_labels: int, right: float, seed: int = 0):
    generator = np.random.default_rng(seed)
    labels = [f"label {i}" for i in range(num_labels)]
    gold = [labels[i] for i in generator.integers(0, num_labels, num_rows)]
    predicted = [
        g if generator.random() < right else labels[generator.integers(num_labels)] for g in gold
    ]
    return labels, gold, predicted


def test_intervals_match_drawing_rows_one_by_one():
    """The slow way, with scikit-learn scoring every resample, gives the same intervals."""
    labels, gold, predicted = rows(200, 3, 0.7)
    found = bootstrap(score(gold, predicted, labels=labels), resamples=4000)
    generator = np.random.default_rng(1)
    gold, predicted = np.array(gold), np.array(predicted)
    slow = []
    for _ in range(600):
        drawn = generator.integers(0, len(gold), len(gold))
        report = peer.precision_recall_fscore_support(
            gold[drawn], predicted[drawn], average="macro", zero_division=0
        )
        slow.append((np.mean(gold[drawn] == predicted[drawn]), report[2]))
    low, high = np.quantile(np.array(slow), (0.025, 0.975), axis=0)
    assert found["accuracy"] == pytest.approx((low[0], high[0]), abs=0.015)
    assert found["f1_macro"] == pytest.approx((low[1], high[1]), abs=0.015)


def test_a_95_percent_interval_holds_the_truth_about_95_times_in_100():
    held = 0
    for seed in range(200):
        # Half of the wrong answers of 2 labels are right by luck: the truth is 0.9.
        labels, gold, predicted = rows(400, 2, 0.8, seed)
        low, high = bootstrap(score(gold, predicted, labels=labels), resamples=300)["accuracy"]
        held += low <= 0.9 <= high
    assert 180 <= held <= 199


@given(st.integers(1, 60), st.integers(2, 6), st.floats(0, 1), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_every_interval_is_in_order_and_within_0_and_1(num_rows, num_labels, right, seed):
    labels, gold, predicted = rows(num_rows, num_labels, right, seed)
    scores = score(gold, predicted, labels=labels)
    found = bootstrap(scores, resamples=200)
    assert set(found) == NAMES
    for name, (low, high) in found.items():
        assert -1e-12 <= low <= high <= 1 + 1e-12, name
    low, high = found["accuracy"]
    assert low <= scores.metrics["accuracy"] <= high


def test_same_seed_same_interval():
    labels, gold, predicted = rows(100, 4, 0.8)
    scores = score(gold, predicted, labels=labels)
    assert bootstrap(scores, seed=3) == bootstrap(scores, seed=3)
    assert bootstrap(scores, seed=3) != bootstrap(scores, seed=4)


def test_twenty_right_answers_are_no_certainty():
    gold = ["yes", "no"] * 10
    found = bootstrap(score(gold, gold, labels=["yes", "no"]))
    assert found["accuracy"] == (pytest.approx(0.8316, abs=1e-4), 1.0)
    wrong = ["no", "yes"] * 10
    found = bootstrap(score(gold, wrong, labels=["yes", "no"]))
    assert found["accuracy"] == (0.0, pytest.approx(1 - 0.8316, abs=1e-4))


def test_row_weights_move_the_interval():
    gold = ["frequent"] * 100 + ["rare"] * 100
    predicted = ["frequent"] * 150 + ["rare"] * 50
    weights = natural_weights(gold, {"frequent": 0.9, "rare": 0.1})
    scores = score(gold, predicted, labels=["frequent", "rare"], weights=weights)
    low, high = bootstrap(scores)["accuracy"]
    assert scores.metrics["accuracy"] == pytest.approx(0.95)
    assert low < 0.95 < high
    assert low > 0.9, "the weak label weighs a tenth"


def test_memory_is_bounded_by_drawing_in_chunks(monkeypatch):
    labels, gold, predicted = rows(300, 5, 0.6)
    scores = score(gold, predicted, labels=labels)
    whole = bootstrap(scores, resamples=500)
    monkeypatch.setattr("tunesmith.metrics.intervals.CHUNK", 100)
    assert bootstrap(scores, resamples=500) == whole


def test_the_gain_over_a_rival_is_paired():
    gold = ["a", "b"] * 200
    rival = ["a", "a"] * 200
    better = rival.copy()
    better[1:40:2] = ["b"] * 20  # right on 20 more rows, never worse
    gain, (low, high) = accuracy_gain(gold, better, rival)
    assert gain == pytest.approx(0.05)
    assert 0.02 < low < 0.05 < high < 0.08
    assert accuracy_gain(gold, rival, rival) == (0.0, (0.0, 0.0))
    loss, (low, high) = accuracy_gain(gold, rival, better)
    assert (loss, high < 0) == (pytest.approx(-0.05), True)
    assert accuracy_gain(gold, [None] * 400, gold)[0] == -1.0
