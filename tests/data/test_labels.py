"""One spelling for a label, gaps recognised, misspellings noticed."""

import polars as pl
import pytest

from tunesmith.data.labels import (
    Spelling,
    decisions,
    near_spellings,
    placeholder_findings,
    spelling,
)


def learn(*cells: str | None, merge: bool = True) -> Spelling:
    return spelling(pl.DataFrame({"label": pl.Series(cells, dtype=pl.String)}), merge=merge)


def test_spellings_merge_into_the_most_frequent() -> None:
    cells = ["Refund", "refund ", "REFUND", "re fund", "refund", "other", None]
    spelled = learn(*cells)
    assert dict(spelled.counts) == {"refund": 5, "other": 1}
    column = spelled.apply(pl.Series(cells))
    assert column.to_list() == ["refund"] * 5 + ["other", None]
    (decision,) = decisions(spelled)
    assert decision.value == "'Refund', 'REFUND', 're fund' as 'refund'"


def test_of_equally_frequent_spellings_the_first_stays() -> None:
    assert list(learn("B", "b", "a", "A").counts) == ["B", "a"]


def test_merging_can_be_switched_off() -> None:
    spelled = learn("Refund", "refund", " refund  ", merge=False)
    assert dict(spelled.counts) == {"refund": 2, "Refund": 1}
    assert spelled.of(" Refund") == "Refund"
    assert list(decisions(spelled)) == []


def test_annotators_share_one_spelling() -> None:
    ballots = pl.DataFrame({"a": ["X", "x", "x"], "b": ["x", None, "y"]})
    spelled = spelling(ballots, merge=True)
    assert dict(spelled.counts) == {"x": 4, "y": 1}


@pytest.mark.parametrize("gap", ["", "  ", "NA", "n/a", "Null", "nan", "-", "None"])
def test_a_placeholder_is_no_label(gap: str) -> None:
    spelled = learn(*["yes", "no"] * 50, gap)
    assert set(spelled.counts) == {"yes", "no"}
    assert spelled.of(gap) is None
    findings = placeholder_findings(spelled, pl.DataFrame({"line": [2, 3], "vote": ["yes", gap]}))
    assert [f.line for f in findings] == ([3] if gap.strip() else [])


def test_none_is_a_label_when_it_is_frequent() -> None:
    spelled = learn(*["yes"] * 90, *["none"] * 2, "None")
    assert dict(spelled.counts) == {"yes": 90, "none": 3}
    assert spelled.of("NONE") == "none"
    assert [d.value for d in decisions(spelled)] == ["'None' as 'none'", "taken as a label"]
    frequent_gap = learn(*["yes"] * 50, *["N/A"] * 50)
    assert set(frequent_gap.counts) == {"yes"}


def test_another_table_is_read_with_the_same_spellings() -> None:
    spelled = learn("Refund", "Refund", "refund")
    cells = pl.Series(["REFUND", " new  one ", "n/a", None])
    assert spelled.apply(cells).to_list() == ["Refund", "new one", None, None]


def test_a_rare_near_spelling_is_noticed() -> None:
    counts = {"Negative": 100, "Positive": 90, "Neative": 1, "neutral": 40, "neutrals": 30}
    found = near_spellings(counts, dict.fromkeys(counts, 7))
    assert [f.line for f in found] == [7]
    assert "'Neative' (1 row, first on line 7)" in found[0].what
    assert "'Negative' (100 rows)" in found[0].what
