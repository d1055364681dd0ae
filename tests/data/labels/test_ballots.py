"""The same ballots come out of every layout, and no rating is lost on the way."""

from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.columns.choice import Columns, choose
from tunesmith.data.columns.roles import vote_labels
from tunesmith.data.labels.agreement import agreement
from tunesmith.data.labels.ballots import (
    BALLOTS,
    RATED,
    by_item,
    from_annotators,
    from_votes,
    read_ballots,
)
from tunesmith.data.labels.votes import settle_ballots
from tunesmith.data.reading.readers import read

LABELS = ("a", "b", "c")
RATINGS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from("xyz"), st.sampled_from(LABELS)),
    min_size=1,
    max_size=30,
)


def frame(**columns: list[str | None]) -> pl.DataFrame:
    """Rows with row, source, line, text and the String columns given."""
    number = len(next(iter(columns.values())))
    rows = pl.DataFrame(
        {
            "row": pl.int_range(number, dtype=pl.UInt32, eager=True),
            "source": ["table"] * number,
            "line": range(2, number + 2),
            "text": [f"text {i}" for i in range(number)],
            "fate": pl.Series([None] * number, dtype=pl.String),
            "note": pl.Series([None] * number, dtype=pl.String),
        }
    )
    given_ones = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return rows.with_columns(given_ones.get_columns())


def test_annotators() -> None:
    rows = frame(u=["a", None, "b"], v=["b", None, None])
    ballots = from_annotators(rows, {"u": "Ann", "v": "Ben"})
    assert ballots.schema == BALLOTS
    assert ballots.rows() == [(0, "Ann", "a", 1), (2, "Ann", "b", 1), (0, "Ben", "b", 1)]


def test_counts() -> None:
    rows = frame(p=["2", "0", "", " 1 "], q=["1", "3.0", None, "0"])
    ballots, findings = from_votes(rows, {"p": "good", "q": "bad"})
    assert ballots.schema == BALLOTS
    assert ballots.rows() == [
        (0, None, "good", 2),
        (0, None, "bad", 1),
        (1, None, "bad", 3),
        (3, None, "good", 1),
    ]
    assert findings == ()


def test_ones_and_noughts_may_be_several_or_none() -> None:
    rows = frame(p=["1", "TRUE", "no", "0"], q=["0", "yes", "False", "1"])
    ballots, (several,) = from_votes(rows, {"p": "good", "q": "bad"})
    assert Counter(ballots["item"]) == {0: 1, 1: 2, 3: 1}
    assert agreement(ballots) is None  # two labels of one rater are no disagreement
    assert "1 row (25 %) with several labels: line 3." in several.what


def test_what_is_no_count_is_told_of() -> None:
    rows = frame(p=["-1", "1", "x", "1"], q=["1", "2.5", "1", "2000000"])
    ballots, (odd,) = from_votes(rows, {"p": "good", "q": "bad"})
    assert ballots.drop("rater").rows() == [
        (0, "bad", 1),
        (1, "good", 1),
        (2, "bad", 1),
        (3, "good", 1),
    ]
    assert "4 rows with something else than a count in a vote column: lines 2, 3" in odd.what


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["joy", "anger"], ["joy", "anger"]),
        (["votes_joy", "votes_anger"], ["joy", "anger"]),
        (["num_votes: joy", "num_votes: anger"], ["joy", "anger"]),
        (["joy_count", "anger_count"], ["joy", "anger"]),
        (["card_lost", "card_late"], ["card_lost", "card_late"]),
        (["label_joy", "label_"], ["label_joy", "label_"]),
    ],
)
def test_labels_of_vote_columns(names: list[str], labels: list[str]) -> None:
    assert list(vote_labels(names).values()) == labels


def test_ratings_are_put_together_by_text() -> None:
    rows = frame(rater=["x", "x", "y", None, None, "z"], label=["a", "b", "a", "b", "b", None])
    rows = rows.with_columns(text=pl.Series(["t", "s", "t", "t", "t", None]))
    ballots, step = by_item(rows, from_annotators(rows, {"label": None}))
    assert ballots.rows() == [
        (0, "x", "a", 1),
        (1, "x", "b", 1),
        (0, "y", "a", 1),
        (0, "unknown, line 5", "b", 1),
        (0, "unknown, line 6", "b", 1),
    ]
    assert step.verdicts.rows() == [
        (2, RATED, "line 2"),
        (3, RATED, "line 2"),
        (4, RATED, "line 2"),
    ]
    assert step.decisions[0].value == "6 rows about 3 items"
    assert step.findings == ()


