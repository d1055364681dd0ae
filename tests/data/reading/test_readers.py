"""Tables of every format, encoding and state of repair."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tunesmith.data.reading import regular
from tunesmith.data.reading.content import open_source
from tunesmith.data.reading.encoding import decode
from tunesmith.data.reading.readers import read
from tunesmith.data.reading.table import Table
from tunesmith.errors import ConfigError, DataError, NotFound, StorageError

Write = Callable[..., Path]

PLAIN = "text,label\nhello there,greeting\nbye now,parting\n"
cells = st.text(st.sampled_from('ab,;"\n\r\t é'), max_size=8)


rough = st.text(st.sampled_from('aab,,""\n\n\r\t é'), max_size=60)


def told(table: Table) -> dict[str, object]:
    """All that a table says, to compare two."""
    return {
        **vars(table),
        "columns": (table.columns.columns, table.columns.rows()),
        "lines": table.lines.to_list(),
        "fates": table.fates.to_list(),
    }


def read_both_ways(path: Path, block: int) -> tuple[object, object]:
    """What comes of a file read with and without the fast path: the table, or the error."""
    results: list[object] = []
    for is_fast in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(regular, "_BLOCK", block)
            if not is_fast:
                patch.setattr(regular, "records", lambda *_, **__: None)
            try:
                results.append(told(read(path)))
            except DataError as error:
                results.append(str(error))
    return results[0], results[1]


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


@pytest.mark.parametrize(
    ("name", "codec", "reason"),
    [
        ("UTF-16", "utf-16-le", "every other byte is zero"),
        ("UTF-16", "utf-16-be", "every other byte is zero"),
        ("UTF-32", "utf-32", "starts with the UTF-32 mark"),
    ],
)
def test_wide_characters_are_found_with_and_without_a_mark(
    write: Write, name: str, codec: str, reason: str
) -> None:
    table = read(write("text;label\ncafé “ok”;a\nthé;b\n".encode(codec)))
    assert table.columns.rows() == [("café “ok”", "a"), ("thé", "b")]
    assert table.decisions[0].value.endswith(name)
    assert reason in table.decisions[0].reason


def test_bytes_that_windows_has_not_are_latin_1(write: Write) -> None:
    table = read(write(b"text,label\ncaf\xe9 \x81,a\n"))
    assert table.columns["text"].to_list() == ["café \x81"]
    assert table.decisions[0].value.endswith("Latin-1")
    assert "no byte 0x81" in table.decisions[0].reason


def test_the_encoding_can_be_given(write: Write) -> None:
    path = write("text,label\nпривет,a\n".encode("cp1251"))
    table = read(path, encoding="windows-1251")
    assert table.columns["text"].to_list() == ["привет"]
    assert "as asked" in table.decisions[0].reason
    with pytest.raises(ConfigError, match="no encoding named 'cp1253x'. Did you mean 'cp1253'"):
        read(path, encoding="cp1253x")
    with pytest.raises(ConfigError, match="no encoding named 'rot13'"):
        read(path, encoding="rot13")


def test_bytes_the_given_encoding_has_not_are_listed(write: Write) -> None:
    table = read(write(b"text,label\nfine,a\ncaf\xe9,b\n"), encoding="utf8")
    assert table.columns["text"].to_list() == ["fine", "caf\ufffd"]
    assert [finding.line for finding in table.findings] == [3]
    marked = write(b"\xef\xbb\xbftext,label\nfine,a\n")
    assert read(marked, encoding="utf8").columns.columns == ["text", "label"]


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


@given(
    rows=st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=12),
    separator=st.sampled_from(",;\t|"),
    newline=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    codec=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    block=st.sampled_from([3, 20, 1000]),
)
def test_the_fast_way_is_taken_and_reads_the_same(
    rows: list[list[str]],
    separator: str,
    newline: str,
    quoting: int,
    codec: str,
    block: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    rows = [[value.replace("\r", "") for value in row] for row in rows]
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, quoting=quoting, lineterminator=newline)
    writer.writerows([["one", "two", "three"], *rows])
    path.write_bytes(buffer.getvalue().encode(codec))
    assert regular.records(decode(open_source(path)), separator) is not None
    fast, careful = read_both_ways(path, block)
    assert fast == careful


@given(body=rough, quoted=rough, block=st.sampled_from([2, 7, 1000]))
@example(body='a,"b"",""c"\n\n"""",\r\n', quoted="", block=2)
@example(body='a,b\n\n\n"c\n",d', quoted="", block=2)
def test_whatever_the_text_both_ways_read_the_same(
    body: str, quoted: str, block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    quoted = quoted.replace('"', '""')
    path.write_bytes(f'text,label\n{body}\n"{quoted}",b\n{body}'.encode())
    fast, careful = read_both_ways(path, block)
    assert fast == careful


@pytest.mark.parametrize("separator", ["~", "^", ":", "   "])
def test_other_separators_count_when_every_row_agrees(write: Write, separator: str) -> None:
    body = "text,label\n" + "a b,x\n" * 4
    assert rows_of(write(body.replace(",", separator))) == [("a b", "x")] * 4
    ragged = body + "a, b,x\n"
    with pytest.raises(DataError, match="one column only"):
        read(write(ragged.replace(",", separator)))


def test_spaces_inside_quotes_separate_nothing(write: Write) -> None:
    path = write('text     label\n"one   two"  a\n' + "three four   b\n" * 4)
    assert rows_of(path)[:2] == [("one   two", "a"), ("three four", "b")]


def test_a_header_of_thousands_of_columns_is_an_error(write: Write) -> None:
    with pytest.raises(DataError, match="6,001 columns") as caught:
        read(write("a," * 6000 + "b\n1,2\n"))
    assert caught.value.line == 1


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


@pytest.mark.parametrize(
    ("content", "form", "lines"),
    [
        ('[\n{"text": "a",\n "label": 1},\n\n{"text": "b"}\n]\n', "JSON list", [2, 5]),
        ('[{"text": "a", "label": 1}, {"text": "b"}]', "JSON list", [1, 1]),
        ('{"n": 2, "data":\n[{"text": "a", "label": 1},\n{"text": "b"}]}', "'data'", [2, 3]),
        ('{"text": ["a", "b"],\n"label": [1, null]}', "JSON columns", [1, 2]),
        ('{"text": {"0": "a", "1": "b"}, "label": {"0": 1, "1": null}}', "JSON columns", [1, 2]),
        ('{"text": "a", "label": 1}\n{"text": "b"}', "JSON Lines", [1, 2]),
    ],
)
@pytest.mark.parametrize("name", ["table.json", "table.txt"])
def test_the_shapes_of_json(
    write: Write, content: str, form: str, lines: list[int], name: str
) -> None:
    table = read(write(content, name))
    assert table.columns.rows() == [("a", "1"), ("b", None)]
    assert table.lines.to_list() == lines
    assert form in table.decisions[0].value


def test_of_several_lists_train_or_the_longest_is_read(write: Write) -> None:
    short, long = '[{"a": 1, "b": 2}]', '[{"a": 3, "b": 4}, {"a": 5, "b": 6}]'
    table = read(write(f'{{"test": {long}, "train": {short}}}', "table.json"))
    assert table.columns.rows() == [("1", "2")]
    assert "'test' (2)" in table.decisions[0].reason
    path = write(f'{{"x": {short}, "y": {long}}}', "table.json")
    assert read(path).columns.height == 2
    assert read(path, sheet="x").columns.height == 1
    with pytest.raises(ConfigError, match="Did you mean 'x'"):
        read(path, sheet="xx")


def test_lists_and_objects_stand_as_json(write: Write) -> None:
    turns = [{"role": "user", "content": "hé"}]
    table = read(write(json.dumps([{"messages": turns, "n": 1}, {"n": 2}]), "chat.json"))
    assert table.nested == ("messages",)
    assert json.loads(table.columns["messages"][0]) == turns
    assert table.columns["messages"][1] is None


def test_one_column_may_be_all_of_a_conversation(write: Write) -> None:
    table = read(write('{"messages": []}\n{"messages": [{"role": "user"}]}\n', "chat.jsonl"))
    assert table.columns.columns == ["messages"]


def test_what_is_no_object_in_a_list_is_left_out(write: Write) -> None:
    rows = ",\n".join(['{"a": 1, "b": 2}'] * 20)
    table = read(write(f"[{rows},\n7]", "table.json"))
    assert table.fates[20] == "dropped: not a JSON object"
    assert table.findings[0].line == 21


@pytest.mark.parametrize(
    ("content", "line", "sentence"),
    [
        ('[{"a": 1, "b": 2},\n{"a": 1, "b"', 2, "ends in the middle"),
        ('[{"a": 1, "b": 2},\n{"a": 1 "b": 2}]', 2, "no JSON from here on"),
        ('[{"a": 1, "b": 2}\n]\n[]', 3, "no JSON from here on"),
        ('{"data": [{"a": 1, "b": 2},\n{"a": 1, "b": 2}]', 2, "ends in the middle"),
        ('[{"a": 1, "b": 2},\n' + "[" * 100_000, 2, "nested too deeply"),
        ('{"a": 1, "b": 2}\n{"a": ' + "[" * 100_000, 2, "no JSON object"),
        ('{"a": [1, 2], "b": [1]}\n\n{', None, "no table|no JSON object"),
        ("[]", None, "list is empty"),
        ("{", 1, "ends in the middle"),
        ("[1, 2]", 1, "2 entries are no JSON object"),
    ],
)
def test_broken_json_is_said_with_the_line(
    write: Write, content: str, line: int | None, sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        read(write(content, "table.json"))
    assert line is None or caught.value.line == line
    assert caught.value.fix


def test_names_without_end_are_an_error(write: Write) -> None:
    rows = "".join(json.dumps({f"name {i}": i}) + "\n" for i in range(6_000))
    with pytest.raises(DataError, match="over 5,000 different columns"):
        read(write(rows, "table.jsonl"))


def test_half_a_surrogate_pair_does_not_stop_the_run(write: Write) -> None:
    table = read(write('{"text": "oh \\ud83d no", "label": "b"}\n', "table.jsonl"))
    assert table.columns["text"].to_list() == ["oh \ufffd no"]


def test_parquet(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": ["a", None], "label": [1, 2], "vector": [[1.0], [2.0]]})
    frame.write_parquet(tmp_path / "table.bin")
    table = read(tmp_path / "table.bin")
    assert table.columns.rows() == [("a", "1", "[1.0]"), (None, "2", "[2.0]")]
    assert table.lines.to_list() == [1, 2]
    assert table.nested == ("vector",)


@pytest.mark.parametrize("form", ["file", "stream"])
def test_arrow(tmp_path: Path, form: str) -> None:
    frame = pl.DataFrame(
        {"text": ["a", "b"], "label": [0.5, None], "raw": [b"x", b"y"], "m": [{"k": "é"}, None]}
    )
    path = tmp_path / "table.arrow"
    (frame.write_ipc if form == "file" else frame.write_ipc_stream)(path)
    table = read(path)
    assert table.columns.rows() == [("a", "0.5", '{"k":"é"}'), ("b", None, None)]
    assert table.nested == ("m",)
    assert form in table.decisions[0].reason
    assert "'raw' left out" in table.decisions[1].value
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match="cut short or damaged"):
        read(path)


def saved(folder: Path, texts: list[str]) -> None:
    """A data set of two files as `datasets` saves it."""
    folder.mkdir(parents=True)
    names = [f"data-0000{index}-of-00002.arrow" for index in range(2)]
    for name, part in zip(names, (texts[:1], texts[1:]), strict=True):
        labels = [index - 1 for index in range(len(part))]
        frame = pl.DataFrame({"text": part, "label": labels}, schema_overrides={"label": pl.Int64})
        frame.write_ipc_stream(folder / name)
    feature = {"names": ["bad", "good"], "_type": "ClassLabel"}
    info = {"features": {"label": feature, "text": {"dtype": "string", "_type": "Value"}}}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    # Not in the order of the names: the list is what counts.
    files = [{"filename": name} for name in reversed(names)]
    (folder / "state.json").write_text(json.dumps({"_data_files": files}))


def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    saved(tmp_path / "set", ["a", "b", "c", "d"])
    table = read(tmp_path / "set")
    assert table.columns.rows() == [("b", None), ("c", "bad"), ("d", "good"), ("a", None)]
    assert table.lines.to_list() == [1, 2, 3, 4]
    (tmp_path / "set" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(DataError, match="data-00001-of-00002.arrow is missing"):
        read(tmp_path / "set")


def test_of_several_splits_train_is_read(tmp_path: Path) -> None:
    for split in ("test", "train"):
        saved(tmp_path / split, [f"{split} {index}" for index in range(3)])
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["test", "train"]}))
    table = read(tmp_path)
    assert table.columns["text"][2] == "train 0"
    assert table.decisions[1].value == "train"
    assert "'test'" in table.decisions[1].reason
    assert read(tmp_path, sheet="test").columns["text"][2] == "test 0"
    with pytest.raises(ConfigError, match="Did you mean 'test'"):
        read(tmp_path, sheet="tests")


def test_only_what_has_parts_takes_a_part(write: Write) -> None:
    with pytest.raises(ConfigError, match="has no sheets"):
        read(write(PLAIN), sheet="train")


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
        (b"PK\x03\x04rest of a workbook", "table.csv", "workbook is cut short"),
        (b"\xff\xfea", "table.csv", "starts like UTF-16"),
        (b"hello", "table.parquet", "no Parquet file"),
        (b"text\nhello\nbye\n", "table.csv", "one column only"),
        (b"{}\n{}\n", "table.jsonl", "No row of the table has a value"),
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
