"""Learning curves by label: planted powers are found, and small tables claim little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.metrics.learning_curve import FLATTENING, SHARES, grow, learning_curve


def planted(exponents: list[float], errors: list[float], each: int, seed: int = 0):
    """Answers whose error falls by a known power for each label, the same rows staying wrong."""
    generator = np.random.default_rng(seed)
    rows = np.repeat(np.arange(len(errors)), each)
    luck = generator.random(len(rows))
    shares = np.array(SHARES)
    error = np.array(errors)[:, None] * shares ** -np.array(exponents)[:, None]
    hits = (luck[:, None] >= error[rows]).astype(np.int64)
    sizes = np.tile(0.8 * each * shares, (len(errors), 1))
    names = tuple(f"label {i}" for i in range(len(errors)))
    return grow(rows, hits, names=names, sizes=sizes)


def test_a_planted_power_is_found():
    found = planted([0.5] * 10, [0.2] * 10, each=400)
    assert found.overall.exponent == pytest.approx(0.5 * FLATTENING, abs=0.04)
    expected = 0.2 * 0.8**0.375 * (1 - 2**-0.375)
    assert found.overall.gain == pytest.approx(expected, abs=0.006)
    assert found.overall.interval[0] < expected < found.overall.interval[1]
    assert found.overall.scores[-1] == pytest.approx(0.8, abs=0.01)
    assert found.overall.sizes == pytest.approx([800, 1600, 2400, 3200])
    assert found.overall.gain_from(0.1) == pytest.approx(0.1 * (1 - 2**-found.overall.exponent))


def test_labels_that_still_learn_come_before_those_that_do_not():
    """Of the two weak labels only the first gets better with rows; the others are good already."""
    found = planted([0.8, 0.0, 0.4, 0.4, 0.4], [0.3, 0.3, 0.02, 0.02, 0.02], each=500)
    assert found.labels[0].label == "label 0"
    gain = {growth.label: growth.gain for growth in found.labels}
    assert gain["label 0"] > 0.08 > 0.04 > gain["label 1"]
    assert all(gain[f"label {i}"] < 0.01 for i in (2, 3, 4))


def test_a_label_with_few_rows_is_drawn_to_the_others():
    lonely = planted([0.5] * 6, [0.25] * 6, each=8, seed=1)
    steep = [growth.exponent for growth in lonely.labels]
    assert np.ptp(steep) < 0.3, "eight rows cannot tell a power"
    widths = [growth.interval[1] - growth.interval[0] for growth in lonely.labels]
    assert np.median(widths) > 0.1, "nor a gain"


def test_what_does_not_fall_promises_nothing():
    found = planted([0.0] * 5, [0.2] * 5, each=300)
    assert found.overall.gain < 0.005
    assert all(growth.gain >= 0 for growth in found.labels)


def clouds(num_rows: int, num_labels: int, width: int = 24):
    generator = np.random.default_rng(0)
    rows = np.arange(num_rows) % num_labels
    features = generator.normal(size=(num_labels, width))[rows]
    features = features + generator.normal(scale=2.0, size=features.shape)
    return features, [f"label {i}" for i in rows]


def test_heads_are_refitted_on_growing_parts():
    features, labels = clouds(500, 5)
    found = learning_curve(features, labels)
    assert found.overall.sizes == pytest.approx([100, 200, 300, 400], abs=5)
    assert found.overall.scores[0] < found.overall.scores[-1]
    assert found.overall.gain > 0
    assert [growth.gain for growth in found.labels] == sorted(
        (growth.gain for growth in found.labels), reverse=True
    )
    assert found == learning_curve(features, labels), "same rows, same curve"


def test_copies_in_groups_are_not_counted_as_learning():
    features, labels = clouds(120, 3)
    copies, again = np.repeat(features, 2, axis=0), [label for label in labels for _ in range(2)]
    groups = [i // 2 for i in range(240)]
    apart = learning_curve(copies, again, groups=groups).overall.scores[-1]
    assert apart < learning_curve(copies, again).overall.scores[-1]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=15))
@settings(deadline=None, max_examples=10)
def test_any_small_table_has_a_curve(labels):
    features = np.random.default_rng(0).normal(size=(len(labels), 3))
    found = learning_curve(features, labels)
    assert {growth.label for growth in found.labels} == set(labels)
    for growth in (found.overall, *found.labels):
        assert all(0 <= share <= 1 for share in growth.scores)
        assert 0 <= growth.gain <= 1
        assert 0 <= growth.interval[0] <= growth.interval[1] <= 1
