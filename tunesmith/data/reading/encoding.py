"""The text of a source: which encoding its bytes are in, and why.

Knows: bytes and characters.
Does not know: rows, columns, formats.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from tunesmith.data.findings import Finding, counted
from tunesmith.data.reading.content import Content, refused
from tunesmith.errors import ConfigError, nearest

_PIECE = 2**22
# UTF-32's mark starts with UTF-16's, so it comes first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_NAMES = {"utf-8": "UTF-8", "cp1252": "Windows-1252", "iso8859-1": "Latin-1", "utf-16": "UTF-16"}
_KNOWN = (
    *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1", "iso-8859-15"),
    *("cp1250", "cp1251", "cp1253", "cp1254", "cp437", "cp850", "mac-roman", "koi8-r"),
    *("shift_jis", "cp932", "euc-jp", "gb18030", "gbk", "big5", "euc-kr", "ascii"),
)
_OF_NAMES_AND_CODE = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
_NOT_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x19\x1b-\x1f]")


@dataclass(frozen=True, kw_only=True)
class Text:
    """Content as characters. It can be read any number of times."""

    content: Content
    codec: str
    """Python's name of the encoding."""
    name: str
    """Its name for people."""
    reason: str
    errors: str = "strict"
    """What happens to bytes that are no characters: strict (there are none) or replace."""
    findings: tuple[Finding, ...] = ()

    def open(self, newline: str = "") -> TextIO:
        """A new file object; lines end as `newline` says for `open`, "" being any way, kept."""
        return io.TextIOWrapper(
            self.content.open(), encoding=self.codec, errors=self.errors, newline=newline
        )

    def blocks(self, size: int) -> Iterator[bytes]:
        """The text as UTF-8, in blocks of about `size` bytes that may end inside a character."""
        if self.codec in ("utf-8", "utf-8-sig") and self.errors == "strict":
            with self.content.open() as file:
                if self.codec == "utf-8-sig":
                    file.read(len(codecs.BOM_UTF8))
                while block := file.read(size):
                    yield block
        else:
            with self.open() as text:
                while characters := text.read(size):
                    yield characters.encode()


def decode(content: Content, encoding: str | None = None) -> Text:
    """The text in the encoding that was asked for, or in the one that fits.

    Raises: ConfigError for an encoding that does not exist; DataError for a file that is no text.
    """
    if encoding is not None:
        return _as_asked(content, encoding)
    for mark, codec, name in _MARKS:
        if content.head.startswith(mark) and (codec != "utf-8-sig" or _is_valid(content, codec)):
            reason = f"it starts with the {name} mark"
            return _strict(content, codec, name, reason, f"starts like {name} text but is none")
    if utf16 := _utf16_without_mark(content.head):
        reason = "every other byte is zero, as in UTF-16 text without a mark"
        return _strict(content, utf16, "UTF-16", reason, "holds binary data")
    controls = len(_CONTROLS.findall(content.head))
    if b"\x00" in content.head or controls * 100 > len(content.head):
        raise refused(content.path, "holds binary data")
    line = _undecodable_line(content, "utf-8")
    if line is None:
        return Text(
            content=content, codec="utf-8", name="UTF-8", reason="all bytes are valid UTF-8"
        )
    return _not_utf8(content, line)


def _strict(content: Content, codec: str, name: str, reason: str, otherwise: str) -> Text:
    if not _is_valid(content, codec):
        raise refused(content.path, otherwise)
    return Text(content=content, codec=codec, name=name, reason=reason)


def _as_asked(content: Content, encoding: str) -> Text:
    try:
        codec = codecs.lookup(encoding).name
        b"a".decode(encoding, "ignore")  # raises where bytes do not become text, as with rot13
        if codec in _OF_NAMES_AND_CODE:
            raise LookupError
    except (LookupError, UnicodeError):
        fix = nearest(encoding, _KNOWN)
        raise ConfigError(f"There is no encoding named {encoding!r}.", fix=fix) from None
    if codec == "utf-8":
        codec = "utf-8-sig"  # takes away the mark where there is one
    name = _NAMES.get(codec.removesuffix("-sig"), encoding)
    if codec in ("utf-16", "utf-32"):
        codec = _with_order(codec, content.head)
    text = Text(content=content, codec=codec, name=name, reason="as asked")
    line = _undecodable_line(content, codec)
    return text if line is None else _lenient(text, line)


