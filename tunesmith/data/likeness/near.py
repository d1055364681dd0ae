"""Texts that are nearly the same: found by MinHash, confirmed by comparing their words.

A text is taken as the set of its words: order, repetition, case and punctuation do not count, a
sign, an emoji and a Chinese or Japanese character are words of their own. How near two texts are
is the Jaccard index of their sets, the share of words they have in common among all they have.
A text of fewer than three different words is near to texts with the same key only.

Candidates are found by MinHash (Broder, 1997): the smallest hash of a text's words is equal for
two texts with the probability of their Jaccard index. The smallest values of `rows` hashes make a
band; two texts that are equal in one of `bands` bands are compared (locality-sensitive hashing;
Indyk and Motwani, 1998). At Jaccard index J that happens with probability 1 - (1 - J^rows)^bands.
For the threshold 0.8 these are 18 bands of 5 rows: 99.9 % at 0.8, over 99.99 % from 0.85 on.
Where many texts agree in a band, each is compared with eight of them, those that agree in the next
band too before others: time grows with the texts, not with the pairs, and texts that are all near
to each other still hang together; of other pairs in such a crowd some may be missed. Thai, Lao and
Khmer, written without spaces, count a whole phrase as a word.

Holds about 8 bytes a band and 5 bytes a hash or word for each text: 0.4 KB for a sentence.
Does not know: lines, labels, or what becomes of near-duplicates.
"""

from __future__ import annotations

import math
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from tunesmith.data.likeness.fingerprints import (
    CHUNK,
    Indices,
    Numbers,
    key,
    keys,
    mix,
    runs,
    spans,
)
from tunesmith.errors import ConfigError

THRESHOLD = 0.8
FEWEST_WORDS = 3

_MOST_HASHES = 128
_MISSED = 0.001  # the share of pairs at the threshold that may escape all bands
_COMPARED = 8  # texts of a band that each is compared with
_DOUBTS = 4  # standard deviations below the threshold from which signatures settle a pair
_SEPARATOR, _LETTER, _SINGLE = 0, 1, 2
# Kana, and Chinese characters: scripts without spaces, in which a character says about a word.
_IDEOGRAPHS = ((0x3041, 0x3100), (0x3400, 0xA000), (0xF900, 0xFB00), (0x20000, 0x40000))


def groups(texts: pl.Series, *, threshold: float = THRESHOLD, seed: int = 0) -> pl.Series:
    """The group (UInt32) of each text: the smallest index of a text in it.

    Texts with one key are in one group, and so are texts whose Jaccard index is `threshold` (above
    0, at most 1) or more, and all that hang together by such pairs. The same groups come out for
    the texts in any order.
    """
    distinct, first, which = _distinct(texts)
    sketches = _sketch(distinct, threshold, seed)
    roots = np.arange(len(sketches.which))
    for band, ranks in _ranked(sketches.bands):
        for left, right in _neighbours(band, ranks):
            apart = roots[left] != roots[right]
            left, right = left[apart], right[apart]
            near = _near(sketches, left, right, threshold)
            roots = _linked(roots, left[near], right[near])
    whole = np.arange(len(first))
    whole[sketches.which] = sketches.which[roots]
    return _named(whole[which])


def matches(
    texts: pl.Series, others: pl.Series, *, threshold: float = THRESHOLD, seed: int = 0
) -> pl.Series:
    """For each text the index (UInt32) of one of `others` that is near to it, null where none is.

    Unlike `groups`, nothing is near by way of a third text.
    """
    distinct, first, which = _distinct(pl.concat([others, texts]))
    is_other = first < len(others)
    matched = np.where(is_other, first, -1)
    sketches = _sketch(distinct, threshold, seed)
    # From here on in the numbers of the sketches; `found` is the near one of each.
    others_at = np.flatnonzero(is_other[sketches.which])
    open_at = np.flatnonzero(~is_other[sketches.which])
    found = np.full(len(sketches.which), -1)
    for band, ranks in _ranked(sketches.bands):
        for left, right in _across(band, ranks, open_at, others_at):
            pending = found[left] < 0
            left, right = left[pending], right[pending]
            near = _near(sketches, left, right, threshold)
            found[left[near]] = right[near]
        open_at = open_at[found[open_at] < 0]
    settled = np.flatnonzero(found >= 0)
    matched[sketches.which[settled]] = first[sketches.which[found[settled]]]
    result = pl.Series("match", matched[which][len(others) :])
    return result.set(result < 0, None).cast(pl.UInt32)


def join_groups(*partitions: pl.Series) -> pl.Series:
    """The groups (as of `groups`) of rows that hang together by any of the partitions.

    partitions  series of one length and any types; rows of one value belong together, a row whose
                value is null stands alone.
    """
    roots = np.arange(len(partitions[0]))
    for values in partitions:
        frame = values.alias("value").to_frame().with_row_index("row").drop_nulls("value")
        first = frame.select("row", pl.col("row").min().over("value").alias("first"))
        pairs = first.to_numpy().astype(np.intp)
        roots = _linked(roots, pairs[:, 0], pairs[:, 1])
    return _named(roots)


