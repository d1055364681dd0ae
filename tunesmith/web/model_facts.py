"""What is known of a model: where it comes from, what was made of it, what goes with it.

Read from the store as the caller's project sees it, and from the model's folder.
Does not know: how it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

from tunesmith.errors import NotFound
from tunesmith.store.rows import FileRow, JobRow, ModelRow, RunRow
from tunesmith.web import archives
from tunesmith.web.visit import Visit

ANSWERS = {"labels": "Labels", "text": "Text"}


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """A tuned model and what it is tied to; None where that is gone, or another project's."""

    row: ModelRow
    is_own: bool
    num_bytes: int
    job: JobRow | None = None
    run: RunRow | None = None
    files: dict[str, FileRow | str] = field(default_factory=dict)
    """training and validation → the file, or the id of one that is gone."""
    siblings: tuple[ModelRow, ...] = ()
    """Other models of the same job: its checkpoints."""
    children: tuple[ModelRow, ...] = ()
    """Models that were tuned from it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it answers with, where they are known."""
        return labels_of(self.job)


def lineage(visit: Visit, name: str) -> Lineage:
    """What is known of a tuned model. Raises: NotFound."""
    store = visit.store
    row = store.models.get(name)
    if row is None:
        raise NotFound(f"There is no model {name!r}.")
    job = store.jobs.get(row.job_id)
    files: dict[str, FileRow | str] = {}
    if job is not None:
        files["training"] = store.files.get(job.training_file) or job.training_file
        if job.validation_file:
            files["validation"] = store.files.get(job.validation_file) or job.validation_file
    return Lineage(
        row=row,
        is_own=row.project_id == visit.caller.project,
        num_bytes=archives.bytes_of(visit.desk.settings.models_dir / row.folder),
        job=job,
        run=store.runs.of_job(row.job_id),
        files=files,
        siblings=tuple(other for other in store.models.of_job(row.job_id) if other.id != row.id),
        children=tuple(store.models.made_from(name)),
    )


def labels_of(job: JobRow | None) -> tuple[str, ...]:
    """The labels of the model that a job has made, where they are known."""
    return tuple(str(label) for label in (job.facts.get("labels") if job else None) or ())


def named(row: ModelRow) -> str:
    """What a model is called on pages."""
    return row.title or row.id


def address(name: str) -> str:
    """Where a model is shown."""
    return f"/models/{quote(name, safe=':')}"
