"""What stays the same of a text: its key, and a number drawn from its characters.

A fingerprint depends on the text alone: not on the row's place in the table, the machine, or the
version of a library. What rests on it (chance, grouping) is the same wherever it is done again.
Does not know: rows, labels, or what the numbers are used for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl

Numbers = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.intp]

CHUNK = 1_000_000  # characters worked on at a time; keeps the arrays within a few megabytes

# What only separates. Marks that can carry the meaning stay: ?, brackets, signs, emoji. Single
# spaces are not matched, which makes this three times as fast.
_MARKS = r""".!,;:'"`´‘’‚‛“”„‟«»‹›…·、。，；：！،؛"""  # noqa: RUF001
_GAPS = rf"(?: ?[^\S ]| ?[{_MARKS}]|  )[\s{_MARKS}]*"
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(_BASE, -1, 1 << 64)


def key(column: str) -> pl.Expr:
    """The text by which two texts are the same.

    Lower case; spaces, line breaks, full stops, commas, colons, quotes and exclamation marks
    become one space; a run of ? becomes one. A text of nothing but such marks is its own key.
    """
    lower = pl.col(column).str.to_lowercase()
    squeezed = (
        lower.str.replace_all(_GAPS, " ").str.replace_all(r"(?: ?\?)+ ?", "? ").str.strip_chars(" ")
    )
    return pl.when(squeezed != "").then(squeezed).otherwise(lower)


def keys(rows: pl.DataFrame) -> pl.Series:
    """The fingerprint (UInt64) of each row's key: of its column `text`, without nulls.

    Rows that have a column `key` already have it from here; it is given back.
    """
    if "key" in rows.columns:
        return rows["key"]
    texts = rows.select("text")
    parts = [np.empty(0, np.uint64)]
    for start, stop in runs(_lengths(texts["text"]), CHUNK):
        parts.append(fingerprints(texts[start:stop].select(key("text"))["text"]))
    return pl.Series("key", np.concatenate(parts))


def fingerprints(texts: pl.Series) -> Numbers:
    """A 64-bit number for each text (no nulls): equal for equal texts, else all but surely not."""
    sizes = _lengths(texts)
    parts = [np.empty(0, np.uint64)]
    for start, stop in runs(sizes, CHUNK):
        flat = np.frombuffer(texts[start:stop].str.join("").item().encode(), np.uint8)
        ends = np.cumsum(sizes[start:stop])
        parts.append(spans(flat, ends - sizes[start:stop], ends))
    return np.concatenate(parts)


def spans(
    values: npt.NDArray[np.uint8] | npt.NDArray[np.uint32], starts: Indices, ends: Indices
) -> Numbers:
    """A number for each `values[start:end]`, the same wherever in `values` the span stands.

    The polynomial hash of Karp and Rabin (1987) modulo 2^64, all spans by one running sum, mixed.
    """
    powers, inverses = _powers(1 << len(values).bit_length())
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values * powers[: len(values)], out=sums[1:])
    polynomials = (sums[ends] - sums[starts]) * inverses[starts]
    return mix(polynomials + (ends - starts).astype(np.uint64))


def mix(numbers: Numbers) -> Numbers:
    """Each number scattered over all 64 bits, one to one (SplitMix64; Steele et al., 2014)."""
    mixed = numbers + np.uint64(_BASE)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def runs(sizes: Indices, most: int) -> Iterator[tuple[int, int]]:
    """Consecutive slices (start, stop) of items that come to about `most` together."""
    parts = (np.cumsum(sizes) - 1) // most
    stops = [*(np.flatnonzero(np.diff(parts)) + 1).tolist(), len(sizes)]
    start = 0
    for stop in stops:
        if stop > start:
            yield start, stop
        start = stop


def _lengths(texts: pl.Series) -> Indices:
    return texts.str.len_bytes().to_numpy().astype(np.intp)


@lru_cache(maxsize=2)
def _powers(number: int) -> tuple[Numbers, Numbers]:
    """The first powers of the base and of its inverse, modulo 2^64."""
    base, inverse = np.full((2, number), [[_BASE], [_INVERSE]], np.uint64)
    base[0] = inverse[0] = 1
    return np.cumprod(base), np.cumprod(inverse)
