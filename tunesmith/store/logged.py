"""What the server has stored of its answers, many rows at a time: what evals look at.

Does not know: what is done with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from sqlalchemy import Column, ColumnElement, Table, select

from tunesmith.store.database import Database
from tunesmith.store.paging import own
from tunesmith.store.rows import CompletionRow, ResponseRow
from tunesmith.store.tables import COMPLETIONS, RESPONSES

ROWS_AT_ONCE = 500
R = TypeVar("R", CompletionRow, ResponseRow)


class Logged:
    """Stored answers of one project or all, as they are at one moment, the newest first.

    `since` and `until` are unix seconds, both included.
    """

    def __init__(self, database: Database, project: str | None = None) -> None:
        self._database = database
        self._project = project

    def completions(
        self,
        *,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> Iterator[CompletionRow]:
        """Completions by that model or any, whose metadata hold all of `metadata`."""
        where = _between(COMPLETIONS.c.created, since, until)
        where += self._database.holds(COMPLETIONS.c.metadata, metadata or {})
        if model is not None:
            where.append(COMPLETIONS.c.model == model)
        yield from self._rows(COMPLETIONS, CompletionRow, where)

    def responses(
        self, *, since: int | None = None, until: int | None = None
    ) -> Iterator[ResponseRow]:
        """Responses, whatever is in them."""
        where = _between(RESPONSES.c.created_at, since, until)
        yield from self._rows(RESPONSES, ResponseRow, where)

    def _rows(self, table: Table, kind: type[R], where: list[ColumnElement[bool]]) -> Iterator[R]:
        query = select(table).where(*where, *own(table, self._project)).order_by(table.c.seq.desc())
        with self._database.read() as connection:
            found = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(query)
            for row in found.mappings():
                yield kind(**row)


def _between(
    column: Column[int], since: int | None, until: int | None
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if since is not None:
        conditions.append(column >= since)
    if until is not None:
        conditions.append(column <= until)
    return conditions
