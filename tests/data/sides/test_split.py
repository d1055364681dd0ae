"""The split is exactly proportional, leaves no label out, and is the same for the same seed.

With groups no group is divided; in any order of the rows the split is the same.
"""

from collections import Counter
from datetime import date
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.sides.split import (
    SIDES,
    Split,
    allotments,
    assign,
    chances,
    draw,
    shares,
    would_have_leaked,
)
from tunesmith.errors import ConfigError, DataError

sizes = st.lists(st.integers(2, 300), min_size=1, max_size=12)


def counts(numbers: list[int]) -> dict[str, int]:
    return {f"label {i}": number for i, number in enumerate(numbers)}


def two_sides(numbers: list[int], percent: int) -> dict[str, int]:
    """Validation rows of each label."""
    cells = allotments(counts(numbers), (100 - percent, percent))
    return {label: validation for label, (_, validation) in cells.items()}


def test_the_rule_of_the_design() -> None:
    assert two_sides([2600, 2600, 2600], 20) == counts([520, 520, 520])


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
    assert list(two_sides(numbers, percent).values()) == held_out


@given(sizes, st.integers(1, 99))
def test_each_label_is_on_both_sides_in_proportion(numbers: list[int], percent: int) -> None:
    held_out = list(two_sides(numbers, percent).values())
    for number, part in zip(numbers, held_out, strict=True):
        assert 1 <= part <= number - 1
        assert abs(part - number * percent / 100) < 1 or part in (1, number - 1)
    unforced = all(number * percent >= 100 for number in numbers)
    if unforced and all(number * (100 - percent) >= 100 for number in numbers):
        assert sum(held_out) == (sum(numbers) * percent + 50) // 100


@given(sizes, st.integers(0, 5))
def test_as_many_are_drawn_as_wanted(numbers: list[int], seed: int) -> None:
    labels = pl.Series([f"label {i}" for i, n in enumerate(numbers) for _ in range(n)])
    wanted = two_sides(numbers, 20)
    drawn = draw(labels, wanted, chances(table(labels.to_list()), seed))
    assert dict(labels.filter(drawn).value_counts().iter_rows()) == wanted
    assert drawn.equals(draw(labels, wanted, chances(table(labels.to_list()), seed)))


def test_another_seed_draws_other_rows() -> None:
    rows = table(["x"] * 100)
    first, second = (draw(rows["label"], {"x": 50}, chances(rows, seed)) for seed in (0, 1))
    assert not first.equals(second)


def test_the_draw_is_spread_over_the_rows() -> None:
    rows = table(["x", "y"] * 500)
    drawn = draw(rows["label"], {"x": 250, "y": 250}, chances(rows, 0))
    for start in range(0, 1000, 250):
        assert 90 <= drawn[start : start + 250].sum() <= 160


@pytest.mark.parametrize(
    ("split", "numbers"),
    [
        ("80/20", (80, 20)),
        ("90 / 10", (90, 10)),
        ("1/99", (1, 99)),
        ("80/10/10", (80, 10, 10)),
        (" 1/ 98/1", (1, 98, 1)),
    ],
)
def test_two_or_three_shares_are_read(split: str, numbers: tuple[int, ...]) -> None:
    assert shares(split) == numbers


@pytest.mark.parametrize(
    "split",
    ["", "80", "100", "80/30", "100/0", "70/10/10/10", "80/20/0", "a/b", "80:20", "-1/101"],
)
def test_shares_that_do_not_sum_to_100_are_refused(split: str) -> None:
    with pytest.raises(ConfigError, match="--split 80/10/10"):
        shares(split)


@pytest.mark.parametrize(
    ("numbers", "cells"),
    [
        ([2080, 2080], [[1664, 208, 208], [1664, 208, 208]]),
        ([10, 5], [[8, 1, 1], [3, 1, 1]]),
        ([1, 2, 3], [[1, 0, 0], [1, 1, 0], [1, 1, 1]]),
        ([19, 19, 19], [[15, 2, 2], [15, 2, 2], [15, 2, 2]]),
    ],
)
def test_three_sides(numbers: list[int], cells: list[list[int]]) -> None:
    assert list(allotments(counts(numbers), (80, 10, 10)).values()) == cells


wishes = st.sampled_from([(80, 20), (80, 10, 10), (50, 25, 25), (34, 33, 33), (1, 98, 1)])


@given(st.lists(st.integers(1, 300), min_size=1, max_size=12), wishes)
def test_each_side_of_each_label_is_within_a_row_of_its_share(
    numbers: list[int], wish: tuple[int, ...]
) -> None:
    for number, cell in zip(numbers, allotments(counts(numbers), wish).values(), strict=True):
        assert sum(cell) == number
        assert [part > 0 for part in cell] == [side < number for side in range(len(wish))]
        if all(number * share >= 100 for share in wish):
            assert all(
                abs(part - number * share / 100) <= 1
                for part, share in zip(cell, wish, strict=True)
            )


