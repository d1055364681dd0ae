"""Tools in a request, and calls of them in its messages: what is wrong with them.

A model that answers with labels calls none; for one that writes see `calling`.
Does not know: what a tool does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunesmith import wire
from tunesmith.server.errors import ApiError
from tunesmith.wire.schemas import faults

Choice = str | dict[str, Any] | None


def check_chat(asked: wire.ChatRequest) -> None:
    """Raises: ApiError 400 for tools that are wrong."""
    for i, tool in enumerate(asked.tools or ()):
        place = f"tools[{i}].function"
        if tool.function is not None:
            _check_schema(tool.function.name, tool.function.parameters, tool.function.strict, place)
        elif tool.type == "function":
            raise ApiError(400, f"Missing required parameter: '{place}'.", param=place)
    for i, function in enumerate(asked.functions or ()):
        _check_schema(function.name, function.parameters, function.strict, f"functions[{i}]")


def check_response(asked: wire.ResponseRequest) -> None:
    """Raises: ApiError 400 likewise, and for tools that the server itself would have to run."""
    for i, tool in enumerate(asked.tools or ()):
        if tool.type not in ("function", "custom"):
            raise ApiError(
                400,
                f"Tools of the type '{tool.type}' are not offered by this server; 'function' is.",
                param=f"tools[{i}].type",
            )
        if tool.name is None:
            place = f"tools[{i}].name"
            raise ApiError(400, f"Missing required parameter: '{place}'.", param=place)
        _check_schema(tool.name, tool.parameters, tool.strict, f"tools[{i}]")


def check_answered(messages: Sequence[wire.Message]) -> None:
    """Check that calls in messages have names, and are answered before anything else is said.

    Raises: ApiError 400, in OpenAI's words.
    """
    open_: list[str] = []
    called = False
    for i, message in enumerate(messages):
        if message.role == "tool":
            _check_answer(message, i, called)
            open_ = [id for id in open_ if id != message.tool_call_id]
            continue
        if open_:
            break
        called = bool(message.tool_calls)
        for j, call in enumerate(message.tool_calls or ()):
            if call.function is None:
                place = f"messages[{i}].tool_calls[{j}].function"
                raise ApiError(400, f"Missing required parameter: '{place}'.", param=place)
            open_.append(call.id)
    if open_:
        raise ApiError(
            400,
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'. The following tool_call_ids did not have response messages: "
            + ", ".join(open_),
            param="messages",
        )


def _check_answer(message: wire.Message, i: int, called: bool) -> None:
    if message.tool_call_id is None:
        raise ApiError(
            400,
            "Missing parameter 'tool_call_id': messages with role 'tool' must have a "
            "'tool_call_id'.",
            param=f"messages.[{i}].tool_call_id",
        )
    if not called:
        raise ApiError(
            400,
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
            "message with 'tool_calls'.",
            param=f"messages.[{i}].role",
        )


def _check_schema(
    name: str, parameters: dict[str, Any] | None, strict: bool | None, place: str
) -> None:
    if parameters is None:
        return
    for fault in faults(parameters, strict=bool(strict)):
        raise ApiError(
            400,
            f"Invalid schema for function '{name}': {fault}",
            param=f"{place}.parameters",
            code="invalid_function_parameters",
        )


def refuse_calls(choice: Choice, param: str) -> None:
    """Raises: ApiError 400 where a model that answers with labels would have to call a function."""
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools", choice)
        choice = allowed.get("mode") if isinstance(allowed, dict) else choice
    if choice not in (None, "auto", "none"):
        raise ApiError(
            400,
            "This model answers with one of its labels and calls no function. Leave "
            f"'{param}' out, or set it to 'auto' or 'none'.",
            param=param,
        )
