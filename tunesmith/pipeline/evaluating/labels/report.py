"""report.html: one self-contained page that says how good a model of labels is, in plain words.

Knows: what a reader wants to see, in which order; the words around the numbers.
Does not know: where the numbers come from, nor how to measure anything.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from tunesmith.metrics.abstaining import Abstaining, Point
from tunesmith.metrics.classification import OTHER, Bin, ClassificationScores
from tunesmith.metrics.confusion import MixedUp, side_by_side
from tunesmith.metrics.slices import Slice
from tunesmith.pipeline.evaluating import learning
from tunesmith.pipeline.evaluating.labels.advice import TOP
from tunesmith.pipeline.evaluating.labels.report_rows import AnsweredRow, Flipped, Needy
from tunesmith.pipeline.evaluating.labels.teaching import Lessons
from tunesmith.pipeline.evaluating.run_facts import RunFacts
from tunesmith.pipeline.evaluating.verdict import Judged, best_of, points, span, verdict, worth
from tunesmith.pipeline.pages import page
from tunesmith.pipeline.results import Advice, Parity, Running
from tunesmith.pipeline.rundir import write_atomic

MAX_TABLE = 25
"""Labels up to which the confusion matrix is a table with numbers; above, a heat map."""
MAX_ALPHABETIC = 12
"""Labels up to which they stand in the order of the alphabet; above, mixed-up ones side by side."""
TARGETS = (0.9, 0.95, 0.99)
"""Shares right for which a threshold is told."""
COVERAGES = (0.5, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, kw_only=True)
class ReportData(RunFacts, Judged):
    """All that the report shows. Scores are shares of 1; orders are kept as given."""

    confusion: Sequence[Sequence[int]]
    """Rows by label and answer; a column more than labels is "(other)"."""
    pairs: Sequence[MixedUp] = ()
    """The labels that are mixed up most."""
    natural: Mapping[str, float] = field(default_factory=dict)
    """The same metrics on the natural class shares."""
    natural_shares: Mapping[str, float] = field(default_factory=dict)
    balanced: Mapping[str, float] = field(default_factory=dict)
    """The same with all labels equally frequent."""
    calibration: Sequence[Bin] = ()
    abstaining: Abstaining | None = None
    slices: Sequence[Slice] = ()
    flipped: Sequence[Flipped] = ()
    """One for each of `against`."""
    running: Running | None = None
    left_out: Sequence[str] = ()
    mistakes: Sequence[AnsweredRow] = ()
    """Rows answered wrongly, the worst first: lowest probability of the right label."""
    num_worst: int = 30
    """Mistakes listed on their own; more are shown behind pairs of labels."""
    advice: Sequence[Advice] = ()
    lessons: Lessons | None = None
    needy: Sequence[Needy] = ()
    review: str | None = None
    verdict: Sequence[str] = ()
    """Sentences for the top. Empty: written from the numbers (see `verdict`)."""
    train_counts: Mapping[str, int] = field(default_factory=dict)
    validation_counts: Mapping[str, int] = field(default_factory=dict)


def write_report(data: ReportData, path: Path) -> None:
    """Write the page to `path`, whole or not at all. Raises: StorageError."""
    growth = data.lessons.growth if data.lessons else None
    overall = growth.overall if growth else None
    html = _page().render(
        data=data,
        sentences=list(data.verdict) or verdict(data),
        tiles=[(title, key, words) for title, key, words in TILES if key in data.metrics],
        columns=[*data.labels, OTHER][: len(data.confusion[0])],
        pairs=confused_pairs(data),
        classes=sorted(data.per_class, key=lambda c: (not c.support, c.f1, c.label)),
        learned=list(zip(overall.sizes, overall.scores, strict=True)) if overall else [],
        thresholds=thresholds(data.abstaining) if data.abstaining else [],
        coverages=coverages(data.abstaining) if data.abstaining else [],
        others=sorted(data.baselines, key=lambda b: -b.metrics["accuracy"]),
        best=best_of(data.baselines),
        worth=worth(data.baselines),
        top=TOP,
        shares=[
            (title, some)
            for title, some in (
                ("held-out rows", data.metrics),
                ("natural shares", data.natural),
                ("all labels alike", data.balanced),
            )
            if some
        ],
        measures=[(key, *words) for key, words in MEASURES.items() if key in data.metrics],
        receipt=receipt(data.fates),
        learning=learning.curves(data),
        legend=learning.legend(data),
        diagnoses=learning.diagnoses(data, num_labels=len(data.labels)),
        max_table=MAX_TABLE,
    )
    page.write(path, html)


def write_numbers(data: ReportData, path: Path) -> None:
    """Write all that the page shows as JSON. Raises: StorageError."""
    write_atomic(path, json.dumps(_plain(asdict(data)), indent=1).encode() + b"\n")


def _plain(value: Any) -> Any:
    """Without what JSON has no word for: nan, arrays."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


MEASURES = {
    "accuracy": ("Accuracy", "share"),
    "balanced_accuracy": ("Balanced accuracy", "share"),
    "precision_macro": ("Precision, macro", "share"),
    "recall_macro": ("Recall, macro", "share"),
    "f1_macro": ("F1, macro", "share"),
    "precision_micro": ("Precision, micro", "share"),
    "recall_micro": ("Recall, micro", "share"),
    "f1_micro": ("F1, micro", "share"),
    "precision_weighted": ("Precision, weighted", "share"),
    "recall_weighted": ("Recall, weighted", "share"),
    "f1_weighted": ("F1, weighted", "share"),
    "log_loss": ("Log loss", "number"),
    "brier": ("Brier score", "number"),
    "expected_calibration_error": ("Expected calibration error", "share"),
}
"""Metric → its title, and how it is written."""
TILES = (
    ("Accuracy", "accuracy", "of all texts get the right label"),
    ("F1, macro", "f1_macro", "precision and recall in one number, all labels counting alike"),
    ("Precision, macro", "precision_macro", "how often it is right when it gives a label"),
    ("Recall, macro", "recall_macro", "how many of a label’s texts it finds"),
)


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


def arranged(scores: ClassificationScores) -> tuple[list[str], list[list[int]]]:
    """Labels and confusion table for the page: many labels with mixed-up ones side by side."""
    table, labels = scores.confusion, list(scores.labels)
    if len(labels) <= MAX_ALPHABETIC:
        return labels, table
    order = side_by_side(scores.counts)
    columns = [*order, *range(len(labels), len(scores.columns))]
    return [labels[i] for i in order], [[table[i][j] for j in columns] for i in order]


def thresholds(found: Abstaining) -> list[tuple[float, Point | None]]:
    """(share right, the point that surely reaches it) for each target."""
    return [(target, found.reaching(target)) for target in TARGETS]


def coverages(found: Abstaining) -> list[Point]:
    """The points nearest to a few shares of the rows, each once."""
    nearest = (min(found.points, key=lambda p: abs(p.coverage - c)) for c in COVERAGES)
    return list(dict.fromkeys(nearest)) if found.points else []


def money(cost: float | None) -> str:
    """What 1,000 requests cost, as a reader sees it."""
    return "unknown" if cost is None else "nothing" if cost == 0 else f"{cost:,.2f}"


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


@cache
def _page() -> jinja2.Template:
    words: dict[str, Callable[..., str]] = {
        "duration": duration,
        "compared": compared,
        "span": span,
        "ends": lambda interval: span(interval).replace(" and ", " to "),
        "points": points,
        "money": money,
    }
    return page.template("report.html.jinja", words)
