"""A chat completion while it is written.

Does not know: what was asked of the model, how it writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunesmith import wire
from tunesmith.server.asking.objects import DONE, Json, chat_head, chat_usage, sent
from tunesmith.server.asking.written.choices import Written, logprob_of
from tunesmith.serving.writing import Began, Call, Ended, Event, Piece, Token
from tunesmith.wire import new_id


class ChatDraft:
    """The reply to one request."""

    def __init__(self, asked: wire.ChatRequest) -> None:
        self._head = chat_head(asked.model)
        self._logprobs = bool(asked.logprobs)
        self._ids = bool(asked.return_token_ids)
        self._older = bool(asked.functions)
        """Whether calls are told in the older way, which had one."""
        options = asked.stream_options
        self._tells_usage = options is not None and bool(options.include_usage)
        self._choices = [Written(every=self._ids) for _ in range(asked.n or 1)]
        self._prompt_tokens = 0
        self._prompt: Json = {}
        """The prompt's token ids, where they are asked for."""
        self._calls: dict[int, Json] = {}
        """What each choice calls, as its message has it."""

    def take(self, place: int, event: Event) -> Iterator[Json]:
        """See Draft."""
        if isinstance(event, Began):
            self._prompt_tokens = event.prompt_tokens
            if self._ids:
                self._prompt = {"prompt_token_ids": list(event.prompt_ids)}
            for index in range(len(self._choices)):
                first = {"role": "assistant", "content": "", "refusal": None}
                yield self._chunk(index, first) | ({} if index else self._prompt)
        elif isinstance(event, Piece):
            told = self._choices[event.choice].take(event)
            if event.text or told:
                yield self._chunk(event.choice, {"content": event.text}, told=told)
        else:
            yield from self._end_of(event)

    def whole(self) -> Json:
        """See Draft."""
        choices = [self._choice(index) for index in range(len(self._choices))]
        head = {"object": "chat.completion", **self._head}
        return {**head, "choices": choices, "usage": self._usage(), **self._prompt}

    def end(self) -> bytes:
        """See Draft."""
        if not self._tells_usage:
            return DONE
        head = {"object": "chat.completion.chunk", **self._head}
        return sent({**head, "choices": [], "usage": self._usage()}) + DONE

    def broken(self, error: Json) -> Json:
        """See Draft."""
        return {"error": error}

    def _end_of(self, event: Ended) -> Iterator[Json]:
        self._choices[event.choice].ended = event
        if event.calls:
            calls = _told(event.calls, older=self._older)
            self._calls[event.choice] = calls
            for part in _in_parts(calls):
                yield self._chunk(event.choice, part)
        yield self._chunk(event.choice, {}, end=self._reason(event))

    def _reason(self, event: Ended) -> str:
        return "function_call" if self._older and event.calls else event.reason

    def _choice(self, index: int) -> Json:
        written = self._choices[index]
        assert written.ended is not None
        calls = self._calls.get(index, {})
        text = written.text
        return {
            "index": index,
            "message": {
                "role": "assistant",
                "content": None if calls and not text else text,
                "refusal": None,
                "annotations": [],
                **calls,
            },
            "logprobs": self._told_logprobs(written.tokens),
            "finish_reason": self._reason(written.ended),
            **({"token_ids": written.ids} if self._ids else {}),
        }

    def _chunk(
        self, index: int, delta: Json, *, told: Sequence[Token] = (), end: str | None = None
    ) -> Json:
        logprobs = self._told_logprobs(told) if told else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": end}
        if self._ids:
            choice["token_ids"] = [token.id for token in told]
        usage: Json = {"usage": None} if self._tells_usage else {}
        return {"object": "chat.completion.chunk", **self._head, "choices": [choice], **usage}

    def _told_logprobs(self, tokens: Sequence[Token]) -> Json | None:
        if not self._logprobs:
            return None
        return {"content": [logprob_of(token) for token in tokens], "refusal": None}

    def _usage(self) -> Json:
        ends = [written.ended for written in self._choices]
        written = sum(end.completion_tokens for end in ends if end is not None)
        return chat_usage(self._prompt_tokens, written)


def _told(calls: Sequence[Call], *, older: bool) -> Json:
    """Calls as a message has them."""
    functions = [{"name": call.name, "arguments": call.arguments} for call in calls]
    if older:
        return {"function_call": functions[0]}
    told = [{"id": new_id("call_"), "type": "function", "function": f} for f in functions]
    return {"tool_calls": told}


def _in_parts(told: Json) -> Iterator[Json]:
    """The same as deltas: of each call its name, then its arguments."""
    if "function_call" in told:
        yield {"function_call": {**told["function_call"], "arguments": ""}}
        yield {"function_call": {"arguments": told["function_call"]["arguments"]}}
        return
    for index, call in enumerate(told["tool_calls"]):
        function = call["function"]
        yield {"tool_calls": [{"index": index, **call, "function": {**function, "arguments": ""}}]}
        arguments = {"arguments": function["arguments"]}
        yield {"tool_calls": [{"index": index, "function": arguments}]}
