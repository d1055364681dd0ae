"""Splits rows into training, validation and test rows: by chance, by group or by time.

By chance, each label is on every side in the same proportion. Rows of one group are never divided.
By time, the newest rows are held out. Chance comes from what a row says, not from where it stands:
the same rows in any order are split alike.
Knows: texts, labels, groups and times of rows.
Does not know: what makes a group, or which rows should not have been there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tunesmith.data.findings import Finding, counted, enumerated, rows_finding
from tunesmith.data.likeness.fingerprints import fingerprints, keys, mix
from tunesmith.data.sides import grouped
from tunesmith.errors import ConfigError, DataError

SIDES = ("train", "validation", "test")
SIDE = pl.Enum(SIDES)

_FEW = (
    "A label with fewer rows than the split has sides goes to training first, then to validation; "
    "add rows, or leave such labels out with --rare-labels drop."
)
_BOUND = "Rows of one group are never divided, and its rows are in too few groups; add rows."
_PERIOD = "No row has it in that period of time; split by chance, or add rows."


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which row is on which side, and what was noticed."""

    sides: pl.Series
    """train, validation or test (String), one for each row."""
    findings: tuple[Finding, ...] = ()


def shares(split: str) -> tuple[int, ...]:
    """Percent of training, validation and (where given) test rows in `80/20` or `80/10/10`.

    Raises: ConfigError for anything but two or three whole numbers from 1 that sum to 100.
    """
    parts = [part.strip() for part in split.split("/")]
    if len(parts) in (2, 3) and all(part.isdecimal() for part in parts):
        numbers = tuple(map(int, parts))
        if min(numbers) >= 1 and sum(numbers) == 100:
            return numbers
    raise ConfigError(
        f"The split is {split!r}.",
        fix="Give percentages that sum to 100, such as --split 80/20 or --split 80/10/10.",
    )


def assign(
    rows: pl.DataFrame,
    shares: Sequence[int],
    *,
    seed: int,
    groups: pl.Series | None = None,
    time: pl.Series | None = None,
) -> Split:
    """The side of each row (line, text and label, without nulls).

    shares  percent of rows on each side, as of `shares`; of each label too, as of `allotments`.
    groups  rows of one value stay on one side; null: a row by itself. Sizes and proportions are
            then as near as placing the groups one after the other allows (see `grouped`).
    time    numbers, dates or times: the newest rows are held out, those of one time together;
            a row without one counts as the oldest, a group as old as its newest row. Then neither
            labels nor chance matter.
    Raises: DataError where there are fewer times than sides.
    """
    if time is not None:
        number = _by_time(time, groups, shares)
    else:
        chance = chances(rows, seed)
        counts = dict(rows["label"].value_counts().iter_rows())
        wanted = allotments(counts, shares)
        if groups is not None:
            number = grouped.place(rows["label"], groups, chance, wanted)
        else:
            number = grouped.deal(rows["label"], chance, wanted)
    sides = pl.Series("split", SIDES).gather(number)
    reason = _PERIOD if time is not None else _BOUND
    findings = _absences(rows.select("line", "label", sides), shares, reason)
    if time is not None:
        lines, fix = rows["line"].filter(time.is_null()), "Taken as the oldest."
        findings += rows_finding(lines, "without a time", fix)
    return Split(sides=sides, findings=findings)


def would_have_leaked(groups: pl.Series, sides: pl.Series) -> int:
    """How many held-out rows have a training row in their group (null: a row by itself).

    With the sides of a split made without the groups: what that split would have leaked.
    """
    frame = pl.DataFrame({"group": groups, "held_out": sides != "train"}).drop_nulls("group")
    leaks = pl.col("held_out") & (~pl.col("held_out")).any().over("group")
    return int(frame.select(leaks.sum()).item())


def chances(rows: pl.DataFrame, seed: int) -> pl.Series:
    """A number (UInt64) drawn by chance for each row, the same wherever in the table it stands.

    rows  text and label, without nulls, and `key` where they have it (as of `keys`); with keys
          that are all different, no text is needed.
    It comes from the key of the text, the label, the seed and, for rows that have these in
    common, from a count of them in the order of their texts.
    """
    names = rows["label"].unique()
    labelled = rows["label"].replace_strict(names, pl.Series(fingerprints(names.cast(pl.String))))
    content = pl.Series("content", mix(keys(rows).to_numpy() ^ mix(labelled.to_numpy())))
    repeats = np.zeros(len(content), np.uint64)
    if _repeats(content):
        again = (
            rows.select("text", "label", content)
            .with_row_index("row")
            .filter(pl.col("content").is_duplicated())
            .sort("content", "text", "label")
            .select("row", pl.int_range(pl.len(), dtype=pl.UInt64).over("content").alias("count"))
        )
        repeats[again["row"].to_numpy()] = again["count"].to_numpy()
    seeded = mix(repeats + mix(np.array([seed % (1 << 64)], np.uint64)))
    return pl.Series("chance", mix(content.to_numpy() ^ seeded))


