"""Attention for batches without padding, plugged into transformers' causal models.

All tokens of a batch stand in one row, as in `packing`. Whatever else such a model computes, it
computes token by token; attention is done here for all texts of one length at a time, so that no
text sees another and nothing is padded or masked. Sliding windows, soft caps, grouped heads and
dropout are kept as transformers asks its flash attention to keep them.
Does not know: weights, losses, which texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

Groups = Sequence[tuple[int, int]]
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
    groups = options.get("groups") or ((rows, length),)
    parts = (_parts(states, groups) for states in (query, key, value))
    seen = [
        _attend(q, k, v, options).transpose(1, 2).flatten(0, 1)
        for q, k, v in zip(*parts, strict=True)
    ]
    return torch.cat(seen).view(rows, length, *seen[0].shape[1:]), None


def _parts(states: Tensor, groups: Groups) -> Iterator[Tensor]:
    """(texts, heads, tokens of each, width) for each group."""
    tokens = states.transpose(1, 2).flatten(0, 1)
    # One split and not slices: its gradient is put together once.
    parts = torch.split_with_sizes(tokens, [texts * length for texts, length in groups])
    for part, group in zip(parts, groups, strict=True):
        yield part.view(*group, *part.shape[1:]).transpose(1, 2)


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
