"""Further columns as part of the text: a line `priority: high` for each, above or below it.

A tuned model has to be asked in the same form, so the form is stated and stable, cleaning leaves
it as it is, and whatever it takes from the table (a mean, say) is learned once and kept with it.
Knows: cells, what stands for a missing value, how numbers are written.
Does not know: how the text column was found, what the labels mean, tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl

from tunesmith.data.columns.profiles import PLACEHOLDERS
from tunesmith.data.findings import Finding, counted, percent, rows_finding
from tunesmith.data.receipt import Step, undecided, verdict
from tunesmith.data.texts.cleaning import clean, clean_text
from tunesmith.errors import ConfigError, nearest
from tunesmith.events import Decision

How = Literal["omit", "drop", "fill", "own"]
Where = Literal["above", "below"]

UNKNOWN = "unknown"
"""The category of rows without a value, with `own`."""
MOST_FREQUENT = "most-frequent"
_AVERAGES = ("mean", "median")
_SPEC = re.compile(r"(.+?)=(omit|drop|fill|own)(?::(.*))?", re.DOTALL)
_NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$"
_WHOLE = r"^[+-]?[0-9]+(?:\.0*)?$"
_CODE = r"^[+-]?0[0-9]"  # leading zeros: a postcode or an id, which must keep them
_MOSTLY = 0.9  # of the filled cells are numbers in a column of numbers
_DIGITS = 6  # that count, in a number with a fraction
_GIVEN_AWAY = 0.99  # of the rows have the label that their value of a field usually comes with
_SAMPLE = 100_000  # rows looked at for that, spread over the whole table
_ROWS_A_VALUE = 5  # on average, before a field can be said to give the label away


@dataclass(frozen=True)
class Field:
    """A column that becomes part of the text, and what happens where it has no value.

    how  omit: no line for it in that row; drop: the row is left out; own: the category
         `unknown`; fill: `value` stands in (for numbers also mean, median; most-frequent).
    """

    column: str
    how: How = "omit"
    value: str = ""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A field as one table settled it; applied to another table, it does the same."""

    column: str
    name: str
    """The column's name as it stands in the text: cleaned, on one line."""
    how: How
    value: str
    """What stands in for a missing value with fill and own, as it is written in the text."""
    is_number: bool


@dataclass(frozen=True, kw_only=True)
class Form:
    """How fields and text are put together."""

    fields: tuple[Learned, ...]
    where: Where
    decisions: tuple[Decision, ...] = ()
    findings: tuple[Finding, ...] = ()


def parse(specs: Sequence[str]) -> tuple[Field, ...]:
    """`["priority", "age=fill:median"]` as fields. NAME, or NAME=omit|drop|fill:VALUE|own.

    Raises: ConfigError for anything else, and for a column named twice.
    """
    fields = tuple(_parsed(spec) for spec in specs)
    columns = [field.column for field in fields]
    if twice := next((name for name in columns if columns.count(name) > 1), None):
        raise ConfigError(f"The field {twice!r} is given twice.", fix="Give it once.")
    return fields


def check(fields: Sequence[Field], columns: Iterable[str], used: Iterable[str]) -> None:
    """Raise ConfigError for a field that is no column, or that is text or label already.

    columns  the table's columns.
    used     the columns of the text and of the labels.
    """
    columns, used = list(columns), set(used)
    for field in fields:
        if field.column not in columns:
            raise ConfigError(
                f"There is no column {field.column!r} for --field.",
                fix=nearest(field.column, columns),
            )
        if field.column in used:
            raise ConfigError(
                f"The column {field.column!r} is given as a field, but is the text or the label.",
                fix="Leave it out of --field.",
            )


def places(fields: Sequence[Field] | Sequence[Learned]) -> list[str]:
    """Names, among the rows' columns, of the fields' cells."""
    return [f"field {number}" for number in range(len(fields))]


def learn(rows: pl.DataFrame, fields: Sequence[Field], *, where: Where = "above") -> Form:
    """Settle from the table's own rows how each field is written and what fills its gaps.

    rows   the cells, one String column for each of `places(fields)`.
    where  above the text: where a long text is cut, it is cut at its end.
    Raises: ConfigError for a mean or median of a column that is not numbers, and for a filling
    taken from a column without values.
    """
    values = {place: _known(rows[place]).drop_nulls() for place in places(fields)}
    learned = tuple(
        _learned(field, known) for field, known in zip(fields, values.values(), strict=True)
    )
    pairs = list(zip(learned, values.values(), strict=True))
    what = "The column {!r}, given as a field, has no value in any row."
    return Form(
        fields=learned,
        where=where,
        decisions=tuple(_decision(field, known, rows.height, where) for field, known in pairs),
        findings=tuple(
            Finding("warning", None, what.format(field.column), "Leave it out of --field.")
            for field, known in pairs
            if known.is_empty()
        ),
    )


