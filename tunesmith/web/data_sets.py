"""Data sets as pages see them: files of the API, and tables that were dropped for runs.

Knows: where their content is, who uses them. Does not know: how rows are read or shown.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tunesmith.errors import NotFound
from tunesmith.store.blobs import CHUNK, Blobs
from tunesmith.store.rows import BatchRow, FileRow, JobRow, RunRow
from tunesmith.web import run_files
from tunesmith.web.tables import shelf
from tunesmith.web.tables.form import load
from tunesmith.web.visit import Visit

PURPOSES = {
    "fine-tune": "Training rows",
    "fine-tune-results": "Numbers of a training",
    "batch": "Requests of a batch",
    "batch_output": "Answers of a batch",
    "evals": "Rows of an eval",
    "user_data": "Data",
    "assistants": "For assistants",
    "vision": "Pictures",
}
"""Purpose of a file → what it holds, in words."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A table that can be looked at."""

    key: str
    """Id of the file, or of the run."""
    name: str
    num_bytes: int
    created_at: int
    index: Path
    """Folder of its index."""
    source: Path
    address: str
    file: FileRow | None = None
    run: RunRow | None = None
    """The run for which it was dropped."""
    jobs: Sequence[JobRow] = ()
    batches: Sequence[BatchRow] = ()


def of_file(visit: Visit, file_id: str) -> DataSet:
    """A file of the API, with its content on this machine. Raises: NotFound; StorageError."""
    row = visit.store.files.get(file_id)
    if row is None:
        raise NotFound("There is no such file.")
    index, source = fetched(visit, row)
    return DataSet(
        key=row.id,
        name=row.filename,
        num_bytes=row.bytes,
        created_at=row.created_at,
        index=index,
        source=source,
        address=f"/data/files/{row.id}",
        file=row,
        jobs=visit.store.jobs.using([row.id]),
        batches=visit.store.batches.using(row.id),
    )


def fetched(visit: Visit, row: FileRow) -> tuple[Path, Path]:
    """Where the index of a file is kept, and its content, which is on this machine then.

    Raises: NotFound; StorageError.
    """
    index = shelf.place(visit.desk.settings, row.id)
    source = index / f"content{Path(row.filename).suffix.lower()[:12]}"
    if not source.is_file():
        index.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            Blobs(visit.desk.settings.blobs).copy_out(row.id, source)
    return index, source


def of_run(visit: Visit, run_id: str) -> DataSet:
    """The table that was dropped for a run. Raises: NotFound."""
    row = visit.store.runs.get(run_id)
    source = run_files.table(visit.runs.folder(row)) if row is not None else None
    if row is None or source is None or not source.is_file():
        raise NotFound("There is no such table.")
    return DataSet(
        key=row.id,
        name=source.name,
        num_bytes=source.stat().st_size,
        created_at=row.created_at,
        index=shelf.place(visit.desk.settings, row.id),
        source=source,
        address=f"/data/tables/{row.id}",
        run=row,
    )


def rows_of(visit: Visit, key: str) -> int | None:
    """How many rows a data set has, where somebody has counted them."""
    form = load(shelf.place(visit.desk.settings, key))
    return form.count if form is not None and form.done and not form.error else None


def routes() -> list[Route]:
    """The routes that hand data sets out."""

    async def file(request: Request) -> Response:
        visit = request.scope["visit"]
        assert isinstance(visit, Visit)
        row = await run_in_threadpool(visit.store.files.get, request.path_params["file_id"])
        if row is None or row.purpose == "assistants":
            return PlainTextResponse("There is no such file.", 404)
        blobs = await run_in_threadpool(Blobs, visit.desk.settings.blobs)
        content = await run_in_threadpool(blobs.open, row.id)
        name = quote(row.filename, safe="")
        disposition = f"attachment; filename*=UTF-8''{name}"
        headers = {"content-disposition": disposition, "cache-control": "no-store"}
        return StreamingResponse(
            _pieces(content), media_type="application/octet-stream", headers=headers
        )

    async def table(request: Request) -> Response:
        visit = request.scope["visit"]
        assert isinstance(visit, Visit)
        try:
            found = await run_in_threadpool(of_run, visit, request.path_params["run_id"])
        except NotFound:
            return PlainTextResponse("There is no such table.", 404)
        return FileResponse(
            found.source, media_type="application/octet-stream", filename=found.name
        )

    return [
        Route("/data/files/{file_id}/download", file, methods=["GET"]),
        Route("/data/tables/{run_id}/download", table, methods=["GET"]),
    ]


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    with content:
        while piece := content.read(CHUNK):
            yield piece
