"""Who is asking, and what they may do: API keys from the Authorization header.

A key belongs to a project and sees nothing of another one's. A `reader` looks and asks models, a
`member` does all else too, save deleting models and lending them, which an `admin` may.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from tunesmith.server.door.limits import Rate
from tunesmith.server.errors import ApiError
from tunesmith.store.keys import Keys, digest, masked, new_key
from tunesmith.store.rows import DEFAULT_PROJECT
from tunesmith.store.store import Store

REMEMBER_SECONDS = 5.0
"""A revoked key works at most this much longer."""
MOST_KNOWN = 10_000
"""Keys remembered."""
WRONG_PER_MINUTE = 60
"""Wrong keys that may come from one address; after that none but known ones are looked at."""
ASKING = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/fine_tuning/alpha/graders/run",
    "/v1/fine_tuning/alpha/graders/validate",
)
"""What a reader may POST to."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The owner of a key."""

    id: str
    role: str
    project: str


class Auth:
    """Checks keys. `own_key` is one more that is valid, for as long as this process lives."""

    def __init__(self, keys: Keys, *, own_key: str | None = None) -> None:
        self._keys = keys
        self._lent: dict[str, Caller] = {}
        """By their digests, keys that are valid in this process only and written nowhere."""
        if own_key:
            self._lent[digest(own_key)] = Caller(id="own", role="admin", project=DEFAULT_PROJECT)
        self._known: dict[str, tuple[float, Caller]] = {}
        """Until when not to ask the store again; those that were asked for last come last."""
        self._wrong = Rate(WRONG_PER_MINUTE)

    async def caller(self, header: str | None, address: str = "") -> Caller:
        """The caller at `address` with this Authorization header.

        Raises: ApiError 401, in OpenAI's words; 429 when the address has sent many wrong keys.
        """
        scheme, _, key = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise ApiError(
                401,
                "You didn't provide an API key. Send it in the header 'Authorization: Bearer KEY'; "
                "`tunesmith keys create NAME` makes one.",
            )
        key = key.strip()
        name = digest(key)
        if name in self._lent:
            return self._lent[name]
        known = self._known.get(name)
        if known and known[0] > time.monotonic():
            return known[1]
        if known is None and not self._wrong.look(address).is_allowed:
            raise ApiError(
                429,
                "Too many requests with wrong API keys came from your address. Wait a minute.",
                kind="requests",
                code="rate_limit_exceeded",
            )
        row = await run_in_threadpool(self._keys.find, key)
        self._known.pop(name, None)
        if row is None:
            self._wrong.take(address)
            raise ApiError(
                401,
                f"Incorrect API key provided: {masked(key)}. Make one with "
                "`tunesmith keys create NAME`.",
                code="invalid_api_key",
            )
        caller = Caller(id=row.id, role=row.role, project=row.project_id)
        self._known[name] = (time.monotonic() + REMEMBER_SECONDS, caller)
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return caller

    def lend(self, caller: Caller) -> str:
        """A key with which another process does what `caller` may, until it is taken back."""
        key = new_key()
        self._lent[digest(key)] = caller
        return key

    def take_back(self, key: str) -> None:
        """Have a key that was lent be valid no longer."""
        self._lent.pop(digest(key), None)


def check_role(caller: Caller, method: str, path: str) -> None:
    """Raises: ApiError 403 when the caller may not do this with anything."""
    if caller.role != "reader" or method in ("GET", "HEAD") or path in ASKING:
        return
    raise ApiError(
        403, "This key may look and ask models only. Use one made with --role member or admin."
    )


def check_admin(request: Request, what: str) -> None:
    """Raises: ApiError 403 unless the caller is an admin; `what` completes "not allowed to"."""
    if request.scope["caller"].role != "admin":
        raise ApiError(
            403,
            f"You have insufficient permissions to {what}: that takes an admin key "
            "(`tunesmith keys create NAME --role admin`).",
        )


def view(store: Store, request: Request) -> Store:
    """The store as the caller's project sees it."""
    return store.of(request.scope["caller"].project)
