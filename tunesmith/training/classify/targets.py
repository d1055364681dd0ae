"""What rows are trained towards: one label each, or several by their shares.

targets  (rows,) int64, the number of each row's label; or (rows, labels) float32, the shares of
         each row's labels, which add up to 1.

Cross-entropy is linear in its targets: against shares it is the mean over the votes they were
counted from, at the price of one row.
Does not know: where the targets come from, the model.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def shares(row_of_vote: Tensor, votes: Tensor, labels: int) -> Tensor:
    """Shares of labels among the votes on each row.

    row_of_vote, votes  (votes,) int64: the row that is voted on, numbered from 0, and the label.
    """
    found = torch.zeros(int(row_of_vote.max()) + 1, labels)
    found.index_put_((row_of_vote, votes), torch.ones(len(votes)), accumulate=True)
    return found / found.sum(1, keepdim=True)


def heaviest(targets: Tensor) -> Tensor:
    """The label of each row, (rows,) int64; of shares the largest, of equal ones the first."""
    return targets if targets.ndim == 1 else targets.argmax(1)


def counts(targets: Tensor, labels: int) -> Tensor:
    """Rows of each label, shape (labels,); parts of rows, of shares."""
    if targets.ndim == 1:
        return torch.bincount(targets, minlength=labels)
    return targets.sum(0)


def weight_of(targets: Tensor, weights: Tensor) -> Tensor:
    """Loss weight of all the rows together, by the weights (labels,)."""
    return weights[targets].sum() if targets.ndim == 1 else (targets @ weights).sum()


def mean_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of logits (rows, labels), the mean by the rows' weights."""
    if targets.ndim == 1:
        return functional.cross_entropy(logits, targets, weight=weights)
    # Of shares, torch's own mean is by the number of rows, whatever they weigh.
    summed = functional.cross_entropy(logits, targets, weight=weights, reduction="sum")
    return summed / weight_of(targets, weights)
