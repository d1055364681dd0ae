"""evaluate, for written answers: the tuned model and the untuned one are asked for the last answer
of every held-out conversation, and both are scored against the right one.

Knows: what is compared. Does not know: how scores are computed or pages are laid out.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tunesmith.config import EvaluateConfig
from tunesmith.errors import ConfigError, RequestError
from tunesmith.events import Decision, Event
from tunesmith.metrics import intervals
from tunesmith.metrics.intervals import Interval
from tunesmith.pipeline.evaluating import learning
from tunesmith.pipeline.evaluating.run_facts import run_facts, scored_lines
from tunesmith.pipeline.evaluating.writing import judge
from tunesmith.pipeline.evaluating.writing.answers import JUDGED, Answered, questions, schema_of
from tunesmith.pipeline.evaluating.writing.chat_rows import ChatRow, read_chat_rows, said
from tunesmith.pipeline.evaluating.writing.judge import BEST, WORST
from tunesmith.pipeline.evaluating.writing.report import (
    AnswerRow,
    ChatReportData,
    verdict,
    write_chat_report,
)
from tunesmith.pipeline.results import (
    Deployed,
    EvaluatedText,
    Prepared,
    Trained,
    UntunedScores,
)
from tunesmith.pipeline.rundir import FOLDERS, RunDir, write_atomic
from tunesmith.pipeline.workshop import Workshop

REPORT, PREDICTIONS = "report.html", "predictions.parquet"
ROW_GROUP = 2048
"""Rows of predictions.parquet that are read together when one of them is looked at."""
SHORT = 40
"""Characters of a right answer, on average, up to which being exactly right is what counts."""
MOST_VOTES = 128


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The rows, and the answers of the tuned and of the untuned model."""

    rows: Sequence[ChatRow]
    tuned: Answered
    untuned: Answered | None
    decisions: tuple[Decision, ...]

    @property
    def main(self) -> str:
        """The metric that fits these answers: one that tells right from wrong, where one does."""
        if self.tuned.values(JUDGED):
            return JUDGED
        for name in ("tool_call_match", "json_match"):
            if 2 * len(self.tuned.values(name)) >= len(self.rows):
                return name
        average = sum(len(row.gold) for row in self.rows) / len(self.rows)
        is_short = average <= SHORT or "token_f1" not in self.tuned.names
        return "exact_match" if is_short else "token_f1"


def check(config: EvaluateConfig) -> None:
    """Refuse, before anything starts, what cannot be done. Raises: ConfigError."""
    judge.check(config)
    schema_of(config, [])
    if not 1 <= config.num_votes <= MOST_VOTES:
        fix = f"Give a number from 1 to {MOST_VOTES}."
        raise ConfigError(f"num_votes is {config.num_votes}.", fix=fix)
    if config.max_tokens is not None and config.max_tokens < 1:
        raise ConfigError(f"max_tokens is {config.max_tokens}.", fix="Give 1 or more.")


def evaluate_text(
    config: EvaluateConfig, prepared: Prepared, trained: Trained, deployed: Deployed, shop: Workshop
) -> EvaluatedText:
    """The scores of the deployed model's answers, beside those of the untuned one.

    Leaves predictions.parquet and report.html; whoever calls keeps the result.
    Raises: ProviderError, StorageError; ConfigError for a JSON Schema that is none.
    """
    started = time.monotonic()
    found = _ask_both(config, prepared, trained, deployed, shop)
    lines = scored_lines(prepared, shop.run_dir)
    _keep_predictions(found, lines, shop.run_dir)
    facts = run_facts(prepared, trained, deployed, shop.run_dir, time.monotonic() - started)
    everything = [*facts.decisions, *(("evaluate", decision) for decision in found.decisions)]
    facts = replace(facts, decisions=everything)
    tuned, folder = found.tuned, FOLDERS["evaluate"]
    result = EvaluatedText(
        model=deployed.model,
        num_examples=len(found.rows),
        main=found.main,
        metrics=means(tuned),
        intervals=spans(tuned, config.bootstrap),
        counts={name: len(tuned.values(name)) for name in tuned.names},
        untuned=against_untuned(found, config.bootstrap),
        num_refused=sum(bool(reply.refused) for reply in tuned.replies),
        num_unjudged=sum(grade.score is None for grade in tuned.grades),
        diagnoses=tuple(asdict(one) for one in learning.diagnoses(facts)),
        decisions=found.decisions,
        verdict=(),
        report=f"{folder}/{REPORT}",
        predictions=f"{folder}/{PREDICTIONS}",
        seconds=time.monotonic() - started,
    )
    page = ChatReportData(
        **vars(facts),
        result=result,
        rows=_worst(found, lines, config.worst),
        preference=_preference(trained),
    )
    result = replace(result, verdict=tuple(verdict(page)))
    write_chat_report(replace(page, result=result), shop.run_dir.path / result.report)
    return result


def means(answered: Answered) -> dict[str, float]:
    """Metric → mean over the rows that it applies to."""
    return {name: math.fsum(v) / len(v) for name in answered.names if (v := answered.values(name))}


def spans(answered: Answered, resamples: int) -> dict[str, Interval]:
    """Metric → 95 % interval of its mean."""
    return {name: _span(name, answered.values(name), resamples) for name in answered.names}