def table(labels: list[str], texts: list[str] | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "line": range(2, len(labels) + 2),
            "text": texts or [f"text {i}" for i in range(len(labels))],
            "label": labels,
        },
        schema={"line": pl.Int64, "text": pl.String, "label": pl.String},
    )


def on_each(split: Split, labels: list[str]) -> dict[str, Counter[str]]:
    """Side → rows of each label on it."""
    return {
        side: Counter(label for s, label in zip(split.sides, labels, strict=True) if s == side)
        for side in SIDES
    }


def test_7800_balanced_rows() -> None:
    labels = ["Negative", "Positive", "Neutral"] * 2600
    split = assign(table(labels), (80, 20), seed=0)
    sides = on_each(split, labels)
    assert sides["train"] == dict.fromkeys(labels, 2080)
    assert sides["validation"] == dict.fromkeys(labels, 520)
    assert split.findings == ()


few_texts = st.sampled_from(["one", "One", "ONE!", "one !!", "two", "three", "four, five", "..."])
said = st.lists(st.tuples(few_texts, st.sampled_from("xy")), min_size=1, max_size=40)
randoms = st.randoms(use_true_random=False)


@given(said, st.integers(-1, 3), wishes, st.booleans(), st.booleans(), randoms)
def test_rows_in_any_order_are_split_alike(
    pairs: list[tuple[str, str]],
    seed: int,
    wish: tuple[int, ...],
    by_group: bool,
    by_time: bool,
    random: Random,
) -> None:
    rows = table([label for _, label in pairs], [text for text, _ in pairs])
    rows = rows.with_columns(group=pl.col("text").str.len_bytes(), time=pl.col("line") // 3)
    outcomes = []
    for order in (list(range(rows.height)), random.sample(range(rows.height), rows.height)):
        part = rows[order]
        kw: dict[str, Any] = {"groups": part["group"]} if by_group else {}
        if by_time:
            kw["time"] = part["time"]
        try:
            split = assign(part, wish, seed=seed, **kw)
        except DataError:
            outcomes.append(None)
            continue
        kept = ["text", "label", "time", split.sides] if by_time else ["text", "label", split.sides]
        outcomes.append(sorted(part.with_columns(split.sides).select(kept).rows()))
    assert outcomes[0] == outcomes[1]


def test_chance_is_the_same_in_every_version_and_on_every_machine() -> None:
    drawn = chances(table(["a", "b", "b"], ["Hello", "hello?", "hello?"]), 7)
    assert drawn.to_list() == [5699070856015591296, 3748886429579605236, 293294376037187187]


def test_chance_is_even_and_another_for_each_seed() -> None:
    rows = table(["x"] * 4000)
    first, second = (chances(rows, seed) for seed in (0, 1))
    tenths = (first // (2**64 // 10)).value_counts()["count"]
    assert tenths.len() == 10
    assert 330 < tenths.min() <= tenths.max() < 470  # type: ignore[operator]
    assert 1800 < (first < second).sum() < 2200


def test_rows_that_say_the_same_have_chances_of_their_own() -> None:
    drawn = chances(table(["x"] * 100, ["same"] * 100), 0)
    assert drawn.n_unique() == 100


grouped_rows = st.lists(
    st.tuples(st.sampled_from("xyz"), st.none() | st.integers(0, 9)), min_size=1, max_size=80
)


@given(grouped_rows, wishes, st.integers(0, 3))
def test_no_group_spans_the_split(
    rows: list[tuple[str, int | None]], wish: tuple[int, ...], seed: int
) -> None:
    labels = [label for label, _ in rows]
    groups = pl.Series("group", [group for _, group in rows], dtype=pl.Int64)
    split = assign(table(labels), wish, seed=seed, groups=groups)
    assert would_have_leaked(groups, split.sides) == 0
    spans = pl.DataFrame([groups, split.sides]).drop_nulls().group_by("group").n_unique()
    assert spans.filter(pl.col("split") > 1).is_empty()
    by_chance = assign(table(labels), wish, seed=seed).sides
    alone = pl.Series([None] * len(rows), dtype=pl.Int64)
    assert assign(table(labels), wish, seed=seed, groups=alone).sides.equals(by_chance)
    sides = on_each(split, labels)
    for side in SIDES[: len(wish)]:
        told = [f.what for f in split.findings if _NAMES[side] in f.what]
        for label in set(labels) - set(sides[side]):
            assert any(repr(label) in what for what in told)
        assert len(told) <= 2 * len(set(labels) - set(sides[side]))


_NAMES = {"train": "training", "validation": "validation", "test": "test"}


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.integers(1, 9)), min_size=1, max_size=40),
    wishes,
)
def test_sides_are_over_by_less_than_a_group(
    sizes: list[tuple[str, int]], wish: tuple[int, ...]
) -> None:
    labels = [label for label, size in sizes for _ in range(size)]
    groups = pl.Series([i for i, (_, size) in enumerate(sizes) for _ in range(size)])
    sides = on_each(assign(table(labels), wish, seed=0, groups=groups), labels)
    wanted = allotments(Counter(labels), wish)
    for label, cell in wanted.items():
        largest = max(size for name, size in sizes if name == label)
        num_groups = sum(name == label for name, _ in sizes)
        for side, number in zip(SIDES, cell, strict=False):
            assert sides[side][label] < number + largest
            if num_groups >= len(wish):
                assert sides[side][label] > 0


