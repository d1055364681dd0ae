"""Scores against scikit-learn's, and what scikit-learn leaves open."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as peer
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.errors import DataError
from tunesmith.metrics.classification import (
    OTHER,
    balanced_weights,
    natural_weights,
    probability,
    score,
    squared_error,
    squared_errors,
)

LABELS = ("billing", "delivery", "refund", "other")


@st.composite
def scored_rows(draw):
    num_labels = draw(st.integers(2, 6))
    labels = [f"label {i}" for i in range(num_labels)]
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from(labels), st.sampled_from(labels), st.floats(0.1, 10)),
            min_size=1,
            max_size=60,
        )
    )
    gold, predicted, weights = (list(column) for column in zip(*rows, strict=True))
    return labels, gold, predicted, weights


@given(scored_rows(), st.booleans())
@settings(deadline=None)
def test_the_averages_are_scikit_learns(rows, weighted):
    labels, gold, predicted, weights = rows
    weights = weights if weighted else None
    found = score(gold, predicted, labels=labels, weights=weights).metrics
    assert found["accuracy"] == pytest.approx(
        peer.accuracy_score(gold, predicted, sample_weight=weights)
    )
    for average in ("macro", "micro", "weighted"):
        expected = peer.precision_recall_fscore_support(
            gold, predicted, average=average, sample_weight=weights, zero_division=0
        )
        names = (f"precision_{average}", f"recall_{average}", f"f1_{average}")
        assert [found[n] for n in names] == pytest.approx(expected[:3])


@given(scored_rows(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_rows_does_not_matter(rows, random):
    labels, gold, predicted, weights = rows
    sure = [random.random() for _ in gold]

    def scored(order):
        given_rows = ([column[i] for i in order] for column in (gold, predicted, weights, sure))
        first, second, third, fourth = given_rows
        return score(
            first,
            second,
            labels=labels,
            weights=third,
            gold_probabilities=fourth,
            answer_probabilities=fourth,
        )

    order = list(range(len(gold)))
    before = scored(order)
    random.shuffle(order)
    after = scored(order)
    assert after.metrics == pytest.approx(before.metrics)
    assert np.array(after.confusion) == pytest.approx(np.array(before.confusion))
    for one, other in zip(before.calibration, after.calibration, strict=True):
        assert vars(one) == pytest.approx(vars(other))


@given(scored_rows(), st.booleans())
@settings(deadline=None)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_balanced_accuracy_is_scikit_learns(rows, weighted):
    labels, gold, predicted, weights = rows
    weights = weights if weighted else None
    found = score(gold, predicted, labels=labels, weights=weights).metrics["balanced_accuracy"]
    expected = peer.balanced_accuracy_score(gold, predicted, sample_weight=weights)
    assert found == pytest.approx(expected)


@given(scored_rows())
@settings(deadline=None)
def test_balanced_weights_make_accuracy_balanced(rows):
    labels, gold, predicted, _ = rows
    weights = balanced_weights(gold)
    assert weights.sum() == pytest.approx(len(gold))
    plain = score(gold, predicted, labels=labels).metrics
    found = score(gold, predicted, labels=labels, weights=weights).metrics
    assert found["accuracy"] == pytest.approx(plain["balanced_accuracy"])


def test_micro_averages_tell_wrong_answers_from_none():
    gold = ["billing", "billing", "refund", "refund"]
    found = score(gold, ["billing", None, "billing", "refund"], labels=LABELS).metrics
    assert found["precision_micro"] == pytest.approx(2 / 3)
    assert found["recall_micro"] == found["accuracy"] == 0.5
    assert found["f1_micro"] == pytest.approx(4 / 7)


@given(scored_rows())
@settings(deadline=None)
def test_every_label_and_cell_is_scikit_learns(rows):
    labels, gold, predicted, _ = rows
    found = score(gold, predicted, labels=labels)
    expected = peer.precision_recall_fscore_support(gold, predicted, labels=labels, zero_division=0)
    mine = [(c.precision, c.recall, c.f1, c.support) for c in found.per_class]
    assert np.array(mine) == pytest.approx(np.array(expected).T)
    assert found.confusion == peer.confusion_matrix(gold, predicted, labels=labels).tolist()
    assert found.columns == tuple(labels)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_log_loss_is_scikit_learns(data):
    num_rows = data.draw(st.integers(1, 20))
    odds = np.array(
        data.draw(
            st.lists(
                st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
                min_size=num_rows,
                max_size=num_rows,
            )
        )
    )
    table = odds / odds.sum(1, keepdims=True)
    gold = data.draw(st.lists(st.integers(0, 2), min_size=num_rows, max_size=num_rows))
    weights = data.draw(st.lists(st.floats(0.1, 5), min_size=num_rows, max_size=num_rows))
    names = ["a", "b", "c"]
    found = score(
        [names[g] for g in gold],
        [names[i] for i in table.argmax(1)],
        labels=names,
        weights=weights,
        gold_probabilities=table[np.arange(num_rows), gold],
    )
    expected = peer.log_loss(gold, table, labels=[0, 1, 2], sample_weight=weights)
    assert found.metrics["log_loss"] == pytest.approx(expected)


@given(st.integers(2, 6), st.data())
@settings(max_examples=60, deadline=None)
def test_brier_is_scikit_learns_from_the_table_and_from_the_best_labels(num_labels, data):
    cell = st.floats(0.01, 1)
    row = st.lists(cell, min_size=num_labels, max_size=num_labels)
    table = np.array(data.draw(st.lists(row, min_size=1, max_size=8)))
    table /= table.sum(1, keepdims=True)
    place = st.integers(0, num_labels - 1)
    gold = np.array(data.draw(st.lists(place, min_size=len(table), max_size=len(table))))
    expected = peer.brier_score_loss(
        gold, table, labels=list(range(num_labels)), scale_by_half=False
    )
    assert squared_errors(table, gold).mean() == pytest.approx(expected)
    known = data.draw(st.integers(0, num_labels))
    rest = table.copy()
    for i, line in enumerate(table):
        best = np.argsort(-line, kind="stable")
        others = best[known:]
        if len(others):
            rest[i, others] = line[others].mean()
        top = {str(k): math.log(line[k]) for k in best[:known]}
        found = squared_error(str(gold[i]), top, num_labels=num_labels)
        assert found == pytest.approx(squared_errors(rest[[i]], gold[[i]])[0])
        assert 0 <= found <= 2 + 1e-9


def test_squared_error_at_the_ends():
    assert squared_error("a", {"a": 0.0}, num_labels=3) == 0.0
    assert squared_error("b", {"a": 0.0}, num_labels=3) == 2.0
    assert squared_error("a", {}, num_labels=4) == pytest.approx(1 - 1 / 4)


def test_unknown_answers_and_missing_ones_are_wrong_and_shown_as_other():
    gold = ["billing", "billing", "refund", "refund"]
    found = score(gold, ["billing", "Billing!", None, "refund"], labels=LABELS)
    assert found.columns == (*LABELS, OTHER)
    assert found.confusion[0] == [1, 0, 0, 0, 1]
    assert found.confusion[2] == [0, 0, 1, 0, 1]
    assert found.metrics["accuracy"] == 0.5
    assert found.metrics["recall_macro"] == 0.5, "over the two labels that occur, not over four"
    assert found.metrics["precision_macro"] == 1.0, "an unknown answer takes precision from nobody"


def test_a_row_without_any_right_answer_scores_nought():
    found = score(["billing"], [None], labels=LABELS)
    assert set(found.metrics.values()) == {0.0}


def test_no_probability_costs_as_much_as_scikit_learn_says_and_not_infinitely_much():
    found = score(["billing"], ["refund"], labels=LABELS, gold_probabilities=[0.0])
    assert found.metrics["log_loss"] == pytest.approx(-math.log(np.finfo(float).eps))


def test_natural_weights_restore_the_shares():
    gold = ["billing"] * 5 + ["refund"] * 5
    weights = natural_weights(gold, {"billing": 0.9, "refund": 0.1})
    assert weights.sum() == pytest.approx(10)
    assert weights[:5].sum() / weights.sum() == pytest.approx(0.9)
    # Always right on the frequent label, never on the rare one.
    found = score(gold, ["billing"] * 10, labels=LABELS, weights=weights)
    assert found.metrics["accuracy"] == pytest.approx(0.9)
    assert [c.support for c in found.per_class] == [5, 0, 5, 0], "support counts real rows"


def test_a_label_without_natural_share_weighs_nothing():
    weights = natural_weights(["billing", "refund"], {"billing": 1.0})
    assert weights.tolist() == [2.0, 0.0]


def test_calibration_compares_probability_with_share_right():
    gold = ["billing"] * 10
    predicted = ["billing"] * 7 + ["refund"] * 3
    found = score(gold, predicted, labels=LABELS, answer_probabilities=[0.95] * 10)
    (only,) = found.calibration
    assert (only.low, only.high, only.num_rows) == (0.9, 1.0, 10)
    assert only.confidence == pytest.approx(0.95)
    assert only.accuracy == pytest.approx(0.7)
    assert found.metrics["expected_calibration_error"] == pytest.approx(0.25)


def test_calibration_holds_certainty_and_leaves_unanswered_rows_out():
    found = score(
        ["billing", "refund", "refund"],
        ["billing", "billing", None],
        labels=LABELS,
        answer_probabilities=[1.0, 0.05, math.nan],
    )
    assert [(b.low, b.num_rows) for b in found.calibration] == [(0.0, 1), (0.9, 1)]
    assert found.metrics["expected_calibration_error"] == pytest.approx((0.0 + 0.05) / 2)


def test_calibration_weighs_rows():
    gold, predicted = ["billing"] * 3 + ["refund"], ["billing"] * 4
    found = score(
        gold,
        predicted,
        labels=LABELS,
        weights=[1, 1, 1, 9],
        answer_probabilities=[0.95] * 4,
    )
    (only,) = found.calibration
    assert (only.num_rows, only.accuracy) == (4, pytest.approx(3 / 12))
    assert found.metrics["expected_calibration_error"] == pytest.approx(0.95 - 0.25)
    alone = score(
        gold, predicted, labels=LABELS, weights=[0, 0, 0, 1], answer_probabilities=[0.2] * 3 + [0.9]
    )
    assert [b.num_rows for b in alone.calibration] == [1], "rows of no weight are left out"


def test_nothing_known_about_probabilities_claims_nothing():
    found = score(["billing"], ["billing"], labels=LABELS)
    assert "log_loss" not in found.metrics
    assert "expected_calibration_error" not in found.metrics
    assert found.calibration == ()


def test_probability_of_a_label_among_the_best_and_outside_them():
    top = {"billing": math.log(0.7), "refund": math.log(0.2)}
    assert probability("refund", top, num_labels=4) == pytest.approx(0.2)
    assert probability("delivery", top, num_labels=4) == pytest.approx(0.05)
    assert probability("delivery", {}, num_labels=4) == 0.25
    assert probability("unheard of", {"billing": 0.0}, num_labels=1) == 0.0
    assert probability("billing", {"billing": 1e-9}, num_labels=2) == 1.0


@given(st.lists(st.floats(-30, 0), max_size=5), st.integers(1, 8))
@settings(deadline=None)
def test_probability_is_one_always(logprobs, num_labels):
    top = {f"label {i}": value for i, value in enumerate(logprobs)}
    for label in ("label 0", "unheard of"):
        assert 0.0 <= probability(label, top, num_labels=num_labels) <= 1.0


def test_no_rows_and_unknown_right_labels_are_refused_in_words():
    with pytest.raises(DataError, match="no rows to score"):
        score([], [], labels=LABELS)
    with pytest.raises(DataError, match="'praise' is not among the 4 known labels"):
        score(["billing", "praise"], ["billing", "billing"], labels=LABELS)
