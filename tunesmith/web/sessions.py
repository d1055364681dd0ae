"""Who is logged in: a browser sends a random id in a cookie, which stands for an API key.

A session can do what its key can, and ends with it. Ids are kept as hashes only.
Knows: the cookie, log-in links, which open pages belong to which session.
Does not know: HTTP, what pages show.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.concurrency import run_in_threadpool

from tunesmith.server.door.auth import Auth, Caller
from tunesmith.store.keys import digest
from tunesmith.store.sessions import LONGEST_SECONDS
from tunesmith.store.store import Store

COOKIE = "tunesmith_session"
REMEMBER_SECONDS = 5.0
"""A session that has ended works at most this much longer."""
TOUCH_SECONDS = 60
"""No oftener is it noted that a session is in use."""
LINK_SECONDS = 3600
"""How long a log-in link works."""
MOST_KNOWN = 10_000


@dataclass(frozen=True, kw_only=True)
class Session:
    """A browser that is logged in."""

    id: str
    caller: Caller
    key_name: str


class Sessions:
    """The sessions of this server. Methods that ask the store may wait for it."""

    def __init__(self, store: Store, auth: Auth) -> None:
        self._store = store
        self._auth = auth
        self._known: dict[str, tuple[float, Session]] = {}
        """By the hash of the cookie: until when not to ask the store again."""
        self._links: dict[str, tuple[float, str]] = {}
        """By its hash: until when a log-in link works, and the key it stands for."""
        self._open: dict[str, set[Callable[[], None]]] = {}
        """By session, what closes each of its open pages."""

    async def log_in(self, key: str, address: str) -> str:
        """A new session for an API key; what the cookie is to hold.

        Raises: ApiError 401, 429.
        """
        caller = await self._auth.caller(f"Bearer {key.strip()}", address)
        return await run_in_threadpool(self._store.sessions.create, caller.id)

    def link(self, key: str) -> str:
        """A word with which one can log in once, instead of with the key."""
        word = secrets.token_urlsafe(24)
        self._links[digest(word)] = time.monotonic() + LINK_SECONDS, key
        return word

    def key_of_link(self, word: str) -> str | None:
        """The key that a log-in link stands for; the link works no more."""
        until, key = self._links.pop(digest(word), (0.0, ""))
        return key if until > time.monotonic() else None

    def known(self, cookie: str) -> Session | None:
        """The session, where the store needs not be asked."""
        until, session = self._known.get(digest(cookie), (0.0, None))
        return session if until > time.monotonic() else None

    def find(self, cookie: str) -> Session | None:
        """The session of a cookie, if it is not over. Raises: StorageError."""
        name = digest(cookie)
        self._known.pop(name, None)
        if (found := self._store.sessions.find(cookie)) is None:
            return None
        row, key = found
        if time.time() - row.used_at > TOUCH_SECONDS:
            self._store.sessions.use(row.id)
        caller = Caller(id=key.id, role=key.role, project=key.project_id)
        session = Session(id=row.id, caller=caller, key_name=key.name)
        self._known[name] = time.monotonic() + REMEMBER_SECONDS, session
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return session

    def log_out(self, cookie: str) -> None:
        """End the session of a cookie."""
        self._store.sessions.end(cookie)
        _, session = self._known.pop(digest(cookie), (0.0, None))
        if session is not None:
            self._close(session.id)

    # --- open pages ------------------------------------------------------------------------------

    def opened(self, session: Session, close: Callable[[], None]) -> Callable[[], None]:
        """Have `close` be called when the session ends; call the result when the page is gone."""
        pages = self._open.setdefault(session.id, set())
        pages.add(close)

        def gone() -> None:
            pages.discard(close)
            if not pages:
                self._open.pop(session.id, None)

        return gone

    def over(self) -> set[str]:
        """The sessions with open pages that are over. Raises: StorageError."""
        ids = list(self._open)
        alive = self._store.sessions.alive(ids) if ids else set()
        return set(ids) - alive

    def close(self, session_ids: set[str]) -> None:
        """Close the open pages of these sessions."""
        for session_id in session_ids:
            self._close(session_id)

    def _close(self, session_id: str) -> None:
        for close in list(self._open.get(session_id, ())):
            close()


def cookie_of(headers: list[tuple[bytes, bytes]]) -> str:
    """What the session's cookie holds; empty where there is none."""
    for name, value in headers:
        if name == b"cookie":
            try:
                jar = SimpleCookie(value.decode("latin-1"))
            except CookieError:
                continue
            if COOKIE in jar:
                return jar[COOKIE].value
    return ""


def set_cookie(value: str, *, secure: bool) -> bytes:
    """The Set-Cookie header for a session; an empty value takes it away."""
    age = LONGEST_SECONDS if value else 0
    parts = [f"{COOKIE}={value}", "Path=/", "HttpOnly", "SameSite=Strict", f"Max-Age={age}"]
    return "; ".join(parts + ["Secure"] * secure).encode()
