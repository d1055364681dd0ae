"""POST /v1/chat/completions: what a model writes, or the best of its labels.

Every request passes here, so it is plain ASGI: the body is parsed once and the reply is written as
text. Does not know: how the answer is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from tunesmith import wire
from tunesmith.server.asking import answers, formats, tools
from tunesmith.server.asking.answers import Sampling
from tunesmith.server.asking.askable import Models
from tunesmith.server.asking.objects import DONE, chat_head, chat_usage, sent
from tunesmith.server.asking.stored import row_of
from tunesmith.server.asking.written import requests
from tunesmith.server.asking.written.chat import ChatDraft
from tunesmith.server.asking.written.live import Live, together
from tunesmith.server.bodies import plain
from tunesmith.server.errors import ApiError
from tunesmith.server.models import Found
from tunesmith.serving.batch import Classification
from tunesmith.store.store import Store

JSON, EVENTS = b"application/json", b"text/event-stream; charset=utf-8"


class Chat:
    """The ASGI application behind the route."""

    def __init__(self, models: Models, store: Store) -> None:
        self._models = models
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        data = plain(await _body(receive))
        asked = wire.ChatRequest.model_validate(data)
        project = scope["caller"].project
        model = await self._models.find(asked.model, project)
        _check(asked)
        if model.way == "write" and asked.tunesmith is None:
            await self._written(model, asked, data, project)(scope, receive, send)
        else:
            await self._chosen(model, asked, data, project, send)

    async def _chosen(
        self, model: Found, asked: wire.ChatRequest, data: Any, project: str, send: Send
    ) -> None:
        sampling, labels = _sampling(asked), _labels(asked, model)
        answer = await self._models.choose(model, data["messages"], "messages", labels)
        reply = _Reply.of(asked, answer, sampling)
        if asked.store:
            await self._keep(asked, data, project, reply.whole())
        if asked.stream:
            usage = asked.stream_options is not None and asked.stream_options.include_usage
            body, kind = reply.stream(include_usage=bool(usage)), EVENTS
        else:
            body, kind = to_json(reply.whole()), JSON
        headers = answers.headers(asked.model, [answer])
        headers += [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _written(self, model: Found, asked: wire.ChatRequest, data: Any, project: str) -> Live:
        ask = requests.of_chat(model, asked, data)
        events = together([self._models.write(ask, "messages")])
        keep = partial(self._keep, asked, data, project) if asked.store else None
        draft = ChatDraft(asked)
        return Live(asked.model, draft, events, stream=bool(asked.stream), keep=keep)

    async def _keep(
        self, asked: wire.ChatRequest, data: Any, project: str, whole: Mapping[str, Any]
    ) -> None:
        row = row_of(asked, data, whole)
        await run_in_threadpool(self._store.of(project).completions.add, row)


@dataclass(frozen=True, kw_only=True)
class _Reply:
    """All that a reply says, before it is written in one of its two forms."""

    head: dict[str, Any]
    choices: list[tuple[str, dict[str, Any] | None]]
    """Content and logprobs of each choice."""
    usage: dict[str, Any]
    extra: dict[str, Any]

    @classmethod
    def of(cls, asked: wire.ChatRequest, answer: Classification, sampling: Sampling) -> _Reply:
        made, best = answers.choices(answer, sampling, top=asked.top_logprobs or 0)
        top = [answers.token(one.text, one.logprob) for one in best]
        return cls(
            head=chat_head(asked.model),
            choices=[
                (text, {"content": tokens, "refusal": None} if asked.logprobs else None)
                for text, tokens in ((one.text, one.tokens(top)) for one in made)
            ],
            usage=chat_usage(answer.prompt_tokens, len(made)),
            extra=answers.extra([answer]),
        )

    def whole(self) -> dict[str, Any]:
        """As one object."""
        choices: list[dict[str, Any]] = [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": content,
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": logprobs,
                "finish_reason": "stop",
            }
            for index, (content, logprobs) in enumerate(self.choices)
        ]
        said = {"choices": choices, "usage": self.usage}
        return {"object": "chat.completion", **self.head, **said, **self.extra}

    def stream(self, *, include_usage: bool) -> bytes:
        """As server-sent events: role, content and end of each choice; usage where asked for."""
        head = {"object": "chat.completion.chunk", **self.head, **self.extra}
        usage: dict[str, Any] = {"usage": None} if include_usage else {}
        lines = []

        def chunk(index: int, delta: dict[str, Any], logprobs: Any, end: str | None) -> None:
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": end}
            lines.append(sent({**head, "choices": [choice], **usage}))

        for index, (content, logprobs) in enumerate(self.choices):
            chunk(index, {"role": "assistant", "content": "", "refusal": None}, None, None)
            chunk(index, {"content": content}, logprobs, None)
            chunk(index, {}, None, "stop")
        if include_usage:
            lines.append(sent({**head, "choices": [], "usage": self.usage}))
        return b"".join([*lines, DONE])


def _check(asked: wire.ChatRequest) -> None:
    """Raises: ApiError 400 for what no model can do."""
    answers.check_stream_options(asked)
    if asked.top_logprobs is not None and not asked.logprobs:
        raise ApiError(400, "'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
    if asked.modalities and asked.modalities != ["text"]:
        raise ApiError(400, "This model answers with text only.", param="modalities")
    if asked.tools or asked.functions:
        tools.check_chat(asked)


def _sampling(asked: wire.ChatRequest) -> Sampling:
    """How to choose a label. Raises: ApiError 400 for what cannot be done with labels."""
    tools.refuse_calls(asked.tool_choice, "tool_choice")
    tools.refuse_calls(asked.function_call, "function_call")
    return answers.sampling(asked, formats.of_chat(asked.response_format))


def _labels(asked: wire.ChatRequest, model: Found) -> list[str]:
    """The labels that a model which writes is to choose among; none of a model that has its own.

    Raises: ApiError 400.
    """
    if asked.tunesmith is None:
        return []
    labels, param = asked.tunesmith.labels, "tunesmith.labels"
    if model.way != "write":
        raise ApiError(400, "This model has labels of its own; give it none.", param=param)
    if len(set(labels)) < len(labels):
        raise ApiError(400, "A label is given twice.", param=param)
    return labels


async def _body(receive: Receive) -> bytes:
    """The body of the request, in most cases one piece; the door sees to it that it ends."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    return body
