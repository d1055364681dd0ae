"""Which passages and pages fit a question: by the words they share with it and by meaning.

Meaning is the cosine of vectors, which a callable of the caller's makes; without one, words alone
count. Does not know: how vectors are made, what an answer is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.manual.passages import Passage
from tunesmith.manual.words import Lexicon, words

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]
"""Texts → (texts, width), each row of length 1."""

BY_WORDS = 0.4
"""Share of the words in a score; the rest is the meaning's. From 0.35 to 0.5 nothing changes in how
many of the questions at even places of tests/manual/choosing.toml find their page (all 30)."""
HEADING_COUNTS = 2
"""A word of a heading counts as often as one that stands so many times in the text."""
SECOND = 0.15
"""What a page's second-best passage adds to its score."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A passage and how well it fits: about 0 to 1."""

    passage: Passage
    score: float


class Index:
    """The passages, ready to be searched.

    `embed`, where given, makes vectors; those of the passages are kept in the folder `kept`.
    """

    def __init__(
        self, passages: Sequence[Passage], embed: Embed | None = None, kept: Path | None = None
    ) -> None:
        self.passages = passages
        self.embed = embed
        texts = [passage.text for passage in passages]
        self._vectors = vectors(texts, embed, kept) if embed else None
        headings = [" ".join(passage.headings) for passage in passages]
        said = zip(texts, headings, strict=True)
        self._lexicon = Lexicon([words(t) + words(h) * (HEADING_COUNTS - 1) for t, h in said])

    def search(self, question: str) -> list[Hit]:
        """All passages, the best first."""
        held = self._lexicon.held(words(question))
        if self.embed is not None and self._vectors is not None:
            near = self._vectors @ self.embed([question])[0]
            held = BY_WORDS * held + (1 - BY_WORDS) * near
        order = np.argsort(-held, kind="stable")
        return [Hit(passage=self.passages[i], score=float(held[i])) for i in order]

    def nearness(self, question: str, sentences: Sequence[str]) -> list[float]:
        """How well each sentence fits, on the scale of passages."""
        asked = set(words(question))
        most = sum(map(self._lexicon.weight, asked)) or 1.0
        shared = [asked & set(words(sentence)) for sentence in sentences]
        held = np.array([sum(map(self._lexicon.weight, each)) / most for each in shared])
        if self.embed is not None:
            vectors = self.embed([question, *sentences])
            held = BY_WORDS * held + (1 - BY_WORDS) * (vectors[1:] @ vectors[0])
        return [float(score) for score in held]


def pages_of(hits: Sequence[Hit]) -> dict[str, float]:
    """Pages by their scores, the best first: the best passage's, and a part of the second's."""
    scores: dict[str, list[float]] = {}
    for hit in hits:
        scores.setdefault(hit.passage.page, []).append(hit.score)
    found = {page: each[0] + SECOND * (each[1:2] or [0.0])[0] for page, each in scores.items()}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def vectors(texts: Sequence[str], embed: Embed, kept: Path | None) -> Vectors:
    """The texts' vectors; from a file of `kept`, where these very texts were embedded before."""
    name = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
    file = kept / f"{name}.npy" if kept else None
    if file is not None and (known := _loaded(file)) is not None and len(known) == len(texts):
        return known
    made = np.asarray(embed(texts), np.float32)
    if file is not None:
        _save(file, made)
    return made


def _loaded(file: Path) -> Vectors | None:
    try:
        known: Vectors = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or cut short
        return None
    return known


def _save(file: Path, made: Vectors) -> None:
    """Keep them, in place of those of earlier texts. Where that cannot be, do without."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as stream:
            np.save(stream, made)
        part.replace(file)
        for other in file.parent.glob("*.npy"):
            if other != file:
                other.unlink(missing_ok=True)
    except OSError:
        return
