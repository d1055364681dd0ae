"""The table of files. Their contents are blobs of the same name."""

from __future__ import annotations

import time

from sqlalchemy import ColumnElement, delete, or_, select

from tunesmith.store.database import Database
from tunesmith.store.paging import Cursor, Page, add, find, page
from tunesmith.store.rows import FileRow
from tunesmith.store.tables import FILES


class Files:
    """Files; one past its `expires_at` is gone for everybody but `expired`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, row: FileRow) -> None:
        """Remember a file whose blob has been written."""
        with self._database.write() as connection:
            add(connection, FILES, [row])

    def get(self, file_id: str) -> FileRow | None:
        """The file, if there is one."""
        with self._database.read() as connection:
            return find(connection, FILES, FileRow, FILES.c.id == file_id, _alive())

    def page(self, cursor: Cursor, *, purpose: str | None = None) -> Page[FileRow]:
        """One page of the files, all or of one purpose."""
        where = [_alive()] if purpose is None else [_alive(), FILES.c.purpose == purpose]
        with self._database.read() as connection:
            return page(connection, FILES, FileRow, cursor, *where)

    def expired(self) -> list[FileRow]:
        """Files whose time is over, to be deleted."""
        with self._database.read() as connection:
            rows = connection.execute(select(FILES).where(~_alive())).mappings()
            return [FileRow(**row) for row in rows]

    def delete(self, file_id: str) -> bool:
        """Forget the file; False when there is none."""
        with self._database.write() as connection:
            return bool(connection.execute(delete(FILES).where(FILES.c.id == file_id)).rowcount)


def _alive() -> ColumnElement[bool]:
    return or_(FILES.c.expires_at.is_(None), FILES.c.expires_at > int(time.time()))
