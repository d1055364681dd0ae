"""Tokens drawn from logits, of many texts at once.

Each text has numbers of its own to draw by, so that a seed gives the same text whatever else is
being written. Does not know: what a token stands for, why one may not come.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.serving.writing import Drawing

PROBABLE = 256
"""Tokens in which the nucleus is sought first: to find so many takes a tenth of sorting all."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token; its log-probability and its rivals' where they were asked for, else nan."""

    id: int
    logprob: float
    top: Sequence[tuple[int, float]] = ()
    is_number: bool = True
    """Whether the model's logits were numbers."""


class Sampler:
    """How the next token of one text is drawn.

    number  which of its request's texts it is: each has other random numbers.
    top     rivals to tell with each token; None: no log-probabilities.
    """

    def __init__(self, drawing: Drawing, *, number: int = 0, top: int | None = None) -> None:
        self.drawing = drawing
        self.top = top
        self.allowed: Tensor | None = None
        """True for each token that may come next: shape (at most vocabulary,). None: any."""
        self._random = random.Random(None if drawing.seed is None else f"{drawing.seed}/{number}")
        self._written: Counter[int] = Counter()
        self._is_penalised = bool(drawing.frequency_penalty or drawing.presence_penalty)

    def uniform(self) -> float:
        """The next random number, at least 0 and less than 1."""
        return self._random.random()

    def note(self, token: int) -> None:
        """It was written."""
        if self._is_penalised:
            self._written[token] += 1

    @property
    def added(self) -> dict[int, float]:
        """To the logits of these tokens."""
        added = dict(self.drawing.bias)
        for token, times in self._written.items():
            penalty = self.drawing.frequency_penalty * times + self.drawing.presence_penalty
            added[token] = added.get(token, 0.0) - penalty
        return added


def draw(logits: Tensor, samplers: Sequence[Sampler]) -> list[Drawn]:
    """A token for each row. logits: (texts, vocabulary), which are left as they are."""
    logits = logits.float()
    changed = _changed(logits, samplers)
    best, greedy = changed.max(-1)
    chosen = greedy.clone()
    drawn = [i for i, s in enumerate(samplers) if s.drawing.temperature > 0]
    if drawn:
        rows = changed if len(drawn) == len(samplers) else changed[drawn]
        chosen[drawn] = _sampled(rows, [samplers[i] for i in drawn])
    ids, finite = chosen.tolist(), torch.isfinite(best).tolist()
    told = _told(logits, chosen, samplers)
    return [
        Drawn(token, *told.get(i, (float("nan"), ())), finite[i]) for i, token in enumerate(ids)
    ]


def _changed(logits: Tensor, samplers: Sequence[Sampler]) -> Tensor:
    """With biases and penalties added, and without what is ruled out."""
    out = logits
    for i, sampler in enumerate(samplers):
        added = sampler.added
        if not added and sampler.allowed is None:
            continue
        if out is logits:
            out = logits.clone()
        if added:
            ids = torch.tensor(list(added), device=out.device)
            out[i, ids] += torch.tensor(list(added.values()), device=out.device)
        if sampler.allowed is not None:
            allowed = sampler.allowed[: out.shape[1]].to(out.device)
            out[i, : len(allowed)].masked_fill_(~allowed, -torch.inf)
            out[i, len(allowed) :] = -torch.inf
    return out


def _sampled(logits: Tensor, samplers: Sequence[Sampler]) -> Tensor:
    """A token for each row, at random: the first at which the sum of shares passes a number."""
    device = logits.device
    heat = torch.tensor([s.drawing.temperature for s in samplers], device=device)[:, None]
    shares = ((logits - logits.amax(-1, keepdim=True)) / heat).softmax(-1)
    if cut := [i for i, s in enumerate(samplers) if s.drawing.top_p < 1]:
        shares[cut] = _nucleus(shares[cut], [samplers[i].drawing.top_p for i in cut])
    sums = shares.double().cumsum(-1)
    numbers = torch.tensor([s.uniform() for s in samplers], dtype=sums.dtype, device=device)
    found = torch.searchsorted(sums, (numbers * sums[:, -1])[:, None], right=True)[:, 0]
    return found.clamp_(max=logits.shape[1] - 1)


def _nucleus(shares: Tensor, top_p: Sequence[float]) -> Tensor:
    """Only the most probable tokens that together reach `top_p`, one at least; rows as given.

    (Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration".)
    """
    limit = torch.tensor(top_p, device=shares.device)[:, None]
    ordered, order = shares.topk(min(PROBABLE, shares.shape[1]))
    out = _cut(shares, ordered, order, limit)
    wide = (ordered.sum(-1) < limit[:, 0]).nonzero()[:, 0].tolist()
    if wide:
        out[wide] = _cut(shares[wide], *shares[wide].sort(-1, descending=True), limit[wide])
    return out


def _cut(shares: Tensor, ordered: Tensor, order: Tensor, limit: Tensor) -> Tensor:
    kept = ordered.cumsum(-1) - ordered < limit
    kept[:, 0] = True
    return torch.zeros_like(shares).scatter_(-1, order, ordered * kept)


def _told(
    logits: Tensor, chosen: Tensor, samplers: Sequence[Sampler]
) -> dict[int, tuple[float, Sequence[tuple[int, float]]]]:
    """(log-probability, rivals) by row, where they were asked for; the model's own."""
    rows = [i for i, s in enumerate(samplers) if s.top is not None]
    if not rows:
        return {}
    logprobs = logits[rows].log_softmax(-1)
    own = logprobs.gather(-1, chosen[rows][:, None])[:, 0].tolist()
    most = min(max(samplers[i].top or 0 for i in rows), logits.shape[1])
    values, ids = (found.tolist() for found in logprobs.topk(most))
    return {
        i: (own[k], list(zip(ids[k], values[k], strict=True))[: samplers[i].top])
        for k, i in enumerate(rows)
    }
