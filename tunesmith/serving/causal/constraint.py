"""Answers held to a grammar: JSON by a schema, or calls of functions.

llguidance says before each token which ones may come; its JSON Schema is the whole of draft 2020-12
but for a few keywords, which it names.
Does not know: who wants the grammar, logits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tunesmith.errors import NotOffered, ProviderError
from tunesmith.serving.causal.alphabet import Alphabet

SPACE = r"[ \t\r\n]{0,20}"
"""White space inside JSON: as much as pretty printing needs. More, and a model that likes it would
write nothing else."""


class Grammars:
    """Makes constraints for the tokens of one model.

    ends  token ids at which an answer ends; they may come where the grammar is complete.
    size  logits that the model gives.
    """

    def __init__(
        self, tokenizer: Any, alphabet: Alphabet, *, ends: Collection[int], size: int
    ) -> None:
        # Here and not above: most answers need none.
        from llguidance import LLTokenizer

        self._tokens = LLTokenizer(tokenizer.to_str(), n_vocab=size, eos_token=sorted(ends))
        added = alphabet.added.items()
        self._ids = {c: i for i, c in added if self._tokens.is_special_token(i)}
        """Tokens that the library does not take for the text that they are written as."""
        self._size = size

    def literal(self, text: str) -> str:
        """`text` in a grammar, its special tokens as such."""
        if not self._ids:
            return quoted(text)
        special = re.compile("|".join(map(re.escape, sorted(self._ids, key=len, reverse=True))))
        parts, at = [], 0
        for found in special.finditer(text):
            parts += [quoted(text[at : found.start()]), f"<[{self._ids[found[0]]}]>"]
            at = found.end()
        return " ".join(part for part in (*parts, quoted(text[at:])) if part) or '""'

    def constraint(self, grammar: str, *, about: str) -> Constraint:
        """An answer by a grammar in llguidance's form of Lark.

        about: what it is made from, for the message. Raises: NotOffered, with the reason.
        """
        from llguidance import LLMatcher

        made = LLMatcher.grammar_from_lark(grammar)
        if problem := LLMatcher.validate_grammar(made, self._tokens):
            why = next(iter(problem.splitlines()), "").rstrip(" .")
            raise NotOffered(
                f"Answers cannot be held to {about}: {why}.",
                fix="Leave that part of the schema out.",
            )
        return Constraint(LLMatcher(self._tokens, made, log_level=0), self._size)


class Constraint:
    """What one answer may still be."""

    def __init__(self, matcher: Any, size: int) -> None:
        self._matcher = matcher
        self._size = size

    def copy(self) -> Constraint:
        """For another answer, which goes its own way."""
        return Constraint(self._matcher.deep_copy(), self._size)

    def mask(self) -> Tensor:
        """True for each token that may come next: shape (vocabulary,)."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        return torch.from_numpy(np.unpackbits(bits, bitorder="little")[: self._size]).bool()

    def take(self, token: int) -> None:
        """It came. Raises: ProviderError when the library gives up."""
        self._matcher.consume_token(token)
        self._check()

    @property
    def is_complete(self) -> bool:
        """Whether nothing may come any more."""
        return bool(self._matcher.is_stopped())

    def _check(self) -> None:
        if self._matcher.is_error():
            why = next(iter(self._matcher.get_error().splitlines()), "").rstrip(" .")
            raise ProviderError(
                f"The answer could not be held to its schema: {why}.", fix="Simplify the schema."
            )


def quoted(text: str) -> str:
    """A literal in a grammar; nothing for an empty one."""
    return json.dumps(text, ensure_ascii=False) if text else ""


def json_rule(schema: Mapping[str, Any] | bool, *, lenient: bool = False) -> str:
    """What stands in a grammar for JSON by a schema; True: any object.

    lenient: keywords that the library does not know are not held to.
    """
    content: dict[str, Any] = {"type": "object"} if isinstance(schema, bool) else dict(schema)
    options = {"whitespace_pattern": SPACE, **({"lenient": True} if lenient else {})}
    return f"%json {json.dumps({**content, 'x-guidance': options})}"
