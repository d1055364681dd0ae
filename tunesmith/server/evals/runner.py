"""Works on runs of evals: lays their items out, has many answered at a time, and counts.

Here and not in a process of its own, because the engines are here; it has a thread and an event
loop to itself, as batches do. All that a run has come to is in the store, so any server goes on
with it. Does not know: what makes an item pass.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from pydantic_core import to_json
from starlette.types import ASGIApp

from tunesmith.errors import (
    NotFound,
    RequestError,
    StateError,
    StorageError,
    TunesmithError,
)
from tunesmith.server import inside
from tunesmith.server.door.auth import Caller
from tunesmith.server.evals.answers import Ask
from tunesmith.server.evals.items import Plan, outcome, plan
from tunesmith.server.evals.sources import SourceFailed, entries
from tunesmith.settings import Settings
from tunesmith.store.blobs import Blobs
from tunesmith.store.eval_runs import Outcome
from tunesmith.store.rows import EvalItemRow, EvalRow, EvalRunRow
from tunesmith.store.store import Store
from tunesmith.work.identity import is_gone, own_name

logger = logging.getLogger(__name__)

RUNS_AT_ONCE = 4
ITEMS_AT_ONCE = 64
"""Of all runs: enough for the engines to answer many together, and few enough that who asks over
HTTP does not wait long behind them."""
ROWS_AT_ONCE = 500
"""Items that are written or read together."""
POLL_SECONDS = 0.2
WRITE_SECONDS = 0.3
"""Between two writes of what came of items; whoever is killed has these answered again."""
PAUSE_SECONDS = 5.0
"""Before trying again what has just gone wrong."""
STOP_SECONDS = 1.0
"""How long items in hand may take when the server stops; later ones are answered again."""
RETRY_PAUSES = (0.5, 2.0)
"""Before a request is made again that met a failure of the server's, or too many others."""


@dataclass(kw_only=True)
class _Work:
    """A run in hand."""

    run: EvalRunRow
    worker: str
    left: deque[EvalItemRow] = field(default_factory=deque)
    """Items that are read and not taken."""
    read_to: int = 0
    """`seq` of the last item that was read."""
    done: list[Outcome] = field(default_factory=list)
    """What is not written yet."""
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


