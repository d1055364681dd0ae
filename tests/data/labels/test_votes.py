"""The majority decides; a tie is never settled silently."""

from collections import Counter
from typing import Literal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.findings import percent
from tunesmith.data.labels.ballots import BALLOTS, from_annotators
from tunesmith.data.labels.votes import (
    TIE,
    dawid_skene,
    settle_ballots,
    soft,
)
from tunesmith.data.receipt import Step, settle
from tunesmith.errors import DataError

votes = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=3, max_size=3)


def items(number: int) -> pl.DataFrame:
    """So many rows to be labelled, numbered as the items of their ballots."""
    row = pl.int_range(number, dtype=pl.UInt32, eager=True).alias("row")
    fate = pl.Series("fate", [None] * number, dtype=pl.String)
    return pl.DataFrame([row, (row + 2).alias("line"), row.cast(pl.String).alias("text"), fate])


def majority(ballots: list[list[str | None]]) -> tuple[list[str | None], set[int], str]:
    """Label of each ballot, the tied ballots, and what is said about agreement."""
    names = [str(place) for place in range(len(ballots[0]))]
    frame = pl.DataFrame(ballots, schema=dict.fromkeys(names, pl.String), orient="row")
    rows = items(len(ballots)).hstack(frame)
    cast_votes = from_annotators(rows, {name: name for name in names})
    settled, step, _ = settle_ballots(rows, cast_votes, "drop")
    agreement = [finding.what for finding in step.findings if "agree" in finding.what]
    return settled["label"].to_list(), set(step.verdicts["row"]), "".join(agreement)


@pytest.mark.parametrize(
    ("ballot", "label", "tied"),
    [
        (["a", "a", "b"], "a", False),
        (["b", "a", "a"], "a", False),
        (["b", None, None], "b", False),
        (["b", "a", None], "b", True),
        (["c", "b", "a"], "c", True),
        ([None, "b", "a"], "b", True),
        ([None, None, None], None, False),
    ],
)
def test_one_ballot(ballot: list[str | None], label: str | None, tied: bool) -> None:
    assert majority([ballot])[:2] == ([label], {0} if tied else set())


def test_on_a_tie_the_first_annotator_on_a_tied_side_speaks() -> None:
    labels, tied, agreement = majority([["c", "a", "b", "b", "a"]])
    assert (labels, tied) == (["a"], {0})
    assert "agree on 0 % of 1 row" in agreement


@given(st.lists(votes, min_size=1, max_size=30))
def test_majority_is_what_counting_says(ballots: list[list[str | None]]) -> None:
    labels, tied, agreement = majority(ballots)
    num_several = num_agreed = 0
    for row, (ballot, label) in enumerate(zip(ballots, labels, strict=True)):
        counts = Counter(vote for vote in ballot if vote)
        best = [vote for vote, n in counts.items() if n == max(counts.values())]
        assert (row in tied) == (len(best) > 1)
        assert label in (best or [None])
        num_several += counts.total() > 1
        num_agreed += len(counts) == 1 and counts.total() > 1
    assert bool(agreement) == bool(num_several)
    if num_several:
        assert f"on {percent(num_agreed / num_several)} of {num_several} row" in agreement


def ballots() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "row": pl.Series([0, 1, 2, 3], dtype=pl.UInt32),
            "line": [2, 3, 4, 5],
            "text": ["one", "two", None, "four"],
            "vote 0": ["a", "a", "a", "b"],
            "vote 1": ["a", "b", "b", None],
            "fate": pl.Series([None] * 4, dtype=pl.String),
            "note": pl.Series([None] * 4, dtype=pl.String),
        }
    )


def settle_columns(
    rows: pl.DataFrame, ties: Literal["drop", "first"], decided: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, Step, pl.DataFrame]:
    """Settled by the columns `vote 0` and `vote 1`."""
    cast_votes = from_annotators(rows, {"vote 0": "vote 0", "vote 1": "vote 1"})
    return settle_ballots(rows, cast_votes, ties, decided=decided)


def test_tied_rows_are_taken_out_for_review() -> None:
    rows, step, review = settle_columns(ballots(), "drop")
    assert rows["label"].to_list() == ["a", "a", "a", "b"]
    assert step.verdicts.rows() == [(1, TIE, "a / b")]  # the row without a text is no tie
    assert review["line"].to_list() == [3]
    assert settle(rows, step.verdicts)["fate"].to_list() == [None, TIE, None, None]
    agreement, ties = step.findings
    assert "agree on 33 % of 3 rows" in agreement.what
    assert "1 row on which the annotators tie: line 3" in ties.what


