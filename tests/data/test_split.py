"""The split is exactly proportional, leaves no label out, and is the same for the same seed."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.split import allot, draw, percent_held_out
from tunesmith.errors import ConfigError

sizes = st.lists(st.integers(2, 300), min_size=1, max_size=12)


def counts(numbers: list[int]) -> dict[str, int]:
    return {f"label {i}": number for i, number in enumerate(numbers)}


def test_the_rule_of_the_design() -> None:
    assert allot(counts([2600, 2600, 2600]), 20) == counts([520, 520, 520])


@pytest.mark.parametrize(
    ("numbers", "percent", "held_out"),
    [
        ([5, 5, 5, 5], 20, [1, 1, 1, 1]),
        ([7, 7, 7], 20, [2, 1, 1]),  # 4.2 rows in all: the remainder goes to the first of equals
        ([2, 2, 100], 20, [1, 1, 20]),
        ([2, 50], 90, [1, 45]),
        ([3], 99, [2]),
    ],
)
def test_largest_remainders(numbers: list[int], percent: int, held_out: list[int]) -> None:
    assert list(allot(counts(numbers), percent).values()) == held_out


@given(sizes, st.integers(1, 99))
def test_each_label_is_on_both_sides_in_proportion(numbers: list[int], percent: int) -> None:
    held_out = list(allot(counts(numbers), percent).values())
    for number, part in zip(numbers, held_out, strict=True):
        assert 1 <= part <= number - 1
        assert abs(part - number * percent / 100) < 1 or part in (1, number - 1)
    unforced = all(number * percent >= 100 for number in numbers)
    if unforced and all(number * (100 - percent) >= 100 for number in numbers):
        assert sum(held_out) == (sum(numbers) * percent + 50) // 100


@given(sizes, st.integers(0, 5))
def test_as_many_are_drawn_as_wanted(numbers: list[int], seed: int) -> None:
    labels = pl.Series([f"label {i}" for i, n in enumerate(numbers) for _ in range(n)])
    wanted = allot(counts(numbers), 20)
    drawn = draw(labels, wanted, seed)
    assert dict(labels.filter(drawn).value_counts().iter_rows()) == wanted
    assert drawn.equals(draw(labels, wanted, seed))


def test_another_seed_draws_other_rows() -> None:
    labels = pl.Series(["x"] * 100)
    assert not draw(labels, {"x": 50}, 0).equals(draw(labels, {"x": 50}, 1))


def test_the_draw_is_spread_over_the_rows() -> None:
    drawn = draw(pl.Series(["x", "y"] * 500), {"x": 250, "y": 250}, 0)
    for start in range(0, 1000, 250):
        assert 90 <= drawn[start : start + 250].sum() <= 160


@pytest.mark.parametrize(("split", "percent"), [("80/20", 20), ("90 / 10", 10), ("1/99", 99)])
def test_shares_are_read(split: str, percent: int) -> None:
    assert percent_held_out(split) == percent


@pytest.mark.parametrize("split", ["", "80", "80/30", "100/0", "eighty/twenty", "80:20", "-1/101"])
def test_impossible_shares_are_refused(split: str) -> None:
    with pytest.raises(ConfigError, match="--split 80/20"):
        percent_held_out(split)
