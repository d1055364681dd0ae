"""Jobs, their events and checkpoints; who works on which job.

Every change of a job goes through `write`: one transaction that checks the lease and the state.
Does not know: what a worker does with a job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select, update

from tunesmith.errors import NotFound, StateError
from tunesmith.store import lifecycle
from tunesmith.store.database import Database, in_turn, readable
from tunesmith.store.paging import Cursor, Page, add, find, own, owned, page
from tunesmith.store.rows import CheckpointRow, EventRow, FileRow, JobRow, ModelRow
from tunesmith.store.tables import CHECKPOINTS, EVENTS, FILES, JOBS, MODELS
from tunesmith.store.webhooks import announce
from tunesmith.wire import TERMINAL

REPEAT_SECONDS = 120
"""How long a repeated request is taken for the same one."""
FREE_ONES = 16
"""Jobs that a worker tries to take, of those that nobody has; others may be quicker."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What `Jobs.write` does, all of it or nothing."""

    to: str | None = None
    """The new state. None: the state stays."""
    only: str | None = None
    """The one state from which the job may go there. None: any that `lifecycle` knows."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the job's row."""
    events: Sequence[EventRow] = ()
    """New events, oldest first; their `job_id` is filled in."""
    files: Sequence[FileRow] = ()
    models: Sequence[ModelRow] = ()
    checkpoints: Sequence[CheckpointRow] = ()