def test_ratings_are_put_together_by_identifier() -> None:
    rows = frame(
        item=["i", "i", "k", "k", None, "i"],
        rater=["x", "y", "x", "x", "x", "y"],
        label=["a", "b", "a", "a", "b", "b"],
    ).with_columns(
        text=pl.Series([None, "one", "two", "two, changed", "one", "one"]),
        source=pl.Series(["table"] * 5 + ["validation"]),
    )
    ballots, step = by_item(rows, from_annotators(rows, {"label": None}))
    # The row without a text does not stand for its item; files are kept apart.
    assert ballots.rows() == [
        (1, "x", "a", 1),
        (1, "y", "b", 1),
        (2, "x", "a", 1),
        (4, "x", "b", 1),
        (5, "y", "b", 1),
    ]
    assert step.verdicts["row"].to_list() == [0, 3]
    said = [finding.what for finding in step.findings]
    assert said[0] == "1 rating say again what the same rater said of the same item."
    assert said[1].startswith(
        "1 row with the identifier of an earlier row, but another text: line 5"
    )


def columns(**roles: object) -> Columns:
    return Columns(**{"text": "text", "labels": (), **roles})  # type: ignore[arg-type]


@settings(max_examples=30)
@given(RATINGS)
def test_every_layout_gives_the_same_votes(ratings: list[tuple[int, str, str]]) -> None:
    once = {(item, rater): label for item, rater, label in ratings}
    expected = Counter((item, label) for (item, _), label in once.items())
    items = sorted({item for item, _ in once})

    def votes(rows: pl.DataFrame, layout: Columns, cells: list[str]) -> Counter[tuple[int, str]]:
        ballots, step = read_ballots(rows, layout, cells)
        left = rows.filter(~pl.col("row").is_in(step.verdicts["row"].implode()))
        assert left.height == len(items)
        named = ballots.join(rows.select(item="row", text="text"), on="item")
        found: Counter[tuple[int, str]] = Counter()
        for text, label, count in named.select("text", "label", "count").iter_rows():
            found[int(text), label] += count
        return found

    wide = frame(**{r: [once.get((i, r)) for i in items] for r in "xyz"})
    texts = pl.Series("text", list(map(str, items)))
    assert votes(wide.with_columns(texts), columns(labels=tuple("xyz")), list("xyz")) == expected

    table = frame(**{label: [str(expected[i, label]) for i in items] for label in LABELS})
    assert votes(table.with_columns(texts), columns(votes=LABELS), list(LABELS)) == expected

    pairs = list(once)
    long = frame(rater=[r for _, r in pairs], cell=[once[pair] for pair in pairs])
    long = long.with_columns(pl.Series("text", [str(item) for item, _ in pairs]))
    assert votes(long, columns(labels=("label",), rater="rater"), ["cell"]) == expected

    hot = {lb: [str(int(once[pair] == lb)) for pair in pairs] for lb in LABELS}
    many = frame(rater=[r for _, r in pairs], item=[f"id {i}" for i, _ in pairs], **hot)
    many = many.with_columns(long["text"])
    layout = columns(votes=LABELS, rater="rater", id="item")
    assert votes(many, layout, list(LABELS)) == expected


def test_goemotions(data: Path) -> None:
    table = read(data / "goemotions_raters" / "raw_sample_with_rater_id.csv")
    layout = choose(table)
    assert layout.rater is not None
    assert layout.id is not None
    cells = [f"vote {place}" for place in range(len(layout.votes))]
    votes = table.columns.select(layout.votes)
    rows = frame(**{c: v.to_list() for c, v in zip(cells, votes, strict=True)})
    rows = rows.with_columns(
        table.columns[layout.text].alias("text"),
        table.columns[layout.rater].alias("rater"),
        table.columns[layout.id].alias("item"),
    )
    ballots, step = read_ballots(rows, layout, cells)
    assert rows.height - step.verdicts.height == 9743
    assert any("with several labels" in finding.what for finding in step.findings)
    found = agreement(ballots)
    assert found is not None
    assert found.num_items <= 672
    assert found.krippendorff_alpha is not None
    assert 0.1 < found.krippendorff_alpha < 0.5
    left = rows.filter(~pl.col("row").is_in(step.verdicts["row"].implode()))
    settled, _, tied = settle_ballots(left, ballots, "drop")
    assert settled.height == 9743
    assert 0 < tied.height < settled.height / 3
