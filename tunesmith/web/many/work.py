"""Tables in the playground from the moment they are dropped until their predictions are there.

A table has a folder: the file, state.json, requests, predictions. The requests are asked by the
Batches API, which goes on when nobody looks and after a restart; whoever looks then takes up what
is left to do here.
Does not know: pages.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tunesmith.errors import ConfigError, NotFound, StateError, TunesmithError, storage_errors
from tunesmith.server.errors import ApiError
from tunesmith.server.files import new_file
from tunesmith.store.blobs import Blobs
from tunesmith.store.rows import now
from tunesmith.web import drafts
from tunesmith.web.api import Refused
from tunesmith.web.many.table import ENDPOINT, PREDICTIONS
from tunesmith.web.tables import shelf
from tunesmith.web.visit import Visit, off

logger = logging.getLogger(__name__)

NAME = re.compile(r"many_[0-9a-f]{20}")
STATE, TABLE, CANCELLED = "state.json", "table", "cancelled"
ENDS = ("completed", "failed", "expired", "cancelled")
POLL_SECONDS = 0.5
LIVES = 30 * 24 * 3600
"""Seconds for which the API keeps requests and answers, should nobody fetch them."""

_working: dict[Path, asyncio.Task[None]] = {}


@dataclass(frozen=True, kw_only=True)
class Many:
    """A table, what is asked about it, and how far that has come."""

    id: str
    file: str
    """Its name."""
    created_at: int
    state: str = "new"
    """new, preparing, asking, ended, failed."""
    ask: Mapping[str, Any] | None = None
    """model, answers, column, how: as `table.write_requests` takes them."""
    rows: int = 0
    parts: tuple[Mapping[str, Any], ...] = ()
    """name, requests, last; once asked: file and batch, the ids."""
    answered: int = 0
    failed: int = 0
    errors: tuple[Mapping[str, Any], ...] = ()
    """row, line, what: of the first rows that failed."""
    error: str = ""
    """Why it failed as a whole."""
    cancelled: bool = False


def folder(visit: Visit, many_id: str) -> Path:
    """The table's folder. Raises: NotFound for what cannot be one's id."""
    if not NAME.fullmatch(many_id):
        raise NotFound("There is no such table.")
    return _place(visit) / many_id


def load(visit: Visit, many_id: str) -> Many:
    """The table, if it is one of the caller's project. Raises: NotFound."""
    try:
        found: dict[str, Any] = json.loads((folder(visit, many_id) / STATE).read_bytes())
    except (OSError, ValueError):
        raise NotFound("There is no such table.") from None
    return Many(**found | {name: tuple(found[name]) for name in ("parts", "errors")})


def newest(visit: Visit, most: int) -> list[Many]:
    """The tables that were dropped last."""
    names = sorted((path.name for path in _place(visit).glob("many_*")), reverse=True)
    found = []
    for name in names[:most]:
        try:
            found.append(load(visit, name))
        except NotFound:
            continue
    return found


def table(visit: Visit, many: Many) -> Path:
    """The file that was dropped."""
    return folder(visit, many.id) / TABLE / many.file


async def start(visit: Visit, many: Many, ask: Mapping[str, Any]) -> Many:
    """Ask the model about every row. Raises: ApiError 403; StateError."""
    visit.check_change()
    if many.state not in ("new", "failed"):
        raise StateError("The table is being worked on already.")
    many = replace(many, state="preparing", ask=ask, parts=(), error="", cancelled=False)
    await off((folder(visit, many.id) / CANCELLED).unlink, True)
    await off(_keep, visit, many)
    go_on(visit, many)
    return many


def go_on(visit: Visit, many: Many) -> None:
    """Have what is left to do be done, unless somebody does it."""
    place = folder(visit, many.id)
    if many.state in ("preparing", "asking") and place not in _working:
        _working[place] = asyncio.create_task(_work(visit, many, place))


