"""Puts rows on the sides of a split so that each label comes to the numbers wanted there.

Single rows are dealt by chance and meet the numbers exactly. Groups, which must not be divided, are
placed one after the other, the largest first, each where it exceeds the numbers least.
Knows: labels, groups, and a number drawn by chance for each row.
Does not know: texts, or what the sides are for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

Cells = Mapping[str, Sequence[int]]
"""Label → rows wanted on each side; they sum to the label's rows."""


def deal(labels: pl.Series, chance: pl.Series, wanted: Cells) -> pl.Series:
    """The number (UInt32) of each row's side: those of smallest chance go to the last side.

    The first side has what the others leave.
    """
    rows = pl.DataFrame({"label": labels, "chance": chance})
    names = list(wanted)
    rank = pl.col("chance").rank("ordinal").over("label").cast(pl.Int64)
    side = pl.lit(0, dtype=pl.UInt32)
    number = len(next(iter(wanted.values()), ()))
    for later in range(1, number):
        limits = [sum(wanted[name][later:]) for name in names]
        limit = pl.col("label").replace_strict(names, limits, return_dtype=pl.Int64)
        side = pl.when(rank <= limit).then(pl.lit(later, dtype=pl.UInt32)).otherwise(side)
    return rows.select(side.alias("side"))["side"]


def place(labels: pl.Series, groups: pl.Series, chance: pl.Series, wanted: Cells) -> pl.Series:
    """The number (UInt32) of each row's side; rows of one group on one, null: a row by itself.

    A label that is in as many groups as there are sides is on every side, as far as groups with
    several labels allow.
    """
    rows = pl.DataFrame({"label": labels, "group": groups, "chance": chance})
    alone = rows["group"].is_null() | rows["group"].is_unique()
    singles = dict(rows.filter(alone)["label"].value_counts().iter_rows())
    clusters = (
        rows.filter(~alone)
        .group_by("group", "label")
        .agg(pl.len().alias("number"), pl.col("chance").min())
        .sort("label")
        .group_by("group", maintain_order=True)
        .agg("label", "number", pl.col("number").sum().alias("size"), pl.col("chance").min())
        .sort("size", "chance", descending=[True, False])
    )
    quotas = _Quotas(wanted, singles, clusters["label"])
    sides = pl.Series(
        "side",
        [
            quotas.put(names, numbers)
            for names, numbers in clusters.select("label", "number").iter_rows()
        ],
        dtype=pl.UInt32,
    )
    together = rows.join(
        clusters.select("group", sides), on="group", how="left", maintain_order="left"
    )["side"]
    rest = {label: quotas.rest(label, number) for label, number in singles.items()}
    by_itself = rows.filter(alone)
    dealt = deal(by_itself["label"], by_itself["chance"], rest)
    return together.scatter(alone.arg_true(), dealt)


class _Quotas:
    """How many rows each label still lacks on each side, while groups are placed."""

    def __init__(self, wanted: Cells, singles: Mapping[str, int], clusters: pl.Series) -> None:
        self.wanted = wanted
        self.lacking = {label: list(cells) for label, cells in wanted.items()}
        self.empty = {
            label: {side for side, number in enumerate(cells) if number}
            for label, cells in wanted.items()
        }
        self.pending = {label: singles.get(label, 0) for label in wanted}
        for label, number in clusters.explode().value_counts().iter_rows():
            self.pending[label] += number

    def put(self, labels: Sequence[str], numbers: Sequence[int]) -> int:
        """The side for a group with so many rows of these labels, which it is put on."""
        pairs = list(zip(labels, numbers, strict=True))
        side = min(range(len(self.lacking[labels[0]])), key=lambda side: self._cost(pairs, side))
        for label, number in pairs:
            self.lacking[label][side] -= number
            self.empty[label].discard(side)
            self.pending[label] -= 1
        return side

    def rest(self, label: str, number: int) -> list[int]:
        """How many of the label's `number` single rows go to each side, to even out the groups."""
        cells = [
            max(lacking, int(side in self.empty[label]))
            for side, lacking in enumerate(self.lacking[label])
        ]
        for side in sorted(range(len(cells)), key=lambda side: -cells[side]):
            least = int(side in self.empty[label])
            cells[side] -= min(max(sum(cells) - number, 0), cells[side] - least)
        for side in reversed(range(len(cells))):  # too few for all: the first sides come first
            cells[side] -= min(max(sum(cells) - number, 0), cells[side])
        return cells

    def _cost(self, group: list[tuple[str, int]], side: int) -> tuple[float, ...]:
        """What speaks against a side: another needs the group, it is too large, others need more.

        A label whose last groups and single rows are as few as the sides still without it needs
        one on each of these.
        """
        needed = sum(
            side in self.empty[label] and self.pending[label] <= len(self.empty[label])
            for label, _ in group
        )
        excess = sum(max(number - max(self.lacking[label][side], 0), 0) for label, number in group)
        need = sum(
            number * self.lacking[label][side] / max(self.wanted[label][side], 1)
            for label, number in group
        )
        return (-needed, excess, -need, side)
