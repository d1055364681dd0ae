"""Rows are dealt in the numbers wanted; groups stay whole and give way to what each label needs."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.sides.grouped import deal, place


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=5))
def test_each_label_is_dealt_as_wanted(cells: list[tuple[int, int, int]]) -> None:
    wanted = {f"label {i}": cell for i, cell in enumerate(cells)}
    labels = pl.Series(
        [label for label, cell in wanted.items() for _ in range(sum(cell))], dtype=pl.String
    )
    chance = pl.Series([i * 7919 % 10007 for i in range(len(labels))], dtype=pl.UInt64)
    sides = deal(labels, chance, wanted)
    for label, cell in wanted.items():
        dealt = sides.filter(labels == label)
        assert [(dealt == side).sum() for side in range(3)] == list(cell)


def test_the_smallest_chances_go_to_the_last_side() -> None:
    sides = deal(pl.Series(["x"] * 5), pl.Series([5, 1, 4, 2, 3]), {"x": [2, 2, 1]})
    assert sides.to_list() == [0, 2, 0, 1, 1]


@pytest.mark.parametrize(
    ("groups", "wanted", "sides"),
    [
        ([1, 1, 1, 2, 2], [4, 1], [0, 0, 0, 1, 1]),  # both groups fit the first side alone
        ([1, 1, 1, 1, None], [4, 1], [0, 0, 0, 0, 1]),
        ([1, 1, 2, 2, 3], [3, 1, 1], None),
        ([1, 1, 1, 1, 1], [4, 1], [0, 0, 0, 0, 0]),
    ],
)
def test_a_label_in_several_groups_is_on_every_side(
    groups: list[int | None], wanted: list[int], sides: list[int] | None
) -> None:
    placed = place(
        pl.Series(["x"] * 5), pl.Series(groups), pl.Series([0, 1, 2, 3, 4]), {"x": wanted}
    ).to_list()
    assert placed == sides if sides else set(placed) == {0, 1, 2}


def test_where_groups_of_several_labels_leave_too_little_training_comes_first() -> None:
    # The group of eleven goes to the side where its many rows fit, and y has one row besides.
    labels, groups = pl.Series([*"x" * 10, "y", "y"]), pl.Series([*[1] * 11, None])
    wanted = {"x": [0, 0, 10], "y": [1, 1, 0]}
    placed = place(labels, groups, pl.Series(range(12)), wanted)
    assert placed.to_list() == [2] * 11 + [0]


def placed_sizes(sizes: list[int], wanted: list[int]) -> list[list[int]]:
    """The sizes of the groups on each side."""
    groups = pl.Series([i for i, size in enumerate(sizes) for _ in range(size)])
    labels, chance = pl.Series(["x"] * len(groups)), pl.Series(range(len(groups)))
    sides = dict(zip(groups, place(labels, groups, chance, {"x": wanted}), strict=True))
    return [[size for i, size in enumerate(sizes) if sides[i] == side] for side in (0, 1)]


def test_a_group_goes_where_it_fits() -> None:
    train, validation = placed_sizes([30, 25, *[1] * 45], [80, 20])
    assert train == [30, 25, *[1] * 25]
    assert validation == [1] * 20


def test_groups_of_every_size_are_on_every_side() -> None:
    for side in placed_sizes([4] * 20 + [2] * 20, [96, 24]):
        assert set(side) == {2, 4}
