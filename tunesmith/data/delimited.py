"""Text files of separated fields: encoding, separator, quotes, ragged rows, line numbers.

Knows: bytes and characters.
Does not know: columns' meaning, other formats.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import polars as pl

from tunesmith.data.findings import Finding, counted, lines_phrase
from tunesmith.errors import DataError
from tunesmith.events import Decision

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
TOO_LONG = "dropped: more fields than the header"
HEADER_AGAIN = "dropped: repeats the header"

_CHUNK = 2_000  # records turned into columns at a time; many small lists slow Python down
_SNIFF_CHARACTERS, _SNIFF_RECORDS = 200_000, 100
_FIELD_LIMIT = 2**31 - 1
_MAGIC = {
    b"PK\x03\x04": "an Excel workbook or a zip file",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF file",
}


@dataclass(kw_only=True)
class Delimited:
    """What was parsed: one entry a row in each list; `columns` maps header names to values."""

    separator: str
    header: list[str]
    header_line: int
    columns: pl.DataFrame
    lines: list[int]
    fates: dict[int, str] = field(default_factory=dict)
    """Row index → why it cannot be used."""
    short: list[int] = field(default_factory=list)
    """Lines of the rows with fewer fields than the header."""
    findings: list[Finding] = field(default_factory=list)


def decode(raw: bytes, path: Path) -> tuple[str, str, str, list[Finding]]:
    """The text of a file, its encoding, the reason for that, and what was noticed.

    Raises: DataError for a file that is no text.
    """
    for magic, kind in _MAGIC.items():
        if raw.startswith(magic):
            raise not_text(path, f"is {kind}")
    try:
        if raw.startswith(b"\xef\xbb\xbf"):
            return raw[3:].decode(), "UTF-8", "it starts with the UTF-8 mark", []
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            return raw.decode("utf-16"), "UTF-16", "it starts with the UTF-16 mark", []
        _refuse_binary(raw, path)
        return raw.decode(), "UTF-8", "all bytes are valid UTF-8", []
    except UnicodeDecodeError as error:
        if error.encoding.startswith("utf-16"):
            raise not_text(path, "starts like UTF-16 text but is none") from None
        line = raw[: error.start].count(b"\n") + 1
    lenient = raw.removeprefix(b"\xef\xbb\xbf").decode(errors="replace")
    bad = lenient.count("\ufffd")
    if bad * 20 <= len(re.findall("[^\x00-\x7f]", lenient)):
        what = f"{counted(bad, 'character')} could not be read, first on line {line:,}."
        finding = Finding("warning", line, what, "They stand as \ufffd; correct them in the table.")
        return lenient, "UTF-8", "nearly all bytes are valid UTF-8", [finding]
    reason = f"line {line:,} is not UTF-8, and Windows programs write like this"
    return raw.decode("cp1252", "replace"), "Windows-1252", reason, []


def parse(text: str, path: Path) -> tuple[Delimited, str, list[Decision]]:
    """Rows of a delimited text, why they were separated so, and what else was decided.

    Raises: DataError for one column only, broken quotes, or many rows that do not fit the header.
    """
    separator, reason = sniff(text, path)
    try:
        table = _collect(text, separator, quotes=True, path=path)
    except DataError as error:
        if separator != "\t":
            raise
        why = f"the quote on line {error.line:,} does not enclose a field"
    else:
        if separator != "\t" or (opened := _swallowed_tabs(table)) is None:
            table.findings += _swallowed_rows(table)
            return table, reason, []
        why = f"the quote on line {opened:,} would swallow whole rows"
    quotes = Decision(what="quotes", value="taken as ordinary characters", reason=why)
    return _collect(text, separator, quotes=False, path=path), reason, [quotes]


def sniff(text: str, path: Path) -> tuple[str, str]:
    """The separator of the fields, and the reason.

    Raises: DataError when no separator gives two columns.
    """
    sample = text[:_SNIFF_CHARACTERS]
    csv.field_size_limit(_FIELD_LIMIT)
    best, best_key, num_records = "", (0.0, False, 0), 0
    for separator in SEPARATORS:
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator)
        widths = [len(record) for record in islice(filter(any, reader), _SNIFF_RECORDS)]
        if len(sample) < len(text) and len(widths) < _SNIFF_RECORDS:
            widths = widths[:-1] or widths  # the sample ends inside its last record
        if not widths or widths[0] < 2:
            continue
        share = sum(width == widths[0] for width in widths) / len(widths)
        key = (round(share, 2), (separator == "\t") == (path.suffix.lower() == ".tsv"), widths[0])
        if key > best_key:
            best, best_key, num_records = separator, key, len(widths)
    if not best:
        raise DataError(
            "The first line has one column only; a text and a label column are needed.",
            fix="Separate the columns by commas, semicolons, tabs or pipes.",
            path=path,
            line=1,
        )
    share, _, width = best_key
    rows = f"all of the first {num_records}" if share == 1 else f"{share:.0%} of the first"
    return best, f"{rows} rows have {width} fields that way"


def not_text(path: Path, what: str) -> DataError:
    """The error for a file that cannot be a table."""
    return DataError(
        f"The file {what}, not a table of text.",
        fix="Save the table as CSV, TSV, JSON Lines or Parquet.",
        path=path,
    )


def _refuse_binary(raw: bytes, path: Path) -> None:
    head = raw[:1_000_000]
    controls = len(re.findall(rb"[\x00-\x08\x0e-\x19\x1b-\x1f]", head))
    if b"\x00" in head or controls * 100 > len(head):
        raise not_text(path, "holds binary data")


def _collect(text: str, separator: str, *, quotes: bool, path: Path) -> Delimited:
    """Parse all records, in chunks."""
    csv.field_size_limit(_FIELD_LIMIT)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        strict=True,
    )
    numbered = _numbered(reader, text, separator, path)
    header_line, header = next(numbered)
    header = [name.strip() for name in header]
    empty = pl.DataFrame(schema={str(index): pl.String for index in range(len(header))})
    table = Delimited(
        separator=separator, header=header, header_line=header_line, columns=empty, lines=[]
    )
    frames = [empty]
    while chunk := list(islice(numbered, _CHUNK)):
        records = [record for _, record in chunk]
        if set(map(len, records)) != {len(header)}:
            _fit_widths(table, chunk)
        table.lines += [line for line, _ in chunk]
        values = zip(empty.columns, zip(*records, strict=True), strict=True)
        frames.append(pl.DataFrame([pl.Series(k, v, dtype=pl.String) for k, v in values]))
    table.columns = pl.concat(frames)
    _mark_repeated_headers(table)
    _check_fit(table, path)
    return table


def _numbered(
    reader: Iterator[list[str]], text: str, separator: str, path: Path
) -> Iterator[tuple[int, list[str]]]:
    """Records that are not blank, each with the line it starts on."""
    done = 0
    try:
        for record in reader:
            if record:
                yield done + 1, record
            done = reader.line_num  # type: ignore[attr-defined]
    except csv.Error:
        # line_num counts what the parser has read: the broken record is all of it after `done`.
        broken = islice(io.StringIO(text, newline=""), done, reader.line_num)  # type: ignore[attr-defined]
        raise DataError(
            "The double quote that opens a field on this line is not closed where the field ends.",
            fix="Close it; a double quote inside a quoted text is written twice.",
            path=path,
            line=done + 1 + _open_quote(broken, separator),
        ) from None


def _open_quote(lines: Iterable[str], separator: str) -> int:
    """Index of the line on which the last quoted field opens."""
    opened, quoted, at_start = 0, False, True
    for index, line in enumerate(lines):
        for place, character in enumerate(line):
            if character == '"' and not quoted and at_start:
                opened, quoted = index, True
            elif character == '"' and quoted:
                # The second of a doubled quote opens the field again where it was.
                quoted = False
            elif character == '"' and place and line[place - 1] == '"' and not at_start:
                quoted = True
            at_start = not quoted and character in (separator, "\n", "\r")
    return opened


def _fit_widths(table: Delimited, chunk: list[tuple[int, list[str]]]) -> None:
    """Cut and fill the records of a chunk to the header's width, in place, and take note."""
    width = len(table.header)
    for index, (line, record) in enumerate(chunk, start=len(table.lines)):
        if len(record) < width:
            record += [None] * (width - len(record))  # type: ignore[list-item]
            table.short.append(line)
        elif len(record) > width:
            if any(value.strip() for value in record[width:]):
                table.fates[index] = TOO_LONG
                table.findings.append(
                    Finding(
                        "warning",
                        line,
                        f"Line {line:,} has {len(record)} fields where the header has {width}; "
                        "the row is left out.",
                        f"Put values that hold a {SEPARATORS[table.separator]} in double quotes.",
                    )
                )
            del record[width:]


