"""Texts leave cleaning plain, the same way for one text and for a column."""

import sys
import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data import cleaning
from tunesmith.data.cleaning import clean, clean_text

AWKWARD = "ab é\u0301\u200b\u200d\ufeff\xad\xa0\u2003\t\n\r\x0b\u2028\x00\x1f\u1100\u1161\u11a8가😭"
awkward = st.text(st.one_of(st.sampled_from(AWKWARD), st.characters(exclude_categories=["Cs"])))


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  two\t words\xa0here ", "two words here"),
        ("one \r\n\r\n  two\x0bthree\u2028four", "one\ntwo\nthree\nfour"),
        ("\ufeffzero\u200bwidth\x00 and\x07 control", "zerowidth and control"),
        ("cafe\u0301", "café"),
        ("e\u200b\u0301", "é"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        (" \n\t ", ""),
    ],
)
def test_a_text_becomes_plain(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@given(awkward)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean_text(clean_text(text)) == clean_text(text)


@given(awkward)
def test_a_clean_text_is_composed_and_has_no_stray_space(text: str) -> None:
    cleaned = clean_text(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == cleaned.strip(" \n\t\r")
    assert not any(pair in cleaned for pair in ("  ", "\n\n", " \n", "\n ", "\r", "\t", "\x00"))


@given(st.lists(st.one_of(st.none(), awkward), max_size=20))
def test_a_column_is_cleaned_as_each_text_is(texts: list[str | None]) -> None:
    column, counts = clean(pl.Series(texts, dtype=pl.String))
    assert column.to_list() == [None if text is None else clean_text(text) for text in texts]
    changed = [text for text in texts if text is not None and clean_text(text) != text]
    assert counts["texts"] == len(changed)


def test_the_counts_tell_what_was_done() -> None:
    _, counts = clean(pl.Series(["plain", "two  spaces", "zero\u200bwidth", "cafe\u0301 ", None]))
    assert counts == {
        "texts": 3,
        "invisible characters": 1,
        "Unicode composition": 1,
        "spaces and line breaks": 2,
    }


def test_the_characters_that_skip_cleaning_need_none() -> None:
    """All that the fast path lets through is left alone by the slow path, alone and in company."""
    safe = pl.Series([chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000])
    safe = safe.filter(safe.str.contains(f"^[{cleaning.SAFE}]$"))
    seconds = {
        parts[1]
        for c in range(sys.maxunicode + 1)
        if (decomposed := unicodedata.decomposition(chr(c))) and "<" not in decomposed
        if len(parts := [chr(int(p, 16)) for p in decomposed.split()]) == 2
    }
    assert len(safe) > 30_000
    for character in safe:
        assert clean_text(f"a{character}b") in (f"a{character}b", f"a{character}b".strip())
        assert unicodedata.combining(character) == 0
        assert character not in seconds
