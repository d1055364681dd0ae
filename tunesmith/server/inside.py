"""Requests that the server makes of itself for whoever had it do so: those of batches, evals
and pages.

They go through the whole application, so they are answered, refused and measured as if they had
come over HTTP. Does not know: what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import anyio
from pydantic_core import from_json
from starlette.types import ASGIApp, Message, Receive, Scope

from tunesmith.server.door.auth import Caller

WAITING = 64
"""Pieces of a reply that wait for whoever reads it, before more of it is made."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request. `path` is as people read it, not encoded."""

    path: str
    method: str = "POST"
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


async def ask(app: ASGIApp, caller: Caller, path: str, body: bytes) -> dict[str, Any]:
    """What the application answers to a POST of that JSON: status_code, request_id and body."""
    return await answer(app, caller, Asked(path=path, body=body))


async def answer(app: ASGIApp, caller: Caller, asked: Asked) -> dict[str, Any]:
    """What the application answers: status_code, request_id and body, which is JSON."""
    start: Message = {}
    reply = bytearray()

    async def send(message: Message) -> None:
        start.update(message if message["type"] == "http.response.start" else {})
        reply.extend(message.get("body", b""))

    await app(_scope(caller, asked), _body_of(asked), send)
    request_id = dict(start["headers"]).get(b"x-request-id", b"").decode()
    content = from_json(bytes(reply)) if reply else None
    return {"status_code": start["status"], "request_id": request_id, "body": content}


async def stream(app: ASGIApp, caller: Caller, asked: Asked) -> AsyncGenerator[Message | bytes]:
    """The start of the reply (`status`, `headers`), then its body as it is made, in pieces.

    Whoever closes the generator has hung up.
    """
    sender, pieces = anyio.create_memory_object_stream[Message | bytes](WAITING)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            await sender.send(message)
        elif message.get("body"):
            await sender.send(message["body"])

    async def serve() -> None:
        async with sender:
            await app(_scope(caller, asked), _body_of(asked), send)

    serving = asyncio.create_task(serve())
    try:
        async with pieces:
            async for piece in pieces:
                yield piece
        await serving
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


def _body_of(asked: Asked) -> Receive:
    request: list[Message] = [{"type": "http.request", "body": asked.body, "more_body": False}]

    async def receive() -> Message:
        if not request:
            await asyncio.Future()  # nobody hangs up, save by cancelling us
        return request.pop()

    return receive


def _scope(caller: Caller, asked: Asked) -> Scope:
    """An HTTP request as the application sees it behind the door: who asks is known."""
    length = b"%d" % len(asked.body)
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": asked.method,
        "scheme": "http",
        "path": asked.path,
        "raw_path": quote(asked.path).encode(),
        "root_path": "",
        "query_string": urlencode(asked.query).encode(),
        "headers": headers,
        "client": None,
        "server": None,
        "caller": caller,
    }
