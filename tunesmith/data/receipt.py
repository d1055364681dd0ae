"""The fate of every row: kept, merged, or dropped and why.

No row ever leaves the table in hand; a step that takes rows out gives verdicts on them, and what
is left is what has no fate yet. So the receipt accounts for every row by construction.
Does not know: why any step takes rows out.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tunesmith.data.findings import Finding
from tunesmith.events import Decision

KEPT = "kept"
VERDICT = ["row", "fate", "note"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a step makes of the rows: verdicts on those it takes out, and what to tell of it."""

    verdicts: pl.DataFrame
    """row (UInt32), fate (String), note (String, may be null); a row at most once."""
    decisions: tuple[Decision, ...] = ()
    findings: tuple[Finding, ...] = ()


def undecided(rows: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """The rows that are still in: all their columns, or these."""
    still = rows.lazy().filter(pl.col("fate").is_null())
    return (still.select(columns) if columns else still).collect()


def of_source(rows: pl.DataFrame, source: str, *columns: str) -> pl.DataFrame:
    """The rows of one file that are still in; source is table or validation."""
    still = rows.lazy().filter(pl.col("fate").is_null() & (pl.col("source") == source))
    return (still.select(columns) if columns else still).collect()


def settle(rows: pl.DataFrame, verdicts: pl.DataFrame) -> pl.DataFrame:
    """`rows` (in the order of `row`) with the verdicts entered. A row that has a fate keeps it."""
    if verdicts.is_empty():
        return rows
    places = rows["row"].search_sorted(verdicts["row"])
    new = verdicts.with_columns(places.alias("place"), rows["fate"][places].alias("old"))
    new = new.filter(pl.col("old").is_null(), pl.col("fate").is_not_null())
    return rows.with_columns(
        rows[name].clone().scatter(new["place"], new[name]) for name in ("fate", "note")
    )


def verdict(rows: pl.DataFrame, fate: str) -> pl.DataFrame:
    """The same verdict, without a note, on each of the rows."""
    return rows.select(
        "row", pl.lit(fate).alias("fate"), pl.lit(None, dtype=pl.String).alias("note")
    )


def write(rows: pl.DataFrame, path: Path) -> None:
    """Write source, line, fate, split and note of every row as Parquet. Raises OSError."""
    buffer = io.BytesIO()
    rows.select("source", "line", "fate", "split", "note").write_parquet(buffer)
    path.write_bytes(buffer.getvalue())


def summary(rows: pl.DataFrame) -> dict[str, int]:
    """Fate → number of rows, kept first, then the most frequent; sums to the number of rows."""
    counts = (
        rows.group_by("fate")
        .len()
        .sort(pl.col("fate") != KEPT, "len", "fate", descending=[False, True, False])
    )
    return dict(counts.iter_rows())
