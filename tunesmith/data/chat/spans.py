"""The pieces of a chat example, and what training does with each.

Knows: chat examples, pairs of answers, prompt/completion pairs.
Does not know: whether an example is valid, tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Use = Literal["read", "trained", "avoided"]

PREFERRED = ("preferred_output", "preferred_completion")
NON_PREFERRED = ("non_preferred_output", "non_preferred_completion")


def content_text(content: Any) -> str:
    """The text of a message's content: a string, a list of parts, or null."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "\n".join(text for text in texts if isinstance(text, str))
    return ""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of an example, and what training does with it: the model learns to say it, learns
    not to say it (the worse answer of a pair), or only reads it.

    who   the role that speaks, or tools, prompt, completion.
    call  the function that is called with `text` as its arguments; empty where something is said.
    """

    who: str
    text: str
    use: Use
    call: str = ""

    def __len__(self) -> int:
        return len(self.call) + len(self.text)


def spans(example: Mapping[str, Any]) -> Iterator[Span]:
    """The pieces of a valid example or pair, in order; what is empty is left out.

    Trained on are the assistant's turns whose weight is not 0 (a missing one is 1), of a pair of
    answers the preferred one, and a completion.
    """
    if "completion" in example:
        pair: tuple[tuple[str, Use], ...] = (("prompt", "read"), ("completion", "trained"))
        yield from (Span(who, example[who], use) for who, use in pair if example[who])
        return
    given = example.get("input", example)
    for key in ("tools", "functions"):
        if given.get(key):
            yield Span("tools", json.dumps(given[key], ensure_ascii=False), "read")
    for message in given["messages"]:
        is_trained = message["role"] == "assistant" and message.get("weight") != 0
        yield from _said(message, "trained" if is_trained and given is example else "read")
    for answer in (name for name in (*PREFERRED, *NON_PREFERRED) if name in example):
        for message in example[answer]:
            yield from _said(message, "trained" if answer in PREFERRED else "avoided")


def _said(message: Mapping[str, Any], use: Use) -> Iterator[Span]:
    if text := content_text(message.get("content")):
        yield Span(message["role"], text, use)
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    functions += [message["function_call"]] if message.get("function_call") else []
    for function in functions:
        yield Span(message["role"], function["arguments"], use, call=function["name"])
