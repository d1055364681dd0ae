"""Messages with variables in them, and messages that an item holds.

Does not know: who is sent them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.errors import RequestError
from tunesmith.metrics.graders.failure import GraderFailed
from tunesmith.metrics.graders.templates import Sample, parse, render
from tunesmith.wire import TemplateMessage

Json = dict[str, Any]
TEXT_PARTS = frozenset({"text", "input_text", "output_text"})


def texts(content: Any) -> Iterator[str]:
    """The texts of a content: one string, one part, or several of either.

    Raises: RequestError for images, audio and the like.
    """
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping) and part.get("type") in TEXT_PARTS:
            yield str(part.get("text", ""))
        else:
            kind = part.get("type") if isinstance(part, Mapping) else part
            raise RequestError(f"Models here read text only, not {str(kind)[:100]!r}.")


def check(messages: Sequence[TemplateMessage], param: str) -> None:
    """Raises: RequestError for what can never be filled in before there is an answer."""
    for i, message in enumerate(messages):
        try:
            for template in texts(message.content):
                _check_items_only(template)
        except RequestError as error:
            error.param = f"{param}[{i}].content"
            raise


def steps_of(reference: str) -> list[str]:
    """["item", "a", "b"] for the reference `item.a.b`. Raises: RequestError for any other."""
    parts = parse("{{" + reference.strip().removeprefix("{{").removesuffix("}}") + "}}")
    steps = parts[1] if len(parts) == 3 else None
    if not isinstance(steps, list) or steps[0] != "item":
        raise RequestError(
            f"{reference[:100]!r} is no place in an item.",
            fix="Give one such as item.messages.",
        )
    return steps


def rendered(
    messages: Sequence[TemplateMessage], sample: Sample, item: Mapping[str, Any]
) -> list[Json]:
    """The messages with their variables filled in. Raises: RequestError, see `render`."""
    return [
        {
            "role": message.role,
            "content": "\n".join(render(text, sample, item) for text in texts(message.content)),
        }
        for message in messages
    ]


def referred(reference: str, item: Mapping[str, Any]) -> list[Json]:
    """The messages that are in the item; a text there is one from the user.

    Raises: RequestError when there are none.
    """
    value: Any = item
    for step in steps_of(reference)[1:]:
        value = value.get(step) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return value
    raise GraderFailed(
        f"The item has no messages at '{reference[:100]}'.", flag="invalid_variable_error"
    )


def shown(messages: Sequence[Mapping[str, Any]]) -> list[Json]:
    """The messages as an output item tells of them: role and text."""
    told = []
    for message in messages:
        content = message.get("content") or message.get("output") or ""
        parts = content if isinstance(content, list) else [content]
        text = "\n".join(
            str(part.get("text") or "") if isinstance(part, Mapping) else str(part)
            for part in parts
        )
        told.append({"role": str(message.get("role") or message.get("type")), "content": text})
    return told


def _check_items_only(template: str) -> None:
    for part in parse(template):
        if isinstance(part, list) and part[0] != "item":
            raise RequestError(
                f"'{'.'.join(part)[:100]}' is not known before the model has answered.",
                fix="Messages to the model have variables of the item only.",
            )
