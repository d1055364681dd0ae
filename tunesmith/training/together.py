"""Several processes that train one model, as `torchrun` starts them; alone, all of this is nothing.

Each process has the whole model and takes its part of every step's rows. Losses and gradients are
shares of the step's mean, so they add up to what a single process would have had.
Does not know: models, losses.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")

BUCKET = 1 << 25
"""Numbers of the gradients that are sent at once."""


def join() -> None:
    """Find the others, where `torchrun` has started some."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def leave() -> None:
    """The end."""
    if _are_several():
        distributed.destroy_process_group()


def number() -> int:
    """How many train."""
    return distributed.get_world_size() if _are_several() else 1


def is_first() -> bool:
    """Whether this process is the one that writes and tells."""
    return not _are_several() or distributed.get_rank() == 0


def agreed(value: T) -> T:
    """What the first process says."""
    if not _are_several():
        return value
    said = [value]
    distributed.broadcast_object_list(said)
    return said[0]


def wait() -> None:
    """Until all are here."""
    if _are_several():
        distributed.barrier()


def mine(batches: Iterable[Sequence[int]], costs: Sequence[int]) -> list[list[int]]:
    """This process's part of the micro-batches of a step, which may be cut up for it."""
    given = [list(batch) for batch in batches]
    if not _are_several():
        return given
    every = distributed.get_world_size()
    while len(given) < every and any(len(batch) > 1 for batch in given):
        given.sort(key=lambda batch: (len(batch) > 1, sum(costs[i] for i in batch)))
        given += _halves(given.pop(), costs)
    parts: list[tuple[int, int, list[list[int]]]] = [(0, i, []) for i in range(every)]
    for batch in sorted(given, key=lambda batch: -sum(costs[i] for i in batch)):
        taken, i, part = parts[0]  # the costliest that is left goes to who has least
        part.append(batch)
        heapq.heapreplace(parts, (taken + sum(costs[k] for k in batch), i, part))
    return next(part for _, i, part in parts if i == distributed.get_rank())


def _halves(batch: list[int], costs: Sequence[int]) -> list[list[int]]:
    """Two batches of about the same cost."""
    halves: tuple[list[int], list[int]] = ([], [])
    for i in sorted(batch, key=lambda i: -costs[i]):
        min(halves, key=lambda half: sum(costs[k] for k in half)).append(i)
    return list(halves)


def add_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Every process gets the sum of all processes' gradients."""
    if not _are_several():
        return
    for parameter in parameters:
        if parameter.grad is None:  # a process without rows in this step
            parameter.grad = torch.zeros_like(parameter)
    for bucket in _buckets([p.grad for p in parameters if p.grad is not None]):
        flat = torch.cat([grad.flatten() for grad in bucket])
        distributed.all_reduce(flat)
        parts = torch.split_with_sizes(flat, [grad.numel() for grad in bucket])
        for grad, summed in zip(bucket, parts, strict=True):
            grad.copy_(summed.view_as(grad))


def sums(values: Sequence[float]) -> list[float]:
    """The sums over all processes."""
    if not _are_several():
        return list(values)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    added = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(added)
    return [float(value) for value in added]


def _buckets(grads: Sequence[Tensor]) -> Iterable[list[Tensor]]:
    bucket: list[Tensor] = []
    for grad in grads:
        if bucket and (
            grad.dtype != bucket[0].dtype or sum(g.numel() for g in bucket) + grad.numel() > BUCKET
        ):
            yield bucket
            bucket = []
        bucket.append(grad)
    if bucket:
        yield bucket


def _are_several() -> bool:
    return distributed.is_available() and distributed.is_initialized()
