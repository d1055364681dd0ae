"""What to change, from what was found: each time one thing, with the evidence and what to expect.

Knows: what a finding means and what helps against it. Does not know: how anything was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunesmith.data.findings import counted, enumerated, lines_phrase, percent
from tunesmith.metrics.confusion import MixedUp
from tunesmith.metrics.curves import Diagnosis
from tunesmith.metrics.intervals import Interval
from tunesmith.metrics.learning_curve import Growth, LearningCurve
from tunesmith.pipeline.evaluating.labels.teaching import Leaks, Lessons, Noise
from tunesmith.pipeline.results import Advice

TOP = 3
"""Shown first."""
LEAST_GAIN = 0.003
"""Of the accuracy: what brings less is not advised for that."""
LEAST_NOISE, LEAST_SUSPECTS = 0.01, 3
PAIR_SHARE, PAIR_ROWS, PAIR_SURPRISE = 0.05, 5, 2.0
"""Two labels are confused when their mix-ups make up so much of all mistakes, are so many, and so
many times what an even spread of mistakes would make."""
NO_FAULT = {"good fit"}
BROKEN = {"diverged", "underfitting"}
"""Faults of training that keep a model from learning: nothing else is worth doing before."""
HARMLESS = "Nothing needs to change"
UNKNOWN = "How much that brings cannot be told from the curves; one more run will show."
ONE_SIDE = (
    "Keep such rows on one side: leave --near-duplicates at its default, or take them out of the "
    "validation table."
)
TEMPLATES = (
    "So many rows are alike, as if from a template, that prepare could not keep them on one side: "
    "if a column says from which one or from whom a row is, split by it with --group."
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a model of labels and its rows.

    errors  label → share of its scored rows that are answered wrongly.
    review  the file with suspects.
    keeps_apart  whether prepare was to keep near-duplicates on one side of its own split.
    """

    num_rows: int
    accuracy: float
    errors: dict[str, float]
    pairs: Sequence[MixedUp]
    diagnoses: Sequence[Diagnosis] = ()
    lessons: Lessons | None = None
    review: str | None = None
    keeps_apart: bool = False


def advise(evidence: Evidence) -> list[Advice]:
    """All that is worth changing: what makes scores untrue, what keeps the model from learning,
    then by what is expected to be gained."""
    found = [*_curves(evidence.diagnoses), *_confusion(evidence)]
    if lessons := evidence.lessons:
        found += _leaks(lessons.leaks, evidence)
        found += _noise(lessons, evidence)
        found += _more_rows(lessons, evidence)
        found += _shift(lessons)
    return sorted(found, key=_rank)


def _rank(advice: Advice) -> tuple[int, float]:
    if advice.kind == "leak":
        is_felt = advice.gain is None or abs(advice.gain) >= LEAST_GAIN
        return (0 if is_felt else 3), 0.0
    if advice.kind in BROKEN:
        return 1, 0.0
    harmless = advice.change.startswith(HARMLESS)
    if advice.gain is None:
        return (4 if harmless else 2), 0.0
    return (2 if advice.gain >= LEAST_GAIN else 3), -advice.gain


def _curves(diagnoses: Sequence[Diagnosis]) -> Iterator[Advice]:
    for found in diagnoses:
        if found.kind in NO_FAULT:
            continue
        kept = found.change.startswith(HARMLESS)
        expected = "Nothing for the model that was kept." if kept else UNKNOWN
        yield Advice(
            kind=found.kind, evidence=found.sentence, change=found.change, expected=expected
        )


def _leaks(found: Leaks | None, evidence: Evidence) -> Iterator[Advice]:
    if found is None:
        return
    number = len(found.lines)
    rows = counted(number, "scored row is", "scored rows are")
    what = f"{rows} nearly the same as a training row ({lines_phrase(found.lines)}, as in training "
    what += f"{lines_phrase(found.train_lines)}). Of these {_share(found.accuracy)} are answered "
    what += "rightly"
    expected = "There are no others to score."
    gain = None
    if found.rest_accuracy is not None:
        what += f", of the others {_share(found.rest_accuracy)}"
        gain = found.rest_accuracy - evidence.accuracy
        expected = f"A true score: {_share(found.rest_accuracy)} of the other "
        expected += f"{counted(evidence.num_rows - number, 'row')} are right, where all together "
        expected += f"say {_share(evidence.accuracy)}."
    yield Advice(
        kind="leak",
        evidence=f"{what}.",
        change=TEMPLATES if evidence.keeps_apart else ONE_SIDE,
        expected=expected,
        gain=gain,
    )


