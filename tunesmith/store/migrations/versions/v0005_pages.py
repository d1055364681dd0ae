"""What the pages keep: runs, who is logged in, what models are called."""

import sqlalchemy as sa
from alembic import op

revision = "v0005_pages"
down_revision = "v0004_evals"


def upgrade() -> None:
    op.add_column("models", sa.Column("title", sa.Text(), nullable=True))
    _create(
        "runs",
        *_texts("project_id", "key_id", "role", "name", "state"),
        *_numbers("created_at"),
        *_numbers("started_at", "ended_at", nullable=True),
        *_texts("folder"),
        sa.Column("summary", sa.JSON(), nullable=False),
        *_texts("worker", "process", nullable=True),
        sa.Index("runs_by_project", "project_id", "seq"),
        sa.Index("runs_by_project_state", "project_id", "state", "seq"),
        sa.Index("runs_by_state", "state", "seq"),
    )
    _create(
        "sessions",
        *_texts("key_id", "sha256"),
        *_numbers("created_at", "used_at"),
        sa.Index("sessions_by_hash", "sha256", unique=True),
        sa.Index("sessions_by_key", "key_id"),
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
