"""Splits examples into training and validation, each label in the same proportion.

Knows: labels and chance.
Does not know: texts, or which rows should not have been there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from tunesmith.errors import ConfigError


def percent_held_out(split: str) -> int:
    """Percent of validation rows in a split such as `80/20`.

    Raises: ConfigError for anything but two whole numbers from 1 that sum to 100.
    """
    first, slash, second = split.partition("/")
    if slash and first.strip().isdecimal() and second.strip().isdecimal():
        training, validation = int(first), int(second)
        if min(training, validation) >= 1 and training + validation == 100:
            return validation
    raise ConfigError(
        f"The split is {split!r}.",
        fix="Give two percentages that sum to 100, such as --split 80/20.",
    )


def allot(counts: Mapping[str, int], percent: int) -> dict[str, int]:
    """Validation rows for each label: `percent` of all rows, shared out by largest remainder.

    A label with two rows or more has at least one on either side.
    """
    quotas = {label: divmod(number * percent, 100) for label, number in counts.items()}
    most = {label: max(number - 1, 0) for label, number in counts.items()}
    allotted = {label: min(max(whole, 1), most[label]) for label, (whole, _) in quotas.items()}
    wanted = (sum(counts.values()) * percent + 50) // 100
    # Those raised to their one row have had more than their remainder already.
    waiting = [label for label, (whole, _) in quotas.items() if allotted[label] == whole]
    waiting.sort(key=lambda label: (-quotas[label][1], label))
    for label in waiting[: max(wanted - sum(allotted.values()), 0)]:
        allotted[label] = min(allotted[label] + 1, most[label])
    return allotted


def draw(labels: pl.Series, wanted: Mapping[str, int], seed: int) -> pl.Series:
    """A Boolean series: `wanted[label]` rows of each label, drawn by chance."""
    lots = pl.Series("lot", np.random.default_rng(seed).permutation(len(labels)))
    frame = pl.DataFrame([labels.alias("label"), lots])
    limit = pl.col("label").replace_strict(
        list(wanted), list(wanted.values()), default=0, return_dtype=pl.Int64
    )
    drawn = pl.col("lot").rank("ordinal").over("label").cast(pl.Int64) <= limit
    return frame.select(drawn.alias("drawn"))["drawn"]