class EvalRunner:
    """Works on runs between `start` and `stop`; models are asked through `app`."""

    def __init__(self, settings: Settings, store: Store, blobs: Blobs, app: ASGIApp) -> None:
        self._settings = settings
        self._store = store
        self._blobs = blobs
        self._app = app
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(ITEMS_AT_ONCE)
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main()), name="evals", daemon=True
        )

    def start(self) -> None:
        """Begin to take runs."""
        self._thread.start()

    def stop(self) -> None:
        """Give the runs back; returns within a second or two."""
        self._stopping.set()
        self._stopped.wait()

    # --- which runs ------------------------------------------------------------------------------

    async def _main(self) -> None:
        try:
            while not self._stopping.is_set():
                room = len(self._tasks) < RUNS_AT_ONCE
                work = await asyncio.to_thread(self._lease) if room else None
                if work is None:
                    await asyncio.sleep(POLL_SECONDS)
                    continue
                task = asyncio.create_task(self._work(work))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            if self._tasks:
                await asyncio.wait(set(self._tasks))
        finally:
            self._stopped.set()

    def _lease(self) -> _Work | None:
        worker, silent_before = own_name(), time.time() - self._settings.lease_seconds
        try:
            lease = self._store.eval_runs.lease
            run = lease(worker, silent_before=silent_before, is_gone=is_gone)
        except TunesmithError:
            logger.exception("no eval run could be taken")
            self._stopping.wait(PAUSE_SECONDS)
            return None
        return None if run is None else _Work(run=run, worker=worker)

    # --- one run ---------------------------------------------------------------------------------

    async def _work(self, work: _Work) -> None:
        """Take a run as far as it goes. Whatever goes wrong with it ends it, never the thread."""
        name = work.run.id
        try:
            await self._advance(work)
        except (StateError, NotFound):
            logger.info("eval run %s was canceled, deleted or taken over", name)
        except SourceFailed as error:
            await self._fail(work, error.code, str(error))
        except StorageError:
            logger.exception("eval run %s cannot go on; it will be tried again", name)
            await asyncio.sleep(0 if self._stopping.is_set() else PAUSE_SECONDS)
        except RequestError as error:
            await self._fail(work, "invalid_data_source", str(error))
        except Exception as error:  # as in the worker
            logger.exception("eval run %s broke off", name)
            told = f"The server had an error of its own while working on the run: {error!r}."
            await self._fail(work, "server_error", told)
        finally:
            await asyncio.to_thread(self._give_back, work)

    def _give_back(self, work: _Work) -> None:
        try:
            self._store.eval_runs.release(work.run.id, work.worker)
        except TunesmithError:
            logger.exception("eval run %s not given back", work.run.id)

    async def _advance(self, work: _Work) -> None:
        """Lay the items out, have them answered, and end the run, from wherever it stands."""
        about = await asyncio.to_thread(self._store.evals.get, work.run.eval_id)
        if about is None:
            return  # and so is the run
        if work.run.status == "queued":
            laid_out = await asyncio.to_thread(self._lay_out, work, about)
            if laid_out is None:
                return
            work.run = laid_out
        asking = partial(self._answer_some, work, plan(work.run, about), self._ask_of(work.run))
        tasks = [asyncio.create_task(asking()) for _ in range(ITEMS_AT_ONCE)]
        try:
            await self._write_until_done(work, tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                task.result()
        if not self._stopping.is_set():
            await self._write(work, {"status": "completed"})

    def _lay_out(self, work: _Work, about: EvalRow) -> EvalRunRow | None:
        """Write all items of the run, in place of what an earlier try has left; the run then, or
        None when the server stops.

        Raises: SourceFailed; StateError; NotFound; StorageError.
        """
        run, runs = work.run, self._store.eval_runs
        rows = _rows(run, entries(run, about, self._store.of(run.project_id), self._blobs))
        total, anew = 0, True
        while some := list(islice(rows, ROWS_AT_ONCE)):
            if self._stopping.is_set():
                return None
            runs.add_items(run.id, some, worker=work.worker, anew=anew)
            total, anew = total + len(some), False
        return runs.write(run.id, {"status": "in_progress", "total": total}, worker=work.worker)

    async def _write_until_done(self, work: _Work, tasks: list[asyncio.Task[None]]) -> None:
        """Keep what comes of items until there are none left, or the server stops."""
        stop_at = None
        while True:
            _, waiting = await asyncio.wait(
                tasks, timeout=WRITE_SECONDS, return_when=asyncio.FIRST_EXCEPTION
            )
            await self._keep(work)
            if self._stopping.is_set():
                stop_at = stop_at or time.monotonic() + STOP_SECONDS
            is_late = stop_at is not None and time.monotonic() > stop_at
            broke = any(task.done() and task.exception() for task in tasks)
            if not waiting or broke or is_late:
                return

    async def _keep(self, work: _Work) -> None:
        """Write what is done; it stays where that fails. Raises: StateError and the like."""
        some = list(work.done)
        keep = partial(self._store.eval_runs.keep, work.run.id, some, worker=work.worker)
        await asyncio.to_thread(keep)
        del work.done[: len(some)]

    async def _write(self, work: _Work, values: Mapping[str, Any]) -> None:
        write = partial(self._store.eval_runs.write, work.run.id, values, worker=work.worker)
        await asyncio.to_thread(write)

    async def _fail(self, work: _Work, code: str, message: str) -> None:
        error = {"code": code, "message": message}
        try:
            await self._write(work, {"status": "failed", "error": error})
        except TunesmithError:
            logger.exception("eval run %s could not be failed", work.run.id)
            await asyncio.sleep(0 if self._stopping.is_set() else PAUSE_SECONDS)

    # --- one item --------------------------------------------------------------------------------

    async def _answer_some(self, work: _Work, plan: Plan, ask: Ask) -> None:
        """Have items answered, one after the other, until there are no more."""
        while True:
            async with self._room:
                if self._stopping.is_set() or (row := await self._next(work)) is None:
                    return
                work.done.append(await outcome(row, plan, ask))

    async def _next(self, work: _Work) -> EvalItemRow | None:
        """The next item that nobody has taken."""
        async with work.reading:
            if not work.left:
                read = partial(self._store.eval_runs.pending, limit=ROWS_AT_ONCE)
                found = await asyncio.to_thread(read, work.run.id, after=work.read_to)
                work.left.extend(found)
                work.read_to = found[-1].seq if found else work.read_to
            return work.left.popleft() if work.left else None

    def _ask_of(self, run: EvalRunRow) -> Ask:
        """Asks in the name of whoever made the run; failures that pass are tried again."""
        caller = Caller(id=run.key_id, role=run.role, project=run.project_id)

        async def ask(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
            sent = to_json(body)
            for pause in RETRY_PAUSES:
                reply = await inside.ask(self._app, caller, path, sent)
                if reply["status_code"] < 500 and reply["status_code"] != 429:
                    return reply
                await asyncio.sleep(pause)
            return await inside.ask(self._app, caller, path, sent)

        return ask


def _rows(run: EvalRunRow, found: Iterator[Any]) -> Iterator[EvalItemRow]:
    for number, entry in enumerate(found):
        yield EvalItemRow(
            run_id=run.id,
            datasource_item_id=number,
            datasource_item=entry.item,
            given=entry.given,
        )