def banding(threshold: float) -> tuple[int, int]:
    """Bands and rows a band: as many rows as 128 hashes allow with 99.9 % found at `threshold`.

    Below 0.053 128 hashes find fewer. Raises: ConfigError unless it is above 0 and at most 1.
    """
    if not 0 < threshold <= 1:
        raise ConfigError(
            f"The threshold for near-duplicates is {threshold:g}.",
            fix="Give a number above 0 and up to 1, such as 0.8.",
        )
    best = (_MOST_HASHES, 1)
    for rows in range(1, _MOST_HASHES + 1):
        equal = threshold**rows
        bands = math.ceil(math.log(_MISSED) / math.log1p(-equal)) if equal < 1 else 1
        if bands * rows > _MOST_HASHES:
            break
        best = (bands, rows)
    return best


# --- words and their smallest hashes ------------------------------------------------------------


@dataclass(frozen=True)
class _Sketches:
    """What is compared of texts, for those with words enough."""

    which: Indices
    """Their indices."""
    words: npt.NDArray[np.uint32]
    """Their different words as numbers, one text after the other, ascending within each."""
    starts: Indices
    """Where the words of each text start, and at last where they end."""
    signatures: npt.NDArray[np.uint8]
    """(texts, hashes): one byte of the smallest value of each hash."""
    bands: Numbers
    """(bands, texts): equal where all rows of the band are."""


def _distinct(texts: pl.Series) -> tuple[pl.Series, Indices, Indices]:
    """A text of each key, in an order of its own; where it is first; which of them each has."""
    numbers = keys(texts.alias("text").to_frame()).to_numpy()
    _, first, which = np.unique(numbers, return_index=True, return_inverse=True)
    return texts.gather(first), first, which


def _sketch(texts: pl.Series, threshold: float, seed: int) -> _Sketches:
    bands, rows = banding(threshold)
    which = [np.empty(0, np.intp)]
    sizes = [np.zeros(1, np.intp)]
    words = [np.empty(0, np.uint32)]
    signatures = [np.empty((0, bands * rows), np.uint8)]
    buckets = [np.empty((bands, 0), np.uint64)]
    lengths = texts.str.len_chars().to_numpy().astype(np.intp)
    for start, stop in runs(lengths, CHUNK):
        owners, numbers = _words(texts[start:stop])
        size = np.bincount(owners, minlength=stop - start)
        enough = size >= FEWEST_WORDS
        if not enough.any():
            continue
        which.append(np.flatnonzero(enough) + start)
        sizes.append(size[enough])
        words.append(numbers[enough[owners]])
        signature, bucket = _smallest(words[-1], sizes[-1], (bands, rows), seed)
        signatures.append(signature)
        buckets.append(bucket)
    return _Sketches(
        which=np.concatenate(which),
        words=np.concatenate(words),
        starts=np.cumsum(np.concatenate(sizes)),
        signatures=np.concatenate(signatures),
        bands=np.concatenate(buckets, axis=1),
    )


def _words(texts: pl.Series) -> tuple[Indices, npt.NDArray[np.uint32]]:
    """Of each different word of each text: the text's index and the word as a number, sorted."""
    texts = texts.alias("text").to_frame().select(key("text"))["text"]
    codes = np.frombuffer(texts.str.join("\n").item().encode("utf-32-le"), np.uint32)
    kinds = _kinds()[codes]
    letters, single = kinds == _LETTER, kinds == _SINGLE
    before, after = np.zeros_like(letters), np.zeros_like(letters)
    before[1:], after[:-1] = letters[:-1], letters[1:]
    starts = np.flatnonzero((letters & ~before) | single)
    ends = np.flatnonzero((letters & ~after) | single) + 1
    lengths = texts.str.len_chars().to_numpy().astype(np.intp)
    owners = np.searchsorted(np.cumsum(lengths + 1), starts, side="right")
    numbers = spans(codes, starts, ends) >> np.uint64(32)
    pairs = np.sort((owners.astype(np.uint64) << np.uint64(32)) | numbers)
    pairs = pairs[np.diff(pairs, prepend=~pairs[:1]) != 0]
    return (pairs >> np.uint64(32)).astype(np.intp), pairs.astype(np.uint32)


@cache
def _kinds() -> npt.NDArray[np.uint8]:
    """By code point: separator, letter of a word (digits and accents too), or word of its own."""
    kinds = np.full(sys.maxunicode + 1, _SEPARATOR, np.uint8)
    of_category = {"L": _LETTER, "M": _LETTER, "N": _LETTER, "S": _SINGLE}
    for code in range(_IDEOGRAPHS[-1][0]):
        kinds[code] = of_category.get(unicodedata.category(chr(code))[0], _SEPARATOR)
    for start, stop in _IDEOGRAPHS:
        kinds[start:stop] = _SINGLE
    kinds[0xFE00:0xFE10] = _SEPARATOR  # variation selectors: how an emoji is drawn
    return kinds


