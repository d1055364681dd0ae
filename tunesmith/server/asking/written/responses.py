"""A response while it is written.

Does not know: what was asked of the model, how it writes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from tunesmith.server.asking.objects import Json, output_text, response_usage, sent
from tunesmith.server.asking.written.choices import Written, logprob_of
from tunesmith.serving.writing import Began, Call, Ended, Event, Piece
from tunesmith.wire import new_id


class ResponseDraft:
    """The reply to one request; `begun` is the response with nothing in it yet.

    logprobs  whether log-probabilities are wanted.
    """

    def __init__(self, begun: Json, *, logprobs: bool) -> None:
        self._begun = begun
        self._logprobs = logprobs
        self._written = Written(every=False)
        self._message: Json | None = None
        """The message, once it has begun."""
        self._output: list[Json] = []
        """Items that are whole."""
        self._prompt_tokens = 0
        self._number = 0
        """Of events so far."""
        self._whole: Json = {}

    def take(self, place: int, event: Event) -> Iterator[Json]:
        """See Draft."""
        if isinstance(event, Began):
            self._prompt_tokens = event.prompt_tokens
            yield self._event("response.created", response=self._begun)
            yield self._event("response.in_progress", response=self._begun)
        elif isinstance(event, Piece):
            told = self._written.take(event)
            if event.text:
                yield from self._begin_message()
                logprobs = [logprob_of(token) for token in told] if self._logprobs else []
                said = {"delta": event.text, "logprobs": logprobs}
                yield self._event("response.output_text.delta", **self._inside(), **said)
        else:
            yield from self._end_of(event)

    def whole(self) -> Json:
        """See Draft."""
        ended = self._written.ended
        assert ended is not None
        is_cut = ended.reason == "length"
        self._whole = {
            **self._begun,
            "status": "incomplete" if is_cut else "completed",
            "completed_at": None if is_cut else int(time.time()),
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "output": self._output,
            "usage": response_usage(self._prompt_tokens, ended.completion_tokens),
        }
        return self._whole

    def end(self) -> bytes:
        """See Draft."""
        return sent(self._event(f"response.{self._whole['status']}", response=self._whole))

    def broken(self, error: Json) -> Json:
        """See Draft."""
        told = {name: error[name] for name in ("code", "message", "param")}
        return self._event("error", **told, error=error)

    def _end_of(self, event: Ended) -> Iterator[Json]:
        self._written.ended = event
        if self._message is not None or not event.calls:
            yield from self._begin_message()
            yield from self._end_message("incomplete" if event.reason == "length" else "completed")
        for call in event.calls:
            yield from self._call(call)

    def _begin_message(self) -> Iterator[Json]:
        if self._message is not None:
            return
        self._message = {
            "id": new_id("msg_"),
            "type": "message",
            "status": "in_progress",
            "content": [],
            "role": "assistant",
        }
        yield self._event("response.output_item.added", output_index=0, item=self._message)
        part = output_text("", [])
        yield self._event("response.content_part.added", **self._inside(), part=part)

    def _end_message(self, status: str) -> Iterator[Json]:
        assert self._message is not None
        logprobs = [logprob_of(t) for t in self._written.tokens] if self._logprobs else []
        part = output_text(self._written.text, logprobs)
        item = {**self._message, "status": status, "content": [part]}
        said = {"text": part["text"], "logprobs": logprobs}
        yield self._event("response.output_text.done", **self._inside(), **said)
        yield self._event("response.content_part.done", **self._inside(), part=part)
        yield self._event("response.output_item.done", output_index=0, item=item)
        self._output.append(item)

    def _call(self, call: Call) -> Iterator[Json]:
        index = len(self._output)
        item = {
            "id": new_id("fc_"),
            "type": "function_call",
            "status": "completed",
            "call_id": new_id("call_"),
            "name": call.name,
            "arguments": call.arguments,
        }
        begun = {**item, "status": "in_progress", "arguments": ""}
        inside = {"item_id": item["id"], "output_index": index}
        yield self._event("response.output_item.added", output_index=index, item=begun)
        arguments = "response.function_call_arguments"
        yield self._event(f"{arguments}.delta", **inside, delta=call.arguments)
        yield self._event(f"{arguments}.done", **inside, arguments=call.arguments)
        yield self._event("response.output_item.done", output_index=index, item=item)
        self._output.append(item)

    def _inside(self) -> Json:
        assert self._message is not None
        return {"item_id": self._message["id"], "output_index": 0, "content_index": 0}

    def _event(self, name: str, **data: object) -> Json:
        self._number += 1
        return {"type": name, "sequence_number": self._number - 1, **data}
