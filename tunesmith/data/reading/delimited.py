"""Text files of separated fields: separator, quotes, ragged rows, line numbers.

Regular files go through `regular`; this is where all others are read, and where what is odd about
them is said.
Does not know: encodings, columns' meaning, other formats.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from tunesmith.data.findings import Finding, counted, lines_phrase
from tunesmith.data.reading import regular
from tunesmith.data.reading.encoding import Text
from tunesmith.data.reading.table import MOST_COLUMNS
from tunesmith.errors import DataError
from tunesmith.events import Decision

SPACES = "  "
SEPARATORS = {
    ",": "comma",
    ";": "semicolon",
    "\t": "tab",
    "|": "pipe",
    # The others also occur in texts; they count only where none of the first four fits.
    "~": "tilde",
    "^": "caret",
    SPACES: "double space",
    ":": "colon",
}
TOO_LONG = "dropped: more fields than the header"
HEADER_AGAIN = "dropped: repeats the header"

_COMMON = 4  # the first of the separators
_FEWEST_RECORDS = 5  # that show a separator which is not common
_CHUNK = 2_000  # records turned into columns at a time; many small lists slow Python down
_SLICE = 100_000  # rows whose lines are looked at together
_FIRST = 20_000  # rows that show whether the values of a column come again
_SNIFF_CHARACTERS, _SNIFF_RECORDS = 200_000, 100
_FIELD_LIMIT = 2**26  # characters; the csv module takes four bytes for each
_QUOTED_OR_SPACES = re.compile(r'("(?:[^"]|"")*")| {2,}')
_STAND_IN = "\x1f"  # the csv module wants separators of one character


@dataclass(kw_only=True)
class Delimited:
    """What was parsed: one entry a row in `columns`, whose names are 0, 1, …, and in `lines`."""

    separator: str
    header: list[str]
    header_line: int
    columns: pl.DataFrame
    lines: pl.Series
    fates: dict[int, str] = field(default_factory=dict)
    """Row index → why it cannot be used."""
    short: list[int] = field(default_factory=list)
    """Lines of the rows with fewer fields than the header."""
    findings: list[Finding] = field(default_factory=list)


def parse(text: Text) -> tuple[Delimited, str, list[Decision]]:
    """Rows of a delimited text, why they were separated so, and what else was decided.

    Raises: DataError for one column only, broken quotes, or many rows that do not fit the header.
    """
    separator, reason = sniff(text)
    try:
        table = _collect(text, separator, quotes=True)
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
    return _collect(text, separator, quotes=False), reason, [quotes]


def sniff(text: Text) -> tuple[str, str]:
    """The separator of the fields, and the reason.

    Raises: DataError when no separator gives two columns.
    """
    with text.open() as file:
        sample = file.read(_SNIFF_CHARACTERS)
        is_whole = not file.read(1)
    is_tsv = text.content.suffix == ".tsv"
    best, best_key, num_records = "", (0.0, False, 0), 0
    for index, separator in enumerate(SEPARATORS):
        is_common = index < _COMMON
        if best and not is_common:
            break
        widths = _widths(sample, separator, is_whole=is_whole)
        if not widths or widths[0] < 2:
            continue
        share = sum(width == widths[0] for width in widths) / len(widths)
        if not is_common and (share < 1 or len(widths) < _FEWEST_RECORDS):
            continue
        key = (round(share, 2), (separator == "\t") == is_tsv, widths[0])
        if key > best_key:
            best, best_key, num_records = separator, key, len(widths)
    if not best:
        raise DataError(
            "The first line has one column only; a text and a label column are needed.",
            fix="Separate the columns by commas, semicolons, tabs or pipes.",
            path=text.content.path,
            line=1,
        )
    share, _, width = best_key
    rows = f"all of the first {num_records}" if share == 1 else f"{share:.0%} of the first"
    return best, f"{rows} rows have {width} fields that way"


def _widths(sample: str, separator: str, *, is_whole: bool) -> list[int]:
    """Fields of each of the first records."""
    reader = _reader(io.StringIO(sample, newline=""), separator)
    try:
        widths = [len(record) for record in islice(filter(any, reader), _SNIFF_RECORDS)]
    except csv.Error:
        return []
    if not is_whole and len(widths) < _SNIFF_RECORDS:
        return widths[:-1] or widths  # the sample ends inside its last record
    return widths


def _reader(lines: Iterable[str], separator: str, **options: Any) -> Any:
    """The csv module's reader, for separators of any length."""
    csv.field_size_limit(_FIELD_LIMIT)
    if separator == SPACES:
        lines = (_QUOTED_OR_SPACES.sub(lambda m: m[1] or _STAND_IN, line) for line in lines)
        separator = _STAND_IN
    return csv.reader(lines, delimiter=separator, **options)


def _collect(text: Text, separator: str, *, quotes: bool) -> Delimited:
    """Parse all records."""
    table = _collect_regular(text, separator, quotes=quotes)
    if table is None:
        table = _collect_any(text, separator, quotes=quotes)
    _mark_repeated_headers(table)
    _check_fit(table, text.content.path)
    return table


