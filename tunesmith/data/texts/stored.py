"""The texts of a table's rows, apart from what else is known of the rows.

Texts are most of a table; everything else about a row is a few bytes. So steps that need no texts
work on frames without them, and steps that do get them piece by piece. Beyond a size the pieces
lie on disk.
Does not know: what the texts are for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

IN_MEMORY = 2**28
"""Bytes of texts that stay in memory."""
_PIECE = 100_000  # rows of a piece, where whoever adds them has no better number

_SCHEMA = {"text": pl.String, "raw": pl.String}


class Texts:
    """Rows are numbered from 0 in the order in which they are added.

    A piece is a frame of `text` (null where a row has none) and `raw` (what stood there before it
    was cleaned; null where that is the same).
    """

    def __init__(self, folder: Path, *, in_memory: int = IN_MEMORY) -> None:
        """folder  where texts may lie that are too many for the memory; the caller's to remove."""
        self._folder = folder
        self._room = in_memory
        self._pieces: list[pl.DataFrame | Path] = []
        self._starts = [0]

    @classmethod
    def of(cls, texts: pl.Series, raw: pl.Series | None = None) -> Texts:
        """Texts that are in memory and stay there."""
        stored = cls(Path())
        for piece in _frame(texts, raw).iter_slices(_PIECE):
            stored._pieces.append(piece)
            stored._starts.append(len(stored) + piece.height)
        return stored

    def __len__(self) -> int:
        return self._starts[-1]

    def add(self, texts: pl.Series, raw: pl.Series | None = None) -> None:
        """Take in further rows. Raises OSError."""
        piece = _frame(texts, raw)
        self._starts.append(len(self) + piece.height)
        self._room -= int(piece.estimated_size())
        self._pieces.append(piece)
        if self._room < 0:
            self._pieces = [self._stored(number) for number in range(len(self._pieces))]

    def pieces(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """(number of its first row, piece), in order."""
        for start, piece in zip(self._starts, self._pieces, strict=False):
            yield start, _loaded(piece)

    def of_rows(self, rows: pl.Series) -> pl.DataFrame:
        """`text` and `raw` of these rows, in their order."""
        numbers = rows.to_numpy().astype(np.int64)
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        borders = np.searchsorted(ordered, self._starts)
        found = [pl.DataFrame(schema=_SCHEMA)]
        for number, (first, last) in enumerate(zip(borders, borders[1:], strict=False)):
            if first < last:
                within = ordered[first:last] - self._starts[number]
                found.append(_taken(_loaded(self._pieces[number]), within))
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return pl.concat(found)[back]

    def _stored(self, number: int) -> pl.DataFrame | Path:
        """The piece's place on disk; it is written there unless it is already."""
        piece = self._pieces[number]
        if isinstance(piece, Path):
            return piece
        self._folder.mkdir(parents=True, exist_ok=True)
        place = self._folder / f"{number}.arrow"
        piece.write_ipc(place)
        return place


def taken_apart(columns: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The frame in pieces, each let go once the next is asked for.

    Frees the memory of a frame that was put together from pieces, if nobody else holds it.
    """
    parts = [column.get_chunks() for column in columns]
    if len({tuple(map(len, chunks)) for chunks in parts}) > 1:
        parts = [column.get_chunks() for column in columns.rechunk()]
    names = columns.columns
    del columns
    for chunks in parts:
        chunks.reverse()
    while parts and parts[0]:
        piece = pl.DataFrame(
            [chunks.pop().alias(n) for n, chunks in zip(names, parts, strict=True)]
        )
        yield from piece.iter_slices(_PIECE)


def _frame(texts: pl.Series, raw: pl.Series | None) -> pl.DataFrame:
    if raw is None:
        raw = pl.Series("raw", [None], dtype=pl.String).new_from_index(0, len(texts))
    changed = raw.is_not_null() & texts.ne_missing(raw)
    return pl.DataFrame({"text": texts, "raw": raw}).with_columns(
        pl.when(changed).then("raw").alias("raw")
    )


def _taken(piece: pl.DataFrame, rows: npt.NDArray[np.int64]) -> pl.DataFrame:
    """Some rows of a piece. Few are copied out, since otherwise they would keep all of it."""
    taken = piece[rows]
    if len(rows) * 2 > piece.height:
        return taken
    return pl.DataFrame(taken.to_dict(as_series=False), schema=_SCHEMA)


def _loaded(piece: pl.DataFrame | Path) -> pl.DataFrame:
    return pl.read_ipc(piece) if isinstance(piece, Path) else piece
