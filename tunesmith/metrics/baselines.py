"""Cheap classifiers that show what a tuned model must beat, on the same rows.

Knows: scikit-learn. Everything is deterministic and takes seconds.
Does not know: the tuned model, scores.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.metrics import heads
from tunesmith.metrics.heads import Answers, Features

# The linear baseline's time grows with texts times labels; beyond these it learns from a sample.
MAX_TEXTS = 50_000
MAX_WORK = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A cheap classifier: `answer(train, train_labels, test, balanced=False)`.

    name: for files; title: as it reads in a sentence; description: one line. What `train` and
    `test` are, texts or features, is said by the function behind `answer`.
    """

    name: str
    title: str
    description: str
    answer: Callable[..., Answers]

    def predict(
        self, train: Any, train_labels: Sequence[str], test: Any, *, balanced: bool = False
    ) -> list[str]:
        """Only the labels."""
        return self.answer(train, train_labels, test, balanced=balanced).predicted


def majority_class(
    train_texts: Sequence[str],
    train_labels: Sequence[str],
    test_texts: Sequence[str],
    *,
    balanced: bool = False,
) -> Answers:
    """The most frequent training label for every text; of equals the first in the alphabet.

    Its probabilities are the shares of the labels. `balanced` changes nothing: it is taken so that
    all baselines are called alike.
    """
    counts = Counter(train_labels)
    labels = tuple(sorted(counts))
    shares = np.array([counts[label] / len(train_labels) for label in labels])
    return Answers(labels=labels, probabilities=np.tile(shares, (len(test_texts), 1)))


def tfidf_logistic(
    train_texts: Sequence[str],
    train_labels: Sequence[str],
    test_texts: Sequence[str],
    *,
    balanced: bool = False,
) -> Answers:
    """Logistic regression, one label against the rest, on weighted words and word pairs.

    balanced  every label weighs alike, whatever its number of texts.

    Falls back to letters where the texts share few words, and to the most frequent label where
    there is only one, or nothing to read at all.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    chosen = _sample(train_labels)
    texts, labels = ([column[i] for i in chosen] for column in (train_texts, train_labels))
    counted = tfidf(texts) if len(set(labels)) > 1 and test_texts else None
    if counted is None:
        return majority_class(train_texts, train_labels, test_texts)
    vectorizer, seen = counted
    # liblinear one label at a time is as good here as one joint model, and eight times as fast.
    weights = "balanced" if balanced else None
    # Its dual, solved to a hundredth, answers alike in half the time.
    linear = LogisticRegression(
        solver="liblinear", C=30.0, dual=True, tol=1e-2, class_weight=weights, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a hundred rounds do for a baseline
        warnings.filterwarnings("ignore", "The number of unique classes is greater")
        model = OneVsRestClassifier(linear).fit(seen, labels)
    return Answers(
        labels=tuple(map(str, model.classes_)),
        probabilities=model.predict_proba(vectorizer.transform(test_texts)),
    )


def embeddings_logistic(
    train_features: Features,
    train_labels: Sequence[str],
    test_features: Features,
    *,
    balanced: bool = False,
) -> Answers:
    """Multinomial logistic regression on features [rows, width] that are given, such as a base
    model's embeddings.

    balanced  every label weighs alike, whatever its number of rows.
    """
    chosen = _sample(train_labels)
    labels = [train_labels[i] for i in chosen]
    return heads.answer(train_features[chosen], labels, test_features, balanced=balanced)


def tfidf(texts: Sequence[str]) -> tuple[Any, Any] | None:
    """A vectorizer that finds something to count, and its matrix; None if there is nothing.

    Words and word pairs that occur twice; or letters, where that leaves many texts empty: tables
    of a few rows, scripts that put no spaces between words.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    for analyzer, longest, least in (("word", 2, 2), ("char_wb", 3, 1)):
        vectorizer = TfidfVectorizer(
            analyzer=analyzer, ngram_range=(1, longest), min_df=least, sublinear_tf=True
        )
        try:
            seen = vectorizer.fit_transform(texts)
        except ValueError:  # nothing left to count
            continue
        if np.mean(seen.getnnz(axis=1) > 0) >= 0.9 or analyzer != "word":
            return vectorizer, seen
    return None


def _sample(labels: Sequence[str]) -> NDArray[np.int64]:
    """The rows a baseline learns from: all, or as many as it can in reasonable time."""
    limit = min(MAX_TEXTS, MAX_WORK // max(1, len(set(labels))))
    if len(labels) <= limit:
        return np.arange(len(labels))
    return np.sort(np.random.default_rng(0).choice(len(labels), size=limit, replace=False))


BASELINES = (
    Baseline(
        name="majority_class",
        title="always answering the most frequent label",
        description="Looks at no text; shows what the class sizes alone give away.",
        answer=majority_class,
    ),
    Baseline(
        name="tfidf_logistic",
        title="TF-IDF with logistic regression",
        description="Counts words and word pairs; the usual cheap classifier, trained in seconds "
        "on the same training texts (a sample of them where there are very many).",
        answer=tfidf_logistic,
    ),
)
EMBEDDINGS = Baseline(
    name="embeddings_logistic",
    title="frozen embeddings with logistic regression",
    description="The untuned base model reads the texts, and only a linear head is trained on what "
    "it makes of them, on the same training texts.",
    answer=embeddings_logistic,
)
"""Of features, not of texts: whoever has a base model makes them."""
