"""report.html: one self-contained page that says how good a model is, in plain words.

Knows: what a reader wants to see, in which order; the words around the numbers.
Does not know: where the numbers come from, nor how to measure anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import jinja2

from tunesmith.metrics.classification import OTHER, Bin, ClassScore
from tunesmith.metrics.intervals import Interval
from tunesmith.pipeline import learning, page
from tunesmith.pipeline.charts import percent
from tunesmith.pipeline.results import Parity
from tunesmith.pipeline.run_facts import RunFacts

MAX_TABLE = 25
"""Labels up to which the confusion matrix is a table with numbers; above, a heat map."""
FEW_ROWS = 100


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A baseline's scores on the same rows; `gain`: our accuracy minus its own."""

    title: str
    description: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    gain_interval: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class AnsweredRow:
    """A held-out row and its answer; probabilities 0 to 1, None where unknown."""

    text: str
    gold: str
    predicted: str | None
    probability: float | None = None
    gold_probability: float | None = None
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class ReportData(RunFacts):
    """All that the report shows. Scores are shares of 1; orders are kept as given."""

    num_examples: int
    labels: Sequence[str]
    metrics: Mapping[str, float]
    """accuracy, {precision,recall,f1}_{macro,weighted}; log_loss, expected_calibration_error."""
    intervals: Mapping[str, Interval]
    per_class: Sequence[ClassScore]
    confusion: Sequence[Sequence[int]]
    """Rows by label and answer; a column more than labels is "(other)"."""
    natural: Mapping[str, float] = field(default_factory=dict)
    """The same metrics on the natural class shares."""
    natural_shares: Mapping[str, float] = field(default_factory=dict)
    calibration: Sequence[Bin] = ()
    baselines: Sequence[Rival] = ()
    mistakes: Sequence[AnsweredRow] = ()
    """Rows answered wrongly, the worst first: lowest probability of the right label."""
    num_worst: int = 30
    """Mistakes listed on their own; more are shown behind pairs of labels."""
    num_votes: int = 1
    """Answers drawn for each row, of which the most frequent one counts."""
    num_tied: int = 0
    verdict: Sequence[str] = ()
    """Sentences for the top. Empty: written from the numbers (see `verdict`)."""
    train_counts: Mapping[str, int] = field(default_factory=dict)
    validation_counts: Mapping[str, int] = field(default_factory=dict)


def write_report(data: ReportData, path: Path) -> None:
    """Write the page to `path`, whole or not at all. Raises: StorageError."""
    html = _page().render(
        data=data,
        sentences=list(data.verdict) or verdict(data),
        tiles=[(title, key, words) for title, key, words in TILES if key in data.metrics],
        columns=[*data.labels, OTHER][: len(data.confusion[0])],
        pairs=confused_pairs(data),
        classes=sorted(data.per_class, key=lambda c: (not c.support, c.f1, c.label)),
        alone=automation(data.calibration),
        receipt=receipt(data.fates),
        learning=learning.curves(data),
        legend=learning.legend(data),
        diagnoses=learning.diagnoses(data, num_labels=len(data.labels)),
        max_table=MAX_TABLE,
    )
    page.write(path, html)


TILES = (
    ("Accuracy", "accuracy", "of all texts get the right label"),
    ("F1, macro", "f1_macro", "precision and recall in one number, all labels counting alike"),
    ("Precision, macro", "precision_macro", "how often it is right when it gives a label"),
    ("Recall, macro", "recall_macro", "how many of a label’s texts it finds"),
)


def verdict(data: ReportData) -> list[str]:
    """How good the model is, whether tuning was worth it, and where it is weak, in sentences."""
    accuracy, n = data.metrics["accuracy"], data.num_examples
    share = "Every one" if accuracy == 1 else percent(accuracy)
    words = f"{share} of {n:,} held-out texts {'is' if accuracy == 1 else 'are'} labelled correctly"
    if span := data.intervals.get("accuracy"):
        words += f" (95\u202f%\u00a0sure: between {_span(span)})"
    out = [words + "."]
    if data.baselines:
        ranked = sorted(data.baselines, key=lambda b: -b.metrics["accuracy"])
        reached = "; ".join(f"{b.title} {percent(b.metrics['accuracy'])}" for b in ranked)
        out.append(f"On the same rows: {reached}.")
        out.append(_worth(data, ranked[0]))
    if data.num_votes > 1:
        drawn = f"The most frequent of {data.num_votes} answers to each text counts"
        tied = f"; on {data.num_tied:,} of {n:,} they tied, and the likelier one counts"
        out.append(f"{drawn}{tied if data.num_tied else ''}.")
    if n < FEW_ROWS:
        out.append(f"Only {n:,} rows were held out, so take these numbers as rough.")
    weakest = min((c for c in data.per_class if c.support), key=lambda c: c.f1)
    if len(data.labels) > 2 and weakest.f1 < 0.9:
        out.append(f"It is least reliable on “{weakest.label}” (F1 {percent(weakest.f1)}).")
    return out


