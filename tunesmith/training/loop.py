"""The training loop: any method, with early stopping, resumable at any step.

Knows: schedule, looks at the dev slice, when to stop, checkpoints.
Does not know: what is tuned, towards what loss, where the examples come from, nor whether the
result is kept.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from tunesmith.errors import ConfigError, storage_error
from tunesmith.events import Decision, Event
from tunesmith.training import together
from tunesmith.training.batches import Step
from tunesmith.training.job import Job, replace_folder
from tunesmith.training.state import (
    Position,
    Saving,
    load_state,
    save_state,
    tell_and_save,
)

RISING = 2
"""Looks without progress that are no chance any more. One is: the dev loss goes up and down by some
hundredths, and the last epoch, in which the learning rate declines to zero, mostly lowers it."""
KEPT_CHECKPOINTS = 3
"""As OpenAI keeps them: the last epochs'."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The loop's numbers, with every `auto` resolved."""

    epochs: int
    epochs_reason: str
    batch_size: int
    """Rows of a step, on average."""
    batch_reason: str
    rows_per_step: int | None
    """Exactly that many, where the user asked for a batch size."""
    multiplier: float
    rate: float
    """Peak learning rate."""
    per_epoch: int
    """Steps of an epoch; the last one may have more."""
    total: int
    joins: bool = False
    """Whether the last epoch learns from the dev slice too, unless its loss rises by then: it has
    chosen what it was kept aside for."""
    look_every: int
    """Steps between looks at the dev slice, counted anew each epoch, whose end is a look too."""
    patience: int
    """Looks in a row that may find no lower dev loss than an earlier one's; 0: there is no dev
    slice, training never stops early, and the last step is the best. Of a classifier the head's
    own loss does not count: while the rate is high, the first steps often lose some of it."""

    def enough(self, position: Position) -> bool:
        """Whether the dev loss has stopped falling."""
        return 0 < self.patience <= position.looks_without_progress


class Diverged(Exception):
    """The loss of a step is not a number; the step was not made."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What one step found: its mean loss and more, and the tokens that were read for it."""

    metrics: dict[str, float]
    tokens: int