async def counts(visit: Visit, many: Many) -> tuple[int, int, int]:
    """Requests in all, those answered, and those that failed, by now. Raises: Refused."""
    if many.state != "asking":
        return sum(part["requests"] for part in many.parts), many.answered, many.failed
    batches = [await _batch(visit, part) for part in many.parts if part.get("batch")]
    told = [batch["request_counts"] for batch in batches]
    total = sum(part["requests"] for part in many.parts)
    return total, sum(one["completed"] for one in told), sum(one["failed"] for one in told)


async def cancel(visit: Visit, many: Many) -> None:
    """Ask no more; what has been answered stays. Raises: Refused."""
    visit.check_change()
    await off((folder(visit, many.id) / CANCELLED).touch)
    for part in (await off(load, visit, many.id)).parts:
        await _cancel(visit, part)


async def delete(visit: Visit, many: Many) -> None:
    """Remove the table and its predictions. Raises: StateError while it is worked on."""
    visit.check_change()
    if many.state in ("preparing", "asking"):
        raise StateError("The table is being worked on.", fix="Cancel it first.")
    await off(shutil.rmtree, folder(visit, many.id), True)


# --- the work -------------------------------------------------------------------------------------


async def _work(visit: Visit, many: Many, place: Path) -> None:
    """Take the table as far as it goes."""
    try:
        if many.state == "preparing":
            many = await _prepare(visit, many, place)
        while not await _have_ended(visit, many):
            await asyncio.sleep(POLL_SECONDS)
        await _finish(visit, many, place)
    except (TunesmithError, OSError) as error:
        logger.exception("a table could not be answered")
        await off(_keep, visit, replace(many, state="failed", error=str(error)))
    finally:
        _working.pop(place, None)


async def _prepare(visit: Visit, many: Many, place: Path) -> Many:
    """Write the requests and hand them over. Those that were handed over already stay so."""
    if not many.parts:
        what = {"do": "requests", "source": str(table(visit, many)), "folder": str(place),
                "ask": many.ask}  # fmt: skip
        found = await shelf.ask(what)
        many = replace(many, rows=found["rows"], parts=tuple(found["parts"]))
        if not many.parts:
            raise ConfigError("No row of that column has a text.", fix="Choose another column.")
        await off(_keep, visit, many)
    blobs = await off(Blobs, visit.desk.settings.blobs)
    for n, part in enumerate(many.parts):
        if part.get("batch"):
            continue
        if await off((place / CANCELLED).exists):
            break
        file_id = await off(_upload, visit, blobs, place / part["name"], many.file)
        asked = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h",
                 "output_expires_after": {"anchor": "created_at", "seconds": LIVES}}  # fmt: skip
        batch = await visit.api.post("/batches", asked)
        new = {**part, "file": file_id, "batch": batch["id"]}
        many = replace(many, parts=(*many.parts[:n], new, *many.parts[n + 1 :]))
        await off(_keep, visit, many)
        (place / part["name"]).unlink(missing_ok=True)
    many = replace(many, state="asking")
    await off(_keep, visit, many)
    if await off((place / CANCELLED).exists):
        await cancel(visit, many)
    return many


def _upload(visit: Visit, blobs: Blobs, path: Path, name: str) -> str:
    """The requests as a file of the API; its id."""
    row = new_file(f"{Path(name).stem}-{path.name}", "batch", path.stat().st_size, LIVES)
    with path.open("rb") as content:
        blob = blobs.put(row.id, content)
    visit.store.files.add(replace(row, bytes=blob.bytes, sha256=blob.sha256))
    return row.id


async def _have_ended(visit: Visit, many: Many) -> bool:
    batches = [await _batch(visit, part) for part in many.parts if part.get("batch")]
    return all(batch["status"] in ENDS for batch in batches)


