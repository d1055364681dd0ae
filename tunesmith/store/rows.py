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


DEFAULT_PROJECT = "proj_default"
"""Id of the project that is there from the start."""


@dataclass(frozen=True, kw_only=True)
class ProjectRow:
    """A tenant: its files, jobs, models and all else are seen by its own keys only."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("proj_"))
    name: str
    created_at: int = field(default_factory=now)


@dataclass(frozen=True, kw_only=True)
class KeyRow:
    """An API key. Only its SHA-256 is kept; `prefix` is what a person may see of it."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("key_"))
    project_id: str = DEFAULT_PROJECT
    name: str
    role: str
    """admin, member or reader; what each may do says `server.auth`."""
    prefix: str
    sha256: str
    created_at: int = field(default_factory=now)
    expires_at: int | None = None
    revoked_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """A file whose content is the blob named `id`."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("file-"))
    project_id: str = DEFAULT_PROJECT
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
    project_id: str = DEFAULT_PROJECT
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
    method: str = "supervised"
    """supervised or dpo."""
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    """OpenAI's for the method, "auto" until the training process has chosen."""
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
    """How often in a row the training process has ended unexpectedly, with no step in between."""
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
    project_id: str = DEFAULT_PROJECT
    created: int = field(default_factory=now)
    owned_by: str
    base_model: str
    job_id: str
    folder: str
    title: str | None = None
    """What its project calls it on pages; requests go by its `id`."""


@dataclass(frozen=True, kw_only=True)
class PermissionRow:
    """Lets another project use a tuned model, which OpenAI calls a checkpoint."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("cp_"))
    created_at: int = field(default_factory=now)
    model_id: str
    project_id: str
    """The project that may use it."""


@dataclass(frozen=True, kw_only=True)
class UploadRow:
    """A file that arrives in parts."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("upload_"))
    project_id: str = DEFAULT_PROJECT
    created_at: int = field(default_factory=now)
    expires_at: int
    filename: str
    purpose: str
    bytes: int
    """As announced; the parts must add up to it."""
    mime_type: str
    file_lives: int | None = None
    """Seconds for which the file will be kept; None: for good."""
    status: str = "pending"
    file_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class PartRow:
    """A part of an upload, whose content is the blob named `id`."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("part_"))
    upload_id: str
    created_at: int = field(default_factory=now)
    bytes: int


@dataclass(frozen=True, kw_only=True)
class BatchRow:
    """Many requests in a file, and how far answering them has come."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("batch_"))
    project_id: str = DEFAULT_PROJECT
    key_id: str
    role: str
    """Of the key that asked."""
    request_hash: str
    """As a job has one."""
    endpoint: str
    model: str | None = None
    input_file_id: str
    completion_window: str
    output_lives: int | None = None
    """Seconds for which the output files are kept; None: for good."""
    metadata: dict[str, str] | None = None
    status: str = "validating"
    errors: list[dict[str, Any]] = field(default_factory=list)
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int = field(default_factory=now)
    in_progress_at: int | None = None
    expires_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    usage: dict[str, Any] = field(default_factory=dict)
    worker: str | None = None
    heartbeat_at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CompletionRow:
    """A chat completion that was to be stored."""

    seq: int = 0
    id: str
    project_id: str = DEFAULT_PROJECT
    created: int
    model: str
    metadata: dict[str, str] | None = None
    messages: list[dict[str, Any]]
    """What was asked."""
    body: dict[str, Any]
    """The completion as it was sent."""


@dataclass(frozen=True, kw_only=True)
class ResponseRow:
    """A response of the Responses API, and the items it answers."""

    seq: int = 0
    id: str
    project_id: str = DEFAULT_PROJECT
    created_at: int
    items: list[dict[str, Any]]
    """Of the input, those of earlier responses first."""
    body: dict[str, Any]
    """The response as it was sent."""


