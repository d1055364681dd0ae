"""Runs batches: asks our own application each request of a batch, many at a time.

Here and not in a process of its own, because the engines are here. It has a thread and an event
loop to itself, so that who asks over HTTP waits neither for the files of batches nor for a place
in the thread pool.
Knows: which batches are in hand, when to go on and when to stop.
Does not know: what the requests mean.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic_core import to_json
from starlette.types import ASGIApp

from tunesmith.errors import NotFound, StateError, StorageError, TunesmithError
from tunesmith.server.batches.folder import BatchFolder
from tunesmith.server.batches.lines import check, problem
from tunesmith.server.door.auth import Caller
from tunesmith.server.inside import ask
from tunesmith.settings import Settings
from tunesmith.store.blobs import Blobs
from tunesmith.store.rows import BatchRow, FileRow
from tunesmith.store.store import Store
from tunesmith.work.identity import is_gone, own_name

logger = logging.getLogger(__name__)

BATCHES_AT_ONCE = 4
LINES_AT_ONCE = 64
"""Requests of all batches: enough for the engines to answer many together, and few enough that who
asks over HTTP does not wait long behind them."""
POLL_SECONDS = 0.2
TICK_SECONDS = 1.0
"""Between two looks at whether the batch was cancelled, which also tell how far it is."""
PAUSE_SECONDS = 5.0
"""Before trying again what has just gone wrong."""
STOP_SECONDS = 1.0
"""How long requests in hand may take when the server stops; later answers are dropped, and those
requests made again at the next start."""
RETRY_PAUSES = (0.5, 2.0)
"""Before a request is made again that met a failure of the server's, or too many others."""

GIVEN_UP = {
    "cancelled": "The batch was cancelled before this request was made.",
    "expired": "The batch's completion window ended before this request was made.",
}


@dataclass(kw_only=True)
class _Run:
    """A batch in hand."""

    batch: BatchRow
    worker: str
    folder: BatchFolder
    status: str
    is_lost: bool = False
    """Given up, or another server's by now: nothing may be written for it."""

    @property
    def early_end(self) -> str | None:
        """The state in which it ends although not all is answered, if it does."""
        if self.status == "cancelling":
            return "cancelled"
        is_late = self.batch.expires_at is not None and time.time() >= self.batch.expires_at
        return "expired" if is_late and self.status != "finalizing" else None


