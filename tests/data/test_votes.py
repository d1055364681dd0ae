"""The majority decides; a tie is never settled silently."""

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.receipt import settle
from tunesmith.data.votes import TIE, majority, settle_votes

votes = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=3, max_size=3)


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
    frame = pl.DataFrame(
        {str(i): pl.Series([vote], dtype=pl.String) for i, vote in enumerate(ballot)}
    )
    settled = majority(frame).row(0, named=True)
    assert (settled["label"], settled["tied"]) == (label, tied)


def test_on_a_tie_the_first_annotator_on_a_tied_side_speaks() -> None:
    ballot = pl.DataFrame([["c"], ["a"], ["b"], ["b"], ["a"]], schema=list("vwxyz"))
    assert majority(ballot).row(0) == ("a", True, 5, False)


@given(st.lists(votes, min_size=1, max_size=30))
def test_majority_is_what_counting_says(ballots: list[list[str | None]]) -> None:
    frame = pl.DataFrame(ballots, schema=dict.fromkeys("xyz", pl.String), orient="row")
    for ballot, row in zip(ballots, majority(frame).iter_rows(named=True), strict=True):
        counts = Counter(vote for vote in ballot if vote)
        best = [vote for vote, n in counts.items() if n == max(counts.values())]
        assert row["num_votes"] == sum(counts.values())
        assert row["tied"] == (len(best) > 1)
        assert row["label"] in (best or [None])
        assert row["agreed"] == (len(counts) == 1 and counts.total() > 1)


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


def test_tied_rows_are_taken_out_for_review() -> None:
    rows, step, review = settle_votes(ballots(), ["vote 0", "vote 1"], "drop")
    assert rows["label"].to_list() == ["a", "a", "a", "b"]
    assert step.verdicts.rows() == [(1, TIE, "a / b")]  # the row without a text is no tie
    assert review["line"].to_list() == [3]
    assert settle(rows, step.verdicts)["fate"].to_list() == [None, TIE, None, None]
    agreement, ties = step.findings
    assert "agree on 33 % of 3 rows" in agreement.what
    assert "1 row on which the annotators tie: line 3" in ties.what


def test_tied_rows_stay_if_the_user_says_so() -> None:
    rows, step, review = settle_votes(ballots(), ["vote 0", "vote 1"], "first")
    assert rows["label"].to_list() == ["a", "a", "a", "b"]
    assert step.verdicts.is_empty()
    assert review.is_empty()
    assert "first annotator was taken" in step.findings[-1].fix
