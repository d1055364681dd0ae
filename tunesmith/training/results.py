"""What a training process leaves in its job folder: the model, its checkpoints, who it was before.

Does not know: what was tuned.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

from tunesmith.errors import storage_error
from tunesmith.training.job import Job, replace_folder
from tunesmith.training.loop import KEPT_CHECKPOINTS
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
