"""Requests that the server makes of itself for whoever had it do so: those of batches and evals.

They go through the whole application, so they are answered, refused and measured as if they had
come over HTTP. Does not know: what is asked.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic_core import from_json
from starlette.types import ASGIApp, Message, Scope

from tunesmith.server.door.auth import Caller


async def ask(app: ASGIApp, caller: Caller, path: str, body: bytes) -> dict[str, Any]:
    """What the application answers to a POST of that JSON: status_code, request_id and body."""
    request: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    start: Message = {}
    reply = bytearray()

    async def receive() -> Message:
        if not request:
            await asyncio.Future()  # nobody hangs up
        return request.pop()

    async def send(message: Message) -> None:
        start.update(message if message["type"] == "http.response.start" else {})
        reply.extend(message.get("body", b""))

    await app(_scope(caller, path, len(body)), receive, send)
    request_id = dict(start["headers"]).get(b"x-request-id", b"").decode()
    content = from_json(bytes(reply))
    return {"status_code": start["status"], "request_id": request_id, "body": content}


def _scope(caller: Caller, path: str, length: int) -> Scope:
    """An HTTP request as the application sees it behind the door: who asks is known."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % length)]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": None,
        "server": None,
        "caller": caller,
    }
