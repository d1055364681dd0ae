"""Turns the conversation in one row, however it is spelled, into OpenAI's messages.

Knows: turns with from and value, turns with role and content, tool calls in both, transcripts
with `Human:` and `Assistant:`.
Does not know: tables, columns, lines, files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunesmith.data.chat.rules import NOTHING_TO_TRAIN, Method, Unreadable, faults, parse
from tunesmith.data.chat.spans import NON_PREFERRED, PREFERRED

Example = dict[str, Any]
Turn = Mapping[str, Any]

_CALL = "call"
_ROLES = {
    "human": "user", "user": "user",
    "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "chatbot": "assistant", "model": "assistant", "ai": "assistant",
    "system": "system", "developer": "developer",
    "function_call": _CALL, "tool_call": _CALL,
    "observation": "tool", "tool": "tool", "tool_response": "tool", "function_response": "tool",
}  # fmt: skip
_KEPT = ("name", "weight", "refusal", "audio", "tool_calls", "function_call", "tool_call_id")
_SPEAKER = re.compile(r"\n\n(Human|Assistant): ?")


class Unfit(ValueError):
    """A row from which no example can be made; never leaves `data`.

    why     one of a few phrases, the same for all rows with the same trouble.
    detail  a sentence on this row.
    """

    def __init__(self, why: str, detail: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.detail = detail


def is_turn(value: Any) -> bool:
    """Whether a JSON value is one turn of a conversation."""
    if not isinstance(value, dict):
        return False
    said = {"content", "tool_calls", "function_call"} & value.keys()
    return _is_sharegpt(value) or ("role" in value and bool(said))


def turns(text: str) -> list[Turn] | None:
    """The turns that a cell holds as JSON, one or a list; None where it holds anything else."""
    if text.lstrip()[:1] not in ("[", "{"):
        return None
    value = parse(text)
    listed = value if isinstance(value, list) else [value]
    return listed if listed and all(map(is_turn, listed)) else None


def why_no_turns(text: str) -> str:
    """A sentence on a cell in which `turns` finds none."""
    value = parse(text)
    if not text.strip():
        return "The cell is empty; perhaps the row has another shape than the others."
    if isinstance(value, Unreadable):
        return f"It is not valid JSON ({value.why})."
    if not isinstance(value, list) or not value:
        return "It holds no list of turns."
    number = next(i for i, turn in enumerate(value, start=1) if not is_turn(turn))
    return f"Turn {number} has neither role and content nor from and value."


def transcript(text: str) -> list[Turn] | None:
    """The turns of a text whose paragraphs begin with `Human:` and `Assistant:`, else None."""
    before, *pieces = _SPEAKER.split("\n\n" + text.lstrip())
    if before.strip() or len(pieces) < 4:
        return None
    spoken = list(zip(pieces[::2], pieces[1::2], strict=True))
    if not spoken[-1][1].strip():
        spoken.pop()  # a prompt that ends where the answer is to begin
    return [{"from": speaker.lower(), "value": said} for speaker, said in spoken]


def unknown_keys(listed: Sequence[Turn]) -> set[str]:
    """Keys of the turns that no message has, and that `messages` leaves out."""
    known = {"from", "value", "role", "content", *_KEPT}
    return {key for turn in listed for key in turn if key not in known}


def ends_unanswered(listed: Sequence[Turn]) -> bool:
    """Whether turns, of which `chat` leaves some out, follow the assistant's last one."""
    return _role(listed[-1]) not in ("assistant", _CALL)


def messages(listed: Sequence[Turn]) -> list[Example]:
    """OpenAI's messages for the turns. Calls without an id are named call_1, call_2, …, and each
    tool result without one answers the earliest call still open.

    Raises: Unfit.
    """
    calls, made = _Calls(), list[Example]()
    for turn in listed:
        role = _role(turn)
        content = turn["value"] if _is_sharegpt(turn) else turn.get("content")
        if role == _CALL:
            asked = calls.ask(parse(content) if isinstance(content, str) else content)
            if made and made[-1]["role"] == "assistant" and "tool_calls" in made[-1]:
                made[-1]["tool_calls"] += asked
            else:
                made.append({"role": "assistant", "content": None, "tool_calls": asked})
            continue
        message = {"role": role, "content": content}
        message |= {k: turn[k] for k in _KEPT if turn.get(k) is not None and turn[k] != []}
        made.append(calls.settle(message))
    return made


def chat(listed: Sequence[Turn], *, system: str = "", tools: str = "") -> Example:
    """The example of a conversation, up to the assistant's last turn.

    Raises: Unfit, also for an example that would break one of OpenAI's rules.
    """
    said = _with_system(messages(listed), system)
    while said and said[-1]["role"] != "assistant":
        said.pop()
    if not said:
        raise Unfit("no turn of the assistant")
    example: Example = {"messages": said, **_tools(tools)}
    _obey(example, "supervised")
    return example


