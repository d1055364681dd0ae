"""Short measurements of the work that training does, on the machine that will do it.

Steps are made at a learning rate of zero, so the model stays as it is; whoever measures puts the
random state back.
Does not know: how much work there is.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor, nn

from tunesmith.errors import storage_errors
from tunesmith.model.classifier import Classifier
from tunesmith.model.tokens import BATCH_TOKENS, by_length
from tunesmith.training.batches import Step
from tunesmith.training.classify.examples import Rows
from tunesmith.training.classify.head import fit_head
from tunesmith.training.classify.learner import optimizer_for, take_step
from tunesmith.training.job import Job

T = TypeVar("T")

READ, MADE = 2, 3
"""Batches that are read, and steps that are made after the first, at most."""
QUICK = 5.0
"""Seconds of all steps up to which the first measured one is enough."""
HEAD_ROWS, HEAD_ITERATIONS = 5000, 8


def reading(model: Classifier, rows: Rows) -> tuple[float, int]:
    """(seconds a token, batches measured) of reading texts with the model as it is."""
    lengths = rows.lengths
    shortest_first = sorted(range(len(rows)), key=lengths.__getitem__)
    batches = list(by_length(lengths, shortest_first, BATCH_TOKENS))
    picked = _spread(batches, READ)
    for batch in picked:  # the first time also lays out weights, and compiles for the batch's size
        _read(model, rows, batch)
    seconds = sum(_read(model, rows, batch) for batch in picked)
    return seconds / sum(lengths[i] for batch in picked for i in batch), len(picked)


def fitting(rows: Rows, weights: Tensor, width: int) -> float:
    """Seconds of one iteration of the head's solver over all rows."""
    few = min(len(rows), HEAD_ROWS)
    features, targets = torch.randn(few, width), rows.targets[:few]
    fit_head(features, targets, weights, strength=1.0, iterations=1)  # its first one is slow
    started = time.perf_counter()
    fit_head(features, targets, weights, strength=1.0, iterations=HEAD_ITERATIONS)
    return (time.perf_counter() - started) / HEAD_ITERATIONS * len(rows) / few


def writing(model: Classifier, folder: Path) -> float:
    """Seconds of writing the model into `folder`, from where it is removed again.

    Raises: StorageError.
    """
    started = time.perf_counter()
    with storage_errors(folder):
        model.save(folder)
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    return seconds


def kept(model: Classifier, texts: Sequence[Sequence[int]]) -> tuple[int, float]:
    """What a forward pass keeps for the backward one, in bytes: (of any batch, of each token).

    The former are the weights rounded to bf16, if it multiplies in that.
    """
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    factors = {part.weight.shape for part in model.modules() if isinstance(part, nn.Linear)}
    found: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model.train()(texts)
    of_any = of_batch = 0
    for place, tensor in found.items():
        if place in own:
            continue
        if tensor.dtype == torch.bfloat16 and tensor.shape in factors:
            of_any += tensor.nbytes
        else:
            of_batch += tensor.untyped_storage().nbytes()
    return of_any, of_batch / sum(map(len, texts))


def longest_last(steps: Sequence[Step], lengths: Sequence[int]) -> list[Step]:
    """Steps ordered by their longest text."""
    return sorted(steps, key=lambda step: max(lengths[i] for batch in step for i in batch))


def stepping(
    job: Job, model: Classifier, rows: Rows, steps: Sequence[Step], weights: Tensor, *, total: int
) -> tuple[float, int]:
    """(seconds of a step, steps made), of `total` steps such as those of one epoch, `steps`.

    The last of them is made first: it has the longest texts and takes the most memory, and the
    first is slow.
    """
    optimizer = optimizer_for(model, job.options.weight_decay)

    def seconds(step: Step) -> float:
        started = time.perf_counter()
        take_step(job, model, rows, step, weights, optimizer)
        return time.perf_counter() - started

    first, others = seconds(steps[-1]), steps[:-1]
    if not others or first * total < QUICK:
        return first, 1
    found = [seconds(step) for step in _spread(others, MADE)]
    return median(found), 1 + len(found)


def _read(model: Classifier, rows: Rows, batch: Sequence[int]) -> float:
    started = time.perf_counter()
    model.over(model.features, [rows.encoded[i] for i in batch])
    return time.perf_counter() - started


def _spread(items: Sequence[T], most: int) -> list[T]:
    """Up to `most` of them, from the middles of as many equal parts."""
    number = min(most, len(items))
    return [items[(2 * k + 1) * len(items) // (2 * number)] for k in range(number)]
