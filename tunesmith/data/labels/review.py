"""Reads back what people decided about rows: a filled-in review.csv.

Knows: the columns that matter in it, and how people write labels.
Does not know: how votes are counted, or who writes review.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tunesmith.data.findings import Finding, rows_finding
from tunesmith.data.reading.readers import read
from tunesmith.data.receipt import Step, verdict
from tunesmith.errors import DataError, nearest

DROP = "(drop)"
"""The decision that a row is no good under any label; a label of that name comes first."""
DROPPED = "dropped: as decided in the review"


@dataclass(frozen=True, kw_only=True)
class Review:
    """What people decided about rows."""

    decided: pl.DataFrame
    """row, label: one entry for each row that is decided."""
    dropped: Step
    """Takes out the rows that people decided to leave out."""
    findings: tuple[Finding, ...]


def read_review(path: Path, rows: pl.DataFrame, labels: Sequence[str]) -> Review:
    """The decisions in a filled-in review.csv: a table with file, line, text and decision.

    rows    row, file, line, text: the rows that may be decided, cleaned as when it was written.
    labels  the labels there are; a decision may differ from its label in case and spaces.
    An empty decision leaves its row undecided, and DROP takes it out. Rows that are gone or say
    something else by now stay undecided, with a finding.
    Raises: NotFound; DataError for a file without these columns or with an unknown label.
    """
    said = _said(path)
    decisions = said["decision"].unique(maintain_order=True).to_list()
    known = {decision: _label(decision, labels) for decision in decisions}
    _check_known(said, {d for d, label in known.items() if label is None}, labels, path)
    found = said.unique(["file", "line"], keep="last", maintain_order=True).join(
        rows.select("row", "file", "line", now="text"),
        on=["file", "line"],
        how="left",
        maintain_order="left",
    )
    # Spreadsheets change line breaks; the words are what counts.
    words = found.select(pl.col("text", "now").str.replace_all(r"\s+", " ").str.strip_chars())
    same = (words["text"] == words["now"]).fill_null(False)
    what = f"of {path.name} about a text that is no longer on that line of the table"
    fix = "The decision is left out; decide anew in the review.csv of this run."
    decided = found.filter(same).select("row", label=pl.col("decision").replace(known))
    is_dropped = pl.col("label") == DROP if DROP not in labels else pl.lit(False)
    return Review(
        decided=decided.filter(~is_dropped),
        dropped=Step(verdicts=verdict(decided.filter(is_dropped), DROPPED)),
        findings=rows_finding(found.filter(~same)["review_line"], what, fix),
    )


def _said(path: Path) -> pl.DataFrame:
    """file, line (Int64), text, decision and review_line of the rows with a decision."""
    table = read(path)
    for name in ("file", "line", "text", "decision"):
        if name not in table.columns.columns:
            raise DataError(
                f"The review has no column {name!r}.",
                fix="Fill in the column 'decision' of review.csv and leave the others as they are.",
                path=path,
            )
    return table.columns.select(
        pl.col("file").str.strip_chars(),
        pl.col("line").str.strip_chars().str.replace_all(",", "").cast(pl.Int64, strict=False),
        pl.col("text").fill_null(""),
        pl.col("decision").fill_null("").str.strip_chars(),
        review_line=table.lines,
    ).filter(pl.col("decision") != "")


def _label(decision: str, labels: Sequence[str]) -> str | None:
    """The label meant by a decision; None if there is no such label, or more than one."""
    if decision in labels:
        return decision
    alike = [label for label in (*labels, DROP) if _folded(label) == _folded(decision)]
    return alike[0] if len(alike) == 1 else None


def _folded(label: str) -> str:
    return "".join(label.casefold().split())


def _check_known(said: pl.DataFrame, unknown: set[str], labels: Sequence[str], path: Path) -> None:
    wrong = said.filter(pl.col("decision").is_in(list(unknown)))
    if wrong.is_empty():
        return
    first = wrong.row(0, named=True)
    more = f" ({wrong.height - 1:,} more are wrong)" if wrong.height > 1 else ""
    raise DataError(
        f"The decision {first['decision']!r} is none of the labels{more}.",
        fix=nearest(first["decision"], labels),
        path=path,
        line=first["review_line"],
    )
