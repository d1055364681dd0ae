"""One choice of an answer, while it is written.

Does not know: the shapes of the endpoints.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from tunesmith.server.asking.objects import LOWEST
from tunesmith.serving.writing import Ended, Piece, Token


class Written:
    """A choice so far.

    every  tell of every token, those included that ended it or make no text.
    """

    def __init__(self, *, every: bool) -> None:
        self._every = every
        self._texts: list[str] = []
        self._waiting: deque[Token] = deque()
        """Tokens that begin behind the text that is known."""
        self._room = 0
        """Bytes of the text that are in no token yet; below 0, the last token goes on so far."""
        self.tokens: list[Token] = []
        """Those that are told of: they begin in the text."""
        self.ids: list[int] = []
        """Of all tokens."""
        self.ended: Ended | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self._texts)

    @property
    def mean_logprob(self) -> float:
        """The mean log-probability of its tokens."""
        return math.fsum(t.logprob for t in self.tokens) / max(1, len(self.tokens))

    def take(self, piece: Piece) -> Sequence[Token]:
        """Add a piece; the tokens to tell of with it."""
        self.ids += [token.id for token in piece.tokens]
        told = list(piece.tokens) if self._every else self._of_text(piece)
        self.tokens += told
        if piece.text:
            self._texts.append(piece.text)
        return told

    def _of_text(self, piece: Piece) -> list[Token]:
        """The tokens of the text so far that were not told of.

        Those of a stop text, of the end and of calls begin behind it, and never are.
        """
        self._waiting += piece.tokens
        said = piece.text.encode()
        if said and not self._texts:
            self._skip_to(said)
        self._room += len(said)
        told = []
        while self._waiting and self._room > 0:
            told.append(self._waiting.popleft())
            self._room -= len(told[-1].raw)
        return told

    def _skip_to(self, said: bytes) -> None:
        """Drop what was written before the text begins, such as an empty block of reasoning."""
        written = b"".join(token.raw for token in self._waiting)
        before = 0 if written.startswith(said) else max(0, written.rfind(said))
        while before and before >= len(self._waiting[0].raw):
            before -= len(self._waiting.popleft().raw)
        self._room = before


def logprob_of(token: Token) -> dict[str, Any]:
    """OpenAI's log-probability of a token."""
    top = [_entry(text, raw, logprob) for _, text, raw, logprob in token.top]
    return {**_entry(token.text, token.raw, token.logprob), "top_logprobs": top}


def _entry(text: str, raw: bytes, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": max(logprob, LOWEST), "bytes": list(raw)}
