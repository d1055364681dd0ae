"""Attention for texts that go on, plugged into transformers' causal models.

The new tokens of all texts stand in one row, a few of a prompt or the next one of an answer, and
attend to what `caches` keep of their own text. As in `ragged`, everything else in such a model is
computed token by token and needs no change; nothing is padded but the caches of texts of about one
length, which are read together.
Does not know: sampling, what a text is, when it ends.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.errors import NotOffered
from tunesmith.model.caches import Block, Cache, Caches
from tunesmith.model.fixed import multiplying
from tunesmith.model.precision import Precision
from tunesmith.model.ragged import LAYERS, STRANGE

NAME = "tunesmith_cached"
"""By which transformers knows it."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """The next tokens of a text.

    told     places in `ids` after which the logits of the next token are wanted, ascending.
    parents  for each of `ids`, the place in `ids` of the token before it, or -1 where that is the
             last one in the cache. Then `ids` is a tree of ways to go on, and is not kept.
    adapter  what is added to the base model for this text (see `lowrank`), or None.
    """

    cache: Any
    ids: Sequence[int]
    told: Sequence[int] = ()
    parents: Sequence[int] | None = None
    adapter: Any = None


class Adapters(Protocol):
    """What adds to the layers of a model, row by row."""

    def arrange(self, rows: Sequence[Any]) -> None:
        """The adapters of the tokens in the next pass, in their order."""


class Cached:
    """A causal model of transformers that reads and writes texts chunk by chunk.

    precision: of its products (see `fixed`).
    Raises: NotOffered, with the reason, for a model whose attention cannot be plugged in. It is not
    looked up but tried; the model is left as it was.
    """

    def __init__(
        self, network: Any, adapters: Adapters | None = None, *, precision: Precision = "fp32"
    ) -> None:
        self._network = network
        self._adapters = adapters
        self._precision: Precision = precision
        self._caches = Caches()
        self.bytes_per_token = 0
        """Of a cache."""
        self._plug_in()

    def open(self, tokens: int) -> Cache:
        """An empty cache for a text of so many tokens."""
        return self._caches.open(tokens)

    @torch.inference_mode()
    def copy(self, cache: Cache) -> Cache:
        """Another cache with the same content."""
        return self._caches.copy(cache)

    @torch.inference_mode()
    def close(self, cache: Cache) -> None:
        """Forget a cache."""
        self._caches.close(cache)

    @torch.inference_mode()
    def forward(self, chunks: Sequence[Chunk]) -> Tensor:
        """Read the chunks, which are of different texts; the logits that they want told.

        Returns (rows, vocabulary), in the order of the chunks.
        """
        parts = self._parts(chunks)
        device = self._network.device
        ids = [token for part in parts for token in part.ids]
        places = [place for part in parts for place in part.positions]
        told = _rows(chunks, parts)
        if self._adapters is not None:
            self._adapters.arrange([row for part in parts for row in part.adapters])
        with multiplying(self._network, self._precision):
            logits: Tensor = self._network(
                input_ids=torch.tensor([ids], device=device),
                position_ids=torch.tensor([places], device=device),
                use_cache=False,
                logits_to_keep=torch.tensor(told, dtype=torch.long, device=device),
                caches=parts,
            ).logits[0]
        for part in parts:
            part.end()
        return logits

    def _parts(self, chunks: Sequence[Chunk]) -> list[_Part]:
        """The texts that go on by one token, block by block; then the others."""
        next_ones: dict[Block, dict[int, Chunk]] = {}
        longer: list[_Part] = []
        for chunk in chunks:
            if len(chunk.ids) > 1 or chunk.parents is not None:
                self._caches.make_room(chunk.cache, len(chunk.ids))
                longer.append(_Reading(chunk))
            else:
                self._caches.share(chunk.cache)
        for chunk in chunks:
            if len(chunk.ids) == 1 and chunk.parents is None:
                next_ones.setdefault(chunk.cache.block, {})[chunk.cache.slot] = chunk
        parts: list[_Part] = []
        for block, by_slot in next_ones.items():
            if len(by_slot) == len(block.owners):
                parts.append(_Next(block, [by_slot[i] for i in range(len(by_slot))]))
            else:
                parts += [_Reading(chunk) for chunk in by_slot.values()]
        return parts + longer

    def _plug_in(self) -> None:
        config = self._network.config.get_text_config(decoder=True)
        if kinds := set(getattr(config, "layer_types", None) or ()) - LAYERS:
            raise NotOffered(f"it has layers of another kind: {', '.join(sorted(kinds))}")
        if not getattr(self._network, "_supports_flash_attn", False):
            raise NotOffered("its attention is its own")
        if "logits_to_keep" not in inspect.signature(self._network.forward).parameters:
            raise NotOffered("it computes the logits of every token")
        # Here and not above: the import takes seconds.
        from transformers import AttentionInterface

        before = self._network.config._attn_implementation
        AttentionInterface.register(NAME, attend)
        ids = (torch.arange(2, 19) % config.vocab_size).tolist()
        texts = ids[:8], ids[8:]
        with torch.inference_mode():
            plain = [self._plain(text) for text in texts]
        self._network.set_attn_implementation(NAME)
        try:
            self._try(texts, plain)
        except NotOffered:
            self._network.set_attn_implementation(before)
            raise

    def _plain(self, text: Sequence[int]) -> Tensor:
        ids = torch.tensor([text], device=self._network.device)
        with multiplying(self._network, self._precision):
            logits: Tensor = self._network(input_ids=ids, use_cache=False).logits[0]
        return logits

    def _try(self, texts: Sequence[Sequence[int]], plain: Sequence[Tensor]) -> None:
        """Have two texts read in parts, side by side. Raises: NotOffered."""
        caches = [self.open(len(text)) for text in texts]
        found: list[list[Tensor]] = [[], []]
        for start, end in ((0, 3), (3, 6), (6, 7), (7, 8)):
            pieces = [text[start + i : end + i] for i, text in enumerate(texts)]
            if start == 0:
                pieces[1] = texts[1][: end + 1]
            chunks = [
                Chunk(cache=cache, ids=piece, told=range(len(piece)))
                for cache, piece in zip(caches, pieces, strict=True)
            ]
            rows = torch.split_with_sizes(self.forward(chunks), [len(piece) for piece in pieces])
            for place, part in zip(found, rows, strict=True):
                place.append(part)
        self.bytes_per_token = caches[0].block.bytes_per_token
        for cache in caches:
            self.close(cache)
        for ours, theirs in zip(found, plain, strict=True):
            near = torch.finfo(theirs.dtype).eps ** 0.5
            if not torch.allclose(torch.cat(ours), theirs, rtol=near, atol=near):
                raise NotOffered("it computes something else than its tokens one by one")


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Causal attention of new tokens to their own text, as transformers calls it.

    query: (1, heads, tokens, width), key and value likewise with as many heads or fewer;
    returns (1, tokens, heads, width).
    Raises: NotOffered for what a model's attention has that this has not.
    """
    strange = [name for name in STRANGE if options.get(name) is not None]
    if mask is not None:
        strange.append("a mask of its own")
    if not getattr(module, "is_causal", True) or options.get("is_causal") is False:
        strange.append("sight of what comes later")
    parts: Sequence[_Part] = options.get("caches", ())
    if strange or not parts:
        raise NotOffered(f"its attention has {', '.join(strange) or 'no way in'}")
    kind: torch.dtype = value.dtype
    layer, options = int(module.layer_idx), {**options, "scale": options.get("scaling")}  # type: ignore[arg-type]
    states = query.to(kind)[0], key.to(kind)[0], value[0]
    if len(parts) == 1:
        return parts[0].attend(layer, *states, options)[None], None
    sizes = [len(part.ids) for part in parts]
    pieces = zip(parts, *(torch.split_with_sizes(s, sizes, 1) for s in states), strict=True)
    return torch.cat([part.attend(layer, *own, options) for part, *own in pieces])[None], None


class _Part:
    """Tokens that stand together in the row, and attend in one call."""

    def __init__(self, chunks: Sequence[Chunk], positions: list[int]) -> None:
        self.chunks = chunks
        self.ids = [token for chunk in chunks for token in chunk.ids]
        self.adapters = [chunk.adapter for chunk in chunks for _ in chunk.ids]
        self.positions = positions
        self._masks: dict[tuple[int | None, torch.dtype], Tensor | None] = {}

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]
    ) -> Tensor:
        """Keep key and value, and attend: (heads, tokens, width) → (tokens, heads, width)."""
        raise NotImplementedError

    def end(self) -> None:
        """The pass is over: its tokens count."""
        raise NotImplementedError

    def mask(self, window: int | None, like: Tensor) -> Tensor | None:
        """What is added to the likeness of tokens: -inf where one does not see the other.

        None: every token sees everything. The same for all layers of one `window`.
        """
        if (window, like.dtype) not in self._masks:
            seen = self._seen(window)
            if seen is not None:
                zeros = torch.zeros(seen.shape, dtype=like.dtype)
                seen = zeros.masked_fill_(~seen, -torch.inf).to(like.device)
            self._masks[window, like.dtype] = seen
        return self._masks[window, like.dtype]

    def _seen(self, window: int | None) -> Tensor | None:
        raise NotImplementedError


class _Next(_Part):
    """One token of every text in a block."""

    def __init__(self, block: Block, chunks: Sequence[Chunk]) -> None:
        self._block = block
        lengths = [owner.length for owner in block.owners]
        super().__init__(chunks, lengths)
        self._shortest, self._longest = min(lengths) + 1, max(lengths) + 1
        self._ends: tuple[Tensor, Tensor] | None = None
        """Slots, and where in them the new tokens go."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]
    ) -> Tensor:
        count, longest = len(self.ids), self._longest
        keys, values = self._block.layer(layer, key[None], value[None])
        if count == 1:
            keys[0, :, longest - 1], values[0, :, longest - 1] = key[:, 0], value[:, 0]
        else:
            if self._ends is None:
                at = torch.tensor(self.positions, device=key.device)
                self._ends = torch.arange(count, device=key.device), at
            slots, at = self._ends
            keys[slots, :, at], values[slots, :, at] = key.transpose(0, 1), value.transpose(0, 1)
        # The query heads that share a key stand where tokens stand otherwise.
        asked = query.transpose(0, 1).reshape(count, keys.shape[1], -1, query.shape[2])
        seen = keys[:count, :, :longest], values[:count, :, :longest]
        mask = self.mask(options.get("sliding_window"), query)
        return _attention(asked, *seen, mask, options).flatten(1, 2)

    def end(self) -> None:
        for owner in self._block.owners:
            owner.length += 1

    def _seen(self, window: int | None) -> Tensor | None:
        """(texts, 1, 1, tokens)"""
        is_within = window is None or self._longest <= window
        if self._shortest == self._longest and is_within:
            return None
        ahead = torch.tensor(self.positions)[:, None] - torch.arange(self._longest)
        seen = ahead >= 0 if window is None else (ahead >= 0) & (ahead < window)
        return seen[:, None, None]


class _Reading(_Part):
    """Some tokens of one text."""

    def __init__(self, chunk: Chunk) -> None:
        self._cache, self._parents = chunk.cache, chunk.parents
        self._start: int = chunk.cache.length
        offsets = list(range(len(chunk.ids)))
        if chunk.parents is not None:
            for i, parent in enumerate(chunk.parents):
                offsets[i] = offsets[parent] + 1 if parent >= 0 else 0
        super().__init__([chunk], [self._start + offset for offset in offsets])

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]
    ) -> Tensor:
        start, end = self._start, self._start + len(self.ids)
        keys, values = self._cache.block.layer(layer, key[None], value[None])
        slot, window = self._cache.slot, options.get("sliding_window")
        keys[slot, :, start:end], values[slot, :, start:end] = key, value
        shared, capped = len(query) // len(key), options.get("softcap") is not None
        if not (start or self._parents or capped or (window and window < end)):
            out = functional.scaled_dot_product_attention(
                query[None], key[None], value[None],
                is_causal=True, scale=options["scale"], enable_gqa=shared > 1,
            )  # fmt: skip
            return out[0].transpose(0, 1)
        mask = self.mask(window, query)
        asked = query.reshape(1, len(key), -1, query.shape[2])
        seen = keys[slot : slot + 1, :, :end], values[slot : slot + 1, :, :end]
        if mask is not None and shared > 1:
            mask = mask.repeat(shared, 1)
        out = _attention(asked, *seen, mask, options)[0]
        return out.reshape(len(query), -1, out.shape[2]).transpose(0, 1)

    def end(self) -> None:
        if self._parents is None:
            self._cache.length += len(self.ids)

    def _seen(self, window: int | None) -> Tensor | None:
        """(new tokens, tokens)"""
        count, before = len(self.ids), self._start
        among = torch.ones(count, count, dtype=torch.bool).tril()
        if self._parents is not None:
            among = torch.eye(count, dtype=torch.bool)
            for i, parent in enumerate(self._parents):
                if parent >= 0:
                    among[i] |= among[parent]
        seen = torch.cat([torch.ones(count, before, dtype=torch.bool), among], 1)
        if window is not None:
            places = torch.tensor([*range(before), *self.positions])
            seen &= places[before:, None] - places < window
        return seen


def _rows(chunks: Sequence[Chunk], parts: Sequence[_Part]) -> list[int]:
    """Where in the row the tokens stand whose logits are wanted, chunk by chunk."""
    at: dict[int, int] = {}
    row = 0
    for part in parts:
        for chunk in part.chunks:
            at[id(chunk)] = row
            row += len(chunk.ids)
    return [at[id(chunk)] + place for chunk in chunks for place in chunk.told]


def _attention(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, options: dict[str, Any]
) -> Tensor:
    """(texts, heads, tokens, width) of the query's, for as many heads of keys."""
    scale, cap = options["scale"], options.get("softcap")
    if cap is None:
        return functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask, scale=scale
        )
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    likeness = cap * torch.tanh(query @ keys.transpose(2, 3) * (scale / cap))
    if mask is not None:
        likeness = likeness + mask
    kind = torch.promote_types(query.dtype, torch.float32)
    shares: Tensor = likeness.softmax(-1, dtype=kind).to(values.dtype)
    return shares @ values
