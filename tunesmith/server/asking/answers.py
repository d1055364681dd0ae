"""The answer of a model with labels, as every endpoint gives it: choices among them.

A choice is one token, however it is written. Where nobody asks for chance, by a temperature above
zero, it is the most probable label.
Does not know: the shapes of the endpoints, how the answer is computed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from starlette.responses import Response

from tunesmith import wire
from tunesmith.data.chat.files import prompt_text
from tunesmith.server.asking.formats import Format, written
from tunesmith.server.asking.objects import LOWEST
from tunesmith.server.errors import ApiError
from tunesmith.serving.batch import Classification

TEXT_PARTS = frozenset({"text", "input_text", "output_text"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How to choose among the labels, and how to write the choice."""

    n: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: Sequence[str] = ()
    """Texts before which the answer ends."""
    format: Format | None = None


class Choice(NamedTuple):
    """An answer's text, and how probable its label is."""

    text: str
    logprob: float

    def tokens(self, top: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Log-probabilities of the tokens that the text is made of: one, or none of no text."""
        return [{**token(self.text, self.logprob), "top_logprobs": top}] if self.text else []


# --- requests -------------------------------------------------------------------------------------


def text_of(messages: Sequence[Mapping[str, Any]], param: str) -> str:
    """The text that messages ask about. Raises: ApiError 400 where there is none, or more."""
    check_text(messages, param)
    text = prompt_text(messages)
    if not text.strip():
        raise ApiError(400, "There is no text to classify.", param=param)
    return text


def check_text(messages: Sequence[Mapping[str, Any]], param: str) -> None:
    """Raises: ApiError 400 for messages that hold something else than text."""
    for message in messages:
        content = message.get("content")
        if isinstance(content, list) and message.get("role") != "assistant":
            other = [part["type"] for part in content if part["type"] not in TEXT_PARTS]
            if other:
                what = f"This model reads text only, not '{other[0]}'."
                raise ApiError(400, what, param=param)


def check_stream_options(asked: wire.Sampling) -> None:
    """Raises: ApiError 400 where they are given and nothing is streamed."""
    if asked.stream_options is not None and not asked.stream:
        what = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ApiError(400, what, param="stream_options")


def sampling(asked: wire.Generation, format: Format | None = None) -> Sampling:
    """How a chat completion or a completion is to be sampled.

    Raises: ApiError 400 for what cannot be done with labels.
    """
    if asked.logit_bias:
        raise ApiError(
            400,
            "This model answers with one of its labels and has no token ids to bias; leave "
            "'logit_bias' out. An enum in a 'response_format' leaves labels out.",
            param="logit_bias",
        )
    return Sampling(
        n=asked.n or 1,
        temperature=asked.temperature or 0.0,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        seed=asked.seed,
        stop=stops(asked),
        format=format,
    )


def stops(asked: wire.Generation) -> list[str]:
    """The texts before which an answer ends."""
    given = [asked.stop] if isinstance(asked.stop, str) else asked.stop or ()
    return [text for text in given if text]


# --- choices --------------------------------------------------------------------------------------


def choices(
    answer: Classification, asked: Sampling, *, top: int = 0
) -> tuple[list[Choice], list[Choice]]:
    """The choices, and the `top` most probable labels with nothing cut from them.

    Raises: ApiError 400 when no label can be written in the format.
    """
    labels, logprobs = answer.labels, answer.logprobs
    texts: Sequence[str | None] = labels
    able: Sequence[int] = range(len(labels))
    if asked.format is not None:
        texts = written(asked.format, labels)
        able = [i for i in able if texts[i] is not None]
    best = sorted(able, key=logprobs.__getitem__, reverse=True)[: max(1, top)]
    picked = _draw(able, logprobs, asked) if asked.temperature else best[:1] * asked.n
    made = [Choice(_until(texts[i] or "", asked.stop), logprobs[i]) for i in picked]
    return made, [Choice(texts[i] or "", logprobs[i]) for i in best[:top]]


def _draw(able: Sequence[int], logprobs: Sequence[float], asked: Sampling) -> list[int]:
    """Labels drawn in proportion to exp(logprob / temperature), of the fewest whose share is at
    least `top_p`."""
    highest = max(logprobs[i] for i in able)
    weights = {i: math.exp((logprobs[i] - highest) / asked.temperature) for i in able}
    if asked.top_p < 1:
        enough, kept = asked.top_p * sum(weights.values()), 0.0
        for i in sorted(weights, key=weights.__getitem__, reverse=True):
            if kept and kept >= enough:
                del weights[i]
            else:
                kept += weights[i]
    return random.Random(asked.seed).choices(list(weights), list(weights.values()), k=asked.n)


def _until(text: str, stop: Sequence[str]) -> str:
    """The text up to where the first of the stop texts begins."""
    ends = [found for end in stop if (found := text.find(end)) >= 0]
    return text[: min(ends)] if ends else text


def token(text: str, logprob: float) -> dict[str, Any]:
    """OpenAI's log-probability of a token."""
    return {"token": text, "logprob": max(logprob, LOWEST), "bytes": _utf8(text)}


@lru_cache(maxsize=65536)
def _utf8(label: str) -> list[int]:
    return list(label.encode())


# --- replies --------------------------------------------------------------------------------------


def headers(model: str, answers: Sequence[Classification]) -> list[tuple[bytes, bytes]]:
    """Headers of the reply, with a warning where a text was too long."""
    told = [(b"openai-model", model.encode())]
    if cut := next((answer for answer in answers if answer.cut_tokens), None):
        whole = cut.prompt_tokens + cut.cut_tokens
        warning = f"text cut from {whole} to {cut.prompt_tokens} tokens"
        told.append((b"x-tunesmith-warning", warning.encode()))
    return told


def reply(body: bytes, kind: str, headers: Sequence[tuple[bytes, bytes]]) -> Response:
    """The reply with a body of that media type."""
    response = Response(body, media_type=kind)
    response.raw_headers.extend(headers)
    return response


def extra(answers: Sequence[Classification]) -> dict[str, Any]:
    """What the reply says under our own name: tokens that were cut off, if any were."""
    cut = sum(answer.cut_tokens for answer in answers)
    return {"tunesmith": {"cut_tokens": cut}} if cut else {}
