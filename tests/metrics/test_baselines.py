"""Baselines: on any table that prepare lets through, without a warning."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.metrics import baselines
from tunesmith.metrics.baselines import BASELINES, majority_class, tfidf_logistic

TOPICS = {
    "delivery": "my parcel never came and the courier lost the box",
    "billing": "you charged the card twice so refund the invoice",
}


def table(num_rows: int, num_labels: int = 2, seed: int = 0):
    """Texts of filler words with one telling word for their label."""
    generator = np.random.default_rng(seed)
    filler = ["please", "hello", "thanks", "question", "about", "today"]
    labels = [f"topic{i % num_labels}" for i in range(num_rows)]
    texts = [f"{' '.join(generator.choice(filler, 4))} {label}word" for label in labels]
    return texts, labels


def test_the_majority_is_the_most_frequent_and_ties_go_by_the_alphabet():
    assert majority_class(["x"] * 3, ["b", "b", "a"], ["y", "z"]) == ["b", "b"]
    assert majority_class(["x"] * 4, ["b", "b", "a", "a"], ["y"]) == ["a"]


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("num_labels", [2, 3, 150])
def test_the_linear_baseline_learns_what_a_word_tells(num_labels, balanced):
    texts, labels = table(num_labels * 8, num_labels)
    test_texts, test_labels = table(num_labels * 2, num_labels, seed=1)
    found = tfidf_logistic(texts, labels, test_texts, balanced=balanced)
    assert np.mean([f == t for f, t in zip(found, test_labels, strict=True)]) > 0.95


def test_ten_rows_are_enough():
    texts = list(TOPICS.values()) * 5
    labels = list(TOPICS) * 5
    assert tfidf_logistic(texts, labels, ["the courier lost it"]) == ["delivery"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("the and of", "to in is"),  # stop words only
        ("a", "b"),  # no word of two letters
        ("!!!", "???"),
        ("我的包裹没有到", "请退还发票金额"),  # no spaces between words
    ],
)
def test_odd_texts_are_told_apart(one, other):
    found = tfidf_logistic([one, other] * 5, ["x", "y"] * 5, [one, other])
    assert found == ["x", "y"]


def test_scripts_without_spaces_are_read_by_letters():
    texts = [f"{n}我的包裹没有到{n}" for n in range(10, 30)]
    texts += [f"{n}请退还发票金额{n}" for n in range(30, 50)]
    labels = ["delivery"] * 20 + ["billing"] * 20
    assert tfidf_logistic(texts, labels, ["包裹在哪里", "发票错了"]) == ["delivery", "billing"]


def test_nothing_to_read_falls_back_to_the_majority():
    assert tfidf_logistic([" ", "", "\n"], ["x", "x", "y"], ["anything"]) == ["x"]
    assert tfidf_logistic(["some text", "more text"], ["x", "x"], ["text"]) == ["x"]
    assert tfidf_logistic(["some text", "more text"], ["x", "y"], []) == []


def test_balanced_weighs_labels_alike():
    """Of 100 equal texts 10 say y: by number the answer is x, with labels weighing alike a tie
    that the y-only word decides."""
    texts = ["same words here"] * 90 + ["same words here too"] * 10 + ["same words here too"] * 20
    labels = ["x"] * 90 + ["y"] * 10 + ["x"] * 20
    question = ["same words here too"]
    assert tfidf_logistic(texts, labels, question) == ["x"]
    assert tfidf_logistic(texts, labels, question, balanced=True) == ["y"]


def test_same_rows_same_answers_also_from_a_sample(monkeypatch):
    texts, labels = table(400, 4)
    monkeypatch.setattr(baselines, "MAX_TEXTS", 100)
    first = tfidf_logistic(texts, labels, texts[:20])
    assert first == tfidf_logistic(texts, labels, texts[:20])
    assert first == labels[:20]


def test_each_baseline_introduces_itself_and_answers_alike():
    texts, labels = table(20)
    for baseline in BASELINES:
        assert baseline.name and baseline.title and baseline.description.endswith(".")
        answers = baseline.predict(texts, labels, texts[:3], balanced=True)
        assert len(answers) == 3 and set(answers) <= set(labels)
