"""Runs of evals: states, items, and which server works on which.

All items of a run are written before the first is asked, so a run stands on its own from then on:
what is pending is what is left to do. Does not know: who answers, what makes an item pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, select, update

from tunesmith.errors import NotFound, StateError
from tunesmith.store.database import Database
from tunesmith.store.jobs import REPEAT_SECONDS
from tunesmith.store.paging import Cursor, Page, add, find, own, owned, page
from tunesmith.store.rows import EvalItemRow, EvalRunRow, now
from tunesmith.store.tables import EVAL_ITEMS, EVAL_RUNS, EVALS
from tunesmith.store.webhooks import announce

WAYS: dict[str, frozenset[str]] = {
    "queued": frozenset({"in_progress", "failed", "canceled"}),
    "in_progress": frozenset({"completed", "failed", "canceled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "canceled": frozenset(),
}
ENDS = frozenset(state for state, ways in WAYS.items() if not ways)
EVENTS = {"completed": "succeeded", "failed": "failed", "canceled": "canceled"}
"""What webhooks call each end."""
COUNTS = {"pass": "passed", "fail": "failed", "error": "errored"}
"""Where a run counts its items of each state."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an item."""

    item_id: str
    status: str
    """pass, fail or error."""
    results: list[dict[str, Any]]
    """Of the criteria, each with its `name` and whether it `passed`."""
    sample: dict[str, Any]
    usage: Mapping[str, Mapping[str, int]]
    """By the model's name: numbers to be added up."""


