"""/login and /logout: from an API key to a session and back.

Knows: the form, the cookie. Does not know: what a session can do.
"""

from __future__ import annotations

import logging
from urllib.parse import parse_qs, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tunesmith.server.errors import ApiError
from tunesmith.web import plain
from tunesmith.web.sessions import Sessions, cookie_of, set_cookie

logger = logging.getLogger(__name__)

MAX_BYTES = 8192
"""Of the form."""
WRONG_LINK = "This log-in link has been used or is too old. Log in with the API key."


def routes(sessions: Sessions) -> list[Route]:
    """The routes."""

    async def show(request: Request) -> Response:
        return plain.log_in(_local(request.query_params.get("next", "/")))

    async def check(request: Request) -> Response:
        """Whether the browser is logged in: a link from elsewhere comes without its cookie."""
        cookie = cookie_of(request.scope["headers"])
        session = await run_in_threadpool(sessions.find, cookie) if cookie else None
        return Response(status_code=204 if session else 401)

    async def log_in(request: Request) -> Response:
        form = await _form(request)
        back, key = _local(form.get("next", "/")), form.get("key", "")
        if word := form.get("once"):
            key = sessions.key_of_link(word) or ""
            if not key:
                return plain.log_in(back, wrong=WRONG_LINK, status=401)
        address = request.client.host if request.client else ""
        try:
            cookie = await sessions.log_in(key, address)
        except ApiError as error:
            wrong = str(error) if key.strip() else "Give an API key."
            return plain.log_in(back, wrong=wrong, status=error.status)
        if old := cookie_of(request.scope["headers"]):
            await run_in_threadpool(sessions.log_out, old)
        logger.info("logged in from %s", address)
        return _go(back, cookie, request)

    async def log_out(request: Request) -> Response:
        if cookie := cookie_of(request.scope["headers"]):
            await run_in_threadpool(sessions.log_out, cookie)
        return _go("/login", "", request)

    return [
        Route("/login", show, methods=["GET"]),
        Route("/login", log_in, methods=["POST"]),
        Route("/login/check", check, methods=["GET"]),
        Route("/logout", log_out, methods=["POST"]),
    ]


def _go(to: str, cookie: str, request: Request) -> Response:
    """Send the browser on, with the cookie; over https only where it came by that."""
    secure = request.headers.get("origin", "").startswith("https:")
    response = RedirectResponse(to, 303, headers={"cache-control": "no-store"})
    response.raw_headers.append((b"set-cookie", set_cookie(cookie, secure=secure)))
    return response


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BYTES:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"))
    return {name: values[0] for name, values in fields.items()}


def _local(address: str) -> str:
    """The address, if it is one of ours; else the start."""
    parts = urlsplit(address)
    is_ours = address.startswith("/") and not (parts.netloc or parts.scheme)
    return address if is_ours and "\\" not in address and not address.startswith("//") else "/"
