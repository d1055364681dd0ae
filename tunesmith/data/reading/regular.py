"""Delimited text without irregularities, block by block, at the speed of Polars.

Knows: when Polars' CSV reader gives just what a strict parser would, and on which line of the
file each record starts. What counts as regular is RFC 4180: every record has as many fields as
the first, and quotes enclose whole fields and are doubled inside.
Does not know: what to do with text that is not so; then there is no answer, and a careful parser
has to read it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tunesmith.data.reading.encoding import Text
from tunesmith.data.reading.table import MOST_COLUMNS

Places = NDArray[np.intp]
"""Indices of bytes in a block, ascending."""

_BLOCK = 2**24
_LONGEST_RECORD = 2**26
_LF, _CR, _QUOTE = b'\n\r"'


def records(
    text: Text, separator: str, *, quotes: bool = True
) -> tuple[pl.DataFrame, pl.Series] | None:
    """Fields of all records, the header among them, and the line on which each starts.

    The columns are named 0, 1, …; without `quotes`, a quote is a character like any other.
    None when something is irregular.
    """
    frames, lines, width, line = [], [], None, 1
    for block in _blocks(text, quotes=quotes):
        parsed = _parse(block, separator, quotes=quotes) if block else None
        if parsed is None or parsed[0].width != (width or parsed[0].width):
            return None
        frame, before, num_lines = parsed
        frames.append(frame)
        lines.append(pl.Series(before + line, dtype=pl.Int64))
        width, line = frame.width, line + num_lines
    return (pl.concat(frames), pl.concat(lines)) if frames else None


def _blocks(text: Text, *, quotes: bool) -> Iterator[bytes]:
    """The text in blocks of whole records, each with its line end; an empty one if it has none."""
    rest = b""
    for piece in text.blocks(_BLOCK):
        block = rest + piece
        end = _end_of_records(block, quotes=quotes)
        rest = block[end:]
        if end:
            yield block[:end]
        if len(rest) > _LONGEST_RECORD:  # a quote left open swallows the file
            yield b""
    if rest:
        yield rest + b"\n"


def _end_of_records(block: bytes, *, quotes: bool) -> int:
    """Where the last record that is whole ends; 0 when none is."""
    end, data = len(block), np.frombuffer(block, np.uint8)
    is_open = quotes and np.count_nonzero(data == _QUOTE) % 2 == 1
    while True:
        start = block.rfind(b"\n", 0, end) + 1
        if quotes:
            is_open ^= block.count(b'"', start, end) % 2 == 1
        if not is_open or not start:
            return start
        end = start - 1


def _parse(
    block: bytes, separator: str, *, quotes: bool
) -> tuple[pl.DataFrame, NDArray[np.intp], int] | None:
    """Fields of a block's records, how many lines of the block come before each, and its lines."""
    if b"\x00" in block or block.count(b"\r") != block.count(b"\r\n"):
        return None
    data = np.frombuffer(block, np.uint8)
    marks = np.flatnonzero(data == _QUOTE) if quotes else np.empty(0, np.intp)
    if not _well_quoted(data, marks, ord(separator)):
        return None
    breaks, separators = np.flatnonzero(data == _LF), np.flatnonzero(data == ord(separator))
    outside = _outside(breaks, marks)
    ends, separators = breaks[outside], separators[_outside(separators, marks)]
    starts = np.concatenate(([0], ends[:-1] + 1))
    lines = np.concatenate(([0], np.flatnonzero(outside)[:-1] + 1))
    num_returns = int(np.count_nonzero(returns := data[ends - 1] == _CR))
    is_record = ends - returns > starts  # the others are blank lines
    starts, ends = starts[is_record], ends[is_record]
    width = _width(starts, ends, separators)
    if width is None:
        return None
    frame = _read(block, separator, width, quotes=bool(marks.size))
    if frame is None or frame.height != is_record.size:
        return None
    doubled = int(np.count_nonzero(marks[2::2] - marks[1:-1:2] == 1))
    num_bytes = len(block) - num_returns - is_record.size - separators.size - marks.size + doubled
    if sum(frame.select(pl.all().str.len_bytes().sum()).row(0)) != num_bytes:
        return None
    return frame.filter(pl.Series(is_record)), lines[is_record], breaks.size


def _well_quoted(data: NDArray[np.uint8], marks: Places, separator: int) -> bool:
    """Whether quotes open where a field starts, close where it ends, or are doubled inside.

    A doubled quote closes the field and opens it again, so that every second quote opens. The
    block ends in a line break, which is also what the byte before its first counts as.
    """
    if marks.size % 2:
        return False
    before, after = data[marks[0::2] - 1], data[marks[1::2] + 1]
    opens = (before == separator) | (before == _LF) | (before == _QUOTE)
    closes = (after == separator) | (after == _LF) | (after == _CR) | (after == _QUOTE)
    return bool(opens.all() and closes.all())


def _outside(places: Places, marks: Places) -> NDArray[np.bool_]:
    """Which of the places lie outside quotes."""
    if not marks.size:
        return np.ones(places.size, np.bool_)
    outside: NDArray[np.bool_] = np.searchsorted(marks, places) % 2 == 0
    return outside


def _width(starts: Places, ends: Places, separators: Places) -> int | None:
    """Fields of each record; None when not all have the same number, two at least."""
    if not starts.size:
        return None
    inner = int(np.searchsorted(separators, ends[0]))
    if not 0 < inner < MOST_COLUMNS or separators.size != inner * starts.size:
        return None
    grid = separators.reshape(starts.size, inner)
    fits = (grid[:, 0] >= starts).all() and (grid[:, -1] < ends).all()
    return inner + 1 if fits else None


def _read(block: bytes, separator: str, width: int, *, quotes: bool) -> pl.DataFrame | None:
    try:
        return pl.read_csv(
            block,
            has_header=False,
            separator=separator,
            quote_char='"' if quotes else None,
            schema={str(index): pl.String for index in range(width)},
            empty_string_is_null=False,
        )
    except pl.exceptions.PolarsError:
        return None
