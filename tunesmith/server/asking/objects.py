"""Pieces of OpenAI's objects that replies of classifiers and of models that write have in common.

Does not know: how an answer came about.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from pydantic_core import to_json

LOWEST = -9999.0
"""Stands for a log-probability too low for JSON, as OpenAI has it."""
LOGPROBS = "message.output_text.logprobs"
"""What a response includes where log-probabilities are wanted."""
DONE = b"data: [DONE]\n\n"
"""The end of a stream."""

Json = dict[str, Any]


def chat_head(model: str) -> Json:
    """What a chat completion and all its chunks begin with, but for `object`."""
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "created": int(time.time()),
        "model": model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def text_head(model: str) -> Json:
    """What a completion and all its chunks begin with."""
    return {
        "id": f"cmpl-{secrets.token_hex(12)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": None,
    }


def chat_usage(read: int, written: int) -> Json:
    """Tokens of a chat completion."""
    return {
        **text_usage(read, written),
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def text_usage(read: int, written: int) -> Json:
    """Tokens of a completion."""
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }


def response_usage(read: int, written: int) -> Json:
    """Tokens of a response."""
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


def output_text(text: str, logprobs: list[Json]) -> Json:
    """A response's part of text."""
    return {"type": "output_text", "annotations": [], "logprobs": logprobs, "text": text}


def sent(data: Json) -> bytes:
    """As a server-sent event, named after its `type` where it has one."""
    name = f"event: {data['type']}\n".encode() if "type" in data else b""
    return name + b"data: " + to_json(data) + b"\n\n"
