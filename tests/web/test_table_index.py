"""Tables row by row: whatever the format, the index finds what the reader reads."""

import csv
import gzip
import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.web.tables import form, scan
from tunesmith.web.tables.form import Rows


def indexed(path, folder=None):
    folder = folder or path.parent / "index"
    found = scan.index(path, folder)
    assert found.done and form.load(folder) == found
    return found, Rows(folder, found)


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_rows_of_csv_are_found_by_number_and_by_line(tmp_path):
    with (tmp_path / "t.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["text", "label"])
        out.writerows([f'row {n}, "so"' + "\nmore" * (n % 3), f"l{n % 2}"] for n in range(1, 2501))
    found, rows = indexed(tmp_path / "t.csv")
    assert (found.count, found.columns) == (2500, ("text", "label"))
    for number in (1, 2, 99, 100, 101, 102, 1234, 2500):
        (row,) = rows.read(number, 1)
        more = "\nmore" * (number % 3)
        assert row.number == number
        assert row.values == {"text": f'row {number}, "so"{more}', "label": f"l{number % 2}"}
        lines = (tmp_path / "t.csv").read_text().split("\n")
        assert lines[row.line - 1].startswith(f'"row {number},')
        assert {rows.at_line(row.line + n) for n in range(number % 3 + 1)} == {number}
    assert len(rows.read(2490, 50)) == 11 and rows.read(2501, 1) == []
    assert (rows.at_line(1), rows.at_line(10**9)) == (1, 2500)


@given(
    st.lists(
        st.tuples(*[st.text(st.sampled_from('ab";,\n é'), max_size=9)] * 2), min_size=1, max_size=40
    )
)
def test_any_csv_comes_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("any") / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, quoting=csv.QUOTE_ALL)
        out.writerow(["text", "label"])
        out.writerows([f"x{a}", b] for a, b in rows)
    found, reader = indexed(path)
    assert found.count == len(rows)
    read = reader.read(1, 100)
    assert [tuple(row.values.values()) for row in read] == [(f"x{a}", b) for a, b in rows]
    assert all(reader.at_line(row.line) == row.number for row in read)


def test_encodings_separators_marks_and_blank_lines(tmp_path):
    text = "text;label\n\nGrüße, alle;a\n\n\nÉtat;b\n" * 1
    for name, encoding in (("a.csv", "utf-8-sig"), ("b.csv", "cp1252"), ("c.csv", "utf-16")):
        found, rows = indexed(write(tmp_path / name, text, encoding), tmp_path / f"{name}-index")
        assert found.columns == ("text", "label"), name
        texts = [row.values["text"] for row in rows.read(1, 9)]
        assert texts == ["Grüße, alle", "État"], name
    assert [row.line for row in indexed(tmp_path / "a.csv")[1].read(1, 9)] == [3, 6]


def test_a_stray_quote_swallows_no_rows(tmp_path):
    lines = [f"{n}\ta text\tl{n % 2}" for n in range(9000)]
    lines[4] = '4\t"a text of 5 inches\tl0'
    found, rows = indexed(write(tmp_path / "t.tsv", "\n".join(["id\ttext\tlabel", *lines])))
    assert found.count == 9000 and not found.quotes
    assert rows.read(5, 1)[0].values["text"] == '"a text of 5 inches'


def test_json_lines_with_what_is_no_json(tmp_path):
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    lines = [json.dumps({"messages": said}), "", "{broken", "[1]", json.dumps({"text": None})]
    found, rows = indexed(write(tmp_path / "t.jsonl", "\n".join(lines)))
    read = rows.read(1, 9)
    assert found.count == 4 and [row.line for row in read] == [1, 3, 4, 5]
    assert form.said(read[0].values["messages"]) == "user: Hi\nassistant: Hello"
    assert read[1].values == {"(not JSON)": "{broken"} and read[2].values == {"value": [1]}
    assert form.said(read[3].values["text"]) == ""


@pytest.mark.parametrize("kind", ["parquet", "csv.gz", "json", "xlsx"])
def test_other_formats_are_written_anew(tmp_path, kind):
    frame = pl.DataFrame({"text": [f"text {n}" for n in range(250)], "label": ["a", "b"] * 125})
    path = tmp_path / f"t.{kind}"
    if kind == "parquet":
        frame.write_parquet(path)
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    elif kind == "json":
        path.write_text(json.dumps(frame.to_dicts()))
    else:
        pytest.importorskip("xlsxwriter")
        frame.write_excel(path)
    found, rows = indexed(path)
    assert found.count == 250 and found.kind == "jsonl"
    assert rows.read(203, 1)[0].values == {"text": "text 202", "label": "a"}


def test_words_are_found_in_any_case_and_further_on(tmp_path):
    text = "text,label\n" + "".join(f"Row {n} {'NEEDLE' * (n % 9 == 0)},a\n" for n in range(1, 901))
    indexed(write(tmp_path / "t.csv", text))
    numbers, until = scan.find(tmp_path / "index", "needle", 0)
    assert numbers == list(range(9, 451, 9)) and until == 450
    numbers, until = scan.find(tmp_path / "index", "needle", until)
    assert numbers == list(range(459, 901, 9)) and until == 900
    assert scan.find(tmp_path / "index", "nothing", 0) == ([], 900)


def test_what_cannot_be_read_says_why_and_names_no_place(tmp_path):
    found, rows = indexed(write(tmp_path / "t.csv", "only one column\nof text\n"))
    assert "one column only" in found.error and str(tmp_path) not in found.error
    assert rows.read(1, 9) == []
