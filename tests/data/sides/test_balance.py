"""Which way classes are evened out, and that each way does."""

from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.sides.balance import choose, copies, counts_each_way, keep_even
from tunesmith.data.sides.split import chances

sizes = st.lists(st.integers(1, 60), min_size=2, max_size=6)


def column(numbers: list[int]) -> pl.Series:
    return pl.Series([f"label {i}" for i, n in enumerate(numbers) for _ in range(n)])


def by_chance(labels: pl.Series) -> pl.Series:
    texts = [f"text {i}" for i in range(len(labels))]
    return chances(pl.DataFrame({"text": texts, "label": labels}), seed=0)


@pytest.mark.parametrize(
    ("numbers", "mode", "reason"),
    [
        ([2674, 2727, 2600], "smallest", "leaves out 201 of 8,001 rows, 3 %"),
        ([9, 10], "none", "9 to 10 rows a label is even enough"),
        ([100, 100], "none", "every label has 100 rows"),
        ([60, 100], "weight", "cutting to the smallest would drop 25 % of all"),
        ([80, 100, 100, 120], "smallest", "leaves out 80 of 400 rows, 20 %"),
        ([79, 100, 100, 121], "weight", "79 to 121 rows a label"),
        ([79, 106, 107, 108], "none", "79 to 108 rows a label is even enough"),
    ],
)
def test_auto_chooses_and_says_why(numbers: list[int], mode: str, reason: str) -> None:
    chosen, decision = choose(dict(enumerate(map(int, numbers))), "auto")  # type: ignore[arg-type]
    assert chosen == mode
    assert decision is not None
    assert reason in f"{decision.value} ({decision.reason})"


@pytest.mark.parametrize("mode", ["smallest", "repeat", "weight", "none"])
def test_what_is_asked_for_is_done(mode: str) -> None:
    chosen, decision = choose({"a": 5, "b": 500}, mode)  # type: ignore[arg-type]
    assert chosen == mode
    told = "as asked; rows each way: smallest 10, repeat 1,000, weight 505, none 505"
    assert decision.reason == told


@given(sizes)
def test_cutting_makes_all_as_small_as_the_smallest(numbers: list[int]) -> None:
    labels = column(numbers)
    left = labels.filter(keep_even(labels, by_chance(labels))).value_counts()["count"].to_list()
    assert left == [min(numbers)] * len(numbers)


@given(sizes)
def test_repeating_makes_all_as_large_as_the_largest(numbers: list[int]) -> None:
    labels = column(numbers)
    times = copies(labels, by_chance(labels))
    frame = (
        pl.DataFrame({"label": labels, "times": times})
        .group_by("label")
        .agg(
            pl.col("times").sum().alias("sum"),
            (pl.col("times").max() - pl.col("times").min()).alias("gap"),
        )
    )
    assert frame["sum"].to_list() == [max(numbers)] * len(numbers)
    assert times.min() >= 1  # type: ignore[operator]
    assert frame["gap"].max() <= 1  # type: ignore[operator]


@given(sizes)
def test_the_rows_of_each_way_are_those_it_uses(numbers: list[int]) -> None:
    labels = column(numbers)
    counts = {f"label {i}": number for i, number in enumerate(numbers)}
    assert counts_each_way(counts) == {
        "smallest": keep_even(labels, by_chance(labels)).sum(),
        "repeat": copies(labels, by_chance(labels)).sum(),
        "weight": len(labels),
        "none": len(labels),
    }


@given(sizes, st.randoms(use_true_random=False))
def test_the_same_rows_are_cut_and_repeated_in_any_order(
    numbers: list[int], random: Random
) -> None:
    labels = column(numbers)
    frame = pl.DataFrame({"text": [f"text {i}" for i in range(len(labels))], "label": labels})
    shuffled = frame[random.sample(range(frame.height), frame.height)]
    for way in (keep_even, copies):
        results = []
        for table in (frame, shuffled):
            chance = chances(table, seed=1)
            result = way(table["label"], chance).alias("result")
            results.append(table.with_columns(result).sort("text"))
        assert results[0].equals(results[1])
