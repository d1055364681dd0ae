"""Rows whose time is over, removed some thousands at a time so that nobody waits long.

Does not know: how long anything is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Table, delete, func, select

from tunesmith.store.database import Database
from tunesmith.store.tables import COMPLETIONS, EVAL_ITEMS, EVAL_RUNS, EVENTS, JOBS, RESPONSES
from tunesmith.wire import TERMINAL

ROWS_AT_ONCE = 2000


class Retention:
    """Removes old rows of all projects; times are unix seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remove_events(self, before: int) -> int:
        """Remove the events of jobs that ended `before`; how many. Raises: StorageError."""
        jobs = select(JOBS.c.id).where(_ended(before))
        return self._remove(EVENTS, EVENTS.c.job_id.in_(jobs))

    def remove_answers(self, before: int) -> int:
        """Remove stored completions and responses made `before`; how many. Raises: StorageError."""
        completions = self._remove(COMPLETIONS, COMPLETIONS.c.created < before)
        return completions + self._remove(RESPONSES, RESPONSES.c.created_at < before)

    def remove_eval_items(self, before: int) -> int:
        """Remove the items of eval runs that ended `before`, not their counts; how many.

        Raises: StorageError.
        """
        runs = select(EVAL_RUNS.c.id).where(EVAL_RUNS.c.ended_at < before)
        return self._remove(EVAL_ITEMS, EVAL_ITEMS.c.run_id.in_(runs))

    def ended(self, job_ids: Sequence[str], before: int) -> set[str]:
        """Those of the jobs that ended `before`. Raises: StorageError."""
        query = select(JOBS.c.id).where(_ended(before))
        with self._database.read() as connection:
            return set(connection.execute(query).scalars()) & set(job_ids)

    def _remove(self, table: Table, old: ColumnElement[bool]) -> int:
        removed = 0
        some = select(table.c.seq).where(old).limit(ROWS_AT_ONCE)
        some = some.with_for_update(of=table, skip_locked=True)  # another server removes them too
        while True:
            with self._database.write() as connection:
                count = connection.execute(delete(table).where(table.c.seq.in_(some))).rowcount
            removed += count
            if count < ROWS_AT_ONCE:
                return removed


def _ended(before: int) -> ColumnElement[bool]:
    """That a job ended by then. Of one that failed or was cancelled, its last event tells when."""
    last = (
        select(EVENTS.c.created_at)
        .where(EVENTS.c.job_id == JOBS.c.id)
        .order_by(EVENTS.c.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    at = func.coalesce(JOBS.c.finished_at, last, JOBS.c.created_at)
    return JOBS.c.status.in_(TERMINAL) & (at < before)
