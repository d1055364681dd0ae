"""Tables in Excel workbooks (.xlsx): the sheet, the header's row, the rows below it.

Knows: which sheet looks like the table, and which workbooks are not safe to open.
Does not know: formulas (their stored results are read), or what the columns mean.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastexcel
import polars as pl

from tunesmith.data.findings import counted, enumerated
from tunesmith.data.reading.content import Content, check_ratio, check_size, refused
from tunesmith.data.reading.table import MOST_COLUMNS, Table, named, no_fates, written_size
from tunesmith.errors import ConfigError, DataError, nearest
from tunesmith.events import Decision

_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_MOST_CELLS = 30_000_000
"""Of a sheet, empty ones between filled ones included; each takes about 30 bytes when read."""
_PIECE = 2**22
_HEADER_WITHIN = 50  # rows
_CELL = re.compile(rb"""<(?:\w+:)?c\b[^>]*?\sr=["']([A-Z]{1,4})([0-9]{1,9})["']""")
_BROKEN_ZIP = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(OSError, ValueError, RuntimeError, NotImplementedError, KeyError),
)


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    """A sheet's cells as text, null where empty; what stands where."""

    name: str
    cells: pl.DataFrame
    """Only rows and columns in which something stands; columns are named 0, 1, …"""
    lines: pl.Series
    """Row of the sheet, 1-based."""
    header: int
    """Index of the row with the column names; -1 when no row looks like that."""
    num_trailing: int
    """Empty rows after the last with a value, and below, those in between."""
    num_between: int
    num_filled: int
    """Cells with a value, from the header on."""


def is_workbook(content: Content) -> bool:
    """Whether the content is a zip file or a file of old Office programs."""
    return content.head.startswith((_ZIP, _OLE))


def read(content: Content, sheet: str | None = None) -> Table:
    """The table in a workbook: in the sheet named, or in the one that holds most.

    Raises: DataError for what is no workbook, damaged, protected or unsafe; ConfigError for a
    sheet that is not there.
    """
    num_parts = _check(content)
    try:
        # The content is checked; it is read again as it may be in memory only.
        with content.open() as file:
            book = fastexcel.read_excel(file.read())
        names = book.sheet_names
        if len(names) > num_parts:  # one part under many names would be read many times
            raise _damaged(content.path)
        if sheet is not None and sheet not in names:
            raise ConfigError(f"There is no sheet named {sheet!r}.", fix=nearest(sheet, names))
        best, filled = _fullest(book, names if sheet is None else [sheet], content)
    except (fastexcel.FastExcelError, pl.exceptions.PolarsError) as error:
        if "password" in str(error).lower():
            raise _protected(content.path) from None
        raise _damaged(content.path) from None
    if not best.num_filled:
        raise DataError(
            f"No sheet of the workbook holds a table: {enumerated(map(repr, names))}."
            if sheet is None
            else f"The sheet {sheet!r} holds no table.",
            fix="Put the column names into one row and the values below them.",
            path=content.path,
        )
    return _table(best, content.path, _why(best, filled, asked=sheet is not None))


def _fullest(book: Any, names: Sequence[str], content: Content) -> tuple[_Sheet, dict[str, int]]:
    """The sheet with most cells, of two the first; and how many each of them has.

    Raises: DataError for one that repeats a shared text so often that it would fill the memory.
    """
    best, filled = None, {}
    for name in names:
        sheet = _load(book, name)
        check_ratio(written_size(sheet.cells), content.size, content.path)
        filled[name] = sheet.num_filled
        if best is None or sheet.num_filled > best.num_filled:
            best = sheet
    if best is None:
        raise _damaged(content.path)
    return best, filled


def _why(best: _Sheet, filled: Mapping[str, int], *, asked: bool) -> str:
    if asked:
        return "as asked"
    if len(filled) == 1:
        return "it is the only one"
    others = (
        f"{name!r} ({counted(number, 'cell')})"
        for name, number in filled.items()
        if name != best.name
    )
    cells = counted(best.num_filled, "filled cell")
    return f"it holds most, {cells} below a header; there is also {enumerated(others)}"


def _table(sheet: _Sheet, path: Path, why: str) -> Table:
    line = int(sheet.lines[sheet.header])
    header = [(name or "").strip() for name in sheet.cells.row(sheet.header)]
    columns, renamed = named(sheet.cells.slice(sheet.header + 1), header, path, line)
    decisions = [Decision(what="table", value=f"Excel sheet {sheet.name!r}", reason=why)]
    if sheet.header:
        above = counted(sheet.header, "row") + " above left out"
        reason = "it is the first row with a name for most columns"
        decisions.append(Decision(what="header", value=f"row {line:,}; {above}", reason=reason))
    empty = [
        f"{counted(number, 'empty row')} {place}"
        for number, place in ((sheet.num_trailing, "at the end"), (sheet.num_between, "between"))
        if number
    ]
    if empty:
        value = " and ".join(empty) + " left out"
        decisions.append(Decision(what="rows", value=value, reason="no cell has a value there"))
    return Table(
        path=path,
        columns=columns,
        lines=sheet.lines.slice(sheet.header + 1),
        fates=no_fates(columns.height),
        header_line=line,
        decisions=(*decisions, *renamed),
        findings=(),
    )


