"""Asking a model of this server, and its answer as output items tell of it.

Does not know: what is asked, what becomes of the answer.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunesmith.metrics.graders.templates import Sample
from tunesmith.server.evals.messages import shown

Json = dict[str, Any]
Ask = Callable[[str, Mapping[str, Any]], Awaitable[Json]]
"""POSTs a body to a path of this server; `status_code` and `body` of the reply."""
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
DEFAULTS: Json = {"temperature": 1.0, "top_p": 1.0, "seed": 42, "max_completion_tokens": 2048}
"""What output items say of a run that leaves it to the server, as OpenAI's do."""
NO_TOKENS = {
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "total_tokens": 0,
    "cached_tokens": 0,
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model said."""

    text: str = ""
    tools: Sequence[Json] = ()
    """The calls it made, in the shape of chat completions."""
    finish_reason: str = ""
    model: str = ""
    usage: Mapping[str, int] = field(default_factory=lambda: NO_TOKENS)
    error: Mapping[str, str] | None = None
    """Why there is no answer: code and message."""

    @property
    def sample(self) -> Sample:
        """As templates know it."""
        return Sample(self.text, tuple(self.tools))


async def answered(ask: Ask, path: str, body: Mapping[str, Any]) -> Answer:
    """What the model in `body` answers; one that cannot says why."""
    reply = await ask(path, body)
    content = reply["body"]
    if reply["status_code"] >= 300:
        told = content["error"]
        code = told.get("code") or told.get("type") or str(reply["status_code"])
        return failed(str(code), told["message"], model=str(body["model"]))
    return of_chat(content) if path == CHAT else of_response(content)


def failed(code: str, message: str, *, model: str = "") -> Answer:
    """No answer, and why."""
    error = {"code": code, "message": message}
    return Answer(finish_reason="error", model=model, error=error)


def of_chat(body: Mapping[str, Any]) -> Answer:
    """A chat completion's first choice."""
    choice, usage = body["choices"][0], body.get("usage") or {}
    message = choice.get("message") or {}
    return Answer(
        text=_text(message.get("content") or message.get("refusal") or ""),
        tools=message.get("tool_calls") or (),
        finish_reason=str(choice.get("finish_reason") or "stop"),
        model=str(body.get("model") or ""),
        usage={
            **{name: usage.get(name) or 0 for name in NO_TOKENS},
            "cached_tokens": (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        },
    )


def of_response(body: Mapping[str, Any]) -> Answer:
    """What a response holds: its messages' texts, and the functions it calls."""
    usage = body.get("usage") or {}
    items = body.get("output") or []
    tools = [
        {
            "id": item["call_id"],
            "type": "function",
            "function": {"name": item["name"], "arguments": item["arguments"]},
        }
        for item in items
        if item["type"] == "function_call"
    ]
    texts = shown([item for item in items if item["type"] == "message"])
    is_cut = body.get("status") == "incomplete"
    return Answer(
        text="".join(message["content"] for message in texts),
        tools=tools,
        finish_reason="length" if is_cut else "tool_calls" if tools else "stop",
        model=str(body.get("model") or ""),
        usage={
            "prompt_tokens": usage.get("input_tokens") or 0,
            "completion_tokens": usage.get("output_tokens") or 0,
            "total_tokens": usage.get("total_tokens") or 0,
            "cached_tokens": (usage.get("input_tokens_details") or {}).get("cached_tokens") or 0,
        },
    )


def of_given(given: Mapping[str, Any]) -> Answer:
    """An answer that came with its item: `output_text`, or the `choices` of a chat completion."""
    text, tools = given.get("output_text", given.get("output_json", "")), given.get("output_tools")
    choices = given.get("choices")
    if "output_text" not in given and isinstance(choices, list) and choices:
        message = choices[0].get("message") if isinstance(choices[0], Mapping) else None
        if isinstance(message, Mapping):
            text, tools = message.get("content") or "", message.get("tool_calls")
    return Answer(
        text=_text(text),
        tools=tools if isinstance(tools, list) else (),
        finish_reason="stop",
        model=str(given.get("model") or ""),
    )


def record(answer: Answer, messages: Sequence[Mapping[str, Any]], asked: Mapping[str, Any]) -> Json:
    """A question and its answer as `sample` of an output item; `asked` is how to sample."""
    output: list[Json] = []
    if answer.finish_reason and answer.error is None:
        calls = {"tool_calls": list(answer.tools)} if answer.tools else {}
        output.append({"role": "assistant", "content": answer.text, **calls})
    return {
        "input": shown(messages),
        "output": output,
        "finish_reason": answer.finish_reason,
        "model": answer.model,
        "usage": dict(answer.usage),
        "error": answer.error,
        **{name: asked.get(name, default) for name, default in DEFAULTS.items()},
    }


def usage_of(answer: Answer) -> dict[str, dict[str, int]]:
    """What asking has used, by model; nothing where nobody answered."""
    if answer.error is not None or not answer.model:
        return {}
    return {answer.model: {"invocation_count": 1, **answer.usage}}


def added(*usages: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Several together."""
    total: dict[str, dict[str, int]] = {}
    for usage in usages:
        for model, numbers in usage.items():
            found = total.setdefault(model, dict.fromkeys(numbers, 0))
            for name, number in numbers.items():
                found[name] += number
    return total


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
