"""Tables that a run has kept as Parquet, such as its predictions, as plain values.

Does not know: what the columns mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tunesmith.errors import storage_errors


def names(path: Path) -> list[str]:
    """The columns of the table. Raises: NotFound, StorageError."""
    with storage_errors(path):
        return list(pl.read_parquet_schema(path))


def columns(
    path: Path, wanted: Sequence[str], *, rows: Sequence[int] | None = None
) -> dict[str, list[Any]]:
    """Column → its values: of all rows, or of those by number, from 0, in that order.

    Wanted columns that are not there are left out. Of some rows only the parts of the file are
    read that hold them. Raises: StorageError.
    """
    with storage_errors(path):
        there = set(pl.read_parquet_schema(path))
        table = pl.scan_parquet(path).select(name for name in wanted if name in there)
        if rows is None:
            found = table.collect()
        else:
            # One after the other: at once they would all be in memory.
            parts = [table.slice(start, length).collect() for start, length in _stretches(rows)]
            found = pl.concat(parts or [table.clear().collect()])
    return {name: found[name].to_list() for name in found.columns}


def _stretches(rows: Sequence[int]) -> list[tuple[int, int]]:
    """Rows that follow each other, as (first, how many)."""
    found: list[tuple[int, int]] = []
    for row in rows:
        if found and sum(found[-1]) == row:
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((row, 1))
    return found
