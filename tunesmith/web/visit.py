"""Who looks at a page, and what that person's page works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from tunesmith.errors import NotFound
from tunesmith.server.door.auth import Caller, check_role
from tunesmith.settings import Settings
from tunesmith.store.rows import RunRow
from tunesmith.store.store import Store
from tunesmith.web.api import Api
from tunesmith.web.following import Following
from tunesmith.web.running import Runs
from tunesmith.web.sessions import Session, Sessions

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What all visits share."""

    settings: Settings
    store: Store
    app: ASGIApp
    """The API."""
    sessions: Sessions
    runs: Runs
    following: Following


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One page that somebody looks at."""

    session: Session
    desk: Desk

    @property
    def caller(self) -> Caller:
        """Whose page it is."""
        return self.session.caller

    @property
    def api(self) -> Api:
        """The API, for this caller."""
        return Api(app=self.desk.app, caller=self.caller)

    @property
    def store(self) -> Store:
        """The store as the caller's project sees it."""
        return self.desk.store.of(self.caller.project)

    @property
    def runs(self) -> Runs:
        """What is done with runs; ask `run` for one of the caller's, and `check_change` before."""
        return self.desk.runs

    @property
    def may_change(self) -> bool:
        """Whether the caller may do more than look and ask models."""
        return self.caller.role != "reader"

    def check_change(self) -> None:
        """Raises: ApiError 403, in the API's words, when the caller may not change anything."""
        check_role(self.caller, "POST", "/v1/runs")

    async def run(self, run_id: str) -> RunRow:
        """The run, if it is one of the caller's project. Raises: NotFound."""
        row = await off(self.store.runs.get, run_id)
        if row is None:
            raise NotFound("There is no such run.")
        return row


async def off(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `call` returns, awaited while a thread does it: for whatever blocks."""
    return await run_in_threadpool(call, *args, **kwargs)
