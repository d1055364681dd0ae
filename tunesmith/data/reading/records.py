"""Tables as JSON: an object a line, or one document that holds a list of objects or columns.

Knows: the shapes in which programs write tables as JSON, and on which line each row starts.
Does not know: which of the members is the text or the label.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import NoneType
from typing import Any

import polars as pl
from pydantic_core import from_json

from tunesmith.data.findings import Finding, counted, enumerated
from tunesmith.data.reading.encoding import Text
from tunesmith.data.reading.table import MOST_COLUMNS, Table, complete, no_fates
from tunesmith.errors import ConfigError, DataError, nearest
from tunesmith.events import Decision

NOT_AN_OBJECT = "dropped: not a JSON object"
SUFFIXES = (".jsonl", ".ndjson", ".json")

_CHUNK = 5_000  # objects turned into columns at a time
_LINE = "\x00line"  # a column beside those of the objects
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


@dataclass(kw_only=True)
class _Rows:
    """Objects as columns of text, gathered chunk by chunk."""

    path: Path
    frames: list[pl.DataFrame] = field(default_factory=list)
    names: dict[str, None] = field(default_factory=dict)
    nested: set[str] = field(default_factory=set)
    broken: list[tuple[int, int]] = field(default_factory=list)
    """Index and line of what is no object."""
    num_rows: int = 0

    def gather(self, values: Iterable[tuple[Any, int]]) -> None:
        """Take all values, each with the line it starts on."""
        values = iter(values)
        while chunk := list(islice(values, _CHUNK)):
            objects = [value for value, _ in chunk]
            if set(map(type, objects)) != {dict}:
                for index, (value, line) in enumerate(chunk):
                    if not isinstance(value, dict):
                        self.broken.append((self.num_rows + index, line))
                        objects[index] = {}
            self.names |= dict.fromkeys(name for value in objects for name in value)
            self._check_width(chunk[0][1])
            lines = pl.Series(_LINE, [line for _, line in chunk], dtype=pl.Int64)
            try:
                columns = [self._column(name, objects) for name in self.names]
                self.frames.append(pl.DataFrame([lines, *columns]))
            except (RecursionError, ValueError):
                raise _too_deep(self.path, chunk[0][1]) from None
            except pl.exceptions.DuplicateError:
                raise DataError(
                    "Two names of columns differ in unreadable characters only.",
                    fix="Rename one of them.",
                    path=self.path,
                    line=chunk[0][1],
                ) from None
            self.num_rows += len(chunk)

    def table(self, decision: Decision, what: str) -> Table:
        """The rows as a table; `what` is the word for a row's place: line or entry.

        Raises: DataError when more than a tenth of the rows are no objects.
        """
        if len(self.broken) * 10 > self.num_rows:
            number = counted(len(self.broken), f"{what} is", f"{_plural(what)} are")
            raise DataError(
                f"{number} no JSON object; this is the first.",
                fix='Write one object a line, such as {"text": "…", "label": "…"}.',
                path=self.path,
                line=self.broken[0][1],
            )
        frame = pl.concat(self.frames, how="diagonal")
        fates, findings = no_fates(self.num_rows), []
        for index, line in self.broken:
            fates[index] = NOT_AN_OBJECT
            sentence = f"Line {line:,} is no JSON object; it is left out."
            findings.append(
                Finding("warning", line, sentence, "Is it cut short, or a quote missing?")
            )
        columns = frame.drop(_LINE)
        return Table(
            path=self.path,
            columns=columns,
            lines=frame[_LINE].alias(""),
            fates=fates,
            header_line=None,
            decisions=(decision,),
            findings=tuple(findings),
            nested=tuple(name for name in columns.columns if name in self.nested),
        )

    def _column(self, name: str, objects: Sequence[dict[str, Any]]) -> pl.Series:
        series, is_nested = _strings(name, [value.get(name) for value in objects])
        if is_nested:
            self.nested.add(series.name)
        return series

    def _check_width(self, line: int) -> None:
        if len(self.names) > MOST_COLUMNS:
            raise DataError(
                f"The objects name over {MOST_COLUMNS:,} different columns.",
                fix="Give every object the same names, such as text and label.",
                path=self.path,
                line=line,
            )


def read(text: Text, part: str | None = None) -> Table:
    """The table in a JSON or JSON Lines file.

    `part` names the list to take where an object holds several.
    Raises: DataError, ConfigError for a `part` that is not there.
    """
    path = text.content.path
    with text.open(newline="\n") as file:
        filled = (line for line in file if not line.isspace())
        first, second = next(filled, ""), next(filled, None)
    start = first.lstrip("\ufeff \t\r\n")[:1]
    if start not in "[{" or (second is not None and _is_object(first)):
        return _lines(text)
    with text.open() as file:
        document = file.read()
    try:
        return _document(document, path, part)
    except DataError:
        # A first line that is broken does not make JSON Lines a broken document.
        if _are_objects(text):
            return _lines(text)
        raise


def _lines(text: Text) -> Table:
    rows = _Rows(path=text.content.path)
    with text.open(newline="\n") as file:
        rows.gather(
            (_parsed(line), number)
            for number, line in enumerate(file, start=1)
            if not line.isspace()
        )
    return rows.table(
        Decision(what="table", value="JSON Lines", reason="each line is an object"), "line"
    )


def _parsed(line: str) -> Any:
    """The value on a line; None when it is no JSON, or nested too deeply to be read."""
    try:
        # Twice as fast as json, but it refuses halves of surrogate pairs and deeper nesting.
        value = from_json(line)
    except ValueError:
        with suppress(ValueError, RecursionError):
            return json.loads(line)
        return None
    return value


def _is_object(line: str) -> bool:
    return isinstance(_parsed(line), dict)


def _are_objects(text: Text) -> bool:
    """Whether most of the first lines are objects by themselves."""
    with text.open(newline="\n") as file:
        are = [_is_object(line) for line in islice(file, 20) if not line.isspace()]
    return sum(are) * 2 > len(are)


def _document(document: str, path: Path, part: str | None) -> Table:
    """The table in one JSON value."""
    place = _skip(document, 0)
    if document[place] == "[":
        _refuse_part(path, part)
        reason = "the file holds one list of objects"
        return _list_of_objects(document, place, path, _decision("JSON list", reason))
    members = {key: (value, at) for key, value, at in _members(document, place, path, is_all=True)}
    lists = {
        key: at
        for key, (value, at) in members.items()
        if isinstance(value, list) and any(isinstance(item, dict) for item in value)
    }
    if lists:
        key, reason = _choose({k: len(members[k][0]) for k in lists}, part)
        decision = _decision(f"JSON list under {key!r}", reason)
        return _list_of_objects(document, lists[key], path, decision)
    _refuse_part(path, part)
    return _columns({key: value for key, (value, _) in members.items()}, path)


def _choose(sizes: dict[str, int], part: str | None) -> tuple[str, str]:
    """Which of an object's lists is the table, and why."""
    if part is not None:
        if part not in sizes:
            raise ConfigError(
                f"The file has no list of objects under {part!r}.", fix=nearest(part, sizes)
            )
        return part, "as asked"
    if len(sizes) == 1:
        return next(iter(sizes)), "it is the file's only list of objects"
    key = "train" if "train" in sizes else max(sizes, key=lambda name: sizes[name])
    others = enumerated(f"{name!r} ({size:,})" for name, size in sizes.items() if name != key)
    reason = "it is named train" if key == "train" else f"it is the longest, with {sizes[key]:,}"
    return key, f"{reason}; there is also {others}"


