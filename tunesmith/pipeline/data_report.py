"""01-prepare/report.html: one self-contained page about the data, as a careful analyst would sign.

Knows: what a reader wants to know about a prepared table, in which order, and in which words.
Does not know: how rows are read, cleaned, judged or split; any model.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import jinja2
import polars as pl
from markupsafe import Markup

from tunesmith.data.findings import Finding, counted, enumerated, percent
from tunesmith.data.receipt import KEPT
from tunesmith.events import Decision
from tunesmith.pipeline import charts, page
from tunesmith.pipeline.report import receipt

MAX_LABELS = 12
"""Labels shown at once; the others unfold."""
MAX_FINDINGS = 100
"""Findings on the page; all are in findings.jsonl."""
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
class Lengths:
    """How long texts are, in characters or tokens: bars of equal width from 0 on."""

    unit: Literal["characters", "tokens"]
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


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Rows that say what another row says."""

    exact: int
    """Rows merged into an earlier one, or dropped, because the text is the same."""
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


def write_data_report(path: Path, facts: DataFacts) -> None:
    """Write the page to `path`, whole or not at all. Raises: StorageError."""
    labels = sorted(facts.before or facts.train, key=lambda name: -facts.before.get(name, 0))
    html = _page().render(
        facts=facts,
        sentences=headline(facts),
        receipt=receipt(facts.fates),
        labels=[_label(facts, name) for name in labels],
        most=_largest_share(facts),
        max_labels=MAX_LABELS,
        max_findings=MAX_FINDINGS,
        agreement=_agreement(facts.votes) if facts.votes else "",
    )
    page.write(path, html)


def headline(facts: DataFacts) -> list[str]:
    """What became of the table, and what to look at, in sentences; the first says the most."""
    kept = facts.fates.get(KEPT, 0)
    used = "All" if kept == facts.num_rows else f"{kept:,} of"
    parts = [f"{facts.num_train:,} to learn from", f"{facts.num_validation:,} to check with"]
    if facts.num_test:
        parts.append(f"{facts.num_test:,} for the final test")
    number = counted(facts.num_rows, "row")
    sentences = [f"{used} {number} {'is' if kept == 1 else 'are'} used: {_listed(parts)}."]
    out = [(fate, rows) for fate, rows, _ in receipt(facts.fates) if fate != KEPT]
    if out:
        ranked = sorted(out, key=lambda item: -item[1])
        reasons = (
            f"{rows:,}\u202f×\u00a0{fate.partition(': ')[2] or fate}" for fate, rows in ranked
        )
        sentences.append(f"Not used: {enumerated(reasons, shown=4)}.")
    if warnings := sum(finding.level != "info" for finding in facts.findings):
        asks = "asks for a look; it is" if warnings == 1 else "ask for a look; they are"
        sentences.append(f"{counted(warnings, 'thing')} in the data {asks} listed below.")
    else:
        sentences.append("Nothing in the data asks for a look.")
    return sentences


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
    unit: Literal["characters", "tokens"] = "characters",
    cut: int | None = None,
) -> Lengths | None:
    """The histogram of some lengths (whole numbers, not null); None without any.

    cut  the length to which longer texts are cut, where that is known.
    """
    if lengths.is_empty():
        return None
    numbers = lengths.cast(pl.Int64)
    longest = int(numbers.max() or 0)  # type: ignore[arg-type]
    scale = numbers.quantile(_MASS, "higher") or 0
    if cut is not None and cut < longest:
        scale = max(scale, 1.15 * cut)
    width = _round_step((scale + 1) / _BARS)
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
        num_cut=int((numbers > cut).sum()) if cut is not None else 0,
    )


