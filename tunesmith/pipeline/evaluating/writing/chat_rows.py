"""The conversations of a prepared file as questions with right answers.

Knows: OpenAI's chat and preference examples.
Does not know: who is asked, or how answers are scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.data.chat.rules import parse
from tunesmith.data.chat.spans import NON_PREFERRED, PREFERRED, content_text
from tunesmith.errors import storage_errors
from tunesmith.metrics.generation import Call

Message = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ChatRow:
    """A conversation up to its last answer, and that answer."""

    messages: Sequence[Message]
    tools: Sequence[Mapping[str, Any]]
    gold: str
    gold_calls: tuple[Call, ...] = ()
    rejected: str | None = None
    """The worse answer, of preference data."""


def read_chat_rows(path: Path) -> list[ChatRow]:
    """The rows of a file that `prepare` wrote, in its order. Raises: StorageError."""
    with storage_errors(path), path.open("rb") as file:
        return [read_chat_row(line) for line in file]


def read_chat_row(line: bytes) -> ChatRow:
    """A line of such a file."""
    example = parse(line)
    if "input" in example:
        given = example["input"]
        history, answer = given["messages"], _answer(example, PREFERRED)
        rejected = _answer(example, NON_PREFERRED)
        worse = said(content_text(rejected.get("content")), calls_of(rejected))
    else:
        given, worse = example, None
        *history, answer = example["messages"]
    return ChatRow(
        messages=[_asked(message) for message in history],
        tools=_tools(given),
        gold=content_text(answer.get("content")),
        gold_calls=calls_of(answer),
        rejected=worse,
    )


def calls_of(message: Message) -> tuple[Call, ...]:
    """The functions that a message calls, in either spelling."""
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    if message.get("function_call"):
        functions.append(message["function_call"])
    return tuple(Call(name=f["name"], arguments=f.get("arguments") or "") for f in functions)


def said(text: str, calls: Sequence[Call]) -> str:
    """A whole answer as one text, calls as NAME(ARGUMENTS)."""
    return "\n".join(filter(None, (text, *(f"{c.name}({c.arguments})" for c in calls))))


def _answer(example: Mapping[str, Any], names: Sequence[str]) -> Message:
    """The last message of the better or the worse answer."""
    found: Sequence[Message] = next(example[name] for name in names if name in example)
    return found[-1]


def _asked(message: Message) -> Message:
    """A message as it is sent: without what only training reads."""
    return {key: value for key, value in message.items() if key != "weight" and value is not None}


def _tools(given: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The tools; functions of the older spelling become tools."""
    if given.get("tools"):
        found: Sequence[Mapping[str, Any]] = given["tools"]
        return found
    return [{"type": "function", "function": one} for one in given.get("functions") or ()]