def _list_of_objects(document: str, place: int, path: Path, decision: Decision) -> Table:
    rows = _Rows(path=path)
    rows.gather(_numbered(document, place, path))
    if not rows.num_rows:
        raise DataError("The list is empty.", fix="Add objects to it.", path=path)
    return rows.table(decision, "entry")


def _numbered(document: str, place: int, path: Path) -> Iterator[tuple[Any, int]]:
    """The members of the list at `place`, each with its line."""
    line, done = 1, 0
    for _, value, at in _members(document, place, path, is_all=place == _skip(document, 0)):
        line, done = line + document.count("\n", done, at), at
        yield value, line


def _columns(members: dict[str, Any], path: Path) -> Table:
    """An object of lists of equal length, or of objects with the same keys, as Pandas writes."""
    columns = {
        name: list(value.values()) if isinstance(value, dict) else value
        for name, value in members.items()
    }
    sizes = {len(v) if isinstance(v, list) else -1 for v in columns.values()}
    keys = {tuple(value) if isinstance(value, dict) else None for value in members.values()}
    if len(sizes) != 1 or -1 in sizes or len(keys) != 1 or len(columns) > MOST_COLUMNS:
        raise DataError(
            "The file holds one JSON object that is no table: neither a list of objects nor lists "
            "of equal length.",
            fix='Write a list such as [{"text": "…", "label": "…"}], or one object a line.',
            path=path,
        )
    try:
        texts = [_strings(name, values) for name, values in columns.items()]
    except RecursionError:
        raise _too_deep(path, 1) from None
    frame = pl.DataFrame([series for series, _ in texts])
    decision = _decision("JSON columns", "the file holds one object of lists as long")
    nested = [series.name for series, is_nested in texts if is_nested]
    return complete(path, frame, decisions=[decision], nested=nested)


