"""A confusion matrix in order and in words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.metrics.confusion import side_by_side, worst_pairs


def planted(num_labels: int, seed: int = 0):
    """Labels in shuffled pairs that are mixed up, and a little noise."""
    generator = np.random.default_rng(seed)
    counts = np.diag(np.full(num_labels, 40))
    order = generator.permutation(num_labels)
    pairs = {frozenset(pair) for pair in order.reshape(-1, 2).tolist()}
    for i, j in map(tuple, pairs):
        counts[i, j] += 6
        counts[j, i] += 4
    for i, j in generator.integers(0, num_labels, (num_labels, 2)):
        counts[i, j] += 1
    return counts, pairs


@pytest.mark.parametrize("num_labels", [4, 20, 150])
def test_mixed_up_labels_stand_side_by_side(num_labels):
    counts, pairs = planted(num_labels)
    order = side_by_side(counts)
    assert sorted(order) == list(range(num_labels))
    neighbours = {frozenset(pair) for pair in zip(order, order[1:], strict=False)}
    assert pairs <= neighbours


@given(st.integers(1, 8), st.data())
@settings(deadline=None)
def test_any_table_has_an_order_and_pairs(num_labels, data):
    cell = st.integers(0, 5)
    row = st.lists(cell, min_size=num_labels + 1, max_size=num_labels + 1)
    counts = np.array(data.draw(st.lists(row, min_size=num_labels, max_size=num_labels)))
    labels = [f"label {i}" for i in range(num_labels)]
    assert sorted(side_by_side(counts)) == list(range(num_labels))
    pairs = worst_pairs(counts, labels, most=100)
    among = counts[:, :-1].sum() - np.trace(counts[:, :-1])
    assert sum(pair.num_rows for pair in pairs) == among
    # The same mistakes, spread: there are neither more nor fewer of them, where they can go.
    assert sum(pair.expected for pair in pairs) <= among + 1e-9
    assert [p.num_rows for p in pairs] == sorted((p.num_rows for p in pairs), reverse=True)
    for pair in pairs:
        assert pair.forth >= pair.back and 0 < pair.share <= 1
        assert pair.first in str(pair) and pair.second in str(pair)


def test_labels_without_mistakes_keep_their_order_at_the_end():
    counts = np.diag([5, 5, 5, 5, 5])
    assert side_by_side(counts) == [0, 1, 2, 3, 4]
    counts[1, 3] = 2
    assert side_by_side(counts) == [1, 3, 0, 2, 4]
    assert worst_pairs(np.diag([5, 5]), ["a", "b"]) == ()


def test_a_pair_in_words():
    counts = np.array([[30, 9, 1, 0], [5, 34, 1, 0], [1, 0, 39, 0]])
    worst = worst_pairs(counts, ["refund", "chargeback", "praise"])[0]
    assert (worst.first, worst.second, worst.forth, worst.back) == ("refund", "chargeback", 9, 5)
    # refund: 10 mistakes, 9 of 11 answers that were wrong elsewhere; chargeback: 6 times 6 of 8.
    assert worst.expected == pytest.approx(10 * 9 / 11 + 6 * 6 / 8)
    assert worst.share == pytest.approx(14 / 80)
    assert str(worst) == (
        "9 of 40 “refund” (22 %) were answered as “chargeback”; "
        "5 of 40 “chargeback” (12 %) were answered as “refund”. "
        "14 mistakes, where an even spread of mistakes would make 12.7."
    )


def test_only_the_first_are_named_and_other_answers_are_no_pair():
    counts, _ = planted(40)
    assert len(worst_pairs(counts, [str(i) for i in range(40)])) == 10
    with_other = np.hstack([np.diag([3, 3]), np.array([[4], [4]])])
    assert worst_pairs(with_other, ["a", "b"]) == ()
