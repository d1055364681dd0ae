"""What the data report tells of a prepared table: gathered, measured, without sensitive data.

Knows: rows with their fates, sides and texts.
Does not know: words and pictures of the page (`data_report`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import polars as pl

from tunesmith.data.chat.rules import parse
from tunesmith.data.chat.spans import Span, Use, spans
from tunesmith.data.findings import Finding
from tunesmith.data.texts.sensitive import KINDS, find
from tunesmith.data.texts.tokens import Counted, count, num_read
from tunesmith.events import Decision
from tunesmith.pipeline.pages import page

Unit = Literal["characters", "tokens"]

_FEW = 3  # texts that are cut, and conversations, on the page
_AROUND = 160  # letters shown of a text on either side of where it is cut
_NEAR = 5_000
_BARS = 24  # of the length histogram, about
_MASS = 0.99  # of the texts lie within the histogram's scale; the rest is one bar at its end


@dataclass(frozen=True, kw_only=True)
class ExampleRow:
    """A row to show: its text in the file and, if that differs, as the model will see it."""

    text: str
    after: str | None = None
    line: int | None = None
    note: str = ""
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class CutText:
    """A text that is cut, as it reads around the place, without sensitive data."""

    line: int
    num_tokens: int
    read: str
    """The end of what the model reads."""
    lost: str
    """The beginning of what it does not."""
    is_validation: bool = False
    """Whether the line is one of the validation file."""


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How long texts are, in characters or tokens: bars of equal width from 0 on."""

    unit: Unit
    width: int
    counts: Sequence[int]
    """Texts in each bar."""
    num_longer: int
    """Texts beyond the last bar."""
    median: int
    longest: int
    cut: int | None = None
    """What is longer is cut to this length; None: not known."""
    num_cut: int = 0
    num_lost: int = 0
    """Tokens or characters beyond the cut, in all texts together."""
    worst: Sequence[CutText] = ()
    tokenizer: str = ""
    """The base model whose tokens these are."""
    num_texts: int | None = None
    """Texts in all, where the bars show a sample of them; None: they show all."""


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Rows that say what another row says."""

    exact: int
    """Rows merged into another one, or dropped, because the text is the same."""
    conflicting: int = 0
    """Rows whose text comes with different labels."""
    near: int | None = None
    """Rows with a near-duplicate in the table; None: not looked for."""
    threshold: float | None = None
    """Least share of word groups in common (Jaccard) that makes texts near-duplicates."""
    would_have_leaked: int | None = None
    """Validation rows with a twin in training, had rows been split by chance; None: unknown."""
    examples: Sequence[Sequence[ExampleRow]] = ()
    """A few groups of such rows."""


@dataclass(frozen=True, kw_only=True)
class Votes:
    """How several annotators' labels became one."""

    method: str
    num_rows: int
    """Rows that two or more annotators labelled."""
    num_annotators: int
    agreed: float
    """Share of these rows on which all say the same, 0 to 1."""
    ties: int = 0
    kappa: float | None = None
    """Fleiss' kappa: 1 is full agreement, 0 what chance would give."""
    alpha: float | None = None
    """Krippendorff's alpha, to be read in the same way."""
    examples: Sequence[ExampleRow] = ()


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a model learns to say from chat data, and what it only reads."""

    num_examples: int
    num_counted: int
    """The examples that the numbers are of: all, or a sample."""
    characters: Mapping[Use, int]
    tokens: Mapping[Use, int] | None
    """None: no tokenizer is at hand."""
    lengths: Lengths | None
    shown: Sequence[tuple[int, Sequence[Span]]]
    """A few examples, of different kinds: line, pieces."""


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """All that the page shows. Orders are kept as given; what is empty or None is left out."""

    title: str
    """Name of the run or the table."""
    files: Sequence[str]
    date: str
    """As it is to be read."""
    num_rows: int
    fates: Mapping[str, int]
    """Fate → rows; sums to `num_rows`."""
    num_train: int
    num_validation: int
    num_test: int = 0
    examples: Mapping[str, Sequence[ExampleRow]] = field(default_factory=dict)
    """Fate → a few of its rows (see `example_rows`)."""
    before: Mapping[str, int] = field(default_factory=dict)
    """Label → rows with it before duplicates and balancing."""
    train: Mapping[str, int] = field(default_factory=dict)
    """Label → training examples; likewise the next two."""
    validation: Mapping[str, int] = field(default_factory=dict)
    test: Mapping[str, int] = field(default_factory=dict)
    balance: str = ""
    """How labels were balanced, in a few words."""
    trained: Trained | None = None
    """None: texts are classified, and what is trained is the label."""
    lengths: Lengths | None = None
    languages: Mapping[str, float] = field(default_factory=dict)
    """Language → share of texts, 0 to 1."""
    duplicates: Duplicates | None = None
    votes: Votes | None = None
    sensitive: Mapping[str, int] | None = None
    """Kind of sensitive data → rows that hold it; None: not looked for."""
    masked: bool = False
    decisions: Sequence[Decision] = ()
    findings: Sequence[Finding] = ()
    quotes: Mapping[int, str] = field(default_factory=dict)
    """Line → its text, for the lines that findings name (see `quoted_lines`)."""


def example_rows(rows: pl.DataFrame, *, each: int = 3) -> dict[str, list[ExampleRow]]:
    """A few rows of every fate, those first whose text cleaning changed.

    rows  fate, line, note, text (after cleaning); where there, raw (before) and label.
    """
    raw = pl.col("raw" if "raw" in rows.columns else "text")
    changed = (raw != pl.col("text")).fill_null(False)
    places = (
        rows.select("fate", changed.alias("changed"), pl.int_range(pl.len()).alias("place"))
        .group_by("fate", "changed")
        .agg(pl.col("place").head(each))
        .sort("fate", "changed", descending=[False, True])
        .explode("place")
        .group_by("fate", maintain_order=True)
        .head(each)
    )
    label = pl.col("label") if "label" in rows.columns else pl.lit(None, dtype=pl.String)
    shown = rows[places["place"]].select(
        "fate", "line", "note", "text", raw.alias("raw"), label.alias("label")
    )
    found: dict[str, list[ExampleRow]] = {}
    for fate, line, note, text, before, name in shown.iter_rows():
        found.setdefault(fate, []).append(
            ExampleRow(
                text=before or "",
                after=text if text != before else None,
                line=line,
                note=note or "",
                label=name,
            )
        )
    return found


def quoted_lines(rows: pl.DataFrame, findings: Iterable[Finding]) -> dict[int, str]:
    """Line → text, for the lines that findings name (rows: line, text; of one file)."""
    lines = sorted({finding.line for finding in findings if finding.line is not None})
    named = rows.select("line", "text").filter(pl.col("line").is_in(lines)).drop_nulls()
    return dict(named.iter_rows())


def measure(
    lengths: pl.Series,
    *,
    unit: Unit = "characters",
    cut: int | None = None,
    longer: pl.Series | None = None,
    num_texts: int | None = None,
) -> Lengths | None:
    """The histogram of some lengths (whole numbers, not null); None without any.

    cut        the length to which longer texts are cut, where that is known.
    longer     the lengths of all texts that are cut; empty: those among `lengths`.
    num_texts  how many texts there are, if the lengths are those of a sample.
    """
    if lengths.is_empty():
        return None
    numbers = lengths.cast(pl.Int64)
    if longer is None:
        longer = numbers.filter(numbers > cut) if cut is not None else numbers.clear()
    longest = max(int(series.max() or 0) for series in (numbers, longer))  # type: ignore[arg-type]
    scale = numbers.quantile(_MASS, "higher") or 0
    if cut is not None and cut < longest:
        scale = max(scale, 1.15 * cut)
    width = round_step((scale + 1) / _BARS)
    num_bars = math.ceil((scale + 1) / width)
    bars = (numbers // width).clip(upper_bound=num_bars).value_counts(name="texts")
    found = dict(bars.iter_rows())
    return Lengths(
        unit=unit,
        width=width,
        counts=[found.get(bar, 0) for bar in range(num_bars)],
        num_longer=found.get(num_bars, 0),
        median=int(numbers.median() or 0),  # type: ignore[arg-type]
        longest=longest,
        cut=cut,
        num_cut=len(longer),
        num_lost=int(longer.cast(pl.Int64).sum()) - len(longer) * (cut or 0),
        num_texts=num_texts if num_texts != len(numbers) else None,
    )


def measure_tokens(
    counted: Counted, rows: pl.DataFrame, gather: Callable[[pl.Series], pl.Series]
) -> Lengths | None:
    """`measure` of texts counted in tokens, with those of which the most is cut.

    rows    row, source, line of these texts and perhaps of others, in the order of `row`.
    gather  the texts of some rows.
    """
    reader, longer = counted.reader, counted.cut
    lengths = measure(
        counted.lengths,
        unit="tokens",
        cut=reader.limit,
        longer=longer["tokens"],
        num_texts=counted.num_texts,
    )
    worst = longer.sort("tokens", "row", descending=[True, False]).head(_FEW)
    places = rows[rows["row"].search_sorted(worst["row"])].select("line", "source")
    cuts = zip(places.iter_rows(), worst["tokens"], gather(worst["row"]), strict=True)
    shown = []
    for (line, source), number, text in cuts:
        at = num_read(text, reader)
        start = max(0, at - _NEAR)  # what is sensitive is looked for near the place only
        read, lost = _veiled_halves(text[start : at + _NEAR], at - start)
        shown.append(
            CutText(
                line=line,
                num_tokens=number,
                read=page.shortened(read[::-1], _AROUND)[::-1],  # its end
                lost=page.shortened(lost, _AROUND),
                is_validation=source == "validation",
            )
        )
    return lengths and replace(lengths, worst=shown, tokenizer=reader.name)


def trained(
    rows: pl.DataFrame, *, num_examples: int | None = None, tokenizer: Path | None = None
) -> Trained:
    """What is trained in chat examples.

    rows          line, text (the example as a line of JSON).
    num_examples  how many there are, if these are a sample.
    """
    pieces = [list(spans(parse(text))) for text in rows["text"]]
    every = [span for example in pieces for span in example]
    whose = [number for number, example in enumerate(pieces) for _ in example]
    uses = pl.Series([span.use for span in every], dtype=pl.String)
    frame = pl.DataFrame({"whose": whose, "use": uses, "characters": list(map(len, every))})
    unit: Unit = "characters"
    if tokenizer:
        said = pl.Series([span.call + span.text for span in every], dtype=pl.String)
        frame = frame.with_columns(count(said, tokenizer, special=False))
        unit = "tokens"
    number = num_examples or rows.height
    return Trained(
        num_examples=number,
        num_counted=rows.height,
        characters=_sums(frame, "characters"),
        tokens=_sums(frame, "tokens") if tokenizer else None,
        lengths=measure(
            frame.group_by("whose").agg(pl.col(unit).sum())[unit], unit=unit, num_texts=number
        ),
        shown=[(rows["line"][place], pieces[place]) for place in _different(pieces)],
    )


def _sums(frame: pl.DataFrame, unit: Unit) -> dict[Use, int]:
    return dict(frame.group_by("use").agg(pl.col(unit).cast(pl.Int64).sum()).iter_rows())


def _different(examples: Sequence[Sequence[Span]]) -> list[int]:
    """Places of a few examples: the first of each kind, the most frequent kinds first.

    Of one kind are those in which the same speak, and the same of it is trained on.
    """
    kinds = [frozenset((s.who, s.use, bool(s.call)) for s in example) for example in examples]
    first = [kinds.index(kind) for kind, _ in Counter(kinds).most_common(_FEW)]
    others = (place for place in range(len(kinds)) if place not in first)
    return sorted([*first, *islice(others, _FEW - len(first))])


def _veiled_halves(text: str, at: int) -> tuple[str, str]:
    """A text without sensitive data, up to a place and from there; nothing is veiled by halves."""
    while found := find(text):
        for span in reversed(found):
            mark = KINDS[span.kind].mark
            text = text[: span.start] + mark + text[span.end :]
            if at >= span.end:
                at += len(mark) - (span.end - span.start)
            elif at > span.start:
                at = span.start + len(mark)
    return text[:at], text[at:]


def round_step(least: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50 … that is not smaller."""
    size = int(10 ** math.floor(math.log10(max(least, 1))))
    return next(size * k for k in (1, 2, 5, 10) if size * k >= least)
