"""Words of a text, cut to their stems, without those that say nothing; and how well passages hold
those of a question.

The weight of a word is BM25's (Robertson and Zaragoza, 2009).
Does not know: meanings; that is what vectors are for.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WORD = re.compile(r"[a-z0-9]+")
EMPTY = frozenset(
    WORD.findall(
        "a about all also am an and any are as at be been but by can could did do does doing "
        "done for from get give go got had has have how i if in into is it its just like make "
        "may me mean means might much must my need no not of on one or our out please shall "
        "should so some such tell than that the their them then there these they this those to "
        "too up us use used using want was way we were what when where which who why will with "
        "without work would you your tunesmith"
    )
)
"""What questions are asked with, and not about."""
SUFFIXES = WORD.findall(
    "ifications ification ifiers ifier ifying ified ifies ify ations ation ating ated ates ate ies "
    "ings ing ers ed er es ly s e y"
)
"""The first that fits is cut off."""
SHORTEST = 3
SATURATION, LENGTH_SHARE = 1.2, 0.75


def words(text: str) -> list[str]:
    """The stems of what the text says."""
    return [_stem(word) for word in WORD.findall(text.lower()) if word not in EMPTY]


class Lexicon:
    """Which words stand in which of the texts."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self._size = len(texts)
        lengths = np.array([len(text) for text in texts], np.float32)
        self._slack = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * lengths / lengths.mean())
        self._places: dict[str, list[tuple[int, int]]] = {}
        for place, text in enumerate(texts):
            for word, count in Counter(text).items():
                self._places.setdefault(word, []).append((place, count))

    def weight(self, word: str) -> float:
        """How much the word tells; the most, where no text has it."""
        holders = len(self._places.get(word, ()))
        return math.log(1 + (self._size - holders + 0.5) / (holders + 0.5))

    def held(self, question: Sequence[str]) -> NDArray[np.float32]:
        """For each text, how much of the question it holds: 0 nothing, near 1 all of it."""
        scores = np.zeros(self._size, np.float32)
        asked = set(question)
        most = sum(map(self.weight, asked))
        for word in asked:
            for place, count in self._places.get(word, ()):
                scores[place] += self.weight(word) * count / (count + self._slack[place])
        return scores / most if most else scores


def _stem(word: str) -> str:
    for suffix in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= SHORTEST:
            word = word.removesuffix(suffix)
            break
    is_doubled = len(word) > SHORTEST and word[-1] == word[-2] and word[-1] not in "ls"
    return word[:-1] if is_doubled else word
