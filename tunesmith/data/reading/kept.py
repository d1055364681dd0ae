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

    Wanted columns that are not there are left out. Raises: StorageError.
    """
    with storage_errors(path):
        there = set(pl.read_parquet_schema(path))
        found = pl.scan_parquet(path).select(name for name in wanted if name in there).collect()
    if rows is not None:
        found = found[list(rows)]
    return {name: found[name].to_list() for name in found.columns}