async def _finish(visit: Visit, many: Many, place: Path) -> None:
    """Make predictions of the answers, and remove what the API has of it."""
    blobs = await off(Blobs, visit.desk.settings.blobs)
    parts, done, problems = list[dict[str, Any]](), list[str](), list[str]()
    for n, part in enumerate(many.parts):
        batch = await _batch(visit, part) if part.get("batch") else {}
        answers = []
        for kind in ("output", "error"):
            if file_id := batch.get(f"{kind}_file_id"):
                path = place / f"{kind}-{n}.jsonl"
                path.unlink(missing_ok=True)
                await off(blobs.copy_out, file_id, path)
                answers.append(str(path))
                done.append(file_id)
        problems += [one["message"] for one in (batch.get("errors") or {}).get("data", [])]
        done += [part["file"]] if part.get("file") else []
        parts.append({"last": part["last"], "answers": answers})
    column = (many.ask or {})["column"]
    what = {"do": "answers", "folder": str(place), "column": column, "parts": parts}
    found = await shelf.ask(what)
    failed = problems[0] if problems and not found["answered"] else ""
    cancelled = await off((place / CANCELLED).exists)
    many = replace(many, state="failed" if failed else "ended", error=failed, cancelled=cancelled,
                   answered=found["answered"], failed=found["failed"],
                   errors=tuple(found["errors"]))  # fmt: skip
    await off(_keep, visit, many)
    for file_id in done:
        if await off(visit.store.files.delete, file_id):
            await off(blobs.delete, file_id)
    for path in (path for part in parts for path in part["answers"]):
        Path(path).unlink(missing_ok=True)


async def _cancel(visit: Visit, part: Mapping[str, Any]) -> None:
    if part.get("batch") and (await _batch(visit, part))["status"] not in ENDS:
        with suppress(Refused):  # it has just ended by itself
            await visit.api.post(f"/batches/{part['batch']}/cancel")


async def _batch(visit: Visit, part: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = await visit.api.get(f"/batches/{part['batch']}")
    return found


def _place(visit: Visit) -> Path:
    return visit.desk.settings.data_dir / "many" / visit.caller.project


def _keep(visit: Visit, many: Many) -> None:
    path = folder(visit, many.id) / STATE
    draft = path.with_suffix(f".{secrets.token_hex(4)}")
    with storage_errors(path):
        draft.write_text(json.dumps(asdict(many), ensure_ascii=False), encoding="utf-8")
        draft.replace(path)


# --- routes ---------------------------------------------------------------------------------------


def routes() -> list[Route]:
    """The routes that take tables and hand predictions out."""

    async def take(request: Request) -> Response:
        visit = request.scope["visit"]
        assert isinstance(visit, Visit)
        try:
            visit.check_change()
            many = await _take(request, visit)
        except TunesmithError as error:
            status = error.status if isinstance(error, ApiError) else 400
            return JSONResponse({"error": str(error)}, status)
        return JSONResponse({"name": many.file, "id": many.id})

    async def hand_out(request: Request) -> Response:
        visit = request.scope["visit"]
        assert isinstance(visit, Visit)
        try:
            many = await run_in_threadpool(load, visit, request.path_params["many_id"])
        except NotFound:
            return PlainTextResponse("There is no such table.", 404)
        path = folder(visit, many.id) / PREDICTIONS
        if not await run_in_threadpool(path.is_file):
            return PlainTextResponse("There are no predictions yet.", 404)
        name = f"{Path(many.file).stem}-predictions.csv"
        headers = {"cache-control": "no-store"}
        return FileResponse(path, media_type="text/csv", filename=name, headers=headers)

    return [
        Route("/playground/batches/table", take, methods=["PUT"]),
        Route("/playground/batches/{many_id}/predictions.csv", hand_out, methods=["GET"]),
    ]


async def _take(request: Request, visit: Visit) -> Many:
    """Store the body as a new table. Raises: ConfigError, ApiError, StorageError."""
    name = drafts.safe_name(request.query_params.get("name", ""))
    many = Many(
        id=f"many_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(4)}",
        file=name,
        created_at=now(),
    )
    place = folder(visit, many.id)
    is_whole = False
    try:
        await run_in_threadpool((place / TABLE).mkdir, parents=True)
        if not await drafts.receive(request, place / TABLE / name):
            raise ConfigError("The file is empty.", fix="Choose another one.")
        await run_in_threadpool(_keep, visit, many)
        is_whole = True
    except ClientDisconnect:
        raise ConfigError("The file did not arrive whole.", fix="Drop it again.") from None
    finally:
        if not is_whole:
            await run_in_threadpool(shutil.rmtree, place, True)
    return many