def render(
    rows: pl.DataFrame, form: Form, *, empty_text: Literal["fields", "drop"] = "fields"
) -> tuple[pl.Series, Step]:
    """The texts with their fields, and a step that takes out rows whose policy is to drop them.

    rows        row, source, line, fate, text (cleaned, null where there is none), and the cells
                in `places(form.fields)`; all rows of one table or several.
    empty_text  of a row without a text: its fields alone, where one of them has a value of its
                own, or nothing.
    Returns a String series as long as `rows`, null where there is neither; cleaning leaves it as
    it is. The step tells what was decided and found in learning the form, too.
    """
    if not form.fields:
        return rows["text"], Step(verdicts=verdict(rows.clear(), ""))
    known = pl.DataFrame(
        [
            _written(_known(rows[place]), field.is_number).alias(place)
            for place, field in zip(places(form.fields), form.fields, strict=True)
        ]
    )
    made = known.with_columns(rows["text"]).select(*_made(form, empty_text == "fields"))
    taken_out = _dropped(rows, known, form)
    left = undecided(rows.filter(made["alone"])).join(taken_out.verdicts, on="row", how="anti")
    fix = "Their fields alone are the text; with --empty-text drop they are left out."
    return made["text"], Step(
        verdicts=taken_out.verdicts,
        decisions=form.decisions,
        findings=(
            *form.findings,
            *taken_out.findings,
            *_by_source(left, "without a text, but with fields", fix),
        ),
    )