def _mark_repeated_headers(table: Delimited) -> None:
    """Files that were put together keep each one's header; it is not a row."""
    same = pl.all_horizontal(
        pl.col(key) == name for key, name in zip(table.columns.columns, table.header, strict=True)
    )
    again = table.columns.select(same.alias("same"))["same"].fill_null(False).arg_true().to_list()
    if again:
        lines = [table.lines[index] for index in again]
        table.fates.update(dict.fromkeys(again, HEADER_AGAIN))
        what = f"The header comes again on {lines_phrase(lines)}; it is left out."
        table.findings.append(Finding("info", lines[0], what))


def _check_fit(table: Delimited, path: Path) -> None:
    """Raise when so many rows have too many fields that the file must be read wrongly."""
    if table.short:
        number = counted(len(table.short), "row has", "rows have")
        what = f"{number} fewer fields than the header: {lines_phrase(table.short)}."
        table.findings.append(
            Finding("warning", table.short[0], what, "The missing ones count as empty.")
        )
    long = [index for index, fate in table.fates.items() if fate == TOO_LONG]
    if len(long) * 10 > len(table.lines):
        raise DataError(
            f"{counted(len(long), 'row has', 'rows have')} more fields than the header, which has "
            f"{len(table.header)}; this is the first.",
            fix=f"Put values that hold a {SEPARATORS[table.separator]} in double quotes.",
            path=path,
            line=table.lines[long[0]],
        )


