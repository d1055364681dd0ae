"""The tables of labelling tasks and their rows: made, filled, described, removed.

A task's row is locked by whoever changes anything of the task, so that its counts stay true.
Does not know: where the rows come from, who labels them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, select, update

from tunesmith.errors import NotFound, StateError
from tunesmith.store.database import Database
from tunesmith.store.labelling_rows import LabellingRow, LabellingTaskRow
from tunesmith.store.paging import Cursor, Page, add, find, own, owned, page
from tunesmith.store.tables import (
    LABELLING_ANSWERS,
    LABELLING_HANDOUTS,
    LABELLING_ROWS,
    LABELLING_TASKS,
)

STATES = ("draft", "importing", "ready")
ROWS_AT_ONCE = 2000
"""Rows that are removed in one transaction, so that nobody waits long."""
IN_WORDS = {
    "draft": "has not begun",
    "importing": "is still reading its table",
    "ready": "has begun",
}


class Labelling:
    """Labelling tasks, of one project or all."""

    def __init__(self, database: Database, project: str | None = None) -> None:
        self._database = database
        self._project = project

    def create(self, row: LabellingTaskRow) -> LabellingTaskRow:
        """Add a task."""
        row = owned(row, self._project)
        with self._database.write() as connection:
            add(connection, LABELLING_TASKS, [row])
        return row

    def get(self, task_id: str) -> LabellingTaskRow | None:
        """The task, if there is one."""
        with self._database.read() as connection:
            return found_task(connection, task_id, self._project)

    def page(self, cursor: Cursor) -> Page[LabellingTaskRow]:
        """One page of the tasks."""
        where = [LABELLING_TASKS.c.state.in_(STATES), *own(LABELLING_TASKS, self._project)]
        with self._database.read() as connection:
            return page(connection, LABELLING_TASKS, LabellingTaskRow, cursor, *where)

    def change(
        self,
        task_id: str,
        *,
        to: str | None = None,
        only: Collection[str] = STATES,
        values: Mapping[str, Any] | None = None,
    ) -> LabellingTaskRow:
        """Bring the task into another state, if it is in one of `only`, and set fields of its row.

        Raises: NotFound; StateError when it is in another state.
        """
        with self._database.write() as connection:
            row = locked_task(connection, task_id, self._project)
            if row.state not in only:
                raise StateError(f"The task {IN_WORDS[row.state]}, so this cannot be done now.")
            changes = {**(values or {}), **({"state": to} if to else {})}
            if changes:
                mine = LABELLING_TASKS.c.id == task_id
                connection.execute(update(LABELLING_TASKS).where(mine).values(**changes))
            changed = found_task(connection, task_id, self._project)
            assert changed is not None
            return changed

    # --- rows coming in and going out ------------------------------------------------------------

    def add_rows(self, task_id: str, rows: Collection[LabellingRow]) -> None:
        """Add rows to a task that is importing. Raises: NotFound; StateError."""
        with self._database.write() as connection:
            task = locked_task(connection, task_id, self._project)
            if task.state != "importing":
                raise StateError(f"The task {IN_WORDS[task.state]}, and takes no rows now.")
            add(connection, LABELLING_ROWS, list(rows))
            more = {"num_rows": LABELLING_TASKS.c.num_rows + len(rows)}
            mine = LABELLING_TASKS.c.id == task_id
            connection.execute(update(LABELLING_TASKS).where(mine).values(more))

    def remove_rows(self, task_id: str) -> None:
        """Remove what a task that has not begun has of rows, some at a time."""
        zero = {"num_rows": 0, "num_empty": 0, "total": 0}
        self.change(task_id, only=("draft", "importing"), values=zero)
        self._remove(task_id)

    def delete(self, task_id: str) -> bool:
        """Have the task be gone; False when there is none. `purge` removes what it has of rows."""
        with self._database.write() as connection:
            try:
                locked_task(connection, task_id, self._project)
            except NotFound:
                return False
            gone = {"state": "deleted", "process": None}
            mine = LABELLING_TASKS.c.id == task_id
            connection.execute(update(LABELLING_TASKS).where(mine).values(gone))
        return True

    def purge(self) -> int:
        """Remove deleted tasks, some rows at a time; how many. Two at once do no harm."""
        where = [LABELLING_TASKS.c.state == "deleted", *own(LABELLING_TASKS, self._project)]
        with self._database.read() as connection:
            query = select(LABELLING_TASKS.c.id).where(*where)
            task_ids: Iterable[str] = list(connection.execute(query).scalars())
        removed = 0
        for task_id in task_ids:
            self._remove(task_id)
            with self._database.write() as connection:
                mine = LABELLING_TASKS.c.id == task_id
                removed += connection.execute(delete(LABELLING_TASKS).where(mine)).rowcount
        return removed

    def _remove(self, task_id: str) -> None:
        for table in (LABELLING_HANDOUTS, LABELLING_ANSWERS, LABELLING_ROWS):
            some = select(table.c.seq).where(table.c.task_id == task_id).limit(ROWS_AT_ONCE)
            some = some.with_for_update(of=table, skip_locked=True)
            while True:
                with self._database.write() as connection:
                    count = connection.execute(delete(table).where(table.c.seq.in_(some))).rowcount
                if not count:
                    break


def found_task(
    connection: Connection, task_id: str, project: str | None
) -> LabellingTaskRow | None:
    """The task, if there is one in the project."""
    return find(connection, LABELLING_TASKS, LabellingTaskRow, *_mine(task_id, project))


def require_task(connection: Connection, task_id: str, project: str | None) -> LabellingTaskRow:
    """The task. Raises: NotFound."""
    task = found_task(connection, task_id, project)
    if task is None:
        raise NotFound("There is no such labelling task.")
    return task


def locked_task(connection: Connection, task_id: str, project: str | None) -> LabellingTaskRow:
    """The task, for this transaction alone. Raises: NotFound."""
    query = select(LABELLING_TASKS).where(*_mine(task_id, project)).with_for_update()
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound("There is no such labelling task.")
    return LabellingTaskRow(**row)


def count_up(connection: Connection, task_id: str, differences: Mapping[str, int]) -> None:
    """Change counts of a task that is locked."""
    values = {name: LABELLING_TASKS.c[name] + n for name, n in differences.items() if n}
    if values:
        mine = LABELLING_TASKS.c.id == task_id
        connection.execute(update(LABELLING_TASKS).where(mine).values(values))


def _mine(task_id: str, project: str | None) -> list[ColumnElement[bool]]:
    there = [LABELLING_TASKS.c.id == task_id, LABELLING_TASKS.c.state.in_(STATES)]
    return [*there, *own(LABELLING_TASKS, project)]
