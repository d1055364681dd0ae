"""Settles several raters' labels of an item; ties are never settled silently.

Three ways: the majority; Dawid and Skene's estimate, which learns how reliable each rater is; or
no single label but the share of votes of each. What people decided (`review`) goes before all.
Knows: ballots.
Does not know: how they are laid out in a table, spellings, or what becomes of the rows to review.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from tunesmith.data.findings import Finding, counted, percent, rows_finding
from tunesmith.data.receipt import Step, undecided
from tunesmith.errors import DataError

TIE = "dropped: annotators tie"

MOST_LINES = 20
"""In which many votes on one text are told."""

_DIGITS = 9  # shares that are the same to so many digits are a tie
_AT_THE_TOP = pl.col("score") == pl.col("score").max()

Array = npt.NDArray[np.floating[Any]]


# --- settling -----------------------------------------------------------------------------------


def settle_ballots(
    rows: pl.DataFrame,
    ballots: pl.DataFrame,
    ties: Literal["drop", "first", "share"],
    *,
    shares: pl.DataFrame | None = None,
    decided: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, Step, pl.DataFrame]:
    """One `label` for each row, null without votes, and what that means.

    rows     row, line, text, fate and any others.
    ballots  item (a row of `rows`), rater, label, count.
    shares   item, label, share: decide in place of the numbers of votes (see `dawid_skene`).
    decided  row, label: what people decided (see `review`); goes before all votes.
    Returns the rows with `label`; a step that takes tied rows out (ties="drop"); the rows it takes
    out with `votes` (such as `anger 2, joy 2`), for people to review.
    """
    ranked = _ranked(ballots, shares)
    labelled = rows.join(
        _settled(ranked), left_on="row", right_on="item", how="left", maintain_order="left"
    ).with_columns(pl.col("tied", "agreed").fill_null(False))
    findings = _agreed(labelled, ballots)
    if decided is not None and decided.height:
        labelled, finding = _decide(labelled, decided)
        findings.append(finding)
    tied = undecided(labelled).filter("tied", pl.col("text").is_not_null())
    fix = "Left out, and listed in review.csv: fill in its column decision and give it back with "
    fix += "--review; or --ties first takes the first annotator's label."
    if ties == "first":
        fix = "The label of the first annotator was taken, as --ties first asks."
    elif ties == "share":
        fix = "Each of their labels counts by its votes; scored is the first annotator's."
    findings += rows_finding(tied["line"], "on which the annotators tie", fix)
    if ties != "drop":
        tied = tied.clear()
    sides = _sides(ranked.join(tied, left_on="item", right_on="row", how="semi"))
    tied = tied.join(sides, left_on="row", right_on="item", how="left", maintain_order="left")
    verdicts = tied.select("row", pl.lit(TIE).alias("fate"), pl.col("sides").alias("note"))
    left = labelled.drop("tied", "num_votes", "agreed")
    return left, Step(verdicts=verdicts, findings=tuple(findings)), tied


def _settled(ranked: pl.DataFrame) -> pl.DataFrame:
    """What becomes of each item that has votes.

    Returns item; `label`, the one with most votes or, if given, the largest share, and of tied
    ones the one voted for first; `tied` and `agreed` (Boolean; agreed: two or more votes, all
    alike); `num_votes` (UInt32).
    """
    count, item, score = pl.col("count"), pl.col("item"), pl.col("score")
    votes = ranked.group_by("item").agg(
        count.sum().alias("num_votes"),
        ((count.max() == count.sum()) & (count.sum() > 1)).alias("agreed"),
    )
    # The first two of each item tell all; reading off neighbours is much faster than grouping.
    return (
        ranked.select(
            "item",
            "label",
            (item == item.shift(-1)).fill_null(False).and_(score == score.shift(-1)).alias("tied"),
            (item != item.shift(1)).fill_null(True).alias("is_first"),
        )
        .filter("is_first")
        .drop("is_first")
        .join(votes, on="item", how="left", maintain_order="left")
    )


def _ranked(ballots: pl.DataFrame, shares: pl.DataFrame | None) -> pl.DataFrame:
    """item, label, count, score; in each item the label that wins comes first."""
    counts = (
        ballots.with_row_index("first")
        .group_by("item", "label")
        .agg(pl.col("count").sum(), pl.col("first").min())
    )
    score = pl.col("count")
    if shares is not None:
        counts = shares.join(counts, on=["item", "label"], how="left").with_columns(
            pl.col("count").fill_null(0), pl.col("first").fill_null(ballots.height)
        )
        score = pl.col("share").round(_DIGITS)
    return counts.with_columns(score=score).sort(
        "item", "score", "first", "label", descending=[False, True, False, False]
    )


def _sides(ranked: pl.DataFrame) -> pl.DataFrame:
    """item, `sides` (`a / b`: the labels at the top) and `votes` (`a 2, b 2, c 1`)."""
    votes = pl.format("{} {}", "label", "count").filter(pl.col("count") > 0)
    return ranked.group_by("item", maintain_order=True).agg(
        pl.col("label").filter(_AT_THE_TOP).str.join(" / ").alias("sides"),
        votes.str.join(", ").alias("votes"),
    )


def soft(ballots: pl.DataFrame, decided: pl.DataFrame | None = None) -> pl.DataFrame:
    """How often each label is to stand for an item, so that all together say what the votes say.

    decided  row, label: what people decided; goes before all votes.
    Returns row, label, lines (UInt32), sorted. The numbers are the votes' in lowest terms, and of
    more than `MOST_LINES` the nearest whole numbers that add up to about so many.
    """
    counts = ballots.group_by(pl.col("item").alias("row"), "label").agg(pl.col("count").sum())
    if decided is not None and decided.height:
        said = decided.select("row", "label", pl.lit(1).cast(counts["count"].dtype).alias("count"))
        counts = pl.concat([counts.join(said, on="row", how="anti"), said])
    by_row = counts.sort("row", "label").group_by("row", maintain_order=True).agg("label", "count")
    lines = [_in_lowest_terms(votes) for votes in by_row["count"].to_list()]
    told = by_row.select("row", "label", pl.Series("lines", lines, dtype=pl.List(pl.UInt32)))
    return told.explode("label", "lines").filter(pl.col("lines") > 0)


def _in_lowest_terms(votes: Sequence[int]) -> list[int]:
    total, common = sum(votes), math.gcd(*votes)
    if total > MOST_LINES * common:
        return [round(vote * MOST_LINES / total) for vote in votes]
    return [vote // common for vote in votes]


def _agreed(labelled: pl.DataFrame, ballots: pl.DataFrame) -> list[Finding]:
    several = undecided(labelled).filter(pl.col("num_votes") > 1)
    num_agreed = int(several["agreed"].sum())
    apart = ballots.join(
        several.filter(~pl.col("agreed")), left_on="item", right_on="row", how="semi"
    )
    # Two labels of one rater are no disagreement; of counts, nobody knows whose they are.
    differ = (pl.col("rater").min() != pl.col("rater").max()).fill_null(True)
    num_apart = int(apart.group_by("item").agg(differ=differ)["differ"].sum())
    if not num_agreed + num_apart:
        return []
    share, number = percent(num_agreed / (num_agreed + num_apart)), num_agreed + num_apart
    what = f"The annotators agree on {share} of {counted(number, 'row')} that two or more of them"
    return [Finding("info", None, f"{what} labelled.")]


def _decide(labelled: pl.DataFrame, decided: pl.DataFrame) -> tuple[pl.DataFrame, Finding]:
    new = decided.select("row", decided_label="label")
    labelled = labelled.join(new, on="row", how="left", maintain_order="left")
    there = pl.col("decided_label").is_not_null()
    number = labelled.select(there.sum()).item()
    labelled = labelled.with_columns(
        pl.coalesce("decided_label", "label").alias("label"), pl.col("tied") & ~there
    ).drop("decided_label")
    what = f"{counted(number, 'row')} labelled as decided in the review."
    return labelled, Finding("info", None, what)


# --- Dawid and Skene ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """What the raters' labels say together, and what that says about the raters."""

    shares: pl.DataFrame
    """item, label, share: the probability that it is the item's label; adds up to 1 in an item."""
    confusion: pl.DataFrame
    """rater, label, said, share: how probable it is that the rater says `said` of a `label`."""
    num_iterations: int
    has_converged: bool


