"""Evens out the class sizes: by cutting, repeating, weighting the loss, or not at all.

Knows: how many rows each label has.
Does not know: rows; which are cut or repeated is drawn by `split.draw`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import polars as pl

from tunesmith.config import Balance
from tunesmith.data.findings import counted, percent
from tunesmith.data.sides.split import draw
from tunesmith.events import Decision

CUT = "dropped: balanced away"
Mode = Literal["smallest", "repeat", "weight", "none"]

MOST_DISCARDED = 20  # percent of the rows that `auto` cuts at most
FEWEST_LEFT = 20  # rows that `auto` leaves at least; a smaller table needs all it has
EVEN_ENOUGH = 1.5  # largest class over smallest up to which `auto` does not weight


def choose(counts: Mapping[str, int], asked: Balance) -> tuple[Mode, Decision]:
    """How to balance classes of these sizes, and why so."""
    smallest, largest, total = min(counts.values()), max(counts.values()), sum(counts.values())
    discarded = total - smallest * len(counts)
    sizes = f"{smallest:,} to {counted(largest, 'row')} a label"
    mode: Mode
    if asked != "auto":
        mode, why = asked, "as asked"
    elif not discarded:
        why = f"every label has {counted(smallest, 'row')}"
        return "none", Decision(what="balance", value="not needed", reason=why)
    elif discarded * 100 <= MOST_DISCARDED * total and total - discarded >= FEWEST_LEFT:
        mode = "smallest"
        why = (
            f"{sizes}; that leaves out {discarded:,} of {total:,} rows, "
            f"{percent(discarded / total)}, and up to {MOST_DISCARDED} % is worth it"
        )
    elif largest > EVEN_ENOUGH * smallest:
        mode = "weight"
        why = f"{sizes}; cutting to the smallest would drop {percent(discarded / total)} of all"
    else:
        mode, why = "none", f"{sizes} is even enough"
    value = {
        "smallest": f"every label cut to {counted(smallest, 'row')}",
        "repeat": f"rows repeated until every label has {largest:,}",
        "weight": "by weighting the loss; all rows stay",
        "none": "left as they are",
    }[mode]
    each = ", ".join(f"{way} {rows:,}" for way, rows in counts_each_way(counts).items())
    return mode, Decision(what="balance", value=value, reason=f"{why}; rows each way: {each}")


def counts_each_way(counts: Mapping[str, int]) -> dict[Mode, int]:
    """Way of balancing → rows that are used, repeated ones as often as they are."""
    total = sum(counts.values())
    return {
        "smallest": min(counts.values()) * len(counts),
        "repeat": max(counts.values()) * len(counts),
        "weight": total,
        "none": total,
    }


def keep_even(labels: pl.Series, chance: pl.Series) -> pl.Series:
    """A Boolean series: as many rows of each label as the smallest has, drawn by chance.

    chance  as of `split.chances`.
    """
    counts = dict(labels.value_counts().iter_rows())
    return draw(labels, dict.fromkeys(counts, min(counts.values())), chance)


def copies(labels: pl.Series, chance: pl.Series) -> pl.Series:
    """How often each row is to be used so that every label comes to as many as the largest has.

    chance  as of `split.chances`.
    """
    counts: dict[str, int] = dict(labels.value_counts().iter_rows())
    largest = max(counts.values())
    whole = {label: largest // number for label, number in counts.items()}
    rest = {label: largest % number for label, number in counts.items()}
    times = labels.replace_strict(list(whole), list(whole.values()), return_dtype=pl.Int64)
    return times + draw(labels, rest, chance).cast(pl.Int64)
