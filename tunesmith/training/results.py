"""What a training process leaves: the model, its checkpoints, what its curves say.

Does not know: what was tuned.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from tunesmith.errors import storage_error
from tunesmith.events import Event, read_events
from tunesmith.metrics.curves import Point, diagnose
from tunesmith.training.job import Job, replace_folder
from tunesmith.training.loop import KEPT_CHECKPOINTS, Plan
from tunesmith.training.state import Position


class Saved(Protocol):
    """A model that can be written into a folder."""

    def save(self, folder: Path) -> None: ...


def save_model(job: Job, model: Saved) -> None:
    """Write the final model, whole or not at all. Raises: StorageError."""
    new = Path(f"{job.model}.new")
    try:
        shutil.rmtree(new, ignore_errors=True)
        model.save(new)
        replace_folder(new, job.model)
    except OSError as error:
        raise storage_error(error, new) from error


def checkpoints(
    job: Job, position: Position, chosen: int, final: dict[str, float]
) -> list[dict[str, Any]]:
    """Epoch ends before the chosen step, as folders in `checkpoints/`, then the model itself."""
    earlier = [
        step
        for step in sorted(map(int, position.metrics_at))
        if step < chosen
        and ((job.state / f"epoch-{step}").exists() or (job.checkpoints / f"step-{step}").exists())
    ]
    out = []
    for step in earlier[1 - KEPT_CHECKPOINTS :]:
        folder = job.checkpoints / f"step-{step}"
        if not folder.exists():  # else a process before this one came as far as here
            job.checkpoints.mkdir(exist_ok=True)
            (job.state / f"epoch-{step}").rename(folder)
        metrics = position.metrics_at[str(step)]
        out.append({"step": step, "folder": f"checkpoints/{folder.name}", "metrics": metrics})
    metrics = position.metrics_at[str(chosen)] | final
    return [*out, {"step": chosen, "folder": "model", "metrics": metrics}]


def tell_curves(
    job: Job, plan: Plan, kept_step: int, *, num_labels: int | None
) -> Generator[Event, None, list[dict[str, Any]]]:
    """Say what the curves of loss show, by the dev slice where there is one; returns the same.

    num_labels  that an answer is chosen from; None: texts are written.
    """
    metrics = [event.data for event, _ in read_events(job.events) if event.kind == "metric"]
    has_dev = any("dev_loss" in data for data in metrics)
    held_out = "dev_loss" if has_dev else "valid_loss"
    points = [
        Point(
            step=data["step"],
            train_loss=data.get("train_loss"),
            held_out_loss=data.get(held_out),
        )
        for data in metrics
    ]
    total = plan.total
    found = diagnose(points, total_steps=total, kept_step=kept_step, num_labels=num_labels)
    for one in found:
        yield Event(kind="note", message=f"{one.sentence} {one.change}", data=asdict(one))
    return [asdict(one) for one in found]
