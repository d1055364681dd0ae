"""Which way classes are evened out, and that each way does."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.balance import choose, copies, keep_even

sizes = st.lists(st.integers(1, 60), min_size=2, max_size=6)


def column(numbers: list[int]) -> pl.Series:
    return pl.Series([f"label {i}" for i, n in enumerate(numbers) for _ in range(n)])


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
    assert choose({"a": 5, "b": 500}, mode) == (mode, None)  # type: ignore[arg-type]


@given(sizes)
def test_cutting_makes_all_as_small_as_the_smallest(numbers: list[int]) -> None:
    labels = column(numbers)
    left = labels.filter(keep_even(labels, 0)).value_counts()["count"].to_list()
    assert left == [min(numbers)] * len(numbers)


@given(sizes)
def test_repeating_makes_all_as_large_as_the_largest(numbers: list[int]) -> None:
    labels = column(numbers)
    times = copies(labels, 0)
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