def _load(book: Any, name: str) -> _Sheet:
    """A sheet without its empty rows and columns.

    With `skip_rows=0` its rows are those of the sheet from the first on, so that the row's number
    is its place.
    """
    cells = book.load_sheet(name, header_row=None, skip_rows=0, dtypes="string").to_polars()
    cells.columns = [str(index) for index in range(cells.width)]
    cells = cells.select(pl.when(pl.all().str.strip_chars() != "").then(pl.all()))
    filled = cells.select(pl.all().count()).row(0) if cells.width else ()
    cells = cells.select(key for key, number in zip(cells.columns, filled, strict=True) if number)
    if not cells.width:
        return _Sheet(
            name=name,
            cells=cells,
            lines=pl.Series([], dtype=pl.Int64),
            header=-1,
            num_trailing=0,
            num_between=0,
            num_filled=0,
        )
    per_row = cells.select(pl.sum_horizontal(pl.all().is_not_null()).alias("n"))["n"]
    places = (per_row > 0).arg_true()
    num_rows, last = cells.height, int(places[-1])
    cells = cells.filter(per_row > 0)
    cells.columns = [str(index) for index in range(cells.width)]
    header = _header(per_row.filter(per_row > 0))
    return _Sheet(
        name=name,
        cells=cells,
        lines=(places + 1).cast(pl.Int64),
        header=header,
        num_trailing=num_rows - last - 1,
        num_between=last + 1 - int(places[0]) - cells.height,
        num_filled=sum(cells.slice(header).select(pl.all().count()).row(0)) if header >= 0 else 0,
    )


def _header(filled: pl.Series) -> int:
    """Index of the first row with about as many cells filled as the rows have in the middle.

    A title above the table fills one or two cells; -1 when no row fills two.
    """
    usual = float(filled.median() or 0)  # type: ignore[arg-type]
    fits = (filled.head(_HEADER_WITHIN) >= max(2.0, 0.6 * usual)).arg_true()
    return int(fits[0]) if len(fits) else -1


def _check(content: Content) -> int:
    """The number of the workbook's parts.

    Raises: DataError for what is no workbook, or would fill the memory when opened.
    """
    path = content.path
    if content.head.startswith(_OLE):
        if _ENCRYPTED in content.head or _ENCRYPTED in _tail(content):
            raise _protected(path)
        raise refused(path, "is an old Excel or Word file")
    try:
        with content.open() as file, zipfile.ZipFile(file) as book:
            infos = book.infolist()
            if not any(info.filename.lower() == "xl/workbook.xml" for info in infos):
                raise refused(path, "is a zip file, but no Excel workbook")
            packed = sum(info.compress_size for info in infos)
            check_size(sum(info.file_size for info in infos), packed, path)
            # Sizes can lie; checksums tell, as no more is unpacked than the size says.
            if (bad := book.testzip()) is not None:
                raise zipfile.BadZipFile(bad)
            for info in infos:
                if info.filename.lower().startswith("xl/worksheets/") and not info.is_dir():
                    _check_extent(book, info, path)
            return len(infos)
    except _BROKEN_ZIP:
        raise _damaged(path) from None


def _check_extent(book: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    """Raise DataError when the sheet spans more cells than can be held, however few are filled."""
    num_columns, num_rows, rest = 0, 0, b""
    with book.open(info) as sheet:
        while piece := sheet.read(_PIECE):
            piece = rest + piece
            cells = _CELL.findall(piece)
            for letters in {letters for letters, _ in cells}:
                num_columns = max(num_columns, _column_number(letters))
            num_rows = max(num_rows, max((int(row) for _, row in cells), default=0))
            rest = piece[-200:]  # a cell may lie across two pieces
    if num_columns * num_rows > _MOST_CELLS or num_columns > MOST_COLUMNS:
        raise DataError(
            f"A sheet of the workbook spans {num_rows:,} rows and {num_columns:,} columns, "
            "which is more than can be read.",
            fix="Delete what stands far from the table, or save the sheet as CSV.",
            path=path,
        )


def _column_number(letters: bytes) -> int:
    """1 for A, 27 for AA."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    return number


def _tail(content: Content) -> bytes:
    with content.open() as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 1_000_000))
        return file.read()


def _protected(path: Path) -> DataError:
    return DataError(
        "The workbook is protected by a password.",
        fix="Open it in Excel and save it without one.",
        path=path,
    )


def _damaged(path: Path) -> DataError:
    return DataError(
        "The workbook is cut short or damaged.",
        fix="Copy it again, or open it in Excel and save it as a new file.",
        path=path,
    )
