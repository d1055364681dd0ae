"""Reads a table of any format from a file, folder or URL; each row with the line it starts on.

Every value comes out as text; a row that cannot be used is kept with the reason.
Does not know: which column is the text or the label.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import polars as pl

from tunesmith.data.findings import Finding, counted
from tunesmith.data.reading import columnar, delimited, excel, records
from tunesmith.data.reading.content import (
    Content,
    files_of,
    is_dataset,
    is_url,
    open_source,
    refused,
    require_file,
)
from tunesmith.data.reading.delimited import Delimited
from tunesmith.data.reading.encoding import Text, decode
from tunesmith.data.reading.table import Table, named, no_fates
from tunesmith.data.reading.trial import require_survival
from tunesmith.errors import ConfigError, DataError, storage_errors
from tunesmith.events import Decision

__all__ = ["Table", "files_of", "read", "require_file"]

_JSON = re.compile(r"\ufeff?\s*(\{|\[\s*[\[{\]])")


def read(source: Path | str, *, encoding: str | None = None, sheet: str | None = None) -> Table:
    """The table in a file, in a folder that `datasets` saved, or at a URL (which must be a str).

    `encoding` is Python's name of a text file's encoding, where the detected one is wrong; `sheet`
    names the part to read where there are several: a workbook's sheet, a data set's split, a JSON
    object's list.
    Raises: NotFound; DataError for what is no table with rows, and for delimited text and workbooks
    with one column only (elsewhere that may be a conversation or a whole text a row); ConfigError
    for an encoding or sheet that is not there; MissingExtra when a library to fetch or unpack it
    is not installed; StorageError when it may not be read.
    """
    path = Path(source)
    with storage_errors(path):
        if not is_url(source) and path.is_dir() and is_dataset(path):
            table = columnar.read_folder(path, sheet)
        else:
            table = _table(open_source(source), encoding, sheet)
    if not table.columns.width:
        raise DataError(
            "No row of the table has a value.",
            fix='Write rows such as {"text": "…", "label": "…"}.',
            path=table.path,
        )
    if not table.columns.height:
        raise DataError(
            "The table has column names but no rows.", fix="Add rows below them.", path=table.path
        )
    return table


def _table(content: Content, encoding: str | None, sheet: str | None) -> Table:
    if excel.is_workbook(content):
        require_survival(content, sheet)
        table = excel.read(content, sheet)
    elif columnar.is_columnar(content):
        _refuse_sheet(sheet, content)
        require_survival(content)
        table = columnar.read(content)
    elif content.head.startswith(b"%PDF"):
        raise refused(content.path, "is a PDF file")
    else:
        table = _text_table(decode(content, encoding), sheet)
    return replace(table, decisions=(*content.decisions, *table.decisions))


def _text_table(text: Text, sheet: str | None) -> Table:
    with text.open() as file:
        start = file.read(10_000)
    if text.content.suffix in records.SUFFIXES or _JSON.match(start):
        table = records.read(text, sheet)
    else:
        _refuse_sheet(sheet, text.content)
        table = _delimited(text)
    form = table.decisions[0]
    form = Decision(
        what=form.what, value=f"{form.value}, {text.name}", reason=f"{form.reason}; {text.reason}"
    )
    return replace(
        table,
        decisions=(form, *table.decisions[1:]),
        findings=(*text.findings, *table.findings),
    )


def _refuse_sheet(sheet: str | None, content: Content) -> None:
    if sheet is not None:
        raise ConfigError(
            f"{content.path} has no sheets, so there is none named {sheet!r}.", fix="Leave it out."
        )


def _delimited(text: Text) -> Table:
    path = text.content.path
    parsed, why, decisions = delimited.parse(text)
    value = f"separated by {delimited.SEPARATORS[parsed.separator]}s"
    header, columns, joined = _join_spilled(parsed)
    columns, renamed = named(columns, header, path, parsed.header_line)
    fates = no_fates(len(parsed.lines))
    if parsed.fates:
        fates = fates.scatter(list(parsed.fates), list(parsed.fates.values()))
    return Table(
        path=path,
        columns=columns,
        lines=parsed.lines,
        fates=fates,
        header_line=parsed.header_line,
        decisions=(Decision(what="table", value=value, reason=why), *decisions, *renamed),
        findings=(*parsed.findings, *joined),
    )


def _join_spilled(parsed: Delimited) -> tuple[list[str], pl.DataFrame, list[Finding]]:
    """Header and columns with what spilled over put back into the last column with a name.

    Values in unnamed columns at the end are the rest of a text that was not quoted when some
    other program saved it: they are put back where they were cut off.
    """
    header, columns = parsed.header, parsed.columns
    end = max((index for index, name in enumerate(header) if name), default=-1) + 1
    spilled = [str(index) for index in range(end, len(header))]
    if not end or not spilled:
        return header, columns, []
    is_over = pl.any_horizontal(
        pl.col(key).fill_null("").str.strip_chars() != "" for key in spilled
    )
    over = columns.select(is_over.alias("over"))["over"]
    if not over.any():
        return header, columns, []
    last = str(end - 1)
    values = [pl.col(key).fill_null("") for key in (last, *spilled)]
    whole = pl.concat_str(values, separator=parsed.separator).str.strip_chars_end(parsed.separator)
    lines = parsed.lines.filter(over)
    joined = pl.when(over).then(whole).otherwise(pl.col(last)).alias(last)
    columns = columns.with_columns(joined).drop(spilled)
    what = (
        f"{counted(len(lines), 'row goes', 'rows go')} on in the columns without a name after "
        f"{header[end - 1]!r}, first on line {lines[0]:,}; the pieces were put together again."
    )
    finding = Finding("warning", lines[0], what, "Put such values in double quotes.")
    return header[:end], columns, [finding]
