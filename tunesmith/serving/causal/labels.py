"""Which of a few answers is the most probable, without writing any.

Answers that begin alike share those tokens: together they are a tree, which is read behind the
prompt in one pass or a few. Does not know: what the answers mean, how they are rendered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

TREE = 256
"""Tokens of a tree, at most, unless a single answer has more."""
Prefix = tuple[int, ...]


@dataclass
class Tree:
    """Beginnings of some answers, a token each, below those that they continue.

    ids, parents  as in `cached.Chunk`.
    wanted        for each of `ids`, (answer, token): what may follow, and whose it is.
    """

    ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    wanted: list[list[tuple[int, int]]] = field(default_factory=list)


class Comparison:
    """The probabilities of answers, given as token ids with their ends, after one prompt."""

    def __init__(self, answers: Sequence[Sequence[int]]) -> None:
        self._first = [(i, answer[0]) for i, answer in enumerate(answers)]
        self._sums = [0.0] * len(answers)
        self.trees = list(_trees(answers))
        """To be read after the prompt, each by itself."""

    def take_prompt(self, logits: Tensor) -> None:
        """logits: (vocabulary,), of what follows the prompt."""
        self._take(logits[None], [self._first])

    def take(self, tree: Tree, logits: Tensor) -> None:
        """logits: (tokens of the tree, vocabulary)."""
        self._take(logits, tree.wanted)

    def logprobs(self) -> list[float]:
        """Of each answer, if it must be one of them: their exponentials add up to 1."""
        return torch.tensor(self._sums, dtype=torch.float64).log_softmax(0).tolist()

    def _take(self, logits: Tensor, wanted: Sequence[Sequence[tuple[int, int]]]) -> None:
        rows = [row for row, some in enumerate(wanted) for _ in some]
        pairs = [pair for some in wanted for pair in some]
        tokens = [token for _, token in pairs]
        logits = logits.float()
        found = logits[rows, tokens] - logits.logsumexp(-1)[rows]
        for (answer, _), value in zip(pairs, found.tolist(), strict=True):
            self._sums[answer] += value if math.isfinite(value) else -math.inf


def _trees(answers: Sequence[Sequence[int]]) -> Iterator[Tree]:
    tree = Tree()
    places: dict[Prefix, int] = {(): -1}
    for i in sorted(range(len(answers)), key=lambda i: tuple(answers[i])):
        answer = tuple(answers[i])
        if tree.ids and len(tree.ids) + len(answer) > TREE:
            yield tree
            tree, places = Tree(), {(): -1}
        for length in range(1, len(answer)):
            begun = answer[:length]
            if begun not in places:
                places[begun] = len(tree.ids)
                tree.ids.append(begun[-1])
                tree.parents.append(places[begun[:-1]])
                tree.wanted.append([])
            tree.wanted[places[begun]].append((i, answer[length]))
    if tree.ids:
        yield tree
