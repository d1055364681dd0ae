"""Rows that say the same text twice, within the table and across to the validation table.

Two texts are the same when they differ in case only.
Knows: rows with a text and a label.
Does not know: near-duplicates, or where the rows go afterwards.
"""

from __future__ import annotations

import polars as pl

from tunesmith.data.findings import Finding, counted, lines_phrase, rows_finding
from tunesmith.data.receipt import VERDICT, Step
from tunesmith.events import Decision

MERGED = "merged: duplicate of an earlier row"
OUTVOTED = "dropped: outvoted by rows with the same text"
TIED = "dropped: same text with different labels"
LEAKED = "dropped: also in validation"


def leaked(rows: pl.DataFrame, validation: pl.DataFrame) -> Step:
    """Takes out training rows whose text is also a validation row's (both: row, line, text)."""
    seen = validation.select(_key(), pl.col("line").alias("seen")).unique("key", keep="first")
    found = rows.with_columns(_key()).join(seen, on="key", how="inner", maintain_order="left")
    verdicts = found.select(
        "row",
        pl.lit(LEAKED).alias("fate"),
        pl.format("validation line {}", "seen").alias("note"),
    )
    what = "with a text that is also in the validation file"
    fix = "Left out of training, so that the score is honest."
    return Step(verdicts=verdicts, findings=rows_finding(found["line"], what, fix))


def same_text(rows: pl.DataFrame) -> Step:
    """Takes out all but one of the rows that say the same (row, line, text, label).

    The majority of the labels decides; the first row that has that label stays. On a tie none
    does, and a finding names the lines.
    """
    twice = rows.select("row", "line", "label", _key()).filter(pl.col("key").is_duplicated())
    tally = twice.group_by("key", "label").agg(
        pl.len().alias("votes"), pl.col("row").min().alias("first"), pl.col("line").min()
    )
    settled = (
        tally.sort("votes", "first", descending=[True, False])
        .group_by("key")
        .agg(
            pl.col("label").first().alias("winner"),
            pl.col("first").first(),
            pl.col("line").first().alias("first_line"),
            ((pl.col("votes") == pl.col("votes").max()).sum() > 1).alias("tied"),
        )
    )
    fate = (
        pl.when("tied")
        .then(pl.lit(TIED))
        .when(pl.col("label") != pl.col("winner"))
        .then(pl.lit(OUTVOTED))
        .when(pl.col("row") != pl.col("first"))
        .then(pl.lit(MERGED))
    )
    note = (
        pl.when("tied")
        .then(pl.format("labelled {}", "label"))
        .otherwise(pl.format("kept: line {}, {}", "first_line", "winner"))
    )
    judged = (
        twice.join(settled, on="key", how="left", maintain_order="left")
        .with_columns(fate.alias("fate"), note.alias("note"))
        .filter(pl.col("fate").is_not_null())
    )
    outvoted = judged.filter(pl.col("fate") == OUTVOTED)["line"]
    what = "labelled otherwise than most rows with the same text"
    return Step(
        verdicts=judged.select(VERDICT),
        decisions=_merge_decision(int((judged["fate"] == MERGED).sum())),
        findings=(
            *rows_finding(outvoted, what, "The majority's label was taken."),
            *_tie_findings(judged.filter("tied")),
        ),
    )


def _merge_decision(number: int) -> tuple[Decision, ...]:
    if not number:
        return ()
    value = f"{counted(number, 'row')} merged into an earlier one"
    why = "same text, but for case, and same label"
    return (Decision(what="duplicates", value=value, reason=why),)


def _key() -> pl.Expr:
    return pl.col("text").str.to_lowercase().alias("key")


def _tie_findings(tied: pl.DataFrame) -> list[Finding]:
    groups = tied.group_by("key", maintain_order=True).agg("line", "label")
    findings = []
    for _, lines, labels in groups.iter_rows():
        names = " and ".join(map(repr, dict.fromkeys(labels)))
        what = f"The same text is labelled {names} equally often, on {lines_phrase(lines)}."
        findings.append(
            Finding("warning", lines[0], what, "None of these rows is used; correct the labels.")
        )
    return findings
