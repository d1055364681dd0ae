"""Whether tuning was worth it, and how good the model is, in plain sentences.

Does not know: where the numbers come from, or who reads the sentences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.metrics.classification import ClassScore
from tunesmith.metrics.intervals import Interval
from tunesmith.metrics.significance import Comparison
from tunesmith.pipeline.pages.charts import percent
from tunesmith.pipeline.results import Rival, Worth

FEW_ROWS = 100
WORTH: dict[str, Worth] = {"better": "yes", "worse": "no", "undecided": "undecided"}
SURE = "95\u202f%\u00a0sure"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a verdict is about. Scores are shares of 1."""

    num_examples: int
    labels: Sequence[str]
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    per_class: Sequence[ClassScore]
    baselines: Sequence[Rival] = ()
    against: Sequence[Rival] = ()
    num_votes: int = 1
    """Answers drawn for each row, of which the most frequent one counts."""
    num_tied: int = 0


def best_of(rivals: Sequence[Rival]) -> Rival | None:
    """The one with the most right answers."""
    return max(rivals, key=lambda rival: rival.metrics["accuracy"], default=None)


def worth(rivals: Sequence[Rival]) -> Worth | None:
    """Whether the tuned model is better than the best of these, beyond chance; None: of none."""
    best = best_of(rivals)
    return WORTH[best.comparison.verdict] if best and best.comparison else None


def verdict(data: Judged) -> list[str]:
    """Whether tuning was worth it, how good the model is, and where it is weak, in sentences."""
    out = []
    best = best_of(data.baselines)
    if best and best.comparison:
        out.append(_worth(best, best.comparison))
    out.append(_how_good(data))
    if best and best.comparison and best.comparison.verdict == "undecided" and best.comparison.gain:
        out.append(f"Against the best alternative, {best.title}, {_chance(best.comparison)}.")
    if data.baselines:
        ranked = sorted(data.baselines, key=lambda b: -b.metrics["accuracy"])
        reached = "; ".join(f"{b.title} {percent(b.metrics['accuracy'])}" for b in ranked)
        out.append(f"On the same rows: {reached}.")
    out += [_compared(other, other.comparison) for other in data.against if other.comparison]
    if data.num_votes > 1:
        drawn = f"The most frequent of {data.num_votes} answers to each text counts"
        tied = f"; on {data.num_tied:,} of {data.num_examples:,} they tied, and the likelier one "
        out.append(f"{drawn}{tied + 'counts' if data.num_tied else ''}.")
    if data.num_examples < FEW_ROWS:
        few = f"Only {data.num_examples:,} rows were held out"
        out.append(f"{few}, so take these numbers as rough.")
    weakest = min((c for c in data.per_class if c.support), key=lambda c: c.f1)
    if len(data.labels) > 2 and weakest.f1 < 0.9:
        out.append(f"It is least reliable on “{weakest.label}” (F1 {percent(weakest.f1)}).")
    return out


def points(difference: float) -> str:
    """0.012 → "1.2 points"."""
    return f"{100 * difference:.1f} points"


def span(interval: Interval) -> str:
    """(0.929, 0.946) → "92.9 and 94.6 %"."""
    return f"{100 * interval[0]:.1f} and {percent(interval[1])}"


def _how_good(data: Judged) -> str:
    accuracy, n = data.metrics["accuracy"], data.num_examples
    share = "Every one" if accuracy == 1 else percent(accuracy)
    words = f"{share} of {n:,} held-out texts {'is' if accuracy == 1 else 'are'} labelled correctly"
    if interval := data.intervals.get("accuracy"):
        words += f" ({SURE}: between {span(interval)})"
    return words + "."


def _worth(best: Rival, found: Comparison) -> str:
    if found.verdict == "better":
        low, high = (f"{100 * max(0.0, end):.1f}" for end in found.interval)
        return (
            f"Tuning was worth it: {points(found.gain)} above the best alternative, {best.title} "
            f"({SURE}: {low} to {high})."
        )
    if found.verdict == "worse":
        low, high = (f"{100 * max(0.0, -end):.1f}" for end in reversed(found.interval))
        return (
            f"Tuning was not worth it: {best.title} is {points(-found.gain)} better ({SURE}: {low} "
            f"to {high}), and needs no tuning."
        )
    words = f"Whether tuning was worth it is not decided with these {found.num_rows:,} rows"
    if found.gain == 0:
        return f"{words}: the best alternative, {best.title}, gets just as many right."
    return f"{words}; {_would_decide(found)}."


def _compared(other: Rival, found: Comparison) -> str:
    if found.gain == 0:
        return f"{other.title} gets just as many right."
    if found.verdict == "undecided":
        return (
            f"Against {other.title} nothing is decided: {_chance(found)}; {_would_decide(found)}."
        )
    ends = [100 * end for end in found.interval]
    low, high = ends if found.gain > 0 else (-ends[1], -ends[0])
    word = "better" if found.gain > 0 else "worse"
    return (
        f"It is {points(abs(found.gain))} {word} than {other.title} ({SURE}: {max(0.0, low):.1f} "
        f"to {high:.1f})."
    )


def _chance(found: Comparison) -> str:
    """An undecided difference."""
    low, high = (f"{100 * end:+.1f}" for end in found.interval)
    words = f"the difference is {100 * found.gain:+.1f} points, which may be chance "
    return (words + f"({SURE}: {low} to {high})").replace("-", "−")


def _would_decide(found: Comparison) -> str:
    """How many rows would decide a difference of this size."""
    if found.rows_to_decide is None:
        return "no number of rows would decide so small a difference"
    rows = _rounded(max(found.rows_to_decide, found.num_rows + 1))
    return f"about {rows:,} would decide it"


def _rounded(number: int) -> int:
    """To two digits that count, up: 2,413 → 2,500."""
    size: int = 10 ** max(0, len(str(number)) - 2)
    return math.ceil(number / size) * size
