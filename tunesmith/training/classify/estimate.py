"""What a job will take on this machine, told before it begins: seconds, memory, disk.

It is measured on some of the job's own batches and steps, at a learning rate of zero, and the
random state is put back: a job that was measured ends as one that was not, to the bit.
Does not know: what becomes of the rows, who is told.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any

import torch
from torch import Tensor

from tunesmith.errors import storage_errors
from tunesmith.events import Event
from tunesmith.model.classifier import Classifier
from tunesmith.training import machine
from tunesmith.training.batches import steps_of_epoch
from tunesmith.training.classify import features, probe
from tunesmith.training.classify.examples import Rows
from tunesmith.training.classify.head import ITERATIONS, STRENGTHS
from tunesmith.training.classify.learner import Looks
from tunesmith.training.job import Job, write_json
from tunesmith.training.loop import KEPT_CHECKPOINTS, Plan
from tunesmith.training.room import MOMENTS, Disk, Memory, size

AVERAGES = 1
"""Copies of the weights that a learner keeps besides."""
FLOAT = 4
"""Bytes of a number."""
SAMPLE_TOKENS = 256
"""Of the texts by which the memory of a batch is foretold, or a single text that has more."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the whole job will take from here on. Sizes are in bytes, at the highest point."""

    tokens: int
    """Of all training texts."""
    trained_tokens: int
    """Of all steps together; of a head alone, those it is fitted to."""
    steps: int
    """At most: the dev loss may stop falling earlier."""
    seconds: float
    parts: dict[str, float]
    """What the seconds are spent on."""
    memory: int
    """Of the process."""
    memory_available: int | None
    """What it may have in all; None where the machine does not say."""
    disk: int
    """Models, and what resuming needs."""
    disk_available: int
    measured: str
    """What the seconds come from."""
    began: float
    """Unix seconds at which all of this was still to come."""

    def event(self) -> Event:
        """The same for people."""
        steps = f"up to {self.steps:,} steps, " if self.steps else ""
        message = (
            f"Estimate: {self.tokens:,} tokens, {steps}about {_duration(self.seconds)}, "
            f"{size(self.memory)} of memory, {size(self.disk)} of disk "
            f"(measured on {self.measured} here)"
        )
        return Event(kind="note", message=message, data={"estimate": asdict(self)})

    def compared(self) -> dict[str, Any]:
        """The same with what it came to, at the end of the job; pauses count."""
        seconds = time.time() - self.began
        return asdict(self) | {"actual_seconds": seconds, "actual_memory": machine.memory_peak()}


def estimate(
    job: Job, model: Classifier, plan: Plan, weights: Tensor, looks: Looks, held_out: Rows | None
) -> Estimate:
    """The estimate: measured now, or earlier by a process that began the job.

    Raises: ConfigError when memory or disk are too small, with what would fit; StorageError.
    """
    kept = job.state / "estimate.json"
    if not kept.exists():
        with storage_errors(kept):
            job.state.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng(devices=[]):
            found = _measure(job, model, plan, weights, looks, held_out)
        write_json(kept, asdict(found))
    return Estimate(**json.loads(kept.read_text(encoding="utf-8")))


def _measure(
    job: Job, model: Classifier, plan: Plan, weights: Tensor, looks: Looks, held_out: Rows | None
) -> Estimate:
    rows, full = looks.rows, job.options.method != "head"
    lengths, width = rows.lengths, model.encoder.width

    # 1. Disk.
    disk = Disk(
        model=sum(tensor.nbytes for tensor in model.state_dict().values()),
        features=len(rows) * width * FLOAT,
        epochs=min(KEPT_CHECKPOINTS, plan.epochs) if full else 0,
        averages=AVERAGES,
    )
    disk_available = machine.disk_left(job.folder)
    disk.check(disk_available)

    # 2. Reading, and fitting a head.
    a_token, batches = probe.reading(model, rows)
    fits = len(STRENGTHS) if full else len(STRENGTHS) + 1  # the last time to all rows
    parts = {
        "reading": 0.0 if features.are_known(job, model, rows) else a_token * sum(lengths),
        "head": fits * ITERATIONS * probe.fitting(rows, weights, width),
    }
    measured = "1 batch" if batches == 1 else f"{batches} batches"

    # 3. Memory, first as far as it can be told without taking it.
    taken, left = machine.memory_taken(), machine.memory_left()
    available = None if left is None else taken + left
    memory = Memory(
        taken=taken,
        features=disk.features,
        logits=len(rows) * len(weights) * FLOAT,
        model=disk.model,
        largest=max(weight.nbytes for weight in model.parameters()),
    )
    if full:
        steps = steps_of_epoch(
            lengths, looks.fitting, batch_size=plan.rows_per_step, seed=job.seed, epoch=0
        )
        steps = probe.longest_last(steps, lengths)
        memory = _foretold(memory, model, [rows.encoded[i].ids for i in steps[-1][-1]])
    memory.check(available)

    # 4. Steps, and what comes with them.
    if full:
        before = machine.memory_peak()
        a_step, made = probe.stepping(job, model, rows, steps, weights, total=plan.total)
        if (peak := machine.memory_peak()) > before:
            memory = replace(memory, batch=max(memory.batch, peak - taken - memory.state))
            memory.check(available)
        a_write = probe.writing(model, job.state / "probe")
        parts |= _tuning(plan, looks, a_token=a_token, a_step=a_step, a_write=a_write)
        parts["scoring"] = a_token * sum(held_out.lengths) if held_out else 0.0
        measured = "1 step" if made == 1 else f"{made} steps"
    return Estimate(
        tokens=sum(lengths),
        trained_tokens=_trained(plan, lengths, looks) if full else sum(lengths),
        steps=plan.total if full else 0,
        seconds=sum(parts.values()),
        parts=parts,
        memory=max(memory.full, machine.memory_peak()),
        memory_available=available,
        disk=disk.full,
        disk_available=disk_available,
        measured=measured,
        began=time.time(),
    )


def _trained(plan: Plan, lengths: list[int], looks: Looks) -> int:
    """Tokens of all steps."""
    dev = sum(lengths[i] for i in looks.dev)
    return plan.epochs * (sum(lengths) - dev) + (dev if plan.joins else 0)


def _foretold(memory: Memory, model: Classifier, batch: list[list[int]]) -> Memory:
    """The same with what a step on `batch`, the longest texts, is going to take."""
    longest = len(batch[-1])
    sample = batch[-ceil(SAMPLE_TOKENS / longest) :]
    of_any, a_token = probe.kept(model, sample)
    tokens = sum(map(len, batch))
    trained = sum(weight.nbytes for weight in model.parameters())
    return replace(
        memory,
        state=(1 + MOMENTS + AVERAGES) * trained + of_any,
        batch=ceil(a_token * tokens),
        batch_tokens=tokens,
        longest=longest,
    )


def _tuning(
    plan: Plan, looks: Looks, *, a_token: float, a_step: float, a_write: float
) -> dict[str, float]:
    """Seconds of the loop, from those of reading a token, of a step, of writing the model."""
    lengths, valid = looks.rows.lengths, looks.valid
    seen = sum(lengths[i] for i in looks.dev) + (sum(valid.lengths) if valid else 0)
    number = plan.epochs * ceil(plan.per_epoch / plan.look_every)
    written = (
        1 + MOMENTS + AVERAGES + 1
    )  # the state, and the model, which mostly is the best so far
    return {
        "steps": a_step * plan.total,
        "looks": number * (a_token * seen + a_write * written) + plan.epochs * a_write,
    }


def _duration(seconds: float) -> str:
    """200 → "3 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
