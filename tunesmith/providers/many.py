"""Many questions at once, each with its place.

Does not know: what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

MOST_CHARACTERS = 1_000_000
"""Of the texts in one request: no endpoint takes bodies of any size."""


def in_lists(texts: Sequence[str], most: int) -> tuple[list[int], list[Sequence[str]]]:
    """The texts in lists of `most` and MOST_CHARACTERS, or of one text; and where each begins."""
    starts: list[int] = []
    room = 0
    for i, text in enumerate(texts):
        room -= len(text)
        if not starts or i - starts[-1] == most or room < 0:
            starts.append(i)
            room = MOST_CHARACTERS - len(text)
    ends = [*starts[1:], len(texts)]
    return starts, [texts[start:end] for start, end in zip(starts, ends, strict=True)]


def all_of(
    ask: Callable[[A], B], questions: Sequence[A], concurrency: int
) -> Iterator[tuple[int, B]]:
    """The place of each question and what `ask` makes of it, in the order in which that comes."""
    pool = ThreadPoolExecutor(max_workers=max(1, min(concurrency, len(questions))))
    try:
        asked = {pool.submit(ask, question): i for i, question in enumerate(questions)}
        for future in as_completed(asked):
            yield asked[future], future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