def _members(
    document: str, place: int, path: Path, *, is_all: bool
) -> Iterator[tuple[str, Any, int]]:
    """Members of the list or object at `place`: key ("" in a list), value, where that starts.

    `is_all` says that nothing may follow. Raises: DataError with the line of what is no JSON.
    """
    closing = "]" if document[place] == "[" else "}"
    place = _skip(document, place + 1)
    is_first = True
    while not (is_first and document.startswith(closing, place)):
        is_first, key = False, ""
        if closing == "}":
            key, place = _value(document, place, path)
            if not isinstance(key, str):
                raise _broken(document, place, path)
            place = _expect(":", document, place, path)
        value, end = _value(document, place, path)
        yield key, value, place
        place = _skip(document, end)
        if document.startswith(closing, place):
            break
        place = _expect(",", document, place, path)
    if is_all and _skip(document, place + 1) < len(document):
        raise _broken(document, _skip(document, place + 1), path)


def _value(document: str, place: int, path: Path) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(document, place)
    except json.JSONDecodeError as error:
        raise _broken(document, error.pos, path) from None
    except ValueError:  # a number of thousands of digits
        raise _broken(document, place, path) from None
    except RecursionError:
        raise _too_deep(path, document.count("\n", 0, place) + 1) from None


def _skip(document: str, place: int) -> int:
    """The next place that is no white space; a mark of UTF-8 counts as such at the start."""
    place += not place and document.startswith("\ufeff")
    space = _SPACE.match(document, place)
    return space.end() if space else place


def _expect(sign: str, document: str, place: int, path: Path) -> int:
    place = _skip(document, place)
    if not document.startswith(sign, place):
        raise _broken(document, place, path)
    return _skip(document, place + 1)


def _broken(document: str, place: int, path: Path) -> DataError:
    is_end = place >= len(document)
    return DataError(
        "The JSON ends in the middle of a value." if is_end else "This is no JSON from here on.",
        fix="Copy or save the file again."
        if is_end
        else "Look for a comma, quote or bracket that is missing or too many.",
        path=path,
        line=document.count("\n", 0, place) + 1,
    )


def _too_deep(path: Path, line: int) -> DataError:
    return DataError(
        "The JSON from this line on is nested too deeply, or holds a number that is too long.",
        fix="Put the text and the label directly into each object.",
        path=path,
        line=line,
    )


def _refuse_part(path: Path, part: str | None) -> None:
    if part is not None:
        raise ConfigError(f"{path} has no parts to choose {part!r} from.", fix="Leave it out.")


def _decision(value: str, reason: str) -> Decision:
    return Decision(what="table", value=value, reason=reason)


def _plural(what: str) -> str:
    return "entries" if what == "entry" else f"{what}s"


def _strings(name: str, values: list[Any]) -> tuple[pl.Series, bool]:
    """JSON values as a String column, and whether there are lists or objects among them.

    Text stays as it is, null is null, and the rest is JSON.
    """
    kinds = set(map(type, values))
    if not kinds <= {str, NoneType}:
        values = [
            v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False)
            for v in values
        ]
    try:
        series = pl.Series(name, values, dtype=pl.String)
    except UnicodeEncodeError:  # half of an escaped pair, such as "\ud83d"
        series = pl.Series(_whole(name), [v and _whole(v) for v in values], dtype=pl.String)
    return series, not kinds.isdisjoint({list, dict})


def _whole(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