def dawid_skene(
    ballots: pl.DataFrame,
    *,
    max_iterations: int = 100,
    tolerance: float = 1e-5,
    smoothing: float = 0.01,
) -> Consensus:
    """The most likely labels when raters err in ways of their own.

    Dawid and Skene (1979), Maximum Likelihood Estimation of Observer Error-Rates Using the EM
    Algorithm, started from the shares of votes. Same ballots, same result. Takes memory for
    items x labels and raters x labels x labels numbers.

    ballots    item, rater, label, count; two known raters or more.
    tolerance  stops when no item's probability of a label changes by more.
    smoothing  votes added to each cell of a rater's confusion (the paper: 0), so that nobody is
               taken to be infallible after a few labels.
    Raises: DataError when a rater is not known, or there is only one.
    """
    if ballots["rater"].null_count() or ballots["rater"].n_unique() == 1:
        raise DataError(
            "Dawid and Skene's estimate needs to know which of several raters gave which label.",
            fix="Name the column with --rater or columns with --annotators, or take the majority.",
        )
    votes = _Votes(ballots)
    belief = votes.start()
    num_iterations, change = 0, np.inf
    while num_iterations < max_iterations and change > tolerance and belief.size:
        updated = votes.expect(belief.mean(axis=0), votes.confusion(belief, smoothing))
        change = float(np.abs(updated - belief).max())
        belief, num_iterations = updated, num_iterations + 1
    return Consensus(
        shares=votes.shares(belief),
        confusion=votes.confusion_frame(votes.confusion(belief, smoothing)),
        num_iterations=num_iterations,
        has_converged=change <= tolerance or not belief.size,
    )


