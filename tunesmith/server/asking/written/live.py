"""Sending a reply while it is written, and stopping the writing when nobody waits for it.

Does not know: what is written, the shapes of the endpoints.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Protocol

from pydantic_core import from_json, to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tunesmith.server.asking.objects import Json, sent
from tunesmith.server.errors import ApiError, error_response
from tunesmith.serving.writing import Event

logger = logging.getLogger(__name__)

QUIET_SECONDS = 10.0
"""After so long a stream says that it still lives, since proxies hang up on silent ones."""
STILL_HERE = b": still writing\n\n"
"""A comment, which clients skip."""

Placed = tuple[int, Event]
"""An event, and the place among a request's prompts of the one that it answers."""
Keep = Callable[[Json], Awaitable[None]]
"""Stores a whole reply."""


class Draft(Protocol):
    """A reply that grows with what is written."""

    def take(self, place: int, event: Event) -> Iterator[Json]:
        """Take an event; the server-sent events by which it is told."""

    def whole(self) -> Json:
        """The reply as one object, when all has come."""

    def end(self) -> bytes:
        """What a stream ends with."""

    def broken(self, error: Json) -> Json:
        """The server-sent event of what went wrong, given OpenAI's object of it."""


class Live(Response):
    """The reply to a request, whole or (`stream`) as server-sent events as they come.

    What goes wrong before the first one is raised; later it is one more event.
    keep  stores the whole reply before the end of it is sent.
    """

    def __init__(
        self,
        model: str,
        draft: Draft,
        events: AsyncGenerator[Placed, None],
        *,
        stream: bool,
        keep: Keep | None = None,
    ) -> None:
        self.status_code, self.background = 200, None
        self.media_type = "text/event-stream" if stream else "application/json"
        self.init_headers()
        self.raw_headers.append((b"openai-model", model.encode()))
        self._draft, self._events = draft, events
        self._stream, self._keep = stream, keep
        self._begun = False
        self._spoke_at = time.monotonic()
        self._speaking = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Response. Raises: ApiError 499 when the client has left before anything was sent."""
        writing = asyncio.create_task(self._write(send))
        leaving = asyncio.create_task(_until_gone(receive))
        tasks = [writing, leaving]
        if self._stream:
            tasks.append(asyncio.create_task(self._keep_open(send)))
        try:
            await asyncio.wait([writing, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not writing.cancelled():
            writing.result()
        elif not self._begun:
            raise ApiError(499, "The client has left before there was an answer.")

    async def _write(self, send: Send) -> None:
        try:
            async with aclosing(self._events) as events:
                async for place, event in events:
                    await self._tell(send, self._draft.take(place, event))
            whole = self._draft.whole()
            if self._keep is not None:
                await self._keep(whole)
        except Exception as error:
            if not self._begun:
                raise
            response = error_response(error)
            if response.status_code >= 500:
                logger.exception("a stream broke off")
            told = from_json(bytes(response.body))["error"]
            await self._say(send, sent(self._draft.broken(told)), more=False)
            return
        await self._say(send, self._draft.end() if self._stream else to_json(whole), more=False)

    async def _tell(self, send: Send, told: Iterator[Json]) -> None:
        events = list(told)  # which is how the draft grows
        if self._stream and events:
            await self._say(send, b"".join(map(sent, events)))

    async def _say(self, send: Send, body: bytes, *, more: bool = True) -> None:
        async with self._speaking:
            if not self._begun:
                self._begun = True
                headers = [*self.raw_headers]
                if not more:
                    headers.append((b"content-length", str(len(body)).encode()))
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            self._spoke_at = time.monotonic()
            await send({"type": "http.response.body", "body": body, "more_body": more})

    async def _keep_open(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._spoke_at + QUIET_SECONDS - time.monotonic())
            if time.monotonic() - self._spoke_at >= QUIET_SECONDS:
                await self._say(send, STILL_HERE)


async def together(
    streams: Sequence[AsyncGenerator[Event, None]],
) -> AsyncGenerator[Placed, None]:
    """The events of several streams as they come, each with its stream's place.

    The first error ends them all.
    """
    queue: asyncio.Queue[tuple[int, Event | Exception | None]] = asyncio.Queue()

    async def pump(place: int, stream: AsyncGenerator[Event, None]) -> None:
        try:
            async with aclosing(stream) as events:
                async for event in events:
                    queue.put_nowait((place, event))
        except Exception as error:  # noqa: BLE001  (it goes to whoever reads the queue)
            queue.put_nowait((place, error))
        else:
            queue.put_nowait((place, None))

    pumps = [asyncio.create_task(pump(i, stream)) for i, stream in enumerate(streams)]
    try:
        left = len(pumps)
        while left:
            place, event = await queue.get()
            if isinstance(event, Exception):
                raise event
            if event is None:
                left -= 1
            else:
                yield place, event
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