def length_chart(lengths: Lengths) -> Markup:
    """Bars of texts by length, the last one for all that are longer, and the cut line."""
    bars = [*lengths.counts, lengths.num_longer] if lengths.num_longer else list(lengths.counts)
    top, step = max(1, *bars), 400 / len(bars)
    out = Markup("")
    for place, number in enumerate(bars):
        low, high = place * lengths.width, (place + 1) * lengths.width - 1
        over = place == len(lengths.counts)
        span = f"{low:,} or more" if over else f"{low:,} to {high:,}" if high > low else f"{low:,}"
        height = 0 if not number else max(1.5, 150 * number / top)
        out += Markup(
            '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
            "<title>{} {}: {}</title></rect>"
        ).format(
            "longer" if over else "fill", 20 + place * step + 0.5, 178 - height,
            max(step - 1, 0.5), height, span, lengths.unit, counted(number, "text"),
        )  # fmt: skip
    every = _round_step(len(lengths.counts) / 5)
    for place in range(0, len(lengths.counts) + 1, every):
        out += Markup('<text x="{:.1f}" y="196" text-anchor="middle">{:,}</text>').format(
            20 + place * step, place * lengths.width
        )
    out += _cut_line(lengths, step)
    return Markup(
        '<svg class="lengths" viewBox="0 0 440 218" role="img" aria-label="Texts by length in {0}">'
        '{1}<path class="axis" d="M20 178.5H420"/>'
        '<text x="220" y="214" text-anchor="middle">{0}</text></svg>'
    ).format(lengths.unit, out)


def _cut_line(lengths: Lengths, step: float) -> Markup:
    if lengths.cut is None or lengths.cut > len(lengths.counts) * lengths.width:
        return Markup("")
    x = 20 + lengths.cut / lengths.width * step
    aside, anchor = (6, "start") if x < 220 else (-6, "end")
    return Markup(
        '<path class="cut" d="M{0:.1f} 8V178"/><text class="cut" x="{1:.1f}" y="18" '
        'text-anchor="{2}">cut at {3:,}</text>'
    ).format(x, x + aside, anchor, lengths.cut)


def share_bars(before: float, after: float, most: float) -> Markup:
    """Two bars, a label's share before and after, `most` being as wide as there is room."""
    out = Markup("")
    for css, top, share in (("before", 0, before), ("after", 9, after)):
        out += Markup('<rect class="{}" y="{}" width="{:.2f}%" height="7" rx="2"/>').format(
            css, top, 100 * share / most if most else 0
        )
    return Markup(
        '<svg class="pair" role="img" aria-label="before: {}, after: {}">{}</svg>'
    ).format(charts.percent(before), charts.percent(after), out)


def visible(text: str) -> str:
    """`text` with what cannot be seen spelled out, as ⟨U+200B⟩; line breaks stay."""
    return "".join(
        f"\u27e8U+{ord(c):04X}\u27e9" if _is_hidden(c) else c for c in text.replace("\r\n", "\n")
    )


@dataclass(frozen=True, kw_only=True)
class _Label:
    """A label's rows before, and its examples after, with their shares of all."""

    name: str
    before: int
    before_share: float
    after: int
    after_share: float
    train: int
    validation: int
    test: int


def _label(facts: DataFacts, name: str) -> _Label:
    sides = [side.get(name, 0) for side in (facts.train, facts.validation, facts.test)]
    before = facts.before.get(name, 0)
    return _Label(
        name=name,
        before=before,
        before_share=before / max(1, sum(facts.before.values())),
        after=sum(sides),
        after_share=sum(sides) / max(1, _num_after(facts)),
        train=sides[0],
        validation=sides[1],
        test=sides[2],
    )


def _num_after(facts: DataFacts) -> int:
    return sum(sum(side.values()) for side in (facts.train, facts.validation, facts.test))


def _largest_share(facts: DataFacts) -> float:
    labels = [_label(facts, name) for name in facts.before or facts.train]
    return max((max(label.before_share, label.after_share) for label in labels), default=1.0)


def _agreement(votes: Votes) -> str:
    """Agreement in a word, after Landis and Koch, Biometrics 33 (1977), 159-174, table 2."""
    score = votes.alpha if votes.alpha is not None else votes.kappa
    if score is None:
        return ""
    words = ((0.8, "almost perfect"), (0.6, "substantial"), (0.4, "moderate"), (0.2, "fair"))
    return next((word for least, word in words if score > least), "slight" if score > 0 else "none")


def _round_step(least: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50 … that is not smaller."""
    size = int(10 ** math.floor(math.log10(max(least, 1))))
    return next(size * k for k in (1, 2, 5, 10) if size * k >= least)


def _is_hidden(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind in ("Cc", "Cf", "Cs", "Co") and character not in "\n\t\u200c\u200d"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


@cache
def _page() -> jinja2.Template:
    words: dict[str, Callable[..., str]] = {
        "about": percent,
        "small": lambda share: charts.percent(share) if share >= 0.0005 else "under 0.1\u202f%",
        "visible": visible,
        "length_chart": length_chart,
        "share_bars": share_bars,
    }
    return page.template("data_report.html.jinja", words)
