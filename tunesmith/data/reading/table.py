"""A table as all readers give it: columns of text, and for each row its line and fate.

Does not know: formats, or which column is the text or the label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tunesmith.data.findings import Finding, counted
from tunesmith.errors import DataError
from tunesmith.events import Decision

MOST_COLUMNS = 5_000
"""More columns than this are a file read wrongly; the empty cells alone would fill the memory."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A source's rows. Columns, lines and fates hold one entry a row, in the source's order."""

    path: Path
    columns: pl.DataFrame
    """The columns under their own names, all String, null where there is no value."""
    lines: pl.Series
    """Int64: 1-based line on which the row starts; where there are no lines, the row's number."""
    fates: pl.Series
    """String: null, or why the row cannot be used."""
    header_line: int | None
    """Line of the column names; None where the format names columns in another way."""
    decisions: tuple[Decision, ...]
    findings: tuple[Finding, ...]
    nested: tuple[str, ...] = ()
    """Columns with lists or objects among their values, which stand as JSON text."""


def no_fates(num_rows: int) -> pl.Series:
    """Fates of rows that are all usable."""
    return pl.repeat(None, num_rows, dtype=pl.String, eager=True)


def written_size(columns: pl.DataFrame) -> int:
    """About how many bytes the columns (of text) take when every value is written out, as in CSV;
    in memory, values that are equal may be held once."""
    texts = columns.select(pl.all().str.len_bytes().sum()).row(0) if columns.width else ()
    return int(sum(texts)) + columns.width * columns.height


def complete(
    path: Path,
    columns: pl.DataFrame,
    *,
    decisions: Sequence[Decision],
    nested: Iterable[str],
) -> Table:
    """The table of a format without lines, where every row can be used."""
    return Table(
        path=path,
        columns=columns,
        lines=pl.int_range(1, columns.height + 1, eager=True, dtype=pl.Int64),
        fates=no_fates(columns.height),
        header_line=None,
        decisions=tuple(decisions),
        findings=(),
        nested=tuple(nested),
    )


def named(
    columns: pl.DataFrame, header: Sequence[str], path: Path, line: int
) -> tuple[pl.DataFrame, list[Decision]]:
    """Columns 0, 1, … under the header's names; unnamed ones numbered, or left out when empty.

    Raises: DataError for a name that comes twice.
    """
    for index, name in enumerate(header):
        if name and name in header[:index]:
            raise DataError(
                f"The header names two columns {name!r}.",
                fix="Rename one of them.",
                path=path,
                line=line,
            )
    unnamed = [str(index) for index, name in enumerate(header) if not name]
    filled = columns.select((pl.col(unnamed).fill_null("").str.strip_chars() != "").any())
    empty = [key for key in unnamed if not filled[key][0]]
    names = {str(i): name or f"column {i + 1}" for i, name in enumerate(header)}
    names = {key: name for key, name in names.items() if key not in empty}
    decisions = []
    if empty:
        number = counted(len(empty), "column without a name", "columns without a name")
        decisions.append(
            Decision(what="columns", value=f"{number} left out", reason="no row has a value there")
        )
    return columns.select(*names).rename(names), decisions
