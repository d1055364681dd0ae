"""Texts of different lengths in one batch without padding.

All tokens of a batch stand in one row, the shortest text first. Everything but attention works
token by token and needs no change; attention is computed for all texts of one length at a time, so
no text sees another and nothing is ever padded or masked.
Does not know: weights, heads, labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Packed:
    """A batch in one row: `ids` and `positions` have shape (tokens,)."""

    ids: Tensor
    positions: Tensor
    """From 0 in each text."""
    groups: tuple[tuple[int, int], ...]
    """(texts, tokens of each), by ascending length; the filler, if any, last."""
    order: list[int]
    """Which of the given texts stands where."""

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]], *, multiple: int = 1) -> Packed:
        """Pack token ids of texts, in any order.

        `multiple`: fill up to a multiple of so many tokens, with a last text that is nobody's.
        """
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        counts = Counter(len(texts[i]) for i in order)
        ids = [token for i in order for token in texts[i]]
        positions = [p for i in order for p in range(len(texts[i]))]
        groups = [(count, length) for length, count in counts.items()]
        if filler := -len(ids) % multiple:
            ids += [0] * filler
            positions += range(filler)
            groups.append((1, filler))
        return cls(torch.tensor(ids), torch.tensor(positions), tuple(groups), order)

    def parts(self, states: Tensor) -> Iterator[Tensor]:
        """(tokens, width) as one (texts, length, width) for each group."""
        at = 0
        for texts, length in self.groups:
            yield states[at : at + texts * length].view(texts, length, -1)
            at += texts * length

    def attend(self, mixed: Tensor, *, heads: int, dropout: float) -> Tensor:
        """Scaled dot-product attention inside each text.

        mixed: queries, keys and values side by side, (tokens, 3 · width); returns (tokens, width).
        """
        out = []
        for part in self.parts(mixed):
            texts, length, width = part.shape
            query, key, value = part.view(texts, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
            seen = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
            out.append(seen.transpose(1, 2).reshape(texts * length, width // 3))
        return torch.cat(out)

    def means(self, states: Tensor) -> Tensor:
        """Mean state of each text, in the order given: (tokens, width) → (texts, width)."""
        return self._unsort([part.mean(1) for part in self.parts(states)])

    def firsts(self, states: Tensor) -> Tensor:
        """State of each text's first token, likewise."""
        return self._unsort([part[:, 0] for part in self.parts(states)])

    def _unsort(self, parts: list[Tensor]) -> Tensor:
        place = torch.empty(len(self.order), dtype=torch.long)
        place[self.order] = torch.arange(len(self.order))
        return torch.cat(parts)[place]
