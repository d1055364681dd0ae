"""Requests as what a model that writes is asked, in the words of `serving.writing`.

Does not know: replies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from tunesmith import wire
from tunesmith.server.asking import calling, formats
from tunesmith.server.asking.answers import check_text, stops
from tunesmith.server.asking.formats import Format
from tunesmith.server.asking.objects import LOGPROBS
from tunesmith.server.asking.tools import check_answered
from tunesmith.server.bodies import finite
from tunesmith.server.errors import ApiError
from tunesmith.server.models import Found
from tunesmith.serving.writing import Ask, Drawing

SEEDS = 2**63
MOST_BIAS = 100
FEW_TOKENS = 16
"""Of a completion whose length nobody gave, as OpenAI has it."""


def of_chat(model: Found, asked: wire.ChatRequest, given: Mapping[str, Any]) -> Ask:
    """What a chat completion asks; `given` is its own JSON. Raises: ApiError 400."""
    check_text(given["messages"], "messages")
    check_answered(asked.messages)
    called = calling.of_chat(asked, given)
    return Ask(
        model=model.name,
        folder=model.folder,
        messages=finite(given["messages"]),
        tools=finite(called.tools),
        call=called.call,
        parallel=called.parallel,
        schema=_schema(formats.of_chat(asked.response_format)),
        n=asked.n or 1,
        most=asked.max_completion_tokens or asked.max_tokens,
        stop=stops(asked),
        drawing=_drawing(asked),
        top=(asked.top_logprobs or 0) if asked.logprobs else None,
    )


def of_completion(model: Found, asked: wire.CompletionRequest, prompt: str | Sequence[int]) -> Ask:
    """What a completion asks of one of its prompts. Raises: ApiError 400."""
    n, best_of = asked.n or 1, asked.best_of or 0
    return Ask(
        model=model.name,
        folder=model.folder,
        prompt=prompt,
        n=max(n, best_of),
        most=asked.max_tokens or FEW_TOKENS,
        stop=stops(asked),
        drawing=_drawing(asked),
        top=0 if asked.logprobs is None and best_of > n else asked.logprobs,
    )


def of_response(
    model: Found,
    asked: wire.ResponseRequest,
    given: Mapping[str, Any],
    messages: Sequence[Mapping[str, Any]],
) -> Ask:
    """What a response asks, with all that was said before. Raises: ApiError 400."""
    check_text(messages, "input")
    check_answered([wire.Message.model_validate(message) for message in messages])
    called = calling.of_response(asked, given)
    drawing = Drawing(temperature=_or_one(asked.temperature), top_p=_or_one(asked.top_p))
    return Ask(
        model=model.name,
        folder=model.folder,
        messages=messages,
        tools=called.tools,
        call=called.call,
        parallel=called.parallel,
        schema=_schema(formats.of_response(asked.text)),
        most=asked.max_output_tokens,
        drawing=drawing,
        top=(asked.top_logprobs or 0) if LOGPROBS in (asked.include or ()) else None,
    )


def _drawing(asked: wire.Generation) -> Drawing:
    return Drawing(
        temperature=_or_one(asked.temperature),
        top_p=_or_one(asked.top_p),
        seed=None if asked.seed is None else asked.seed % SEEDS,
        frequency_penalty=asked.frequency_penalty or 0.0,
        presence_penalty=asked.presence_penalty or 0.0,
        bias=_bias(asked.logit_bias or {}),
    )


def _bias(given: Mapping[str, float]) -> dict[int, float]:
    for key, value in given.items():
        if not (key.isascii() and key.isdigit()):
            raise ApiError(
                400,
                f"Invalid key in 'logit_bias': {key}. You should only be submitting non-negative "
                "integers, the token ids of this model's own tokenizer.",
                param="logit_bias",
            )
        if not -MOST_BIAS <= value <= MOST_BIAS:
            what = f"Invalid value for 'logit_bias': {value}. It should be from -100 to 100."
            raise ApiError(400, what, param="logit_bias")
    return {int(key): value for key, value in given.items()}


def _schema(format: Format | None) -> Mapping[str, Any] | bool:
    if format is None:
        return False
    schema: Mapping[str, Any] = from_json(format.schema)
    return True if schema == formats.ANY_OBJECT else schema


def _or_one(number: float | None) -> float:
    return 1.0 if number is None else number
