"""Reads a table: CSV, TSV, JSON Lines or Parquet; each row with the line it starts on.

Every value comes out as text; a row that cannot be used is kept with the reason.
Does not know: which column is the text or the label.
"""

from __future__ import annotations

import difflib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from tunesmith.data import delimited
from tunesmith.data.delimited import Delimited
from tunesmith.data.findings import Finding, counted
from tunesmith.errors import DataError, NotFound, storage_error
from tunesmith.events import Decision

NOT_AN_OBJECT = "dropped: not a JSON object"
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A file's rows. All three hold one entry a row, in the file's order."""

    path: Path
    columns: pl.DataFrame
    """The file's columns under their own names, all String, null where there is no value."""
    lines: pl.Series
    """Int64: 1-based line on which the row starts; in Parquet, the row's number."""
    fates: pl.Series
    """String: null, or why the row cannot be used."""
    header_line: int | None
    """Line of the column names; None where the format names columns in another way."""
    decisions: tuple[Decision, ...]
    findings: tuple[Finding, ...]


def read(path: Path) -> Table:
    """The table in a file, whatever of the four formats it has.

    Raises: NotFound; DataError for a file that is no table with rows and at least two columns;
    StorageError when it may not be read.
    """
    raw = _content(path)
    if raw.startswith(b"PAR1") or path.suffix.lower() == ".parquet":
        table = _parquet(raw, path)
    else:
        text, encoding, why, findings = delimited.decode(raw, path)
        is_json = path.suffix.lower() in _JSON_SUFFIXES or text.lstrip()[:1] == "{"
        table = _json_lines(text, path) if is_json else _delimited(text, path)
        form = table.decisions[0]
        form = Decision(
            what=form.what, value=f"{form.value}, {encoding}", reason=f"{form.reason}; {why}"
        )
        table = replace(
            table,
            decisions=(form, *table.decisions[1:]),
            findings=(*findings, *table.findings),
        )
    if table.columns.width < 2:
        raise DataError(
            "The table has one column only; a text and a label column are needed.",
            fix="Add the column with the labels.",
            path=path,
        )
    if not table.columns.height:
        raise DataError(
            "The table has column names but no rows.", fix="Add rows below them.", path=path
        )
    return table


def require_file(path: Path) -> None:
    """Raise NotFound when there is no such file, DataError when it is a folder."""
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")
        fix = f"Give one of the files in it, such as {inside[0]}." if inside else "Give a file."
        raise DataError(f"{path} is a folder, not a table.", fix=fix)
    if not path.exists():
        raise NotFound(f"There is no file {path}.", fix=_nearest_file(path))


def _content(path: Path) -> bytes:
    require_file(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise storage_error(error, path) from None
    if not raw.strip(b"\xef\xbb\xbf \t\r\n"):
        raise DataError(
            "The file is empty.", fix="Give a table with a header line and rows.", path=path
        )
    return raw


def _nearest_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {folder} either; check the path."
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name[0] != ".")
    if near := difflib.get_close_matches(path.name, names, n=1, cutoff=0.5):
        return f"Did you mean {folder / near[0]}?"
    return "Check the path."


def _delimited(text: str, path: Path) -> Table:
    parsed, why, decisions = delimited.parse(text, path)
    value = f"separated by {delimited.SEPARATORS[parsed.separator]}s"
    columns, renamed, joined = _name_columns(parsed, path)
    fates = _no_fates(len(parsed.lines))
    if parsed.fates:
        fates = fates.scatter(list(parsed.fates), list(parsed.fates.values()))
    return Table(
        path=path,
        columns=columns,
        lines=pl.Series(parsed.lines, dtype=pl.Int64),
        fates=fates,
        header_line=parsed.header_line,
        decisions=(Decision(what="table", value=value, reason=why), *decisions, *renamed),
        findings=(*parsed.findings, *joined),
    )


def _name_columns(
    parsed: Delimited, path: Path
) -> tuple[pl.DataFrame, list[Decision], list[Finding]]:
    """Columns under the header's names; unnamed ones named, or left out when empty.

    Values in unnamed columns at the end are the rest of a text that was not quoted when some
    other program saved it: they are put back where they were cut off.
    """
    header, columns = parsed.header, parsed.columns
    for index, name in enumerate(header):
        if name and name in header[:index]:
            raise DataError(
                f"The header names two columns {name!r}.",
                fix="Rename one of them.",
                path=path,
                line=parsed.header_line,
            )
    filled = columns.select((pl.all().fill_null("").str.strip_chars() != "").sum()).row(0)
    end = max((index for index, name in enumerate(header) if name), default=-1) + 1
    decisions, findings = [], []
    if spilled := [str(i) for i in range(end, len(header)) if filled[i]] if end else []:
        columns, finding = _join_spilled(parsed, str(end - 1), spilled)
        findings.append(finding)
    empty = [i for i, name in enumerate(header) if not name and not filled[i]]
    if empty:
        number = counted(len(empty), "column without a name", "columns without a name")
        decisions.append(
            Decision(what="columns", value=f"{number} left out", reason="no row has a value there")
        )
    kept = [i for i in range(len(header)) if i not in empty and str(i) not in spilled]
    names = {str(i): header[i] or f"column {i + 1}" for i in kept}
    return columns.select(*names).rename(names), decisions, findings


