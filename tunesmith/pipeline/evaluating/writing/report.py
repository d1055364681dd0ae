"""report.html of a model that writes: how good its answers are, in plain words.

Knows: what a reader wants to see, in which order; the words around the numbers.
Does not know: where the numbers come from, nor how to measure anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from tunesmith.data.chat.spans import content_text
from tunesmith.data.findings import counted
from tunesmith.metrics.intervals import Interval
from tunesmith.pipeline.evaluating import learning
from tunesmith.pipeline.evaluating.labels.report import compared, duration, receipt
from tunesmith.pipeline.evaluating.run_facts import RunFacts
from tunesmith.pipeline.evaluating.verdict import FEW_ROWS
from tunesmith.pipeline.evaluating.writing.chat_rows import calls_of, said
from tunesmith.pipeline.pages import page
from tunesmith.pipeline.pages.charts import percent
from tunesmith.pipeline.results import EvaluatedText


class Metric(NamedTuple):
    """A metric in words."""

    title: str
    words: str
    meaning: str
    """In the glossary."""
    scale: float = 1.0
    """Its best value."""


METRICS = {
    "exact_match": Metric(
        "Exactly right",
        "letter for letter",
        "The share of answers that are the right one, letter for letter, but for white space at "
        "the ends.",
    ),
    "json_match": Metric(
        "Same JSON",
        "the same values, however written",
        "The share of answers that are JSON with the same keys and values as the right one, "
        "whatever the order of keys and the white space.",
    ),
    "tool_call_match": Metric(
        "Right calls",
        "the same functions and arguments",
        "The share of answers that call the same functions with the same arguments, in any order.",
    ),
    "judge_score": Metric(
        "Judge",
        "graded by another model",
        "Another model reads the conversation, the right answer and the given one, and grades it "
        "from 1 to 5. It errs too; read some of its reasons.",
        5.0,
    ),
    "token_f1": Metric(
        "Words in common",
        "whatever their order",
        "How many of its words are in the right answer, and how many of the right answer’s words "
        "are in it, in one number (F1).",
    ),
    "rouge_l": Metric(
        "ROUGE-L",
        "the longest sequence in common",
        "The longest sequence of words that both answers have, as a share of their words.",
    ),
    "chrf": Metric(
        "chrF",
        "pieces of words in common",
        "Sequences of up to six letters that both answers have; kind to other endings of a word.",
    ),
    "json_valid": Metric(
        "Valid JSON",
        "where it should be JSON",
        "The share of answers that can be read as JSON.",
    ),
    "schema_match": Metric(
        "Fits the schema",
        "the keys and types",
        "The share of answers with the keys and types that your schema asks for, or, without one, "
        "that all answers in training have.",
    ),
    "stops_by_itself": Metric(
        "Stops by itself",
        "before the limit of tokens",
        "The share of answers that the model ended itself. One that does not stop has not learned "
        "how answers end.",
    ),
}
"""In the order of the table."""
HEADLINES = ("exact_match", "schema_match", "stops_by_itself", "rouge_l", "token_f1", "chrf")
NUM_HEADLINES = 4
SAID = {
    "exact_match": "are answered exactly right",
    "json_match": "are answered with the right JSON",
    "tool_call_match": "are answered with the right calls",
}
RUNS_ON = 0.02
"""Share of answers that do not stop by themselves from which the verdict says so."""


@dataclass(frozen=True, kw_only=True)
class AnswerRow:
    """A held-out conversation with the right answer and those that were given."""

    messages: Sequence[Mapping[str, Any]]
    gold: str
    answer: str
    untuned: str | None = None
    finish_reason: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    judged: str = ""
    """The judge's reason."""
    line: int | None = None

    @property
    def turns(self) -> list[tuple[str, str]]:
        """(role, text) of each turn before the answer."""
        return [
            (m["role"], said(content_text(m.get("content")), calls_of(m))) for m in self.messages
        ]


@dataclass(frozen=True, kw_only=True)
class ChatReportData(RunFacts):
    """All that the report shows."""

    result: EvaluatedText
    rows: Sequence[AnswerRow] = ()
    """The worst answers, the worst first."""
    preference: Mapping[str, float] = field(default_factory=dict)
    """What training measured of pairs: valid_reward_accuracy (share), valid_reward_margin."""


