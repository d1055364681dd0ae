"""The table of sessions: which browsers are logged in, and with which key.

A session lives as long as its key, and no longer than it is used.
Does not know: cookies.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection

from sqlalchemy import ColumnElement, delete, or_, select, update

from tunesmith.store.database import Database
from tunesmith.store.keys import digest
from tunesmith.store.paging import add, find
from tunesmith.store.rows import KeyRow, SessionRow, now
from tunesmith.store.tables import KEYS, SESSIONS

IDLE_SECONDS = 12 * 3600
"""A session that is not used for so long is over."""
LONGEST_SECONDS = 7 * 24 * 3600
"""So is every one that old."""


class Sessions:
    """The table of sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, key_id: str) -> str:
        """A new session of that key; what its browser has to send, which is kept nowhere."""
        token = secrets.token_urlsafe(32)
        row = SessionRow(key_id=key_id, sha256=digest(token))
        with self._database.write() as connection:
            connection.execute(delete(SESSIONS).where(~_is_young()))
            add(connection, SESSIONS, [row])
        return token

    def find(self, token: str) -> tuple[SessionRow, KeyRow] | None:
        """The session of that browser and its key, if neither is over."""
        with self._database.read() as connection:
            row = find(
                connection, SESSIONS, SessionRow, SESSIONS.c.sha256 == digest(token), _is_young()
            )
            if row is None:
                return None
            key = find(connection, KEYS, KeyRow, KEYS.c.id == row.key_id, *_is_valid())
            return None if key is None else (row, key)

    def use(self, session_id: str) -> None:
        """Note that the session is in use."""
        mine = SESSIONS.c.id == session_id
        with self._database.write() as connection:
            connection.execute(update(SESSIONS).where(mine).values(used_at=now()))

    def alive(self, session_ids: Collection[str]) -> set[str]:
        """Those of the sessions that are not over."""
        both = SESSIONS.join(KEYS, KEYS.c.id == SESSIONS.c.key_id)
        query = select(SESSIONS.c.id).select_from(both)
        query = query.where(SESSIONS.c.id.in_(session_ids), _is_young(), *_is_valid())
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def end(self, token: str) -> None:
        """Log that browser out."""
        with self._database.write() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.sha256 == digest(token)))


def _is_young() -> ColumnElement[bool]:
    used = SESSIONS.c.used_at > now() - IDLE_SECONDS
    return used & (SESSIONS.c.created_at > now() - LONGEST_SECONDS)


def _is_valid() -> list[ColumnElement[bool]]:
    lives = or_(KEYS.c.expires_at.is_(None), KEYS.c.expires_at > now())
    return [KEYS.c.revoked_at.is_(None), lives]
