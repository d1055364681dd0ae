"""The models that can be asked, by name: one place that knows who answers for which.

Knows: encoders classify, causal models choose among their labels or write.
Does not know: the shapes of the endpoints, how an answer is computed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
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

    async def choose(
        self, model: Found, messages: Messages, param: str, labels: Sequence[str] = ()
    ) -> Classification:
        """What a model that has labels says of messages, which are the request's `param`; or one
        that writes, of these `labels`.

        Raises: ApiError 400 for messages without a text, and for those that are too long; what the
        engines do.
        """
        text = text_of(messages, param)
        if model.way == "classify":
            answer = self._engines.encoders.submit(model.name, model.folder, text)
            return await asyncio.wrap_future(answer)
        asked = Choose(
            model=model.name, folder=model.folder, messages=messages, labels=tuple(labels)
        )
        try:
            return await asyncio.wrap_future(self._engines.writers.choose(asked))
        except TooLong as error:
            raise _too_long(error, param) from error

    async def choose_each(
        self, model: Found, texts: Sequence[str], param: str
    ) -> Sequence[Classification]:
        """What a model that has labels says of several texts, each by itself, in their order.

        Raises: as `choose` does.
        """
        asked = [[{"role": "user", "content": text}] for text in texts]
        if model.way == "classify":
            read = [text_of(messages, param) for messages in asked]
            answers = self._engines.encoders.classify(model.name, model.folder, read)
            return await asyncio.wrap_future(answers)
        return await asyncio.gather(*(self.choose(model, one, param) for one in asked))

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