def _join_spilled(parsed: Delimited, last: str, spilled: list[str]) -> tuple[pl.DataFrame, Finding]:
    """The columns with what spilled over put back into column `last`."""
    values = [pl.col(key).fill_null("") for key in (last, *spilled)]
    whole = pl.concat_str(values, separator=parsed.separator).str.strip_chars_end(parsed.separator)
    over = pl.any_horizontal(pl.col(key).fill_null("").str.strip_chars() != "" for key in spilled)
    lines = pl.Series(parsed.lines).filter(parsed.columns.select(over.alias("over"))["over"])
    columns = parsed.columns.with_columns(
        pl.when(over).then(whole).otherwise(pl.col(last)).alias(last)
    )
    name = parsed.header[int(last)]
    what = (
        f"{counted(len(lines), 'row goes', 'rows go')} on in the columns without a name after "
        f"{name!r}, first on line {lines[0]:,}; the pieces were put together again."
    )
    return columns, Finding("warning", lines[0], what, "Put such values in double quotes.")


def _json_lines(text: str, path: Path) -> Table:
    if text.lstrip()[:1] == "[":
        raise DataError(
            "The file holds one JSON list; JSON Lines are needed.",
            fix="Write one object on each line, with no brackets and commas around them.",
            path=path,
        )
    records: list[dict[str, Any]] = []
    lines: list[int] = []
    broken: list[tuple[int, int]] = []
    findings: list[Finding] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            broken.append((len(lines), number))
            record = {}
        records.append(record)
        lines.append(number)
    if len(broken) * 10 > len(lines):
        raise DataError(
            f"{counted(len(broken), 'line is', 'lines are')} no JSON object; this is the first.",
            fix='Write one object a line, such as {"text": "…", "label": "…"}.',
            path=path,
            line=broken[0][1],
        )
    fates = _no_fates(len(lines))
    for index, number in broken:
        fates[index] = NOT_AN_OBJECT
        what = f"Line {number:,} is no JSON object; it is left out."
        findings.append(Finding("warning", number, what, "Is it cut short, or a quote missing?"))
    names = dict.fromkeys(name for record in records for name in record)
    return Table(
        path=path,
        columns=pl.DataFrame([_strings(name, (r.get(name) for r in records)) for name in names]),
        lines=pl.Series(lines, dtype=pl.Int64),
        fates=fates,
        header_line=None,
        decisions=(Decision(what="table", value="JSON Lines", reason="each line is an object"),),
        findings=tuple(findings),
    )


def _strings(name: str, values: Iterable[Any]) -> pl.Series:
    """JSON values as a String column: text as it is, null as null, the rest as JSON."""
    plain = [
        v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values
    ]
    try:
        return pl.Series(name, plain, dtype=pl.String)
    except UnicodeEncodeError:  # half of an escaped pair, such as "\ud83d"
        whole = [
            v and v.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for v in plain
        ]
        return pl.Series(name, whole, dtype=pl.String)


def _parquet(raw: bytes, path: Path) -> Table:
    if not raw.startswith(b"PAR1"):
        raise delimited.not_text(path, "is named .parquet but is no Parquet file")
    cut_short = DataError(
        "The Parquet file is cut short or damaged.", fix="Copy or save it again.", path=path
    )
    if not raw.endswith(b"PAR1"):
        raise cut_short
    try:
        frame = pl.read_parquet(io.BytesIO(raw))
    except (pl.exceptions.PolarsError, OSError):
        raise cut_short from None
    nested = [n for n, t in frame.schema.items() if t.is_nested() or t in (pl.Binary, pl.Object)]
    decisions = [Decision(what="table", value="Parquet", reason="it starts with the Parquet mark")]
    if nested:
        names = ", ".join(map(repr, nested))
        decisions.append(
            Decision(what="columns", value=f"{names} left out", reason="they hold no plain values")
        )
    return Table(
        path=path,
        columns=frame.drop(nested).cast(pl.String),
        lines=pl.int_range(1, frame.height + 1, eager=True),
        fates=_no_fates(frame.height),
        header_line=None,
        decisions=tuple(decisions),
        findings=(),
    )


def _no_fates(num_rows: int) -> pl.Series:
    return pl.repeat(None, num_rows, dtype=pl.String, eager=True)
