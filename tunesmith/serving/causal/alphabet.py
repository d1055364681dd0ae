"""What each token stands for, in bytes.

Texts are put together from bytes and not from decoded tokens: a character may be several tokens,
and decoding tokens one by one loses spaces.
Knows: how the `tokenizers` library writes tokens down.
Does not know: models, texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Alphabet:
    """The tokens of a `tokenizers.Tokenizer`."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self.special = {i: token.content for i, token in added.items() if token.special}
        """Tokens that mark something and are no text, by id."""
        self.added = {i: token.content for i, token in added.items()}
        """These, and those that are text but never a part of a longer token."""
        decoders = list(_decoders(json.loads(tokenizer.to_str())["decoder"]))
        self._is_bytes = any(decoder["type"] == "ByteLevel" for decoder in decoders)
        self._has_bytes = any(decoder["type"] == "ByteFallback" for decoder in decoders)
        self._replaced = dict(_replaced(decoders))
        self._known: dict[int, bytes] = {}

    def raw(self, token: int) -> bytes:
        """What is in the text where the token is; special ones are not."""
        if token not in self._known:
            self._known[token] = self._raw(token)
        return self._known[token]

    def _raw(self, token: int) -> bytes:
        if token in self.special:
            return b""
        if token in self.added:
            return str(self.added[token]).encode()
        written = self._tokenizer.id_to_token(token)
        if written is None:
            return b""  # the model has more tokens than its tokenizer
        if self._is_bytes:
            table = _byte_of()
            if all(character in table for character in written):
                return bytes(table[character] for character in written)
            return str(written).encode()
        if self._has_bytes and (byte := BYTE.fullmatch(written)):
            return bytes([int(byte[1], 16)])
        for old, new in self._replaced.items():
            written = written.replace(old, new)
        return str(written).encode()

    def name(self, token: int) -> str:
        """The token for people to read: bytes that are no whole characters as \\xNN."""
        if token in self.special:
            return str(self.special[token])
        return self.raw(token).decode(errors="backslashreplace")


def _decoders(decoder: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if decoder is None:
        return
    if decoder["type"] == "Sequence":
        for part in decoder["decoders"]:
            yield from _decoders(part)
    else:
        yield decoder


def _replaced(decoders: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """What stands in tokens for something else, mostly for a space."""
    for decoder in decoders:
        if decoder["type"] == "Metaspace":
            yield decoder["replacement"], " "
        elif decoder["type"] == "Replace" and "String" in decoder["pattern"]:
            yield decoder["pattern"]["String"], decoder["content"]


@cache
def _byte_of() -> dict[str, int]:
    """The byte of each character with which byte-level tokenizers write bytes down.

    Those that can be seen stand for themselves, the others for 256 and so on, in their order.
    (Radford et al. 2019, the code of GPT-2.)
    """
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    table = {chr(byte): byte for byte in seen}
    return table | {chr(256 + i): byte for i, byte in enumerate(hidden)}