def _noise(lessons: Lessons, evidence: Evidence) -> Iterator[Advice]:
    noise = lessons.noise
    if noise is None or noise.share < LEAST_NOISE or noise.num_rows < LEAST_SUSPECTS:
        return
    yield Advice(
        kind="noise",
        evidence=f"About {percent(noise.share)} of the training labels are probably wrong, "
        f"{counted(noise.num_rows, 'row')} by clear evidence. (A head on {lessons.by}, asked about "
        "rows that it has not learned from, is sure of another label; where labels are hard to "
        "tell apart this number is rather too high.)",
        change=f"Go through the first {noise.num_rows:,} rows of {evidence.review}, fill in the "
        f"column decision, and prepare again with --review {evidence.review}.",
        expected=_relabelled(noise),
        gain=noise.relabelled,
        gain_interval=noise.interval,
    )


def _relabelled(noise: Noise) -> str:
    test = "A head that learns the proposed labels answers the scored rows "
    if noise.relabelled <= 0:
        return (
            test + "no better, so little can be expected; wrong labels among the scored rows "
            "hide what is gained."
        )
    better = f"{_points(noise.relabelled, noise.interval)} better"
    if noise.interval[0] <= 0:
        better += ", which may be chance"
    return test + f"{better}; wrong labels among the scored rows themselves come on top."


def _more_rows(lessons: Lessons, evidence: Evidence) -> Iterator[Advice]:
    curve = lessons.growth
    if curve is None:
        return
    error = 1 - evidence.accuracy
    gain, interval = grown(curve.overall, error)
    if gain < LEAST_GAIN or interval[0] <= 0:
        return
    first = [growth.label for growth in neediest(curve, evidence.errors)[:5]]
    words = "Twice as many" if len(first) != 1 else "More"
    yield Advice(
        kind="more rows",
        evidence=f"With {percent(0.25)} to all of the {curve.overall.num_rows:,} training rows a "
        f"head on {lessons.by} gets {_scores(curve.overall)} right: it still gains from each row.",
        change=f"Label more rows, of these labels before others: {enumerated(first)}.",
        expected=f"{words} rows: about {_points(gain, interval)} more.",
        gain=gain,
        gain_interval=interval,
    )


def neediest(curve: LearningCurve, errors: dict[str, float]) -> list[Growth]:
    """The labels by what twice as many rows would add to the tuned model's recall."""
    return sorted(
        curve.labels,
        key=lambda growth: (-grown(growth, errors.get(growth.label, 0.0))[0], growth.label),
    )


def grown(growth: Growth, error: float) -> tuple[float, Interval]:
    """What twice as many rows would add to a model whose error is this one now: the share of the
    errors that a head would lose, with the head's own doubt."""
    head = max(1 - growth.scores[-1], 1e-9)
    low, high = (min(1.0, max(0.0, end) / head) * error for end in growth.interval)
    gain = growth.gain_from(error)
    return gain, (min(low, gain), max(high, gain))


def _scores(growth: Growth) -> str:
    shown = [_share(score) for score in growth.scores]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def _confusion(evidence: Evidence) -> Iterator[Advice]:
    if not evidence.pairs:
        return
    pair, wrong = evidence.pairs[0], (1 - evidence.accuracy) * evidence.num_rows
    is_clear = pair.num_rows >= PAIR_ROWS and pair.num_rows >= PAIR_SHARE * wrong
    if not is_clear or pair.num_rows < PAIR_SURPRISE * pair.expected:
        return
    gain = pair.num_rows / evidence.num_rows
    merge = f'--merge "{pair.second}={pair.first}"'
    yield Advice(
        kind="confusion",
        evidence=f"“{pair.first}” and “{pair.second}” are taken for each other: {pair}",
        change="Say in one sentence what tells them apart and relabel their rows by it; or, if "
        f"what follows is the same for both, make them one with {merge}.",
        expected=f"As one label: {_points(gain)} more, since these mix-ups are then none. "
        "Relabelled: at most as much.",
        gain=gain,
    )


def _shift(lessons: Lessons) -> Iterator[Advice]:
    found = lessons.shift
    if found is None or not found.is_clear:
        return
    low, high = found.interval
    yield Advice(
        kind="shift",
        evidence="The scored rows differ from the training rows: from its words alone a classifier "
        f"tells on which side a row is, with an area under the ROC curve of {found.area:.2f} (95 % "
        f"sure: {low:.2f} to {high:.2f}; 0.5 would be chance).",
        change="Add training rows that are like the scored ones. If they were meant to be alike, "
        "let prepare split one table (leave out --validation and --split-by time).",
        expected="A score that holds for texts like the training rows is then known too; how much "
        "the model gains, only such rows will show.",
    )


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(gain: float, interval: Interval | None = None) -> str:
    words = f"{100 * gain:.1f} points"
    if interval is None:
        return words
    words += f" (95 % sure: {100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
    return words.replace(": -", ": −").replace("to -", "to −")
