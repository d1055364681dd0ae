"""Ballots: who gave which label to which item, read out of the layouts that tables have.

One column an annotator; one column a label, holding 0 and 1 or counts; or a row for each rating.
A frame of ballots has the columns of `BALLOTS`: `item` is the row of the item's first row, `rater`
is null where counts do not say who it was, `count` is how often the label was given.
Does not know: how ballots are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from tunesmith.data.columns.choice import Columns
from tunesmith.data.columns.roles import counts_of, vote_labels
from tunesmith.data.findings import Finding, counted, lines_phrase, percent, rows_finding
from tunesmith.data.receipt import Step
from tunesmith.events import Decision

RATED = "merged: a rating of an earlier row"
BALLOTS = {"item": pl.UInt32, "rater": pl.String, "label": pl.String, "count": pl.UInt32}

_SOMEBODY = "somebody"  # the rater of each row, where a row is one rating


def read_ballots(
    rows: pl.DataFrame, columns: Columns, cells: Sequence[str]
) -> tuple[pl.DataFrame, Step]:
    """The ballots in the rows, and what is to be told and done about them.

    rows     row, source, line, text and the columns `cells`; where `columns` has a rater also
             `rater`, and where it then has an id also `item` (both String). Only rows still in.
    cells    columns of `rows` that hold what `columns.labels` or else `columns.votes` names, in
             the same order; labels in their final spelling.
    Returns the ballots; a step that merges further ratings of an item into its first row.
    """
    findings: tuple[Finding, ...] = ()
    if columns.votes:
        names = vote_labels(columns.votes)
        labels = {cell: names[c] for cell, c in zip(cells, columns.votes, strict=True)}
        ballots, findings = from_votes(rows, labels)
    elif columns.rater:
        ballots = from_annotators(rows, {cells[0]: None})
    else:
        ballots = from_annotators(rows, dict(zip(cells, columns.labels, strict=True)))
    if columns.rater is None:
        return ballots, Step(verdicts=_merged(rows.clear()), findings=findings)
    ballots, step = by_item(rows, ballots)
    return ballots, Step(
        verdicts=step.verdicts, decisions=step.decisions, findings=(*findings, *step.findings)
    )


def from_annotators(rows: pl.DataFrame, cells: Mapping[str, str | None]) -> pl.DataFrame:
    """Ballots of a table with one column an annotator; each row is an item.

    rows   row, and String columns of labels; an empty (null) cell is no vote.
    cells  column → the annotator's name, None if it is not known.
    """
    parts = [
        _ballots(rows.filter(pl.col(cell).is_not_null()), pl.lit(rater), pl.col(cell))
        for cell, rater in cells.items()
    ]
    return pl.concat(parts)


def from_votes(
    rows: pl.DataFrame, cells: Mapping[str, str]
) -> tuple[pl.DataFrame, tuple[Finding, ...]]:
    """Ballots of a table with one column a label; each row is an item.

    rows   row, line, and String columns of counts, or of 0 and 1, yes and no, true and false.
    cells  column → label.
    A row of 0 and 1 is one rating: several 1s give a vote to each of their labels, none give no
    vote. A cell that is no count is no vote and is told of.
    """
    parts, odd = [], [rows.select("line").clear()]
    for cell, label in cells.items():
        counts = rows.select("row", "line", counts_of(pl.col(cell)).alias("count"))
        odd.append(counts.filter(pl.col("count").is_null()).select("line"))
        given = counts.filter(pl.col("count") > 0)
        parts.append(_ballots(given, pl.lit(None), pl.lit(label), pl.col("count")))
    # All votes of one row together, in the order of the columns.
    ballots = pl.concat(parts).sort("item", maintain_order=True)
    if several := _several(rows, ballots):
        ballots = ballots.with_columns(rater=pl.lit(_SOMEBODY))
    lines = pl.concat(odd)["line"].unique().sort()
    what = "with something else than a count in a vote column"
    findings = rows_finding(lines, what, "Such a cell counts as no vote.")
    return ballots, (*findings, *several)


def by_item(rows: pl.DataFrame, ballots: pl.DataFrame) -> tuple[pl.DataFrame, Step]:
    """Ballots of a table with a row for each rating, put together by item.

    rows     row, source, line, text, rater, and `item` where rows have an item's identifier; else
             rows of the same text are one item. A row with neither is an item of its own.
    ballots  those of each row alone.
    The first row of an item that has a text stands for it; the step merges the others into it. A
    label that a rater gives to an item twice counts once; unknown raters are all different.
    """
    key = pl.coalesce("item", "text") if "item" in rows.columns else pl.col("text")
    keyed = rows.select("row", "line", "text", "rater", "source", key=key)
    there = pl.when(pl.col("text").is_not_null()).then("row")
    first = pl.coalesce(there.min(), pl.col("row").min()).over("source", "key")
    keyed = keyed.with_columns(
        first=pl.when(pl.col("key").is_null()).then("row").otherwise(first),
        rater=pl.coalesce("rater", pl.format("unknown, line {}", "line")),
    )
    given = ballots.drop("rater").join(
        keyed.select("row", "first", "rater"), left_on="item", right_on="row", maintain_order="left"
    )
    once = given.group_by("first", "rater", "label", maintain_order=True).agg(pl.col("count").max())
    once = once.rename({"first": "item"}).select(*BALLOTS)
    others = keyed.filter(pl.col("row") != pl.col("first"))
    lines = keyed.select(first="row", first_line="line")
    others = others.join(lines, on="first", how="left", maintain_order="left")
    num_items, num_raters = keyed["first"].n_unique(), keyed["rater"].n_unique()
    value = f"{counted(rows.height, 'row')} about {counted(num_items, 'item')}"
    why = f"one row a rating, by {counted(num_raters, 'rater')}"
    step = Step(
        verdicts=_merged(others),
        decisions=(Decision(what="ratings", value=value, reason=why),) if others.height else (),
        findings=(*_repeated(given.height - once.height), *_other_texts(keyed)),
    )
    return once, step


def _ballots(
    rows: pl.DataFrame, rater: pl.Expr, label: pl.Expr, count: pl.Expr | None = None
) -> pl.DataFrame:
    count = pl.lit(1) if count is None else count
    exprs = {"item": pl.col("row"), "rater": rater, "label": label, "count": count}
    return rows.select(exprs[name].cast(kind).alias(name) for name, kind in BALLOTS.items())


def _merged(others: pl.DataFrame) -> pl.DataFrame:
    """Verdicts on rows (row, first_line) that are further ratings."""
    line = pl.col("first_line") if "first_line" in others.columns else pl.lit(None)
    return others.select(
        "row", pl.lit(RATED).alias("fate"), pl.format("line {}", line).alias("note")
    )


def _several(rows: pl.DataFrame, ballots: pl.DataFrame) -> tuple[Finding, ...]:
    """How many ratings choose several labels, where cells hold 0 and 1."""
    if ballots.is_empty() or ballots.select((pl.col("count") > 1).any()).item():
        return ()
    several = ballots.filter(pl.col("item").is_duplicated())["item"].unique()
    if several.is_empty():
        return ()
    lines = rows.filter(pl.col("row").is_in(several.implode()))["line"].to_list()
    share = percent(len(lines) / rows.height)
    what = f"{counted(len(lines), 'row')} ({share}) with several labels: {lines_phrase(lines)}."
    fix = "Each of the labels gets one vote; a row keeps the one with most votes."
    return (Finding("warning", lines[0], what, fix),)


def _repeated(number: int) -> tuple[Finding, ...]:
    if not number:
        return ()
    what = f"{counted(number, 'rating')} say again what the same rater said of the same item."
    return (Finding("info", None, what, "Each counts once."),)


def _other_texts(keyed: pl.DataFrame) -> tuple[Finding, ...]:
    """Rows with the identifier, but not the text, of an earlier row."""
    texts = keyed.select(first="row", first_text="text")
    odd = keyed.join(texts, on="first", how="left", maintain_order="left").filter(
        pl.col("text") != pl.col("first_text")
    )
    what = "with the identifier of an earlier row, but another text"
    return rows_finding(odd["line"], what, "The earlier text is used.")
