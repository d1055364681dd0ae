"""Tables of every format, encoding and state of repair."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.readers import read
from tunesmith.errors import DataError, NotFound, StorageError

Write = Callable[..., Path]

PLAIN = "text,label\nhello there,greeting\nbye now,parting\n"
cells = st.text(st.sampled_from('ab,;"\n\r\t é'), max_size=8)


def rows_of(path: Path) -> list[tuple[str | None, ...]]:
    return read(path).columns.rows()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["table.csv", "table.tsv", "table.txt", "table"])
def test_the_separator_is_found_whatever_the_name(write: Write, separator: str, name: str) -> None:
    table = read(write(PLAIN.replace(",", separator), name))
    assert table.columns.rows() == [("hello there", "greeting"), ("bye now", "parting")]
    assert table.lines.to_list() == [2, 3]
    assert "all of the first 3 rows have 2 fields that way" in table.decisions[0].reason


def test_commas_in_texts_do_not_hide_a_semicolon(write: Write) -> None:
    path = write("text;label\nwell, well, well;a\nyes, no;b\n")
    assert rows_of(path) == [("well, well, well", "a"), ("yes, no", "b")]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("UTF-8", "utf-8"),
        ("UTF-8", "utf-8-sig"),
        ("UTF-16", "utf-16"),
        ("Windows-1252", "cp1252"),
    ],
)
def test_the_encoding_is_found_and_named(write: Write, name: str, codec: str) -> None:
    table = read(write("text;label\ncafé “ok”;a\nthé;b\n".encode(codec)))
    assert table.columns.columns == ["text", "label"]
    assert table.columns.rows() == [("café “ok”", "a"), ("thé", "b")]
    assert table.decisions[0].value.endswith(name)


def test_a_broken_character_does_not_spoil_the_others(write: Write) -> None:
    good = "text;label\n" + "größer, schöner, älter;a\n" * 30
    table = read(write(good.encode() + b"kaputt \xff;b\n"))
    assert table.columns["text"][0] == "größer, schöner, älter"
    assert table.columns["text"][-1] == "kaputt \ufffd"
    assert [f.line for f in table.findings] == [32]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_are_those_of_the_file(write: Write, newline: str) -> None:
    text = 'text,label\n\nfirst,a\n"two\nlines\n\nlong",b\n\n\n"x""y",c\nlast,d'
    table = read(write(text.replace("\n", newline)))
    assert table.lines.to_list() == [3, 4, 10, 11]
    assert table.columns["label"].to_list() == ["a", "b", "c", "d"]
    assert table.columns["text"][2] == 'x"y'


@given(rows=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=12))
def test_what_is_written_is_read(
    rows: list[tuple[str, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    buffer, starts = io.StringIO(), []
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["one", "two", "three"])
    for row in rows:
        written = buffer.getvalue()
        starts.append(len(io.StringIO(written, newline="").readlines()) + 1)
        writer.writerow(row)
    path.write_text(buffer.getvalue(), newline="")
    table = read(path)
    assert table.columns.rows() == rows
    assert table.lines.to_list() == starts


def test_short_rows_are_filled_and_long_ones_left_out(write: Write) -> None:
    rows = "".join(f"text {i},label\n" for i in range(20))
    table = read(write("text,label\nonly\na, b and c,label\n" + rows + "trailing,label,,\n"))
    assert table.columns.rows()[0] == ("only", None)
    assert table.columns.rows()[-1] == ("trailing", "label")
    assert table.fates.to_list()[:3] == [None, "dropped: more fields than the header", None]
    long, short = table.findings
    assert (long.line, short.line) == (3, 2)
    assert "Line 3 has 3 fields where the header has 2" in long.what


def test_many_long_rows_are_an_error_with_the_line(write: Write) -> None:
    path = write("text,label\nfine,a\n" + "one, two,a\n" * 5)
    with pytest.raises(DataError, match=r"table.csv:3: 5 rows have more fields.* double quotes"):
        read(path)


def test_a_header_that_comes_again_is_no_row(write: Write) -> None:
    table = read(write(PLAIN + PLAIN))
    assert table.fates.to_list() == [None, None, "dropped: repeats the header", None, None]
    assert table.findings[0].line == 4


def test_empty_columns_without_a_name_are_left_out(write: Write) -> None:
    table = read(write("v1,v2,,,\nham,hello,,,\nspam,win,,,\n"))
    assert table.columns.columns == ["v1", "v2"]
    assert "3 columns without a name left out" in table.decisions[-1].value


def test_a_text_that_ran_over_is_put_together_again(write: Write) -> None:
    table = read(write("v1,v2,,,\nham,hello, my, dear,\nspam,win,,,\n"))
    assert table.columns.rows() == [("ham", "hello, my, dear"), ("spam", "win")]
    assert table.findings[0].line == 2


def test_an_index_column_without_a_name_gets_one(write: Write) -> None:
    table = read(write(",text,label\n0,hello,a\n1,bye,b\n"))
    assert table.columns.columns == ["column 1", "text", "label"]


def test_quotes_in_a_tab_separated_file_may_be_plain_characters(write: Write) -> None:
    table = read(write('label\ttext\nham\t"Hi" he said\nham\tso "what"\n', "sms"))
    assert table.columns["text"].to_list() == ['"Hi" he said', 'so "what"']
    quotes = table.decisions[1]
    assert quotes.what == "quotes"
    assert "line 2" in quotes.reason


def test_a_stray_quote_in_a_tab_separated_file_swallows_nothing(write: Write) -> None:
    table = read(write('label\ttext\nham\t"never closed\nham\tmiddle\nspam\tclosed"\n', "sms"))
    assert table.columns["text"].to_list() == ['"never closed', "middle", 'closed"']


def test_quoted_texts_in_a_tab_separated_file_keep_their_line_breaks(write: Write) -> None:
    table = read(write('label\ttext\nham\t"one\ntwo"\nspam\t"say ""hi"""\n', "sms.tsv"))
    assert table.columns["text"].to_list() == ["one\ntwo", 'say "hi"']


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ('fine,a\n"never closed,b\nnext,c\n', 3),
        ('fine,a\n"closed" too early,b\n', 3),
        ('fine,a\n"closed\nlate"x,b\n', 3),
        ('"two\nlines","and ""then""\nthis,b\nnext,c\n', 3),
    ],
)
def test_broken_quotes_are_an_error_with_the_line_of_the_quote(
    write: Write, body: str, line: int
) -> None:
    with pytest.raises(DataError, match=rf"table.csv:{line}: The double quote .* written twice"):
        read(write("text,label\n" + body))


