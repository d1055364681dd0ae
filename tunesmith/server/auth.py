"""Who is asking: API keys from the Authorization header, remembered for a few seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fastapi.concurrency import run_in_threadpool

from tunesmith.server.errors import ApiError
from tunesmith.store.keys import Keys, digest, masked

REMEMBER_SECONDS = 5.0
"""A revoked key works at most this much longer."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The owner of a key."""

    id: str
    role: str


class Auth:
    """Checks keys. `own_key` is one more that is valid, for as long as this process lives."""

    def __init__(self, keys: Keys, *, own_key: str | None = None) -> None:
        self._keys = keys
        self._own = digest(own_key) if own_key else None
        self._known: dict[str, tuple[float, Caller]] = {}

    async def caller(self, header: str | None) -> Caller:
        """The caller with this Authorization header.

        Raises: ApiError 401, in OpenAI's words.
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
        if name == self._own:
            return Caller(id="own", role="admin")
        known = self._known.get(name)
        if known and known[0] > time.monotonic():
            return known[1]
        row = await run_in_threadpool(self._keys.find, key)
        if row is None:
            raise ApiError(
                401,
                f"Incorrect API key provided: {masked(key)}. Make one with "
                "`tunesmith keys create NAME`.",
                code="invalid_api_key",
            )
        caller = Caller(id=row.id, role=row.role)
        self._known[name] = (time.monotonic() + REMEMBER_SECONDS, caller)
        return caller
