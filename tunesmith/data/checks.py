"""Rows that cannot be used, and labels that cannot be learned or scored.

Knows: rows with a line, a text and a label, before they are balanced and split.
Does not know: what happens to the rows that pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from tunesmith.data.findings import Finding, counted, enumerated, rows_finding
from tunesmith.data.receipt import Step, of_source, summary, verdict
from tunesmith.errors import DataError, nearest


def gaps(rows: pl.DataFrame, what: Literal["text", "label"]) -> Step:
    """Takes out rows without a text (whose `size` is null), or without a `label`.

    rows  source, line, and that column.
    """
    empty = rows.filter(pl.col("size" if what == "text" else "label").is_null())
    findings: list[Finding] = []
    for source, where in (("table", ""), ("validation", "of the validation file ")):
        lines = empty.filter(pl.col("source") == source)["line"]
        findings += rows_finding(lines, f"{where}without a {what}", "Left out.")
    return Step(verdicts=verdict(empty, f"dropped: no {what}"), findings=tuple(findings))


def single_rows(rows: pl.DataFrame, everywhere: pl.DataFrame) -> Step:
    """Takes out, `everywhere`, labels that only one of the table's `rows` has."""
    single = rows.filter(pl.col("label").is_unique())
    gone = everywhere.filter(pl.col("label").is_in(single["label"].to_list()))
    fix = "Left out, as --rare-labels drop asks."
    return Step(
        verdicts=verdict(gone, "dropped: the only row with its label"),
        findings=rows_finding(single["line"], "of a label that no other row has", fix),
    )


def check_several(rows: pl.DataFrame, path: Path) -> None:
    """Raise DataError unless the table's rows that are still in have two labels.

    rows  all rows: source, label, fate.
    """
    labels = of_source(rows, "table")["label"]
    if labels.is_empty():
        table = rows.filter(pl.col("source") == "table")
        fates = ", ".join(f"{number:,} {fate}" for fate, number in summary(table).items())
        raise DataError(
            f"None of the {counted(table.height, 'row')} can be used: {fates}.",
            fix="Add rows whose text comes once, with one label.",
            path=path,
        )
    if labels.n_unique() < 2:
        raise DataError(
            f"All {counted(len(labels), 'usable row')} have the same label, {labels[0]!r}.",
            fix="A classifier needs at least two; choose another column with --label.",
            path=path,
        )


def check_twice(rows: pl.DataFrame, path: Path) -> None:
    """Raise DataError for labels on one row only (rows: line, label)."""
    single = rows.filter(pl.col("label").is_unique())
    if single.is_empty():
        return
    others = rows.filter(~pl.col("label").is_unique())["label"].unique().sort()
    hint = nearest(single["label"][0], others)
    raise DataError(
        f"{_subject(single)} on one row only; one is needed to learn from and one to check with.",
        fix="Add rows, correct the label, or leave such rows out with --rare-labels drop. "
        f"{hint if hint.startswith('Did') else ''}".strip(),
        path=path,
        line=single["line"][0],
    )


def check_known(validation: pl.DataFrame, rows: pl.DataFrame, table: Path, path: Path) -> None:
    """Raise DataError for labels in the validation file at `path` that the table's rows lack."""
    known = rows["label"].unique().sort().to_list()
    unknown = validation.filter(~pl.col("label").is_in(known)).unique(
        "label", keep="first", maintain_order=True
    )
    if unknown.height:
        raise DataError(
            f"{_subject(unknown)} here, but on no usable row of {table.name}.",
            fix="Correct the validation file, or add such rows to the table. "
            + nearest(unknown["label"][0], known),
            path=path,
            line=unknown["line"][0],
        )


def _subject(rows: pl.DataFrame) -> str:
    """`The label 'x' is` or `3 labels, 'x' (line 7), … are`."""
    named = [f"{name!r} (line {line:,})" for name, line in rows.select("label", "line").iter_rows()]
    if len(named) == 1:
        return f"The label {rows['label'][0]!r} is"
    return f"{len(named)} labels, {enumerated(named)}, are"
