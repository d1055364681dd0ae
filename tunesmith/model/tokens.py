"""Texts to token ids, and token ids to padded batches of near-equal length.

Training and serving both come through here, so both clean a text alike and cut it alike.
Does not know: what the ids are for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from tunesmith.data.cleaning import clean_text

BATCH_TOKENS = 2048
"""Tokens of one forward pass. More falls out of the processor's caches: 4,096 are slower."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One text as token ids, special tokens included; `cut` tokens beyond the limit are gone."""

    ids: list[int]
    cut: int


class Encoder:
    """A model folder's tokenizer with a length limit, in tokens."""

    def __init__(self, folder: Path, *, max_length: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self._special = self._tokenizer.num_special_tokens_to_add(False)
        self.pad_id = (
            self._tokenizer.token_to_id("[PAD]") or self._tokenizer.token_to_id("<pad>")
        ) or 0

    def __call__(self, texts: Sequence[str]) -> list[Encoded]:
        """One Encoded a text, in order."""
        return [
            Encoded(e.ids, sum(len(o.ids) - self._special for o in e.overflowing))
            for e in self._tokenizer.encode_batch([clean_text(text) for text in texts])
        ]

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, with this limit, into `folder`."""
        self._tokenizer.save(str(folder / "tokenizer.json"))


def by_length(lengths: Sequence[int], order: Iterable[int], budget: int) -> Iterator[list[int]]:
    """Cut `order` (indices, shortest text first) into batches of at most `budget` padded tokens.

    A single text longer than the budget is a batch of its own.
    """
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) + 1) * lengths[i] > budget:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def collate(ids: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(ids, mask), both int64 of shape (batch, longest); mask is None when nothing is padded.

    Without a mask, attention takes its fast path.
    """
    longest = max(map(len, ids))
    if all(len(row) == longest for row in ids):
        return torch.tensor(ids), None
    padded = torch.full((len(ids), longest), pad_id)
    mask = torch.zeros((len(ids), longest), dtype=torch.long)
    for row, (out, m) in zip(ids, zip(padded, mask, strict=True), strict=True):
        out[: len(row)] = torch.tensor(row)
        m[: len(row)] = 1
    return padded, mask
