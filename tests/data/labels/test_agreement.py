"""Agreement beyond chance, against the worked examples of the literature."""

import random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.labels.agreement import agreement, fleiss_kappa, krippendorff_alpha
from tunesmith.data.labels.ballots import BALLOTS

# Ten items, fourteen ratings each, five labels: the usual worked example of Fleiss' kappa.
# Its P-bar is 0.378 and its expected agreement 0.213: (0.378 - 0.213) / (1 - 0.213) = 0.210.
FLEISS = [
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
]
# Krippendorff (2011), section C: four observers, twelve units; nominal alpha 0.743.
OBSERVERS = ["12332141 2...", "12332241 25.3", ".3332342 251.", "12332441 251."]
# Three coders, fifteen units, as in his book; nominal alpha 0.691.
CODERS = ["*****3412113 3*3", "1*213343*** ****", "**21344*2113 3*4"]


def ballots(*rows: tuple[int, str | None, str, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=BALLOTS, orient="row")


def counts(table: list[tuple[int, ...]]) -> pl.DataFrame:
    return ballots(
        *((i, None, str(k), n) for i, row in enumerate(table) for k, n in enumerate(row) if n)
    )


def coded(coders: list[str]) -> pl.DataFrame:
    lines = [line.replace(" ", "") for line in coders]
    return ballots(
        *(
            (item, f"coder {who}", label, 1)
            for who, line in enumerate(lines)
            for item, label in enumerate(line)
            if label.isdigit()
        )
    )


def test_the_example_of_fleiss() -> None:
    assert fleiss_kappa(counts(FLEISS)) == pytest.approx(0.210, abs=5e-4)


def test_the_examples_of_krippendorff() -> None:
    assert krippendorff_alpha(coded(OBSERVERS)) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(coded(CODERS)) == pytest.approx(0.691, abs=5e-4)


def test_varying_numbers_of_ratings_by_hand() -> None:
    # Item 0: a a b, item 1: a b, item 2: b b, item 3: a alone, which counts for nothing.
    table = counts([(2, 1), (1, 1), (0, 2), (1, 0)])
    observed = (1 / 3 + 0 + 1) / 3
    share = (2 / 3 + 1 / 2 + 0) / 3
    expected = share**2 + (1 - share) ** 2
    assert fleiss_kappa(table) == pytest.approx((observed - expected) / (1 - expected))
    # Pairs within items: (2 * 1 / 2) + 0 + (2 * 1 / 1) of 7 ratings, 3 of them a and 4 b.
    alike, chance = 3 / 7, (3 * 2 + 4 * 3) / (7 * 6)
    assert krippendorff_alpha(table) == pytest.approx((alike - chance) / (1 - chance))


def test_what_cannot_be_said() -> None:
    assert agreement(counts([(1, 0), (0, 1)])) is None
    assert agreement(ballots()) is None
    assert fleiss_kappa(ballots()) is krippendorff_alpha(ballots()) is None
    same = agreement(counts([(2, 0), (3, 0)]))
    assert same is not None
    assert same.fleiss_kappa is same.krippendorff_alpha is None
    assert "all ratings are the same label" in same.finding().what


def test_the_sentence() -> None:
    found = agreement(counts([(2, 1), (1, 1), (0, 2), (1, 0)]))
    assert found is not None
    assert (found.num_items, found.num_ratings, found.ratings_per_item) == (3, 7, (2, 3))
    assert found.finding().what == (
        "3 items with 2 to 3 ratings each: Krippendorff's alpha 0.00, Fleiss' kappa -0.17 "
        "(generalised to varying numbers of ratings); 1 is perfect, 0 is chance."
    )
    even = agreement(counts(FLEISS))
    assert even is not None
    assert "10 items with 14 ratings each" in even.finding().what
    assert "generalised" not in even.finding().what


def test_several_labels_of_one_rater_are_left_out() -> None:
    rows = [(0, "x", "a", 1), (0, "x", "b", 1), (0, "y", "a", 1), (0, "z", "a", 1)]
    rows += [(1, "x", "b", 1), (1, "y", "b", 1)]
    found = agreement(ballots(*rows))
    assert found is not None
    assert (found.num_ratings, found.num_left_out) == (4, 2)
    assert found.krippendorff_alpha == found.fleiss_kappa == 1
    assert "2 ratings left out" in found.finding().what


TABLES = st.lists(
    st.lists(st.sampled_from("abc"), min_size=2, max_size=5), min_size=2, max_size=12
).filter(lambda table: len({label for row in table for label in row}) > 1)


@given(TABLES)
def test_both_are_at_most_one_and_blind_to_order_and_names(table: list[list[str]]) -> None:
    rows = [(i, f"r{r}", label, 1) for i, row in enumerate(table) for r, label in enumerate(row)]
    given_rows = ballots(*rows)
    renamed = [(99 - i, f"s{r}", "cab"["abc".index(label)], n) for i, r, label, n in rows]
    random.Random(0).shuffle(renamed)
    for measure in (fleiss_kappa, krippendorff_alpha):
        value = measure(given_rows)
        assert value is not None
        assert value <= 1
        assert measure(ballots(*renamed)) == pytest.approx(value, abs=1e-12)
        agreed = all(len(set(row)) == 1 for row in table)
        assert (value == pytest.approx(1)) == agreed


@given(TABLES)
def test_more_of_the_same_ratings_leave_kappa_as_it_is(table: list[list[str]]) -> None:
    rows = [(i, None, label, 1) for i, row in enumerate(table) for label in row]
    twice = [(i + 100, None, label, n) for i, _, label, n in rows]
    assert fleiss_kappa(ballots(*rows, *twice)) == pytest.approx(fleiss_kappa(ballots(*rows)))
