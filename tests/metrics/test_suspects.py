"""Confident learning: flipped labels are found, clean tables are left alone."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.metrics.baselines import tfidf
from tunesmith.metrics.heads import Answers, out_of_fold
from tunesmith.metrics.suspects import suspects


def flipped(labels: list[str], share: float, seed: int = 0) -> tuple[list[str], set[int]]:
    """The labels with a share of them flipped to any other, and which rows."""
    generator = np.random.default_rng(seed)
    names = sorted(set(labels))
    rows = generator.choice(len(labels), round(share * len(labels)), replace=False).tolist()
    out = list(labels)
    for i in rows:
        out[i] = generator.choice([name for name in names if name != labels[i]])
    return out, set(rows)


def clouds(num_rows: int, num_labels: int):
    generator = np.random.default_rng(0)
    rows = np.arange(num_rows) % num_labels
    features = generator.normal(size=(num_labels, 12))[rows]
    features = features + generator.normal(scale=0.5, size=features.shape)
    return features, [f"label {i}" for i in rows]


def test_flipped_labels_come_first_with_the_right_label():
    features, labels = clouds(900, 6)
    given_labels, rows = flipped(labels, 0.05)
    found = suspects(out_of_fold(features, given_labels), given_labels)
    first = {s.row for s in found.ranked[: len(labels) // 10]}
    assert len(first & rows) / len(rows) >= 0.9
    right = [s.likely == labels[s.row] for s in found.ranked if s.row in rows]
    assert np.mean(right) > 0.9
    assert found.noise == pytest.approx(0.05, abs=0.03)
    assert {s.row for s in found.ranked} == set(range(900)), "every row is ranked"


def test_a_clean_table_has_few_suspects():
    features, labels = clouds(900, 6)
    found = suspects(out_of_fold(features, labels), labels)
    assert found.noise < 0.02 and found.num_confident < 0.02 * 900


def test_the_confident_joint_by_hand():
    """Mean probabilities of the given labels: a 0.7, b 0.5; the third row reaches b's only."""
    table = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.4, 0.6], [0.6, 0.4]])
    found = suspects(Answers(labels=("a", "b"), probabilities=table), ["a", "a", "a", "b", "b"])
    assert found.thresholds == pytest.approx([0.7, 0.5])
    # Counted: a a 2, a b 1, b b 1; the last row reaches neither. Then scaled to 3 and 2 rows.
    assert found.joint == pytest.approx(np.array([[2.0, 1.0], [0.0, 2.0]]))
    assert found.noise == pytest.approx(1 / 5)
    worst = found.ranked[:2]
    assert [(s.row, s.given, s.likely) for s in worst] == [(2, "a", "b"), (4, "b", "a")]
    assert [s.is_confident for s in worst] == [True, False]
    assert (worst[0].given_probability, worst[0].likely_probability) == (0.4, 0.6)


def test_rows_that_nobody_can_judge_are_last():
    table = np.array([[np.nan, np.nan], [0.3, 0.7], [0.1, 0.9]])
    found = suspects(Answers(labels=("a", "b"), probabilities=table), ["a", "b", "b"])
    assert [s.row for s in found.ranked] == [1, 2, 0]
    last = found.ranked[-1]
    assert (last.likely, last.is_confident) == ("a", False)
    assert np.isnan(last.given_probability)
    assert found.noise == 0.0
    nobody = suspects(Answers(labels=("a",), probabilities=np.full((2, 1), np.nan)), ["a", "a"])
    assert nobody.noise == 0.0 and nobody.num_confident == 0


@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 99))
@settings(deadline=None)
def test_any_table_is_ranked(num_labels, num_rows, seed):
    generator = np.random.default_rng(seed)
    table = generator.dirichlet(np.ones(num_labels), num_rows)
    table[generator.random(num_rows) < 0.2] = np.nan
    labels = tuple(f"label {i}" for i in range(num_labels))
    given_labels = [labels[i] for i in generator.integers(0, num_labels, num_rows)]
    found = suspects(Answers(labels=labels, probabilities=table), given_labels)
    assert sorted(s.row for s in found.ranked) == list(range(num_rows))
    assert 0 <= found.noise <= 1
    assert found.joint.sum() == pytest.approx(num_rows)
    ratios = [s.given_probability / s.likely_probability for s in found.ranked]
    known = [ratio for ratio in ratios if np.isfinite(ratio)]
    assert known == sorted(known) and ratios[: len(known)] == known
    if num_labels == 1:
        return  # all rows are equal, and keep their order
    # Shuffled rows are ranked alike.
    order = generator.permutation(num_rows)
    mixed = suspects(
        Answers(labels=labels, probabilities=table[order]), [given_labels[i] for i in order]
    )
    assert mixed.noise == pytest.approx(found.noise)
    assert [order[s.row] for s in mixed.ranked[: len(known)]] == [
        s.row for s in found.ranked[: len(known)]
    ]


def test_flipped_labels_of_a_real_table_are_found(data):
    """A fifth of HWU64, to be quick; by TF-IDF, as where there is no base model."""
    with (data / "hwu64" / "train.csv").open(encoding="utf-8") as file:
        rows = [row for i, row in enumerate(csv.DictReader(file)) if i % 5 == 0]
    labels = [row["intent"] for row in rows]
    given_labels, wrong = flipped(labels, 0.05)
    _, features = tfidf([row["text"] for row in rows])
    found = suspects(out_of_fold(features, given_labels), given_labels)
    first = {s.row for s in found.ranked[: len(rows) // 10]}
    assert len(first & wrong) / len(wrong) >= 0.7
