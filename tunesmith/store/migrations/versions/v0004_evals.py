"""Evals, their runs and what came of each item."""

import sqlalchemy as sa
from alembic import op

revision = "v0004_evals"
down_revision = "v0003_methods"


def upgrade() -> None:
    _create(
        "evals",
        *_texts("project_id", "request_hash", "name"),
        *_objects("data_source_config", "testing_criteria"),
        *_objects("metadata", nullable=True),
        *_numbers("created_at", "updated_at"),
        sa.Index("evals_by_project", "project_id", "seq"),
        sa.Index("evals_by_update", "project_id", "updated_at", "seq"),
        sa.Index("evals_by_request", "request_hash"),
    )
    _create(
        "eval_runs",
        *_texts("project_id", "eval_id", "key_id", "role", "request_hash", "name", "model"),
        *_objects("data_source"),
        *_objects("metadata", "error", nullable=True),
        *_texts("status"),
        *_numbers("created_at", "total", "passed", "failed", "errored"),
        *_numbers("ended_at", nullable=True),
        *_objects("criteria", "usage"),
        *_texts("worker", nullable=True),
        sa.Column("heartbeat_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["eval_id"], ["evals.id"], name="eval_runs_of_eval"),
        sa.Index("eval_runs_by_eval", "eval_id", "seq"),
        sa.Index("eval_runs_by_status", "status", "seq"),
        sa.Index("eval_runs_by_end", "ended_at"),
    )
    _create(
        "eval_items",
        *_texts("run_id", "status"),
        *_numbers("created_at", "datasource_item_id"),
        *_objects("datasource_item", "results", "sample"),
        *_objects("given", nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["eval_runs.id"], name="eval_items_of_run"),
        sa.Index("eval_items_by_run", "run_id", "seq"),
        sa.Index("eval_items_by_number", "run_id", "datasource_item_id", unique=True),
        sa.Index("eval_items_by_status", "run_id", "status", "seq"),
    )


def _create(name: str, *parts: sa.schema.SchemaItem) -> None:
    op.create_table(
        name,
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("id", sa.Text(), nullable=False),
        *parts,
        sa.Index(f"{name}_by_id", "id", unique=True),
        sqlite_autoincrement=True,
    )


def _numbers(*names: str, nullable: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def _texts(*names: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=nullable) for name in names]


def _objects(*names: str, nullable: bool = False) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.JSON(), nullable=nullable) for name in names]