def test_tied_rows_stay_if_the_user_says_so() -> None:
    rows, step, review = settle_columns(ballots(), "first")
    assert rows["label"].to_list() == ["a", "a", "a", "b"]
    assert step.verdicts.is_empty()
    assert review.is_empty()
    assert "first annotator was taken" in step.findings[-1].fix


def cast(*rows: tuple[int, str | None, str, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=BALLOTS, orient="row")


def test_a_review_goes_before_the_votes() -> None:
    decided = pl.DataFrame(
        {"row": [1, 3], "label": ["b", "c"]}, schema_overrides={"row": pl.UInt32}
    )
    rows, step, review = settle_columns(ballots(), "drop", decided)
    assert rows["label"].to_list() == ["a", "b", "a", "c"]
    assert step.verdicts.is_empty()
    assert review.is_empty()
    assert step.findings[-1].what == "2 rows labelled as decided in the review."


def test_counted_votes_are_settled_with_their_sides_told() -> None:
    given_ballots = cast((0, None, "a", 3), (0, None, "b", 2), (1, None, "c", 2), (1, None, "a", 1))
    tied = cast((3, None, "c", 1), (3, None, "b", 2), (3, None, "a", 2))
    rows = ballots().drop("vote 0", "vote 1")
    settled, step, review = settle_ballots(rows, pl.concat([given_ballots, tied]), "drop")
    assert settled["label"].to_list() == ["a", "c", None, "b"]
    assert settled.columns == [*rows.columns, "label"]
    assert step.verdicts.rows() == [(3, TIE, "b / a")]
    assert review["votes"].to_list() == ["b 2, a 2, c 1"]
    shares = pl.DataFrame({"item": [0, 0], "label": ["b", "a"], "share": [0.7, 0.3]}).cast(
        {"item": pl.UInt32}
    )
    settled, _, review = settle_ballots(rows, cast((0, None, "a", 3)), "drop", shares=shares)
    assert settled["label"].to_list() == ["b", None, None, None]
    assert review.is_empty()


def test_two_labels_of_one_rater_say_nothing_about_agreement() -> None:
    rows = ballots().drop("vote 0", "vote 1")
    one_rater = cast((0, "x", "a", 1), (0, "x", "b", 1))
    _, step, _ = settle_ballots(rows, one_rater, "drop")
    assert [finding.level for finding in step.findings] == ["warning"]
    two = cast((1, "x", "a", 1), (1, "y", "a", 1), (3, "x", "a", 1), (3, "y", "b", 1))
    _, step, _ = settle_ballots(rows, pl.concat([one_rater, two]), "drop")
    assert "agree on 50 % of 2 rows" in step.findings[0].what


def test_equal_shares_are_a_tie() -> None:
    shares = pl.DataFrame(
        {"item": [0, 0, 0], "label": ["a", "b", "c"], "share": [0.45, 0.45 + 1e-13, 0.1]}
    ).cast({"item": pl.UInt32})
    tied = cast((0, None, "b", 1), (0, None, "a", 1))
    settled, step, _ = settle_ballots(items(1), tied, "drop", shares=shares)
    assert settled["label"].to_list() == ["b"]
    assert step.verdicts["row"].to_list() == [0]


def test_soft_labels_stand_as_often_as_they_were_voted_for() -> None:
    ballots = cast((7, "x", "a", 1), (7, "y", "b", 1), (7, "z", "a", 2), (9, None, "c", 4))
    assert soft(ballots).rows() == [(7, "a", 3), (7, "b", 1), (9, "c", 1)]
    decided = pl.DataFrame({"row": [7], "label": ["d"]}).cast({"row": ballots["item"].dtype})
    assert soft(ballots, decided).rows() == [(7, "d", 1), (9, "c", 1)]


def test_many_votes_are_told_in_few_lines() -> None:
    many = [(1, None, "a", 701), (1, None, "b", 298), (1, None, "c", 1)]
    ballots = cast(*many, (2, None, "a", 90), (2, None, "b", 30))
    assert soft(ballots).rows() == [(1, "a", 14), (1, "b", 6), (2, "a", 3), (2, "b", 1)]


# The data of Dawid and Skene (1979), table 1: 45 patients, each seen three times by the first of
# five anaesthetists and once by each of the others. They estimate that 40, 42, 11 and 7 % of
# the patients have the labels 1 to 4.
PATIENTS = """
1111111 3334334 1122122 2223121 2223222 2223322 1222111 3333433 2222223 2322223 4444444 2223343
1111111 2223212 1211111 1112111 1111111 1111111 2222221 2221322 2222222 2222221 2223222 2212222
1111111 1111111 2322222 1111111 1111111 1121121 1111111 3333233 1111111 2222222 2223232 4334343
2212232 2323233 3333432 1111111 1111111 1212111 2322222 1211111 2222222
"""
OBSERVERS = (1, 1, 1, 2, 3, 4, 5)


def patients() -> pl.DataFrame:
    answers = Counter(
        (patient, f"observer {who}", label)
        for patient, row in enumerate(PATIENTS.split(), start=1)
        for who, label in zip(OBSERVERS, row, strict=True)
    )
    return cast(*((*answer, number) for answer, number in answers.items()))


def test_dawid_and_skene_find_what_they_published() -> None:
    found = dawid_skene(patients(), smoothing=1e-9)
    assert found.has_converged
    means = found.shares.group_by("label").agg(pl.col("share").sum() / 45).sort("label")
    assert means["share"].to_list() == pytest.approx([0.40, 0.42, 0.11, 0.07], abs=0.006)
    confusion = {row[:3]: row[3] for row in found.confusion.iter_rows()}
    assert confusion["observer 1", "1", "1"] == pytest.approx(0.89, abs=0.006)
    # Label 4 are the patients 2, 11 and 36, of whom the first observer said 333, 444 and 433.
    assert confusion["observer 1", "4", "3"] == pytest.approx(5 / 9, abs=0.001)
    assert confusion["observer 1", "4", "4"] == pytest.approx(4 / 9, abs=0.001)


def people(rng: np.random.Generator, num_items: int = 300) -> tuple[np.ndarray, pl.DataFrame]:
    """Two careful raters and five who say what they like, on items with labels a, b and c."""
    truth = rng.integers(0, 3, num_items)
    rows = []
    for rater, skill in enumerate((0.95, 0.95, 0, 0, 0, 0, 0)):
        knows = rng.random(num_items) < skill
        said = np.where(knows, truth, rng.integers(0, 3, num_items))
        rows += [(i, f"r{rater}", "abc"[label], 1) for i, label in enumerate(said)]
    return truth, cast(*rows)


def test_dawid_and_skene_listen_to_the_careful() -> None:
    truth, given_ballots = people(np.random.default_rng(0))
    right = ["abc"[label] for label in truth]
    found = dawid_skene(given_ballots)

    def share_right(shares: pl.DataFrame | None) -> float:
        rows, _, _ = settle_ballots(items(len(right)), given_ballots, "first", shares=shares)
        return float(np.mean([a == b for a, b in zip(rows["label"], right, strict=True)]))

    by_majority, by_consensus = share_right(None), share_right(found.shares)
    assert by_consensus > 0.9 > by_majority + 0.1
    assert dawid_skene(given_ballots).shares.equals(found.shares)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from("xyz"), st.sampled_from("abc"))).filter(
        lambda votes: len({rater for _, rater, _ in votes}) > 1
    )
)
def test_shares_are_probabilities(votes: list[tuple[int, str, str]]) -> None:
    given_ballots = cast(*((*vote, number) for vote, number in Counter(votes).items()))
    found = dawid_skene(given_ballots)
    for part, key in ((found.shares, ["item"]), (found.confusion, ["rater", "label"])):
        assert part["share"].is_between(0, 1 + 1e-12).all()
        assert ((part.group_by(key).agg(pl.col("share").sum())["share"] - 1).abs() < 1e-9).all()
    assert set(found.shares["item"]) == {item for item, _, _ in votes}
    shuffled = dawid_skene(given_ballots.reverse()).shares.sort("item", "label")
    assert np.allclose(shuffled["share"], found.shares.sort("item", "label")["share"], atol=1e-4)


def test_unknown_raters_have_no_habits() -> None:
    for rater in (None, "somebody"):
        with pytest.raises(DataError, match="needs to know which of several raters.*--rater"):
            dawid_skene(cast((0, rater, "a", 1), (0, rater, "b", 1)))
