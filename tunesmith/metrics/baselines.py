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

# The linear baseline's time grows with texts times labels; beyond these it learns from a sample.
MAX_TEXTS = 50_000
MAX_WORK = 4_000_000

Predict = Callable[..., list[str]]


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A cheap classifier: `predict(train_texts, train_labels, test_texts, balanced=False)`.

    name: for files; title: as it reads in a sentence; description: one line.
    """

    name: str
    title: str
    description: str
    predict: Predict


def majority_class(
    train_texts: Sequence[str],
    train_labels: Sequence[str],
    test_texts: Sequence[str],
    *,
    balanced: bool = False,
) -> list[str]:
    """The most frequent training label for every text; of equals the first in the alphabet.

    `balanced` changes nothing: it is taken so that all baselines are called alike.
    """
    counts = Counter(train_labels)
    best = min(counts, key=lambda label: (-counts[label], label))
    return [best] * len(test_texts)


def tfidf_logistic(
    train_texts: Sequence[str],
    train_labels: Sequence[str],
    test_texts: Sequence[str],
    *,
    balanced: bool = False,
) -> list[str]:
    """Logistic regression, one label against the rest, on weighted words and word pairs.

    balanced  every label weighs alike, whatever its number of texts.

    Falls back to letters where the texts share few words, and to the most frequent label where
    there is only one, or nothing to read at all.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    texts, labels = _sample(train_texts, train_labels)
    counted = _count(texts) if len(set(labels)) > 1 and test_texts else None
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
        model = OneVsRestClassifier(linear).fit(seen, labels)
    return [str(label) for label in model.predict(vectorizer.transform(test_texts))]


def _count(texts: Sequence[str]) -> tuple[Any, Any] | None:
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


def _sample(texts: Sequence[str], labels: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    limit = min(MAX_TEXTS, MAX_WORK // max(1, len(set(labels))))
    if len(texts) <= limit:
        return texts, labels
    chosen = np.sort(np.random.default_rng(0).choice(len(texts), size=limit, replace=False))
    return [texts[i] for i in chosen], [labels[i] for i in chosen]


BASELINES = (
    Baseline(
        name="majority_class",
        title="always answering the most frequent label",
        description="Looks at no text; shows what the class sizes alone give away.",
        predict=majority_class,
    ),
    Baseline(
        name="tfidf_logistic",
        title="TF-IDF with logistic regression",
        description="Counts words and word pairs; the usual cheap classifier, trained in seconds "
        "on the same training texts (a sample of them where there are very many).",
        predict=tfidf_logistic,
    ),
)
