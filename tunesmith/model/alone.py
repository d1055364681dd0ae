"""Texts that go on one at a time, in transformers' own caches, for models that `cached` cannot do.

It is called as `cached.Cached` is and gives the same, slower.
Does not know: sampling, what a text is, when it ends.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tunesmith.model.cached import Adapters, Chunk
from tunesmith.model.fixed import multiplying
from tunesmith.model.precision import Precision


class Own:
    """A text's cache, of whatever class its model has; None before the first token."""

    def __init__(self, content: Any = None) -> None:
        self.content = content


class Alone:
    """A causal model of transformers that reads and writes texts chunk by chunk."""

    def __init__(
        self, network: Any, adapters: Adapters | None = None, *, precision: Precision = "fp32"
    ) -> None:
        self._network = network
        self._adapters = adapters
        self._precision: Precision = precision
        parameters = inspect.signature(network.forward).parameters
        self._name = "cache" if "cache" in parameters else "past_key_values"
        """Of the cache, which versions of transformers call differently."""
        self._keeps = "logits_to_keep" in parameters
        """Whether it can be told which logits are wanted."""
        config = network.config.get_text_config(decoder=True)
        width = getattr(config, "hidden_size", 0) * network.dtype.itemsize
        self.bytes_per_token = 2 * getattr(config, "num_hidden_layers", 1) * width or 1
        """Of a cache, at most."""

    def open(self, tokens: int) -> Own:
        """An empty cache for a text of so many tokens."""
        return Own()

    def copy(self, cache: Own) -> Own:
        """Another cache with the same content."""
        return Own(copy.deepcopy(cache.content))

    def close(self, cache: Own) -> None:
        """Forget a cache."""
        cache.content = None

    @torch.inference_mode()
    def forward(self, chunks: Sequence[Chunk]) -> Tensor:
        """Read the chunks; the logits that they want told: (rows, vocabulary), in their order."""
        rows: list[Tensor] = []
        for chunk in chunks:
            if chunk.parents is None:
                rows.append(self._read(chunk, chunk.cache, chunk.ids, chunk.told))
                continue
            for place in chunk.told:
                way = _way(place, chunk.parents)
                ids = [chunk.ids[i] for i in way]
                rows.append(self._read(chunk, self.copy(chunk.cache), ids, [len(ids) - 1]))
        return torch.cat(rows)

    def _read(self, chunk: Chunk, cache: Own, ids: Sequence[int], told: Sequence[int]) -> Tensor:
        """The logits after the places `told` in `ids`."""
        if self._adapters is not None:
            self._adapters.arrange([chunk.adapter] * len(ids))
        device = self._network.device
        wanted = torch.tensor(told, dtype=torch.long, device=device)
        options = {"logits_to_keep": wanted} if self._keeps else {}
        given = torch.tensor([ids], device=device)
        with multiplying(self._network, self._precision):
            out = self._network(
                input_ids=given, use_cache=True, **{self._name: cache.content}, **options
            )
        cache.content = getattr(out, self._name)
        logits: Tensor = out.logits[0]
        return logits if self._keeps else logits[wanted]


def _way(place: int, parents: Sequence[int]) -> list[int]:
    """The places that lead to `place` in a tree, itself the last."""
    way: list[int] = []
    while place >= 0:
        way.append(place)
        place = parents[place]
    return way[::-1]
