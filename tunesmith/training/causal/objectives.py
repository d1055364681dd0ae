"""What a causal model is tuned towards: to give the answers (sft), or rather the better (dpo).

An objective takes the loss of some rows as their share of a mean over more, so that micro-batches
and processes add up to the step's exact mean.
Does not know: optimizers, which rows make up a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tunesmith.model.causal import Causal
from tunesmith.training.causal import causal_loss
from tunesmith.training.causal.causal_loss import Head
from tunesmith.training.causal.packs import Batch, needed, num_trained
from tunesmith.training.causal.rows import Rows


@dataclass(frozen=True, kw_only=True)
class Share:
    """The loss of some rows as their share of a mean, and sums that metrics are made of."""

    loss: Tensor
    sums: Mapping[str, Tensor]


class Objective(Protocol):
    """What is minimized over rows."""

    @property
    def sums(self) -> Sequence[str]:
        """What is summed up for metrics."""

    @property
    def packed(self) -> bool:
        """Whether texts stand in one row without padding, or side by side."""

    def costs(self, rows: Rows) -> list[int]:
        """Tokens that each row costs."""

    def size(self, rows: Rows) -> int:
        """Over how many things the mean over these rows is."""

    def share(self, model: Causal, rows: Rows, size: int) -> Share:
        """The rows' share of a mean over `size` things; gradients reach the trained weights."""

    def metrics(
        self, part: str, loss: float, sums: Mapping[str, float], size: int
    ) -> dict[str, float]:
        """Metrics of a part (train, dev, valid) by their names."""


def batch(model: Causal, rows: Rows, *, packed: bool) -> Batch:
    """All texts of rows, on the model's device."""
    texts = [text for row in rows.texts for text in row]
    made = Batch.packed(texts) if packed else Batch.padded(texts)
    return made.to(model.device)


class Answers:
    """Cross-entropy of the trained tokens, the mean over all of them: supervised fine-tuning."""

    sums = ("hits",)

    def __init__(self, head: Head, *, packed: bool) -> None:
        self._head = head
        self.packed = packed

    def costs(self, rows: Rows) -> list[int]:
        """See Objective."""
        return [needed(text) for (text,) in rows.texts]

    def size(self, rows: Rows) -> int:
        """Trained tokens."""
        return sum(num_trained(text) for (text,) in rows.texts)

    def share(self, model: Causal, rows: Rows, size: int) -> Share:
        """See Objective."""
        made = batch(model, rows, packed=self.packed)
        states = made.states(model.network)
        loss, hits = causal_loss.cross_entropy(states, made.targets, self._head, num_trained=size)
        return Share(loss=loss, sums={"hits": hits})

    def metrics(
        self, part: str, loss: float, sums: Mapping[str, float], size: int
    ) -> dict[str, float]:
        """Loss (nats a token) and the share of tokens guessed right."""
        name = "dev_accuracy" if part == "dev" else f"{part}_mean_token_accuracy"
        return {f"{part}_loss": loss, name: sums["hits"] / size}


class Preferences:
    """Direct preference optimization: the mean over pairs.

    reference  log-probabilities of (better, worse) answers before anything is learnt, by the row's
               file and line.
    """

    sums = ("hits", "margin", "preferred", "other")

    def __init__(
        self,
        head: Head,
        *,
        packed: bool,
        beta: float,
        reference: dict[tuple[str, int], Tensor],
    ) -> None:
        self._head = head
        self.packed = packed
        self._beta = beta
        self.reference = reference

    def costs(self, rows: Rows) -> list[int]:
        """See Objective."""
        lengths = ([needed(text) for text in texts] for texts in rows.texts)
        return [sum(pair) if self.packed else 2 * max(pair) for pair in lengths]

    def size(self, rows: Rows) -> int:
        """Pairs."""
        return len(rows)

    def answers(self, model: Causal, rows: Rows) -> Tensor:
        """log p of whole answers, (2 · rows,), the better one of each row first."""
        made = batch(model, rows, packed=self.packed)
        return causal_loss.answers(model.network, made, self._head)

    def share(self, model: Causal, rows: Rows, size: int) -> Share:
        """See Objective."""
        found = self.answers(model, rows)
        before = torch.cat([self.reference[rows.part, line] for line in rows.lines])
        made = causal_loss.dpo(found, before.to(found.device), beta=self._beta, num_pairs=size)
        found_sums = (made.hits, made.margins.sum(), made.preferred.sum(), made.other.sum())
        return Share(loss=made.loss, sums=dict(zip(self.sums, found_sums, strict=True)))

    def metrics(
        self, part: str, loss: float, sums: Mapping[str, float], size: int
    ) -> dict[str, float]:
        """Loss (nats a pair), share of pairs in the right order, and mean rewards."""
        return {
            f"{part}_loss": loss,
            f"{part}_reward_accuracy": sums["hits"] / size,
            f"{part}_reward_margin": sums["margin"] / size,
            f"{part}_reward_preferred": sums["preferred"] / size,
            f"{part}_reward_other": sums["other"] / size,
        }
