"""The rows of the database: one frozen dataclass a table, which is also the table's definition.

`seq` is the order in which rows were written, given by the database; it is 0 until then. A field
that OpenAI has too bears OpenAI's name.
Does not know: SQL.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from tunesmith.wire import new_id


def now() -> int:
    """Unix seconds, as OpenAI's `created_at` has them."""
    return int(time.time())


@dataclass(frozen=True, kw_only=True)
class KeyRow:
    """An API key. Only its SHA-256 is kept; `prefix` is what a person may see of it."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("key_"))
    name: str
    role: str
    """admin: everything; user: everything but deleting models."""
    prefix: str
    sha256: str
    created_at: int = field(default_factory=now)
    revoked_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """A file whose content is the blob named `id`."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("file-"))
    filename: str
    purpose: str
    bytes: int
    sha256: str
    created_at: int = field(default_factory=now)
    expires_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """A fine-tuning job: what was asked, what came of it, and who works on it."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("ftjob-"))
    status: str = "validating_files"
    created_at: int = field(default_factory=now)
    # What was asked.
    key_id: str
    request_hash: str
    """Of the key and the request; finds the job again when a client repeats a lost request."""
    model: str
    """As named in the request."""
    base_model: str
    """Catalog name or folder of the base model at the root of `model`."""
    start_from: str | None = None
    """Name of the tuned model to go on from."""
    training_file: str
    validation_file: str | None = None
    user_provided_suffix: str | None = None
    seed: int
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    """OpenAI's three, "auto" until the training process has chosen."""
    options: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] | None = None
    # What came of it.
    finished_at: int | None = None
    estimated_finish: int | None = None
    fine_tuned_model: str | None = None
    trained_tokens: int | None = None
    result_files: list[str] = field(default_factory=list)
    samples_file: str | None = None
    error: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    """The newest `progress` event's message and data, while running."""
    # Who works on it, and how far that has come.
    worker: str | None = None
    heartbeat_at: float = 0.0
    deaths: int = 0
    """How often the training process has ended unexpectedly."""
    events_offset: int = 0
    """Bytes of the training process's events.jsonl that are in the events table."""
    plan: dict[str, Any] = field(default_factory=dict)
    """Names and ids for what the job makes, chosen once, before any of it exists."""


@dataclass(frozen=True, kw_only=True)
class EventRow:
    """One event of a job."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("ftevent-"))
    job_id: str = ""
    created_at: int = field(default_factory=now)
    level: str = "info"
    type: str = "message"
    message: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CheckpointRow:
    """A kept checkpoint, which is a model too."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("ftckpt_"))
    fine_tuning_job_id: str
    created_at: int
    fine_tuned_model_checkpoint: str
    step_number: int
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """A tuned model; `folder` is its folder's name below the models' folder."""

    seq: int = 0
    id: str
    created: int = field(default_factory=now)
    owned_by: str
    base_model: str
    job_id: str
    folder: str
