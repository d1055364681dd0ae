"""One text out of several columns, by a template such as "{subject}\\n\\n{body}".

Knows: names in braces, and what goes when a cell is empty.
Does not know: which columns a table has, or which of them are worth joining.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from operator import or_

import polars as pl

_NAME = re.compile(r"\{([^{}]+)\}")
_SEPARATORS = " \t,;:|/·-–—"


def names_in(template: str, header: Sequence[str]) -> tuple[str, ...]:
    """The columns that a template, or a plain column name, asks for; each once, in order.

    A template that is itself a name in `header`, or that has no braces, is a plain name.
    """
    found = tuple(dict.fromkeys(_NAME.findall(template)))
    return (template,) if template in header or not found else found


def fill(template: str, columns: pl.DataFrame) -> pl.Series:
    """The text of each row: `template` with the cells in place of the names in braces.

    template  a column's name, or a text with columns' names in braces.
    columns   String columns, at least those that the template names.

    A missing cell (null or blank) leaves nothing dangling: the words before its name go with it,
    and a line of which all cells are missing goes with the blank lines before it. Null where all
    cells are missing.
    """
    names = names_in(template, columns.columns)
    if names == (template,):
        return columns[template].alias("text")
    lines: list[pl.Expr] = []
    gap = ""
    for line in template.split("\n"):
        gap += "\n"
        if line.strip():
            there = _any_there(_NAME.findall(line) or names)
            lines.append(pl.when(there).then(pl.concat_str(pl.lit(gap), _line(line))))
            gap = ""
    text = pl.concat_str(lines, ignore_nulls=True).str.strip_chars()
    return columns.select(pl.when(_any_there(names)).then(text).alias("text"))["text"]


def _line(line: str) -> pl.Expr:
    """One line of a template, with at least one of its cells there."""
    # The pattern splits into words, name, words, name, …, words.
    parts = _NAME.split(line)
    words, names, end = parts[:-1:2], parts[1::2], parts[-1]
    if not names:
        return pl.lit(line)
    pieces: list[pl.Expr] = []
    for place, (before, name) in enumerate(zip(words, names, strict=True)):
        opening = pl.lit(before)
        if place:
            trimmed = pl.lit(before.lstrip(_SEPARATORS))
            opening = pl.when(_any_there(names[:place])).then(opening).otherwise(trimmed)
        piece = [opening, pl.col(name).str.strip_chars()]
        if place == len(names) - 1:
            piece.append(pl.lit(end))
        pieces.append(pl.when(_any_there([name])).then(pl.concat_str(piece)))
    return pl.concat_str(pieces, ignore_nulls=True).str.strip_chars()


def _any_there(names: Sequence[str]) -> pl.Expr:
    return reduce(or_, (pl.col(n).fill_null("").str.strip_chars() != "" for n in names))
