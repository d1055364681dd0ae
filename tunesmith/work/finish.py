"""From a finished training process to models, files and a job that has succeeded.

Stopping at any moment and starting again leads to the same end: names and ids are stored before
anything bears them, each folder moves in one step, and the rest is one transaction.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

from tunesmith import wire
from tunesmith.errors import storage_errors
from tunesmith.events import read_events
from tunesmith.settings import Settings
from tunesmith.store.blobs import Blobs
from tunesmith.store.jobs import Change
from tunesmith.store.rows import CheckpointRow, EventRow, FileRow, JobRow, ModelRow, now
from tunesmith.store.store import Store

FINAL = "model"
"""Folder of the final model in the job folder and in result.json's checkpoints."""


class Finisher:
    """Puts away the results of jobs."""

    def __init__(self, settings: Settings, store: Store, blobs: Blobs) -> None:
        self._settings = settings
        self._store = store
        self._blobs = blobs

    def finish(self, job: JobRow, job_dir: Path) -> JobRow:
        """Make the job succeed with what result.json says.

        Raises: StateError when the job was cancelled meanwhile; StorageError.
        """
        result = json.loads((job_dir / "result.json").read_text(encoding="utf-8"))
        kept: list[dict[str, Any]] = result["checkpoints"]
        if not job.plan:
            chosen = Change(values={"plan": self._plan(job, kept)})
            job = self._store.jobs.write(job.id, chosen, worker=job.worker)
        models = [self._model(job, job_dir, checkpoint) for checkpoint in kept]
        files = self._files(job, job_dir)
        names = [model.id for model in models]
        values = {
            "fine_tuned_model": names[-1],
            "finished_at": now(),
            "trained_tokens": result["trained_tokens"],
            "hyperparameters": result["hyperparameters"],
            "facts": result.get("facts", {}),
            "result_files": [job.plan["result_file"]],
            "samples_file": job.plan["samples_file"] if len(files) > 1 else None,
        }
        change = Change(
            to="succeeded",
            values=values,
            events=_closing_events(kept, names),
            files=files,
            models=models,
            checkpoints=_checkpoints(job, kept, names, _times(job_dir / "events.jsonl")),
        )
        return self._store.jobs.write(job.id, change, worker=job.worker)

    def _plan(self, job: JobRow, kept: list[dict[str, Any]]) -> dict[str, Any]:
        base = Path(job.base_model).name.lower()  # a name, or a folder
        organization = self._settings.organization
        names = {}
        for checkpoint in kept:
            step = None if checkpoint["folder"] == FINAL else checkpoint["step"]
            name = wire.tuned_model_name(base, organization, job.user_provided_suffix, step)
            names[checkpoint["folder"]] = name
        ids = {name: wire.new_id("file-") for name in ("result_file", "samples_file")}
        return {"names": names, **ids}

    def _model(self, job: JobRow, job_dir: Path, checkpoint: dict[str, Any]) -> ModelRow:
        """Move the checkpoint's folder to where models are kept, unless it is there already."""
        tail = "" if checkpoint["folder"] == FINAL else f"-step-{checkpoint['step']}"
        source = job_dir / checkpoint["folder"]
        target = self._settings.models_dir / f"{job.id}{tail}"
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                source.rename(target)
        return ModelRow(
            id=job.plan["names"][checkpoint["folder"]],
            project_id=job.project_id,
            owned_by=self._settings.organization,
            base_model=job.base_model,
            job_id=job.id,
            folder=target.name,
        )

    def _files(self, job: JobRow, job_dir: Path) -> list[FileRow]:
        """Store the result file and, where there is one, the samples."""
        with storage_errors(job_dir):
            metrics = (job_dir / "metrics.csv").read_bytes()
        if self._settings.result_encoding == "base64":
            metrics = base64.b64encode(metrics)
        contents = {"result_file": ("step_metrics.csv", metrics)}
        samples = job_dir / "samples.jsonl"
        if samples.exists():
            contents["samples_file"] = ("samples.jsonl", samples.read_bytes())
        rows = []
        for key, (filename, content) in contents.items():
            blob = self._blobs.put(job.plan[key], io.BytesIO(content))
            row = FileRow(
                id=job.plan[key],
                project_id=job.project_id,
                filename=filename,
                purpose="fine-tune-results",
                bytes=blob.bytes,
                sha256=blob.sha256,
            )
            rows.append(row)
        return rows


def _closing_events(kept: list[dict[str, Any]], names: list[str]) -> list[EventRow]:
    """OpenAI's last events of a job that succeeds."""
    earlier = [
        f"Checkpoint created at step {checkpoint['step']} with Snapshot ID: {name}"
        for checkpoint, name in zip(kept[:-1], names[:-1], strict=True)
    ]
    last = [f"New fine-tuned model created: {names[-1]}", "The job has successfully completed"]
    return [EventRow(message=message) for message in [*earlier, *last]]


def _checkpoints(
    job: JobRow, kept: list[dict[str, Any]], names: list[str], times: dict[int, int]
) -> list[CheckpointRow]:
    return [
        CheckpointRow(
            fine_tuning_job_id=job.id,
            created_at=times.get(checkpoint["step"], now()),
            fine_tuned_model_checkpoint=name,
            step_number=checkpoint["step"],
            metrics={"step": checkpoint["step"], "type": job.method, **checkpoint["metrics"]},
        )
        for checkpoint, name in zip(kept, names, strict=True)
    ]


def _times(path: Path) -> dict[int, int]:
    """When each step was done, in unix seconds."""
    metrics = (event for event, _ in read_events(path) if event.kind == "metric")
    return {int(event.data.get("step", 0)): int(event.at) for event in metrics}
