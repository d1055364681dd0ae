"""Texts in pieces: the same rows come back, from memory and from disk."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.texts.stored import Texts, taken_apart


@pytest.fixture(params=["memory", "disk"])
def stored(request, tmp_path):
    return Texts(tmp_path / "texts", in_memory=10**6 if request.param == "memory" else 100)


def test_pieces_and_rows_come_back_as_they_were(stored, tmp_path):
    cleaned = [["a", None], ["b" * 200], [], ["c", "d", ""]]
    raw = [[" a", " "], ["b" * 200], [], ["c", None, ""]]
    for texts, before in zip(cleaned, raw, strict=True):
        stored.add(pl.Series(texts, dtype=pl.String), pl.Series(before, dtype=pl.String))
    assert len(stored) == 6
    pieces = list(stored.pieces())
    assert [start for start, _ in pieces] == [0, 2, 3, 3]
    assert [piece["text"].to_list() for _, piece in pieces] == cleaned
    found = stored.of_rows(pl.Series([5, 0, 2, 1, 0]))
    assert found["text"].to_list() == ["", "a", "b" * 200, None, "a"]
    assert found["raw"].to_list() == [None, " a", None, " ", " a"]
    assert (tmp_path / "texts").exists() == (stored._room < 0)


@given(
    parts=st.lists(st.lists(st.text() | st.none(), max_size=5), max_size=6),
    room=st.integers(0, 200),
    data=st.data(),
)
def test_any_rows_can_be_asked_for(tmp_path_factory, parts, room, data):
    stored = Texts(tmp_path_factory.mktemp("texts"), in_memory=room)
    for part in parts:
        stored.add(pl.Series(part, dtype=pl.String))
    whole = [text for part in parts for text in part]
    rows = data.draw(st.lists(st.integers(0, len(whole) - 1)) if whole else st.just([]))
    found = stored.of_rows(pl.Series(rows, dtype=pl.UInt32))
    assert found["text"].to_list() == [whole[row] for row in rows]


@given(st.lists(st.lists(st.text() | st.none(), max_size=4), min_size=1, max_size=5))
def test_a_frame_comes_apart_as_it_was_put_together(parts):
    frames = [
        pl.DataFrame({"x": part, "y": part}, schema={"x": pl.String, "y": pl.String})
        for part in parts
    ]
    whole = pl.concat(frames, rechunk=False)
    assert pl.concat([whole.clear(), *taken_apart(whole)]).equals(whole)
    uneven = whole.with_columns(whole["y"].rechunk())
    assert pl.concat([whole.clear(), *taken_apart(uneven)]).equals(whole)