def giveaways(rows: pl.DataFrame, form: Form) -> list[Finding]:
    """Fields whose value says the label already, as an id of the label does (rows: label, cells).

    Such a column is often filled in after the label is known, and then a model that leans on it
    fails when it is put to use.
    """
    findings = []
    sample = rows.gather_every(max(1, rows.height // _SAMPLE))
    for place, field in zip(places(form.fields), form.fields, strict=True):
        cells = sample.select("label", _known(rows[place]).alias("value")).drop_nulls()
        values = cells.group_by("value", "label").len().group_by("value").agg(pl.col("len").max())
        if cells.is_empty() or cells.height < _ROWS_A_VALUE * values.height:
            continue
        share = int(values["len"].sum()) / cells.height
        most = cells.group_by("label").len().select(pl.col("len").max()).item() / cells.height
        if share >= _GIVEN_AWAY > most:
            what = f"The field {field.column!r} alone tells the label in {percent(share)} of rows."
            fix = "If it is not known before the label is, leave it out of --field."
            findings.append(Finding("warning", None, what, fix))
    return findings


def _parsed(spec: str) -> Field:
    if "=" not in spec and spec.strip():
        return Field(spec.strip())
    match = _SPEC.fullmatch(spec.strip())
    if not match:
        how = spec.rpartition("=")[2].partition(":")[0]
        raise ConfigError(
            f"--field {spec!r} is not of the form NAME or NAME=omit, drop, fill:VALUE or own.",
            fix=nearest(how, get_args(How)),
        )
    column, value = match[1].strip(), _one_line(match[3] or "")
    how_named: dict[str, How] = {name: name for name in get_args(How)}
    if (match[2] == "fill") != bool(value):
        needs = "needs a value" if match[2] == "fill" else "takes no value"
        raise ConfigError(
            f"--field {spec!r}: {match[2]} {needs}.", fix=f"Such as --field {column}=fill:other."
        )
    return Field(column, how_named[match[2]], value)


def _learned(field: Field, values: pl.Series) -> Learned:
    """What a field's values (cleaned, none missing) settle about it."""
    if field.how == "drop" and values.is_empty():
        raise ConfigError(
            f"The column {field.column!r} has no value, so --field {field.column}=drop would "
            "leave no row.",
            fix="Leave it out of --field.",
        )
    numbers = values.str.contains(_NUMBER)
    mostly = len(values) > 0 and int(numbers.sum()) >= _MOSTLY * len(values)
    is_number = mostly and not values.str.contains(_CODE).any()
    filling = pl.Series([_filling(field, values, is_number)], dtype=pl.String)
    return Learned(
        column=field.column,
        name=_one_line(field.column),
        how=field.how,
        value=_written(filling, is_number)[0],
        is_number=is_number,
    )


def _filling(field: Field, values: pl.Series, is_number: bool) -> str:
    """What stands in for a missing value; empty where nothing does."""
    if field.how != "fill":
        return UNKNOWN if field.how == "own" else ""
    name = field.value.lower().replace(" ", "-").replace("_", "-")
    if name == MOST_FREQUENT and not values.is_empty():
        counts = _written(values, is_number).alias("value").value_counts(name="rows")
        # Of equally frequent values the first in the alphabet, whatever order the rows are in.
        return str(counts.sort("rows", "value", descending=[True, False])["value"][0])
    if name in _AVERAGES and is_number:
        numbers = values.cast(pl.Float64, strict=False)
        numbers = numbers.filter(numbers.is_finite())
        return str(numbers.mean() if name == "mean" else numbers.median())
    if name in (*_AVERAGES, MOST_FREQUENT):
        lack = "values" if name == MOST_FREQUENT else "numbers"
        raise ConfigError(
            f"The column {field.column!r} holds no {lack}, so it has no {name} to fill gaps with.",
            fix=f"Give another filling, such as --field {field.column}=own.",
        )
    return field.value


def _known(cells: pl.Series) -> pl.Series:
    """The cells cleaned and on one line each, null where one is empty or holds a placeholder."""
    cleaned, _ = clean(cells)
    tidy = cleaned.alias("cell").str.replace_all("\n", " ", literal=True).to_frame()
    missing = pl.col("cell").str.to_lowercase().is_in(["", *sorted(PLACEHOLDERS)])
    return tidy.select(pl.when(~missing).then("cell").alias("cell"))["cell"]


def _written(values: pl.Series, is_number: bool) -> pl.Series:
    """The values as they stand in the text.

    In a column of numbers whole ones lose a `+` and a `.0` and keep all their digits, others
    keep six that count; what is no number stays as it is.
    """
    if not is_number:
        return values
    cell = pl.col("cell")
    whole = cell.str.replace(r"^\+", "").str.replace(r"\.0*$", "").str.replace("^-0$", "0")
    number = cell.cast(pl.Float64, strict=False)
    rounded = number.round_sig_figs(_DIGITS).cast(pl.String).str.replace(r"\.0$", "")
    return (
        values.alias("cell")
        .to_frame()
        .select(
            pl.when(cell.str.contains(_WHOLE))
            .then(whole)
            .when(cell.str.contains(_NUMBER) & number.is_finite())
            .then(rounded)
            .otherwise(cell)
            .alias("cell")
        )["cell"]
    )


def _line(place: str, field: Learned) -> pl.Expr:
    """`name: value`, null where there is no value and none stands in for it."""
    value = pl.col(place)
    if field.value:
        value = value.fill_null(field.value)
    return pl.lit(f"{field.name}: ") + value


def _made(form: Form, fields_alone: bool) -> tuple[pl.Expr, pl.Expr]:
    """`text` with its fields, and whether it is made of fields `alone` (of: text, places)."""
    names = places(form.fields)
    lines = [_line(place, field) for place, field in zip(names, form.fields, strict=True)]
    has_text = pl.col("text").fill_null("") != ""
    alone = ~has_text & pl.any_horizontal(pl.col(names).is_not_null()) & pl.lit(fields_alone)
    text = pl.when(has_text).then("text")
    parts = [*lines, text] if form.where == "above" else [text, *lines]
    whole = pl.concat_str(parts, separator="\n", ignore_nulls=True)
    return pl.when(has_text | alone).then(whole).alias("text"), alone.alias("alone")


def _dropped(rows: pl.DataFrame, known: pl.DataFrame, form: Form) -> Step:
    verdicts, findings = [verdict(rows.clear(), "")], []
    left = undecided(rows.select("row", "source", "line", "fate").hstack(known))
    for place, field in zip(known.columns, form.fields, strict=True):
        if field.how == "drop":
            empty = left.filter(pl.col(place).is_null())
            left = left.filter(pl.col(place).is_not_null())
            verdicts.append(verdict(empty, f"dropped: no {field.name}"))
            what = f"without a value in {field.column!r}"
            findings += _by_source(empty, what, "Left out, as --field asks.")
    return Step(verdicts=pl.concat(verdicts), findings=tuple(findings))


def _decision(field: Learned, values: pl.Series, num_rows: int, where: Where) -> Decision:
    """How the field is written, with an example, and what becomes of rows without a value."""
    example = _written(values.head(1), field.is_number).to_list() or [field.value or UNKNOWN]
    why = "--field asks for it"
    if field.is_number:
        why += f"; numbers, fractions with {_DIGITS} digits at most"
    if gaps := num_rows - len(values):
        fate = {"omit": "have no such line", "drop": "are left out"}.get(field.how)
        number = counted(gaps, "row")
        why += f"; {number} without a value {fate or f'say {field.value!r}'}"
    value = f"a line {f'{field.name}: {example[0]}'[:80]!r} {where} the text"
    return Decision(what=f"field {field.column!r}", value=value, reason=why)


def _by_source(rows: pl.DataFrame, what: str, fix: str) -> list[Finding]:
    """A finding about rows (source, line) of the table, and one about the validation file's."""
    findings: list[Finding] = []
    for source, where in (("table", ""), ("validation", "of the validation file ")):
        findings += rows_finding(rows.filter(pl.col("source") == source)["line"], where + what, fix)
    return findings


def _one_line(text: str) -> str:
    return " ".join(clean_text(text).split())
