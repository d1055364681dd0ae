"""The table of evals.

Does not know: what a testing criterion is, how a run comes about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, select, tuple_, update

from tunesmith.store.database import Database, in_turn
from tunesmith.store.jobs import REPEAT_SECONDS
from tunesmith.store.paging import Cursor, Page, add, find, no_anchor, own, owned, page
from tunesmith.store.rows import EvalRow, now
from tunesmith.store.tables import EVAL_ITEMS, EVAL_RUNS, EVALS


class Evals:
    """Evals, of one project or all."""

    def __init__(self, database: Database, project: str | None = None) -> None:
        self._database = database
        self._project = project

    def create(self, row: EvalRow, *, repeated: bool) -> EvalRow:
        """Add the eval. When the client repeats a request of which an eval was made in the last
        two minutes, that eval instead."""
        row = owned(row, self._project)
        with self._database.write() as connection:
            in_turn(connection, EVALS)
            same = EVALS.c.request_hash == row.request_hash
            recent = EVALS.c.created_at >= row.created_at - REPEAT_SECONDS
            if repeated and (first := find(connection, EVALS, EvalRow, same, recent)):
                return first
            add(connection, EVALS, [row])
        return row

    def get(self, eval_id: str) -> EvalRow | None:
        """The eval, if there is one."""
        with self._database.read() as connection:
            return find(connection, EVALS, EvalRow, *self._mine(eval_id))

    def page(self, cursor: Cursor, *, by_update: bool = False) -> Page[EvalRow]:
        """One page of the evals, in the order in which they were made or last changed."""
        mine = own(EVALS, self._project)
        with self._database.read() as connection:
            if by_update:
                return _page_by_update(connection, cursor, mine)
            return page(connection, EVALS, EvalRow, cursor, *mine)

    def describe(self, eval_id: str, values: Mapping[str, Any]) -> EvalRow | None:
        """Give the eval another name or other metadata; its row afterwards, or None when there is
        none."""
        mine = self._mine(eval_id)
        with self._database.write() as connection:
            connection.execute(update(EVALS).where(*mine).values(**values, updated_at=now()))
            return find(connection, EVALS, EvalRow, *mine)

    def delete(self, eval_id: str) -> bool:
        """Forget the eval with all its runs; False when there is none."""
        with self._database.write() as connection:
            mine = select(EVALS.c.id).where(*self._mine(eval_id)).with_for_update()
            if connection.execute(mine).first() is None:
                return False
            runs = EVAL_RUNS.c.eval_id == eval_id
            connection.execute(select(EVAL_RUNS.c.id).where(runs).with_for_update())
            items = EVAL_ITEMS.c.run_id.in_(select(EVAL_RUNS.c.id).where(runs))
            connection.execute(delete(EVAL_ITEMS).where(items))
            connection.execute(delete(EVAL_RUNS).where(runs))
            connection.execute(delete(EVALS).where(EVALS.c.id == eval_id))
            return True

    def _mine(self, eval_id: str) -> list[ColumnElement[bool]]:
        return [EVALS.c.id == eval_id, *own(EVALS, self._project)]


def _page_by_update(
    connection: Connection, cursor: Cursor, mine: list[ColumnElement[bool]]
) -> Page[EvalRow]:
    """See `paging.page`. Raises: RequestError."""
    place = tuple_(EVALS.c.updated_at, EVALS.c.seq)
    columns = (EVALS.c.updated_at, EVALS.c.seq)
    order = [c.desc() if cursor.newest_first else c.asc() for c in columns]
    query = select(EVALS).where(*mine).order_by(*order)
    if cursor.after is not None:
        anchor = find(connection, EVALS, EvalRow, EVALS.c.id == cursor.after, *mine)
        if anchor is None:
            raise no_anchor(cursor.after)
        at = tuple_(anchor.updated_at, anchor.seq)
        query = query.where(place < at if cursor.newest_first else place > at)
    found = connection.execute(query.limit(cursor.limit + 1)).mappings()
    data = [EvalRow(**row) for row in found]
    return Page(data=data[: cursor.limit], has_more=len(data) > cursor.limit)