class Learner(Protocol):
    """A model with its examples and its loss."""

    optimizer: torch.optim.Optimizer
    """Whose learning rates the loop sets."""

    def weights(self) -> dict[str, Tensor]:
        """All that is trained, by name."""

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Put back what `weights` gave."""

    def steps(self, epoch: int) -> Sequence[Step]:
        """The steps of an epoch, as many in each; drawn from seed and epoch alone."""

    def join(self) -> None:
        """Learn from the dev slice too from now on, and look no more at it. Asked for only by a
        plan that `joins`; what `weights` gives tells it."""

    def take(self, step: Step) -> Taken:
        """One optimizer step, exact however it is cut up. Raises: Diverged."""

    def look(self) -> dict[str, float]:
        """Metrics of this moment, `dev_loss` among them where there is a dev slice to look at."""

    def save(self, folder: Path) -> None:
        """Write the whole model into a new folder."""


def tune(job: Job, learner: Learner, plan: Plan) -> Generator[Event, None, Position]:
    """Fine-tune in place and return where it ended.

    Leaves the step with the lowest dev loss as a whole model in `state/best`, and the last epochs'
    ends in `state/epoch-N`. Picks up `state/latest` if there. A loss that stops being a number ends
    the training, with the best step so far.
    Raises: ConfigError when that is before any look; StorageError.
    """
    # 1. Resume.
    position = load_state(job.state / "latest", learner)
    if position is None:
        position = Position()
    else:
        yield Event(kind="note", message=f"Going on after step {position.step}")
    saving, last = Saving(), plan.epochs - 1
    epoch = min(position.step // plan.per_epoch, last)
    while epoch <= last and not plan.enough(position) and not position.diverged_at:
        # 2. This epoch's steps, from where we stand in it.
        done = position.step - epoch * plan.per_epoch
        if plan.joins and epoch == last and not done:
            yield _join(learner, position).event()
        steps = learner.steps(epoch)
        for step in steps[done:]:
            # 3. One step.
            started = time.monotonic()
            rate = plan.rate * schedule(position.step, plan.total, job.options.warmup_ratio)
            for group in learner.optimizer.param_groups:
                group["lr"] = rate
            try:
                taken = learner.take(step)
            except Diverged:
                yield _diverged(position)
                break
            position.step += 1
            position.trained_tokens += taken.tokens
            data = {
                "step": position.step,
                "total_steps": plan.total,
                **taken.metrics,
                "learning_rate": rate,
                "tokens_per_second": round(taken.tokens / (time.monotonic() - started)),
                "epoch": epoch + 1,
            }
            # 4. Look at the dev slice; keep the best; write checkpoints.
            in_epoch = position.step - epoch * plan.per_epoch
            epoch_ends = in_epoch == len(steps)
            if is_look := epoch_ends or in_epoch % plan.look_every == 0:
                data |= learner.look()
                _keep(job, learner, position, data, at_epoch_end=epoch_ends)
            # 5. Tell, then save: a step that is in the state has been told, even if we are killed.
            save = partial(save_state, job.state / "latest", learner, position)
            yield from tell_and_save(step_event(data), save, saving, is_look=is_look)
            if plan.enough(position):
                break
        epoch += 1
    # 6. Say how it ended.
    if plan.enough(position) and position.step < plan.total:
        yield Event(
            kind="note",
            message=f"Stopped early after step {position.step} of {plan.total}: the dev loss did "
            f"not fall in {plan.patience} looks",
            data={"step": position.step},
        )
    return position


def _join(learner: Learner, position: Position) -> Decision:
    """The last epoch begins: have the dev slice learned from, unless it still has to choose."""
    if position.looks_without_progress >= RISING:
        value, reason = "kept aside to the end", "its loss rises, so it chooses on"
    else:
        learner.join()
        value, reason = (
            "learned from in the last epoch",
            "it has chosen, and its loss does not rise",
        )
    decision = Decision(what="dev slice, last epoch", value=value, reason=reason)
    position.decisions.append(vars(decision))
    return decision


def _diverged(position: Position) -> Event:
    """Note it in `position`. Raises: ConfigError where no step before can be kept."""
    fix = "Lower learning_rate_multiplier, to a tenth of it, say."
    if not position.best_step:
        raise ConfigError(
            "The training loss is no longer a number: the steps are too large.", fix=fix
        )
    position.diverged_at = position.step + 1
    return Event(
        kind="warning",
        message=f"Stopped at step {position.diverged_at}: the training loss is no longer a number, "
        f"because the steps are too large. The model of step {position.best_step} is kept. {fix}",
        data={"step": position.diverged_at},
    )


def schedule(step: int, total: int, warmup_ratio: float) -> float:
    """Share of the peak rate at `step` (from 0): up linearly, then down linearly to 0."""
    warmup = math.ceil(warmup_ratio * total)
    if step < warmup:
        return (step + 1) / warmup
    return (total - step) / max(1, total - warmup)


def step_event(data: dict[str, Any]) -> Event:
    """The metric event of one step, in OpenAI's words."""
    message = f"Step {data['step']}/{data['total_steps']}: training loss={data['train_loss']:.2f}"
    if "valid_loss" in data:
        message += f", validation loss={data['valid_loss']:.2f}"
    return Event(kind="metric", message=message, data=data)


def _keep(
    job: Job, learner: Learner, position: Position, data: dict[str, Any], *, at_epoch_end: bool
) -> None:
    """Note this look in `position`; write the model where it is the best or an epoch's end.

    Without a dev slice, or when it is learned from, the latest look is the best.
    """
    if "dev_loss" not in data or data["dev_loss"] < position.best_loss:
        position.best_loss = data.get("dev_loss", position.best_loss)
        position.best_step = position.step
        position.looks_without_progress = 0
        _write(learner, job, "best")
        position.metrics_at[str(position.step)] = metrics_of(data)
    else:
        position.looks_without_progress += 1
    if at_epoch_end:
        position.metrics_at[str(position.step)] = metrics_of(data)
        _write(learner, job, f"epoch-{position.step}")
        kept = sorted(job.state.glob("epoch-*"), key=lambda p: int(p.name.split("-")[1]))
        for old in kept[:-KEPT_CHECKPOINTS] if together.is_first() else ():
            shutil.rmtree(old)


OF_LOOP = {"total_steps", "learning_rate", "tokens_per_second", "epoch"}


def metrics_of(data: dict[str, Any]) -> dict[str, Any]:
    """The metrics a checkpoint carries: all but what is the loop's own."""
    return {name: value for name, value in data.items() if name not in OF_LOOP}


def _write(learner: Learner, job: Job, name: str) -> None:
    if not together.is_first():
        return
    new = job.state / f"{name}.new"
    try:
        shutil.rmtree(new, ignore_errors=True)
        learner.save(new)
        replace_folder(new, job.state / name)
    except OSError as error:
        raise storage_error(error, new) from error
