"""Scores by slice: right numbers, and no false alarms among many slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.metrics.classification import score
from tunesmith.metrics.slices import RARE, by_slice, holm, length_slices, value_slices

LABELS = ["a", "b", "c"]


def answered(num_rows: int, right: np.ndarray | float, seed: int = 0):
    generator = np.random.default_rng(seed)
    gold = generator.integers(0, 3, num_rows)
    wrong = generator.random(num_rows) >= right
    predicted = np.where(wrong, (gold + generator.integers(1, 3, num_rows)) % 3, gold)
    return [LABELS[i] for i in gold], [LABELS[i] for i in predicted]


def test_a_weak_slice_is_found_and_the_others_are_left_alone():
    values = np.array(["de", "en", "fr", "it"])[np.arange(800) % 4]
    gold, predicted = answered(800, np.where(values == "fr", 0.7, 0.9))
    found = by_slice(gold, predicted, value_slices("language", list(values)))
    assert [s.name for s in found if s.verdict == "worse"] == ["language: fr"]
    weak = next(s for s in found if s.verdict == "worse")
    mask = values == "fr"
    right = np.array(gold) == np.array(predicted)
    assert (weak.num_rows, weak.accuracy) == (200, right[mask].mean())
    assert weak.rest_accuracy == pytest.approx(right[~mask].mean())
    assert weak.interval[0] < weak.accuracy < weak.interval[1] < weak.rest_accuracy
    inside = [i for i in range(800) if mask[i]]
    alone = score([gold[i] for i in inside], [predicted[i] for i in inside], labels=LABELS)
    assert weak.f1_macro == pytest.approx(alone.metrics["f1_macro"])


def test_among_many_slices_chance_raises_few_alarms():
    tables_with_alarms = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        gold, predicted = answered(600, 0.85, seed)
        masks = value_slices("source", generator.integers(0, 20, 600).tolist())
        tables_with_alarms += any(
            s.verdict != "undecided" for s in by_slice(gold, predicted, masks)
        )
    assert tables_with_alarms <= 6


def test_a_slice_of_all_rows_or_of_none():
    gold, predicted = answered(50, 0.8)
    everything, nothing = np.ones(50, dtype=bool), np.zeros(50, dtype=bool)
    (only,) = by_slice(gold, predicted, {"all": everything, "none": nothing})
    assert (only.name, only.p_value, only.verdict) == ("all", 1.0, "undecided")
    assert np.isnan(only.rest_accuracy)
    assert by_slice(gold, predicted, {}) == ()


def test_rare_values_are_taken_together():
    values = ["x"] * 50 + ["y"] * 30 + [f"id {i}" for i in range(40)]
    masks = value_slices("source", values)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "source: x": 50,
        "source: y": 30,
        f"source: {RARE}": 40,
    }
    assert value_slices("source", ["x"] * 50) == {}, "nothing to compare with"
    assert value_slices("id", list(range(50))) == {}, "no value has enough rows"
    assert list(value_slices("count", [1] * 20 + [None] * 10)) == ["count: 1", "count: None"]
    many = value_slices("source", [i for i in range(100) for _ in range(12)])
    assert len(many) == 31


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=200))
@settings(deadline=None)
def test_every_text_is_in_one_slice_of_length(lengths):
    masks = length_slices(lengths)
    assert len(masks) <= 4 and len(masks) != 1
    if masks:
        assert (np.sum(list(masks.values()), axis=0) == 1).all()
        assert all(mask.any() for mask in masks.values())


def test_slices_of_length_have_about_as_many_rows_each_and_say_their_bounds():
    masks = length_slices(np.arange(1, 1201))
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "1 to 300 characters": 300,
        "301 to 600 characters": 300,
        "601 to 900 characters": 300,
        "901 to 1,200 characters": 300,
    }
    assert length_slices([7] * 20) == {}


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []
