"""Attention for batches without padding, plugged into transformers' causal models.

All tokens of a batch stand in one row, as in `packing`. Whatever else such a model computes, it
computes token by token; attention is done here for texts of like length at a time, so that no text
sees another. The shorter ones are filled up behind their end, where none of their tokens looks, so
nothing is masked. Sliding windows, soft caps, grouped heads and dropout are kept as transformers
asks its flash attention to keep them.
Does not know: weights, losses, which texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.errors import NotOffered
from tunesmith.model import lean

NAME = "tunesmith_ragged"
"""By which transformers knows it."""
LAYERS = {"full_attention", "sliding_attention"}
"""Kinds of layers in which a token sees others by attention alone."""
STRANGE = ("s_aux", "sinks", "position_bias", "indices", "block_indices")
"""What some models have besides, and what is not computed here."""

MOST_LONGER = 1.25
"""How many times as long as the shortest the longest text may be that is attended to with it. On a
processor 1 to 1.25 are alike (Llama of 30 million weights, GSM8K), and more is slower."""

Groups = tuple[tuple[int, int], ...]
"""(texts, tokens of each), as `Packed.groups`."""


def plug_in(model: Any) -> str:
    """Have a causal `model` of transformers take batches without padding, for good.

    It then computes `decoder(ids of shape (1, tokens), position_ids=…, groups=…)`, and without
    groups a batch whose rows begin at the first token; it takes no mask and no cache any more.
    Its norms and gates keep less for the backward pass (see `lean`).
    Returns "", or why the model cannot, and it is left as it was. It is not looked up but tried.
    """
    config = model.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ()) - LAYERS
    if kinds:
        return f"it has layers of another kind: {', '.join(sorted(kinds))}"
    if not getattr(model, "_supports_flash_attn", False):
        return "its attention is its own"
    # Here and not above: the import takes seconds.
    from transformers import AttentionInterface

    before = model.config._attn_implementation
    AttentionInterface.register(NAME, attend)
    model.set_attn_implementation(NAME)
    try:
        reason = "" if _keeps_apart(model) else "its texts see each other"
    except NotOffered as error:
        reason = error.what
    if reason:
        model.set_attn_implementation(before)
    else:
        lean.plug_in(model)
    return reason


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside each text, as transformers calls it.

    query: (rows, heads, tokens, width), key and value likewise with as many heads or fewer;
    returns (rows, tokens, heads, width).
    Raises: NotOffered for what a model's attention has that this has not.
    """
    strange = [name for name in STRANGE if options.get(name) is not None]
    causal = options.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if mask is not None or not causal or query.shape[2] != key.shape[2]:
        strange.append("a mask of its own")
    if strange:
        raise NotOffered(f"its attention has {', '.join(strange)}")
    rows, _, length, _ = query.shape
    layout = _layout(tuple(options.get("groups") or ((rows, length),)), query.device)
    parts = (layout.parts(states) for states in (query, key, value))
    seen = [
        _attend(q, k, v, options).transpose(1, 2).flatten(0, 1)
        for q, k, v in zip(*parts, strict=True)
    ]
    return layout.tokens(torch.cat(seen)).view(rows, length, *seen[0].shape[1:]), None


@dataclass(frozen=True)
class _Layout:
    """Where the tokens of a batch stand while they are attended to.

    groups    (texts, places of each), the places being as many as the longest has tokens.
    token_at  for every place the token that stands there, (places,); behind a text's end, any.
    place_of  for every token its place, (tokens,). Both are None where nothing is filled up.
    """

    groups: Groups
    token_at: Tensor | None = None
    place_of: Tensor | None = None

    def parts(self, states: Tensor) -> Iterator[Tensor]:
        """(rows, heads, tokens, width) as (texts, heads, places of each, width) for each group."""
        tokens = states.transpose(1, 2).flatten(0, 1)
        if self.token_at is not None:
            tokens = _Fill.apply(  # type: ignore[no-untyped-call]
                tokens, self.token_at, self.place_of
            )
        # One split and not slices: its gradient is put together once.
        parts = torch.split_with_sizes(tokens, [texts * length for texts, length in self.groups])
        for part, group in zip(parts, self.groups, strict=True):
            yield part.view(*group, *part.shape[1:]).transpose(1, 2)

    def tokens(self, states: Tensor) -> Tensor:
        """(places, …) as (tokens, …)."""
        if self.token_at is None:
            return states
        taken: Tensor = _Take.apply(states, self.place_of)  # type: ignore[no-untyped-call]
        return taken


@lru_cache(maxsize=8)
def _layout(groups: Groups, device: torch.device) -> _Layout:
    """Made once for all layers of a model."""
    lengths = [length for texts, length in groups for _ in range(texts)]
    together: list[list[int]] = []
    for length in lengths:
        met = [length, *(together[-1] if together else [])]
        if not together or max(met) > MOST_LONGER * min(met):
            together.append([])
        together[-1].append(length)
    merged = tuple((len(group), max(group)) for group in together)
    if sum(texts * length for texts, length in merged) == sum(lengths):
        return _Layout(merged)
    token_at: list[int] = []
    place_of: list[int] = []
    for group in together:
        for length in group:
            filler = max(group) - length
            first = len(place_of)
            place_of += range(len(token_at), len(token_at) + length)
            token_at += [*range(first, first + length), *([0] * filler)]
    return _Layout(
        merged, torch.tensor(token_at, device=device), torch.tensor(place_of, device=device)
    )


class _Fill(torch.autograd.Function):
    """Tokens to places. What stands behind a text's end has no gradient."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, token_at: Tensor, place_of: Tensor) -> Tensor:
        ctx.save_for_backward(place_of)
        return tokens.index_select(0, token_at)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (place_of,) = ctx.saved_tensors
        return gradients[0].index_select(0, place_of), None, None


class _Take(torch.autograd.Function):
    """Places to tokens."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, place_of: Tensor) -> Tensor:
        ctx.save_for_backward(place_of)
        ctx.shape = states.shape
        return states.index_select(0, place_of)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (place_of,) = ctx.saved_tensors
        filled = gradients[0].new_zeros(ctx.shape)
        return filled.index_copy_(0, place_of, gradients[0]), None


def _attend(query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]) -> Tensor:
    """The same shape as the query's, for texts of one length."""
    scale, dropout = options.get("scaling"), options.get("dropout", 0.0)
    length, shared = query.shape[2], query.shape[1] // key.shape[1]
    cap, window = options.get("softcap"), options.get("sliding_window") or length
    within = length <= window
    if cap is None:
        return functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if within else _seen(length, window, query.device),
            is_causal=within,
            dropout_p=dropout,
            scale=scale,
            enable_gqa=shared > 1,
        )
    if shared > 1:
        key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    likeness = cap * torch.tanh(query @ key.transpose(2, 3) * (scale / cap))
    unseen = ~_seen(length, window, query.device)
    kind = torch.promote_types(query.dtype, torch.float32)
    shares = likeness.masked_fill(unseen, -torch.inf).softmax(-1, dtype=kind).to(value.dtype)
    return functional.dropout(shares, dropout) @ value


def _seen(length: int, window: int, device: torch.device) -> Tensor:
    """[i, j]: token i sees token j, which is itself or one of the `window` - 1 before it."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril().triu(1 - window)


@torch.no_grad()
def _keeps_apart(model: Any) -> bool:
    """Whether two texts in one row have the states that each has alone."""
    decoder, device = model.get_decoder(), model.device
    ids = torch.arange(1, 10, device=device) % model.config.get_text_config().vocab_size
    first, second = ids[:4], ids[4:]
    positions = torch.cat([torch.arange(len(text), device=device) for text in (first, second)])
    was_training = decoder.training
    decoder.eval()
    try:
        together = decoder(
            input_ids=ids[None],
            position_ids=positions[None],
            use_cache=False,
            groups=((1, len(first)), (1, len(second))),
        ).last_hidden_state[0]
        alone = [
            decoder(input_ids=text[None], use_cache=False).last_hidden_state[0]
            for text in (first, second)
        ]
    finally:
        decoder.train(was_training)
    near = torch.finfo(together.dtype).eps ** 0.5
    return torch.allclose(together, torch.cat(alone), rtol=near, atol=near, equal_nan=True)
