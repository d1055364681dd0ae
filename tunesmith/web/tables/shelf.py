"""Indexes of tables as the server sees them: where they are kept, and which are being made.

An index is made when a large table arrives, or when somebody first looks at one, in a process of
its own, and again when the table has changed. It goes when the table does, or when nobody has
looked at it for a week.
Does not know: how tables are read, whose they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool

from tunesmith.errors import TunesmithError
from tunesmith.settings import Settings
from tunesmith.store.store import Store
from tunesmith.web.tables.form import Form, load, stamp

logger = logging.getLogger(__name__)

KEEP_SECONDS = 7 * 24 * 3600
AT_ONCE = asyncio.Semaphore(2)
"""Processes that read whole tables."""
POLL_SECONDS = 0.05

_making: dict[Path, asyncio.Task[Any]] = {}


class NotRead(TunesmithError):
    """A process that was to read a table has ended without having done so."""


def place(settings: Settings, key: str) -> Path:
    """Where the index of the table with that id is kept."""
    return settings.data_dir / "tables" / key


async def opened(folder: Path, source: Path, *, patience: float = 0.6) -> Form | None:
    """The form of the table, as far as it is known after so many seconds; None: not yet.

    What is still missing is on its way: ask again. Raises: OSError when there is no such table.
    """
    form = await run_in_threadpool(_current, folder, source)
    if form is not None and form.done:
        return form
    begin(folder, source)
    until = time.monotonic() + patience
    while time.monotonic() < until:
        form = await run_in_threadpool(_current, folder, source)
        if form is not None and (form.done or form.count):
            return form
        if folder not in _making:
            break
        await asyncio.sleep(POLL_SECONDS)
    return form


def begin(folder: Path, source: Path) -> None:
    """Have the index made, if that is not under way."""
    if folder not in _making:
        _making[folder] = asyncio.create_task(_make(folder, source))


async def wholly(folder: Path, source: Path) -> Form:
    """The form of the table once all of it is known. Raises: NotRead; OSError."""
    while True:
        form = await opened(folder, source, patience=5.0)
        if form is not None and form.done:
            return form
        if folder not in _making:
            raise NotRead("The table cannot be read.")


async def ask(what: Mapping[str, Any]) -> Any:
    """What a process of `tunesmith.web.tables` answers. Raises: NotRead."""
    async with AT_ONCE:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tunesmith.web.tables",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, said = await process.communicate(json.dumps(what).encode())
        finally:
            if process.returncode is None:
                process.kill()
    if process.returncode:
        logger.error("a table could not be worked with: %s", said.decode("utf-8", "replace"))
        raise NotRead("The table cannot be read.", fix="The server's log says more.")
    return json.loads(out)


def forget(folder: Path) -> None:
    """Remove an index; its table is gone."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(settings: Settings, store: Store) -> None:
    """Remove indexes whose table is gone, or which nobody has looked at for long."""
    for folder in (settings.data_dir / "tables").glob("*"):
        is_file = folder.name.startswith("file-")
        kept = store.files.get(folder.name) if is_file else store.runs.get(folder.name)
        with contextlib.suppress(OSError):
            if kept is None or folder.stat().st_mtime < time.time() - KEEP_SECONDS:
                forget(folder)


def _current(folder: Path, source: Path) -> Form | None:
    """The index, if it is one of the table as it is now. Raises: OSError."""
    form = load(folder)
    if form is None or tuple(form.source) != stamp(source):
        return None
    os.utime(folder)
    return form


async def _make(folder: Path, source: Path) -> None:
    try:
        what = {"do": "index", "source": str(source), "folder": str(folder)}
        await ask(what)
    except TunesmithError:
        logger.exception("no index was made of %s", source.name)
    finally:
        _making.pop(folder, None)
