"""Completions, the older way to ask."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.wire.chat import Generation
from tunesmith.wire.shapes import Shape


class CompletionRequest(Generation):
    """POST /completions."""

    prompt: (
        str
        | (Annotated[list[str] | list[int] | list[list[int]], Field(min_length=1, max_length=2048)])
    )
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    """OpenAI has 5 at most; here as many as a chat completion has."""
    best_of: Annotated[int, Field(ge=1, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None


class TextLogprobs(Shape):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class TextChoice(Shape):
    text: str
    index: int
    logprobs: TextLogprobs | None
    finish_reason: Literal["stop", "length", "content_filter"]
    token_ids: list[int] = []
    prompt_token_ids: list[int] = []


class TextUsage(Shape):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TextCompletion(Shape):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: TextUsage
    system_fingerprint: str | None
