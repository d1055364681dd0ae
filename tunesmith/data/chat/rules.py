"""OpenAI's rules for one fine-tuning example.

Knows: chat examples, prompt/completion pairs, preference pairs, reinforcement examples.
Does not know: files, lines, tables, tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tunesmith.data.chat.spans import NON_PREFERRED, PREFERRED, spans

Method = Literal["supervised", "dpo", "reinforcement"]

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MOST_IMAGES = 10
MOST_IMAGE_BYTES = 10 * 1024 * 1024
NOTHING_TO_TRAIN = "nothing_to_train"

_INPUT_KEYS = ("messages", "tools", "parallel_tool_calls")
_CHAT_KEYS = (*_INPUT_KEYS, "functions")
_PLACES = {
    "weight": "assistant", "refusal": "assistant", "audio": "assistant", "tool_calls": "assistant",
    "function_call": "assistant", "tool_call_id": "tool",
}  # fmt: skip
_WEIGHTS = ((int, 0), (int, 1), (type(None), None))
_IMAGE = re.compile(r"https://|data:image/(?:jpeg|png|webp);base64,", re.IGNORECASE)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class Fault:
    """A rule that an example breaks.

    rule       machine code; the labels of OpenAI's data-preparation notebook where it has one.
    in_format  whether the shape is wrong (`invalid_file_format`), not what is in it.
    """

    rule: str
    message: str
    in_format: bool = False


@dataclass(frozen=True)
class Unreadable:
    """A text that holds no JSON, and why."""

    why: str


def parse(text: str | bytes) -> Any:
    """The JSON value in a text, `Unreadable` where there is none. Never raises.

    Stricter than `json`: no NaN, no half of a surrogate pair, which no tokenizer can read.
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text
        if not text.strip():
            return Unreadable("it is blank")
        if text.startswith("\ufeff"):
            return Unreadable("it begins with a byte-order mark")
        value = _DECODER.decode(text)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        return Unreadable("not UTF-8")
    except UnicodeEncodeError:
        return Unreadable("it holds half of a surrogate pair, such as \\ud83d alone")
    except RecursionError:
        return Unreadable("it is nested too deeply")
    except ValueError as error:
        return Unreadable(getattr(error, "msg", str(error)))
    return value


def faults(example: Any, method: Method = "supervised") -> Iterator[Fault]:
    """Every rule that a parsed example (see `parse`) breaks, those of its shape first."""
    if isinstance(example, Unreadable):
        yield Fault("data_type", f"The line is not valid JSON ({example.why}).", in_format=True)
    elif not isinstance(example, dict):
        yield Fault("data_type", "The line is not a JSON object.", in_format=True)
    elif method == "dpo":
        yield from _preference(example)
    elif "messages" not in example:
        pair = "prompt" in example or "completion" in example
        why = ": expected chat messages, but this is a prompt/completion pair." if pair else "."
        yield Fault("missing_messages_list", f"The key 'messages' is missing{why}", in_format=True)
    else:
        if method == "supervised":
            yield from _extra_keys(example, _CHAT_KEYS)
        yield from _tools(example)
        last = ("assistant",) if method == "supervised" else ("user",)
        found = [*_conversation(example["messages"]), *_ending(example["messages"], last)]
        yield from found
        if method == "supervised" and not found and not _trains(example["messages"]):
            text = "Nothing is trained on: what the assistant says is empty or has the weight 0."
            yield Fault(NOTHING_TO_TRAIN, text)


def pair_faults(example: Mapping[str, Any]) -> Iterator[Fault]:
    """Every rule that a prompt/completion pair, for completion models, breaks."""
    yield from _extra_keys(example, ("prompt", "completion"))
    for key in ("prompt", "completion"):
        if not isinstance(example.get(key), str):
            state = "must be a string" if key in example else "is missing"
            yield Fault("pair_missing_key", f"The key {key!r} {state}.", in_format=True)
    if example.get("completion") == "":
        yield Fault(NOTHING_TO_TRAIN, "Nothing is trained on: the completion is empty.")


def num_images(messages: Any) -> int:
    """Number of images in the messages of an example, right or wrong."""
    if not isinstance(messages, list):
        return 0
    contents = (m.get("content") for m in messages if isinstance(m, dict))
    parts = (part for content in contents if isinstance(content, list) for part in content)
    return sum(isinstance(part, dict) and part.get("type") == "image_url" for part in parts)


def _trains(messages: Sequence[Mapping[str, Any]]) -> bool:
    return any(span.use == "trained" for span in spans({"messages": messages}))


# --- an example ---------------------------------------------------------------------------------