def test_rows_inside_a_quoted_text_are_suspicious(write: Write) -> None:
    body = "one,a\ntwo,b\n" * 10 + '"open,a\nthree,b\nfour,a\nfive",b\n' + "six,a\nseven,b\n" * 5
    table = read(write("text,label\n" + body))
    assert [f.line for f in table.findings] == [22]
    assert "closing quote" in table.findings[0].fix


def test_json_lines(write: Write) -> None:
    lines = [
        {"text": "hello\nthere", "label": 1, "extra": None},
        {"label": True, "text": "caf\u00e9", "meta": {"a": [1]}},
        {"text": None, "label": 0.5},
    ]
    content = "\n\n".join(json.dumps(line) for line in lines)
    table = read(write(content, "table.jsonl"))
    assert table.columns.columns == ["text", "label", "extra", "meta"]
    assert table.columns["text"].to_list() == ["hello\nthere", "café", None]
    assert table.columns["label"].to_list() == ["1", "true", "0.5"]
    assert table.columns["meta"].to_list() == [None, '{"a": [1]}', None]
    assert table.lines.to_list() == [1, 3, 5]


def test_json_lines_are_known_by_their_content_too(write: Write) -> None:
    assert rows_of(write('{"text": "a", "label": "b"}\n', "table.txt")) == [("a", "b")]


def test_a_line_that_is_no_json_is_listed(write: Write) -> None:
    good = '{"text": "a", "label": "b"}\n'
    table = read(write(good * 19 + '{"text": "cut sho', "table.jsonl"))
    assert table.fates[19] == "dropped: not a JSON object"
    assert table.findings[0].line == 20
    with pytest.raises(DataError, match=r"table.jsonl:2: 1 line is no JSON object"):
        read(write(good + "[1, 2]\n", "table.jsonl"))
    with pytest.raises(DataError, match="one JSON list"):
        read(write(f"[{good}]", "table.json"))


