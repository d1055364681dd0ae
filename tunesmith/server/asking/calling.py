"""Functions that a model which writes may call, or must, as a request says.

Does not know: how a model calls one, what a function does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunesmith import wire
from tunesmith.server.errors import ApiError

Call = Literal["none", "auto", "required"] | Mapping[str, str]
"""As `serving.writing.Ask.call` has it."""
WAYS = ("none", "auto", "required")


@dataclass(frozen=True, kw_only=True)
class Calling:
    """Functions, and whether they are called."""

    tools: Sequence[Mapping[str, Any]] = ()
    """In the form of chat completions."""
    call: Call = "auto"
    parallel: bool = True


def of_chat(asked: wire.ChatRequest, given: Mapping[str, Any]) -> Calling:
    """What a chat completion says of tools or, in the older way, of functions.

    given  the request's own JSON.
    Raises: ApiError 400.
    """
    if asked.functions:
        tools = [{"type": "function", "function": function} for function in given["functions"]]
        return _calling(tools, asked.function_call, "function_call", parallel=False)
    for i, tool in enumerate(asked.tools or ()):
        if tool.type != "function":
            raise _only_functions(f"tools[{i}].type")
    tools = given.get("tools") or []
    return _calling(
        tools, asked.tool_choice, "tool_choice", parallel=asked.parallel_tool_calls is not False
    )


def of_response(asked: wire.ResponseRequest, given: Mapping[str, Any]) -> Calling:
    """The same of a response. Raises: ApiError 400."""
    tools = []
    for i, tool in enumerate(given.get("tools") or ()):
        if tool["type"] != "function":
            raise _only_functions(f"tools[{i}].type")
        function = {k: v for k, v in tool.items() if k != "type" and v is not None}
        tools.append({"type": "function", "function": function})
    return _calling(
        tools, asked.tool_choice, "tool_choice", parallel=asked.parallel_tool_calls is not False
    )


def _calling(
    tools: Sequence[Mapping[str, Any]],
    choice: str | Mapping[str, Any] | None,
    param: str,
    *,
    parallel: bool,
) -> Calling:
    names = [tool["function"]["name"] for tool in tools]
    call, allowed = _call(choice, param)
    wanted = {call["name"]} if isinstance(call, Mapping) else allowed or set()
    if not tools and (wanted or call == "required"):
        what = f"'{param}' is only allowed when 'tools' are specified."
        raise ApiError(400, f"Invalid value for '{param}': {what}", param=param)
    if unknown := sorted(set(wanted) - set(names)):
        what = f"Tool choice '{unknown[0]}' not found in 'tools' parameter."
        raise ApiError(400, f"Invalid value for '{param}': {what}", param=param)
    if allowed is not None:
        tools = [tool for tool in tools if tool["function"]["name"] in allowed]
    return Calling(tools=tools, call=call, parallel=parallel)


def _call(
    choice: str | Mapping[str, Any] | None, param: str
) -> tuple[Call, Collection[str] | None]:
    """Whether functions are called, and the only ones that may be, where it says so.

    A choice is a word; a function, whose name stands in it or one level deeper; or allowed tools.
    Raises: ApiError 400.
    """
    if choice is None:
        return "auto", None
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        inner = choice.get("allowed_tools", choice)
        if isinstance(inner, Mapping) and isinstance(inner.get("tools"), list):
            call, _ = _call(inner.get("mode"), param)
            return call, {_name(tool) for tool in inner["tools"]}
    elif isinstance(choice, Mapping):
        if name := _name(choice):
            return {"name": name}, None
    elif choice == "none":
        return "none", None
    elif choice == "auto":
        return "auto", None
    elif choice == "required":
        return "required", None
    offered = "', '".join(WAYS)
    what = f"Supported values are: '{offered}', and the choice of a function by its name."
    raise ApiError(400, f"Invalid value for '{param}'. {what}", param=param)


def _name(tool: Any) -> str:
    """The name of a tool; empty where it has none."""
    if not isinstance(tool, Mapping):
        return ""
    inner = tool.get("function", tool)
    name = inner.get("name") if isinstance(inner, Mapping) else None
    return name if isinstance(name, str) else ""


def _only_functions(param: str) -> ApiError:
    message = "Tools of the type 'custom' are not offered by this server; 'function' is."
    return ApiError(400, message, param=param)