def _preference(example: Mapping[str, Any]) -> Iterator[Fault]:
    yield from _extra_keys(example, ("input", *PREFERRED, *NON_PREFERRED))
    given = example.get("input")
    if "input" not in example:
        yield Fault("missing_input", "The key 'input' is missing.", in_format=True)
    elif not isinstance(given, dict) or "messages" not in given:
        yield Fault(
            "missing_messages_list", "'input' must be an object with 'messages'.", in_format=True
        )
    else:
        yield from _within("'input'", _extra_keys(given, _INPUT_KEYS))
        yield from _within("'input'", _tools(given))
        yield from _within("'input'", _conversation(given["messages"]))
        yield from _within("'input'", _ending(given["messages"], ("user", "tool")))
        if num_images(given["messages"]):
            yield Fault("image", "'input': preference examples hold text only.")
    for names in (PREFERRED, NON_PREFERRED):
        yield from _preference_answer(example, names)


def _preference_answer(example: Mapping[str, Any], names: tuple[str, str]) -> Iterator[Fault]:
    there = [name for name in names if name in example]
    if len(there) != 1:
        what = "are both there; give one" if there else "are both missing; one is needed"
        text = f"The keys {names[0]!r} and {names[1]!r} {what}."
        yield Fault("preference_answer", text, in_format=True)
        return
    (name,), answer = there, example[there[0]]
    if not isinstance(answer, list) or len(answer) != 1:
        text = f"{name!r} must be a list of one message from the assistant."
        yield Fault("preference_answer", text, in_format=True)
        return
    yield from _within(repr(name), _conversation(answer))
    yield from _within(repr(name), _ending(answer, ("assistant",)))
    message = answer[0] if isinstance(answer[0], dict) else {}
    if message.get("tool_calls") or message.get("function_call"):
        yield Fault("preference_answer", f"{name!r}: the answers hold text only, no calls.")


def _conversation(messages: Any) -> Iterator[Fault]:
    if not isinstance(messages, list) or not messages:
        text = "'messages' must be a list with at least one message."
        yield Fault("missing_messages_list", text, in_format=True)
        return
    for number, message in enumerate(messages, start=1):
        yield from _within(f"Message {number}", _message(message))
    yield from _answered_calls(messages)
    if (images := num_images(messages)) > MOST_IMAGES:
        yield Fault("image", f"There are {images} images; at most {MOST_IMAGES} are allowed.")


def _ending(messages: Any, last: tuple[str, ...]) -> Iterator[Fault]:
    """What is wrong with the last message, and whether the assistant speaks where it must."""
    if not isinstance(messages, list) or not messages:
        return
    roles = [message.get("role") if isinstance(message, dict) else None for message in messages]
    if any(role not in ROLES for role in roles):
        return  # said already; nobody knows who was meant
    if "assistant" in last and "assistant" not in roles:
        rule = "example_missing_assistant_message"
        yield Fault(rule, "There is no message from the assistant.")
    elif roles[-1] not in last:
        text = f"The last message must be from the {' or the '.join(last)}."
        yield Fault("last_message", text)


def _tools(example: Mapping[str, Any]) -> Iterator[Fault]:
    tools, parallel = example.get("tools"), example.get("parallel_tool_calls")
    if tools is not None and not isinstance(tools, list):
        yield Fault("tools", "'tools' must be a list.", in_format=True)
    for number, tool in enumerate(tools if isinstance(tools, list) else (), start=1):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            text = f"Tool {number}: it must be an object with a 'function' that has a 'name'."
            yield Fault("tools", text, in_format=True)
        elif tool.get("type") != "function":
            yield Fault("tools", f"Tool {number}: its 'type' must be 'function'.", True)
    if parallel is not None and not isinstance(parallel, bool):
        yield Fault("tools", "'parallel_tool_calls' must be true or false.", True)


def _extra_keys(example: Mapping[str, Any], known: Collection[str]) -> Iterator[Fault]:
    for key in example:
        if key not in known:
            yield Fault("unrecognized_key", f"It contains an extra key {_shown(key)}.", True)


# --- a message ----------------------------------------------------------------------------------


def _message(message: Any) -> Iterator[Fault]:
    if not isinstance(message, dict):
        yield Fault("data_type", "it is not an object.")
        return
    role = message.get("role")
    if "role" not in message:
        yield Fault("message_missing_key", "the key 'role' is missing.")
    elif role not in ROLES:
        yield Fault("unrecognized_role", f"the role {_shown(role)} is none of {', '.join(ROLES)}.")
    elif len(message) == 2 and isinstance(message.get("content"), str) and role in ROLES[:4]:
        return  # by far the most
    yield from _message_keys(message)
    yield from _content(message)
    yield from _calls(message)


def _message_keys(message: Mapping[str, Any]) -> Iterator[Fault]:
    """Keys that are not known, stand in the wrong place, or hold the wrong thing.

    A null counts as absent: programs that write tables of messages fill gaps with it.
    """
    role = message.get("role")
    for key, value in message.items():
        if key in ("role", "content", "name"):
            continue
        if key not in _PLACES:
            yield Fault("message_unrecognized_key", f"it contains an extra key {_shown(key)}.")
        elif value is not None and role in ROLES and role != _PLACES[key]:
            text = f"{key!r} may stand on {_PLACES[key]} messages only."
            yield Fault("message_unrecognized_key", text)
        elif key == "weight" and (type(value), value) not in _WEIGHTS:
            yield Fault("weight", f"'weight' must be 0 or 1, not {_shown(value)}.")
    for key in ("name", "refusal", "tool_call_id"):
        if not isinstance(message.get(key, ""), str | None):
            yield Fault("data_type", f"{key!r} must be a string.")
    needed = {"tool": "tool_call_id", "function": "name"}.get(role if isinstance(role, str) else "")
    if needed and message.get(needed) is None:
        yield Fault("message_missing_key", f"the key {needed!r} is missing.")