class Jobs:
    """The tables of jobs, events and checkpoints, of one project or all."""

    def __init__(self, database: Database, project: str | None = None) -> None:
        self._database = database
        self._project = project

    # --- asked by clients ------------------------------------------------------------------------

    def create(self, row: JobRow, events: Sequence[EventRow], *, repeated: bool) -> JobRow:
        """Add the job. When the client repeats a request of which a job was made in the last
        two minutes, that job instead."""
        row = owned(row, self._project)
        with self._database.write() as connection:
            in_turn(connection, JOBS)
            same = JOBS.c.request_hash == row.request_hash
            recent = JOBS.c.created_at >= row.created_at - REPEAT_SECONDS
            if repeated and (first := find(connection, JOBS, JobRow, same, recent)):
                return first
            add(connection, JOBS, [row])
            add(connection, EVENTS, [replace(event, job_id=row.id) for event in events])
        return row

    def get(self, job_id: str) -> JobRow | None:
        """The job, if there is one."""
        with self._database.read() as connection:
            return find(connection, JOBS, JobRow, *self._mine(job_id))

    def page(
        self,
        cursor: Cursor,
        *,
        metadata: Mapping[str, str] | None = None,
        without_metadata: bool = False,
    ) -> Page[JobRow]:
        """One page of the jobs whose metadata hold all of `metadata`, or which have none."""
        where = own(JOBS, self._project)
        if without_metadata:
            where.append(JOBS.c.metadata.is_(None))
        where += self._database.holds(JOBS.c.metadata, metadata or {})
        with self._database.read() as connection:
            return page(connection, JOBS, JobRow, cursor, *where)

    def search(
        self, cursor: Cursor, *, search: str = "", states: Collection[str] = ()
    ) -> Page[JobRow]:
        """One page of the jobs whose id, suffix or model holds `search`, in any of `states`
        (none: in all)."""
        with self._database.read() as connection:
            return page(connection, JOBS, JobRow, cursor, *self._matching(search, states))

    def counts(self, *, search: str = "") -> dict[str, int]:
        """State → jobs whose id, suffix or model holds `search`."""
        query = select(JOBS.c.status, func.count()).where(*self._matching(search, ()))
        with self._database.read() as connection:
            return {state: n for state, n in connection.execute(query.group_by(JOBS.c.status))}

    def waiting_before(self, row: JobRow) -> int:
        """How many jobs, of all projects, are queued before this one."""
        where = (JOBS.c.status == "queued", JOBS.c.seq < row.seq)
        with self._database.read() as connection:
            return connection.execute(select(func.count()).where(*where)).scalar_one()

    def using(self, file_ids: Collection[str]) -> list[JobRow]:
        """The jobs that were given one of the files, newest first."""
        given = or_(JOBS.c.training_file.in_(file_ids), JOBS.c.validation_file.in_(file_ids))
        query = select(JOBS).where(given, *own(JOBS, self._project)).order_by(JOBS.c.seq.desc())
        with self._database.read() as connection:
            return [JobRow(**row) for row in connection.execute(query).mappings()]

    def events(self, job_id: str, cursor: Cursor) -> Page[EventRow]:
        """One page of a job's events."""
        with self._database.read() as connection:
            return page(connection, EVENTS, EventRow, cursor, EVENTS.c.job_id == job_id)

    def checkpoints(self, job_id: str, cursor: Cursor) -> Page[CheckpointRow]:
        """One page of a job's checkpoints."""
        with self._database.read() as connection:
            mine = CHECKPOINTS.c.fine_tuning_job_id == job_id
            return page(connection, CHECKPOINTS, CheckpointRow, cursor, mine)

    # --- done by workers -------------------------------------------------------------------------

    def lease(
        self,
        worker: str,
        states: Sequence[str],
        *,
        silent_before: float,
        is_gone: Callable[[str], bool],
    ) -> JobRow | None:
        """Take the oldest job in `states` that nobody works on.

        A worker gives up its job by being silent since `silent_before` (unix seconds), when
        `is_gone` says so of its name, or by asking again.
        """
        waiting = select(JOBS).where(JOBS.c.status.in_(states)).order_by(JOBS.c.seq)
        nobodys = waiting.where(JOBS.c.worker.is_(None)).limit(FREE_ONES)
        somebodys = waiting.where(JOBS.c.worker.is_not(None))
        with self._database.read() as connection:
            both = (connection.execute(query).mappings() for query in (nobodys, somebodys))
            rows = [JobRow(**row) for found in both for row in found]
        for row in sorted(rows, key=lambda row: row.seq):
            free = row.worker in (None, worker) or row.heartbeat_at < silent_before
            if (free or is_gone(str(row.worker))) and self._take(row, worker):
                return self.get(row.id)
        return None

    def _take(self, seen: JobRow, worker: str) -> bool:
        """Put `worker` in the row, if it is still as seen."""
        before = JOBS.c.worker.is_(None) if seen.worker is None else JOBS.c.worker == seen.worker
        same = (JOBS.c.id == seen.id, JOBS.c.status == seen.status, before)
        beat = JOBS.c.heartbeat_at == seen.heartbeat_at
        taken = update(JOBS).where(*same, beat).values(worker=worker, heartbeat_at=time.time())
        with self._database.write() as connection:
            return bool(connection.execute(taken).rowcount)

    def beat(self, workers: Sequence[str]) -> None:
        """Say that these workers are alive, for every job they have."""
        with self._database.write() as connection:
            mine = update(JOBS).where(JOBS.c.worker.in_(workers))
            connection.execute(mine.values(heartbeat_at=time.time()))

    def is_held(self, job: JobRow) -> bool:
        """Whether the worker in `job` still has it, and its state is the same."""
        with self._database.read() as connection:
            query = select(JOBS.c.worker, JOBS.c.status).where(JOBS.c.id == job.id)
            holder, status = connection.execute(query).one()
        return bool(holder == job.worker and status == job.status)

    def release(self, job_id: str, worker: str) -> None:
        """Give the job back, if `worker` has it."""
        with self._database.write() as connection:
            mine = update(JOBS).where(JOBS.c.id == job_id, JOBS.c.worker == worker)
            connection.execute(mine.values(worker=None))

    def ended(self, job_ids: Sequence[str]) -> set[str]:
        """Those of `job_ids` that have come to an end."""
        with self._database.read() as connection:
            query = select(JOBS.c.id).where(JOBS.c.id.in_(job_ids), JOBS.c.status.in_(TERMINAL))
            return set(connection.execute(query).scalars())

    def write(
        self,
        job_id: str,
        change: Change,
        *,
        worker: str | None = None,
        settled: Collection[str] = (),
    ) -> JobRow:
        """Change the job, unless it is in a state of `settled`; the row as it is afterwards.

        Raises: NotFound; StateError when the job cannot go to that state, or (given `worker`)
        when it has ended or is another worker's by now.
        """
        with self._database.write() as connection:
            row = self._locked(connection, job_id)
            if worker is not None and (row.worker != worker or row.status in TERMINAL):
                raise StateError(f"Fine-tuning job {job_id} is no longer this worker's.")
            if row.status in settled:
                return row
            if change.to is not None:
                lifecycle.check(job_id, row.status, change.to, only=change.only)
            status = change.to or row.status
            values = {**change.values, "status": status}
            if status != "running":
                values |= {"estimated_finish": None, "progress": {}}
            if status in TERMINAL:
                values["worker"] = None
            connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(values))
            add(connection, EVENTS, [_said(event, job_id) for event in change.events])
            add(connection, FILES, change.files)
            add(connection, MODELS, change.models)
            add(connection, CHECKPOINTS, change.checkpoints)
            if change.to in TERMINAL:
                announce(connection, row.project_id, f"fine_tuning.job.{change.to}", job_id)
        return replace(row, **values)

    def cancel(self, job_id: str) -> JobRow:
        """Cancel the job; once cancelled, doing it again changes nothing.

        Raises: NotFound; StateError when it has ended otherwise.
        """
        event = EventRow(message="Fine-tuning job cancelled")
        return self.write(job_id, Change(to="cancelled", events=[event]), settled={"cancelled"})

    def pause(self, job_id: str, *, repeated: bool) -> JobRow:
        """Have the training stopped, to go on where it stands when the job is resumed.

        `repeated`: the client may have asked before, so a job that is paused is left as it is.
        Raises: NotFound; StateError when it is not running.
        """
        change = Change(to="paused", events=[EventRow(message="Fine-tuning job paused")])
        return self.write(job_id, change, settled={"paused"} if repeated else ())

    def resume(self, job_id: str, *, repeated: bool) -> JobRow:
        """Have a paused job go on.

        `repeated`: the client may have asked before, so a job that waits or runs is left as it is.
        Raises: NotFound; StateError when it is not paused.
        """
        event = EventRow(message="Fine-tuning job resumed, moving job to queued state")
        change = Change(to="queued", only="paused", events=[event])
        return self.write(job_id, change, settled={"queued", "running"} if repeated else ())

    def _matching(self, search: str, states: Collection[str]) -> list[ColumnElement[bool]]:
        where = own(JOBS, self._project)
        if search:
            columns = (
                JOBS.c.id, JOBS.c.user_provided_suffix, JOBS.c.model, JOBS.c.fine_tuned_model,
            )  # fmt: skip
            where.append(or_(*(c.icontains(search, autoescape=True) for c in columns)))
        if states:
            where.append(JOBS.c.status.in_(states))
        return where

    def _mine(self, job_id: str) -> list[ColumnElement[bool]]:
        return [JOBS.c.id == job_id, *own(JOBS, self._project)]

    def _locked(self, connection: Connection, job_id: str) -> JobRow:
        """The row, for this transaction alone (SQLite locks the whole database anyway)."""
        query = select(JOBS).where(*self._mine(job_id)).with_for_update()
        row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound(f"There is no fine-tuning job {job_id!r}.")
        return JobRow(**row)


def _said(event: EventRow, job_id: str) -> EventRow:
    """The event as the job's; its words may be those of a process that broke."""
    return replace(event, job_id=job_id, message=readable(event.message))
