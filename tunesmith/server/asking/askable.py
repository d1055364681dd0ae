"""The models that can be asked, by name: one place that knows who answers for which.

Knows: encoders classify, causal models choose among their labels or write.
Does not know: the shapes of the endpoints, how an answer is computed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any, cast

from tunesmith.server.asking.answers import text_of
from tunesmith.server.engines import Engines
from tunesmith.server.errors import ApiError
from tunesmith.server.models import Folders, Found
from tunesmith.serving.batch import Classification
from tunesmith.serving.writing import Ask, Began, Choose, Event, TooLong

Messages = Sequence[Mapping[str, Any]]


class Models:
    """Models by name."""

    def __init__(self, folders: Folders, engines: Engines) -> None:
        self._folders = folders
        self._engines = engines
        self.waiting = 0
        """Requests to write that have not begun to be answered."""
        self.writing = 0
        """Requests that are being answered by writing."""

    async def find(self, name: str, project: str) -> Found:
        """A model that the project may ask; its `way` says whether it is to `choose` or `write`.

        Raises: ApiError 404 or 400 when there is no such model.
        """
        return await self._folders.find(name, project)

    async def choose(self, model: Found, messages: Messages, param: str) -> Classification:
        """What a model that has labels says of messages, which are the request's `param`.

        Raises: ApiError 400 for messages without a text; what the engines do.
        """
        text = text_of(messages, param)
        answer: Future[Classification]
        if model.way == "classify":
            answer = self._engines.encoders.submit(model.name, model.folder, text)
        else:
            asked = Choose(model=model.name, folder=model.folder, messages=messages)
            answer = self._engines.writers.choose(asked)
        return await asyncio.wrap_future(answer)

    async def write(self, ask: Ask, param: str) -> AsyncGenerator[Event, None]:
        """What a model that writes answers; closing the generator stops it.

        Raises: ApiError 400 when the prompt, which is the request's `param`, is longer than the
        model's context; what the engine does.
        """
        begun = False
        self.waiting += 1
        try:
            written = cast("AsyncGenerator[Event, None]", self._engines.writers.write(ask))
            async with aclosing(written) as events:
                async for event in events:
                    if isinstance(event, Began):
                        begun = True
                        self.waiting -= 1
                        self.writing += 1
                    yield event
        except TooLong as error:
            raise _too_long(error, param) from error
        finally:
            if begun:
                self.writing -= 1
            else:
                self.waiting -= 1


def _too_long(error: TooLong, param: str) -> ApiError:
    return ApiError(
        400,
        f"This model's maximum context length is {error.context} tokens. However, your {param} "
        f"resulted in {error.prompt_tokens} tokens. Please reduce the length of the {param}.",
        param=param,
        code="context_length_exceeded",
    )
