"""/v1/responses: create, retrieve, delete, cancel, input items.

Does not know: how the answer is computed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic_core import to_json

from tunesmith import wire
from tunesmith.server.asking import answers, formats, items, tools
from tunesmith.server.asking.answers import Sampling
from tunesmith.server.asking.askable import Models
from tunesmith.server.asking.objects import LOGPROBS, Json, output_text, response_usage, sent
from tunesmith.server.asking.written import requests
from tunesmith.server.asking.written.live import Live, together
from tunesmith.server.asking.written.responses import ResponseDraft
from tunesmith.server.bodies import finite, parsed, plain
from tunesmith.server.door.auth import view
from tunesmith.server.errors import ApiError
from tunesmith.server.replies import sliced
from tunesmith.serving.batch import Classification
from tunesmith.store.paging import Cursor
from tunesmith.store.responses import Responses
from tunesmith.store.rows import ResponseRow
from tunesmith.store.store import Store
from tunesmith.wire import new_id

NOT_OFFERED = {
    "background": "This server answers at once; leave 'background' out.",
    "conversation": "Conversations are not offered by this server; 'previous_response_id' is.",
    "prompt": "Prompt templates are not offered by this server; send the text as 'input'.",
}


def router(models: Models, store: Store) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/responses")

    @routes.post("")
    async def create_response(request: Request) -> Response:
        body = await request.body()
        asked, given = parsed(wire.ResponseRequest, body), finite(plain(body))
        mine = view(store, request).responses
        model = await models.find(asked.model, request.scope["caller"].project)
        _check(asked)
        said = [*await _before(mine, asked), *items.stored(given["input"])]
        messages = items.messages(asked.instructions, said)

        async def keep(reply: Json) -> None:
            if asked.store is not False:
                created = reply["created_at"]
                row = ResponseRow(id=reply["id"], created_at=created, items=said, body=reply)
                await run_in_threadpool(mine.add, row)

        if model.way == "write":
            ask = requests.of_response(model, asked, given, messages)
            draft = ResponseDraft(_begun(asked, given, default=1.0), logprobs=ask.top is not None)
            events = together([models.write(ask, "input")])
            return Live(asked.model, draft, events, stream=bool(asked.stream), keep=keep)
        sampling = _sampling(asked)
        answer = await models.choose(model, messages, "input")
        reply = _reply(asked, given, answer, sampling)
        await keep(reply)
        headers = answers.headers(asked.model, [answer])
        if asked.stream:
            return answers.reply(b"".join(_stream(reply)), "text/event-stream", headers)
        return answers.reply(to_json(reply), "application/json", headers)

    def found(response_id: str, request: Request) -> ResponseRow:
        if (row := view(store, request).responses.get(response_id)) is None:
            raise _no_response(response_id)
        return row

    @routes.get("/{response_id}")
    def retrieve_response(response_id: str, request: Request, stream: bool = False) -> JSONResponse:
        row = found(response_id, request)
        if stream:
            raise ApiError(400, "Only a background response can be streamed again.", param="stream")
        return JSONResponse(row.body)

    @routes.delete("/{response_id}")
    def delete_response(response_id: str, request: Request) -> JSONResponse:
        if not view(store, request).responses.delete(response_id):
            raise _no_response(response_id)
        return JSONResponse(wire.Deleted(id=response_id, object="response").model_dump())

    @routes.post("/{response_id}/cancel")
    def cancel_response(response_id: str, request: Request) -> JSONResponse:
        found(response_id, request)
        raise ApiError(400, "Cannot cancel a synchronous response.")

    @routes.get("/{response_id}/input_items")
    def list_input_items(
        response_id: str,
        request: Request,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
    ) -> JSONResponse:
        cursor = Cursor(limit=limit, after=after, newest_first=order == "desc")
        return sliced(found(response_id, request).items, cursor)

    return routes


# --- requests -------------------------------------------------------------------------------------


def _check(asked: wire.ResponseRequest) -> None:
    """Raises: ApiError 400 for what is not offered, whatever the model."""
    for name, message in NOT_OFFERED.items():
        if getattr(asked, name):
            raise ApiError(400, message, param=name)
    tools.check_response(asked)


def _sampling(asked: wire.ResponseRequest) -> Sampling:
    """How to choose a label. Raises: ApiError 400 for what cannot be done with labels."""
    tools.refuse_calls(asked.tool_choice, "tool_choice")
    return Sampling(
        temperature=asked.temperature or 0.0,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        format=formats.of_response(asked.text),
    )


async def _before(mine: Responses, asked: wire.ResponseRequest) -> list[Json]:
    """The items of the response that this one goes on from. Raises: ApiError 400."""
    if asked.previous_response_id is None:
        return []
    before = await run_in_threadpool(mine.get, asked.previous_response_id)
    if before is None:
        raise _no_previous(asked.previous_response_id)
    return [*before.items, *before.body["output"]]


# --- replies --------------------------------------------------------------------------------------


def _begun(asked: wire.ResponseRequest, given: Mapping[str, Any], *, default: float) -> Json:
    """The response with nothing in it yet; `default` is the temperature where none is given."""
    return {
        "id": new_id("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": asked.model,
        "output": [],
        "service_tier": "default",
        "temperature": default if asked.temperature is None else asked.temperature,
        "top_p": 1.0 if asked.top_p is None else asked.top_p,
        "usage": None,
        **_repeated(asked, given),
    }


def _repeated(asked: wire.ResponseRequest, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a response repeats of the request, with OpenAI's words for what was left out."""
    text, reasoning = given.get("text") or {}, asked.reasoning or {}
    return {
        "instructions": asked.instructions,
        "max_output_tokens": asked.max_output_tokens,
        "metadata": asked.metadata or {},
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "previous_response_id": asked.previous_response_id,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "store": asked.store is not False,
        "text": {
            "format": text.get("format") or {"type": "text"},
            "verbosity": text.get("verbosity") or "medium",
        },
        "tool_choice": asked.tool_choice or "auto",
        "tools": given.get("tools") or [],
        "top_logprobs": asked.top_logprobs or 0,
        "truncation": asked.truncation or "disabled",
        "user": asked.user,
    }


