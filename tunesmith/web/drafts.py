"""Runs that are still being filled in: the file that is dropped, its first rows, the settings.

Files are streamed to the run's folder, whatever their size; the settings are its config.toml.
Knows: names that may be given to files, and which settings a person may choose on a page.
Does not know: what a page shows.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tunesmith import config as configs
from tunesmith.config import PrepareConfig, RunConfig
from tunesmith.errors import ConfigError, StateError, TunesmithError, storage_errors
from tunesmith.server.errors import ApiError
from tunesmith.store.rows import RunRow
from tunesmith.web import run_files
from tunesmith.web.setting_names import title
from tunesmith.web.tables import shelf
from tunesmith.web.visit import Visit

NEW = "new"
"""Stands for a draft that is not there yet."""
MAX_BYTES = 2**30
LARGE = 10**7
"""Bytes of a table whose rows are looked up at once, before anybody opens its page."""
PIECE = 2**20
"""Bytes that are written at once."""
PEEK_SECONDS = 120.0
PEEK = "peek.json"
PEEKS = asyncio.Semaphore(2)
LONGEST_NAME = 120
HIDDEN = {
    "prepare": {"table", "validation", "review"},
    "train": set[str](),
    "deploy": set[str](),
    "evaluate": {"against", "no_worse_than", "schema", "judge", "judge_url", "judge_key_env",
                 "judge_rubric"},
}  # fmt: skip
"""Settings that name files, folders, addresses or secrets of the server: not for a page."""


def routes() -> list[Route]:
    """The route that takes files."""

    async def take(request: Request) -> Response:
        visit = request.scope["visit"]
        assert isinstance(visit, Visit)
        try:
            visit.check_change()
            name = safe_name(request.query_params.get("name", ""))
            taken = await _take(request, visit, name, request.url.path.rpartition("/")[2])
        except TunesmithError as error:
            status = error.status if isinstance(error, ApiError) else 400
            return JSONResponse({"error": str(error)}, status)
        return JSONResponse(taken)

    kinds = (run_files.TABLE, run_files.CHECKS)
    return [Route(f"/runs/{{run_id}}/{kind}", take, methods=["PUT"]) for kind in kinds]


def safe_name(given: str) -> str:
    """A file name that is one: no folders, nothing that cannot be seen, not too long."""
    name = unicodedata.normalize("NFC", given).replace("\\", "/").rpartition("/")[2]
    name = "".join(c if c.isprintable() and c not in '<>:"|?*' else "_" for c in name)
    name = name.strip().lstrip(".")
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    room = LONGEST_NAME - len(suffix[:20])
    while len(stem.encode()) > room:
        stem = stem[:-1]
    return f"{stem or 'table'}{dot}{suffix[:20]}"


async def _take(request: Request, visit: Visit, name: str, kind: str) -> dict[str, Any]:
    """Store the body as a draft's table, or as that of a new one; or as its rows to check with.

    Raises: NotFound, StateError, ApiError, ConfigError, StorageError.
    """
    if int(request.headers.get("content-length") or 0) > MAX_BYTES:
        raise _too_large()
    run_id = request.path_params["run_id"]
    if run_id == NEW and kind == run_files.TABLE:
        row = await run_in_threadpool(visit.runs.draft, visit.caller, name)
    elif (row := await visit.run(run_id)).state not in ("draft", "checking"):
        raise StateError("The run has begun, so it keeps its file.", fix="Begin a new run.")
    incoming = visit.runs.folder(row) / kind / f".{secrets.token_hex(8)}"
    is_settled = False
    try:
        incoming.parent.mkdir(exist_ok=True)
        if not await receive(request, incoming):
            raise ConfigError("The file is empty.", fix="Choose another one.")
        await run_in_threadpool(_settle, visit, row, incoming, name)
        is_settled = True
        table = incoming.with_name(name)
        if kind == run_files.TABLE and table.stat().st_size > LARGE:
            shelf.begin(shelf.place(visit.desk.settings, row.id), table)
    except ClientDisconnect:
        raise ConfigError("The file did not arrive whole.", fix="Drop it again.") from None
    finally:
        incoming.unlink(missing_ok=True)
        if run_id == NEW and not is_settled:
            await run_in_threadpool(visit.runs.delete, row)
    return {"name": name, "run": row.id}


async def receive(request: Request, path: Path) -> int:
    """Write the request's body to a file as it comes; how many bytes there were.

    Raises: ApiError 413 when it is too large; StorageError.
    """
    size, waiting = 0, bytearray()
    with storage_errors(path), path.open("wb") as file:
        async for piece in request.stream():
            waiting += piece
            size += len(piece)
            if size > MAX_BYTES:
                raise _too_large()
            if len(waiting) >= PIECE:
                await run_in_threadpool(file.write, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(file.write, bytes(waiting))
    return size


def _settle(visit: Visit, row: RunRow, incoming: Path, name: str) -> None:
    """Make the file that has arrived the draft's only one of its kind. What was chosen for another
    table is void, rows to check with among it."""
    visit.runs.halt(row)
    folder, kind = visit.runs.folder(row), incoming.parent.name
    _empty(incoming.parent, but=incoming)
    path = str(incoming.rename(incoming.with_name(name)))
    asked = run_files.config(folder)
    if kind == run_files.TABLE:
        _empty(folder / run_files.CHECKS)
        (folder / PEEK).unlink(missing_ok=True)
        prepare = PrepareConfig(table=path)
        visit.runs.rename(row, name.rpartition(".")[0] or name)
    else:
        prepare = replace(asked.prepare, validation=path)
    run_files.keep_config(folder, replace(asked, prepare=prepare))
    visit.store.runs.change(row.id, values={"summary": {}})


def split_off(visit: Visit, row: RunRow) -> None:
    """Let the draft do without a file of rows to check with."""
    visit.runs.halt(row)
    folder = visit.runs.folder(row)
    asked = run_files.config(folder)
    prepare = replace(asked.prepare, validation=None)
    run_files.keep_config(folder, replace(asked, prepare=prepare))
    _empty(folder / run_files.CHECKS)
    visit.store.runs.change(row.id, values={"summary": {}})


def _empty(folder: Path, *, but: Path | None = None) -> None:
    for old in folder.glob("*"):
        if old != but:
            old.unlink(missing_ok=True)


def _too_large() -> ApiError:
    return ApiError(413, f"The file is larger than {MAX_BYTES // 2**20:,} MB, the most that a page "
                    "takes. Give a part of it, or use `tunesmith run`.")  # fmt: skip


# --- the first rows -------------------------------------------------------------------------------


async def peek(folder: Path, asked: PrepareConfig) -> dict[str, Any]:
    """What the first rows of the draft's file look like; see `tunesmith.web.peek`."""
    told = {name: getattr(asked, name) for name in ("encoding", "sheet", "text", "label")}
    told = {"path": asked.table, **told}
    kept = folder / PEEK
    known = run_files.json_of(kept)
    if known and known.get("asked") == told:
        return dict(known["found"])
    async with PEEKS:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tunesmith.web.peek",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            waiting = process.communicate(json.dumps(told).encode())
            out, _ = await asyncio.wait_for(waiting, PEEK_SECONDS)
            found: dict[str, Any] = json.loads(out)
        except (TimeoutError, ValueError):
            return {"error": {"what": "The file cannot be read.", "fix": "Save it again."}}
        finally:
            if process.returncode is None:
                process.kill()
    text = json.dumps({"asked": told, "found": found}, ensure_ascii=False)
    await run_in_threadpool(kept.write_text, text, "utf-8")
    return found