def _collect_regular(text: Text, separator: str, *, quotes: bool) -> Delimited | None:
    if separator == SPACES or not (found := regular.records(text, separator, quotes=quotes)):
        return None
    columns, lines = found
    return Delimited(
        separator=separator,
        header=[name.strip() for name in columns.row(0)],
        header_line=lines[0],
        columns=columns.slice(1),
        lines=lines.slice(1),
    )


def _collect_any(text: Text, separator: str, *, quotes: bool) -> Delimited:
    """Parse the records one by one, whatever they are like."""
    quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    with text.open() as file:
        reader = _reader(file, separator, quoting=quoting, strict=True)
        numbered = _numbered(reader, text, separator)
        header_line, header = next(numbered)
        _check_width(header, header_line, text.content.path)
        keys = [str(index) for index in range(len(header))]
        columns = [pl.DataFrame(schema=dict.fromkeys(keys, pl.String))]
        lines = [pl.Series([], dtype=pl.Int64)]
        table = Delimited(
            separator=separator,
            header=[name.strip() for name in header],
            header_line=header_line,
            columns=columns[0],
            lines=lines[0],
        )
        num_rows = 0
        while chunk := list(islice(numbered, _CHUNK)):
            records = [record for _, record in chunk]
            if set(map(len, records)) != {len(header)}:
                _fit_widths(table, chunk, num_rows)
            values = zip(keys, zip(*records, strict=True), strict=True)
            columns.append(pl.DataFrame([pl.Series(k, v, dtype=pl.String) for k, v in values]))
            lines.append(pl.Series([line for line, _ in chunk], dtype=pl.Int64))
            num_rows += len(chunk)
    table.columns, table.lines = pl.concat(columns), pl.concat(lines)
    return table


def _check_width(header: list[str], line: int, path: Path) -> None:
    if len(header) > MOST_COLUMNS:
        raise DataError(
            f"The header has {len(header):,} columns, more than a table of text has.",
            fix="Check that each row stands on a line of its own.",
            path=path,
            line=line,
        )


def _numbered(reader: Any, text: Text, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Records that are not blank, each with the line it starts on."""
    done = 0
    try:
        for record in reader:
            if record:
                yield done + 1, record
            done = reader.line_num
    except csv.Error as error:
        if "field limit" in str(error):
            raise DataError(
                f"A value of this row is longer than {_FIELD_LIMIT:,} characters.",
                fix="Check whether its closing quote is missing.",
                path=text.content.path,
                line=done + 1,
            ) from None
        # line_num counts what the parser has read: the broken record is all of it after `done`.
        with text.open() as file:
            line = done + 1 + _open_quote(islice(file, done, reader.line_num), separator)
        raise DataError(
            "The double quote that opens a field on this line is not closed where the field ends.",
            fix="Close it; a double quote inside a quoted text is written twice.",
            path=text.content.path,
            line=line,
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


def _fit_widths(table: Delimited, chunk: list[tuple[int, list[str]]], num_rows: int) -> None:
    """Cut and fill the records after the first `num_rows` to the header's width, in place."""
    width = len(table.header)
    for index, (line, record) in enumerate(chunk, start=num_rows):
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
    breaks, tabs = (pl.all().str.contains(mark, literal=True) for mark in "\n\t")
    found = pl.any_horizontal(breaks & tabs)
    rows = table.columns.select(found.alias("found"))["found"].fill_null(False).arg_true()
    return table.lines[rows[0]] if len(rows) else None


def _swallowed_rows(table: Delimited) -> list[Finding]:
    """Values with lines inside that look like rows of this very table: a quote left open."""
    is_broken = pl.any_horizontal(pl.all().str.contains("\n", literal=True))
    broken = table.columns.select(is_broken.alias("broken"))["broken"].fill_null(False)
    if not broken.any():
        return []
    first, last = table.columns.columns[0], table.columns.columns[-1]
    starts, ends = (_repeated(table.columns[key]).implode() for key in (first, last))
    fields = pl.col("part").str.strip_chars_end("\r").str.split(table.separator)
    rows = table.columns.with_columns(table.lines.alias("line")).filter(broken)
    similar = pl.concat(
        part.unpivot(index="line", value_name="part")
        .select("line", pl.col("part").str.split("\n"))
        .explode("part")
        .filter(pl.col("part").str.contains(table.separator, literal=True))
        .filter(fields.list.first().is_in(starts) | fields.list.last().is_in(ends))
        .group_by("line")
        .len()
        .sort("line")
        for part in rows.iter_slices(_SLICE)
    )
    return [
        Finding(
            "warning",
            line,
            f"A quoted text of the row on line {line:,} holds "
            f"{counted(number, 'line that looks', 'lines that look')} like rows.",
            "Check whether its closing quote is missing.",
        )
        for line, number in similar.iter_rows()
    ]


def _repeated(column: pl.Series) -> pl.Series:
    """The values of a column with few different ones, such as labels; none of another's."""
    first = column.head(_FIRST)  # all of a column of texts would take long to compare
    if first.n_unique() * 5 > len(first) and len(column) > len(first):
        return column.clear()
    values = column.drop_nulls().unique()
    return values.filter(values != "") if len(values) * 5 <= len(column) else column.clear()
