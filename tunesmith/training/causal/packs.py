"""Rendered rows in batches: packed into one row without padding, or padded to the longest.

Packed rows do not see each other: positions begin anew with each, and attention stays inside it
(see `model.ragged`). Padded rows stand side by side and are filled at the end, where no mask is
needed: a token sees only what stands before it. What stands behind a row's last trained token has
no part in the loss, so it is not computed at all.
Does not know: texts, losses, the model's kind.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from tunesmith.model.packing import Packed
from tunesmith.model.rendering import Rendered
from tunesmith.model.tokens import by_length
from tunesmith.training.batches import Step

BATCH_TOKENS = 1024
"""Tokens of one micro-batch, padding included; a longer row is a micro-batch alone. Measured on two
cores with a Llama of 30 million weights: 1,024 are up to 3 % slower, and take a fifth less memory.
"""
WINDOW = 64
"""Steps among whose rows those of near-equal length are brought together, where rows are padded."""


@dataclass(frozen=True)
class Batch:
    """Rows as the model takes them, and what it is to predict.

    ids             (1, tokens) when packed, (rows, longest) when padded.
    positions       from 0 in each row, (1, tokens); None when padded, since they are the usual.
    groups          (rows, tokens of each) when packed, for attention.
    places          which of the flat states predict a trained token, shape (trained,).
    targets         the tokens they are to predict, likewise.
    owners          which of the given rows they belong to, likewise.
    """

    ids: Tensor
    positions: Tensor | None
    groups: tuple[tuple[int, int], ...] | None
    places: Tensor
    targets: Tensor
    owners: Tensor
    num_rows: int

    @classmethod
    def packed(cls, rows: Sequence[Rendered]) -> Batch:
        """All tokens in one row, for a model that `ragged.plug_in` was done to."""
        pack = Packed.of([row.ids[: needed(row)] for row in rows])
        starts, at = [0] * len(rows), 0
        for i in pack.order:
            starts[i] = at
            at += needed(rows[i])
        return cls(pack.ids[None], pack.positions[None], pack.groups, *_trained(rows, starts))

    @classmethod
    def padded(cls, rows: Sequence[Rendered]) -> Batch:
        """Side by side, for any causal model."""
        longest = max(map(needed, rows))
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : needed(row)] = torch.tensor(row.ids[: needed(row)])
        starts = [i * longest for i in range(len(rows))]
        return cls(ids, None, None, *_trained(rows, starts))

    def states(self, model: Any) -> Tensor:
        """The states that predict a trained token, (trained, width), by transformers' `model`."""
        options = {"position_ids": self.positions, "groups": self.groups} if self.groups else {}
        hidden = model.get_decoder()(input_ids=self.ids, use_cache=False, **options)
        states: Tensor = hidden.last_hidden_state.flatten(0, 1)[self.places]
        return states

    def per_row(self, values: Tensor) -> Tensor:
        """Sums over each row's trained tokens: (trained,) → (rows,), in the order given."""
        return values.new_zeros(self.num_rows).index_add(0, self.owners, values)

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        moved: dict[str, Any] = {
            field.name: value.to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)


def needed(row: Rendered) -> int:
    """Tokens the model has to be given of it, at least one: those before the last trained one."""
    return next((i for i in range(len(row.ids) - 1, 0, -1) if row.trained[i]), 1)


def num_trained(row: Rendered) -> int:
    """Tokens that count in the loss; the first cannot, since nothing stands before it."""
    return sum(row.trained[1:])


def steps_of_epoch(
    costs: Sequence[int],
    *,
    batch_size: int,
    packed: bool,
    seed: int,
    epoch: int,
    budget: int = BATCH_TOKENS,
) -> list[Step]:
    """The steps of one epoch, drawn from (seed, epoch) alone; every row is in exactly one.

    costs: of every row, tokens as `needed` has them. A row may stand for a pair of texts, whose
    cost is the sum of both when packed and twice the longer one when padded.
    Each step has `batch_size` rows (the last may have fewer), in micro-batches of at most `budget`
    tokens. Packed, rows meet by chance; padded, they have near-equal lengths.
    """
    draw = random.Random(f"{seed}/{epoch}")
    order = list(range(len(costs)))
    draw.shuffle(order)
    if packed:
        return [packs(costs, rows, budget) for rows in _cut(order, batch_size)]
    steps: list[Step] = []
    for window in _cut(order, batch_size * WINDOW):
        window.sort(key=costs.__getitem__)
        for rows in _cut(window, batch_size):
            steps.append(list(by_length(costs, rows, budget)))
    draw.shuffle(steps)
    return steps


def packs(costs: Sequence[int], rows: Sequence[int], budget: int) -> list[list[int]]:
    """Divide `rows` into few packs of about equal cost, at most `budget` each.

    A single row above the budget is a pack of its own.
    """
    ordered = sorted(rows, key=lambda i: -costs[i])
    fewest = math.ceil(sum(costs[i] for i in rows) / budget)
    for num in range(min(fewest, len(ordered)), len(ordered) + 1):
        heap: list[tuple[int, int, list[int]]] = [(0, i, []) for i in range(num)]
        for i in ordered:
            # The longest that is left goes to the lightest pack.
            cost, place, pack = heap[0]
            pack.append(i)
            heapq.heapreplace(heap, (cost + costs[i], place, pack))
        if all(cost <= budget or len(pack) == 1 for cost, _, pack in heap):
            break
    return [pack for _, _, pack in sorted(heap, key=lambda entry: entry[1])]


def _cut(order: Sequence[int], size: int) -> list[list[int]]:
    return [list(order[i : i + size]) for i in range(0, len(order), size)]


def _trained(rows: Sequence[Rendered], starts: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, int]:
    """Places, targets, owners and the number of rows, which begin at `starts`."""
    found = [
        (starts[owner] + i - 1, row.ids[i], owner)
        for owner, row in enumerate(rows)
        for i in range(1, len(row.ids))
        if row.trained[i]
    ]
    places, targets, owners = torch.tensor(found, dtype=torch.long).view(-1, 3).unbind(1)
    return places, targets, owners, len(rows)