# --- settings -------------------------------------------------------------------------------------


def may_choose(section: str, name: str) -> bool:
    """Whether that setting can be chosen on a page."""
    return section in HIDDEN and name not in HIDDEN[section]


def choose(asked: RunConfig, changes: Mapping[str, Mapping[str, Any]]) -> RunConfig:
    """`asked` with other settings. Raises: ConfigError for what cannot be, or not on a page."""
    for section, values in changes.items():
        for name in values:
            if not may_choose(section, name):
                raise ConfigError(f"The setting {section}.{name} cannot be chosen here.")
    base = changes.get("train", {}).get("base_model")
    if base and (set("/\\~") & set(str(base)) or str(base).startswith(".")):
        raise ConfigError(f"{base} is no name of a base model.", fix="Choose one of the cards.")
    return configs.overlay(asked, changes, "The settings")


OPTION = re.compile(r"--([a-z][a-z-]*)(?:[ =]('[^']*'|\"[^\"]*\"|[^\s,;()]+))?")
"""An option of the command line, as findings and reasons name them."""


def proposals(said: str, asked: RunConfig) -> dict[str, Mapping[str, Mapping[str, Any]]]:
    """The settings that a sentence proposes by naming options, as words → changes for `choose`.

    `--rare-labels drop` becomes {"Rare labels: drop": {"prepare": {"rare_labels": "drop"}}};
    options without a value of their own, such as `--label NAME`, propose nothing.
    """
    found: dict[str, Mapping[str, Mapping[str, Any]]] = {}
    for option, value in OPTION.findall(said):
        name, value = option.replace("-", "_"), value.strip("'\"").rstrip(".:")
        if not value or value.isupper():
            continue
        for section in ("prepare", "train"):
            if may_choose(section, name) and hasattr(getattr(asked, section), name):
                changes = {section: {name: _typed(getattr(asked, section), name, value)}}
                try:
                    changed = choose(asked, changes)
                except TunesmithError:
                    continue
                if changed != asked:
                    found[f"{title(name)}: {value}"] = changes
    return found


def in_words(said: str) -> str:
    """The sentence with options of the command line as a page names them."""

    def words(match: re.Match[str]) -> str:
        value = match[2] or ""
        end = value[len(value.rstrip(".:")) :]
        value = value.removesuffix(end).strip("'\"")
        name = title(match[1].replace("-", "_"))
        return f"“{name}”{end}" if not value or value.isupper() else f"“{name}: {value}”{end}"

    return OPTION.sub(words, said)


def _typed(part: Any, name: str, value: str) -> Any:
    """`value` as the setting has it: numbers as numbers, several values beside those there are."""
    now = getattr(part, name)
    if isinstance(now, tuple):
        return [*now, *(v for v in [value] if v not in now)]
    try:
        return float(value) if "." in value else int(value)
    except ValueError:
        return value
