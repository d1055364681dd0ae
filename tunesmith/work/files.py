"""The job folder as the server sees it: what goes in before training, what stays after it."""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from tunesmith import catalog
from tunesmith.data.chat import files as examples
from tunesmith.data.chat.rules import Method
from tunesmith.errors import JobFailed, RequestError, storage_errors
from tunesmith.settings import Settings
from tunesmith.store.blobs import Blobs
from tunesmith.store.rows import JobRow
from tunesmith.store.store import Store
from tunesmith.store.uploads import remove_parts
from tunesmith.work import retention
from tunesmith.work.runner import LOG

GONE = {"training_file": "deleted_training_file", "validation_file": "invalid_validation_file"}
KEPT = {LOG, "job.json", "events.jsonl", "result.json", "error.json", "metrics.csv"}
"""What is left in the folder of a job that has ended."""
SHOWN_PROBLEMS = 3
KEEP_SHARED = 24 * 3600.0
"""Seconds for which jobs find what no job has asked for."""


def given(job: JobRow) -> dict[str, str]:
    """The ids of the files the job was given, by parameter."""
    ids = {"training_file": job.training_file, "validation_file": job.validation_file}
    return {param: file_id for param, file_id in ids.items() if file_id}


def fetch(store: Store, blobs: Blobs, job: JobRow, job_dir: Path) -> None:
    """Copy the job's files into its folder; from then on they may be deleted.

    Raises: JobFailed when one is gone already; StorageError.
    """
    for param, file_id in given(job).items():
        target = job_dir / f"{param}.jsonl"
        if target.exists():
            continue
        if store.files.get(file_id) is None:
            what = param.replace("_", " ")
            raise JobFailed(
                f"The {what} {file_id} was deleted before the job could read it.",
                fix="Upload it again and create the job again.",
                code=GONE[param],
                param=param,
            )
        temporary = target.with_suffix(".tmp")
        with storage_errors(target):
            job_dir.mkdir(parents=True, exist_ok=True)
            with blobs.open(file_id) as source, temporary.open("wb") as file:
                shutil.copyfileobj(source, file, 1024 * 1024)
            temporary.replace(target)


def check(job: JobRow, job_dir: Path) -> None:
    """Check the content of the job's files: chats, or for dpo pairs of answers.

    Raises: JobFailed with OpenAI's code and the first problems found.
    """
    method: Method = "dpo" if job.method == "dpo" else "supervised"
    for param in given(job):
        problems = examples.check(job_dir / f"{param}.jsonl", method, param)
        found = list(islice(problems, SHOWN_PROBLEMS + 1))
        if found:
            message = " ".join(problem.message for problem in found[:SHOWN_PROBLEMS])
            more = " There are more problems in this file." if len(found) > SHOWN_PROBLEMS else ""
            raise JobFailed(message + more, code=found[0].code, param=found[0].param)


def write_job(settings: Settings, store: Store, job: JobRow, job_dir: Path) -> None:
    """Write job.json, what the training process reads; a job that goes on keeps the one it has.

    Raises: JobFailed when the model to start from was deleted, or the files of the base model are
    not those that were kept; StorageError.
    """
    start_from = store.models.get(job.start_from) if job.start_from else None
    if job.start_from and start_from is None:
        raise JobFailed(
            f"The model to start from, {job.start_from}, was deleted.",
            fix="Create the job again with another model.",
            code="model_not_available",
            param="model",
        )
    path = job_dir / "job.json"
    if path.exists():
        return
    base = _base(settings, job)
    files = {param: str(job_dir / f"{param}.jsonl") for param in given(job)}
    request: dict[str, Any] = {
        "job": job.id,
        "objective": job.method,
        "base_model": job.base_model,
        "base_folder": str(base.folder) if base.kept else None,
        "start_from": str(settings.models_dir / start_from.folder) if start_from else None,
        "training_file": files["training_file"],
        "validation_file": files.get("validation_file"),
        "seed": job.seed,
        "hyperparameters": job.hyperparameters,
        "options": job.options,
        "threads": _threads(settings),
        "shared": str(settings.shared_dir),
    }
    with storage_errors(path):
        path.with_suffix(".tmp").write_text(json.dumps(request, indent=1), encoding="utf-8")
        path.with_suffix(".tmp").replace(path)


def _base(settings: Settings, job: JobRow) -> catalog.BaseModel:
    """The job's base model; a causal one has the files that it had when it was added.

    Raises: JobFailed.
    """
    try:
        base = catalog.find(job.base_model, settings.base_models_dir)
        if base.kind == "causal":
            catalog.verify(base)
    except RequestError as error:
        raise JobFailed(
            error.what, fix=error.fix, code="model_not_available", param="model"
        ) from error
    return base


def _threads(settings: Settings) -> int:
    """A training's share of the threads: as many jobs may train at once as there are workers."""
    threads = settings.threads or len(os.sched_getaffinity(0))
    return max(1, threads // max(1, settings.workers))


def sweep(settings: Settings, store: Store, blobs: Blobs) -> None:
    """Remove what nobody needs: working files of jobs that have ended, folders of models that
    were deleted or never finished, files whose time is over, parts of uploads that have ended,
    what is shared and no longer asked for, what is kept for a while only."""
    for job_dir in _ended(store, settings.jobs_dir):
        for path in job_dir.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name not in KEPT:
                path.unlink(missing_ok=True)
    unused = _ended(store, settings.models_dir)  # before the models: a job may end in between
    known = {model.folder for model in store.models.all()}
    for folder in unused:
        if folder.name not in known:
            shutil.rmtree(folder, ignore_errors=True)
    for file in store.files.expired():
        store.files.delete(file.id)
        blobs.delete(file.id)
    remove_parts(store.uploads, blobs)
    for path in settings.shared_dir.glob("*"):
        with suppress(FileNotFoundError):  # another worker sweeps too
            if path.stat().st_mtime < time.time() - KEEP_SHARED:
                path.unlink()
    retention.apply(settings, store)


def _ended(store: Store, parent: Path) -> list[Path]:
    """Folders in `parent` whose name begins with the id of a job that has ended."""
    folders = list(parent.iterdir()) if parent.exists() else []
    job_ids = {folder: folder.name[: len("ftjob-") + 24] for folder in folders}
    ended = store.jobs.ended(list(job_ids.values()))
    return [folder for folder in folders if job_ids[folder] in ended]
