"""/models/…/download: a model's folder as one file, packed while it is sent.

An adapter can also be merged into its base, by the command that does so, in a process of its own.
Knows: where merged models are kept for a while. Does not know: what is in a model's folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tunesmith import settings as settings_of
from tunesmith.errors import StateError, TunesmithError
from tunesmith.settings import Settings
from tunesmith.store.rows import ModelRow
from tunesmith.web.visit import Visit

logger = logging.getLogger(__name__)

PIECE = 2**20
ADAPTER = "adapter_config.json"
"""In the folder of a model that was tuned as an adapter."""

_merging: dict[Path, asyncio.Task[None]] = {}
_failed: dict[Path, str] = {}


def routes() -> list[Route]:
    """The route that hands models out."""

    async def download(request: Request) -> Response:
        visit, name = request.scope["visit"], request.path_params["model"]
        assert isinstance(visit, Visit)
        row = await run_in_threadpool(visit.store.models.get, name)
        if row is None:
            return PlainTextResponse("There is no such model.", 404)
        is_merged = request.query_params.get("form") == "merged"
        settings = visit.desk.settings
        folder = merged(settings, row) if is_merged else settings.models_dir / row.folder
        if not await run_in_threadpool(folder.is_dir):
            return PlainTextResponse("The model's files are gone.", 404)
        name = file_name(row) + "-merged" * is_merged
        return StreamingResponse(
            zipped(folder, name),
            media_type="application/zip",
            headers={
                "content-disposition": f'attachment; filename="{name}.zip"',
                "cache-control": "no-store",
            },
        )

    return [Route("/models/{model:path}/download", download, methods=["GET"])]


def file_name(row: ModelRow) -> str:
    """The model's name as one that files can have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", row.id).strip("-.") or "model"


def zipped(folder: Path, name: str) -> Iterator[bytes]:
    """The folder as a zip file, in which all is below `name`, piece by piece.

    Weights are not packed tighter, since they hardly become smaller.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo.from_file(path, f"{name}/{path.relative_to(folder)}")
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while piece := source.read(PIECE):
                    target.write(piece)
                    yield sink.taken()
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """A file that cannot go back, and whose content is taken away as it comes."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, piece: bytes) -> int:  # type: ignore[override]
        self._held += piece
        return len(piece)

    def taken(self) -> bytes:
        """What was written since the last time."""
        held, self._held = bytes(self._held), bytearray()
        return held


# --- merging --------------------------------------------------------------------------------------


def is_adapter(settings: Settings, row: ModelRow) -> bool:
    """Whether the model stands on a base model's weights."""
    return (settings.models_dir / row.folder / ADAPTER).is_file()


def merged(settings: Settings, row: ModelRow) -> Path:
    """Where the merged model is, once it is."""
    return settings.data_dir / "exports" / f"{row.folder}-merged"


def merge(settings: Settings, row: ModelRow) -> None:
    """Have the adapter be merged, in the background. Raises: StateError while another one is."""
    target = merged(settings, row)
    if target in _merging or target.is_dir():
        return
    if _merging:
        raise StateError("Another model is being merged.", fix="Wait until it is done.")
    _failed.pop(target, None)
    _merging[target] = asyncio.create_task(_merge(settings, row, target))


def is_merging(settings: Settings, row: ModelRow) -> bool:
    """Whether that is being done."""
    return merged(settings, row) in _merging


def why_not(settings: Settings, row: ModelRow) -> str:
    """Why the last try to merge it has failed; empty where none has."""
    return _failed.get(merged(settings, row), "")


def forget(settings: Settings, row: ModelRow) -> None:
    """Remove what was merged; the model is gone."""
    shutil.rmtree(merged(settings, row), ignore_errors=True)


async def _merge(settings: Settings, row: ModelRow, target: Path) -> None:
    others = {k: v for k, v in os.environ.items() if not k.startswith(settings_of.PREFIX)}
    command = (
        "-m",
        "tunesmith",
        "models",
        "export",
        row.id,
        "--to",
        "merged",
        "--out",
        str(target),
    )
    try:
        await run_in_threadpool(target.parent.mkdir, parents=True, exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            env=others | settings_of.environ(settings),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                if process.returncode is None:
                    process.kill()
        if process.returncode:
            lines = said.decode("utf-8", "replace").strip().splitlines()
            _failed[target] = " ".join(lines[-3:]) or "It ended unexpectedly."
    except (OSError, TunesmithError) as error:
        logger.exception("a model could not be merged")
        _failed[target] = str(error)
    finally:
        _merging.pop(target, None)


def bytes_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    total, left = 0, [str(folder)]
    while left:
        with contextlib.suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total
