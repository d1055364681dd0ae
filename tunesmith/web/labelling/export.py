"""The labelled table: as a CSV file, made while it is sent, or as the table of a new run.

Columns: the text, those shown beside it, `label` (what was decided, or what most votes say), and
one column an annotator, as `tunesmith prepare --annotators` reads them.
Does not know: pages.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tunesmith.config import PrepareConfig, RunConfig
from tunesmith.errors import NotFound, StateError, storage_errors
from tunesmith.store.labelling_rows import AnswerRow, LabellingRow, LabellingTaskRow
from tunesmith.store.rows import RunRow
from tunesmith.store.store import Store
from tunesmith.web import drafts, run_files
from tunesmith.web.labelling.figures import names_of
from tunesmith.web.visit import Visit

LABEL = "label"


@dataclass(frozen=True, kw_only=True)
class Header:
    """The columns of the exported table."""

    text: str
    shown: tuple[str, ...]
    label: str
    annotators: dict[str, str]
    """Key id → column."""

    @property
    def names(self) -> list[str]:
        return [self.text, *self.shown, self.label, *self.annotators.values()]


def routes() -> list[Route]:
    """The route that sends the table."""

    async def table(request: Request) -> Response:
        visit = request.scope["visit"]
        assert isinstance(visit, Visit)
        only_labelled = request.query_params.get("rows") != "all"
        try:
            task = await run_in_threadpool(_require, visit.store, request.path_params["task_id"])
        except NotFound:
            return PlainTextResponse("There is no such labelling task.", 404)
        header = await run_in_threadpool(header_of, visit.store, task)
        pieces = written(visit.store, task, header, only_labelled=only_labelled)
        name = drafts.safe_name(f"{task.name}.csv")
        return StreamingResponse(
            iterate_in_threadpool(pieces),
            media_type="text/csv; charset=utf-8",
            headers={
                "content-disposition": f"attachment; filename*=utf-8''{quote(name)}",
                "cache-control": "no-store",
            },
        )

    return [Route("/labelling/{task_id}/table.csv", table, methods=["GET"])]


def header_of(store: Store, task: LabellingTaskRow) -> Header:
    """The columns of the task's table, with different names."""
    taken = {task.text_column, *task.shown}

    def free(name: str) -> str:
        plain, number = name, 2
        while name in taken:
            name, number = f"{plain} {number}", number + 1
        taken.add(name)
        return name

    label = free(LABEL)
    people = [share.annotator for share in store.labelled.shares(task.id) if share.votes]
    names = names_of(store, people)
    return Header(
        text=task.text_column,
        shown=tuple(task.shown),
        label=label,
        annotators={key: free(name) for key, name in names.items()},
    )


def written(
    store: Store, task: LabellingTaskRow, header: Header, *, only_labelled: bool
) -> Iterator[str]:
    """The table as CSV, in pieces."""
    yield _lines([header.names])
    for rows in store.labelled.table(task.id, only_labelled=only_labelled):
        yield _lines([_cells(row, said, header) for row, said in rows])


def new_run(visit: Visit, task: LabellingTaskRow, *, by_annotators: bool = False) -> RunRow:
    """A draft of a run with the labelled rows as its table.

    by_annotators  `prepare` is to settle the votes, not what the task has settled.
    Raises: ApiError 403; StateError when nothing is labelled; StorageError.
    """
    visit.check_change()
    if not task.num_labelled:
        raise StateError("Nothing is labelled yet.", fix="Label some rows first.")
    header = header_of(visit.store, task)
    run = visit.runs.draft(visit.caller, task.name)
    folder = visit.runs.folder(run)
    path = folder / run_files.TABLE / drafts.safe_name(f"{task.name}.csv")
    try:
        with storage_errors(path), path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(written(visit.store, task, header, only_labelled=True))
    except BaseException:
        visit.runs.delete(run)
        raise
    people = tuple(header.annotators.values())
    asked = PrepareConfig(
        table=str(path),
        text=header.text,
        label=None if by_annotators else header.label,
        annotators=people if by_annotators else (),
    )
    run_files.keep_config(folder, RunConfig(prepare=asked))
    return run


def _cells(row: LabellingRow, said: Sequence[AnswerRow], header: Header) -> list[str]:
    votes = {answer.annotator: answer.label for answer in said if answer.kind == "vote"}
    shown = (row.shown.get(name, "") for name in header.shown)
    return [row.text, *shown, row.label or "", *(votes.get(key) or "" for key in header.annotators)]


def _lines(rows: Sequence[Sequence[str]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def _require(store: Store, task_id: str) -> LabellingTaskRow:
    task = store.labelling.get(task_id)
    if task is None:
        raise NotFound("There is no such labelling task.")
    return task