def _smallest(
    words: npt.NDArray[np.uint32], sizes: Indices, banded: tuple[int, int], seed: int
) -> tuple[npt.NDArray[np.uint8], Numbers]:
    """Signatures and bands. The hashes are (a x + b) >> 32 modulo 2^64 (Dietzfelbinger, 1996)."""
    bands, rows = banded
    numbers = np.arange(2 * bands * rows, dtype=np.uint64)
    factors, terms = mix(numbers + mix(np.array([seed % (1 << 64)], np.uint64))).reshape(2, -1)
    starts = np.cumsum(sizes) - sizes
    signatures = np.empty((len(sizes), bands * rows), np.uint8)
    buckets = np.zeros((bands, len(sizes)), np.uint64)
    wide, hashed = words.astype(np.uint64), np.empty(len(words), np.uint64)
    for i in range(bands * rows):
        np.multiply(wide, factors[i], out=hashed)
        hashed += terms[i]
        hashed >>= np.uint64(32)
        smallest = np.minimum.reduceat(hashed, starts)
        signatures[:, i] = smallest & np.uint64(0xFF)
        buckets[i // rows] = mix(buckets[i // rows] ^ smallest)
    return signatures, buckets


# --- pairs --------------------------------------------------------------------------------------


def _ranked(bands: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """Each band, and ranks by which texts that are equal in it lie together.

    Among these, those that are equal in the next band too, the likeliest pairs, are next to each
    other: half of the rank's bits are of the band and half of the next.
    """
    for band, following in zip(bands, [*bands[1:], *bands[:1]], strict=True):
        yield band, (band & np.uint64(0xFFFFFFFF << 32)) | (following >> np.uint64(32))


def _neighbours(band: Numbers, ranks: Numbers) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of texts that are equal in the band: each with the next few in the order of ranks."""
    order = np.argsort(ranks, kind="stable")
    ordered = band[order]
    for step in range(1, _COMPARED + 1):
        at = np.flatnonzero(ordered[step:] == ordered[:-step])
        yield order[at], order[at + step]


def _across(
    band: Numbers, ranks: Numbers, texts: Indices, others: Indices
) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of a text and one of the others that are equal in the band: each with a few around."""
    order = others[np.argsort(ranks[others], kind="stable")]
    middle = np.searchsorted(ranks[order], ranks[texts])
    for step in range(-_COMPARED // 2, _COMPARED // 2):
        at = middle + step
        inside = (at >= 0) & (at < len(order))
        left, right = texts[inside], order[at[inside]]
        equal = band[left] == band[right]
        yield left[equal], right[equal]


def _near(
    sketches: _Sketches, left: Indices, right: Indices, threshold: float
) -> npt.NDArray[np.bool_]:
    """Whether the Jaccard index of each pair is the threshold or more."""
    sizes = np.diff(sketches.starts)
    small, large = np.minimum(sizes[left], sizes[right]), np.maximum(sizes[left], sizes[right])
    near = small / large >= threshold
    # Sorting words is dear; most pairs are told apart by how far their signatures agree.
    number = sketches.signatures.shape[1]
    doubt = _DOUBTS * math.sqrt(threshold * (1 - threshold) / number)
    at = np.flatnonzero(near)
    for start, stop in runs(np.full(len(at), number), 8 * CHUNK):
        part = at[start:stop]
        equal = sketches.signatures[left[part]] == sketches.signatures[right[part]]
        near[part] = np.count_nonzero(equal, axis=1) >= (threshold - doubt) * number
    at = np.flatnonzero(near)
    for start, stop in runs(small[at] + large[at], CHUNK):
        part = at[start:stop]
        shared = _shared(sketches, left[part], right[part])
        near[part] = shared / (small[part] + large[part] - shared) >= threshold
    return near


def _shared(sketches: _Sketches, left: Indices, right: Indices) -> Indices:
    """How many words the texts of each pair have in common."""
    texts = np.concatenate([left, right])
    pairs = np.tile(np.arange(len(left)), 2)
    starts, sizes = sketches.starts[texts], sketches.starts[texts + 1] - sketches.starts[texts]
    skipped = starts - (np.cumsum(sizes) - sizes)
    words = sketches.words[np.arange(sizes.sum()) + np.repeat(skipped, sizes)]
    owners = np.repeat(pairs, sizes).astype(np.uint64) << np.uint64(32)
    # Two ascending runs, which the stable sort merges.
    every = np.sort(owners | words, kind="stable")
    twice = every[1:][every[1:] == every[:-1]] >> np.uint64(32)
    return np.bincount(twice.astype(np.intp), minlength=len(left))


def _linked(roots: Indices, left: Indices, right: Indices) -> Indices:
    """`roots` (of each item the smallest of its group) with the groups of each pair made one."""
    while True:
        low = np.minimum(roots[left], roots[right])
        high = np.maximum(roots[left], roots[right])
        if np.array_equal(low, high):
            return roots
        roots = roots.copy()
        np.minimum.at(roots, high, low)
        while not np.array_equal(above := roots[roots], roots):
            roots = above


def _named(groups: Indices) -> pl.Series:
    """The groups, each by the smallest index of an item in it."""
    _, first, which = np.unique(groups, return_index=True, return_inverse=True)
    return pl.Series("group", first[which], dtype=pl.UInt32)
