"""Losses of causal language models that never hold the logits of all tokens.

Logits are made for trained tokens only, a block of at most `LOGITS` at a time, and turned into
gradients at once; neither is kept. Cross-entropy for `sft`; for `dpo` the loss of Rafailov et al.
2023, "Direct Preference Optimization", on log-probabilities of whole answers.
Does not know: which rows make up a step, optimizers, what is tuned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.errors import NotOffered
from tunesmith.training.causal.packs import Batch

LOGITS = 1 << 23
"""Of one block, unless a single token has more: 32 MB in fp32, and as much again for their softmax.
Measured with 32,000 words of width 512: half of it is 7 % slower, a quarter 18 %, and double no
faster."""


@dataclass(frozen=True)
class Head:
    """How a model makes logits of its last states x: cap · tanh(scale · (W x + b) / cap)."""

    weight: Tensor
    """(vocabulary, width). It may be the embeddings' own, and may be frozen."""
    bias: Tensor | None = None
    scale: float = 1.0
    cap: float | None = None

    @classmethod
    def of(cls, model: Any) -> Head:
        """The head of transformers' causal `model`; not only looked up, but tried on a few tokens.

        Raises: NotOffered when the model makes its logits in another way.
        """
        layer, config = model.get_output_embeddings(), model.config.get_text_config(decoder=True)
        if type(layer) is nn.Linear:
            scale = getattr(config, "logit_scale", None) or 1.0
            scale /= getattr(config, "logits_scaling", None) or 1.0
            cap = getattr(config, "final_logit_softcapping", None)
            head = cls(layer.weight, layer.bias, scale, cap)
            if head._is_of(model):
                return head
        raise NotOffered(
            "This model's output layer is of a kind that cannot be trained here.",
            fix="Take another base model; an adapter must leave the output layer out.",
        )

    def of_kind(self, kind: torch.dtype) -> Head:
        """The same with its weights in another type."""
        bias = None if self.bias is None else self.bias.to(kind)
        return replace(self, weight=self.weight.to(kind), bias=bias)

    def logits(self, states: Tensor) -> Tensor:
        """(tokens, width), of the weight's type → (tokens, vocabulary), in fp32 or better."""
        made = functional.linear(states, self.weight, self.bias)
        made = made.to(torch.promote_types(made.dtype, torch.float32))
        if self.scale != 1:
            made.mul_(self.scale)
        return made if self.cap is None else made.div_(self.cap).tanh_().mul_(self.cap)

    def back(self, slope: Tensor, logits: Tensor) -> Tensor:
        """A slope by `logits` becomes one by W x + b, in place."""
        if self.cap is not None:
            slope.mul_(1 - (logits / self.cap).square_())
        return slope if self.scale == 1 else slope.mul_(self.scale)

    @torch.no_grad()
    def _is_of(self, model: Any) -> bool:
        ids = torch.arange(1, 5, device=self.weight.device)[None]
        was_training = model.training
        model.eval()
        try:
            theirs = model(input_ids=ids, use_cache=False).logits[0]
            found = model.get_decoder()(input_ids=ids, use_cache=False)
        finally:
            model.train(was_training)
        if "last_hidden_state" not in found:
            return False
        states = found.last_hidden_state[0]
        ours, near = self.logits(states), torch.finfo(states.dtype).eps ** 0.5
        return ours.shape == theirs.shape and torch.allclose(
            ours, theirs.to(ours.dtype), rtol=near, atol=near, equal_nan=True
        )


def cross_entropy(
    states: Tensor, targets: Tensor, head: Head, *, num_trained: int
) -> tuple[Tensor, Tensor]:
    """These tokens' share of the mean loss of a step, and how many of them are guessed right.

    states: (tokens, width), of trained tokens only; targets: (tokens,). `num_trained` counts those
    of the whole step, so that its micro-batches' losses and gradients add up to exactly its mean's.
    """
    if torch.is_grad_enabled():
        loss, hits = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
            states, head.weight, head.bias, targets, head, num_trained
        )
        return loss, hits
    walk = _walk(states, targets, head)
    return -walk.log_probs.sum() / num_trained, walk.hits


def log_probs(states: Tensor, targets: Tensor, head: Head) -> Tensor:
    """log p(target) of every token: (tokens, width) and (tokens,) → (tokens,).

    With gradients, logits are made twice: what a token counts is not known before all are there.
    """
    if torch.is_grad_enabled():
        out: Tensor = _LogProbs.apply(  # type: ignore[no-untyped-call]
            states, head.weight, head.bias, targets, head
        )
        return out
    return _walk(states, targets, head).log_probs


# --- preferences --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preference:
    """The loss of pairs, and the rewards of their answers, each (pairs,) and without gradients.

    A reward is beta · (log p of the answer - log p of the same by the reference).
    """

    loss: Tensor
    preferred: Tensor
    other: Tensor

    @property
    def margins(self) -> Tensor:
        """By how much the better answer's reward is the higher one."""
        return self.preferred - self.other

    @property
    def hits(self) -> Tensor:
        """Number of pairs whose better answer has the higher reward."""
        return (self.margins > 0).sum()


def answers(model: Any, batch: Batch, head: Head) -> Tensor:
    """log p of all trained tokens of a row together, (rows,)."""
    return batch.per_row(log_probs(batch.states(model), batch.targets, head))


