"""Making the index of a table, and looking for words in it, from its first byte to its last.

Text is read as it is, line by line; of other formats the rows are written anew as JSON lines.
Does not know: whose table it is, who waits for it.
"""

from __future__ import annotations

import csv
import json
import time
from array import array
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from tunesmith.errors import TunesmithError
from tunesmith.web.tables.form import (
    EVERY,
    LONGEST_FIELD,
    PLACES,
    Form,
    Rows,
    keep,
    load,
    said,
    stamp,
)

TELL_SECONDS = 0.4
LINES_OF_RECORD = 5_000
"""A record with more lines has a quote that was not meant as one."""
WRITTEN = "rows.jsonl"
FEW = 20
"""Rows that show which columns there are."""
MOST_FOUND = 50
LOOK_SECONDS = 10.0


def index(source: Path, folder: Path) -> Form:
    """Make the index of the table `source` in `folder`; what is found meanwhile is there already.

    One that cannot be read has an index that says why. Raises: OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seen = stamp(source)
    try:
        form = replace(_form(source, folder), source=seen)
        form = _scanned(form, folder)
    except _StrayQuote:
        form = _scanned(replace(form, quotes=False), folder)
    except TunesmithError as error:
        told = " ".join(filter(None, (error.what, error.fix))).replace(str(source), source.name)
        form = Form(path="", kind="csv", columns=(), done=True, source=seen, error=told)
    keep(folder, form)
    return form


def find(folder: Path, words: str, after: int) -> tuple[list[int], int]:
    """Numbers of the next rows behind `after` that hold the words, in any case, and the number of
    the last row that was looked at. It looks for some seconds at most. Raises: OSError."""
    form, wanted, found = load(folder), words.casefold(), []
    until, number = time.monotonic() + LOOK_SECONDS, after
    for number, _, values in Rows(folder, form).after(after) if form else ():
        if any(wanted in said(value).casefold() for value in values.values()):
            found.append(number)
        if len(found) >= MOST_FOUND or (number % 1000 == 0 and time.monotonic() > until):
            break
    return found, number


class _StrayQuote(Exception):
    """A quotation mark that encloses no field."""


def _form(source: Path, folder: Path) -> Form:
    """How the table is written. Raises: TunesmithError."""
    with source.open("rb") as file:
        head = file.read(200_000)
    if source.suffix.lower() in (".jsonl", ".ndjson") and head.lstrip().startswith(b"{"):
        return Form(path=str(source), kind="jsonl", columns=_members(head))
    # Here and not above: JSON lines, the form of most files, need none of it.
    from tunesmith.data.reading import columnar, delimited, excel
    from tunesmith.data.reading.content import open_source
    from tunesmith.data.reading.encoding import decode

    content = open_source(source)
    is_table = excel.is_workbook(content) or columnar.is_columnar(content)
    is_plain = content.raw is None and not is_table and b"\n" in head
    if is_plain and not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        text = decode(content)
        separator, _ = delimited.sniff(text)
        if len(separator) == 1 and not text.codec.startswith("utf-16") and "32" not in text.codec:
            codec = text.codec.removesuffix("-sig")
            form = Form(path=str(source), kind="csv", columns=(), codec=codec, separator=separator)
            return replace(form, columns=_header(form))
    return _written(source, folder)


def _written(source: Path, folder: Path) -> Form:
    """The rows of a table of any format, written as JSON lines. Raises: TunesmithError."""
    from tunesmith.data.reading.readers import read

    table = read(source)
    path = folder / WRITTEN
    with path.open("w", encoding="utf-8") as file:
        for row in table.columns.iter_rows(named=True):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return Form(path=str(path), kind="jsonl", columns=tuple(table.columns.columns))


def _members(head: bytes) -> tuple[str, ...]:
    """The names in the first lines that are JSON objects."""
    names: dict[str, None] = {}
    for raw in head.split(b"\n")[:FEW]:
        try:
            names |= dict.fromkeys(json.loads(raw))
        except (ValueError, TypeError):
            continue
    return tuple(names)


def _header(form: Form) -> tuple[str, ...]:
    with Path(form.path).open("rb") as file:
        _, _, first = next(_raw_records(file, form))
    names = [name.strip().lstrip("\ufeff") for name in first]
    return tuple(name or f"column {n}" for n, name in enumerate(names, 1))


def _scanned(form: Form, folder: Path) -> Form:
    """The form with all rows counted and their places written, some of them before others."""
    count, told, places = 0, time.monotonic(), array("Q")
    with Path(form.path).open("rb") as file, (folder / PLACES).open("wb") as out:
        for place, line, _ in _starts(file, form):
            if count % EVERY == 0:
                places.extend((place, line))
            count += 1
            if count == FEW or (count % 1000 == 0 and time.monotonic() - told > TELL_SECONDS):
                told = time.monotonic()
                out.write(places.tobytes())
                out.flush()
                places = array("Q")
                keep(folder, replace(form, count=count))
        out.write(places.tobytes())
    return replace(form, count=count, done=True)


def _starts(file: BinaryIO, form: Form) -> Iterator[tuple[int, int, object]]:
    """Where each row begins: its byte and line."""
    if form.kind == "csv":
        return islice(_raw_records(file, form), 1, None)  # the first is the header
    return _lines(file)


def _lines(file: BinaryIO) -> Iterator[tuple[int, int, object]]:
    place = 0
    for number, raw in enumerate(file, 1):
        if not raw.isspace():
            yield place, number, raw
        place += len(raw)


def _raw_records(file: BinaryIO, form: Form) -> Iterator[tuple[int, int, list[str]]]:
    """Byte and line of each record that holds something, and its fields.

    Raises: _StrayQuote where a field has thousands of lines.
    """
    csv.field_size_limit(LONGEST_FIELD)
    read, lines = 0, 0

    def texts() -> Iterator[str]:
        nonlocal read
        for raw in file:
            read += len(raw)
            yield raw.decode(form.codec, "replace")

    reader = csv.reader(texts(), delimiter=form.separator, quoting=form.quoting)
    place = 0
    for fields in _careful(reader):
        if form.quotes and reader.line_num - lines > LINES_OF_RECORD:
            raise _StrayQuote
        if any(fields):
            yield place, lines + 1, fields
        place, lines = read, reader.line_num


def _careful(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """Raises: _StrayQuote where a field is beyond all measure."""
    try:
        yield from reader
    except csv.Error:
        raise _StrayQuote from None
