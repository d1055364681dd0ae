"""How far raters agree beyond chance: Fleiss' kappa and Krippendorff's alpha.

Both compare how often two ratings of one item are alike with how often they would be if each
rating were drawn from all: 1 is perfect agreement, 0 is chance.
Does not know: which label is right, or who the better rater is.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tunesmith.data.findings import Finding, counted


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement on the items that were rated at least twice."""

    fleiss_kappa: float | None
    """None where it is undefined: all ratings are the same label."""
    krippendorff_alpha: float | None
    """None where it is undefined: all ratings are the same label."""
    num_items: int
    num_ratings: int
    ratings_per_item: tuple[int, int]
    """The fewest and the most."""
    num_left_out: int
    """Ratings not used, since one rater gave an item several labels."""

    def finding(self) -> Finding:
        """The same in one sentence or two."""
        fewest, most = self.ratings_per_item
        many = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        what = f"{counted(self.num_items, 'item')} with {many} ratings each: "
        if self.krippendorff_alpha is None or self.fleiss_kappa is None:
            what += "all ratings are the same label, so agreement beyond chance is not defined."
        else:
            form = "" if fewest == most else " (generalised to varying numbers of ratings)"
            what += f"Krippendorff's alpha {self.krippendorff_alpha:.2f}, "
            what += f"Fleiss' kappa {self.fleiss_kappa:.2f}{form}; 1 is perfect, 0 is chance."
        if self.num_left_out:
            number = counted(self.num_left_out, "rating")
            what += f" {number} left out: one rater gave an item several labels."
        return Finding("info", None, what)


def agreement(ballots: pl.DataFrame) -> Agreement | None:
    """Agreement in a frame of ballots (item, rater, label, count); None if no item has two ratings.

    A rating is one label of one rater for one item. Where a known rater gives an item several
    labels, these ratings are left out: both measures are for single choices.
    """
    of_rater = pl.len().over("item", "rater") > 1
    single = ballots.filter(pl.col("rater").is_null() | ~of_rater)
    num_left_out = int(ballots["count"].sum()) - int(single["count"].sum())
    table = _rated_twice(single)
    if table.is_empty():
        return None
    sizes = table.group_by("item").agg(pl.col("size").first())["size"].sort()
    return Agreement(
        fleiss_kappa=fleiss_kappa(single),
        krippendorff_alpha=krippendorff_alpha(single),
        num_items=len(sizes),
        num_ratings=int(sizes.sum()),
        ratings_per_item=(int(sizes[0]), int(sizes[-1])),
        num_left_out=num_left_out,
    )


def fleiss_kappa(ballots: pl.DataFrame) -> float | None:
    """Fleiss' kappa of the items with two ratings or more; None where it is undefined.

    With n ratings for each item this is Fleiss (1971), Measuring nominal scale agreement among
    many raters. With varying numbers it is the general form of Gwet (2014), Handbook of
    Inter-Rater Reliability: an item's agreement is over its own pairs of ratings, and a label's
    probability is the mean over items of its share of their ratings.
    """
    table = _rated_twice(ballots)
    if table.is_empty():
        return None
    num_items = table["item"].n_unique()
    number, size = pl.col("number"), pl.col("size")
    observed = table.select((number * (number - 1) / (size * (size - 1))).sum()).item() / num_items
    shares = table.group_by("label").agg((number / size).sum() / num_items)["number"]
    return _beyond_chance(observed, float((shares**2).sum()))


def krippendorff_alpha(ballots: pl.DataFrame) -> float | None:
    """Krippendorff's alpha for nominal data; None where it is undefined.

    Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section C: any number of
    raters, missing ratings allowed. Items with a single rating pair with nothing and do not count.
    """
    table = _rated_twice(ballots)
    if table.is_empty():
        return None
    number, size = pl.col("number"), pl.col("size")
    totals = table.group_by("label").agg(number.sum())["number"]
    num_ratings = float(totals.sum())
    alike = table.select((number * (number - 1) / (size - 1)).sum()).item()
    expected = float((totals * (totals - 1)).sum()) / (num_ratings * (num_ratings - 1))
    return _beyond_chance(alike / num_ratings, expected)


def _rated_twice(ballots: pl.DataFrame) -> pl.DataFrame:
    """item, label, number (of ratings, Float64), size (the item's ratings), of two or more."""
    number = pl.col("count").sum().cast(pl.Float64)
    table = ballots.group_by("item", "label", maintain_order=True).agg(number.alias("number"))
    return table.with_columns(size=pl.col("number").sum().over("item")).filter(pl.col("size") > 1)


def _beyond_chance(observed: float, expected: float) -> float | None:
    # 1 but for rounding: there is only one label.
    return None if expected > 1 - 1e-12 else (observed - expected) / (1 - expected)
