"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "v0001_tables"
down_revision = None


def upgrade() -> None:
    _create(
        "api_keys",
        *_texts("name", "role", "prefix", "sha256"),
        _number("created_at"),
        _number("revoked_at", nullable=True),
        sa.Index("api_keys_by_hash", "sha256", unique=True),
    )
    _create(
        "files",
        *_texts("filename", "purpose", "sha256"),
        _number("bytes"),
        _number("created_at"),
        _number("expires_at", nullable=True),
    )
    _create(
        "jobs",
        *_texts("status", "key_id", "request_hash", "model", "base_model", "training_file"),
        *_texts("start_from", "validation_file", "user_provided_suffix", nullable=True),
        *_texts("fine_tuned_model", "samples_file", "worker", nullable=True),
        *(_number(name) for name in ("created_at", "seed", "deaths", "events_offset")),
        *(_number(n, nullable=True) for n in ("finished_at", "estimated_finish", "trained_tokens")),
        sa.Column("heartbeat_at", sa.Double(), nullable=False),
        *_objects("hyperparameters", "options", "result_files", "error", "facts", "progress"),
        *_objects("plan"),
        *_objects("metadata", nullable=True),
        sa.Index("jobs_by_status", "status", "seq"),
        sa.Index("jobs_by_request", "request_hash"),
    )
    _create(
        "events",
        *_texts("job_id", "level", "type", "message"),
        _number("created_at"),
        *_objects("data"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="events_of_job"),
        sa.Index("events_by_job", "job_id", "seq"),
    )
    _create(
        "checkpoints",
        *_texts("fine_tuning_job_id", "fine_tuned_model_checkpoint"),
        _number("created_at"),
        _number("step_number"),
        *_objects("metrics"),
        sa.ForeignKeyConstraint(["fine_tuning_job_id"], ["jobs.id"], name="checkpoints_of_job"),
        sa.Index("checkpoints_by_job", "fine_tuning_job_id", "seq"),
    )
    _create(
        "models",
        *_texts("owned_by", "base_model", "job_id", "folder"),
        _number("created"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="models_of_job"),
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


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _texts(*names: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=nullable) for name in names]


def _objects(*names: str, nullable: bool = False) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.JSON(), nullable=nullable) for name in names]