class _Votes:
    """Ballots as arrays, one entry a ballot. Sizes: I items, R raters, K labels."""

    def __init__(self, ballots: pl.DataFrame) -> None:
        self.items, self.item = _numbered(ballots["item"])
        self.raters, self.rater = _numbered(ballots["rater"])
        self.labels, self.said = _numbered(ballots["label"])
        self.count = ballots["count"].cast(pl.Float64).to_numpy()
        self.sizes = len(self.items), len(self.raters), len(self.labels)

    def start(self) -> Array:
        """(I, K): shares of the votes."""
        num_items, _, num_labels = self.sizes
        cell = self.item * num_labels + self.said
        votes = np.bincount(cell, self.count, num_items * num_labels).astype(np.float64)
        return _rows_to_one(votes.reshape(num_items, num_labels))

    def confusion(self, belief: Array, smoothing: float) -> Array:
        """(K, R, K): how probable a rater's answer is for each true label, given the belief."""
        _, num_raters, num_labels = self.sizes
        cell = self.rater * num_labels + self.said
        said = [
            np.bincount(cell, belief[self.item, label] * self.count, num_raters * num_labels)
            for label in range(num_labels)
        ]
        shape = num_labels, num_raters, num_labels
        return _rows_to_one(np.reshape(np.array(said), shape) + smoothing)

    def expect(self, prior: Array, confusion: Array) -> Array:
        """(I, K): how probable each label of each item is, given how raters answer."""
        tiny = np.finfo(np.float64).tiny
        log: Array = np.tile(np.log(np.maximum(prior, tiny)), (self.sizes[0], 1))
        answers = np.log(np.maximum(confusion, tiny))
        for label in range(self.sizes[2]):
            weights = self.count * answers[label, self.rater, self.said]
            log[:, label] += np.bincount(self.item, weights, self.sizes[0])
        log -= log.max(axis=1, keepdims=True)
        return _rows_to_one(np.exp(log))

    def shares(self, belief: Array) -> pl.DataFrame:
        num_items, _, num_labels = self.sizes
        return pl.DataFrame(
            {
                "item": self.items.gather(np.repeat(np.arange(num_items), num_labels)),
                "label": self.labels.gather(np.tile(np.arange(num_labels), num_items)),
                "share": belief.ravel(),
            }
        )

    def confusion_frame(self, confusion: Array) -> pl.DataFrame:
        rater, label, said = np.indices(confusion.swapaxes(0, 1).shape).reshape(3, -1)
        return pl.DataFrame(
            {
                "rater": self.raters.gather(rater),
                "label": self.labels.gather(label),
                "said": self.labels.gather(said),
                "share": confusion.swapaxes(0, 1).ravel(),
            }
        )


def _numbered(values: pl.Series) -> tuple[pl.Series, npt.NDArray[np.int64]]:
    """The different values, sorted, and for each entry the place of its value among them."""
    places = values.rank("dense").cast(pl.Int64) - 1
    return values.unique().sort(), places.to_numpy()


def _rows_to_one(weights: Array) -> Array:
    shares: Array = weights / weights.sum(axis=-1, keepdims=True)
    return shares