def _content(message: Mapping[str, Any]) -> Iterator[Fault]:
    content, role = message.get("content"), message.get("role")
    if content is None:
        calls = message.get("tool_calls") or message.get("function_call")
        if not (calls and role == "assistant"):
            rule = "missing_content" if "content" in message else "message_missing_key"
            yield Fault(rule, "'content' is missing.")
    elif not isinstance(content, str | list) or content == []:
        text = f"'content' must be a string or a list of parts, not {_shown(content)}."
        yield Fault("missing_content", text)
    elif isinstance(content, list):
        for number, part in enumerate(content, start=1):
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "image_url":
                yield from _within(f"part {number}", _image(part.get("image_url"), role))
            elif kind != "text" or not isinstance(part.get("text"), str):
                text = f"part {number} must be an object with the type text or image_url."
                yield Fault("content_part", text)


def _image(image: Any, role: Any) -> Iterator[Fault]:
    url = image.get("url") if isinstance(image, dict) else None
    if role == "assistant":
        yield Fault("image", "the assistant's messages must not hold images.")
    if not isinstance(url, str) or not _IMAGE.match(url):
        text = "'image_url' must hold a 'url': https, or a data URI of a JPEG, PNG or WEBP image."
        yield Fault("image", text)
    elif url[:5].lower() == "data:" and len(url) * 3 // 4 > MOST_IMAGE_BYTES:
        yield Fault("image", "the image is larger than 10 MB.")
    if isinstance(image, dict) and image.get("detail") not in (None, "low", "high", "auto"):
        yield Fault("image", "'detail' must be low, high or auto.")


def _calls(message: Mapping[str, Any]) -> Iterator[Fault]:
    calls, legacy = message.get("tool_calls"), message.get("function_call")
    if calls is not None and (not isinstance(calls, list) or not calls):
        yield Fault("tool_calls", "'tool_calls' must be a list with at least one call.")
    for number, call in enumerate(calls if isinstance(calls, list) else (), start=1):
        name = f"call {number}"
        if not isinstance(call, dict):
            yield Fault("tool_calls", f"{name}: it is not an object.")
            continue
        if not isinstance(call.get("id"), str) or not call["id"]:
            yield Fault("tool_calls", f"{name}: its 'id' is missing.")
        if call.get("type") != "function":
            yield Fault("tool_calls", f"{name}: its 'type' must be 'function'.")
        yield from _within(name, _function(call.get("function")))
    if legacy is not None:
        yield from _within("'function_call'", _function(legacy))


def _function(function: Any) -> Iterator[Fault]:
    if not isinstance(function, dict):
        yield Fault("tool_calls", "the function's name and arguments are missing.")
        return
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not name:
        yield Fault("tool_calls", "the function's name is missing.")
    if not isinstance(arguments, str):
        text = f"'arguments' must be a string that holds JSON, not {_shown(arguments)}."
        yield Fault("tool_calls", text)
    elif isinstance(value := parse(arguments), Unreadable):
        yield Fault("tool_calls", f"'arguments' is not valid JSON ({value.why}).")


def _answered_calls(messages: Sequence[Any]) -> Iterator[Fault]:
    """Tool messages that answer no call, and calls that are passed over without an answer."""
    known: set[str] = set()
    waiting: dict[str, int] = {}
    for number, message in enumerate(messages, start=1):
        role = message.get("role") if isinstance(message, dict) else None
        if role == "tool":
            call = message.get("tool_call_id")
            if isinstance(call, str) and call not in known:
                text = f"Message {number}: no earlier call has the id {_shown(call)}."
                yield Fault("tool_call_id", text)
            waiting.pop(call if isinstance(call, str) else "", None)
        if waiting and (role != "tool" or number == len(messages)):
            for call, caller in waiting.items():
                text = f"Message {caller}: no tool message answers the call {_shown(call)}."
                yield Fault("unanswered_call", text)
            waiting = {}
        if role == "assistant":
            waiting = dict.fromkeys(_call_ids(message), number)
            known.update(waiting)


def _call_ids(message: Mapping[str, Any]) -> list[str]:
    calls = message.get("tool_calls")
    ids = [c.get("id") for c in calls if isinstance(c, dict)] if isinstance(calls, list) else []
    return [call for call in ids if isinstance(call, str)]


def _within(place: str, found: Iterator[Fault]) -> Iterator[Fault]:
    for fault in found:
        yield replace(fault, message=f"{place}: {fault.message}")


def _shown(value: Any) -> str:
    """A value in a sentence: short, and safe for values nested deeply."""
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "…")
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)[:40]
    return "a list" if isinstance(value, list) else "an object"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