def test_half_a_surrogate_pair_does_not_stop_the_run(write: Write) -> None:
    table = read(write('{"text": "oh \\ud83d no", "label": "b"}\n', "table.jsonl"))
    assert table.columns["text"].to_list() == ["oh \ufffd no"]


def test_parquet(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": ["a", None], "label": [1, 2], "vector": [[1.0], [2.0]]})
    frame.write_parquet(tmp_path / "table.bin")
    table = read(tmp_path / "table.bin")
    assert table.columns.rows() == [("a", "1"), (None, "2")]
    assert table.lines.to_list() == [1, 2]
    assert "'vector' left out" in table.decisions[1].value


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_parquet_file_cut_short(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "table.parquet"
    pl.DataFrame({"text": ["a"] * 500, "label": ["b"] * 500}).write_parquet(path)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(DataError, match="cut short or damaged. Copy or save it again"):
        read(path)
    path.write_bytes(raw[:20] + b"PAR1")
    with pytest.raises(DataError, match="cut short or damaged"):
        read(path)


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (b"", "table.csv", "The file is empty"),
        (b"\xef\xbb\xbf\r\n \n", "table.csv", "The file is empty"),
        (b"text,label\n", "table.csv", "column names but no rows"),
        (b"text,label\nab\x00c,d\n", "table.csv", "holds binary data"),
        (bytes(range(1, 32)) * 40, "table.csv", "holds binary data"),
        (b"PK\x03\x04rest of a workbook", "table.csv", "Excel workbook or a zip file"),
        (b"\xff\xfea", "table.csv", "starts like UTF-16"),
        (b"hello", "table.parquet", "no Parquet file"),
        (b"text\nhello\nbye\n", "table.csv", "one column only"),
        (b'{"text": "hello"}\n', "table.jsonl", "one column only"),
        (b"text,text\na,b\n", "table.csv", "two columns 'text'"),
    ],
)
def test_what_is_no_table_is_said_in_a_sentence(
    write: Write, content: bytes, name: str, sentence: str
) -> None:
    path = write(content, name)
    with pytest.raises(DataError, match=sentence) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert caught.value.fix


def test_a_file_that_is_not_there_is_answered_with_the_nearest(
    write: Write, tmp_path: Path
) -> None:
    path = write(PLAIN, "tickets.csv")
    with pytest.raises(NotFound) as caught:
        read(tmp_path / "ticket.csv")
    assert caught.value.fix == f"Did you mean {path}?"
    with pytest.raises(NotFound, match="There is no folder"):
        read(tmp_path / "nowhere" / "ticket.csv")


def test_a_folder_is_no_table(write: Write, tmp_path: Path) -> None:
    path = write(PLAIN)
    with pytest.raises(DataError, match=f"is a folder.*such as {path}"):
        read(tmp_path)


def test_a_file_that_may_not_be_read() -> None:
    with pytest.raises(StorageError):
        read(Path("/proc/self/mem"))


def test_a_huge_field_is_read(write: Write) -> None:
    assert len(rows_of(write(f"text,label\n{'x' * 300_000},a\n"))[0][0] or "") == 300_000


def test_real_files(data: Path) -> None:
    spam = read(data / "sms_spam" / "spam.csv")
    assert spam.columns.columns == ["v1", "v2"]
    assert spam.columns.height == 5572
    assert "Windows-1252" in spam.decisions[0].value
    collection = read(data / "sms_spam" / "SMSSpamCollection")
    assert collection.columns.height == 5574
    banking = read(data / "banking77" / "train.csv")
    assert banking.columns.height == 10_003
    lines = (data / "banking77" / "train.csv").read_bytes().decode().split("\n")
    assert len(lines) > 10_005  # some texts hold line breaks
    for line, text in zip(banking.lines, banking.columns["text"], strict=True):
        start = text.strip().splitlines()[0].replace('"', "")
        shown = lines[line - 1].replace('"', "") + lines[line].replace('"', "")
        assert start in shown
