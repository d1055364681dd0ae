"""The gate before the pages: what is the API's goes to the API; the rest takes a session.

It asks whose browser it is, refuses what another site sent, and says in headers what a page may do:
load nothing from elsewhere, run no script that is not ours, stand in nobody's frame.
Does not know: what pages show, what a session may do.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.errors import TunesmithError
from tunesmith.web.plain import problem
from tunesmith.web.sessions import TOUCH_SECONDS, Session, Sessions, cookie_of

logger = logging.getLogger(__name__)

API = ("/v1", "/metrics", "/health", "/ready", "/openapi.json", "/docs", "/redoc")
"""Where addresses of the API begin."""
STATIC = ("/_nicegui/", "/assets/")
OPEN = (*STATIC, "/login", "/favicon.ico")
"""What takes no session: scripts, styles and the log-in page, the same for everybody."""
CLIENTS = "/_nicegui/client/"
"""What is nevertheless somebody's."""
POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
"""NiceGUI evaluates what its socket brings; what stands in a page has to bear the nonce."""
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
}
SAFE = ("GET", "HEAD")
USED = '42["event"'
"""How what a person does on a page begins on the socket."""

Admit = Callable[[Session], object]
"""Makes of a session what pages find as `scope["visit"]`."""


class Gate:
    """The ASGI application of the whole server."""

    def __init__(self, api: ASGIApp, pages: ASGIApp, sessions: Sessions, admit: Admit) -> None:
        self._api = api
        self._pages = pages
        self._packed = GZipMiddleware(pages, minimum_size=1000, compresslevel=5)
        self._sessions = sessions
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or is_api(scope["path"]):
            await self._api(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._page(scope, receive, _with_headers(send))

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            refused = await self._admitted(scope)
        except TunesmithError as error:
            logger.warning("%s", error)
            refused = problem(503, "The pages cannot be shown now", str(error))
        pages = self._packed if scope["path"].startswith(STATIC) else self._pages
        await (refused or pages)(scope, receive, send)

    async def _admitted(self, scope: Scope) -> Response | None:
        """Note in the scope whose request it is; or the refusal."""
        path, method = scope["path"], scope["method"]
        if _is_foreign(scope, strict=method not in SAFE):
            return PlainTextResponse("This request comes from another site.", 403)
        if path.startswith(OPEN) and not path.startswith(CLIENTS):
            return None
        session = await self._session(scope)
        if session is not None:
            scope["visit"] = self._admit(session)
            return None
        if method == "GET":
            query = scope["query_string"].decode("latin-1")
            back = quote(f"{path}?{query}" if query else path, safe="")
            return RedirectResponse(f"/login?next={back}", 303)
        return PlainTextResponse("You are not logged in.", 401)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = None if _is_foreign(scope, strict=True) else await self._session(scope)
        if session is None:
            await receive()
            await send({"type": "websocket.close", "code": 4401})
            return
        cookie, noted = cookie_of(scope["headers"]), time.monotonic()

        async def noticed() -> Message:
            nonlocal noted
            message = await receive()
            is_used = (message.get("text") or "").startswith(USED)
            if is_used and time.monotonic() - noted > TOUCH_SECONDS:
                noted = time.monotonic()
                await run_in_threadpool(self._sessions.find, cookie)
            return message

        await self._pages(scope, noticed, send)

    async def _session(self, scope: Scope) -> Session | None:
        """Raises: StorageError."""
        if not (cookie := cookie_of(scope["headers"])):
            return None
        return self._sessions.known(cookie) or await run_in_threadpool(self._sessions.find, cookie)


def is_api(path: str) -> bool:
    """Whether the address is one of the API."""
    return any(path == begin or path.startswith(f"{begin}/") for begin in API)


def _is_foreign(scope: Scope, *, strict: bool) -> bool:
    """Whether another site had the browser send this; `strict`: or nobody says who did."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    origin = headers.get(b"origin", b"").decode("latin-1")
    if not origin:
        return strict
    return urlsplit(origin).netloc != headers.get(b"host", b"").decode("latin-1")


def _with_headers(send: Send) -> Send:
    """`send` for a page: with headers, and with a nonce on every script that stands in it."""
    nonce = secrets.token_urlsafe(16)
    held: list[Message] = []
    body = bytearray()

    async def headed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = _safe(message["headers"], nonce)
            if _is_html(message["headers"]):
                held.append(message)
                return
        elif held:
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                await _send_html(held.pop(), bytes(body), nonce, send)
            return
        await send(message)

    return headed


async def _send_html(start: Message, body: bytes, nonce: str, send: Send) -> None:
    body = body.replace(b"<script", b'<script nonce="%s"' % nonce.encode())
    headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
    start["headers"] = [*headers, (b"content-length", b"%d" % len(body))]
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _safe(headers: list[tuple[bytes, bytes]], nonce: str) -> list[tuple[bytes, bytes]]:
    """The headers with ours, where they do not say otherwise themselves."""
    said = {name.lower() for name, _ in headers}
    policy = POLICY.format(nonce=nonce).encode()
    ours = {b"content-security-policy": policy, **HEADERS}
    return [*headers, *((name, value) for name, value in ours.items() if name not in said)]


def _is_html(headers: list[tuple[bytes, bytes]]) -> bool:
    found = {name.lower(): value for name, value in headers}
    is_html = found.get(b"content-type", b"").startswith(b"text/html")
    return is_html and b"nonce-" in found.get(b"content-security-policy", b"")
