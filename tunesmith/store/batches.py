"""Batches: states, and which server works on which.

Every change goes through `_change`: it checks the state, notes the time and tells the webhooks.
Does not know: what a batch asks, or where its answers lie until it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, update

from tunesmith.errors import NotFound, StateError
from tunesmith.store.database import Database, in_turn
from tunesmith.store.jobs import REPEAT_SECONDS
from tunesmith.store.paging import Cursor, Page, add, find, own, owned, page
from tunesmith.store.rows import BatchRow, FileRow, now
from tunesmith.store.tables import BATCHES, FILES
from tunesmith.store.webhooks import announce

WAYS: dict[str, frozenset[str]] = {
    "validating": frozenset({"in_progress", "failed", "cancelling", "expired"}),
    "in_progress": frozenset({"finalizing", "failed", "cancelling", "expired"}),
    "finalizing": frozenset({"completed", "failed"}),
    "cancelling": frozenset({"cancelled", "failed"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "expired": frozenset(),
    "cancelled": frozenset(),
}
ENDS = frozenset(state for state, ways in WAYS.items() if not ways)


class Batches:
    """The table of batches, of one project or all."""

    def __init__(self, database: Database, project: str | None = None) -> None:
        self._database = database
        self._project = project

    # --- asked by clients ------------------------------------------------------------------------

    def create(self, row: BatchRow, *, repeated: bool) -> BatchRow:
        """Add the batch. When the client repeats a request of which a batch was made in the last
        two minutes, that batch instead."""
        row = owned(row, self._project)
        with self._database.write() as connection:
            in_turn(connection, BATCHES)
            same = BATCHES.c.request_hash == row.request_hash
            recent = BATCHES.c.created_at >= row.created_at - REPEAT_SECONDS
            if repeated and (first := find(connection, BATCHES, BatchRow, same, recent)):
                return first
            add(connection, BATCHES, [row])
        return row

    def get(self, batch_id: str) -> BatchRow | None:
        """The batch, if there is one."""
        with self._database.read() as connection:
            return find(connection, BATCHES, BatchRow, *self._mine(batch_id))

    def using(self, file_id: str) -> list[BatchRow]:
        """The batches whose requests are in that file, newest first."""
        mine = BATCHES.c.input_file_id == file_id, *own(BATCHES, self._project)
        with self._database.read() as connection:
            query = select(BATCHES).where(*mine).order_by(BATCHES.c.seq.desc())
            return [BatchRow(**row) for row in connection.execute(query).mappings()]

    def page(self, cursor: Cursor) -> Page[BatchRow]:
        """One page of the batches."""
        with self._database.read() as connection:
            return page(connection, BATCHES, BatchRow, cursor, *own(BATCHES, self._project))

    def cancel(self, batch_id: str) -> BatchRow:
        """Have the batch end early; doing it again changes nothing.

        Raises: NotFound; StateError when it has ended otherwise, or is about to.
        """
        with self._database.write() as connection:
            row = self._locked(connection, batch_id)
            if row.status in ("cancelling", "cancelled"):
                return row
            return self._change(connection, row, {"status": "cancelling"})

    # --- done by servers -------------------------------------------------------------------------

    def lease(
        self, worker: str, *, silent_before: float, is_gone: Callable[[str], bool]
    ) -> BatchRow | None:
        """Take the oldest batch that has not ended and that nobody works on.

        A worker gives up its batch by being silent since `silent_before` (unix seconds), or when
        `is_gone` says so of its name.
        """
        with self._database.read() as connection:
            query = select(BATCHES).where(BATCHES.c.status.not_in(ENDS)).order_by(BATCHES.c.seq)
            rows = [BatchRow(**row) for row in connection.execute(query).mappings()]
        for row in rows:
            free = row.worker is None or row.heartbeat_at < silent_before or is_gone(row.worker)
            if free and self._take(row, worker):
                return self.get(row.id)
        return None

    def _take(self, seen: BatchRow, worker: str) -> bool:
        """Put `worker` in the row, if it is still as seen."""
        before = BATCHES.c.worker.is_not_distinct_from(seen.worker)
        same = (BATCHES.c.id == seen.id, BATCHES.c.heartbeat_at == seen.heartbeat_at, before)
        taken = update(BATCHES).where(*same).values(worker=worker, heartbeat_at=time.time())
        with self._database.write() as connection:
            return bool(connection.execute(taken).rowcount)

    def write(
        self,
        batch_id: str,
        values: Mapping[str, Any],
        *,
        worker: str,
        files: Sequence[FileRow] = (),
    ) -> BatchRow:
        """Change the batch, as `worker`, who is alive then; the row as it is afterwards.

        Raises: NotFound; StateError when it cannot go to that state, or is another worker's.
        """
        with self._database.write() as connection:
            row = self._locked(connection, batch_id)
            if row.worker != worker:
                raise StateError(f"Batch {batch_id} is no longer this worker's.")
            add(connection, FILES, files)
            return self._change(connection, row, {**values, "heartbeat_at": time.time()})

    def release(self, batch_id: str, worker: str) -> None:
        """Give the batch back, if `worker` has it."""
        with self._database.write() as connection:
            mine = update(BATCHES).where(BATCHES.c.id == batch_id, BATCHES.c.worker == worker)
            connection.execute(mine.values(worker=None))

    def ended(self, batch_ids: Sequence[str]) -> set[str]:
        """Those of `batch_ids` that have come to an end."""
        with self._database.read() as connection:
            query = select(BATCHES.c.id).where(
                BATCHES.c.id.in_(batch_ids), BATCHES.c.status.in_(ENDS)
            )
            return set(connection.execute(query).scalars())

    def _change(self, connection: Connection, row: BatchRow, values: Mapping[str, Any]) -> BatchRow:
        values, to = dict(values), values.get("status", row.status)
        if to != row.status:
            if to not in WAYS[row.status]:
                raise StateError(f"Batch {row.id} is {row.status} and cannot become {to}.")
            values[f"{to}_at"] = now()
        if to in ENDS:
            values["worker"] = None
            announce(connection, row.project_id, f"batch.{to}", row.id)
        connection.execute(update(BATCHES).where(BATCHES.c.id == row.id).values(values))
        return replace(row, **values)

    def _mine(self, batch_id: str) -> list[ColumnElement[bool]]:
        return [BATCHES.c.id == batch_id, *own(BATCHES, self._project)]

    def _locked(self, connection: Connection, batch_id: str) -> BatchRow:
        """The row, for this transaction alone (SQLite locks the whole database anyway)."""
        query = select(BATCHES).where(*self._mine(batch_id)).with_for_update()
        row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound(f"There is no batch {batch_id!r}.")
        return BatchRow(**row)
