"""Intervals: honest, repeatable, fast."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as peer
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tunesmith.metrics.classification import natural_weights, score
from tunesmith.metrics.intervals import (
    accuracy_gain,
    at_least,
    bootstrap,
    expanded,
    gains,
    share,
    unexpanded,
)
from tunesmith.metrics.significance import compare_answers

MEANS = ("macro", "micro", "weighted")
NAMES = {
    "accuracy",
    "balanced_accuracy",
    *(f"{kind}_{mean}" for kind in ("precision", "recall", "f1") for mean in MEANS),
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


def test_f1_of_labels_with_few_rows_is_held_too():
    """Twenty labels of ten rows: without the correction of its bias, one interval in ten lies
    wholly below the truth."""
    generator = np.random.default_rng(0)
    joint = np.zeros((20, 20))
    for i in range(20):
        right = generator.uniform(0.75, 0.98)
        joint[i, i] = right
        joint[i, (i + generator.choice(19, 3, replace=False) + 1) % 20] = (1 - right) / 3
    joint /= 20
    hits = np.diagonal(joint)
    truth = (2 * hits / (joint.sum(0) + joint.sum(1))).mean()
    labels = [f"label {i}" for i in range(20)]
    held = below = 0
    for seed in range(300):
        cells = np.random.default_rng(seed).choice(400, 200, p=joint.ravel())
        gold, predicted = ([labels[i] for i in places] for places in divmod(cells, 20))
        scores = score(gold, predicted, labels=labels)
        low, high = bootstrap(scores, resamples=200, seed=seed)["f1_macro"]
        held += low <= truth <= high
        below += high < truth
    assert 273 <= held <= 297 and below <= 18


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


def test_the_gains_of_all_scores_are_paired():
    labels, gold, predicted = rows(300, 4, 0.8)
    _, _, rival = rows(300, 4, 0.7, seed=0)
    found = gains(gold, predicted, rival, labels=labels, resamples=400)
    ours, theirs = (score(gold, side, labels=labels).metrics for side in (predicted, rival))
    assert set(found) == NAMES
    for name, (gain, (low, high)) in found.items():
        assert gain == pytest.approx(ours[name] - theirs[name])
        assert low <= gain <= high
    gain, interval = accuracy_gain(gold, predicted, rival, resamples=4000)
    assert found["accuracy"][1] == pytest.approx(interval, abs=0.02)
    same = gains(gold, predicted, predicted, labels=labels, resamples=50)
    assert set(same.values()) == {(0.0, (0.0, 0.0))}


def test_the_gain_of_macro_f1_is_that_of_rows_drawn_one_by_one():
    labels, gold, predicted = rows(150, 3, 0.85)
    rival = [labels[0] if i % 4 == 0 else p for i, p in enumerate(predicted)]
    _, found = gains(gold, predicted, rival, labels=labels, resamples=4000)["f1_macro"]
    generator = np.random.default_rng(1)
    columns = [np.array(column) for column in (gold, predicted, rival)]
    slow = []
    for _ in range(500):
        drawn = generator.integers(0, 150, 150)
        g, *sides = (column[drawn] for column in columns)
        ours, theirs = (peer.f1_score(g, side, average="macro") for side in sides)
        slow.append(ours - theirs)
    assert found == pytest.approx(tuple(np.quantile(slow, (0.025, 0.975))), abs=0.02)


def test_the_intervals_of_gains_hold_the_true_gain_about_95_times_in_100():
    """Two models that are right on 85 % and 80 % of the rows, mostly the same ones, of 4 labels."""
    labels = [f"label {i}" for i in range(4)]
    wrong = {labels[i]: labels[i - 1] for i in range(4)}
    held = dict.fromkeys(("accuracy", "f1_macro", "comparison"), 0)
    for seed in range(200):
        draw = np.random.default_rng(seed)
        gold = [labels[i] for i in draw.integers(0, 4, 400)]
        luck = draw.random(400)
        ours = [g if p < 0.85 else wrong[g] for g, p in zip(gold, luck, strict=True)]
        theirs = [
            g if (p < 0.75 or 0.85 <= p < 0.9) else wrong[g]
            for g, p in zip(gold, luck, strict=True)
        ]
        found = gains(gold, ours, theirs, labels=labels, resamples=300, seed=seed)
        for name in ("accuracy", "f1_macro"):
            low, high = found[name][1]
            held[name] += low <= 0.05 <= high
        low, high = compare_answers(gold, ours, theirs).interval
        held["comparison"] += low <= 0.05 <= high
    assert all(180 <= number <= 199 for number in held.values()), held


def test_no_answer_and_unknown_labels_have_gains_too():
    found = gains(["a", "b"], ["a", None], ["c", "?"], labels=["a", "b", "c"], resamples=50)
    assert found["accuracy"][0] == 0.5


@given(st.integers(1, 400), st.data())
@settings(deadline=None)
def test_shares_have_the_intervals_of_wilson_and_of_clopper_and_pearson(num_rows, data):
    hits = data.draw(st.integers(0, num_rows))
    peers = stats.binomtest(hits, num_rows, alternative="two-sided")
    expected = peers.proportion_ci(0.95, method="wilson")
    assert share(hits, num_rows) == pytest.approx((expected.low, expected.high), abs=1e-6)
    one_sided = stats.binomtest(hits, num_rows, alternative="greater").proportion_ci(0.95)
    found = at_least(np.array([hits]), np.array([num_rows]), doubt=0.05)
    assert found[0] == pytest.approx(one_sided.low, abs=1e-9)


def test_no_rows_tell_nothing_of_a_share():
    assert share(0, 0) == (0.0, 1.0)


@given(st.floats(0.001, 0.5), st.integers(1, 5000))
@settings(deadline=None)
def test_few_rows_leave_less_out(tail, num_rows):
    assert unexpanded(expanded(tail, num_rows), num_rows) == pytest.approx(tail, abs=1e-9)
    assert expanded(tail, num_rows) <= tail + 1e-12
    assert expanded(tail, 100_000) == pytest.approx(tail, rel=1e-3)


def test_the_order_of_the_rows_does_not_matter():
    labels, gold, predicted = rows(200, 5, 0.7)
    mixed = np.random.default_rng(0).permutation(200)
    shuffled = [[column[i] for i in mixed] for column in (gold, predicted)]
    first, second = (score(*side, labels=labels) for side in ((gold, predicted), shuffled))
    assert first == second and bootstrap(first) == bootstrap(second)
    rival = [labels[0]] * 200
    assert gains(gold, predicted, rival, labels=labels, resamples=99) == gains(
        *shuffled, rival, labels=labels, resamples=99
    )