class EvalRuns:
    """The tables of runs and their items, of one project or all."""

    def __init__(self, database: Database, project: str | None = None) -> None:
        self._database = database
        self._project = project

    # --- asked by clients ------------------------------------------------------------------------

    def create(self, row: EvalRunRow, *, repeated: bool) -> EvalRunRow:
        """Add the run. When the client repeats a request of which a run was made in the last two
        minutes, that run instead.

        Raises: NotFound when its eval is gone.
        """
        row = owned(row, self._project)
        with self._database.write() as connection:
            mine = (EVALS.c.id == row.eval_id, *own(EVALS, self._project))
            if (
                connection.execute(select(EVALS.c.id).where(*mine).with_for_update()).first()
                is None
            ):
                raise NotFound(f"There is no eval {row.eval_id!r}.")
            same = (
                EVAL_RUNS.c.eval_id == row.eval_id,
                EVAL_RUNS.c.request_hash == row.request_hash,
                EVAL_RUNS.c.created_at >= row.created_at - REPEAT_SECONDS,
            )
            if repeated and (first := find(connection, EVAL_RUNS, EvalRunRow, *same)):
                return first
            add(connection, EVAL_RUNS, [row])
        return row

    def get(self, run_id: str) -> EvalRunRow | None:
        """The run, if there is one."""
        with self._database.read() as connection:
            return find(connection, EVAL_RUNS, EvalRunRow, *self._mine(run_id))

    def page(self, eval_id: str, cursor: Cursor, *, status: str | None = None) -> Page[EvalRunRow]:
        """One page of the eval's runs, all or those in one state."""
        where = [EVAL_RUNS.c.eval_id == eval_id, *own(EVAL_RUNS, self._project)]
        if status is not None:
            where.append(EVAL_RUNS.c.status == status)
        with self._database.read() as connection:
            return page(connection, EVAL_RUNS, EvalRunRow, cursor, *where)

    def cancel(self, run_id: str) -> EvalRunRow:
        """End the run; once canceled, doing it again changes nothing.

        Raises: NotFound; StateError when it has ended otherwise.
        """
        with self._database.write() as connection:
            row = self._locked(connection, run_id)
            return (
                row
                if row.status == "canceled"
                else _change(connection, row, {"status": "canceled"})
            )

    def delete(self, run_id: str) -> bool:
        """Forget the run, ended or not, with its items; False when there is none."""
        with self._database.write() as connection:
            mine = select(EVAL_RUNS.c.id).where(*self._mine(run_id)).with_for_update()
            if connection.execute(mine).first() is None:
                return False
            connection.execute(delete(EVAL_ITEMS).where(EVAL_ITEMS.c.run_id == run_id))
            connection.execute(delete(EVAL_RUNS).where(EVAL_RUNS.c.id == run_id))
            return True

    def items(self, run_id: str, cursor: Cursor, *, status: str | None = None) -> Page[EvalItemRow]:
        """One page of the items that are done with, in the order of the source."""
        state = EVAL_ITEMS.c.status
        done = state != "pending" if status is None else state == status
        with self._database.read() as connection:
            mine = EVAL_ITEMS.c.run_id == run_id
            return page(connection, EVAL_ITEMS, EvalItemRow, cursor, mine, done)

    def item(self, run_id: str, item_id: str) -> EvalItemRow | None:
        """The item, if there is one that is done with."""
        mine = (EVAL_ITEMS.c.run_id == run_id, EVAL_ITEMS.c.id == item_id)
        with self._database.read() as connection:
            done = EVAL_ITEMS.c.status != "pending"
            return find(connection, EVAL_ITEMS, EvalItemRow, *mine, done)

    # --- done by servers -------------------------------------------------------------------------

    def lease(
        self, worker: str, *, silent_before: float, is_gone: Callable[[str], bool]
    ) -> EvalRunRow | None:
        """Take the oldest run that has not ended and that nobody works on.

        A worker gives up its run by being silent since `silent_before` (unix seconds), or when
        `is_gone` says so of its name.
        """
        columns = (EVAL_RUNS.c.id, EVAL_RUNS.c.worker, EVAL_RUNS.c.heartbeat_at)
        open_ = EVAL_RUNS.c.status.not_in(ENDS)
        with self._database.read() as connection:
            query = select(*columns).where(open_).order_by(EVAL_RUNS.c.seq)
            found = connection.execute(query).all()
        for run_id, holder, beat in found:
            free = holder is None or beat < silent_before or is_gone(holder)
            before = EVAL_RUNS.c.worker.is_not_distinct_from(holder)
            as_seen = (EVAL_RUNS.c.id == run_id, EVAL_RUNS.c.heartbeat_at == beat, before, open_)
            if free and self._take(as_seen, worker):
                return self.get(run_id)
        return None

    def _take(self, as_seen: tuple[ColumnElement[bool], ...], worker: str) -> bool:
        taken = update(EVAL_RUNS).where(*as_seen)
        with self._database.write() as connection:
            done = connection.execute(taken.values(worker=worker, heartbeat_at=time.time()))
            return bool(done.rowcount)

    def release(self, run_id: str, worker: str) -> None:
        """Give the run back, if `worker` has it."""
        with self._database.write() as connection:
            mine = (EVAL_RUNS.c.id == run_id, EVAL_RUNS.c.worker == worker)
            connection.execute(update(EVAL_RUNS).where(*mine).values(worker=None))

    def write(self, run_id: str, values: Mapping[str, Any], *, worker: str) -> EvalRunRow:
        """Change the run, as `worker`, who is alive then; the row as it is afterwards.

        Raises: NotFound; StateError when it cannot go to that state, or is another worker's.
        """
        with self._database.write() as connection:
            return _change(connection, self._held(connection, run_id, worker), values)

    def add_items(
        self, run_id: str, rows: Sequence[EvalItemRow], *, worker: str, anew: bool = False
    ) -> None:
        """Add items to a run that has not begun; `anew`: in place of those that are there.

        Raises: NotFound; StateError when it is another worker's.
        """
        with self._database.write() as connection:
            row = self._held(connection, run_id, worker)
            if anew:
                connection.execute(delete(EVAL_ITEMS).where(EVAL_ITEMS.c.run_id == run_id))
            add(connection, EVAL_ITEMS, rows)
            _change(connection, row, {})

    def pending(self, run_id: str, *, after: int, limit: int) -> list[EvalItemRow]:
        """The next items that are to be answered, behind the one whose `seq` is `after`."""
        table = EVAL_ITEMS.c
        left = (table.run_id == run_id, table.status == "pending", table.seq > after)
        query = select(EVAL_ITEMS).where(*left).order_by(table.seq).limit(limit)
        with self._database.read() as connection:
            return [EvalItemRow(**row) for row in connection.execute(query).mappings()]

    def keep(self, run_id: str, outcomes: Sequence[Outcome], *, worker: str) -> EvalRunRow:
        """Keep what came of some items and count it; an item counts once, however often it comes.

        Raises: NotFound; StateError when the run is another worker's, or has ended.
        """
        with self._database.write() as connection:
            row = self._held(connection, run_id, worker)
            fresh = [outcome for outcome in outcomes if _settle(connection, run_id, outcome)]
            return _change(connection, row, _counted(row, fresh))

    def _held(self, connection: Connection, run_id: str, worker: str) -> EvalRunRow:
        row = self._locked(connection, run_id)
        if row.worker != worker or row.status in ENDS:
            raise StateError(f"Eval run {run_id} is no longer this worker's.")
        return row

    def _mine(self, run_id: str) -> list[ColumnElement[bool]]:
        return [EVAL_RUNS.c.id == run_id, *own(EVAL_RUNS, self._project)]

    def _locked(self, connection: Connection, run_id: str) -> EvalRunRow:
        """The row, for this transaction alone (SQLite locks the whole database anyway)."""
        query = select(EVAL_RUNS).where(*self._mine(run_id)).with_for_update()
        row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound(f"There is no eval run {run_id!r}.")
        return EvalRunRow(**row)