def _reply(
    asked: wire.ResponseRequest,
    given: Mapping[str, Any],
    answer: Classification,
    sampling: Sampling,
) -> Json:
    """The response of a model with labels."""
    (choice,), best = answers.choices(answer, sampling, top=asked.top_logprobs or 0)
    top = [answers.token(one.text, one.logprob) for one in best]
    logprobs = choice.tokens(top) if LOGPROBS in (asked.include or ()) else []
    message = {
        "id": new_id("msg_"),
        "type": "message",
        "status": "completed",
        "content": [output_text(choice.text, logprobs)],
        "role": "assistant",
    }
    begun = _begun(asked, given, default=0.0)
    return {
        **begun,
        "status": "completed",
        "completed_at": begun["created_at"],
        "output": [message],
        "usage": response_usage(answer.prompt_tokens, 1),
        **answers.extra([answer]),
    }


def _stream(reply: dict[str, Any]) -> Iterator[bytes]:
    """The response as named server-sent events."""
    begun = {**reply, "status": "in_progress", "completed_at": None, "output": [], "usage": None}
    for number, (name, data) in enumerate(_events(reply, begun)):
        yield sent({"type": name, "sequence_number": number, **data})


def _events(reply: dict[str, Any], begun: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    (message,) = reply["output"]
    (part,) = message["content"]
    item = {"output_index": 0}
    inside = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    said = {"logprobs": part["logprobs"]}
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    empty = {**message, "status": "in_progress", "content": []}
    yield "response.output_item.added", {**item, "item": empty}
    yield "response.content_part.added", {**inside, "part": output_text("", [])}
    yield "response.output_text.delta", {**inside, "delta": part["text"], **said}
    yield "response.output_text.done", {**inside, "text": part["text"], **said}
    yield "response.content_part.done", {**inside, "part": part}
    yield "response.output_item.done", {**item, "item": message}
    yield "response.completed", {"response": reply}


def _no_response(response_id: str) -> ApiError:
    return ApiError(404, f"Response with id '{response_id}' not found.")


def _no_previous(response_id: str) -> ApiError:
    return ApiError(
        400,
        f"Previous response with id '{response_id}' not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )
