"""What is asked of a model in the playground, as the body of a request to the API.

Does not know: how the answer is shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunesmith.errors import ConfigError

Message = dict[str, str]
Answers = Literal["labels", "text"]

ADDRESS = "/chat/completions"
MOST_LABELS = 20
"""Whose probabilities one reply tells."""


@dataclass(frozen=True, kw_only=True)
class How:
    """How a model that writes is to answer; what is None is left to the server."""

    system: str = ""
    temperature: float = 0.7
    max_tokens: int | None = 512
    seed: int | None = None
    schema: Mapping[str, Any] | None = None
    """A JSON Schema that the answer is to fit."""


def body(model: str, answers: Answers, said: Sequence[Message], how: How) -> dict[str, Any]:
    """The request. `said`: the conversation, the question last; a model with labels is asked the
    question alone."""
    if answers == "labels":
        question = [dict(said[-1])] if said else []
        return {"model": model, "messages": question, "logprobs": True,
                "top_logprobs": MOST_LABELS}  # fmt: skip
    system = [{"role": "system", "content": how.system}] if how.system.strip() else []
    asked: dict[str, Any] = {
        "model": model,
        "messages": [*system, *(dict(message) for message in said)],
        "temperature": how.temperature,
    }
    if how.max_tokens is not None:
        asked["max_tokens"] = how.max_tokens
    if how.seed is not None:
        asked["seed"] = how.seed
    if how.schema is not None:
        asked["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": how.schema},
        }
    return {**asked, "stream": True}


def schema_of(given: str) -> Mapping[str, Any] | None:
    """The JSON Schema that somebody typed; None: nothing was typed. Raises: ConfigError."""
    if not given.strip():
        return None
    try:
        found = json.loads(given)
    except ValueError as error:
        raise ConfigError(
            f"This is not JSON: {error}.", fix="Correct it, or leave it empty."
        ) from None
    if not isinstance(found, dict):
        raise ConfigError("A JSON Schema is an object.", fix='Such as {"type": "object", …}.')
    inner = found.get("schema")
    return inner if isinstance(inner, dict) else found


def number_of(given: str, *, least: float, most: float, whole: bool) -> float | None:
    """The number that somebody typed; None: nothing was typed. Raises: ConfigError."""
    if not given.strip():
        return None
    try:
        found = int(given) if whole else float(given)
    except ValueError:
        raise ConfigError(f"{given.strip()!r} is no {'whole ' * whole}number.") from None
    if not least <= found <= most:
        raise ConfigError(f"It has to be from {least:,g} to {most:,g}.")
    return found
