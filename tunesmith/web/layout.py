"""The frame of every page: header, navigation, main, and what is said when a page cannot be shown.

Knows: how a function becomes a page. Does not know: what any page shows.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from nicegui import Client, background_tasks, ui
from starlette.requests import Request

from tunesmith.errors import NotFound, TunesmithError
from tunesmith.web.controls import link, notice, tag, text
from tunesmith.web.visit import Visit

logger = logging.getLogger(__name__)

NAVIGATION = {
    "/": "Runs",
    "/new": "New run",
    "/models": "Models",
    "/data": "Data",
    "/playground": "Playground",
    "/labelling": "Labelling",
    "/jobs": "Jobs",
    "/keys": "Keys",
}
"""Address → its name in the header, once there is a page."""
HELP = "/docs/"
"""Where the server shows its documentation."""
PAGES: set[str] = set()
"""Addresses that have a page."""
ROLES = {"admin": "may do everything", "member": "may do work", "reader": "may look"}
WENT_WRONG = "Something went wrong on our side. The server's log says more."

Build = Callable[..., Awaitable[None]]


def page(path: str, title: str) -> Callable[[Build], Build]:
    """Decorator: `build(visit, …)` fills the page at `path`; see the package's docstring.

    An empty title leaves the heading to the page.
    """

    def decorate(build: Build) -> Build:
        PAGES.add(path)

        @wraps(build)
        async def shown(request: Request, **given: Any) -> None:
            visit = request.scope["visit"]
            assert isinstance(visit, Visit)
            client = ui.context.client
            _end_with_session(client, visit)
            _header(visit, path)
            with tag("div", kind="page") as main:
                main.set(id="main", tabindex=-1)
                if title:
                    tag("h1", title)
                await _built(build(visit, **given), client, has_heading=bool(title))

        own = list(inspect.signature(build).parameters.values())[1:]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        request = inspect.Parameter("request", kind, annotation=Request)
        signature = inspect.Signature([request, *own])
        shown.__signature__ = signature  # type: ignore[attr-defined]
        ui.page(path, title=f"{title or 'Run'} · Tunesmith", response_timeout=20)(shown)
        return build

    return decorate


def retitle(title: str) -> None:
    """Give the page of this moment another title in the browser."""
    ui.page_title(f"{title} · Tunesmith")


async def _built(building: Awaitable[None], client: Client, *, has_heading: bool) -> None:
    """The page, or what there is to say instead."""
    try:
        await building
    except TunesmithError as error:
        is_missing = isinstance(error, NotFound) or getattr(error, "status", 0) == 404
        client.status_code = 404 if is_missing else 400
        if not has_heading:
            name = "Not here" if is_missing else "This cannot be shown"
            retitle(name)
            tag("h1", name)
        text(str(error))
        link("To your runs", "/")
    except Exception:  # the page's door: no page ends in a traceback
        logger.exception("a page could not be shown")
        client.status_code = 500
        notice(WENT_WRONG, "bad", title="This page cannot be shown")


def _header(visit: Visit, path: str) -> None:
    layout = ui.context.client.layout
    with layout:
        with tag("header", kind="site") as header:
            tag("a", "Skip to the content", kind="skip", href="#main")
            with tag("a", kind="brand", href="/", aria_label="Tunesmith, your runs"):
                tag("span", kind="mark", aria_hidden="true")
                tag("span", "Tunesmith")
            tag(
                "button", "Menu", kind="button menu", type="button", aria_expanded="false",
                aria_controls="site-menu",
            )  # fmt: skip
            with tag("div", kind="menu-body", id="site-menu"):
                with tag("nav", aria_label="Pages"), tag("ul"):
                    for to, name in NAVIGATION.items():
                        if to in PAGES:
                            here = "page" if _is_here(to, path) else None
                            with tag("li"):
                                tag("a", name, href=to, aria_current=here)
                _account(visit)
        header.move(layout, 0)


def _account(visit: Visit) -> None:
    with tag("div", kind="account"):
        link("Help", HELP, "button quiet")
        tag(
            "button", "Dark", kind="button quiet theme", type="button",
            aria_label="Dark colours", aria_pressed="false",
        )  # fmt: skip
        role = ROLES.get(visit.caller.role, visit.caller.role)
        tag("span", visit.session.key_name, kind="who", title=f"Logged in; this key {role}")
        with tag("form", method="post", action="/logout"):
            tag("button", "Log out", kind="button quiet", type="submit")


def _is_here(to: str, path: str) -> bool:
    """Whether the page at `path` belongs to the entry `to` of the navigation."""
    if to == "/":
        return path == "/" or path.startswith("/runs/")
    return path == to or path.startswith(f"{to}/")


def _end_with_session(client: Client, visit: Visit) -> None:
    """When the session ends, the page goes to the log-in page and can do nothing any more."""

    async def leave() -> None:
        client.run_javascript("location.replace('/login')")
        await asyncio.sleep(0.5)
        if not client.is_deleted:
            client.delete()

    def close() -> None:
        background_tasks.create(leave())

    client.on_delete(visit.desk.sessions.opened(visit.session, close))
