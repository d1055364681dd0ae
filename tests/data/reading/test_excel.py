"""Excel workbooks: the sheet, the header, the rows; and those that are not safe to open."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workbooks import Cell, sheet, workbook

from tunesmith.data.reading import content
from tunesmith.data.reading.readers import read
from tunesmith.errors import ConfigError, DataError

Write = Callable[..., Path]

TABLE: list[list[Cell]] = [["text", "label"], ["hello", "a"], ["bye", "b"]]


def test_a_sheet(write: Write) -> None:
    table = read(write(workbook({"Data": sheet(TABLE)}), "table.xlsx"))
    assert table.columns.columns == ["text", "label"]
    assert table.columns.rows() == [("hello", "a"), ("bye", "b")]
    assert table.lines.to_list() == [2, 3]
    assert table.header_line == 1
    assert [(d.what, d.value) for d in table.decisions] == [("table", "Excel sheet 'Data'")]


def test_the_sheet_with_most_cells_is_read_and_the_others_named(write: Write) -> None:
    notes = sheet([["Read me", None], ["This is", "how"], ["it", "goes"]])
    path = write(workbook({"Notes": notes, "Data": sheet(TABLE)}), "table.xlsx")
    table = read(path)
    assert table.columns.height == 2
    assert table.decisions[0].value == "Excel sheet 'Data'"
    assert "6 filled cells" in table.decisions[0].reason
    assert "'Notes' (4 cells)" in table.decisions[0].reason
    assert read(path, sheet="Notes").columns.columns == ["This is", "how"]
    with pytest.raises(ConfigError, match="no sheet named 'data'. Did you mean 'Data'"):
        read(path, sheet="data")


def test_what_stands_above_and_around_the_table_is_left_out(write: Write) -> None:
    rows: list[list[Cell]] = [
        [],
        [None, "Tickets of March"],
        [],
        [None, "text", None, "label", None, "note"],
        [None, "hello", None, "a"],
        [None, None, "  "],
        [None, "bye", None, "b", None, "why"],
        [],
        [None, " "],
    ]
    table = read(write(workbook({"S": sheet(rows, first=3)}), "table.xlsx"))
    assert table.columns.columns == ["text", "label", "note"]
    assert table.columns.rows() == [("hello", "a", None), ("bye", "b", "why")]
    assert table.header_line == 6
    assert table.lines.to_list() == [7, 9]
    header, empty = table.decisions[1:]
    assert header.value == "row 6; 1 row above left out"
    assert empty.value == "2 empty rows at the end and 2 empty rows between left out"


def test_columns_without_a_name_are_kept_when_they_hold_values(write: Write) -> None:
    rows: list[list[Cell]] = [["text", None, "label"], ["a", 1, "x"], ["b", None, "y"]]
    table = read(write(workbook({"S": sheet(rows)}), "table.xlsx"))
    assert table.columns.columns == ["text", "column 2", "label"]


def test_values_are_read_as_they_are_stored(write: Write) -> None:
    values: dict[str, tuple[Cell, str | None]] = {
        "whole": (3, "3"),
        "float": (1.5, "1.5"),
        "long": (123456789012, "123456789012"),
        "true": (True, "true"),
        "date": ('<c s="1"><v>45000</v></c>', "2023-03-15 00:00:00"),
        "formula": ('<c t="str"><f>A1&amp;"x"</f><v>stored</v></c>', "stored"),
        "sum": ("<c><f>1+1</f><v>2</v></c>", "2"),
        "not calculated": ("<c><f>1+1</f></c>", None),
        "error": ('<c t="e"><f>1/0</f><v>#DIV/0!</v></c>', None),
        "text": ("two\nlines < 3", "two\nlines < 3"),
    }
    rows = [list(values), [cell for cell, _ in values.values()], ["x"] * len(values)]
    table = read(write(workbook({"S": sheet(rows)}), "table.xlsx"))
    assert table.columns.row(0, named=True) == {k: text for k, (_, text) in values.items()}


@given(
    rows=st.lists(
        st.lists(st.none() | st.text("ab é<&\t\n", min_size=1, max_size=5), min_size=3, max_size=3),
        min_size=1,
        max_size=8,
    )
)
def test_what_is_written_in_cells_is_read(
    rows: list[list[str | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("excel") / "table.xlsx"
    path.write_bytes(workbook({"S": sheet([["one", "two", "three"], ["x", "y", "z"], *rows])}))
    table = read(path)
    told = [tuple(v if v and v.strip() else None for v in row) for row in rows]
    filled = [(line, row) for line, row in enumerate(told, start=3) if any(row)]
    assert table.columns.rows() == [("x", "y", "z"), *(row for _, row in filled)]
    assert table.lines.to_list() == [2, *(line for line, _ in filled)]


@pytest.mark.parametrize(
    "rows", [[], [["only a title"]], [["one"], ["column"]]], ids=["nothing", "title", "list"]
)
def test_a_workbook_without_a_table(write: Write, rows: list[list[Cell]]) -> None:
    with pytest.raises(DataError, match="No sheet of the workbook holds a table: 'S'") as caught:
        read(write(workbook({"S": sheet(rows)}), "table.xlsx"))
    assert caught.value.fix


def test_a_protected_workbook(write: Write) -> None:
    directory = bytes(600) + "EncryptedPackage".encode("utf-16-le") + bytes(600)
    with pytest.raises(DataError, match="protected by a password"):
        read(write(b"\xd0\xcf\x11\xe0" + directory, "table.xlsx"))
    with pytest.raises(DataError, match="old Excel or Word file"):
        read(write(b"\xd0\xcf\x11\xe0" + bytes(2000), "table.xls"))


def test_another_zip_file_is_no_workbook(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "table.zip", "w") as book:
        book.writestr("table.csv", "text,label\na,b\n")
    with pytest.raises(DataError, match="zip file, but no Excel workbook"):
        read(tmp_path / "table.zip")


def test_a_damaged_workbook_is_said_to_be_so(write: Write) -> None:
    raw = workbook({"S": sheet(TABLE)})
    read(write(raw, "whole.xlsx"))
    for place in range(4, len(raw), 29):
        for damaged in (raw[:place], raw[:place] + bytes([raw[place] ^ 0x5A]) + raw[place + 1 :]):
            try:
                table = read(write(damaged, "table.xlsx"))
            except DataError as error:
                assert error.fix
            else:  # some bytes, such as times, mean nothing
                assert table.columns.rows() == [("hello", "a"), ("bye", "b")]


def test_broken_xml_is_a_damaged_workbook(write: Write) -> None:
    for xml in ("<worksheet><sheetData><row><c", "no XML", sheet(TABLE).replace('"A1"', '"1A"')):
        with pytest.raises(DataError, match="damaged|holds a table"):
            read(write(workbook({"S": xml}), "table.xlsx"))


def test_a_bomb_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sheet([*TABLE, ["x" * 3_000_000, "a"]])
    path = write(workbook({"S": rows}), "table.xlsx")
    assert read(path).columns.height == 3
    monkeypatch.setattr(content, "SUSPICIOUS_BYTES", 1_000_000)
    with pytest.raises(DataError, match="200 times as many bytes"):
        read(path)


def test_a_bomb_that_lies_about_its_size_is_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = workbook({"S": sheet([*TABLE, ["x" * 3_000_000, "a"]])})
    with zipfile.ZipFile(io.BytesIO(raw)) as book:
        size = struct.pack("<I", book.getinfo("xl/worksheets/s1.xml").file_size)
    assert raw.count(size) == 2
    monkeypatch.setattr(content, "SUSPICIOUS_BYTES", 1_000_000)
    with pytest.raises(DataError, match="cut short or damaged"):
        read(write(raw.replace(size, struct.pack("<I", 900)), "table.xlsx"))


def test_one_cell_far_away_does_not_fill_the_memory(write: Write) -> None:
    cell = '<row><c r="XFD1048576"><v>1</v></c></row>'
    far = sheet(TABLE).replace("</sheetData>", f"{cell}</sheetData>")
    with pytest.raises(DataError, match="1,048,576 rows and 16,384 columns"):
        read(write(workbook({"S": far}), "table.xlsx"))


def test_real_workbooks(data: Path) -> None:
    folder = data / "bitext_customer"
    name = "Bitext_Sample_Customer_Service_Training_Dataset"
    table, same = read(folder / f"{name}.xlsx"), read(folder / f"{name}.csv")
    assert table.decisions[0].value == "Excel sheet 'Variations'"
    assert table.columns.height == same.columns.height == 8175
    texts = [t.columns["utterance"].str.strip_chars() for t in (table, same)]
    assert texts[0].equals(texts[1])
