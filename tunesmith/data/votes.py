"""Settles several annotators' labels of a row by majority; ties are never settled silently.

Knows: ballots, one column an annotator.
Does not know: files, spellings, or what becomes of the rows to review.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from tunesmith.data.findings import Finding, counted, percent, rows_finding
from tunesmith.data.receipt import Step, undecided

TIE = "dropped: annotators tie"


def settle_votes(
    rows: pl.DataFrame, names: list[str], ties: Literal["drop", "first"]
) -> tuple[pl.DataFrame, Step, pl.DataFrame]:
    """One `label` for each row in place of the columns `names`, and what that means.

    rows  row, line, text, fate, and an annotator's label in each of `names`.
    Returns the rows; a step that takes tied rows out (ties="drop"); the rows it takes out as they
    were, for people to review.
    """
    labelled = rows.hstack(majority(rows.select(names)))
    findings: list[Finding] = []
    several = undecided(labelled).filter(pl.col("num_votes") > 1)
    if several.height:
        share = percent(int(several["agreed"].sum()) / several.height)
        number = counted(several.height, "row")
        what = f"The annotators agree on {share} of {number} that two or more of them labelled."
        findings.append(Finding("info", None, what))
    tied = undecided(labelled).filter("tied", pl.col("text").is_not_null())
    fix = "Left out, and listed in review.csv; --ties first takes the first annotator's label."
    if ties == "first":
        fix = "The label of the first annotator was taken, as --ties first asks."
    findings += rows_finding(tied["line"], "on which the annotators tie", fix)
    if ties == "first":
        tied = tied.clear()
    sides = pl.concat_str([pl.col(name).fill_null("-") for name in names], separator=" / ")
    verdicts = tied.select("row", pl.lit(TIE).alias("fate"), sides.alias("note"))
    left = labelled.drop(*names, "tied", "num_votes", "agreed")
    return left, Step(verdicts=verdicts, findings=tuple(findings)), tied


def majority(ballots: pl.DataFrame) -> pl.DataFrame:
    """The label with most votes in each row. An empty cell is no vote.

    ballots  one String column an annotator.
    Returns one row for each of them: `label` (null without votes; on a tie, what the first of the
    annotators on a tied side says), `tied` (Boolean), `num_votes` (UInt32), `agreed` (Boolean:
    two or more votes, all alike).
    """
    indexed = ballots.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"),
        *(pl.col(name).alias(str(place)) for place, name in enumerate(ballots.columns)),
    )
    votes = (
        indexed.unpivot(index="row", variable_name="annotator", value_name="label")
        .drop_nulls("label")
        .with_columns(pl.col("annotator").cast(pl.UInt32))
        .group_by("row", "label")
        .agg(pl.len().alias("votes"), pl.col("annotator").min().alias("first"))
        .sort("row", pl.col("votes"), "first", descending=[False, True, False])
    )
    settled = votes.group_by("row", maintain_order=True).agg(
        pl.col("label").first(),
        ((pl.col("votes") == pl.col("votes").max()).sum() > 1).alias("tied"),
        pl.col("votes").sum().alias("num_votes"),
        ((pl.len() == 1) & (pl.col("votes").sum() > 1)).alias("agreed"),
    )
    return (
        indexed.select("row")
        .join(settled, on="row", how="left", maintain_order="left")
        .select(
            "label",
            pl.col("tied").fill_null(False),
            pl.col("num_votes").fill_null(0),
            pl.col("agreed").fill_null(False),
        )
    )
