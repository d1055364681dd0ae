"""Heads on given features, and answers to rows they have not learnt from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from tunesmith.metrics.heads import answer, deal, out_of_fold


def clouds(num_rows: int, num_labels: int, seed: int = 0, width: int = 16):
    """Features of length 1 around a centre for each label."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(num_labels, width))
    rows = np.arange(num_rows) % num_labels
    features = centres[rows] + generator.normal(scale=0.7, size=(num_rows, width))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features.astype(np.float32), [f"label {i}" for i in rows]


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_a_head_is_scikit_learns(form):
    train, labels = clouds(120, 4)
    test, _ = clouds(30, 4, seed=1)
    found = answer(form(train), labels, form(test))
    expected = LogisticRegression(C=10.0, max_iter=1000).fit(train, labels)
    assert found.labels == tuple(expected.classes_)
    assert found.probabilities == pytest.approx(expected.predict_proba(test), abs=2e-3)
    assert found.predicted == expected.predict(test).tolist()


def test_one_label_is_certain():
    found = answer(np.ones((3, 2)), ["a"] * 3, np.ones((2, 2)))
    assert (found.labels, found.predicted) == (("a",), ["a", "a"])


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=80),
    st.integers(2, 6),
    st.integers(0, 5),
    st.booleans(),
)
@settings(deadline=None)
def test_folds_are_even_and_keep_groups_together(labels, folds, seed, grouped):
    rows = np.array(labels)
    groups = [f"group {i // 2}" for i in range(len(rows))] if grouped else None
    which = deal(rows, folds=folds, seed=seed, groups=groups)
    assert which.min() >= 0 and which.max() < folds
    if groups:
        assert all(len(set(which[i : i + 2])) == 1 for i in range(0, len(rows), 2))
        return
    sizes = np.bincount(which, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for label in set(labels):
        within = np.bincount(which[rows == label], minlength=folds)
        assert within.max() - within.min() <= 1


def test_every_row_is_answered_by_a_head_that_has_not_seen_it():
    """Labels without any sense: who has seen a row knows its label, who has not must guess."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(300, 200))
    labels = [str(i) for i in generator.integers(0, 3, 300)]
    found = out_of_fold(features, labels)
    right = np.mean([p == g for p, g in zip(found.predicted, labels, strict=True)])
    seen = answer(features, labels, features)
    assert 0.2 < right < 0.47
    assert np.mean([p == g for p, g in zip(seen.predicted, labels, strict=True)]) > 0.95


def test_groups_keep_copies_from_giving_each_other_away():
    generator = np.random.default_rng(0)
    features = np.repeat(generator.normal(size=(100, 60)), 2, axis=0)
    labels = [str(i) for i in np.repeat(generator.integers(0, 2, 100), 2)]
    copied = out_of_fold(features, labels)
    apart = out_of_fold(features, labels, groups=[i // 2 for i in range(200)])
    rate = [
        np.mean([p == g for p, g in zip(found.predicted, labels, strict=True)])
        for found in (copied, apart)
    ]
    assert rate[0] > 0.75 and rate[1] < 0.65


def test_a_label_of_one_row_cannot_be_judged_and_one_of_two_can():
    features, labels = clouds(60, 3)
    labels[0], labels[1], labels[2] = "lonely", "pair", "pair"
    found = out_of_fold(features, labels)
    assert np.isnan(found.probabilities[0]).all()
    assert np.isfinite(found.probabilities[1:]).all()
    assert found.probabilities[1:].sum(1) == pytest.approx(np.ones(59))
    everything = out_of_fold(features, labels, groups=["one"] * 60)
    assert np.isnan(everything.probabilities).all()


def test_fewer_rows_than_folds():
    found = out_of_fold(np.eye(3), ["a", "b", "a"])
    assert np.isfinite(found.probabilities[[0, 2]]).all()
    assert np.isnan(found.probabilities[1]).all()
    assert np.isnan(out_of_fold(np.eye(1), ["a"]).probabilities).all()


def test_labels_of_a_row_each_raise_no_alarm():
    found = out_of_fold(np.eye(30), [str(i // 2) if i < 10 else f"label {i}" for i in range(30)])
    assert np.isfinite(found.probabilities).all(axis=1).sum() == 10


def test_same_rows_same_answers():
    features, labels = clouds(90, 3)
    first, second = out_of_fold(features, labels), out_of_fold(features, labels)
    assert np.array_equal(first.probabilities, second.probabilities)
    other = out_of_fold(features, labels, seed=1)
    assert not np.array_equal(first.probabilities, other.probabilities)