@torch.no_grad()
def reference(model: Any, batches: Iterable[Batch], head: Head) -> Tensor:
    """`answers` of one batch after the other, without dropout: once, before anything is learnt.

    Of an adapter the base is the reference: call this with the adapter switched off.
    """
    was_training = model.training
    model.eval()
    try:
        return torch.cat([answers(model, batch, head) for batch in batches])
    finally:
        model.train(was_training)


def dpo(answers: Tensor, reference: Tensor, *, beta: float, num_pairs: int) -> Preference:
    """These pairs' share of a step's mean loss, -log sigmoid(margin).

    answers, reference: log p of whole answers by the model and by the reference, (2 · pairs,),
    each pair's better one first. `num_pairs` counts those of the whole step.
    """
    rewards = beta * (answers - reference).view(-1, 2)
    loss = -functional.logsigmoid(rewards[:, 0] - rewards[:, 1]).sum() / num_pairs
    return Preference(loss, *rewards.detach().unbind(1))


# --- block by block -----------------------------------------------------------------------------

Gradients = Sequence[Tensor | None]
"""Of states, weight and bias, in fp32 or better; None where nobody asks."""


@dataclass(frozen=True)
class _Walk:
    log_probs: Tensor
    hits: Tensor
    """How many targets are the likeliest token."""
    gradients: Gradients


class _CrossEntropy(torch.autograd.Function):
    """Loss and gradients in one walk: the slope of a token's loss needs no other token."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor]:
        states, _, _, targets, head, num_trained = given
        each = torch.tensor(1 / num_trained, dtype=_sums(states.dtype), device=states.device)
        factors = each.expand(len(targets))
        walk = _walk(states, targets, head, factors=factors, wanted=ctx.needs_input_grad[:3])
        ctx.gradients = walk.gradients
        ctx.mark_non_differentiable(walk.hits)
        return -walk.log_probs.sum() / num_trained, walk.hits

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None  # not twice: they are changed here
        out = [None if of is None else of.mul_(grads[0]) for of in gradients]
        return (*out, None, None, None)


class _LogProbs(torch.autograd.Function):
    """A walk forward, and one more for the gradients."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        states, _, _, targets, head = given
        ctx.save_for_backward(states, targets)
        ctx.head, ctx.kind = head, _kind(states)
        return _walk(states, targets, head).log_probs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        wanted, kind = ctx.needs_input_grad[:3], ctx.kind
        states, targets = ctx.saved_tensors
        walk = _walk(states, targets, ctx.head, factors=-grads[0], wanted=wanted, kind=kind)
        return (*walk.gradients, None, None)


def _walk(
    states: Tensor,
    targets: Tensor,
    head: Head,
    *,
    factors: Tensor | None = None,
    wanted: Sequence[bool] = (False, False, False),
    kind: torch.dtype | None = None,
) -> _Walk:
    """log p(target) of every token and, given `factors`, the gradients of -Σ factor · log p.

    factors: (tokens,), in fp32 or better. Products are of `kind`, sums in fp32 or better.
    """
    kind = kind or _kind(states)
    sums = torch.promote_types(kind, torch.float32)
    inputs = (states, head.weight, head.bias)
    grads = [
        torch.zeros_like(of, dtype=sums) if of is not None and asked else None
        for of, asked in zip(inputs, wanted, strict=True)
    ]
    found = states.new_empty(len(targets), dtype=sums)
    hits = targets.new_zeros(())
    with torch.autocast(states.device.type, enabled=False):
        head = head.of_kind(kind)
        for rows in _blocks(len(targets), len(head.weight)):
            part, aims = states[rows].to(kind), targets[rows, None]
            logits = head.logits(part)
            top, own = logits.amax(1), logits.gather(1, aims)[:, 0]
            shares = logits.softmax(1)
            # As log_softmax has it, but the slope needs the shares, and exp costs more than max.
            found[rows] = own - top + shares.amax(1).log()
            hits += (own == top).sum()
            if factors is not None:
                # The shares less 1 at the target are the slope of -log p; in place, to save room.
                slope = shares.scatter_add_(1, aims, torch.full_like(aims, -1, dtype=sums))
                slope = head.back(slope, logits).to(kind)
                _add(grads, rows, slope, head.weight, part, factors[rows, None])
    return _Walk(found, hits, grads)


def _add(
    grads: Gradients, rows: slice, slope: Tensor, weight: Tensor, states: Tensor, factors: Tensor
) -> None:
    """Add what one block has to the gradients of states, weight and bias."""
    of_states, of_weight, of_bias = grads
    if of_states is not None:
        of_states[rows] = (slope @ weight) * factors
    # The factor is put to the narrow side of a product.
    scaled = (states * factors).to(slope.dtype)
    if of_weight is not None and of_weight.dtype == slope.dtype:
        of_weight.addmm_(slope.T, scaled)
    elif of_weight is not None:
        of_weight += slope.T @ scaled
    if of_bias is not None:
        of_bias += (slope.T @ factors.to(slope.dtype))[:, 0]


def _blocks(tokens: int, vocabulary: int) -> Iterator[slice]:
    """Slices of equal size, as large as `LOGITS` allows."""
    num = max(1, math.ceil(tokens / max(1, LOGITS // vocabulary)))
    size = max(1, math.ceil(tokens / num))
    return (slice(i, i + size) for i in range(0, tokens, size))


def _kind(states: Tensor) -> torch.dtype:
    """In which products are made: as everywhere else in the model."""
    device = states.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype


def _sums(kind: torch.dtype) -> torch.dtype:
    return torch.promote_types(kind, torch.float32)