@dataclass(frozen=True, kw_only=True)
class WebhookRow:
    """An address that is told when jobs, batches and eval runs of the project end."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("whk_"))
    project_id: str = DEFAULT_PROJECT
    created_at: int = field(default_factory=now)
    url: str
    secret: str
    """With which deliveries are signed; whoever can read the database could sign them anyway."""
    events: list[str]
    """Types of events; none: all."""


@dataclass(frozen=True, kw_only=True)
class DeliveryRow:
    """An event on its way to a webhook; written together with what it tells of."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("evt_"))
    webhook_id: str
    created_at: int = field(default_factory=now)
    type: str
    about: str
    """Id of the job, batch or eval run."""
    attempts: int = 0
    due_at: float = 0.0
    """When to try, or try again, in unix seconds."""
    ended_at: int | None = None
    """Delivered, or given up."""
    last_error: str | None = None


@dataclass(frozen=True, kw_only=True)
class EvalRow:
    """What is tested, and by which criteria."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("eval_"))
    project_id: str = DEFAULT_PROJECT
    request_hash: str
    """As a job has one."""
    name: str
    data_source_config: dict[str, Any]
    """As it was asked for."""
    testing_criteria: list[dict[str, Any]]
    """As they were asked for, each with an `id`."""
    metadata: dict[str, str] | None = None
    created_at: int = field(default_factory=now)
    updated_at: int = field(default_factory=now)


@dataclass(frozen=True, kw_only=True)
class EvalRunRow:
    """A run of an eval, and how far it has come."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("evalrun_"))
    project_id: str = DEFAULT_PROJECT
    eval_id: str
    key_id: str
    role: str
    """Of the key that asked."""
    request_hash: str
    name: str
    model: str = ""
    data_source: dict[str, Any]
    """As it was asked for."""
    metadata: dict[str, str] | None = None
    status: str = "queued"
    error: dict[str, Any] | None = None
    created_at: int = field(default_factory=now)
    ended_at: int | None = None
    total: int = 0
    """Items, once all of them are there."""
    passed: int = 0
    failed: int = 0
    errored: int = 0
    criteria: dict[str, Any] = field(default_factory=dict)
    """By the criterion's id: how many items `passed` and `failed` it."""
    usage: dict[str, Any] = field(default_factory=dict)
    """By the model's name: how often it was asked, and tokens."""
    worker: str | None = None
    heartbeat_at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class EvalItemRow:
    """An item of a run, and what came of it."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("outputitem_"))
    run_id: str
    created_at: int = field(default_factory=now)
    status: str = "pending"
    """pending, pass, fail or error."""
    datasource_item_id: int
    datasource_item: dict[str, Any]
    given: dict[str, Any] | None = None
    """The sample that the source has for it."""
    results: list[dict[str, Any]] = field(default_factory=list)
    sample: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A run that was begun on the page, and how far it has come."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("run_"))
    project_id: str = DEFAULT_PROJECT
    key_id: str
    role: str
    """Of the key that began it."""
    name: str
    state: str = "draft"
    """draft, checking (prepare runs on a draft), queued, running, paused, succeeded, failed,
    cancelled."""
    created_at: int = field(default_factory=now)
    started_at: int | None = None
    ended_at: int | None = None
    folder: str
    """Below the folder of runs."""
    summary: dict[str, Any] = field(default_factory=dict)
    """What lists show of it, once it is known: task, base model, score, what went wrong."""
    worker: str | None = None
    """Name of the server process that looks after it, and after its process."""
    process: str | None = None
    """Name of its own process, while it has one."""


@dataclass(frozen=True, kw_only=True)
class SessionRow:
    """A browser that is logged in with a key. Only the SHA-256 of what it sends is kept."""

    seq: int = 0
    id: str = field(default_factory=lambda: new_id("sess_"))
    key_id: str
    sha256: str
    created_at: int = field(default_factory=now)
    used_at: int = field(default_factory=now)