def preference(
    prompt: str, chosen: str, rejected: str, *, system: str = "", tools: str = ""
) -> Example:
    """The preference pair of two answers to one prompt, in OpenAI's form.

    prompt            a text, turns, or an object with messages; empty where `chosen` and
                      `rejected` are whole conversations.
    chosen, rejected  a text, one turn, or a conversation; of conversations, the last turn is the
                      answer, and all before it must be the same in both.
    Raises: Unfit, also for an example that would break one of OpenAI's rules.
    """
    good, bad = (turns(text) or transcript(text) for text in (chosen, rejected))
    good = good or [{"role": "assistant", "content": chosen}]
    bad = bad or [{"role": "assistant", "content": rejected}]
    given: Example = {}
    if len(good) == len(bad) == 1:
        given = _prompt(prompt)
        good, bad = [*given["messages"], *good], [*given["messages"], *bad]
    ours, theirs = messages(good), messages(bad)
    if ours[:-1] != theirs[:-1]:
        raise Unfit("the two conversations differ before the answer")
    if len(ours) < 2:
        raise Unfit("no prompt")
    if ours[-1] == theirs[-1]:
        raise Unfit("both answers are the same")
    given |= {"messages": _with_system(ours[:-1], system), **_tools(tools)}
    example = {"input": given, PREFERRED[0]: [ours[-1]], NON_PREFERRED[0]: [theirs[-1]]}
    _obey(example, "dpo")
    return example


def pair(
    prompt: str, answer: str, *, system: str = "", history: str = "", tools: str = ""
) -> Example:
    """The example of a prompt and its answer.

    history  JSON list of earlier [prompt, answer] pairs, or empty.
    Raises: Unfit.
    """
    earlier = parse(history) if history else []
    listed: list[Turn] = []
    for both in earlier if isinstance(earlier, list) else [None]:
        if not isinstance(both, list) or len(both) != 2:
            raise Unfit("a history that is no list of pairs")
        listed += [{"from": "user", "value": both[0]}, {"from": "assistant", "value": both[1]}]
    listed += [{"from": "user", "value": prompt}, {"from": "assistant", "value": answer}]
    return chat(listed, system=system, tools=tools)


def _prompt(text: str) -> Example:
    """The input of a preference pair: turns in `messages`, tools where there are any."""
    value = parse(text) if text.lstrip()[:1] == "{" else None
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        if not all(map(is_turn, value["messages"])):
            raise Unfit("a prompt that is no list of messages")
        return {key: part for key, part in value.items() if part is not None}
    if not text.strip():
        raise Unfit("no prompt")
    return {"messages": turns(text) or transcript(text) or [{"role": "user", "content": text}]}


def _is_sharegpt(turn: Turn) -> bool:
    return "from" in turn and "value" in turn


def _role(turn: Turn) -> Any:
    """OpenAI's word for who speaks, or "call"; a word nobody knows, or no word, as it is."""
    word = turn["from"] if _is_sharegpt(turn) else turn["role"]
    if not isinstance(word, str):
        return word
    if _is_sharegpt(turn) and word == "function":
        return "tool"
    return _ROLES.get(word.strip().lower(), word)


def _with_system(said: list[Example], system: str) -> list[Example]:
    if not system.strip() or (said and said[0]["role"] in ("system", "developer")):
        return said
    return [{"role": "system", "content": system}, *said]


def _tools(text: str) -> Example:
    """{"tools": …} from a cell with JSON, or nothing where it is empty."""
    if not text.strip():
        return {}
    value = parse(text)
    listed = value if isinstance(value, list) else [value]
    if isinstance(value, Unreadable) or not all(isinstance(tool, dict) for tool in listed):
        raise Unfit("tools that are no list of JSON objects")
    tools = [
        {"type": "function", **tool} if "function" in tool else
        {"type": "function", "function": tool}
        for tool in listed
    ]  # fmt: skip
    return {"tools": tools} if tools else {}


def _obey(example: Example, method: Method) -> None:
    fault = next(faults(example, method), None)
    if fault:
        is_silent = fault.rule == NOTHING_TO_TRAIN
        why = "nothing to train on" if is_silent else f"breaks the rule {fault.rule}"
        raise Unfit(why, fault.message)


@dataclass
class _Calls:
    """The tool calls of one conversation: gives them ids, and matches results with them."""

    number: int = 0
    open: list[str] = field(default_factory=list)

    def ask(self, value: Any) -> list[Example]:
        """OpenAI's form of one call or a list of calls."""
        return [self._call(call) for call in (value if isinstance(value, list) else [value])]

    def settle(self, message: Example) -> Example:
        """The message with its calls in OpenAI's form; a tool result with the id it answers."""
        role, content = message["role"], message["content"]
        if "tool_calls" in message:
            message["tool_calls"] = self.ask(message["tool_calls"])
        if isinstance(legacy := message.get("function_call"), dict):
            message["function_call"] = {**legacy, "arguments": _text(legacy.get("arguments", {}))}
        if role in ("tool", "function") and content is not None:
            message["content"] = _text(content)
        if role == "tool":
            if "tool_call_id" not in message and not self.open:
                raise Unfit("a tool result without a call")
            answered = message.setdefault("tool_call_id", self.open[0] if self.open else None)
            self.open = [call for call in self.open if call != answered]
        if message.get("weight") in (0, 1):  # 1.0 and true too
            message["weight"] = int(message["weight"])
            if role != "assistant" and not message["weight"]:
                del message["weight"]  # such turns are never trained on
        return message

    def _call(self, call: Any) -> Example:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            why = f"{call.why}" if isinstance(call, Unreadable) else "it has no name"
            raise Unfit("a tool call that is no JSON object with a name", f"The call: {why}.")
        arguments = function.get("arguments", function.get("parameters"))
        self.number += 1
        name = call.get("id") or f"call_{self.number}"
        self.open.append(name)
        arguments = _text({} if arguments is None else arguments)
        named = {"name": function["name"], "arguments": arguments}
        return {"id": name, "type": "function", "function": named}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
