"""The door every request passes: it gives the request an id, asks who it is from and whether it is
too much, and turns whatever goes wrong into OpenAI's error envelope.

Does not know: what is asked for.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.server.door.auth import Auth, check_role
from tunesmith.server.door.limits import Rate
from tunesmith.server.door.logs import REQUEST_ID
from tunesmith.server.errors import ApiError, error_response
from tunesmith.server.metrics import Metrics
from tunesmith.settings import Settings

logger = logging.getLogger(__name__)

PREFIX = "/v1"
KEYED = (PREFIX, "/metrics")
"""What takes a key."""
UPLOADS = re.compile(r"/v1/files|/v1/uploads/[^/]+/parts")
"""What has a limit of its own for the bodies that are POSTed there."""
MAX_HEAD_BYTES = 64 * 1024


class Door:
    """The outermost ASGI application. POSTs to the paths of `direct` go past the router: questions
    to a model are many."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        auth: Auth,
        metrics: Metrics,
        direct: Mapping[str, ASGIApp],
    ) -> None:
        self._app = app
        self._settings = settings
        self._auth = auth
        self._metrics = metrics
        self._direct = direct
        self._rate = Rate(settings.requests_per_minute)
        self._headers = [
            (b"openai-organization", settings.organization.encode()),
            (b"openai-version", b"2020-10-01"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, request_id = time.perf_counter(), f"req_{secrets.token_hex(16)}"
        REQUEST_ID.set(request_id)
        status = 0
        headers = [*self._headers, (b"x-request-id", request_id.encode())]
        direct = self._direct.get(scope["path"]) if scope["method"] == "POST" else None

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                spent = int((time.perf_counter() - started) * 1000)
                if status >= 400 or (scope["method"] != "GET" and direct is None):
                    # Before it is sent, so that who has the reply finds it in the log.
                    _log(scope, status, spent)
                own = (b"openai-processing-ms", str(spent).encode())
                message["headers"] = [*message["headers"], *headers, own]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            room = await self._admit(scope, headers)
            body = receive if room is None else _bounded(receive, room)
            await (direct or self._app)(scope, body, reply)
        except Exception as error:  # the other door: no request ends without an envelope
            response = error_response(error)
            if response.status_code >= 500:
                logger.exception("%s %s %s", scope["method"], scope["path"], request_id)
            if status:
                raise  # too late: the reply has begun
            await response(scope, receive, reply)
        finally:
            self._metrics.in_flight.dec()
            route = scope["path"] if direct else _route(scope)
            self._metrics.served(scope, route, status, time.perf_counter() - started)

    async def _admit(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> int | None:
        """Let the request in: note its caller in the scope, and in `headers` what the caller is to
        be told. The bytes its body may have, or None when that is settled.

        Raises: ApiError.
        """
        size, key, length = 0, b"", None
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name == b"authorization":
                key = value
            elif name == b"content-length":
                length = value
        if size > MAX_HEAD_BYTES:
            raise ApiError(431, f"The request's headers are larger than {MAX_HEAD_BYTES:,} bytes.")
        method, path = scope["method"], scope["path"]
        if "caller" in scope:  # brought by a request from inside: a batch's, or a page's
            check_role(scope["caller"], method, path)
        elif path.startswith(KEYED):
            address = (scope["client"] or ("",))[0]
            caller = await self._auth.caller(key.decode("latin-1"), address)
            scope["caller"] = caller
            headers.append((b"openai-project", caller.project.encode()))
            if self._rate.per_minute:
                standing = self._rate.take(caller.id)
                headers += self._rate.headers(standing)
                if not standing.is_allowed:
                    raise _too_many(self._rate.per_minute)
            check_role(caller, method, path)
        if method == "POST" and UPLOADS.fullmatch(path):
            return None
        room = self._settings.max_body_bytes
        if length is None:
            return room
        if int(length) > room:
            raise _too_large(room)
        return None  # the body is as long as it said


def _bounded(receive: Receive, room: int) -> Receive:
    """`receive` for a body of at most `room` bytes, which has not said how long it is."""
    left = room

    async def bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise _too_large(room)
        return message

    return bounded


def _route(scope: Scope) -> str:
    """The template of the route that served the request, such as /v1/files/{file_id}."""
    template = getattr(scope.get("route"), "path_format", None)
    if template is None:
        return "none"
    inside = scope["path"].startswith(PREFIX) and not template.startswith(PREFIX)
    return f"{PREFIX}{template}" if inside else str(template)


def _log(scope: Scope, status: int, spent: int) -> None:
    method, path, caller = scope["method"], scope["path"], scope.get("caller")
    told = {"method": method, "path": path, "status": status, "ms": spent}
    if caller is not None:
        told |= {"key": caller.id, "project": caller.project}
    logger.info("%s %s %d", method, path, status, extra=told)


def _too_large(room: int) -> ApiError:
    return ApiError(
        413,
        f"The request is larger than {room:,} bytes, the most this server takes outside of files. "
        "Make it smaller, or start the server with a larger TUNESMITH_MAX_BODY_BYTES.",
    )


def _too_many(per_minute: int) -> ApiError:
    return ApiError(
        429,
        f"Rate limit reached: this key may make {per_minute:,} requests a minute. Wait as long as "
        "the header retry-after says.",
        kind="requests",
        code="rate_limit_exceeded",
    )