def test_single_rows_even_out_the_groups() -> None:
    sizes = [30, 7, 5, 5, 3, 2, 2, *[1] * 46]
    labels = ["x" if i % 3 else "y" for i, size in enumerate(sizes) for _ in range(size)]
    groups = pl.Series([i for i, size in enumerate(sizes) for _ in range(size)])
    sides = on_each(assign(table(labels), (80, 10, 10), seed=0, groups=groups), labels)
    wanted = allotments(Counter(labels), (80, 10, 10))
    assert {label: [sides[side][label] for side in SIDES] for label in "xy"} == wanted


def test_a_label_in_one_group_is_told_of() -> None:
    labels = ["x"] * 20 + ["y"] * 6
    groups = pl.Series([*range(20), *[99] * 6])
    split = assign(table(labels), (80, 20), seed=0, groups=groups)
    assert on_each(split, labels)["train"]["y"] == 6
    (finding,) = split.findings
    assert finding.what == "The label 'y' (6 rows) is not among the validation rows."
    assert (finding.line, "never divided" in finding.fix) == (22, True)


def test_rare_labels_are_told_of_with_the_rule() -> None:
    labels = ["x"] * 20 + ["y", "z", "z"]
    split = assign(table(labels), (80, 10, 10), seed=0)
    assert [finding.what for finding in split.findings] == [
        "The label 'y' (1 row) is not among the validation rows.",
        "2 labels, 'y' (1 row), 'z' (2 rows), are not among the test rows.",
    ]
    assert all("training first, then to validation" in f.fix for f in split.findings)


def test_a_plain_split_would_have_leaked() -> None:
    groups = pl.Series([1, 1, 1, 2, 2, None, None])
    sides = pl.Series(["train", "test", "validation", "test", "test", "train", "validation"])
    assert would_have_leaked(groups, sides) == 2


def test_the_newest_rows_are_held_out() -> None:
    days = [date(2024, 1, day) for day in (5, 1, 2, 9, 3, 4, 8, 7, 6, 10)]
    split = assign(table(list("xy" * 5)), (70, 20, 10), seed=0, time=pl.Series(days))
    assert split.sides.to_list() == ["train"] * 3 + ["validation"] + ["train"] * 2 + [
        "validation",
        "train",
        "train",
        "test",
    ]


times = st.lists(st.none() | st.integers(0, 12), min_size=1, max_size=60)


@given(times, wishes)
def test_time_goes_one_way_and_equal_times_stay_together(
    values: list[int | None], wish: tuple[int, ...]
) -> None:
    rows, time = table(["x"] * len(values)), pl.Series("time", values, dtype=pl.Int64)
    if len(set(values)) < len(wish):
        with pytest.raises(DataError, match="too few for the"):
            assign(rows, wish, seed=0, time=time)
        return
    split = assign(rows, wish, seed=0, time=time)
    spans = [
        {
            -1 if value is None else value
            for value, s in zip(values, split.sides, strict=True)
            if s == side
        }
        for side in SIDES[: len(wish)]
    ]
    assert all(spans)
    for before, after in zip(spans, spans[1:], strict=False):
        assert max(before) < min(after)
    told = [f for f in split.findings if "without a time" in f.what]
    assert len(told) == (None in values)
    largest = max(Counter(values).values())
    if len(wish) == 2:
        held_out = (split.sides == "validation").sum()
        assert abs(held_out - len(values) * wish[1] / 100) <= largest


def test_by_time_a_group_is_as_old_as_its_newest_row() -> None:
    time, groups = pl.Series([1, 2, 3, 4, 5]), pl.Series([7, None, None, None, 7])
    split = assign(table(list("xxxxy")), (60, 40), seed=0, time=time, groups=groups)
    assert split.sides.to_list() == ["validation", "train", "train", "train", "validation"]
    (finding,) = split.findings
    assert finding.what == "The label 'y' (1 row) is not among the training rows."
