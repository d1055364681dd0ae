"""Makes OpenAI's examples, one a row, of a table whose chat shape is known.

Knows: which part of an example each column holds, and what to tell of rows that give none.
Does not know: how a shape is recognised, how a conversation is spelled, files, splits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from json import JSONEncoder

import polars as pl

from tunesmith.data.chat import conversations
from tunesmith.data.chat.conversations import Example, Unfit, turns
from tunesmith.data.chat.shapes import Shape, blank_as_null, filled
from tunesmith.data.findings import Finding, counted, enumerated, rows_finding
from tunesmith.data.reading.table import Table

_PLACEHOLDER = r"\{\{\s*[A-Za-z_]\w*\s*\}\}"
_WRITE = JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def examples(table: Table, shape: Shape) -> tuple[pl.Series, tuple[Finding, ...], pl.Series]:
    """One example a row, as a line of JSON; what was noticed; and why rows gave no example.

    Returns: String, null where the row gives no example; findings; fates, String, null where it
    does, else `dropped: …` (or the fate it has in the table).
    """
    if shape.kind == "text" or shape.mark or _is_flat(shape):
        lines, fates = _flat(table, shape)
        findings = _gap_findings(table, fates)
    else:
        lines, fates, findings = _each(table, shape)
    findings += _placeholders(table, lines)
    if shape.kind == "text":
        what = "The texts have no prompts and answers; they are taken as plain text to continue."
        findings = (Finding("info", None, what), *findings)
    others = [name for name in table.columns.columns if name not in shape.columns.values()]
    has_cells = table.columns.select(filled(name).is_not_null().any() for name in others)
    if unused := [column.name for column in has_cells if column.item()]:
        names = enumerated(map(repr, unused))
        what = f"{counted(len(unused), 'column is', 'columns are')} not used: {names}."
        findings += (Finding("info", None, what),)
    return lines, findings, fates


def _is_flat(shape: Shape) -> bool:
    """Whether the cells are plain texts, so that the rows need not be gone through one by one."""
    return "answer" in shape.columns and not {"history", "tools"} & shape.columns.keys()


def _flat(table: Table, shape: Shape) -> tuple[pl.Series, pl.Series]:
    """Lines and fates of pairs and plain texts."""
    part = {name: filled(column) for name, column in shape.columns.items()}
    prompt, answer = pl.lit("", dtype=pl.String), part["text" if "text" in part else "answer"]
    if shape.mark:
        start = answer.str.extract(f"(?s)^(.*{shape.mark})", 1)  # no mark has special characters
        rest = answer.str.slice(start.str.len_chars()).str.strip_chars_start()
        prompt, answer = start, blank_as_null(rest)
    elif shape.kind == "chat":
        given = [part[name] for name in ("prompt", "context") if name in part]
        prompt = blank_as_null(pl.concat_str(given, separator="\n\n", ignore_nulls=True))
    no_text = part["text"].is_null() if "text" in part else pl.lit(False)
    fate = (
        pl.when(no_text)
        .then(pl.lit("dropped: no text"))
        .when(prompt.is_null())
        .then(pl.lit("dropped: no prompt"))
        .when(answer.is_null())
        .then(pl.lit("dropped: no answer"))
    )
    if shape.kind == "text":
        line = pl.struct(prompt=prompt, completion=answer).struct.json_encode()
    else:
        said = [_message("user", prompt), _message("assistant", answer)]
        if "system" in part:
            said.insert(0, _message("system", part["system"]))
        messages = pl.concat_str(said, separator=",", ignore_nulls=True)
        line = pl.concat_str(pl.lit('{"messages":['), messages, pl.lit("]}"))
    made = table.columns.select(
        pl.coalesce(table.fates, fate).alias("fate"), line.alias("line")
    ).with_columns(pl.when(pl.col("fate").is_null()).then("line").alias("line"))
    return made["line"], made["fate"]


def _message(role: str, content: pl.Expr) -> pl.Expr:
    """A message as JSON, null where it has no content."""
    message = pl.struct(role=pl.lit(role), content=content).struct.json_encode()
    return pl.when(content.is_not_null()).then(message)


def _gap_findings(table: Table, fates: pl.Series) -> tuple[Finding, ...]:
    findings: tuple[Finding, ...] = ()
    for what in ("prompt", "answer", "text"):
        is_gap = table.fates.is_null() & (fates == f"dropped: no {what}").fill_null(False)
        findings += rows_finding(table.lines.filter(is_gap), f"with no {what}", "Left out.")
    return findings


def _each(table: Table, shape: Shape) -> tuple[pl.Series, pl.Series, tuple[Finding, ...]]:
    """Lines, fates and findings of rows that have to be parsed."""
    make = {"messages": _from_turns, "chosen": _from_answers, "answer": _from_pair}
    convert = next(made for part, made in make.items() if part in shape.columns)
    notes = _Notes()
    lines: list[str | None] = []
    fates: list[str | None] = []
    for number, fate, parts in _cells(table, shape):
        line = None
        if fate is None:
            try:
                line = _WRITE(convert(parts, number, notes))
            except Unfit as unfit:
                fate = notes.drop(number, unfit)
            except RecursionError:
                fate = notes.drop(number, Unfit("nested too deeply"))
        lines.append(line)
        fates.append(fate)
    dtype = pl.String
    return pl.Series(lines, dtype=dtype), pl.Series(fates, dtype=dtype), notes.findings()


def _cells(table: Table, shape: Shape) -> Iterator[tuple[int, str | None, dict[str, str]]]:
    """Line, fate, and part → cell (empty where there is none) of each row."""
    rows = table.columns.select(
        pl.col(column).fill_null("").alias(part) for part, column in shape.columns.items()
    ).iter_rows(named=True)
    yield from zip(table.lines, table.fates, rows, strict=True)


@dataclass
class _Notes:
    """Line numbers of what is noticed while going through the rows."""

    dropped: dict[str, list[int]] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    keys: Counter[str] = field(default_factory=Counter)
    first_with_keys: int | None = None

    def drop(self, line: int, unfit: Unfit) -> str:
        """Note the row; its fate."""
        self.dropped.setdefault(unfit.why, []).append(line)
        self.details.setdefault(unfit.why, unfit.detail)
        return f"dropped: {unfit.why}"

    def see(self, line: int, listed: Sequence[conversations.Turn]) -> None:
        """Note keys of turns that no message has."""
        if keys := conversations.unknown_keys(listed):
            self.keys.update(keys)
            self.first_with_keys = self.first_with_keys or line

    def findings(self) -> tuple[Finding, ...]:
        found: tuple[Finding, ...] = ()
        for why, lines in self.dropped.items():
            detail = self.details[why]
            fix = f"Left out. Line {lines[0]:,}: {detail}" if detail else "Left out."
            found += rows_finding(lines, f"cannot be used ({why})", fix)
        what = "with turns after the assistant's last one, which are left out"
        found += rows_finding(self.cut, what, "Nothing can be learned from them.")
        if self.keys:
            names = enumerated(f"{key!r} ({counted(n, 'row')})" for key, n in self.keys.items())
            what = f"Keys of turns that OpenAI's messages do not have are left out: {names}."
            found += (Finding("info", self.first_with_keys, what),)
        return found


def _from_turns(parts: Mapping[str, str], line: int, notes: _Notes) -> Example:
    listed = turns(parts["messages"])
    if not listed:
        raise Unfit("no list of turns", conversations.why_no_turns(parts["messages"]))
    example = conversations.chat(
        listed, system=parts.get("system", ""), tools=parts.get("tools", "")
    )
    notes.see(line, listed)
    if conversations.ends_unanswered(listed):
        notes.cut.append(line)
    return example


def _from_answers(parts: Mapping[str, str], line: int, notes: _Notes) -> Example:
    for part in ("chosen", "rejected"):
        if not parts[part].strip():
            raise Unfit(f"no {part} answer")
    example = conversations.preference(
        _whole_prompt(parts),
        parts["chosen"],
        parts["rejected"],
        system=parts.get("system", ""),
        tools=parts.get("tools", ""),
    )
    for part in ("prompt", "chosen", "rejected"):
        notes.see(line, turns(parts.get(part, "")) or ())
    return example


def _from_pair(parts: Mapping[str, str], line: int, notes: _Notes) -> Example:
    prompt = _whole_prompt(parts)
    for what, cell in (("prompt", prompt), ("answer", parts["answer"])):
        if not cell.strip():
            raise Unfit(f"no {what}")
    return conversations.pair(
        prompt,
        parts["answer"],
        system=parts.get("system", ""),
        history=parts.get("history", ""),
        tools=parts.get("tools", ""),
    )


def _whole_prompt(parts: Mapping[str, str]) -> str:
    return "\n\n".join(filter(str.strip, (parts.get("prompt", ""), parts.get("context", ""))))


def _placeholders(table: Table, lines: pl.Series) -> tuple[Finding, ...]:
    """A finding on blanks that somebody forgot to fill in."""
    has = lines.str.contains(_PLACEHOLDER).fill_null(False)
    names = lines.filter(has).str.extract_all(_PLACEHOLDER).explode().unique().sort()
    what = f"with placeholders such as {enumerated(names, shown=3)}"
    fix = "The model will learn to say them as they stand; fill them in first."
    return rows_finding(table.lines.filter(has), what, fix)
