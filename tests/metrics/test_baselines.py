"""Baselines: on any table that prepare lets through, without a warning."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.metrics import baselines
from tunesmith.metrics.baselines import (
    BASELINES,
    EMBEDDINGS,
    embeddings_logistic,
    majority_class,
    tfidf_logistic,
)

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
    assert majority_class(["x"] * 3, ["b", "b", "a"], ["y", "z"]).predicted == ["b", "b"]
    assert majority_class(["x"] * 4, ["b", "b", "a", "a"], ["y"]).predicted == ["a"]


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("num_labels", [2, 3, 150])
def test_the_linear_baseline_learns_what_a_word_tells(num_labels, balanced):
    texts, labels = table(num_labels * 8, num_labels)
    test_texts, test_labels = table(num_labels * 2, num_labels, seed=1)
    found = tfidf_logistic(texts, labels, test_texts, balanced=balanced).predicted
    assert np.mean([f == t for f, t in zip(found, test_labels, strict=True)]) > 0.95


def test_ten_rows_are_enough():
    texts = list(TOPICS.values()) * 5
    labels = list(TOPICS) * 5
    assert tfidf_logistic(texts, labels, ["the courier lost it"]).predicted == ["delivery"]


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
    found = tfidf_logistic([one, other] * 5, ["x", "y"] * 5, [one, other]).predicted
    assert found == ["x", "y"]


def test_scripts_without_spaces_are_read_by_letters():
    texts = [f"{n}我的包裹没有到{n}" for n in range(10, 30)]
    texts += [f"{n}请退还发票金额{n}" for n in range(30, 50)]
    labels = ["delivery"] * 20 + ["billing"] * 20
    assert tfidf_logistic(texts, labels, ["包裹在哪里", "发票错了"]).predicted == [
        "delivery",
        "billing",
    ]


def test_nothing_to_read_falls_back_to_the_majority():
    assert tfidf_logistic([" ", "", "\n"], ["x", "x", "y"], ["anything"]).predicted == ["x"]
    assert tfidf_logistic(["some text", "more text"], ["x", "x"], ["text"]).predicted == ["x"]
    assert tfidf_logistic(["some text", "more text"], ["x", "y"], []).predicted == []


def test_balanced_weighs_labels_alike():
    """Of 100 equal texts 10 say y: by number the answer is x, with labels weighing alike a tie
    that the y-only word decides."""
    texts = ["same words here"] * 90 + ["same words here too"] * 10 + ["same words here too"] * 20
    labels = ["x"] * 90 + ["y"] * 10 + ["x"] * 20
    question = ["same words here too"]
    assert tfidf_logistic(texts, labels, question).predicted == ["x"]
    assert tfidf_logistic(texts, labels, question, balanced=True).predicted == ["y"]


def test_same_rows_same_answers_also_from_a_sample(monkeypatch):
    texts, labels = table(400, 4)
    monkeypatch.setattr(baselines, "MAX_TEXTS", 100)
    first = tfidf_logistic(texts, labels, texts[:20]).predicted
    assert first == tfidf_logistic(texts, labels, texts[:20]).predicted
    assert first == labels[:20]


def test_each_baseline_introduces_itself_and_answers_alike():
    texts, labels = table(20)
    for baseline in BASELINES:
        assert baseline.name and baseline.title and baseline.description.endswith(".")
        answers = baseline.predict(texts, labels, texts[:3], balanced=True)
        assert len(answers) == 3 and set(answers) <= set(labels)
        found = baseline.answer(texts, labels, texts[:3], balanced=True)
        assert found.predicted == answers
        assert found.labels == ("topic0", "topic1")
        assert found.probabilities.sum(1) == pytest.approx(np.ones(3))


def test_the_majority_is_as_sure_as_its_share():
    found = majority_class(["x"] * 4, ["b", "b", "b", "a"], ["y"])
    assert found.probabilities.tolist() == [[0.25, 0.75]]
    assert majority_class(["x"], ["a"], []).predicted == []


def test_the_linear_baseline_is_surer_where_a_text_says_more():
    texts, labels = table(60, 3)
    clear, vague = texts[0], "please about today"
    found = tfidf_logistic(texts, labels, [clear, vague])
    assert found.labels[found.probabilities[0].argmax()] == labels[0]
    assert found.probabilities[0].max() > found.probabilities[1].max() + 0.2


def features(num_rows: int, seed: int):
    """Points around one of three corners, and the corner's name."""
    rows = np.arange(num_rows) % 3
    noise = np.random.default_rng(seed).normal(scale=0.2, size=(num_rows, 3))
    return np.eye(3)[rows] + noise, [f"corner {i}" for i in rows]


@pytest.mark.parametrize("balanced", [False, True])
def test_a_head_on_embeddings_learns_what_they_tell(balanced):
    train, labels = features(60, seed=0)
    test, right = features(30, seed=1)
    found = EMBEDDINGS.answer(train, labels, test, balanced=balanced)
    assert found.predicted == right == EMBEDDINGS.predict(train, labels, test, balanced=balanced)
    assert found.probabilities.shape == (30, 3)


def test_balanced_embeddings_weigh_labels_alike():
    train = np.array([[1.0, 0.0]] * 90 + [[1.0, 0.0]] * 30 + [[0.0, 1.0]] * 60)
    labels = ["x"] * 90 + ["y"] * 90
    question = np.array([[1.0, 0.0]])
    natural = embeddings_logistic(train[:120], labels[:120], question)
    even = embeddings_logistic(train[:120], labels[:120], question, balanced=True)
    of_y = [found.probabilities[0, 1] for found in (natural, even)]
    assert of_y == pytest.approx([0.25, 0.5], abs=0.02)


def test_embeddings_of_one_label_or_of_a_sample(monkeypatch):
    train, labels = features(300, seed=0)
    assert embeddings_logistic(train, ["only"] * 300, train[:2]).predicted == ["only", "only"]
    monkeypatch.setattr(baselines, "MAX_TEXTS", 60)
    assert embeddings_logistic(train, labels, np.eye(3)).predicted == sorted(set(labels))
