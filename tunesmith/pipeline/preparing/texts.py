"""The rows of a table of texts to classify, and their texts, clean.

A row's text is set apart from what else is known of the row (see `data.texts.stored`).
Does not know: labels, votes, duplicates, sides; but for how labels are to be balanced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from tunesmith.config import PrepareConfig
from tunesmith.data.columns import fields
from tunesmith.data.columns.choice import Columns, Roles, check_header, check_same, choose
from tunesmith.data.columns.fields import Field
from tunesmith.data.columns.templates import fill, names_in
from tunesmith.data.findings import counted, rows_finding
from tunesmith.data.journal import Journal
from tunesmith.data.likeness.fingerprints import keys
from tunesmith.data.reading.table import Table
from tunesmith.data.receipt import of_source
from tunesmith.data.sides import balance
from tunesmith.data.texts import sensitive
from tunesmith.data.texts.cleaning import LONGEST, chosen, clean
from tunesmith.data.texts.stored import Texts, taken_apart
from tunesmith.errors import ConfigError, DataError
from tunesmith.events import Decision
from tunesmith.pipeline.preparing.facts import Votes
from tunesmith.pipeline.preparing.rows import near_threshold, unsearched

SOURCES = pl.Enum(["table", "validation"])
_EXTRA = ("rater", "item", "group", "time")  # further columns of the rows, where there are any


@dataclass(kw_only=True)
class Work:
    """What is the same for all steps, and what they find out for the result."""

    config: PrepareConfig
    files: dict[str, Path]
    """The tables' places, by source."""
    columns: Columns
    fields: tuple[Field, ...]
    journal: Journal
    steps: tuple[str, ...]
    """Cleaning steps in use."""
    mask: tuple[str, ...]
    texts: Texts
    sensitive: dict[str, int] = field(default_factory=dict)
    votes: Votes | None = None
    soft: pl.DataFrame | None = None
    """Of rows with several labels: row, label, lines; see `votes.soft`."""
    near: int | None = None
    leaks: int = 0
    weighs: bool = True
    """Whether the training that follows can weigh labels in the loss."""

    @property
    def table(self) -> Path:
        return self.files["table"]

    @property
    def threshold(self) -> float:
        """Of near-duplicates; 0 where they are not looked for."""
        return near_threshold(self.config, len(self.texts))

    @property
    def names(self) -> tuple[str, ...]:
        """The table's columns with labels or votes."""
        return self.columns.labels or self.columns.votes

    @property
    def cells(self) -> list[str]:
        """These columns' names among the rows."""
        return [f"vote {number}" for number in range(len(self.names))]

    @property
    def settled(self) -> dict[str, Any]:
        """The settings about columns, as they were chosen."""
        columns, names = self.columns, self.columns.labels
        return {
            "task": "classify",
            "text": columns.text,
            "label": names[0] if len(names) == 1 else None,
            "annotators": names if len(names) > 1 else (),
            "votes": columns.votes,
            "rater": columns.rater,
            "group": columns.group,
        }

    def balanced(self, counts: Mapping[str, int]) -> tuple[balance.Mode, Decision]:
        """How labels of these sizes are balanced, and why so. Raises: ConfigError."""
        asked = self.config.balance
        mode, decision = balance.choose(counts, asked)
        if mode != "weight" or self.weighs:
            return mode, decision
        if asked == "weight":
            raise ConfigError(
                "A causal base model cannot weigh labels in the loss (--balance weight).",
                fix="Balance with --balance repeat, or tune an encoder.",
            )
        mode, decision = balance.choose(counts, "repeat")
        why = decision.reason.replace("as asked", "a causal base model cannot weigh labels")
        return mode, replace(decision, reason=why)

    def with_text(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the column `text`: in memory, whatever their number."""
        return rows.with_columns(self.texts.of_rows(rows["row"])["text"])


def settle_columns(
    config: PrepareConfig, tables: dict[str, Table], texts: Texts, journal: Journal
) -> Work:
    """The columns in use, and what else the settings say of the rows."""
    table, further = tables["table"], fields.parse(config.field)
    given = (config.text, config.label, *config.annotators, *config.votes)
    check_header(table, (*given, config.rater, config.group, config.time))
    columns = choose(
        table,
        text=config.text and config.text.replace("\\n", "\n"),  # as typed in a shell
        label=config.label,
        annotators=config.annotators,
        votes=config.votes,
        others=Roles(rater=config.rater, group=config.group, time=config.time),
    )
    journal.decide(columns.decisions)
    header = table.columns.columns
    fields.check(further, header, (columns.text, *columns.labels, *columns.votes))
    if validation := tables.get("validation"):
        check_header(validation, columns.needed(header))
        check_same(validation, columns)
        fields.check(further, validation.columns.columns, ())
    kinds = tuple(sensitive.KINDS) if config.mask == ("all",) else config.mask
    sensitive.mask(pl.Series([], dtype=pl.String), kinds)  # refuses unknown kinds
    return Work(
        config=config,
        files={source: table.path for source, table in tables.items()},
        columns=columns,
        fields=further,
        journal=journal,
        steps=chosen(config.clean),
        mask=kinds,
        texts=texts,
    )


def read_rows(tables: dict[str, Table], work: Work) -> pl.DataFrame:
    """row, source, line, votes, fields, fate, note, the columns of `_EXTRA`, and of each row's text
    `size` in characters (null: it has none), `key` and whether cleaning `changed` it.

    The texts go to `work.texts`. Takes the tables out of `tables`, so that their memory is freed
    piece by piece.
    """
    rows = pl.concat([_rows(table, source, work) for source, table in tables.items()])
    rows = rows.with_row_index("row")
    known, reading = [], _Reading()
    for source in list(tables):
        for raw in _raw_texts(tables, source, work):
            lines = rows["line"].slice(len(work.texts), len(raw))
            raw, note = reading.cut(raw, lines)
            texts = reading.clean(raw, lines, work)
            shown = sensitive.mask(raw, work.mask)[0] if work.mask else raw
            work.texts.add(texts, shown)
            known.append(_known_of(texts, shown).with_columns(note))
    reading.tell(len(work.texts), work)
    work.journal.decide(unsearched(work.config, len(work.texts)))
    rows = pl.concat([rows, pl.concat(known)], how="horizontal")
    return _with_fields(rows, work) if work.fields else rows


def _rows(table: Table, source: str, work: Work) -> pl.DataFrame:
    """The rows without their texts."""
    columns, none = work.columns, pl.repeat(None, len(table.lines), dtype=pl.String, eager=True)
    item = columns.id if columns.rater else None
    extra = (columns.rater, item, columns.group, columns.time)
    there = set(table.columns.columns)
    return pl.DataFrame(
        {
            "source": pl.repeat(source, len(table.lines), dtype=SOURCES, eager=True),
            "line": table.lines,
            **{cell: table.columns[n] for cell, n in zip(work.cells, work.names, strict=True)},
            **{
                place: table.columns[f.column]
                for place, f in zip(fields.places(work.fields), work.fields, strict=True)
            },
            **{
                role: table.columns[name] if name in there else none
                for role, name in zip(_EXTRA, extra, strict=True)
                if name
            },
            "fate": table.fates,
        }
    )


def _raw_texts(tables: dict[str, Table], source: str, work: Work) -> Iterator[pl.Series]:
    """The texts as they stand in the table, which is let go."""
    columns = tables.pop(source).columns
    pieces = taken_apart(columns.select(names_in(work.columns.text, columns.columns)))
    del columns
    for piece in pieces:
        yield fill(work.columns.text, piece)


def _known_of(texts: pl.Series, raw: pl.Series) -> pl.DataFrame:
    """size, key, changed."""
    frame = pl.DataFrame({"text": texts})
    there = texts.is_not_null()
    none = pl.repeat(None, len(texts), dtype=pl.UInt64, eager=True)
    return frame.select(
        pl.col("text").str.len_chars().alias("size"),
        none.scatter(there.arg_true(), keys(frame.filter(there))).alias("key"),
        (texts.ne_missing(raw) & raw.is_not_null()).alias("changed"),
    )


class _Reading:
    """Counts what is cleaned and found, over all pieces."""

    def __init__(self) -> None:
        self.changed: Counter[str] = Counter()
        self.masked: Counter[str] = Counter()
        self.held: dict[str, sensitive.Held] = {}
        self.long: list[int] = []

    def cut(self, raw: pl.Series, lines: pl.Series) -> tuple[pl.Series, pl.Series]:
        """The texts without what is beyond the longest text, and the rows' `note` of that."""
        note = pl.repeat(None, len(raw), dtype=pl.String, eager=True).alias("note")
        long = (raw.str.len_bytes() > LONGEST).fill_null(False)  # as a rule none, and quickly seen
        if long.any():
            long &= raw.str.len_chars() > LONGEST
            self.long.extend(lines.filter(long))
            raw = raw.str.head(LONGEST)
            note = note.scatter(long.arg_true(), f"cut to {LONGEST:,} characters")
        return raw, note

    def clean(self, raw: pl.Series, lines: pl.Series, work: Work) -> pl.Series:
        """Clean texts, null where nothing is left; sensitive data noted, and replaced if asked."""
        texts, counts = clean(raw, work.steps)
        self.changed.update(counts)
        for kind, held in sensitive.held(texts, lines).items():
            before = self.held.setdefault(kind, held)
            if before is not held:
                before.lines += held.lines
        if work.mask:
            texts, counts = sensitive.mask(texts, work.mask)
            self.masked.update(counts)
        return texts.to_frame("text").select(pl.when(pl.col("text") != "").then("text"))["text"]

    def tell(self, num_rows: int, work: Work) -> None:
        """Note it all in the journal."""
        fix = "What is beyond that is not looked at."
        what = f"whose text is longer than {LONGEST:,} characters and cut there"
        work.journal.find(rows_finding(self.long, what, fix))
        work.sensitive = {kind: len(held.lines) for kind, held in self.held.items()}
        if changed := self.changed.pop("texts", 0):
            value = f"{changed:,} of {counted(num_rows, 'text')} changed"
            reason = _kinds(self.changed)
            work.journal.decide([Decision(what="clean-up", value=value, reason=reason)])
        if work.mask:
            value = f"replaced in {counted(self.masked.pop('texts', 0), 'text')}"
            reason = _kinds(self.masked) or "none"
            work.journal.decide([Decision(what="sensitive data", value=value, reason=reason)])
        else:
            work.journal.find(sensitive.findings(self.held))


def _kinds(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} in {number:,}" for kind, number in counts.items() if number)


def _with_fields(rows: pl.DataFrame, work: Work) -> pl.DataFrame:
    """The rows, their texts with the fields above them; that takes all texts into memory."""
    form = fields.learn(of_source(rows, "table"), work.fields)
    both = rows.select("row").with_columns(work.texts.of_rows(rows["row"]))
    texts, step = fields.render(
        rows.with_columns(both["text"]), form, empty_text=work.config.empty_text
    )
    raw = both.select(pl.coalesce("raw", "text"))["raw"]
    work.texts = Texts.of(texts, raw)
    rows = rows.with_columns(_known_of(texts, raw))
    return work.journal.take(rows, step)


def row_times(live: pl.DataFrame, work: Work) -> pl.Series:
    """The time of each row as a number, a date or a time; null where it cannot be read."""
    if "time" not in live.columns:
        raise DataError(
            "No column looks like a time, by which to split.",
            fix="Name it with --time.",
            path=work.table,
        )
    cells = live["time"]
    numbers = cells.cast(pl.Float64, strict=False)
    if numbers.null_count() <= cells.null_count():
        return numbers
    return cells.str.to_datetime(strict=False, time_zone="UTC", ambiguous="earliest")
