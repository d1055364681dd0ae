"""Labelling tasks from the file to their rows: the file is kept until its rows are in the store.

A process of its own reads it (`reading`); it goes on when the page is closed or the server stops.
Knows: folders, that process. Does not know: pages, who labels what.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tunesmith.config import PrepareConfig
from tunesmith.errors import ConfigError, NotFound, StateError, TunesmithError, storage_errors
from tunesmith.server.errors import ApiError
from tunesmith.store.blobs import Blobs, link_or_copy
from tunesmith.store.labelling_rows import LabellingTaskRow
from tunesmith.store.rows import RunRow
from tunesmith.web import drafts, run_files
from tunesmith.web.visit import Visit, off
from tunesmith.wire import new_id
from tunesmith.work import identity

logger = logging.getLogger(__name__)

READING = "tunesmith.web.labelling.reading"
LABELS_SECONDS = 300.0
MOST_LABELS = 500
MOST_VOTES = 25
LONGEST_LABEL = 200
ENDED = "The process that read the table ended unexpectedly; memory may have run out. Begin again."


def routes() -> list[Route]:
    """The route that takes files for new tasks."""

    async def take(request: Request) -> Response:
        visit = request.scope["visit"]
        assert isinstance(visit, Visit)
        try:
            visit.check_change()
            name = drafts.safe_name(request.query_params.get("name", ""))
            task = await _take(request, visit, name)
        except TunesmithError as error:
            status = error.status if isinstance(error, ApiError) else 400
            return JSONResponse({"error": str(error)}, status)
        return JSONResponse({"name": name, "task": task.id})

    return [Route("/labelling/table", take, methods=["PUT"])]


async def find(visit: Visit, task_id: str) -> LabellingTaskRow:
    """The task, if it is one of the caller's project. Raises: NotFound."""
    task = await off(visit.store.labelling.get, task_id)
    if task is None:
        raise NotFound("There is no such labelling task.")
    if task.state == "importing" and task.process and identity.is_gone(task.process):
        await off(_fail, visit, task.id)
        task = await off(visit.store.labelling.get, task_id) or task
    return task


def folder(visit: Visit, task_id: str) -> Path:
    """Where a task's file is, until its rows are in the store."""
    return visit.desk.settings.data_dir / "labelling" / visit.caller.project / task_id


def place(visit: Visit, task: LabellingTaskRow) -> Path:
    """The task's file."""
    return folder(visit, task.id) / "table" / task.source


# --- where the rows come from ---------------------------------------------------------------------


async def _take(request: Request, visit: Visit, name: str) -> LabellingTaskRow:
    """A new task with the request's body as its file."""
    task_id = new_id("lab_")
    own = folder(visit, task_id)
    incoming = own / "table" / f".{secrets.token_hex(8)}"
    try:
        with storage_errors(own):
            incoming.parent.mkdir(parents=True)
        if not await drafts.receive(request, incoming):
            raise ConfigError("The file is empty.", fix="Choose another one.")
        await run_in_threadpool(incoming.rename, incoming.with_name(name))
        return await run_in_threadpool(_create, visit, task_id, name)
    except BaseException as error:
        await run_in_threadpool(shutil.rmtree, own, ignore_errors=True)
        if isinstance(error, ClientDisconnect):
            raise ConfigError("The file did not arrive whole.", fix="Drop it again.") from None
        raise


def from_run(visit: Visit, run: RunRow) -> LabellingTaskRow:
    """A new task with a run's table. Raises: ApiError 403; NotFound; StorageError."""
    visit.check_change()
    table = run_files.table(visit.runs.folder(run))
    if table is None or not table.is_file():
        raise NotFound("The run has no table.")
    task_id, name = new_id("lab_"), drafts.safe_name(table.name)
    kept = folder(visit, task_id) / "table" / name
    with storage_errors(kept):
        kept.parent.mkdir(parents=True)
        link_or_copy(table, kept)
    return _create(visit, task_id, name)


def from_file(visit: Visit, file_id: str) -> LabellingTaskRow:
    """A new task with a file of the API. Raises: ApiError 403; NotFound; StorageError."""
    visit.check_change()
    file = visit.store.files.get(file_id)
    if file is None:
        raise NotFound("There is no such file.")
    task_id, name = new_id("lab_"), drafts.safe_name(file.filename)
    kept = folder(visit, task_id) / "table" / name
    with storage_errors(kept):
        kept.parent.mkdir(parents=True)
    Blobs(visit.desk.settings.blobs).copy_out(file.id, kept)
    return _create(visit, task_id, name)


def _create(visit: Visit, task_id: str, source: str) -> LabellingTaskRow:
    name = source.rpartition(".")[0] or source
    row = LabellingTaskRow(id=task_id, key_id=visit.caller.id, name=name, source=source)
    return visit.store.labelling.create(row)


# --- before it begins -----------------------------------------------------------------------------


