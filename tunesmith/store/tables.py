"""The tables, made from the row classes.

A change here needs a migration; a test compares the two.
"""

from __future__ import annotations

import types
import typing
from dataclasses import fields
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.schema import SchemaItem

from tunesmith.store import labelling_rows, rows

METADATA = MetaData()
JSON_TYPE = JSON(none_as_null=True)
TYPES: dict[Any, Any] = {str: Text(), int: BigInteger(), float: Double()}


def _table(name: str, row: type, *constraints: SchemaItem) -> Table:
    """A table with a column for every field of `row`; `X | None` may be null."""
    hints = typing.get_type_hints(row)
    columns = [_column(field.name, hints[field.name]) for field in fields(row)]
    return Table(
        name,
        METADATA,
        *columns,
        Index(f"{name}_by_id", "id", unique=True),
        *constraints,
        sqlite_autoincrement=True,
    )


def _column(name: str, hint: Any) -> Column[Any]:
    if name == "seq":
        # SQLite counts up only a column that is called INTEGER.
        return Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    nullable = isinstance(hint, types.UnionType)
    kind = typing.get_args(hint)[0] if nullable else hint
    return Column(name, TYPES.get(kind, JSON_TYPE), nullable=nullable)


PROJECTS = _table("projects", rows.ProjectRow, Index("projects_by_name", "name", unique=True))
KEYS = _table("api_keys", rows.KeyRow, Index("api_keys_by_hash", "sha256", unique=True))
FILES = _table(
    "files",
    rows.FileRow,
    Index("files_by_project", "project_id", "seq"),
    Index("files_by_expiry", "expires_at"),
)
JOBS = _table(
    "jobs",
    rows.JobRow,
    Index("jobs_by_status", "status", "seq"),
    Index("jobs_by_request", "request_hash"),
    Index("jobs_by_project", "project_id", "seq"),
)
EVENTS = _table(
    "events",
    rows.EventRow,
    ForeignKeyConstraint(["job_id"], [JOBS.c.id], name="events_of_job"),
    Index("events_by_job", "job_id", "seq"),
)
CHECKPOINTS = _table(
    "checkpoints",
    rows.CheckpointRow,
    ForeignKeyConstraint(["fine_tuning_job_id"], [JOBS.c.id], name="checkpoints_of_job"),
    Index("checkpoints_by_job", "fine_tuning_job_id", "seq"),
)
MODELS = _table(
    "models",
    rows.ModelRow,
    ForeignKeyConstraint(["job_id"], [JOBS.c.id], name="models_of_job"),
    Index("models_by_project", "project_id", "seq"),
)
PERMISSIONS = _table(
    "permissions", rows.PermissionRow, Index("permissions_by_model", "model_id", "project_id")
)
UPLOADS = _table("uploads", rows.UploadRow, Index("uploads_by_status", "status", "expires_at"))
PARTS = _table(
    "parts",
    rows.PartRow,
    ForeignKeyConstraint(["upload_id"], [UPLOADS.c.id], name="parts_of_upload"),
    Index("parts_by_upload", "upload_id"),
)
BATCHES = _table(
    "batches",
    rows.BatchRow,
    Index("batches_by_project", "project_id", "seq"),
    Index("batches_by_status", "status", "seq"),
    Index("batches_by_request", "request_hash"),
)
COMPLETIONS = _table(
    "completions",
    rows.CompletionRow,
    Index("completions_by_project", "project_id", "seq"),
    Index("completions_by_age", "created"),
)
RESPONSES = _table("responses", rows.ResponseRow, Index("responses_by_age", "created_at"))
WEBHOOKS = _table("webhooks", rows.WebhookRow, Index("webhooks_by_project", "project_id"))
DELIVERIES = _table(
    "deliveries",
    rows.DeliveryRow,
    ForeignKeyConstraint(["webhook_id"], [WEBHOOKS.c.id], name="deliveries_of_webhook"),
    Index("deliveries_by_time", "ended_at", "due_at"),
)
EVALS = _table(
    "evals",
    rows.EvalRow,
    Index("evals_by_project", "project_id", "seq"),
    Index("evals_by_update", "project_id", "updated_at", "seq"),
    Index("evals_by_request", "request_hash"),
)
EVAL_RUNS = _table(
    "eval_runs",
    rows.EvalRunRow,
    ForeignKeyConstraint(["eval_id"], [EVALS.c.id], name="eval_runs_of_eval"),
    Index("eval_runs_by_eval", "eval_id", "seq"),
    Index("eval_runs_by_status", "status", "seq"),
    Index("eval_runs_by_end", "ended_at"),
)
EVAL_ITEMS = _table(
    "eval_items",
    rows.EvalItemRow,
    ForeignKeyConstraint(["run_id"], [EVAL_RUNS.c.id], name="eval_items_of_run"),
    Index("eval_items_by_run", "run_id", "seq"),
    Index("eval_items_by_number", "run_id", "datasource_item_id", unique=True),
    Index("eval_items_by_status", "run_id", "status", "seq"),
)
RUNS = _table(
    "runs",
    rows.RunRow,
    Index("runs_by_project", "project_id", "seq"),
    Index("runs_by_project_state", "project_id", "state", "seq"),
    Index("runs_by_state", "state", "seq"),
)
SESSIONS = _table(
    "sessions",
    rows.SessionRow,
    Index("sessions_by_hash", "sha256", unique=True),
    Index("sessions_by_key", "key_id"),
)
LABELLING_TASKS = _table(
    "labelling_tasks",
    labelling_rows.LabellingTaskRow,
    Index("labelling_tasks_by_project", "project_id", "seq"),
    Index("labelling_tasks_by_state", "state"),
)
LABELLING_ROWS = _table(
    "labelling_rows",
    labelling_rows.LabellingRow,
    ForeignKeyConstraint(["task_id"], [LABELLING_TASKS.c.id], name="labelling_rows_of_task"),
    Index("labelling_rows_by_number", "task_id", "number"),
    Index("labelling_rows_by_rank", "task_id", "state", "rank"),
    Index("labelling_rows_by_answer", "task_id", "answered_at", "seq"),
)
LABELLING_HANDOUTS = _table(
    "labelling_handouts",
    labelling_rows.HandoutRow,
    ForeignKeyConstraint(["row_id"], [LABELLING_ROWS.c.id], name="labelling_handouts_of_row"),
    Index("labelling_handouts_by_row", "row_id"),
    Index("labelling_handouts_by_annotator", "task_id", "annotator"),
)
LABELLING_ANSWERS = _table(
    "labelling_answers",
    labelling_rows.AnswerRow,
    ForeignKeyConstraint(["row_id"], [LABELLING_ROWS.c.id], name="labelling_answers_of_row"),
    Index("labelling_answers_by_row", "row_id", "annotator"),
    Index("labelling_answers_by_annotator", "task_id", "annotator", "seq"),
    Index("labelling_answers_by_label", "task_id", "kind", "row_id", "label"),
)