def write_chat_report(data: ChatReportData, path: Path) -> None:
    """Write the page to `path`, whole or not at all. Raises: StorageError."""
    result = data.result
    html = _page().render(
        data=data,
        result=result,
        sentences=list(result.verdict) or verdict(data),
        metrics=METRICS,
        names=sorted(filter(result.metrics.__contains__, METRICS), key=result.main.__ne__),
        tiles=headlines(result),
        receipt=receipt(data.fates),
        learning=learning.curves(data),
        legend=learning.legend(data),
        diagnoses=learning.diagnoses(data),
    )
    page.write(path, html)


def headlines(result: EvaluatedText) -> list[str]:
    """The few metrics to show first, the one that the verdict is about before the others."""
    others = [n for n in HEADLINES if n in result.metrics and n != result.main]
    return [result.main, *others][:NUM_HEADLINES]


def verdict(data: ChatReportData) -> list[str]:
    """How good the answers are, whether tuning was worth it, and what is wrong, in sentences."""
    result = data.result
    out = [_how_good(result)]
    if result.untuned and result.main in result.untuned.gains:
        out.append(_worth(result))
    stops = result.metrics.get("stops_by_itself", 1.0)
    if 1 - stops >= RUNS_ON:
        number = round((1 - stops) * result.counts["stops_by_itself"])
        out.append(
            f"{number:,} of {result.num_examples:,} answers did not stop by themselves before the "
            "limit of tokens: train longer, or look whether the right answers are cut."
        )
    if result.num_refused:
        longer = counted(result.num_refused, "prompt is", "prompts are")
        out.append(f"{longer} longer than the model reads, and cannot be answered rightly.")
    if result.num_unjudged:
        grades = counted(result.num_unjudged, "grade")
        count = "counts" if result.num_unjudged == 1 else "count"
        out.append(f"{grades} of the judge could not be read and {count} nowhere.")
    if margin := data.preference.get("valid_reward_accuracy"):
        out.append(f"It prefers the better answer in {percent(margin)} of the held-out pairs.")
    if result.num_examples < FEW_ROWS:
        few = f"Only {result.num_examples:,} rows were held out"
        out.append(f"{few}, so take these numbers as rough.")
    return out


def shown(name: str, value: float) -> str:
    """A score as a reader sees it: "93.8 %", or "4.2 of 5"."""
    scale = METRICS[name].scale
    return percent(value) if scale == 1 else f"{value:.2f} of {scale:.0f}"


def between(name: str, interval: Interval) -> str:
    """An interval as a reader sees it, without its "between"."""
    if METRICS[name].scale == 1:
        return f"{100 * interval[0]:.1f} and {percent(interval[1])}"
    return f"{interval[0]:.2f} and {interval[1]:.2f}"


def gained(name: str, gain: float) -> str:
    """A difference of scores: "+12.3 points"."""
    if METRICS[name].scale == 1:
        return f"{100 * gain:+.1f} points".replace("-", "−")
    return f"{gain:+.2f}".replace("-", "−")


def _how_good(result: EvaluatedText) -> str:
    name, n = result.main, result.counts[result.main]
    value = result.metrics[name]
    if name == "judge_score":
        words = f"The judge gives the answers to {n:,} held-out prompts {value:.2f} of 5 on average"
    elif name in SAID:
        share = "Every one" if value == 1 else percent(value)
        told = SAID[name].replace("are", "is", 1) if value == 1 else SAID[name]
        words = f"{share} of {n:,} held-out prompts {told}"
    else:
        words = f"Its answers have {percent(value)} of their words in common with the right ones "
        words += f"(F1, {n:,} held-out prompts)"
    if span := result.intervals.get(name):
        words += f" (95\u202f%\u00a0sure: between {between(name, span)})"
    return words.replace(") (", "; ") + "."


def _worth(result: EvaluatedText) -> str:
    untuned, name = result.untuned, result.main
    assert untuned
    gain, (low, high) = untuned.gains[name], untuned.gain_intervals[name]
    reached = f"The untuned model reaches {shown(name, untuned.metrics[name])} on the same rows."
    sure = f"95\u202f%\u00a0sure: {gained(name, low)} to {gained(name, high)}".replace(
        " points", ""
    )
    if low > 0:
        return f"{reached} Tuning was worth it: {gained(name, gain)} ({sure})."
    if high < 0:
        return f"{reached} Tuning was not worth it: {gained(name, gain)} ({sure})."
    return f"{reached} Whether tuning was worth it is not decided: {gained(name, gain)} ({sure})."


@cache
def _page() -> jinja2.Template:
    words: dict[str, Callable[..., str]] = {
        "duration": duration, "compared": compared, "shown": shown, "between": between,
        "gained": gained,
    }  # fmt: skip
    return page.template("chat_report.html.jinja", words)