async def peek(visit: Visit, task: LabellingTaskRow) -> dict[str, Any]:
    """What the first rows of the file look like; see `tunesmith.web.peek`."""
    encoding, sheet = (task.reading.get(name) for name in ("encoding", "sheet"))
    asked = PrepareConfig(table=str(place(visit, task)), encoding=encoding, sheet=sheet)
    return await drafts.peek(folder(visit, task.id), asked)


async def labels_of_column(visit: Visit, task: LabellingTaskRow, column: str) -> list[str]:
    """The different values of a column, the most frequent first. Raises: ConfigError."""
    asked = {"do": "labels", "path": str(place(visit, task)), "column": column,
             "most": MOST_LABELS, **_reading(task)}  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", READING,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        waiting = process.communicate(json.dumps(asked).encode())
        found = json.loads((await asyncio.wait_for(waiting, LABELS_SECONDS))[0])
    except (TimeoutError, ValueError):
        raise ConfigError("The column cannot be read.", fix="Type the labels.") from None
    finally:
        if process.returncode is None:
            process.kill()
    if "error" in found:
        raise ConfigError(found["error"]["what"], fix=found["error"]["fix"])
    return [str(label) for label in found["labels"]]


def read_labels(typed: str) -> list[str]:
    """The labels that were typed, one a line. Raises: ConfigError for what cannot be."""
    labels = list(dict.fromkeys(line.strip() for line in typed.splitlines() if line.strip()))
    if len(labels) > MOST_LABELS:
        raise ConfigError(f"These are {len(labels):,} labels; the most is {MOST_LABELS:,}.")
    if long := next((label for label in labels if len(label) > LONGEST_LABEL), None):
        raise ConfigError(f"The label {long[:40]!r}… is longer than {LONGEST_LABEL} characters.")
    return labels


def add_labels(visit: Visit, task: LabellingTaskRow, typed: str) -> LabellingTaskRow:
    """Give a task that has begun further labels. Raises: ConfigError, ApiError 403."""
    visit.check_change()
    labels = read_labels("\n".join([*task.labels, *typed.splitlines()]))
    return visit.store.labelling.change(task.id, values={"labels": labels})


def begin(visit: Visit, task: LabellingTaskRow) -> LabellingTaskRow:
    """Have the rows be read; the task is ready when they are all there.

    Raises: ConfigError for what is still missing; StateError; ApiError 403; StorageError.
    """
    visit.check_change()
    if not task.text_column:
        raise ConfigError("It is not chosen which column holds the text.", fix="Choose one.")
    if len(task.labels) < 2:
        raise ConfigError("There have to be two labels, or more.", fix="Give one a line.")
    store = visit.store.labelling
    store.remove_rows(task.id)
    task = store.change(task.id, to="importing", only=("draft",), values={"error": ""})
    settings = visit.desk.settings
    asked = {
        "do": "rows", "path": str(place(visit, task)), **_reading(task),
        "data_dir": str(settings.data_dir), "database_url": settings.database_url,
        "project": visit.caller.project, "task": task.id,
    }  # fmt: skip
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", READING], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        _fail(visit, task.id)
        raise StateError(f"The table cannot be read: {error}.") from error
    named = {"process": identity.name_of(process.pid)}
    task = store.change(task.id, only=("importing",), values=named)
    threading.Thread(target=_see_off, args=(visit, task, process, asked), daemon=True).start()
    return task


def _see_off(
    visit: Visit, task: LabellingTaskRow, process: subprocess.Popen[bytes], asked: Mapping[str, Any]
) -> None:
    """Tell the process what to do, and see to what it leaves."""
    process.communicate(json.dumps(asked).encode())
    try:
        _fail(visit, task.id)  # unless it has said how it ended
        now = visit.store.labelling.get(task.id)
        if now is None or now.state == "ready":
            shutil.rmtree(folder(visit, task.id), ignore_errors=True)
    except TunesmithError:
        logger.exception("the end of an import could not be noted")


def _fail(visit: Visit, task_id: str) -> None:
    """Note that the import ended without saying how."""
    ended = {"process": None, "error": ENDED}
    with suppress(StateError, NotFound):
        visit.store.labelling.change(task_id, to="draft", only=("importing",), values=ended)


def _reading(task: LabellingTaskRow) -> dict[str, str]:
    return {name: value for name, value in task.reading.items() if name in ("encoding", "sheet")}


# --- the end --------------------------------------------------------------------------------------


def delete(visit: Visit, task: LabellingTaskRow) -> None:
    """Have the task be gone, with all that people said. Raises: ApiError 403."""
    visit.check_change()
    if task.state == "importing" and task.process:
        identity.kill(task.process)
    if visit.store.labelling.delete(task.id):
        shutil.rmtree(folder(visit, task.id), ignore_errors=True)
        threading.Thread(target=purge, args=(visit,), daemon=True).start()


def purge(visit: Visit) -> None:
    """Remove what deleted tasks have left."""
    try:
        visit.store.labelling.purge()
    except TunesmithError as error:
        logger.warning("rows of deleted labelling tasks could not be removed: %s", error)
