"""review.csv: rows for people to decide on, and what they decided.

prepare lists the rows on which annotators tie, evaluate the training rows by how probably their
label is wrong; both are tables of file, line and text, with a column `decision` to fill in.
Does not know: how rows are judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from tunesmith.data.findings import Finding, counted
from tunesmith.data.labels.review import DROPPED, Review, read_review
from tunesmith.data.reading.readers import read
from tunesmith.data.receipt import verdict
from tunesmith.pipeline.preparing.texts import Work

WHERE = ["file", "line"]
SAME = ["source", "key"]
"""Rows of one file with the same text are alike in these."""
NAMES = ("review.csv", "review-again.csv")


def named(rows: pl.DataFrame, work: Work) -> pl.DataFrame:
    """row, file, line, text of all rows."""
    names = {source: path.name for source, path in work.files.items()}
    file = pl.col("source").cast(pl.String).replace(names).alias("file")
    return rows.select("row", file, "line", "text")


def decisions(rows: pl.DataFrame, work: Work, labels: Sequence[str]) -> Review | None:
    """What people decided in the review that was given back; None: none was.

    rows  as of `named`. Raises: NotFound, DataError.
    """
    if not work.config.review:
        return None
    review = read_review(Path(work.config.review), rows, labels)
    work.journal.find(review.findings)
    return review


def decide(rows: pl.DataFrame, work: Work, labels: Sequence[str]) -> pl.DataFrame:
    """The rows of a table with one label each, with the labels that people decided on."""
    review = decisions(named(work.with_text(rows), work), work, labels)
    if review is None:
        return rows
    said = review.decided
    rows = work.journal.take(rows, replace(review.dropped, verdicts=_of_text(rows, review)))
    rows = _with_decided(rows, said.select("row", decided="label"))
    changed = rows.select(
        pl.col("decided").ne_missing(pl.col("label")) & pl.col("decided").is_not_null()
    )
    what = f"{counted(said.height, 'row')} labelled as decided in the review, "
    what += f"{changed.to_series().sum():,} of them otherwise than before."
    work.journal.find([Finding("info", None, what)])
    return rows.with_columns(pl.coalesce("decided", "label").alias("label")).drop("decided")


def _with_decided(rows: pl.DataFrame, said: pl.DataFrame) -> pl.DataFrame:
    """The rows with a column `decided`: as said of them, else as said of a row of the same text.

    Else rows that say the same would disagree, and outvote what people decided about one of them.
    """
    texts = said.join(rows.select("row", *SAME), on="row", how="left").drop("row")
    texts = texts.unique(SAME, keep="last", maintain_order=True)
    rows = rows.join(said, on="row", how="left", maintain_order="left")
    rows = rows.join(texts, on=SAME, how="left", maintain_order="left", suffix="_of_text")
    decided = pl.coalesce("decided", "decided_of_text").alias("decided")
    return rows.with_columns(decided).drop("decided_of_text")


def _of_text(rows: pl.DataFrame, review: Review) -> pl.DataFrame:
    """The verdicts on rows to leave out, and on all others of the same text."""
    verdicts = review.dropped.verdicts
    texts = rows.join(verdicts, on="row", how="semi").select(SAME).unique()
    return verdict(rows.join(texts, on=SAME, how="semi"), DROPPED)


def tied(rows: pl.DataFrame, every: pl.DataFrame, work: Work) -> pl.DataFrame:
    """What prepare lists: the tied rows, their votes, and an empty column for the decision.

    every  as of `named`.
    """
    files = rows.join(every.select("row", "file"), on="row", how="left", maintain_order="left")
    labels = work.columns.labels
    given = [pl.col("votes")]
    if len(labels) > 1:
        pairs = zip(work.cells, labels, strict=True)
        given = [pl.col(cell).alias(f"label: {name}") for cell, name in pairs]
    return files.select("file", "line", "text", *given, pl.lit("").alias("decision"))


def ranked(rows: pl.DataFrame, earlier: Path | None) -> pl.DataFrame:
    """What evaluate lists: its rows (file, line, text and others) with a column `decision`, which
    holds what was decided in an earlier review, so that this one can take its place.

    Earlier decisions on other rows come after.
    """
    if earlier is None or not earlier.is_file():
        return rows.with_columns(pl.lit("").alias("decision"))
    table = read(earlier).columns
    text, decided = (pl.col(name).fill_null("") for name in ("text", "decision"))
    said = (
        table.select(
            "file",
            pl.col("line").str.replace_all(",", "").cast(pl.Int64, strict=False),
            text,
            decided,
        )
        .filter(decided != "")
        .unique(WHERE, keep="last", maintain_order=True)
    )
    both = rows.join(said.drop("text"), on=WHERE, how="left", maintain_order="left")
    rest = said.join(rows, on=WHERE, how="anti")
    return pl.concat([both, rest], how="diagonal").with_columns(pl.col("decision").fill_null(""))


def name_of(folder: Path, earlier: Path | None) -> str:
    """The name for a new review in `folder`, where the one in use must stay as it is."""
    in_use = earlier is not None and (folder / NAMES[0]).resolve() == earlier.resolve()
    return NAMES[1] if in_use else NAMES[0]
