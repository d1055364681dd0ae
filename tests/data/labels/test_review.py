"""What people decided about ties comes back, checked."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tunesmith.data.labels.review import DROPPED, read_review
from tunesmith.errors import DataError, NotFound

Write = Callable[..., Path]
LABELS = ("Refund", "delivery", "praise")
ROWS = pl.DataFrame(
    {
        "row": pl.Series([0, 1, 2, 3], dtype=pl.UInt32),
        "file": ["t.csv", "t.csv", "t.csv", "check.csv"],
        "line": [2, 3, 1204, 2],
        "text": ["where is it\nand why", "all fine", "money, please", None],
    }
)


def review(write: Write, *lines: str) -> Path:
    return write("\n".join(["file,line,text,votes,decision", *lines]), "review.csv")


def test_decisions_are_read_and_gaps_left(write: Write) -> None:
    path = review(
        write,
        't.csv,2,"where is it\r\nand why",a 1,delivery',
        "t.csv,3,all fine,b 1,",
        't.csv,"1,204","money, please",c 1, REFUND ',
    )
    found = read_review(path, ROWS, LABELS)
    assert found.decided.rows() == [(0, "delivery"), (2, "Refund")]
    assert found.decided.schema == {"row": pl.UInt32, "label": pl.String}
    assert found.findings == ()


def test_a_text_that_changed_is_refused(write: Write) -> None:
    path = review(
        write,
        "t.csv,2,another text,,delivery",
        "t.csv,3,all fine,,praise",
        "t.csv,99,all fine,,praise",
        "other.csv,3,all fine,,praise",
        "check.csv,2,,,praise",
    )
    found = read_review(path, ROWS, LABELS)
    assert found.decided.rows() == [(1, "praise")]
    (finding,) = found.findings
    assert finding.what.startswith("4 rows of review.csv about a text that is no longer on that")
    assert finding.line == 2


def test_a_wrong_decision_is_answered_with_the_nearest(write: Write) -> None:
    path = review(write, "t.csv,2,where is it and why,,", "t.csv,3,all fine,,prise")
    with pytest.raises(
        DataError, match=r"review.csv:3: .*'prise' is none.*Did you mean 'praise'\?"
    ):
        read_review(path, ROWS, LABELS)
    path = review(write, "t.csv,2,where is it and why,,x", "t.csv,3,all fine,,y")
    with pytest.raises(DataError, match=r"review.csv:2: .*\(1 more are wrong\). There are: Refund"):
        read_review(path, ROWS, LABELS)
    ambiguous = review(write, "t.csv,2,where is it and why,,PRAISE", "t.csv,3,all fine,,")
    with pytest.raises(DataError, match="'PRAISE' is none of the labels"):
        read_review(ambiguous, ROWS, (*LABELS, "Praise"))


def test_rows_can_be_left_out(write: Write) -> None:
    path = review(write, "t.csv,2,where is it and why,,(drop)", "t.csv,3,all fine,,praise")
    found = read_review(path, ROWS, LABELS)
    assert found.decided.rows() == [(1, "praise")]
    assert found.dropped.verdicts.rows() == [(0, DROPPED, None)]
    found = read_review(path, ROWS, (*LABELS, "(drop)"))
    assert found.decided.rows() == [(0, "(drop)"), (1, "praise")]
    assert found.dropped.verdicts.is_empty()


def test_other_files_are_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'decision'.*Fill in the column"):
        read_review(write("file,line,text\nt.csv,2,x\nt.csv,3,y\n"), ROWS, LABELS)
    with pytest.raises(NotFound):
        read_review(tmp_path / "review.csv", ROWS, LABELS)
