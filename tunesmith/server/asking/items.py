"""The input of a response: items that can be stored, and the chat messages that they stand for.

Does not know: who reads the messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.server.asking.objects import Json, output_text
from tunesmith.server.errors import ApiError
from tunesmith.wire import new_id

TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
NEEDED = {
    "message": ("role",),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
}
"""What an item cannot do without."""


def stored(given: str | Sequence[Json]) -> list[Json]:
    """The input as items that can be stored: each has an id, and a message's content is parts.

    Raises: ApiError 400 for a reference to an item, or an item that lacks something.
    """
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    items = []
    for i, item in enumerate(given):
        kind = item.get("type") or "message"
        if kind == "item_reference":
            raise ApiError(
                400,
                "References to items are not offered by this server; send the item itself, or "
                "give 'previous_response_id'.",
                param=f"input[{i}]",
            )
        prefix = "msg_" if kind == "message" else "item_"
        made = {**item, "type": kind, "id": item.get("id") or new_id(prefix)}
        for name in NEEDED.get(kind, ()):
            if item.get(name) is None:
                place = f"input[{i}].{name}"
                raise ApiError(400, f"Missing required parameter: '{place}'.", param=place)
        if kind == "message":
            made |= {"status": "completed", "content": _parts(item)}
        items.append(made)
    return items


def messages(instructions: str | None, items: Sequence[Json]) -> list[Json]:
    """The items as chat messages; what a model has thought is left out."""
    made: list[Json] = [{"role": "system", "content": instructions}] if instructions else []
    for item in items:
        if item["type"] == "message":
            made.append({"role": item["role"], "content": _chat_parts(item["content"])})
        elif item["type"] == "function_call":
            if not made or made[-1]["role"] != "assistant":
                made.append({"role": "assistant", "content": None})
            made[-1].setdefault("tool_calls", []).append(_call(item))
        elif "output" in item:
            content = _chat_parts(item["output"])
            made.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
    return made


def _parts(item: Mapping[str, Any]) -> Any:
    """A message's content as parts."""
    content = item.get("content")
    if not isinstance(content, str):
        return content or []
    if item.get("role") == "assistant":
        return [output_text(content, [])]
    return [{"type": "input_text", "text": content}]


def _chat_parts(content: Any) -> Any:
    """The same as chat messages have it."""
    if not isinstance(content, list):
        return content
    return [
        {"type": "text", "text": part.get("text") or ""} if part["type"] in TEXT_PARTS else part
        for part in content
    ]


def _call(item: Mapping[str, Any]) -> Json:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}
