"""The server with pages: how gate, pages, sessions and runs are put together.

Knows: NiceGUI's start and stop. Does not know: what any of the parts does.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from nicegui import ui
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from tunesmith.errors import TunesmithError
from tunesmith.server.serve import Served
from tunesmith.web import archives, data_sets, downloads, drafts, login, pages, plain
from tunesmith.web.following import Following
from tunesmith.web.gate import Gate
from tunesmith.web.labelling import export as labelled
from tunesmith.web.labelling import tasks as labelling
from tunesmith.web.layout import PAGES
from tunesmith.web.many import work as many
from tunesmith.web.processes import Launcher
from tunesmith.web.results import downloads as results
from tunesmith.web.running import Runs
from tunesmith.web.sessions import Session, Sessions
from tunesmith.web.visit import Desk, Visit

logger = logging.getLogger(__name__)

ASSETS = Path(__file__).parent / "assets"
HEAD = """<link rel="icon" href="/assets/favicon.svg">
<script src="/assets/theme.js?{version}"></script>
<link rel="stylesheet" href="/assets/theme.css?{version}">
<script src="/assets/page.js?{version}" defer></script>
"""
LOOK_SECONDS = 5.0
"""How often to look for sessions that are over."""
RECONNECT_SECONDS = 20.0
"""How long a page is kept whose browser is gone, asleep or without a network."""


class Site:
    """The pages of one server. `extend` is what `serve` takes."""

    def __init__(self) -> None:
        self._sessions: Sessions | None = None

    def extend(self, served: Served) -> ASGIApp:
        """The application that answers pages too."""
        sessions = self._sessions = Sessions(served.store, served.auth)
        launcher = Launcher(served.settings, served.auth, served.base_url)
        runs = Runs(served.settings, served.store, launcher)
        desk = Desk(
            settings=served.settings,
            store=served.store,
            app=served.app,
            sessions=sessions,
            runs=runs,
            following=Following(served.store, runs),
        )

        def admit(session: Session) -> Visit:
            return Visit(session=session, desk=desk)

        mounted = _mounted(sessions)
        _with_lifespan(served.app, mounted, desk)
        return Gate(served.app, mounted, sessions, admit)

    def address(self, base_url: str, key: str = "") -> str:
        """Where the pages are; with a key, as a link that logs in, once."""
        start = base_url.removesuffix("/v1")
        if not key or self._sessions is None:
            return f"{start}/"
        return f"{start}/login#once={self._sessions.link(key)}"


def _mounted(sessions: Sessions) -> FastAPI:
    """All that is served beside the API."""
    site = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    files = [*downloads.routes(), *drafts.routes(), *results.routes()]
    files += [*labelling.routes(), *labelled.routes()]
    files += [*archives.routes(), *data_sets.routes(), *many.routes()]
    site.router.routes.extend([*login.routes(sessions), *files])
    site.router.routes.append(Route("/favicon.ico", _icon))
    site.mount("/assets", Assets(directory=ASSETS))
    for name in (*pages.ALL, "missing"):
        importlib.import_module(f"tunesmith.web.pages.{name}")
    ui.add_head_html(HEAD.format(version=plain.VERSION), shared=True)
    ui.run_with(
        site,
        title="Tunesmith",
        favicon=ASSETS / "favicon.svg",
        dark=None,
        language="en-US",
        binding_refresh_interval=None,
        reconnect_timeout=RECONNECT_SECONDS,
        tailwind=False,
        gzip_middleware_factory=None,
        show_welcome_message=False,
    )
    return site


async def _icon(_request: Request) -> FileResponse:
    """The icon, for browsers that ask without having seen where it is."""
    return FileResponse(ASSETS / "favicon.svg")


class Assets(StaticFiles):
    """Our scripts and styles; their addresses change when they do."""

    def file_response(self, *args: object, **kwargs: object):  # type: ignore[no-untyped-def]
        """See StaticFiles."""
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def _with_lifespan(api: FastAPI, mounted: FastAPI, desk: Desk) -> None:
    """Have the pages begin after the API and end before it."""
    of_api = api.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with of_api(app) as state, mounted.router.lifespan_context(mounted):
            looking = asyncio.create_task(_end_sessions(desk.sessions))
            desk.runs.begin()
            try:
                yield state
            finally:
                looking.cancel()
                desk.following.stop()
                await run_in_threadpool(desk.runs.end)

    api.router.lifespan_context = lifespan


async def _end_sessions(sessions: Sessions) -> None:
    """Close the open pages of sessions that are over."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            sessions.close(await run_in_threadpool(sessions.over))
        except TunesmithError as error:
            logger.warning("sessions could not be looked at: %s", error)


__all__ = ["PAGES", "Site"]