def _change(connection: Connection, row: EvalRunRow, values: Mapping[str, Any]) -> EvalRunRow:
    values = {**values, "heartbeat_at": time.time()}
    to = values.get("status", row.status)
    if to != row.status and to not in WAYS[row.status]:
        raise StateError(f"Eval run {row.id} is {row.status} and cannot become {to}.")
    if to in ENDS:
        values |= {"ended_at": now(), "worker": None}
        announce(connection, row.project_id, f"eval.run.{EVENTS[to]}", row.id)
        left = (EVAL_ITEMS.c.run_id == row.id, EVAL_ITEMS.c.status == "pending")
        connection.execute(delete(EVAL_ITEMS).where(*left))
    connection.execute(update(EVAL_RUNS).where(EVAL_RUNS.c.id == row.id).values(values))
    return replace(row, **values)


def _settle(connection: Connection, run_id: str, outcome: Outcome) -> bool:
    """Write what came of an item, unless that is known; whether it was not."""
    table = EVAL_ITEMS.c
    mine = (table.id == outcome.item_id, table.run_id == run_id, table.status == "pending")
    values = {
        "status": outcome.status,
        "results": outcome.results,
        "sample": outcome.sample,
        "created_at": now(),
    }
    return bool(connection.execute(update(EVAL_ITEMS).where(*mine).values(values)).rowcount)


def _counted(row: EvalRunRow, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The run's counts with those of the outcomes added."""
    counts = {name: getattr(row, name) for name in COUNTS.values()}
    criteria = {name: dict(found) for name, found in row.criteria.items()}
    usage = {name: dict(found) for name, found in row.usage.items()}
    for outcome in outcomes:
        counts[COUNTS[outcome.status]] += 1
        for result in outcome.results:
            found = criteria.setdefault(result["name"], {"passed": 0, "failed": 0})
            found["passed" if result["passed"] else "failed"] += 1
        for model, numbers in outcome.usage.items():
            found = usage.setdefault(model, {})
            for name, number in numbers.items():
                found[name] = found.get(name, 0) + number
    return {**counts, "criteria": criteria, "usage": usage}
