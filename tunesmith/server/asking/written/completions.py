"""A completion, of one prompt or several, while it is written.

Does not know: what was asked of the model, how it writes.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from itertools import chain

from tunesmith import wire
from tunesmith.server.asking.objects import DONE, LOWEST, Json, sent, text_head, text_usage
from tunesmith.server.asking.written.choices import Written
from tunesmith.serving.writing import Began, Ended, Event, Piece, Token

Prompt = str | Sequence[int]
Row = tuple[str, float | None, dict[str, float] | None, int]
"""A token's text, log-probability, alternatives and offset."""


class TextDraft:
    """The reply to one request, whose prompts these are."""

    def __init__(self, asked: wire.CompletionRequest, prompts: Sequence[Prompt]) -> None:
        self._asked = asked
        self._head = text_head(asked.model)
        self._n = asked.n or 1
        self._ids = bool(asked.return_token_ids)
        options = asked.stream_options
        self._tells_usage = options is not None and bool(options.include_usage)
        made = max(self._n, asked.best_of or 0)
        self._answers = [_Answers(asked, prompt, made) for prompt in prompts]

    def take(self, place: int, event: Event) -> Iterator[Json]:
        """See Draft."""
        answers = self._answers[place]
        if isinstance(event, Began):
            answers.began = event
            if self._asked.echo or self._ids:
                for choice in range(self._n):
                    yield self._chunk(place, choice, answers.beginning())
        elif isinstance(event, Piece):
            rows = answers.take(event)
            if event.text or rows:
                ids = [token.id for token in event.tokens]
                part = answers.part(event.text, rows, ids)
                yield self._chunk(place, event.choice, part)
        else:
            answers.choices[event.choice].ended = event
            part = answers.part("", None, [])
            yield self._chunk(place, event.choice, {**part, "finish_reason": event.reason})

    def whole(self) -> Json:
        """See Draft."""
        rows = chain.from_iterable(answers.best(self._n) for answers in self._answers)
        choices = [{**choice, "index": index} for index, choice in enumerate(rows)]
        return {**self._head, "choices": choices, "usage": self._usage()}

    def end(self) -> bytes:
        """See Draft."""
        if not self._tells_usage:
            return DONE
        return sent({**self._head, "choices": [], "usage": self._usage()}) + DONE

    def broken(self, error: Json) -> Json:
        """See Draft."""
        return {"error": error}

    def _chunk(self, place: int, choice: int, part: Json) -> Json:
        usage: Json = {"usage": None} if self._tells_usage else {}
        index = place * self._n + choice
        return {**self._head, "choices": [{**part, "index": index}], **usage}

    def _usage(self) -> Json:
        read = sum(answers.began.prompt_tokens for answers in self._answers if answers.began)
        ends: Iterator[Ended | None] = (c.ended for a in self._answers for c in a.choices)
        return text_usage(read, sum(end.completion_tokens for end in ends if end is not None))


class _Answers:
    """All answers to one prompt."""

    def __init__(self, asked: wire.CompletionRequest, prompt: Prompt, number: int) -> None:
        self._asked = asked
        self._ids = bool(asked.return_token_ids)
        self._text = prompt if isinstance(prompt, str) else ""
        self.began: Began | None = None
        self.choices = [Written(every=self._ids) for _ in range(number)]
        self._rows: list[list[Row]] = [[] for _ in range(number)]
        self._offsets = [_Offset(len(self._text)) for _ in range(number)]

    def take(self, piece: Piece) -> list[Row]:
        """Add a piece; what is told of its tokens."""
        offset = self._offsets[piece.choice]
        told = self.choices[piece.choice].take(piece)
        rows = [_row(token, offset.of(token), self._asked.logprobs) for token in told]
        self._rows[piece.choice] += rows
        return rows

    def beginning(self) -> Json:
        """What a streamed choice begins with: the prompt, where it is wanted."""
        assert self.began is not None
        text = self._text if self._asked.echo else ""
        part = self.part(text, self._echoed(), [])
        return part | ({"prompt_token_ids": list(self.began.prompt_ids)} if self._ids else {})

    def part(self, text: str, rows: list[Row] | None, ids: list[int]) -> Json:
        """A piece of a choice."""
        told = None if rows is None or self._asked.logprobs is None else self._told(rows)
        tokens: Json = {"token_ids": ids} if self._ids else {}
        return {"text": text, "logprobs": told, "finish_reason": None, **tokens}

    def best(self, n: int) -> Iterator[Json]:
        """The `n` choices that are sent, whole."""
        numbers = list(range(len(self.choices)))
        if len(numbers) > n:
            numbers.sort(key=lambda i: self.choices[i].mean_logprob, reverse=True)
        for number in numbers[:n]:
            choice = self.choices[number]
            assert choice.ended is not None
            rows = [*self._echoed(), *self._rows[number]]
            part = self.part(self._text * bool(self._asked.echo) + choice.text, rows, choice.ids)
            if self._ids and self.began:
                part["prompt_token_ids"] = list(self.began.prompt_ids)
            yield {**part, "finish_reason": choice.ended.reason}

    def _echoed(self) -> list[Row]:
        """A prompt that is echoed is one token of unknown probability."""
        return [(self._text, None, None, 0)] if self._asked.echo else []

    def _told(self, rows: Sequence[Row]) -> Json:
        """OpenAI's parallel arrays."""
        return {
            "tokens": [row[0] for row in rows],
            "token_logprobs": [row[1] for row in rows],
            "top_logprobs": [row[2] for row in rows] if self._asked.logprobs else None,
            "text_offset": [row[3] for row in rows],
        }


class _Offset:
    """Where in the text each token begins, in characters."""

    def __init__(self, start: int) -> None:
        self._at = start
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")

    def of(self, token: Token) -> int:
        """Where the next token begins."""
        at = self._at
        self._at += len(self._decoder.decode(token.raw))
        return at


def _row(token: Token, offset: int, top: int | None) -> Row:
    if top is None:
        return token.text, None, None, offset
    tops = {text: max(logprob, LOWEST) for _, text, _, logprob in token.top}
    logprob = max(token.logprob, LOWEST)
    return token.text, logprob, {**tops, token.text: logprob}, offset
