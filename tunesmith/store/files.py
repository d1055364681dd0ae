"""The table of files. Their contents are blobs of the same name."""

from __future__ import annotations

import time

from sqlalchemy import ColumnElement, delete, func, or_, select

from tunesmith.store.database import Database
from tunesmith.store.paging import Cursor, Page, add, find, own, owned, page
from tunesmith.store.rows import FileRow
from tunesmith.store.tables import FILES


class Files:
    """Files, of one project or all; one past its `expires_at` is gone for all but `expired`."""

    def __init__(self, database: Database, project: str | None = None) -> None:
        self._database = database
        self._project = project

    def add(self, row: FileRow) -> FileRow:
        """Remember a file whose blob has been written."""
        row = owned(row, self._project)
        with self._database.write() as connection:
            add(connection, FILES, [row])
        return row

    def get(self, file_id: str) -> FileRow | None:
        """The file, if there is one."""
        with self._database.read() as connection:
            return find(connection, FILES, FileRow, FILES.c.id == file_id, *self._there())

    def page(
        self, cursor: Cursor, *, purpose: str | None = None, search: str = ""
    ) -> Page[FileRow]:
        """One page of the files, all or of one purpose, whose name or id holds `search`."""
        with self._database.read() as connection:
            return page(connection, FILES, FileRow, cursor, *self._matching(purpose, search))

    def totals(self) -> dict[str, tuple[int, int]]:
        """Purpose → how many files there are, and their bytes."""
        numbers = func.count(), func.sum(FILES.c.bytes)
        query = select(FILES.c.purpose, *numbers).where(*self._there()).group_by(FILES.c.purpose)
        with self._database.read() as connection:
            return {name: (n, int(size)) for name, n, size in connection.execute(query)}

    def expired(self) -> list[FileRow]:
        """Files whose time is over, to be deleted."""
        with self._database.read() as connection:
            rows = connection.execute(select(FILES).where(~_alive())).mappings()
            return [FileRow(**row) for row in rows]

    def delete(self, file_id: str) -> bool:
        """Forget the file; False when there is none."""
        with self._database.write() as connection:
            mine = delete(FILES).where(FILES.c.id == file_id, *own(FILES, self._project))
            return bool(connection.execute(mine).rowcount)

    def _matching(self, purpose: str | None, search: str) -> list[ColumnElement[bool]]:
        where = self._there()
        if purpose is not None:
            where.append(FILES.c.purpose == purpose)
        if search:
            columns = (FILES.c.filename, FILES.c.id)
            where.append(or_(*(c.icontains(search, autoescape=True) for c in columns)))
        return where

    def _there(self) -> list[ColumnElement[bool]]:
        return [_alive(), *own(FILES, self._project)]


def _alive() -> ColumnElement[bool]:
    return or_(FILES.c.expires_at.is_(None), FILES.c.expires_at > int(time.time()))
