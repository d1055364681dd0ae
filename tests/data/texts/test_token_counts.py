"""Tokens are counted as the model counts them, and no text that would be cut goes unnoticed."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_causal import tiny
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from tunesmith import catalog
from tunesmith.catalog import shelf
from tunesmith.data.texts import tokens
from tunesmith.data.texts.cleaning import DEFAULT, clean_text
from tunesmith.data.texts.tokens import (
    Reader,
    count,
    cut,
    num_read,
    of_rows,
    reader,
    spread,
    uncounted,
)
from tunesmith.errors import MissingExtra, NotFound
from tunesmith.model.tokens import Encoder

MINI = reader("minilm-l6")
ODD = [
    "",
    " ",
    "[SEP] [MASK]",
    "\u0344" * 9,
    "한국어 텍스트",
    "𝅘𝅥𝅮" * 40,
    "ﷺ",
    "a\u200bb",
    "中文字",
    "x" * 300,
]


def some(*texts: str | None) -> pl.Series:
    return pl.Series(texts, dtype=pl.String)


def byte_level(normalizer: normalizers.Normalizer | None) -> Tokenizer:
    """A tokenizer that knows nothing but bytes, so that each is a token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if normalizer:
        made.normalizer = normalizer
    return made


# --- numbers ------------------------------------------------------------------------------------


ENCODERS = {
    limit: [Encoder(MINI.tokenizer.parent, max_length=limit, cleaning=s) for s in ((), DEFAULT)]
    for limit in (3, 8, 30)
}


@given(
    st.lists(st.text(max_size=80) | st.sampled_from(ODD), max_size=5), st.sampled_from([3, 8, 30])
)
def test_the_numbers_are_those_of_the_model(texts: list[str], limit: int) -> None:
    plain, cleaning = ENCODERS[limit]
    encoded = plain(texts)
    whole = [len(e.ids) + e.cut for e in encoded]
    assert count(some(*texts), MINI.tokenizer).to_list() == whole
    assert count(some(*texts), MINI.tokenizer, special=False).to_list() == [n - 2 for n in whole]
    found = cut(some(*texts), MINI.tokenizer, limit)
    assert dict(found.iter_rows()) == {i: n for i, n in enumerate(whole) if n > limit}
    assert [n - limit for n in found["tokens"]] == [e.cut for e in encoded if e.cut]
    cleaned = [clean_text(text) for text in texts]
    whole = [len(e.ids) + e.cut for e in cleaning(texts)]
    assert count(some(*cleaned), MINI.tokenizer).to_list() == whole


def test_many_texts_are_counted_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = some(*(f"number {'one ' * (i % 7)}" for i in range(300)))
    whole = count(texts, MINI.tokenizer)
    monkeypatch.setattr(tokens, "LONG", 100)
    assert count(texts, MINI.tokenizer).equals(whole)
    assert whole.dtype == pl.UInt32
    assert count(some(), MINI.tokenizer).to_list() == []


# --- texts that cannot be cut are not looked at --------------------------------------------------


