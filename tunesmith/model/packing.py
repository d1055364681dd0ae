"""Texts of different lengths through an encoder without padding.

All tokens of a batch stand in one row, each text with positions of its own. Everything but
attention works token by token and needs no change; attention is computed for all texts of one
length at a time, so no text sees another and nothing is ever padded or masked.
Does not know: pooling, heads, labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

NAME = "packed"
FIRST_POSITION = {"bert": 0, "roberta": 2, "xlm-roberta": 2}
"""Position of a text's first token, by type of encoder: those whose attention is known to be
replaceable. Others get padded batches."""


@dataclass(frozen=True)
class Packed:
    """A batch in one row: `ids` and `positions` of shape (1, tokens), the shortest text first."""

    ids: Tensor
    positions: Tensor
    groups: tuple[tuple[int, int], ...]
    """(texts, tokens of each), by ascending length."""
    order: list[int]
    """Which of the given texts stands where."""

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]], *, first_position: int) -> Packed:
        """Pack token ids of texts, in any order."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        counts: dict[int, int] = {}
        for i in order:
            counts[len(texts[i])] = counts.get(len(texts[i]), 0) + 1
        ids = [token for i in order for token in texts[i]]
        positions = [first_position + p for i in order for p in range(len(texts[i]))]
        groups = tuple((count, length) for length, count in counts.items())
        return cls(torch.tensor([ids]), torch.tensor([positions]), groups, order)

    def means(self, hidden: Tensor) -> Tensor:
        """Mean state of each text, in the order given: (1, tokens, width) → (texts, width)."""
        return self._unsort(part.mean(1) for part in self._texts(hidden[0]))

    def firsts(self, hidden: Tensor) -> Tensor:
        """State of each text's first token, likewise."""
        return self._unsort(part[:, 0] for part in self._texts(hidden[0]))

    def _texts(self, states: Tensor) -> Iterator[Tensor]:
        at = 0
        for texts, length in self.groups:
            yield states[at : at + texts * length].view(texts, length, -1)
            at += texts * length

    def _unsort(self, parts: Iterator[Tensor]) -> Tensor:
        rows = torch.cat(list(parts))
        place = torch.empty(len(self.order), dtype=torch.long)
        place[self.order] = torch.arange(len(self.order))
        return rows[place]


def attention(  # noqa: PLR0913 (transformers gives it these)
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Tensor | None,
    *,
    groups: Sequence[tuple[int, int]],
    dropout: float = 0.0,
    scaling: float | None = None,
    **_others: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention inside each text.

    query, key, value: (1, heads, tokens, width of a head); returns (1, tokens, heads, width).
    The signature is transformers' attention interface.
    """
    heads, width = query.shape[1], query.shape[3]
    out, at = [], 0
    for texts, length in groups:
        span = slice(at, at + texts * length)
        q, k, v = (
            t[0, :, span].view(heads, texts, length, width).transpose(0, 1)
            for t in (query, key, value)
        )
        seen = functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling)
        out.append(seen.transpose(1, 2).reshape(texts * length, heads, width))
        at += texts * length
    return torch.cat(out).unsqueeze(0), None


def register() -> None:
    """Make it known to transformers, under NAME; it takes no mask."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)