class BatchRunner:
    """Works on batches between `start` and `stop`."""

    def __init__(self, settings: Settings, store: Store, blobs: Blobs, app: ASGIApp) -> None:
        self._settings = settings
        self._store = store
        self._blobs = blobs
        self._app = app
        self._dir = settings.data_dir / "batches"
        self._runs: dict[asyncio.Task[None], _Run] = {}
        self._room = asyncio.Semaphore(LINES_AT_ONCE)
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main()), name="batches", daemon=True
        )

    def start(self) -> None:
        """Begin to take batches."""
        self._thread.start()

    def stop(self) -> None:
        """Give the batches back; returns within a second or two."""
        self._stopping.set()
        self._stopped.wait()

    # --- which batches ---------------------------------------------------------------------------

    async def _main(self) -> None:
        try:
            await asyncio.to_thread(self._tidy)
            while not self._stopping.is_set():
                room = len(self._runs) < BATCHES_AT_ONCE
                run = await asyncio.to_thread(self._lease) if room else None
                if run is None:
                    await asyncio.sleep(POLL_SECONDS)
                    continue
                task = asyncio.create_task(self._work(run))
                self._runs[task] = run
                task.add_done_callback(self._runs.pop)
            if self._runs:
                await asyncio.wait(self._runs, timeout=STOP_SECONDS)
            for run in self._runs.values():
                self._give_back(run)
        finally:
            self._stopped.set()
        if self._runs:  # the engines are being closed, and end what is still in hand
            await asyncio.wait(self._runs)

    def _tidy(self) -> None:
        """Remove folders of batches that ended just before a server did."""
        try:
            names = [folder.name for folder in self._dir.iterdir()] if self._dir.exists() else []
            for name in self._store.batches.ended(names):
                BatchFolder(self._dir / name).remove()
        except (TunesmithError, OSError):
            logger.exception("not tidied up")

    def _lease(self) -> _Run | None:
        worker, silent_before = own_name(), time.time() - self._settings.lease_seconds
        try:
            batch = self._store.batches.lease(worker, silent_before=silent_before, is_gone=is_gone)
        except TunesmithError:
            logger.exception("no batch could be taken")
            self._stopping.wait(PAUSE_SECONDS)
            return None
        if batch is None:
            return None
        folder = BatchFolder(self._dir / batch.id)
        return _Run(batch=batch, worker=worker, folder=folder, status=batch.status)

    def _give_back(self, run: _Run) -> None:
        was_lost, run.is_lost = run.is_lost, True
        run.folder.close()
        if was_lost:
            return
        try:
            self._store.batches.release(run.batch.id, run.worker)
        except TunesmithError:
            logger.exception("batch %s not given back", run.batch.id)

    # --- one batch -------------------------------------------------------------------------------

    async def _work(self, run: _Run) -> None:
        """Take a batch as far as it goes. Whatever goes wrong with it ends it, never the thread."""
        name, ticking = run.batch.id, None
        try:
            if not await asyncio.to_thread(run.folder.open):
                await asyncio.sleep(PAUSE_SECONDS)  # whoever had it before has not stopped quite
                return
            ticking = asyncio.create_task(self._tick(run))
            await self._advance(run)
        except StateError:
            logger.info("batch %s was cancelled or taken over", name)
        except StorageError:
            logger.exception("batch %s cannot go on; it will be tried again", name)
            await asyncio.sleep(PAUSE_SECONDS)
        except Exception as error:  # as in the worker
            if not run.is_lost:
                logger.exception("batch %s broke off", name)
                await self._fail(run, error)
        finally:
            if ticking is not None:
                ticking.cancel()
            await asyncio.to_thread(self._give_back, run)

    async def _tick(self, run: _Run) -> None:
        """Say now and then that somebody works on it and how far it is, and look at its state."""
        while True:
            await asyncio.sleep(min(TICK_SECONDS, self._settings.lease_seconds / 4))
            if run.is_lost:
                return
            try:
                await self._write(run, {})
            except StateError:
                run.is_lost = True
            except TunesmithError:
                logger.exception("batch %s: progress not written", run.batch.id)

    async def _write(
        self, run: _Run, values: Mapping[str, Any], files: Sequence[FileRow] = ()
    ) -> None:
        """Change the batch's row. Raises: StateError; StorageError."""
        values = {**run.folder.progress(), **values}
        write = partial(self._store.batches.write, worker=run.worker, files=files)
        run.status = (await asyncio.to_thread(write, run.batch.id, values)).status

    async def _advance(self, run: _Run) -> None:
        """Check the batch, make its requests, and end it, from wherever it stands."""
        if not await self._prepare(run):
            return
        requests = run.folder.unanswered()
        asking = [self._ask_some(run, requests) for _ in range(LINES_AT_ONCE)]
        # All of them end before any error is raised: nothing is answered behind our back.
        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            if outcome is not None:
                raise outcome
        if self._stopping.is_set() or run.is_lost:
            return
        if end := run.early_end:
            why = f"batch_{end}", GIVEN_UP[end]
            await asyncio.to_thread(run.folder.give_up, requests, *why)
        else:
            end = "completed"
            await self._write(run, {"status": "finalizing"})
        await self._end(run, end)

    async def _prepare(self, run: _Run) -> bool:
        """Fetch the requests and check them, where that is still to do; False: the batch ended."""
        batch, is_new = run.batch, run.batch.in_progress_at is None
        if is_new and batch.status == "cancelling":
            await self._end(run, "cancelled")
            return False
        try:
            await asyncio.to_thread(run.folder.fetch, self._blobs, batch.input_file_id)
        except NotFound:
            told = f"The input file {batch.input_file_id} was deleted before it could be read."
            gone = problem("deleted_input_file", told, param="input_file_id")
            await self._end(run, "failed", errors=[gone])
            return False
        if is_new:
            checked = await asyncio.to_thread(check, run.folder.requests, batch.endpoint)
            if checked.problems:
                await self._end(run, "failed", errors=checked.problems)
                return False
            found = {"total": checked.total, "model": checked.model}
            await self._write(run, {"status": "in_progress", **found})
        return True

    async def _end(self, run: _Run, status: str, errors: Sequence[Mapping[str, Any]] = ()) -> None:
        """Publish the answers there are, and end the batch."""
        files = await asyncio.to_thread(run.folder.publish, self._blobs, run.batch)
        ids = {f"{kind}_file_id": row.id for kind, row in files.items()}
        values = {"status": status, "errors": list(errors), **ids}
        await self._write(run, values, files=list(files.values()))
        await asyncio.to_thread(run.folder.remove)

    async def _fail(self, run: _Run, error: Exception) -> None:
        told = f"The server had an error of its own while working on the batch: {error!r}."
        try:
            await self._end(run, "failed", errors=[problem("server_error", told)])
        except TunesmithError:
            logger.exception("batch %s could not be failed; it will be tried again", run.batch.id)
            await asyncio.sleep(PAUSE_SECONDS)

    # --- one request -----------------------------------------------------------------------------

    async def _ask_some(self, run: _Run, requests: Iterator[dict[str, Any]]) -> None:
        """Make requests, one after the other, until there are no more or the batch stops."""
        while True:
            async with self._room:
                is_over = self._stopping.is_set() or run.is_lost or run.early_end
                if is_over or (request := next(requests, None)) is None:
                    return
                response = await self._ask(run.batch, to_json(request["body"]))
            if not run.is_lost:
                run.folder.keep(request["custom_id"], response)

    async def _ask(self, batch: BatchRow, body: bytes) -> dict[str, Any]:
        """The answer to a request, which is tried again after failures that pass."""
        for pause in RETRY_PAUSES:
            response = await self._call(batch, body)
            if response["status_code"] < 500 and response["status_code"] != 429:
                return response
            await asyncio.sleep(pause)
        return await self._call(batch, body)

    async def _call(self, batch: BatchRow, body: bytes) -> dict[str, Any]:
        """What the application answers to whoever made the batch."""
        caller = Caller(id=batch.key_id, role=batch.role, project=batch.project_id)
        return await ask(self._app, caller, batch.endpoint, body)