def normalized(normalize: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Every character but those of ASCII, and what becomes of it.

    They are normalized by the hundred, with zeros between: a zero comes of nothing but a zero.
    """
    for start in range(0x80, 0x110000, 0x80):
        if not 0xD800 <= start < 0xE000:  # halves of letters, which no text holds
            characters = [chr(code) for code in range(start, start + 0x80)]
            yield from zip(characters, normalize("0".join(characters)).split("0"), strict=True)


def test_no_character_becomes_more_tokens_than_it_has_bytes() -> None:
    normalize = Tokenizer.from_file(str(MINI.tokenizer)).normalizer.normalize_str
    for character, piece in normalized(normalize):
        assert len("".join(piece.split())) <= len(character.encode()), hex(ord(character))


def test_nfc_makes_a_text_three_times_as_long_at_most() -> None:
    normalize = normalizers.NFC().normalize_str
    growth = (len(after.encode()) / len(c.encode()) for c, after in normalized(normalize))
    assert max(growth) == 3


@given(st.text(max_size=60) | st.sampled_from(ODD))
def test_a_text_has_no_more_tokens_than_the_bound_says(text: str) -> None:
    for most, normalizer in ((1, None), (3, normalizers.NFC())):
        made = byte_level(normalizer)
        assert tokens._most_tokens(made) == most
        assert len(made.encode(text)) <= most * len(text.encode())
    assert count(some(text), MINI.tokenizer)[0] - 2 <= len(text.encode())


def test_only_long_texts_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def looked(texts: pl.Series, tokenizer: Path) -> pl.Series:
        seen.extend(texts)
        return count(texts, tokenizer)

    monkeypatch.setattr(tokens, "count", looked)
    found = cut(some("short", None, "a b c d e f", "longwordonlyone"), MINI.tokenizer, 7)
    assert seen == ["a b c d e f", "longwordonlyone"]
    assert found.rows() == [(2, 8)]
    assert found.schema == {"place": pl.UInt32, "tokens": pl.UInt32}


def test_a_byte_that_grows_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    byte_level(normalizers.NFC()).save(str(path))
    assert cut(some("\U0001d160" * 2, "abcd", "abcdefghi"), path, 9).rows() == [(0, 24)]


def test_of_a_tokenizer_of_another_kind_every_text_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    byte_level(normalizers.NFKC()).save(str(path))
    assert cut(some("ﷺ", None, "a"), path, 30).rows() == [(0, 33)]


# --- the rows of a table ------------------------------------------------------------------------

TEXTS = some("one", None, "a b c d e f g", "two three", "a b c d e f g h i", "a b c d e f g h i j")
ROWS = pl.Series([0, 2, 3, 5], dtype=pl.UInt32)  # row 4 is not used
SHORT = Reader(name="mini", tokenizer=MINI.tokenizer, limit=8)


@pytest.mark.parametrize("sample", [100, 2])
def test_the_cut_is_exact_and_long_tables_are_sampled(
    sample: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "spread", lambda number: spread(number, sample))
    pieces = [(0, TEXTS[:3]), (3, TEXTS[3:])]
    found = of_rows(ROWS, SHORT, pieces, TEXTS.gather)
    assert found.lengths.to_list() == ([3, 9, 4, 12] if sample > 4 else [3, 4])
    assert found.cut.rows() == [(2, 9), (5, 12)]
    assert found.cut.schema == {"row": pl.UInt32, "tokens": pl.UInt32}
    assert found.decision.value == "2 of 4 texts cut to 8 tokens"
    assert found.decision.reason == "mini reads no more; 5 tokens are lost"


def test_rows_that_are_cut_are_noted() -> None:
    found = of_rows(ROWS, SHORT, [], TEXTS.gather)
    notes = [None, None, None, None, "as it was", "used 2 times"]
    rows = pl.DataFrame({"row": range(6), "note": notes}, schema_overrides={"row": pl.UInt32})
    assert found.noted(rows)["note"].to_list() == [
        *(None, None, "cut to 8 tokens", None, "as it was"),
        "used 2 times; cut to 8 tokens",
    ]


def test_where_nothing_is_cut_that_is_said() -> None:
    found = of_rows(ROWS, MINI, [], TEXTS.gather)
    assert found.cut.is_empty()
    assert found.decision.value == "no text is cut"
    assert found.decision.reason == "minilm-l6 reads 256 tokens of a text"


@given(st.integers(0, 300), st.integers(1, 20))
def test_a_sample_is_evenly_spread(number: int, most: int) -> None:
    places = spread(number, most).to_list()
    assert len(places) == min(number, most)
    assert all(0 <= place < number for place in places)
    gaps = {b - a for a, b in zip(places, places[1:], strict=False)}
    assert len(gaps) <= 2 and max(gaps, default=1) - min(gaps, default=1) <= 1


@given(st.text(max_size=60) | st.sampled_from(ODD), st.integers(3, 12))
def test_what_is_read_is_what_is_left_of_the_tokens(text: str, limit: int) -> None:
    short = Reader(name="mini", tokenizer=MINI.tokenizer, limit=limit)
    number = num_read(text, short)
    if count(some(text), MINI.tokenizer)[0] <= limit:
        assert number == len(text)
    else:
        assert 0 < number <= len(text)
    assert num_read("zero one two three", SHORT) == 18
    assert num_read("a b", Reader(name="mini", tokenizer=MINI.tokenizer, limit=2)) == 0
    assert num_read("a b c d e f g h", SHORT) == len("a b c d e f")


# --- what has to be on this machine -------------------------------------------------------------


def test_a_base_model_reads_as_much_as_is_asked_or_as_it_is_made_for() -> None:
    assert (
        Reader(
            name="minilm-l6",
            tokenizer=catalog.find("minilm-l6").files() / "tokenizer.json",
            limit=256,
        )
        == MINI
    )
    assert reader("minilm-l6", 100).limit == 100


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound) as unknown:
        reader("gpt-9")
    told = uncounted(unknown.value)
    assert told.what == "length" and told.value == "not in tokens"
    assert told.reason == "There is no base model named 'gpt-9'"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tokenizers", None)
        with pytest.raises(MissingExtra, match="pip install"):
            reader("minilm-l6")
    elsewhere = catalog.BaseModel(name="far", kind="encoder", package="no_such_package")
    with monkeypatch.context() as patch:
        patch.setattr(catalog, "find", lambda name, shelf: elsewhere)
        with pytest.raises(MissingExtra, match="far are not installed"):
            reader("far")
    empty = catalog.BaseModel(name="empty", kind="encoder", folder=Path("/nowhere"))
    with monkeypatch.context() as patch:
        patch.setattr(catalog, "find", lambda name, shelf: empty)
        with pytest.raises(NotFound, match=r"has no tokenizer\.json"):
            reader("empty")


def test_a_causal_model_counts_with_the_tokenizer_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny(tmp_path / "m", "llama")
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "data"))
    shelf.register(folder, tmp_path / "data" / "base-models", name="mine")
    by_name, by_folder = reader("mine"), reader(str(folder), 100)
    assert (by_name.name, by_name.limit, by_folder.limit) == ("mine", 512, 100)
    assert by_name.tokenizer == by_folder.tokenizer == folder / "tokenizer.json"
    texts = some("The order number is 48213.", "", "Refund " * 300)
    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    expected = [len(own.encode(text).ids) for text in texts]
    assert count(texts, by_name.tokenizer).to_list() == expected
    assert cut(texts, by_name.tokenizer, 100)["place"].to_list() == [2]
    rows = pl.Series([0, 1, 2], dtype=pl.UInt32)
    told = of_rows(rows, by_folder, [], lambda wanted: texts.gather(wanted)).decision
    assert told.value == "1 of 3 texts of more than 100 tokens"
    assert told.reason == "m reads no more; the chat template's tokens and the answer come on top"
    told = of_rows(rows[:2], by_name, [], lambda wanted: texts.gather(wanted)).decision
    assert told.value == "no text of more than 512 tokens"
    with pytest.raises(NotFound, match="tunesmith models pull"):
        reader("qwen3-0.6b")


def test_long_texts_are_counted_in_parts():
    long = "is it possible to return the grinder? " * 8_000
    untruncated = Tokenizer.from_file(str(MINI.tokenizer))
    untruncated.no_truncation()
    untruncated.no_padding()
    expected = len(untruncated.encode(long).ids)
    assert count(some(long, "a", long), MINI.tokenizer).to_list() == [expected, 3, expected]
    assert num_read(long, MINI) == num_read(long[:20_000], MINI)
    (encoded,) = ENCODERS[8][0]([long])
    assert len(encoded.ids) + encoded.cut == expected
