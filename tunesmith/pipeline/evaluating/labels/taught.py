"""The rows that a model learned from, one for each text, and all rows as numbers.

Cheap classifiers, suspects of wrong labels and nearest rows need texts as numbers: the untuned base
model's embeddings, asked of the endpoint; or TF-IDF, where it gives none.
Does not know: what is made of the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import polars as pl

from tunesmith.config import PrepareConfig
from tunesmith.data.chat.files import read_classification
from tunesmith.data.likeness import near
from tunesmith.errors import NotOffered
from tunesmith.events import Event
from tunesmith.metrics.baselines import tfidf
from tunesmith.metrics.heads import Features
from tunesmith.pipeline.results import Prepared
from tunesmith.pipeline.rundir import FOLDERS, RunDir
from tunesmith.pipeline.workshop import Workshop

MOST_ROWS, MOST_CHARACTERS, MOST_WORK = 20_000, 5_000_000, 1_500_000
"""Of the training texts, and rows times labels: of more, a sample is looked at, so that it takes
minutes on a small machine."""
EMBEDDING_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class Taught:
    """Training texts with their labels, and the lines they came from. Each text stands here once:
    repeated ones, and those with shares of several labels, with the label that is most frequent."""

    texts: list[str]
    labels: list[str]
    lines: list[int]
    num_texts: int
    """Of them all; more than `texts` holds where they are a sample."""

    @property
    def is_sample(self) -> bool:
        return len(self.texts) < self.num_texts


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Training and scored rows as numbers: [rows, width] each."""

    train: Features
    scored: Features
    by: str
    """In words."""
    is_embedded: bool


def taught_rows(prepared: Prepared, run_dir: RunDir) -> Taught:
    """The rows that were trained on, or an even sample of them. Raises: NotFound, DataError."""
    texts, labels = read_classification(run_dir.path / prepared.train)
    rows = zip(texts, labels, strict=True)
    single = [
        (text, Counter(label for _, label in same).most_common(1)[0][0])
        for text, same in groupby(rows, key=lambda row: row[0])
    ]
    receipt = pl.read_parquet(run_dir.path / FOLDERS["prepare"] / "receipt.parquet")
    lines = receipt.filter(pl.col("split") == "train")["line"].to_list()
    assert len(lines) == len(single)
    chosen = _sample([text for text, _ in single], len(prepared.labels))
    return Taught(
        texts=[single[i][0] for i in chosen],
        labels=[single[i][1] for i in chosen],
        lines=[lines[i] for i in chosen],
        num_texts=len(single),
    )


def seen(base_model: str, taught: Taught, texts: Sequence[str], shop: Workshop) -> Seen | None:
    """The rows by the embeddings of the untuned base model, or by TF-IDF where it gives none; None
    where there is nothing in the texts to count either.

    Raises: ProviderError when the endpoint breaks off.
    """
    try:
        every = _embedded(base_model, [*taught.texts, *texts], shop)
    except NotOffered:
        return _by_words(taught, texts)
    train, scored = np.split(every, [len(taught.texts)])
    by = f"the embeddings of {base_model}"
    return Seen(train=train, scored=scored, by=by, is_embedded=True)


def _by_words(taught: Taught, texts: Sequence[str]) -> Seen | None:
    """The rows by TF-IDF, learned from the training texts."""
    counted = tfidf(taught.texts)
    if counted is None:
        return None
    vectorizer, train = counted
    return Seen(train=train, scored=vectorizer.transform(texts), by="TF-IDF", is_embedded=False)


def alike(texts: Sequence[str], config: PrepareConfig) -> list[int]:
    """The group of near-duplicates that each text is in."""
    return near.groups(pl.Series(texts), threshold=threshold(config), seed=config.seed).to_list()


def threshold(config: PrepareConfig) -> float:
    """The share of words from which texts are near-duplicates."""
    return config.near_duplicates or near.THRESHOLD


def _embedded(model: str, texts: Sequence[str], shop: Workshop) -> Features:
    vectors: list[np.ndarray[tuple[int], np.dtype[np.float32]] | None] = [None] * len(texts)
    done = 0
    for i, vector in shop.provider.embed(model, texts, concurrency=EMBEDDING_AT_ONCE):
        vectors[i], done = vector, done + 1
        data = {"done": done, "total": len(texts)}
        message = "Reading the texts with the untuned base model"
        shop.report(Event(kind="progress", message=message, data=data))
    return np.array(vectors, dtype=np.float32)


def _sample(texts: Sequence[str], num_labels: int) -> list[int]:
    """Places of the texts that are looked at: all, or a random part in their order."""
    average = max(1, sum(map(len, texts)) // max(1, len(texts)))
    most = min(MOST_ROWS, MOST_CHARACTERS // average, MOST_WORK // max(1, num_labels))
    if len(texts) <= most:
        return list(range(len(texts)))
    drawn = np.random.default_rng(0).choice(len(texts), size=most, replace=False)
    found: list[int] = np.sort(drawn).tolist()
    return found
