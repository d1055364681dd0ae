"""Parts of the scored rows to look at on their own: by length, language, and columns of the table.

Knows: the user's table, read again for its columns. Does not know: scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tunesmith.config import PrepareConfig
from tunesmith.data.reading.content import is_url
from tunesmith.data.reading.readers import read
from tunesmith.data.reading.table import Table
from tunesmith.data.texts import languages
from tunesmith.errors import ConfigError, TunesmithError, nearest
from tunesmith.metrics.slices import Mask, length_slices, value_slices
from tunesmith.pipeline.results import Prepared

SOURCES = ("source", "channel", "origin")
"""Columns that are looked at without being asked."""
MOST_READ = 200_000
"""Rows of a table that is read again without being asked."""


def masks(
    texts: Sequence[str],
    lines: Sequence[int],
    prepared: Prepared,
    *,
    config: PrepareConfig,
    columns: Sequence[str],
) -> tuple[dict[str, Mask], list[str]]:
    """Slices by name, and why others are left out, in sentences.

    config   of prepare, which says where the table is; columns: of it, those asked for.

    Raises: ConfigError for a column that is not there.
    """
    found = length_slices([len(text) for text in texts])
    found |= value_slices("language", languages.guess(pl.Series(texts, dtype=pl.String)).to_list())
    if not columns and (prepared.num_rows > MOST_READ or is_url(config.table)):
        return found, []
    try:
        table = _table(config)
    except TunesmithError as error:
        return found, [_unread(columns, error.what)] if columns else []
    rows = _rows(table, lines, prepared)
    if rows is None:
        why = f"{table.path.name} is no longer as it was when it was prepared."
        return found, [_unread(columns, why)] if columns else []
    for name in _chosen(table, columns):
        found |= value_slices(name, table.columns[name].gather(rows).to_list())
    return found, []


def _table(config: PrepareConfig) -> Table:
    name = config.validation or config.table
    return read(name if is_url(name) else Path(name), encoding=config.encoding, sheet=config.sheet)


def _rows(table: Table, lines: Sequence[int], prepared: Prepared) -> list[int] | None:
    """Places of the lines in the table; None where it cannot be the one that was prepared."""
    if "validation" not in prepared.files and table.columns.height != prepared.num_rows:
        return None
    place = {line: i for i, line in enumerate(table.lines.to_list())}
    return [place[line] for line in lines] if place.keys() >= set(lines) else None


def _chosen(table: Table, asked: Sequence[str]) -> list[str]:
    """The columns to look at. Raises: ConfigError."""
    header = table.columns.columns
    for name in asked:
        if name not in header:
            raise ConfigError(
                f"{table.path.name} has no column {name!r} to score by (--slice).",
                fix=nearest(name, header),
            )
    unasked = [name for name in header if name.strip().casefold() in SOURCES]
    return list(dict.fromkeys((*asked, *unasked)))


def _unread(columns: Sequence[str], why: str) -> str:
    return f"The rows are not scored by {', '.join(columns)}: {why}"
