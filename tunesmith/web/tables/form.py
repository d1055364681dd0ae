"""The index of a table, and rows read by it: what is on a page is all that is read.

An index is two files in a folder: form.json says how the table is written, `places` where every
hundredth row begins. Rows and lines count from 1.
Does not know: how an index is made, whose table it is.
"""

from __future__ import annotations

import csv
import json
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

EVERY = 100
"""Rows between two that the index knows."""
FORM, PLACES = "form.json", "places"
LONGEST_FIELD = 2**26

Value = str | int | float | bool | list[Any] | dict[str, Any] | None


class Row(NamedTuple):
    """A row: its number, the line of the file on which it begins, its values by column."""

    number: int
    line: int
    values: dict[str, Value]


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a table is written."""

    path: str
    """The file to read rows from: the table itself, or its rows written anew as JSON lines."""
    kind: Literal["csv", "jsonl"]
    columns: tuple[str, ...]
    """Of JSON lines those of the first rows; later ones may have others."""
    codec: str = "utf-8"
    separator: str = ","
    quotes: bool = True
    count: int = 0
    """Rows that have been found so far."""
    done: bool = False
    source: tuple[int, int] = (0, 0)
    """Bytes and time of change (in nanoseconds) of the table that was indexed."""
    error: str = ""
    """Why it cannot be read, where it cannot."""

    @property
    def quoting(self) -> Literal[0, 3]:
        """What the csv module is told about quotes."""
        return csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE


def stamp(path: Path) -> tuple[int, int]:
    """By which a file that has changed is told. Raises: OSError."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def load(folder: Path) -> Form | None:
    """The form of an index, if there is one."""
    try:
        found: dict[str, Any] = json.loads((folder / FORM).read_bytes())
        pair = ("columns", "source")
        found |= {name: tuple(found[name]) for name in pair}
        return Form(**found)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def keep(folder: Path, form: Form) -> None:
    """Write the form of an index. Raises: OSError."""
    draft = folder / f".{FORM}.tmp"
    draft.write_text(json.dumps(asdict(form), ensure_ascii=False), encoding="utf-8")
    draft.replace(folder / FORM)


class Rows:
    """The rows of a table that has an index in `folder`."""

    def __init__(self, folder: Path, form: Form) -> None:
        self._form = form
        self._places = _places(folder / PLACES)

    def read(self, first: int, most: int) -> list[Row]:
        """At most so many rows, from the one with the number `first` on. Raises: OSError."""
        return list(islice(self.after(first - 1), most))

    def after(self, number: int) -> Iterator[Row]:
        """All rows behind the one with that number, read as they are taken. Raises: OSError."""
        if not self._places:
            return
        known = min(number // EVERY, len(self._places) // 2 - 1)
        offset, line = self._places[2 * known : 2 * known + 2]
        with Path(self._form.path).open("rb") as file:
            file.seek(offset)
            rows = records(file, self._form, line)
            for place, (start, values) in enumerate(rows, known * EVERY + 1):
                if place > number:
                    yield Row(place, start, values)

    def at_line(self, line: int) -> int:
        """The number of the row in which that line of the file is; the last one behind the end."""
        lines = self._places[1::2]
        known = max(0, bisect_right(lines, line) - 1)
        number = known * EVERY + 1
        for row in islice(self.after(number - 1), EVERY):
            if row.line > line:
                break
            number = row.number
        return number


def records(file: BinaryIO, form: Form, line: int) -> Iterator[tuple[int, dict[str, Value]]]:
    """Line and values of each record from here on; `line` is the one at which the file stands."""
    if form.kind == "jsonl":
        for number, raw in enumerate(file, line):
            if raw.strip():
                yield number, _object(raw)
        return
    for start, fields in fields_of(file, form, line):
        yield start, dict(zip(_names(form.columns, len(fields)), fields, strict=True))


def fields_of(file: BinaryIO, form: Form, line: int) -> Iterator[tuple[int, list[str]]]:
    """The same of delimited text, as fields; records without any are left out."""
    csv.field_size_limit(LONGEST_FIELD)
    lines = (raw.decode(form.codec, "replace") for raw in file)
    reader = csv.reader(lines, delimiter=form.separator, quoting=form.quoting)
    before = 0
    for fields in reader:
        start, before = line + before, reader.line_num
        if any(fields):
            yield start, fields


def _names(columns: tuple[str, ...], width: int) -> list[str]:
    """So many names, for a record that may have fewer fields than the header, or more."""
    return [*columns[:width], *(f"column {n + 1}" for n in range(len(columns), width))]


def _object(raw: bytes) -> dict[str, Value]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {"(not JSON)": raw.decode("utf-8", "replace").rstrip("\n")}
    return found if isinstance(found, dict) else {"value": found}


def _places(path: Path) -> array[int]:
    found: array[int] = array("Q")
    try:
        raw = path.read_bytes()
    except OSError:
        return found
    found.frombytes(raw[: len(raw) // 16 * 16])
    return found


def said(value: Value) -> str:
    """A value as a page shows it; the messages of a chat one after the other."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(_is_message(item) for item in value):
        return "\n".join(f"{item['role']}: {said(item.get('content'))}" for item in value)
    return json.dumps(value, ensure_ascii=False)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str)