def _repeats(numbers: pl.Series) -> bool:
    """Whether a number comes twice."""
    ordered = numbers.sort().to_numpy()
    return bool((ordered[1:] == ordered[:-1]).any())


def allotments(counts: Mapping[str, int], shares: Sequence[int]) -> dict[str, list[int]]:
    """Rows of each label on each side: its shares, rounded by largest remainder over all labels.

    Each number is within one row of the share, but that a label with as many rows as there are
    sides has one on every side, and one with fewer has one on each of the first sides.
    """
    cells = {label: _whole(number, shares) for label, number in counts.items()}
    spare = {label: number - sum(cells[label]) for label, number in counts.items()}
    total = sum(counts.values())
    sides = range(1, len(shares))
    short = {
        side: (total * shares[side] + 50) // 100 - sum(cell[side] for cell in cells.values())
        for side in sides
    }
    # Sides raised to their one row have had more than their remainder already.
    waiting = sorted(
        (-(number * shares[side] % 100), label, side)
        for label, number in counts.items()
        for side in sides
        if cells[label][side] == number * shares[side] // 100
    )
    for _, label, side in waiting:
        # Training takes one of the spare rows at most; then the sides are over rather than it.
        if spare[label] > 1 or (spare[label] and short[side] > 0):
            cells[label][side] += 1
            spare[label] -= 1
            short[side] -= 1
    for label, number in spare.items():
        cells[label][0] += number
    return cells


def draw(labels: pl.Series, wanted: Mapping[str, int], chance: pl.Series) -> pl.Series:
    """A Boolean series: `wanted[label]` rows of each label, those of smallest chance."""
    cells = {label: [0, wanted.get(label, 0)] for label in labels.unique()}
    return (grouped.deal(labels, chance, cells) == 1).alias("drawn")


def _whole(number: int, shares: Sequence[int]) -> list[int]:
    """The whole rows of each share; at least one on each of the first `number` sides."""
    cell = [number * share // 100 for share in shares]
    if number <= len(shares):
        return [int(side < number) for side in range(len(shares))]
    cell = [max(part, 1) for part in cell]
    for _ in range(sum(cell) - number):
        cell[cell.index(max(cell))] -= 1
    return cell


def _by_time(time: pl.Series, groups: pl.Series | None, shares: Sequence[int]) -> pl.Series:
    """The number of each row's side, the oldest rows on the first."""
    frame = time.alias("time").to_frame()
    if groups is not None:
        newest = pl.col("time").max().over("group")
        frame = frame.with_columns(groups.alias("group")).select(
            pl.when(pl.col("group").is_null()).then("time").otherwise(newest).alias("time")
        )
    blocks = frame.group_by("time").len().sort("time", nulls_last=False)
    if blocks.height < len(shares):
        raise DataError(
            f"The rows have {counted(blocks.height, 'time')} in all, "
            f"too few for the {len(shares)} sides of the split.",
            fix="Split by chance, without a column of times.",
        )
    ends = blocks["len"].cum_sum().to_numpy()
    side = np.zeros(blocks.height, np.uint32)
    start = 0
    for later in range(1, len(shares)):
        stop = blocks.height - len(shares) + later
        wanted = len(time) * sum(shares[:later]) / 100
        start += int(np.abs(ends[start:stop] - wanted).argmin()) + 1
        side[start:] = later
    sided = blocks.select("time", pl.Series("side", side))
    return frame.join(sided, on="time", how="left", nulls_equal=True, maintain_order="left")["side"]


def _absences(rows: pl.DataFrame, shares: Sequence[int], reason: str) -> tuple[Finding, ...]:
    """Labels that are missing on a side (rows: line, label, split), and why."""
    labels = (
        rows.group_by("label")
        .agg(pl.len().alias("rows"), pl.col("line").min(), pl.col("split").unique())
        .filter(pl.col("split").list.len() < len(shares))
        .sort("line", "label")
    )
    few = pl.col("rows") < len(shares)
    findings = []
    for side in SIDES[: len(shares)]:
        absent = labels.filter(~pl.col("split").list.contains(side))
        for part, fix in ((absent.filter(few), _FEW), (absent.filter(~few), reason)):
            if part.height:
                named = [
                    f"{label!r} ({counted(number, 'row')})"
                    for label, number in part.select("label", "rows").iter_rows()
                ]
                subject = f"The label {named[0]} is"
                if part.height > 1:
                    subject = f"{part.height:,} labels, {enumerated(named)}, are"
                what = f"{subject} not among the {_NAMES[side]} rows."
                findings.append(Finding("warning", part["line"][0], what, fix))
    return tuple(findings)


_NAMES = {"train": "training", "validation": "validation", "test": "test"}