def _swallowed_tabs(table: Delimited) -> int | None:
    """Line of the first row in which one value holds line breaks and tabs: a stray quote's work."""
    found = pl.any_horizontal(pl.all().str.contains("\n") & pl.all().str.contains("\t"))
    rows = table.columns.select(found.alias("found"))["found"].fill_null(False).arg_true()
    return table.lines[rows[0]] if len(rows) else None


def _swallowed_rows(table: Delimited) -> list[Finding]:
    """Values with lines inside that look like rows of this very table: a quote left open."""
    first, last = table.columns.columns[0], table.columns.columns[-1]
    starts, ends = _repeated(table.columns[first]), _repeated(table.columns[last])
    findings = []
    broken = pl.any_horizontal(pl.all().str.contains("\n"))
    rows = table.columns.select(broken.alias("broken"))["broken"].fill_null(False).arg_true()
    for index in rows:
        inner = [line for value in table.columns.row(index) for line in (value or "").split("\n")]
        similar = sum(
            line.split(table.separator)[0] in starts
            or line.rstrip("\r").rsplit(table.separator)[-1] in ends
            for line in inner
            if table.separator in line
        )
        if similar:
            findings.append(
                Finding(
                    "warning",
                    table.lines[index],
                    f"A quoted text of the row on line {table.lines[index]:,} holds "
                    f"{counted(similar, 'line that looks', 'lines that look')} like rows.",
                    "Check whether its closing quote is missing.",
                )
            )
    return findings


def _repeated(column: pl.Series) -> set[str]:
    """The values of a column with few different ones, such as labels."""
    values = column.drop_nulls().unique()
    return set(values) - {""} if len(values) * 5 <= len(column) else set()