def _worth(data: ReportData, best: Rival) -> str:
    gain = data.metrics["accuracy"] - best.metrics["accuracy"]
    points = f"{100 * abs(gain):.1f} points"
    if best.gain_interval is None:
        return f"That is {points} {'more' if gain >= 0 else 'less'} than the best of these."
    low, high = (f"{100 * end:.1f}" for end in sorted(map(abs, best.gain_interval)))
    if best.gain_interval[0] > 0:
        return (
            f"Tuning was worth it: {points} above the best of these "
            f"(95\u202f%\u00a0sure: {low} to {high})."
        )
    if best.gain_interval[1] < 0:
        return (
            f"Tuning was not worth it: the best of these is {points} better "
            f"(95\u202f%\u00a0sure: {low} to {high}), and cheaper to run."
        )
    low, high = (f"{100 * end:+.1f}" for end in best.gain_interval)
    return (
        f"The difference to the best of these, {100 * gain:+.1f} points, may be chance "
        f"(95\u202f%\u00a0sure: {low} to {high})."
    ).replace("-", "−")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Texts of label `gold` answered as `predicted`: how many, and a few of them."""

    gold: str
    predicted: str
    num_rows: int
    share: float
    examples: Sequence[AnsweredRow]
    anchor: str


def confused_pairs(data: ReportData, *, most: int = 60, examples: int = 5) -> list[Pair]:
    """The most frequent mix-ups of two labels, in number of rows."""
    columns = [*data.labels, OTHER]
    behind: dict[tuple[str, str], list[AnsweredRow]] = {}
    for row in data.mistakes:
        answer = row.predicted if row.predicted in data.labels else OTHER
        behind.setdefault((row.gold, str(answer)), []).append(row)
    found = [
        Pair(
            gold=data.labels[i],
            predicted=columns[j],
            num_rows=n,
            share=n / sum(row),
            examples=behind.get((data.labels[i], columns[j]), [])[:examples],
            anchor=f"pair-{i}-{j}",
        )
        for i, row in enumerate(data.confusion)
        for j, n in enumerate(row)
        if n and i != j
    ]
    return sorted(found, key=lambda p: (-p.num_rows, -p.share, p.gold, p.predicted))[:most]


def automation(bins: Sequence[Bin]) -> list[tuple[float, float, float]]:
    """(least probability, share of texts at or above it, share right among these), rising."""
    total = sum(b.num_rows for b in bins)
    out = []
    for least in (0.5, 0.7, 0.8, 0.9):
        above = [b for b in bins if b.low >= least - 1e-9]
        if rows := sum(b.num_rows for b in above):
            out.append((least, rows / total, sum(b.num_rows * b.accuracy for b in above) / rows))
    return out


def receipt(fates: Mapping[str, int]) -> list[tuple[str, int, str]]:
    """(fate, rows, css) of each fate: kept first, then merged and others, then dropped."""
    order = {"kept": 0, "merged": 1, "dropped": 2}
    kinds = {fate: fate.partition(":")[0] for fate in fates}
    ranked = sorted(fates, key=lambda fate: (order.get(kinds[fate], 1), -fates[fate], fate))
    return [
        (fate, fates[fate], kinds[fate] if kinds[fate] in order else "merged")
        for fate in ranked
        if fates[fate]
    ]


def duration(seconds: float) -> str:
    """4.2 → "4.2 s"; 94 → "1 min 34 s"."""
    if seconds < 59.95:
        return f"{seconds:.1f}\u202fs"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}\u202fh {minutes}\u202fmin" if hours else f"{minutes}\u202fmin {rest}\u202fs"


def decimal(value: float) -> str:
    """3.2e-06 → "0.000003": small numbers without an exponent, to one digit that counts."""
    return f"{value:.{max(1, -math.floor(math.log10(value)))}f}" if value > 0 else "0"


def compared(parity: Parity) -> str:
    """How the deployed model's answers compare with the trainer's, in sentences."""
    n, differ = parity.compared, parity.label_disagreements
    allowed = f"allowed: {decimal(parity.tolerance)}"
    gap = parity.max_logprob_gap
    if parity.by == "labels":
        sent, own = f"{n:,} held-out texts", "the trainer’s own answer"
    else:
        own = "the trainer’s own tokens" if parity.by == "tokens" else "the trainer’s own text"
        sent = f"{n:,} held-out conversations"
    if parity.passed:
        numbers = "; it gives no log-probabilities to compare"
        if gap is not None:
            numbers = f", and no log-probability differs by more than {decimal(gap)} ({allowed})"
        words = f"{sent} were sent to the deployed model: {n - differ:,} got {own}{numbers}."
    else:
        numbers = "" if gap is None else f"; log-probabilities differ by up to {decimal(gap)}"
        words = f"Of {sent} sent to the deployed model, {differ:,} got another answer than the "
        words += f"trainer’s own{numbers} ({allowed})."
    if parity.ties:
        words += f" {parity.ties:,} of them part where two tokens are as likely as each other."
    return words


def _span(interval: Interval) -> str:
    return f"{100 * interval[0]:.1f} and {percent(interval[1])}"


@cache
def _page() -> jinja2.Template:
    words: dict[str, Callable[..., str]] = {
        "duration": duration,
        "compared": compared,
        "span": _span,
    }
    return page.template("report.html.jinja", words)
