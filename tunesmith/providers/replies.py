"""What the body of a chat completion says, as values.

Does not know: how it was asked for.
"""

from __future__ import annotations

import math
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tunesmith.errors import ProviderError
from tunesmith.metrics.generation import Call
from tunesmith.providers.provider import Answer, Reply

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_answer(body: Any, seconds: float) -> Answer:
    """A classifier's answer. Raises: ProviderError when there is none."""
    with _complete():
        choice = body["choices"][0]
        tokens = (choice.get("logprobs") or {}).get("content") or []
        # More than one token: a model that writes labels instead of choosing one.
        top = {t["token"]: t["logprob"] for t in tokens[0]["top_logprobs"]} if tokens else {}
        return Answer(
            label=choice["message"]["content"] or "",
            logprob=math.fsum(t["logprob"] for t in tokens) if tokens else math.nan,
            top=top if len(tokens) == 1 else {},
            cut_tokens=int((body.get("tunesmith") or {}).get("cut_tokens") or 0),
            seconds=seconds,
        )


def read_answers(body: Any, number: int) -> list[Answer]:
    """A classifier's answers to that many prompts of one completion, in their order.

    Raises: ProviderError when there are not as many.
    """
    with _complete():
        cut = (body.get("tunesmith") or {}).get("cut_prompts") or {}
        choices = {choice["index"]: choice for choice in body["choices"]}
        return [_listed(choices[i], int(cut.get(str(i)) or 0)) for i in range(number)]


def _listed(choice: Mapping[str, Any], cut_tokens: int) -> Answer:
    told = choice["logprobs"]
    return Answer(
        label=choice["text"],
        logprob=told["token_logprobs"][0],
        top=told["top_logprobs"][0],
        cut_tokens=cut_tokens,
    )


def read_replies(body: Any, seconds: float) -> list[Reply]:
    """The choices, in their order. Raises: ProviderError when there is none."""
    with _complete():
        usage = body.get("usage") or {}
        choices = sorted(body["choices"], key=lambda choice: choice.get("index") or 0)
        if not choices:
            raise IndexError("choices")
        return [_reply(choice, usage, seconds) for choice in choices]


def read_vectors(body: Any) -> list[NDArray[np.float32]]:
    """Embeddings in the order of their texts: base64 of little-endian float32, or plain numbers, as
    some endpoints give whatever is asked. Raises: ProviderError when there are none."""
    import numpy as np

    with _complete():
        given = [one["embedding"] for one in sorted(body["data"], key=lambda one: one["index"])]
    return [
        np.frombuffer(b64decode(vector), "<f4")
        if isinstance(vector, str)
        else np.array(vector, np.float32)
        for vector in given
    ]


def _reply(choice: Mapping[str, Any], usage: Mapping[str, Any], seconds: float) -> Reply:
    message = choice["message"]
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    if message.get("function_call"):
        functions.append(message["function_call"])
    tokens = (choice.get("logprobs") or {}).get("content")
    ids = choice.get("token_ids")
    return Reply(
        text=message.get("content") or "",
        calls=tuple(Call(name=f["name"], arguments=f["arguments"] or "") for f in functions),
        finish_reason=choice.get("finish_reason"),
        ids=None if ids is None else tuple(ids),
        logprobs=None if tokens is None else tuple(token["logprob"] for token in tokens),
        prompt_tokens=usage.get("prompt_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
        seconds=seconds,
    )


@contextmanager
def _complete() -> Iterator[None]:
    try:
        yield
    except (KeyError, IndexError, TypeError) as missing:
        raise ProviderError(f"The answer of the model has no {missing}.") from missing
