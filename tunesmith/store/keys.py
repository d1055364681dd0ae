"""API keys: made, shown once, found by their hash, revoked."""

from __future__ import annotations

import hashlib
import secrets
from typing import Literal

from sqlalchemy import ColumnElement, func, or_, select, update

from tunesmith.errors import NotFound, nearest
from tunesmith.store.database import Database
from tunesmith.store.paging import Cursor, Page, add, find, page
from tunesmith.store.rows import DEFAULT_PROJECT, KeyRow, now
from tunesmith.store.tables import KEYS

Role = Literal["admin", "member", "reader"]


def new_key() -> str:
    """A fresh key, as a client sends it."""
    return "sk-" + secrets.token_urlsafe(32)


def masked(key: str) -> str:
    """As much of a key as may be shown."""
    return f"{key[:6]}…{key[-4:]}" if len(key) > 16 else "…"


def digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


class Keys:
    """The table of API keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str,
        *,
        role: Role = "member",
        project: str = DEFAULT_PROJECT,
        expires_at: int | None = None,
    ) -> tuple[str, KeyRow]:
        """A new key, which nobody can be shown again, and its row."""
        key = new_key()
        row = KeyRow(
            project_id=project,
            name=name,
            role=role,
            prefix=masked(key),
            sha256=digest(key),
            expires_at=expires_at,
        )
        with self._database.write() as connection:
            add(connection, KEYS, [row])
        return key, row

    def find(self, key: str) -> KeyRow | None:
        """The row of a key that is neither revoked nor expired."""
        with self._database.read() as connection:
            return find(connection, KEYS, KeyRow, KEYS.c.sha256 == digest(key), *_valid())

    def all(self) -> list[KeyRow]:
        """Every key, revoked ones included, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(KEYS).order_by(KEYS.c.seq)).mappings()
            return [KeyRow(**row) for row in rows]

    def page(self, project: str, cursor: Cursor, *, search: str = "") -> Page[KeyRow]:
        """One page of a project's keys whose names hold `search`, revoked ones included."""
        where = [KEYS.c.project_id == project]
        if search:
            where.append(KEYS.c.name.icontains(search, autoescape=True))
        with self._database.read() as connection:
            return page(connection, KEYS, KeyRow, cursor, *where)

    def of_project(self, key_id: str, project: str) -> KeyRow | None:
        """The key of that id, if it is one of the project."""
        with self._database.read() as connection:
            mine = KEYS.c.id == key_id, KEYS.c.project_id == project
            return find(connection, KEYS, KeyRow, *mine)

    def counts(self, project: str) -> dict[str, int]:
        """Role → keys of the project that are valid."""
        query = select(KEYS.c.role, func.count()).where(KEYS.c.project_id == project, *_valid())
        with self._database.read() as connection:
            return {role: n for role, n in connection.execute(query.group_by(KEYS.c.role))}

    def revoke(self, name: str) -> KeyRow:
        """Revoke the key of that name or id.

        Raises: NotFound with the nearest name.
        """
        with self._database.write() as connection:
            named = (KEYS.c.id == name) | (KEYS.c.name == name)
            row = find(connection, KEYS, KeyRow, named, KEYS.c.revoked_at.is_(None))
            if row is None:
                query = select(KEYS.c.name).where(KEYS.c.revoked_at.is_(None))
                known = connection.execute(query).scalars()
                raise NotFound(f"There is no key named {name!r}.", fix=nearest(name, known))
            connection.execute(update(KEYS).where(KEYS.c.id == row.id).values(revoked_at=now()))
        return row


def _valid() -> list[ColumnElement[bool]]:
    lives = or_(KEYS.c.expires_at.is_(None), KEYS.c.expires_at > now())
    return [KEYS.c.revoked_at.is_(None), lives]
