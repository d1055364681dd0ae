"""Labelling: tasks, their rows, who holds which, and what people said of them."""

import sqlalchemy as sa
from alembic import op

revision = "v0006_labelling"
down_revision = "v0005_pages"


def upgrade() -> None:
    _create(
        "labelling_tasks",
        *_texts("project_id", "key_id", "name", "state"),
        *_numbers("created_at"),
        *_texts("source"),
        *_objects("reading"),
        *_texts("text_column"),
        *_objects("shown", "labels"),
        *_texts("guideline"),
        *_numbers("votes"),
        *_texts("helper", nullable=True),
        *_objects("is_suggesting"),
        *_numbers("total", "num_rows", "num_empty", "num_labelled", "num_done", "num_tied"),
        *_texts("error"),
        *_texts("process", nullable=True),
        sa.Index("labelling_tasks_by_project", "project_id", "seq"),
        sa.Index("labelling_tasks_by_state", "state"),
    )
    _create(
        "labelling_rows",
        *_texts("task_id"),
        *_numbers("number"),
        *_texts("text"),
        *_objects("shown"),
        *_texts("state"),
        sa.Column("rank", sa.Double(), nullable=False),
        *_numbers("num_votes", "num_labels"),
        *_texts("label", "decided_by", nullable=True),
        *_numbers("answered_at"),
        *_texts("suggestion", nullable=True),
        sa.Column("certainty", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["task_id"], ["labelling_tasks.id"], name="labelling_rows_of_task"),
        sa.Index("labelling_rows_by_number", "task_id", "number"),
        sa.Index("labelling_rows_by_rank", "task_id", "state", "rank"),
        sa.Index("labelling_rows_by_answer", "task_id", "answered_at", "seq"),
    )
    _create(
        "labelling_handouts",
        *_texts("task_id", "row_id", "annotator"),
        sa.Column("until", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["row_id"], ["labelling_rows.id"], name="labelling_handouts_of_row"
        ),
        sa.Index("labelling_handouts_by_row", "row_id"),
        sa.Index("labelling_handouts_by_annotator", "task_id", "annotator"),
    )
    _create(
        "labelling_answers",
        *_texts("task_id", "row_id", "annotator", "kind"),
        *_texts("label", nullable=True),
        *_numbers("created_at"),
        *_numbers("replaced_at", nullable=True),
        sa.ForeignKeyConstraint(["row_id"], ["labelling_rows.id"], name="labelling_answers_of_row"),
        sa.Index("labelling_answers_by_row", "row_id", "annotator"),
        sa.Index("labelling_answers_by_annotator", "task_id", "annotator", "seq"),
        sa.Index("labelling_answers_by_label", "task_id", "kind", "row_id", "label"),
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
