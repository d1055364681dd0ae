"""The table of runs that were begun on the page.

Does not know: what a run does, where its folder is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update

from tunesmith.errors import NotFound, StateError
from tunesmith.store.database import Database
from tunesmith.store.paging import Cursor, Page, add, find, own, owned, page
from tunesmith.store.rows import RunRow, now
from tunesmith.store.tables import JOBS, RUNS

STATES = (
    "draft", "checking", "queued", "running", "paused", "succeeded", "failed", "cancelled",
)  # fmt: skip
OF_RUN = "tunesmith_run"
"""Metadata of a job: the id of the run whose pipeline has made it."""
AT_WORK = ("checking", "running", "paused")
"""States in which a run has, or should have, a process."""


class Runs:
    """Runs, of one project or all."""

    def __init__(self, database: Database, project: str | None = None) -> None:
        self._database = database
        self._project = project

    def create(self, row: RunRow) -> RunRow:
        """Add the run."""
        row = owned(row, self._project)
        with self._database.write() as connection:
            add(connection, RUNS, [row])
        return row

    def get(self, run_id: str) -> RunRow | None:
        """The run, if there is one."""
        with self._database.read() as connection:
            return find(connection, RUNS, RunRow, *self._mine(run_id))

    def page(
        self, cursor: Cursor, *, search: str = "", states: Collection[str] = ()
    ) -> Page[RunRow]:
        """One page of the runs whose names hold `search`, in any of `states` (none: in all)."""
        with self._database.read() as connection:
            return page(connection, RUNS, RunRow, cursor, *self._matching(search, states))

    def counts(self, *, search: str = "") -> dict[str, int]:
        """State → runs whose names hold `search`."""
        query = select(RUNS.c.state, func.count()).where(*self._matching(search, ()))
        with self._database.read() as connection:
            return {state: n for state, n in connection.execute(query.group_by(RUNS.c.state))}

    def change(
        self,
        run_id: str,
        *,
        to: str | None = None,
        only: Collection[str] = STATES,
        values: Mapping[str, Any] | None = None,
    ) -> RunRow:
        """Bring the run into another state, if it is in one of `only`, and set fields of its row.

        Raises: NotFound; StateError when it is in another state.
        """
        mine = self._mine(run_id)
        with self._database.write() as connection:
            locked = select(RUNS.c.id).where(*mine).with_for_update()
            connection.execute(locked)
            row = find(connection, RUNS, RunRow, *mine)
            if row is None:
                raise NotFound(f"There is no run {run_id}.")
            if row.state not in only:
                raise StateError(f"The run is {row.state}, so this cannot be done with it now.")
            changes = {**(values or {}), **({"state": to} if to else {})}
            if changes:
                connection.execute(update(RUNS).where(*mine).values(**changes))
            changed = find(connection, RUNS, RunRow, *mine)
            assert changed is not None
            return changed

    def take(self, worker: str, *, is_here: Callable[[RunRow], bool]) -> RunRow | None:
        """The oldest queued run whose files are here; `worker` looks after it from now on."""
        waiting = select(RUNS).where(RUNS.c.state == "queued").order_by(RUNS.c.seq)
        with self._database.read() as connection:
            found = [RunRow(**row) for row in connection.execute(waiting).mappings()]
        for row in filter(is_here, found):
            mine = (RUNS.c.id == row.id, RUNS.c.state == "queued")
            values = {"state": "running", "worker": worker, "started_at": row.started_at or now()}
            with self._database.write() as connection:
                if connection.execute(update(RUNS).where(*mine).values(values)).rowcount:
                    return find(connection, RUNS, RunRow, RUNS.c.id == row.id)
        return None

    def at_work(self) -> list[RunRow]:
        """Every run that has, or should have, a process, oldest first."""
        where = [RUNS.c.state.in_(AT_WORK), *own(RUNS, self._project)]
        with self._database.read() as connection:
            rows = connection.execute(select(RUNS).where(*where).order_by(RUNS.c.seq)).mappings()
            return [RunRow(**row) for row in rows]

    def of_job(self, job_id: str) -> RunRow | None:
        """The run whose pipeline has made that job; it is marked with the run's id."""
        marks = select(JOBS.c.metadata).where(JOBS.c.id == job_id, *own(JOBS, self._project))
        with self._database.read() as connection:
            run_id = (connection.execute(marks).scalar() or {}).get(OF_RUN)
            return find(connection, RUNS, RunRow, *self._mine(run_id)) if run_id else None

    def waiting_before(self, run_id: str) -> int:
        """How many runs, of all projects, are queued before this one."""
        mine = select(RUNS.c.seq).where(RUNS.c.id == run_id).scalar_subquery()
        where = (RUNS.c.state == "queued", RUNS.c.seq < mine)
        with self._database.read() as connection:
            return connection.execute(select(func.count()).where(*where)).scalar_one()

    def delete(self, run_id: str) -> bool:
        """Forget the run; False when there is none."""
        with self._database.write() as connection:
            return bool(connection.execute(delete(RUNS).where(*self._mine(run_id))).rowcount)

    def _mine(self, run_id: str) -> list[ColumnElement[bool]]:
        return [RUNS.c.id == run_id, *own(RUNS, self._project)]

    def _matching(self, search: str, states: Collection[str]) -> list[ColumnElement[bool]]:
        where = own(RUNS, self._project)
        if search:
            where.append(RUNS.c.name.icontains(search, autoescape=True))
        if states:
            where.append(RUNS.c.state.in_(states))
        return where
