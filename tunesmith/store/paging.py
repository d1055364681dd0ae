"""Rows in and out of tables, and lists page by page behind a cursor.

The cursor is the id of the last row seen, not an offset, so rows that arrive meanwhile neither
shift a page nor show twice. Nor is one missed by whoever comes back for what follows the last row
seen: rows can be seen in the order of their `seq`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, insert, select

from tunesmith.errors import RequestError
from tunesmith.store.database import in_turn
from tunesmith.store.tables import BATCHES, COMPLETIONS, EVALS, FILES, JOBS

LISTED = frozenset({FILES, JOBS, BATCHES, COMPLETIONS, EVALS})
"""Tables whose rows anybody adds and lists. To the other lists rows are added by those who have
locked what the list belongs to: a job, an upload, a model, an eval."""

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Page(Generic[R]):
    """One page of rows; `has_more`: another one follows."""

    data: list[R]
    has_more: bool


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """At most `limit` rows behind the row with id `after`."""

    limit: int
    after: str | None = None
    newest_first: bool = True


def no_anchor(after: str) -> RequestError:
    """The cursor points to nothing in the list."""
    return RequestError(
        f"There is no {after!r} in this list.",
        fix="Give the id of the last element of the page before.",
        param="after",
    )


def own(table: Table, project: str | None) -> list[ColumnElement[bool]]:
    """The condition that a row is this project's; none for those who see all projects."""
    return [] if project is None else [table.c.project_id == project]


def owned(row: R, project: str | None) -> R:
    """The row as this project's own; as it is for those who see all projects."""
    return row if project is None else replace(row, project_id=project)  # type: ignore[type-var]


def add(connection: Connection, table: Table, rows: Sequence[Any]) -> None:
    """Insert row objects, in this order."""
    if rows and table in LISTED:
        in_turn(connection, table)
    if rows:
        values = [{k: v for k, v in vars(row).items() if k != "seq"} for row in rows]
        connection.execute(insert(table), values)


def find(
    connection: Connection, table: Table, kind: type[R], *where: ColumnElement[bool]
) -> R | None:
    """The newest row for which all of `where` holds."""
    query = select(table).where(*where).order_by(table.c.seq.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return None if row is None else kind(**row)


def page(
    connection: Connection,
    table: Table,
    kind: type[R],
    cursor: Cursor,
    *where: ColumnElement[bool],
) -> Page[R]:
    """The rows for which all of `where` holds, one page of them.

    Raises: RequestError when `cursor.after` is not the id of such a row.
    """
    order = table.c.seq.desc() if cursor.newest_first else table.c.seq.asc()
    query = select(table).where(*where).order_by(order)
    if cursor.after is not None:
        anchor = select(table.c.seq).where(table.c.id == cursor.after, *where)
        seq = connection.execute(anchor).scalar()
        if seq is None:
            raise no_anchor(cursor.after)
        query = query.where(table.c.seq < seq if cursor.newest_first else table.c.seq > seq)
    found = connection.execute(query.limit(cursor.limit + 1)).mappings()
    data = [kind(**row) for row in found]
    return Page(data=data[: cursor.limit], has_more=len(data) > cursor.limit)