def against_untuned(found: Comparison, resamples: int) -> UntunedScores | None:
    """The untuned model's scores, and how far the tuned one is ahead on the same rows."""
    theirs, ours = found.untuned, found.tuned
    if theirs is None:
        return None
    gains: dict[str, float] = {}
    gain_intervals: dict[str, Interval] = {}
    for name in ours.names:
        both = zip(ours.scores, theirs.scores, strict=True)
        pairs = [(a[name], b[name]) for a, b in both if name in a and name in b]
        if pairs:
            mine, other = zip(*pairs, strict=True)
            gains[name], gain_intervals[name] = intervals.mean_gain(
                mine, other, resamples=resamples
            )
    return UntunedScores(
        model=theirs.model,
        metrics=means(theirs),
        intervals=spans(theirs, resamples),
        gains=gains,
        gain_intervals=gain_intervals,
    )


def _ask_both(
    config: EvaluateConfig, prepared: Prepared, trained: Trained, deployed: Deployed, shop: Workshop
) -> Comparison:
    rows = read_chat_rows(shop.run_dir.path / prepared.scored)
    taught = read_chat_rows(shop.run_dir.path / prepared.train)
    asking, decision = questions(config, rows, taught, trained.base_model)
    shop.report(decision.event())
    tuned = asking.ask(deployed.model, shop, doing="Asking the model")
    untuned, told = None, [decision]
    if config.untuned:
        try:
            untuned = asking.ask(trained.base_model, shop, doing="Asking the untuned model")
        except RequestError as error:
            why = error.what.rstrip(".")
            told.append(Decision(what="untuned model", value="not compared", reason=why))
            shop.report(Event(kind="warning", message=f"The untuned model was not asked: {why}."))
    return Comparison(rows=rows, tuned=tuned, untuned=untuned, decisions=tuple(told))


def _span(name: str, values: Sequence[float], resamples: int) -> Interval:
    if name != JUDGED:
        return intervals.mean(values, resamples=resamples)
    size = BEST - WORST
    low, high = intervals.mean([(v - WORST) / size for v in values], resamples=resamples)
    return WORST + size * low, WORST + size * high


def _worst(found: Comparison, lines: Sequence[int], most: int) -> list[AnswerRow]:
    """The rows with the lowest scores, those first that the verdict counts as wrong."""
    scores = found.tuned.scores
    likeness = ("token_f1", "tool_call_match", "exact_match")

    def rank(place: int) -> list[float]:
        return [scores[place].get(name, math.inf) for name in (found.main, *likeness)]

    places = sorted(range(len(found.rows)), key=rank)
    wrong = [place for place in places if scores[place].get("exact_match") != 1]
    return [_shown(found, place, lines[place]) for place in wrong[:most]]


def _shown(found: Comparison, place: int, line: int) -> AnswerRow:
    row, reply, untuned = found.rows[place], found.tuned.replies[place], found.untuned
    other = untuned.replies[place] if untuned else None
    grade = found.tuned.grades[place] if found.tuned.grades else None
    return AnswerRow(
        messages=row.messages,
        gold=said(row.gold, row.gold_calls),
        answer=reply.refused or said(reply.text, reply.calls),
        untuned=said(other.text, other.calls) if other else None,
        finish_reason="refused" if reply.refused else reply.finish_reason,
        scores=found.tuned.scores[place],
        judged=grade.reason if grade else "",
        line=line,
    )


def _preference(trained: Trained) -> dict[str, float]:
    """What training measured of the held-out pairs, of all of them where it says so."""
    found = {}
    for name in ("valid_reward_accuracy", "valid_reward_margin"):
        value = trained.facts.get(f"full_{name}", trained.facts.get(name))
        if value is not None:
            found[name] = float(value)
    return found


def _keep_predictions(found: Comparison, lines: Sequence[int], run_dir: RunDir) -> None:
    """predictions.parquet: one row an example, in the order of the file that is scored."""
    import polars as pl

    rows = found.rows
    columns: dict[str, Any] = {
        "line": pl.Series(lines, dtype=pl.Int64),
        "messages": [_json(row.messages) for row in rows],
        "tools": _texts([_json(row.tools) if row.tools else None for row in rows]),
        "right_answer": [row.gold for row in rows],
        "right_calls": _texts([_calls(row.gold_calls) for row in rows]),
        "worse_answer": _texts([row.rejected for row in rows]),
        **_columns("", found.tuned),
    }
    if found.untuned:
        columns |= _columns("untuned_", found.untuned)
    table = io.BytesIO()
    pl.DataFrame(columns).write_parquet(table, row_group_size=ROW_GROUP)
    write_atomic(run_dir.folder("evaluate") / PREDICTIONS, table.getvalue())


def _columns(prefix: str, answered: Answered) -> dict[str, Any]:
    import polars as pl

    replies, grades = answered.replies, answered.grades
    out: dict[str, Any] = {
        "answer": [reply.text for reply in replies],
        "calls": _texts([_calls(reply.calls) for reply in replies]),
        "finish_reason": _texts([reply.finish_reason for reply in replies]),
        "refused": _texts([reply.refused or None for reply in replies]),
        "tokens": [reply.completion_tokens for reply in replies],
        "seconds": [reply.seconds for reply in replies],
    }
    for name in answered.names:
        out[name] = pl.Series([row.get(name) for row in answered.scores], dtype=pl.Float64)
    if grades:
        out["judge_reason"] = [grade.reason for grade in grades]
    return {prefix + name: values for name, values in out.items()}


def _texts(values: Sequence[str | None]) -> Any:
    import polars as pl

    return pl.Series(values, dtype=pl.String)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _calls(calls: Sequence[Any]) -> str | None:
    return _json([asdict(call) for call in calls]) if calls else None
