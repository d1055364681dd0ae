"""The API as the pages' clients: asked in process, for the caller who is logged in.

What the caller may not do, the API refuses; what is not the caller's, it does not find.
Does not know: what is asked.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp

from tunesmith.errors import TunesmithError
from tunesmith.server import inside
from tunesmith.server.door.auth import Caller

PREFIX = "/v1"


class Refused(TunesmithError):
    """The API said no; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Api:
    """`await api.get("/models")`: the body of the reply. Paths are those behind /v1.

    All methods raise: Refused, with the API's own sentence.
    """

    app: ASGIApp
    caller: Caller

    async def get(self, path: str, **query: str | int) -> Any:
        """The body of the reply to a GET."""
        return await self._answer("GET", path, query=query)

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The body of the reply to a POST of that JSON."""
        return await self._answer("POST", path, body=body)

    async def delete(self, path: str) -> Any:
        """The body of the reply to a DELETE."""
        return await self._answer("DELETE", path)

    async def list(self, path: str, *, limit: int = 100, **query: str | int) -> list[Any]:
        """Everything on all pages of a list."""
        found: list[Any] = []
        after: dict[str, str] = {}
        while True:
            page = await self.get(path, limit=limit, **query, **after)
            found += page["data"]
            if not page.get("has_more") or not page["data"]:
                return found
            after = {"after": page["data"][-1]["id"]}

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any]:
        """The events of a streamed reply to a POST of that JSON, as they come.

        Whoever closes the generator has hung up, and nothing more is written.
        """
        asked = inside.Asked(path=PREFIX + path, body=json.dumps(body).encode())
        async with aclosing(inside.stream(self.app, self.caller, asked)) as pieces:
            start = await anext(pieces)
            assert isinstance(start, dict)
            if start["status"] >= 400:
                reply = b"".join([piece async for piece in pieces if isinstance(piece, bytes)])
                raise _refused(start["status"], json.loads(reply))
            rest = b""
            async for piece in pieces:
                assert isinstance(piece, bytes)
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: ") and line != b"data: [DONE]":
                        yield _event(json.loads(line.removeprefix(b"data: ")))

    async def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        asked = inside.Asked(
            path=PREFIX + path,
            method=method,
            query={name: str(value) for name, value in (query or {}).items()},
            body=b"" if body is None else json.dumps(body).encode(),
        )
        reply = await inside.answer(self.app, self.caller, asked)
        if reply["status_code"] >= 400:
            raise _refused(reply["status_code"], reply["body"])
        return reply["body"]


def _event(event: Any) -> Any:
    """Raises: Refused for an error in the middle of a stream."""
    if isinstance(event, dict) and "error" in event and "object" not in event:
        raise _refused(500, event)
    return event


def _refused(status: int, body: Any) -> Refused:
    try:
        return Refused(status, str(body["error"]["message"]))
    except (KeyError, TypeError):
        return Refused(status, f"The server answered with status {status}.")
