"""OpenAI's chat files: writing and reading classification examples, and checking any chat file.

One JSON object a line, {"messages": [...]}; the label is the assistant's answer.
Knows: the rules for a fine-tuning file.
Does not know: tables, models, tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError, NotFound, storage_error

FEWEST_EXAMPLES = 10
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_TOP_KEYS = {"messages", "tools", "parallel_tool_calls", "functions"}
_MESSAGE_KEYS = {
    "role", "content", "name", "weight", "refusal", "audio", "tool_calls", "tool_call_id",
    "function_call",
}  # fmt: skip
_TRAINING = "training_file"

# A classification example as `write_classification` writes it. Such lines need no parsing to be
# known as right, and most lines are such.
_STRING = r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"'
_PLAIN = re.compile(
    rf'{{"messages":\[{{"role":"user","content":{_STRING}}},'
    rf'{{"role":"assistant","content":{_STRING}}}\]}}\n?'
)

_quote = json.encoder.encode_basestring  # JSON text of a string, non-ASCII characters as they are


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong with a chat file, in the words of a failed job's `error`."""

    code: str
    message: str
    param: str
    example: int | None = None
    """1-based number of the example; None where it concerns the whole file."""


def write_classification(path: Path, texts: Iterable[str], labels: Iterable[str]) -> None:
    """Write one example a line: the text as the user's turn, the label as the assistant's.

    Raises: StorageError.
    """
    answers: dict[str, str] = {}
    try:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for text, label in zip(texts, labels, strict=True):
                if label not in answers:
                    answers[label] = f'{{"role":"assistant","content":{_quote(label)}}}]}}\n'
                file.write(f'{{"messages":[{{"role":"user","content":{_quote(text)}}},')
                file.write(answers[label])
    except OSError as error:
        raise storage_error(error, path) from None


def read_classification(path: Path) -> tuple[list[str], list[str]]:
    """The texts (`prompt_text` of each example) and the labels, both in file order.

    Raises: NotFound; DataError with the line of an example that is not a text and a label.
    """
    texts: list[str] = []
    labels: list[str] = []
    for number, line in _lines(path):
        example = _parse(line)
        problem = _shape_problem(example)
        if problem or not isinstance(label := example["messages"][-1].get("content"), str):
            raise DataError(
                problem[1] if problem else "The assistant's answer is not one text.",
                fix="A classification example is a user message and the label as the answer.",
                path=path,
                line=number,
            )
        texts.append(prompt_text(example["messages"]))
        labels.append(label.strip())
    return texts, labels


def prompt_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text to classify: all that is not the assistant's, joined by blank lines.

    messages  {"role", "content"} mappings; content is a string, a list of parts of which the text
              parts count, or null.
    """
    turns = (_plain(m.get("content")) for m in messages if m.get("role") != "assistant")
    return "\n\n".join(turn for turn in turns if turn)


def check_chat(path: Path, param: str = _TRAINING) -> Iterator[Problem]:
    """All that is wrong with a chat file, example by example, without holding it in memory.

    param  what the file is: training_file (which must have 10 examples) or validation_file.
    Raises: NotFound.
    """
    what, count = param.removesuffix("_file"), 0
    for count, line in _lines(path):
        if problem := _line_problem(line):
            kind, message = problem
            code = f"invalid_{what}_file" if kind == "content" else "invalid_file_format"
            text = f"Example {count} (line {count}): {message}"
            yield Problem(code=code, message=text, param=param, example=count)
    needed = FEWEST_EXAMPLES if param == _TRAINING else 1
    if count < needed:
        message = f"The {what} file has {count} example(s), but must have at least {needed}."
        yield Problem(code="invalid_n_examples", message=message, param=param)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            yield from enumerate(file, start=1)
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.", fix="Check the path.") from None


def _parse(line: bytes) -> Any:
    """The example on a line; `_NotJson` where there is none."""
    try:
        return json.loads(line.decode())
    except ValueError as error:
        return _NotJson(getattr(error, "msg", "not UTF-8"))


def _line_problem(line: bytes) -> tuple[str, str] | None:
    """What `_shape_problem` says of the example on a line, found faster."""
    try:
        if _PLAIN.fullmatch(line.decode()):
            return None
    except UnicodeDecodeError:
        pass  # and `_parse` says so
    return _shape_problem(_parse(line))


@dataclass(frozen=True)
class _NotJson:
    """A line that could not be parsed, and why."""

    why: str


def _shape_problem(example: Any) -> tuple[str, str] | None:
    """The first thing wrong with an example: ("format" or "content", a sentence), or None."""
    if isinstance(example, _NotJson):
        return "format", f"The line is not valid JSON ({example.why})."
    if not isinstance(example, dict):
        return "format", "The line is not a JSON object."
    if "messages" not in example:
        return "format", "The key 'messages' is missing."
    for key in example:
        if key not in _TOP_KEYS:
            return "format", f"It contains an extra key {key!r}."
    messages = example["messages"]
    if not isinstance(messages, list) or not messages:
        return "format", "'messages' must be a list with at least one message."
    for number, message in enumerate(messages, start=1):
        if problem := _message_problem(message):
            return "content", f"Message {number}: {problem}"
    if not any(message["role"] == "assistant" for message in messages):
        return "content", "There is no message from the assistant."
    if messages[-1]["role"] != "assistant":
        return "content", "The last message must be from the assistant."
    return None


def _message_problem(message: Any) -> str:
    """What is wrong with one message; empty when nothing is."""
    if not isinstance(message, dict):
        return "it is not an object."
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        return f"the role {role!r} is none of {', '.join(ROLES)}."
    if len(message) == 2 and isinstance(content, str):
        return ""  # by far the most
    for key in message:
        if key not in _MESSAGE_KEYS:
            return f"it contains an extra key {key!r}."
    weight = message.get("weight", 0)
    if (
        type(weight) is not int
        or weight not in (0, 1)
        or ("weight" in message and role != "assistant")
    ):
        return "'weight' must be 0 or 1 and may stand on assistant messages only."
    if content is None:
        calls = message.get("tool_calls") or message.get("function_call")
        return "" if calls and role == "assistant" else "'content' is missing."
    if isinstance(content, str):
        return ""
    parts_fit = isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("type"), str) for part in content
    )
    return "" if parts_fit else "'content' must be a string or a list of parts."


def _plain(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "\n".join(text for text in texts if isinstance(text, str))
    return ""
