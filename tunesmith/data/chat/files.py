"""OpenAI's chat files: writing and reading classification examples, and checking any chat file.

One JSON object a line, {"messages": [...]}; the label is the assistant's answer.
Knows: how many examples a file must and may have, and how to go through them.
Does not know: the rules for one example, tables, models, tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.data.chat.rules import Fault, Method, faults, num_images, pair_faults, parse
from tunesmith.data.chat.spans import content_text
from tunesmith.errors import DataError, NotFound, storage_error

FEWEST_EXAMPLES = 10
MOST_WITH_IMAGES = 50_000
MOST_REINFORCEMENT, MOST_REINFORCEMENT_VALIDATION = 50_000, 1_000
_TRAINING = "training_file"
_CHAT, _PAIRS = "chat messages", "prompt/completion pairs"

# A classification example as `write_classification` writes it. Such lines need no parsing to be
# known as right, and most lines are such.
_STRING = (
    r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"'
)
_PLAIN = re.compile(
    rf'{{"messages":\[{{"role":"user","content":{_STRING}}},'
    rf'{{"role":"assistant","content":(?!""){_STRING}}}\]}}\n?'
)

_quote = json.encoder.encode_basestring  # JSON text of a string, non-ASCII characters as they are


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong with a chat file, in the words of a failed job's `error`."""

    code: str
    message: str
    param: str
    example: int | None = None
    """1-based number of the example, which is its line; None where it concerns the whole file."""
    rule: str = ""
    """Finer code: the label of OpenAI's data-preparation notebook, or one in its manner."""


def write_classification(path: Path, examples: Iterable[tuple[str, str]]) -> None:
    """Write one example (text, label) a line: the text is the user's turn, the label the answer.

    Raises: StorageError.
    """
    answers: dict[str, str] = {}
    try:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for text, label in examples:
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
        example = parse(line)
        fault = next(faults(example), None)
        if fault or not isinstance(label := example["messages"][-1].get("content"), str):
            raise DataError(
                fault.message if fault else "The assistant's answer is not one text.",
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
    turns = (content_text(m.get("content")) for m in messages if m.get("role") != "assistant")
    return "\n\n".join(turn for turn in turns if turn)


def check_chat(path: Path, param: str = _TRAINING) -> Iterator[Problem]:
    """All that is wrong with a file of chat examples; `check` for supervised training."""
    return check(path, param=param)


def check(
    path: Path,
    method: Method = "supervised",
    param: str = _TRAINING,
    *,
    completions: bool = False,
) -> Iterator[Problem]:
    """Everything that is wrong with a fine-tuning file, line by line, without holding it in memory.

    Each line is an example; a blank one is a fault, as it is for OpenAI.
    param        what the file is: training_file (which must have 10 examples) or validation_file.
    completions  whether the file may hold prompt/completion pairs, for completion models; the
                 first example then decides which of the two shapes all must have.
    Raises: NotFound.
    Source: OpenAI's guides to supervised, preference and reinforcement fine-tuning.
    """
    what, count, num_with_images = param.removesuffix("_file"), 0, 0
    broken = f"invalid_{what}_file"
    shape = "" if completions else _CHAT
    for count, line in _lines(path):
        plain = method == "supervised" and _is_plain(line)
        if plain and shape == _CHAT:
            continue
        example = parse(line)
        shape = shape or _shape_of(example)
        num_with_images += b'"image_url"' in line and _has_images(example)
        for fault in _faults(example, method, shape):
            yield Problem(
                code="invalid_file_format" if fault.in_format else broken,
                message=f"Example {count} (line {count}): {fault.message}",
                param=param,
                example=count,
                rule=fault.rule,
            )
    for code, message in _size_problems(count, num_with_images, method, param):
        yield Problem(code=code or broken, message=message, param=param, rule="size")


def _faults(example: Any, method: Method, shape: str) -> Iterator[Fault]:
    """`faults`, and those of prompt/completion pairs in a file of such."""
    own = _shape_of(example)
    if shape != _PAIRS:
        yield from faults(example, method)
    elif own == _PAIRS:
        yield from pair_faults(example)
    elif own:
        text = "Expected either prompt/completion pairs or chat messages, the same in all examples."
        yield Fault("mixed_shapes", text, in_format=True)
    else:
        yield from faults(example)


def _shape_of(example: Any) -> str:
    """Which shape of example this is meant to be; empty when nobody can tell."""
    if not isinstance(example, dict):
        return ""
    if "messages" in example:
        return _CHAT
    return _PAIRS if "prompt" in example or "completion" in example else ""


def _has_images(example: Any) -> bool:
    return isinstance(example, dict) and num_images(example.get("messages")) > 0


def _size_problems(
    count: int, num_with_images: int, method: Method, param: str
) -> Iterator[tuple[str, str]]:
    """(code, sentence) for too few or too many examples; no code means the file's own."""
    what, training = param.removesuffix("_file"), param == _TRAINING
    least = FEWEST_EXAMPLES if training else 1
    if count < least:
        message = f"The {what} file has {count} example(s), but must have at least {least}."
        yield "invalid_n_examples", message
    most = MOST_REINFORCEMENT if training else MOST_REINFORCEMENT_VALIDATION
    if method == "reinforcement" and count > most:
        message = f"The {what} file has {count:,} examples, but must have at most {most:,}."
        yield "invalid_n_examples", message
    if num_with_images > MOST_WITH_IMAGES:
        yield "", f"{num_with_images:,} examples hold images; at most {MOST_WITH_IMAGES:,} may."


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            yield from enumerate(file, start=1)
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.", fix="Check the path.") from None


def _is_plain(line: bytes) -> bool:
    """Whether a line is a right classification example at a glance."""
    try:
        return _PLAIN.fullmatch(line.decode()) is not None
    except UnicodeDecodeError:
        return False  # and `parse` says so