def _not_utf8(content: Content, line: int) -> Text:
    """UTF-8 with a few broken characters, or a one-byte encoding."""
    codec = "utf-8-sig" if content.head.startswith(codecs.BOM_UTF8) else "utf-8"
    reason = "nearly all bytes are valid UTF-8"
    text = Text(content=content, codec=codec, name="UTF-8", reason=reason)
    bad, foreign = _count_bad(content, codec)
    if bad * 20 <= foreign:
        return _lenient(text, line)
    if odd := _find(content, _NOT_IN_CP1252):
        why = f"line {line:,} is not UTF-8, and Windows-1252 has no byte {odd[0]:#04x}"
        return Text(content=content, codec="latin-1", name="Latin-1", reason=why)
    why = f"line {line:,} is not UTF-8, and Windows programs write like this"
    return Text(content=content, codec="cp1252", name="Windows-1252", reason=why)


def _lenient(text: Text, line: int) -> Text:
    """The same text with U+FFFD for what is no character, and the finding that says so."""
    bad, _ = _count_bad(text.content, text.codec)
    what = f"{counted(bad, 'character')} could not be read, first on line {line:,}."
    finding = Finding("warning", line, what, "They stand as \ufffd; correct them in the table.")
    return Text(
        content=text.content,
        codec=text.codec,
        name=text.name,
        reason=text.reason,
        errors="replace",
        findings=(finding,),
    )


def _utf16_without_mark(head: bytes) -> str | None:
    """The codec when nearly all even or nearly all odd bytes are zero, as Latin letters are."""
    sample = head[:4096]
    if len(sample) < 8:
        return None
    even, odd = sample[::2], sample[1::2]
    for codec, high, low in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if high.count(0) * 2 > len(high) and low.count(0) * 20 < len(low):
            return codec
    return None


def _is_valid(content: Content, codec: str) -> bool:
    return _undecodable_line(content, codec) is None


def _with_order(codec: str, head: bytes) -> str:
    """UTF-16 or UTF-32 with the order of the bytes, where no mark at the start tells it."""
    if head.startswith(tuple(mark for mark, name, _ in _MARKS if name == codec)):
        return codec
    width = 2 if codec == "utf-16" else 4
    # In most characters the byte that counts most is zero.
    first, last = head[:4096:width].count(0), head[width - 1 : 4096 : width].count(0)
    return f"{codec}-be" if first > last else f"{codec}-le"


def _undecodable_line(content: Content, codec: str) -> int | None:
    """The 1-based line of the first bytes that are no characters; None when all are."""
    decoder, line = codecs.getincrementaldecoder(codec)(), 1
    for piece in _pieces(content):
        try:
            # The empty piece at the end makes half a character there an error.
            line += decoder.decode(piece, final=not piece).count("\n")
        except UnicodeDecodeError as error:
            return line + error.object[: error.start].decode(codec, "ignore").count("\n")
    return None


def _count_bad(content: Content, codec: str) -> tuple[int, int]:
    """How many characters are unreadable, and how many are not ASCII (these included)."""
    decoder, bad, foreign = codecs.getincrementaldecoder(codec)(errors="replace"), 0, 0
    for piece in _pieces(content):
        text = decoder.decode(piece, final=not piece)
        bad += text.count("\ufffd")
        foreign += len(text) - len(text.encode("ascii", "ignore"))
    return bad, foreign


def _find(content: Content, pattern: re.Pattern[bytes]) -> bytes | None:
    """The first match; the pattern is one byte long, so it cannot lie across two pieces."""
    return next((m[0] for piece in _pieces(content) if (m := pattern.search(piece))), None)


def _pieces(content: Content) -> Iterator[bytes]:
    """The bytes in pieces, with an empty one at the end."""
    with content.open() as file:
        while piece := file.read(_PIECE):
            yield piece
    yield b""
