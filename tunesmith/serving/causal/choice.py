"""One answer, as it is written token by token.

Does not know: logits, other answers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tunesmith.errors import ProviderError
from tunesmith.serving.causal.alphabet import Alphabet
from tunesmith.serving.causal.calls import Reader
from tunesmith.serving.causal.constraint import Constraint
from tunesmith.serving.causal.sampling import Drawn, Sampler
from tunesmith.serving.causal.text import Growing
from tunesmith.serving.writing import Ended, Piece, Reason, Token


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How an answer is written and when it ends.

    ends     token ids that end it.
    most     tokens that it has at most.
    shown    special tokens that the reader of calls has to see.
    """

    alphabet: Alphabet
    ends: Collection[int]
    most: int
    sampler: Sampler
    text: Growing
    constraint: Constraint | None = None
    reader: Reader | None = None
    shown: Collection[int] = ()


class Choice:
    """An answer.

    ids       prompt and answer so far.
    sampler   how the next token is drawn.
    is_ended  whether there is nothing more to come.
    """

    def __init__(self, index: int, prompt: list[int], manner: Manner) -> None:
        self.index = index
        self.ids = list(prompt)
        self.sampler = manner.sampler
        self.is_ended = False
        self._manner = manner
        self._written = 0
        self._tokens: list[Token] = []
        """Those that no piece has told yet."""

    def begin(self) -> Iterator[Piece | Ended]:
        """Nothing is written yet; it may already be at its end."""
        if self._manner.most < 1:
            yield from self._end("length")

    def rule(self) -> None:
        """Tell the sampler which tokens may come next. Raises: ProviderError."""
        if self._manner.constraint is not None:
            self.sampler.allowed = self._manner.constraint.mask()

    def take(self, drawn: Drawn) -> Iterator[Piece | Ended]:
        """The next token is `drawn`. Raises: ProviderError when the model computes no numbers."""
        if not drawn.is_number:
            raise ProviderError(
                "The model's numbers are too large, or are none: its weights may be damaged.",
                fix="Train it again, with a lower learning rate.",
            )
        token, manner = drawn.id, self._manner
        self.ids.append(token)
        self._written += 1
        self._tokens.append(self._token(drawn))
        manner.sampler.note(token)
        if token in manner.ends:
            yield from self._end("stop")
            return
        if manner.constraint is not None:
            manner.constraint.take(token)
        text = self._read(manner.text.add(self._raw(token)))
        if self._is_complete():
            yield from self._end("stop", text)
        elif self._written >= manner.most:
            yield from self._end("length", text)
        elif text:
            yield self._piece(text)

    def _is_complete(self) -> bool:
        manner = self._manner
        by_rule = manner.constraint is not None and manner.constraint.is_complete
        by_call = manner.reader is not None and manner.reader.is_done
        return by_rule or by_call or manner.text.is_stopped

    def _end(self, reason: Reason, text: str = "") -> Iterator[Piece | Ended]:
        self.is_ended = True
        reader = self._manner.reader
        text += self._read(self._manner.text.end())
        if reader is not None:
            text += reader.end()
        if text or self._tokens:
            yield self._piece(text)
        calls = tuple(reader.calls) if reader is not None else ()
        if calls and reason == "stop":
            reason = "tool_calls"
        yield Ended(self.index, reason, self._written, calls)

    def _read(self, text: str) -> str:
        return text if self._manner.reader is None else self._manner.reader.add(text)

    def _piece(self, text: str) -> Piece:
        tokens, self._tokens = self._tokens, []
        return Piece(self.index, text, tokens)

    def _raw(self, token: int) -> bytes:
        alphabet = self._manner.alphabet
        if token in self._manner.shown:
            return str(alphabet.special[token]).encode()
        return alphabet.raw(token)

    def _token(self, drawn: Drawn) -> Token:
        alphabet = self._manner.alphabet
        top = [(i, alphabet.name(i), alphabet.raw(i), value) for i, value in drawn.top]
        return Token(drawn.id, alphabet.name(drawn.id), alphabet.raw(drawn.id), drawn.logprob, top)
