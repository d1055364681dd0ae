"""Tables that runs keep, read in parts."""

import polars as pl
import pytest

from tunesmith.data.reading import kept
from tunesmith.errors import StorageError


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "kept.parquet"
    top = [[{"label": "a", "logprob": -0.1 * i}] for i in range(100)]
    frame = pl.DataFrame({"line": range(100), "text": [f"t{i}" for i in range(100)], "top": top})
    frame.write_parquet(place, row_group_size=7)
    return place


def test_columns_come_as_plain_values(path):
    assert kept.names(path) == ["line", "text", "top"]
    found = kept.columns(path, ["text", "none", "line"])
    assert list(found) == ["text", "line"] and found["text"][99] == "t99"


def test_rows_come_in_the_order_that_is_asked_for(path):
    found = kept.columns(path, ["line", "top"], rows=[98, 3, 4, 5, 98])
    assert found["line"] == [98, 3, 4, 5, 98]
    assert found["top"][1] == [{"label": "a", "logprob": pytest.approx(-0.3)}]
    assert kept.columns(path, ["line"], rows=[]) == {"line": []}


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StorageError):
        kept.columns(tmp_path / "none.parquet", ["line"])
