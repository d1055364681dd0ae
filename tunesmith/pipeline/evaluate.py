"""evaluate: ask the deployed model for every validation example, score it, write the report.

Knows: what is measured and compared. Does not know: how scores are computed or pages are laid out.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tunesmith.config import EvaluateConfig, to_toml
from tunesmith.data.chat.files import read_classification
from tunesmith.events import Event
from tunesmith.metrics.baselines import BASELINES
from tunesmith.metrics.classification import (
    ClassificationScores,
    natural_weights,
    probability,
    score,
)
from tunesmith.metrics.generation import Vote, majority
from tunesmith.metrics.intervals import accuracy_gain, bootstrap
from tunesmith.pipeline import judge
from tunesmith.pipeline.evaluate_chat import evaluate_text
from tunesmith.pipeline.report import (
    AnsweredRow,
    ReportData,
    Rival,
    verdict,
    write_report,
)
from tunesmith.pipeline.results import (
    BaselineScores,
    Deployed,
    Evaluated,
    EvaluatedText,
    Prepared,
    Trained,
)
from tunesmith.pipeline.run_facts import RunFacts, run_facts, scored_lines
from tunesmith.pipeline.rundir import FOLDERS, RunDir, digest, file_digest, write_atomic
from tunesmith.pipeline.workshop import Workshop
from tunesmith.providers import Answer, Conversation, Reply, Writing

REPORT, PREDICTIONS = "report.html", "predictions.parquet"
SEED = 0
"""Of the answers that are drawn: evaluated again, they are the same."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The validation examples and the endpoint's answers, in the order of the file."""

    texts: list[str]
    gold: list[str]
    answers: list[Answer]
    """The likeliest labels, with the probabilities of others."""
    gold_probabilities: list[float]
    """Of the right label. Outside the best 20 labels: an even part of what they leave over."""
    votes: list[Vote] = field(default_factory=list)
    """What won among several answers drawn for each row; empty: none were drawn."""

    @property
    def predicted(self) -> list[str]:
        return [answer.label for answer in self.votes or self.answers]

    @property
    def probabilities(self) -> list[float]:
        """Of what was answered, by the model's own word."""
        return [
            math.exp(answer.logprob if label == answer.label else answer.top.get(label, -math.inf))
            for label, answer in zip(self.predicted, self.answers, strict=True)
        ]


def inputs(config: EvaluateConfig, prepared: Prepared, deployed: Deployed, run_dir: RunDir) -> str:
    """Changes with the model, the examples and what is measured; not with the concurrency."""
    files = [file_digest(run_dir.path / name) for name in (prepared.train, prepared.scored)]
    weights = (prepared.natural_shares, prepared.class_weights)
    if config.schema:
        files.append(file_digest(Path(config.schema)))
    config = replace(config, concurrency=1, judge_rubric=judge.rubric(config))
    return digest(config, deployed.model, files, weights)


def kind_of(prepared: Prepared) -> type[Evaluated] | type[EvaluatedText]:
    """What the evaluation of such examples comes to."""
    return Evaluated if prepared.task == "classify" else EvaluatedText


def baseline_answers(prepared: Prepared, run_dir: RunDir) -> dict[str, list[str]]:
    """What each cheap classifier answers to the validation texts, by its name.

    It needs no model of ours, so a whole run computes it while the training process starts up.
    """
    texts, labels = read_classification(run_dir.path / prepared.train)
    asked, _ = read_classification(run_dir.path / prepared.scored)
    balanced = prepared.class_weights == "balanced"
    return {b.name: b.predict(texts, labels, asked, balanced=balanced) for b in BASELINES}


def evaluate(
    config: EvaluateConfig,
    prepared: Prepared,
    trained: Trained,
    deployed: Deployed,
    shop: Workshop,
    *,
    rivals: Callable[[], dict[str, list[str]]] | None = None,
) -> Evaluated | EvaluatedText:
    """The scores of the deployed model, beside those of cheap classifiers on the same rows; where
    it writes, beside those of the untuned model.

    `rivals` hands over `baseline_answers` that were computed ahead.
    Leaves predictions.parquet and report.html. Raises: ProviderError, StorageError.
    """
    made_from = inputs(config, prepared, deployed, shop.run_dir)
    earlier = shop.run_dir.load("evaluate", kind_of(prepared), made_from)
    if earlier is not None:
        return earlier
    if prepared.task != "classify":
        written = evaluate_text(config, prepared, trained, deployed, shop)
        shop.run_dir.save("evaluate", written, made_from, to_toml(config))
        return written
    started = time.monotonic()
    asked = _ask(config, prepared, deployed.model, shop)
    scores = score(
        asked.gold,
        asked.predicted,
        labels=prepared.labels,
        gold_probabilities=asked.gold_probabilities,
        answer_probabilities=asked.probabilities,
    )
    baselines: tuple[BaselineScores, ...] = ()
    if config.baselines:
        answers = rivals() if rivals else baseline_answers(prepared, shop.run_dir)
        baselines = _baselines(config, prepared, asked, answers)
    shares = natural_weights(asked.gold, prepared.natural_shares)
    natural = score(asked.gold, asked.predicted, labels=prepared.labels, weights=shares)
    folder = FOLDERS["evaluate"]
    result = Evaluated(
        model=deployed.model,
        num_examples=scores.num_examples,
        metrics=scores.metrics,
        intervals=bootstrap(scores, resamples=config.bootstrap),
        per_class=tuple(asdict(one) for one in scores.per_class),
        natural=natural.metrics,
        baselines=baselines,
        labels=scores.labels,
        confusion=tuple(map(tuple, scores.confusion)),
        verdict=(),
        report=f"{folder}/{REPORT}",
        predictions=f"{folder}/{PREDICTIONS}",
        num_cut=sum(answer.cut_tokens > 0 for answer in asked.answers),
        num_votes=config.num_votes,
        num_tied=sum(vote.tied for vote in asked.votes),
        seconds=time.monotonic() - started,
    )
    lines = scored_lines(prepared, shop.run_dir)
    _keep_predictions(asked, lines, shop.run_dir)
    facts = run_facts(prepared, trained, deployed, shop.run_dir, result.seconds)
    page = replace(
        _page(result, prepared, facts, scores),
        mistakes=_mistakes(asked, lines),
        num_worst=config.worst,
    )
    result = replace(result, verdict=tuple(verdict(page)))
    write_report(replace(page, verdict=result.verdict), shop.run_dir.path / result.report)
    shop.run_dir.save("evaluate", result, made_from, to_toml(config))
    return result


def _ask(config: EvaluateConfig, prepared: Prepared, model: str, shop: Workshop) -> Asked:
    texts, gold = read_classification(shop.run_dir.path / prepared.scored)
    answers: dict[int, Answer] = {}
    for i, answer in shop.provider.classify(model, texts, concurrency=config.concurrency):
        answers[i] = answer
        data = {"done": len(answers), "total": len(texts)}
        shop.report(Event(kind="progress", message="Asking the model", data=data))
    ordered = [answers[i] for i in range(len(texts))]
    chances = [
        probability(label, answer.top, num_labels=len(prepared.labels))
        for label, answer in zip(gold, ordered, strict=True)
    ]
    votes = _vote(config, texts, model, shop) if config.num_votes > 1 else []
    return Asked(texts=texts, gold=gold, answers=ordered, gold_probabilities=chances, votes=votes)


def _vote(config: EvaluateConfig, texts: Sequence[str], model: str, shop: Workshop) -> list[Vote]:
    """The most frequent of several answers to each text. Ties are told of."""
    asked = [Conversation(messages=[{"role": "user", "content": text}]) for text in texts]
    drawn = Writing(temperature=1.0, n=config.num_votes, seed=SEED, logprobs=True)
    answers: list[list[Reply]] = [[] for _ in texts]
    done = 0
    for i, reply in shop.provider.chat(model, asked, concurrency=config.concurrency, writing=drawn):
        answers[i].append(reply)
        done += len(answers[i]) == config.num_votes
        data = {"done": done, "total": len(texts)}
        shop.report(Event(kind="progress", message="Drawing answers", data=data))
    votes = [
        majority([r.text for r in some], [math.fsum(r.logprobs or ()) for r in some])
        for some in answers
    ]
    if tied := sum(vote.tied for vote in votes):
        what = f"On {tied:,} of {len(votes):,} rows the {config.num_votes} answers tied; the label "
        what += "that was likelier on average counts there"
        shop.report(Event(kind="note", message=what))
    return votes


def _baselines(
    config: EvaluateConfig, prepared: Prepared, asked: Asked, answers: dict[str, list[str]]
) -> tuple[BaselineScores, ...]:
    found = []
    for baseline in BASELINES:
        predicted = answers[baseline.name]
        scores = score(asked.gold, predicted, labels=prepared.labels)
        gain, span = accuracy_gain(
            asked.gold, asked.predicted, predicted, resamples=config.bootstrap
        )
        found.append(
            BaselineScores(
                name=baseline.name,
                title=baseline.title,
                description=baseline.description,
                metrics=scores.metrics,
                intervals=bootstrap(scores, resamples=config.bootstrap),
                gain=gain,
                gain_interval=span,
            )
        )
    return tuple(found)


def _keep_predictions(asked: Asked, lines: Sequence[int], run_dir: RunDir) -> None:
    """predictions.parquet: one row an example, in the order of the validation file."""
    import polars as pl

    columns = {
        "line": pl.Series(lines, dtype=pl.Int64),
        "text": asked.texts,
        "label": asked.gold,
        "predicted": asked.predicted,
        "logprob": [answer.logprob for answer in asked.answers],
        "label_probability": asked.gold_probabilities,
        "top": [
            [{"label": label, "logprob": value} for label, value in answer.top.items()]
            for answer in asked.answers
        ],
        "tied": [vote.tied for vote in asked.votes] or [False] * len(lines),
        "correct": [p == g for p, g in zip(asked.predicted, asked.gold, strict=True)],
        "cut_tokens": [answer.cut_tokens for answer in asked.answers],
    }
    table = io.BytesIO()
    pl.DataFrame(columns).write_parquet(table)
    write_atomic(run_dir.folder("evaluate") / PREDICTIONS, table.getvalue())


def _page(
    result: Evaluated, prepared: Prepared, facts: RunFacts, scores: ClassificationScores
) -> ReportData:
    """The report's content, as far as the results hold it."""
    return ReportData(
        **vars(replace(facts, num_cut=result.num_cut)),
        num_examples=result.num_examples,
        labels=result.labels,
        metrics=result.metrics,
        intervals=result.intervals,
        per_class=scores.per_class,
        confusion=result.confusion,
        natural=result.natural,
        natural_shares=prepared.natural_shares,
        calibration=scores.calibration,
        baselines=[
            Rival(
                title=b.title,
                description=b.description,
                metrics=b.metrics,
                intervals=b.intervals,
                gain_interval=b.gain_interval,
            )
            for b in result.baselines
        ],
        num_votes=result.num_votes,
        num_tied=result.num_tied,
        train_counts=prepared.train_counts,
        validation_counts=prepared.validation_counts,
    )


def _mistakes(asked: Asked, lines: Sequence[int]) -> list[AnsweredRow]:
    """The rows answered wrongly, those first whose right label got the least probability."""
    probabilities = asked.probabilities
    rows = [
        AnsweredRow(
            text=asked.texts[i],
            gold=gold,
            predicted=label,
            probability=probabilities[i],
            gold_probability=asked.gold_probabilities[i],
            line=lines[i],
        )
        for i, (gold, label) in enumerate(zip(asked.gold, asked.predicted, strict=True))
        if gold != label
    ]
    return sorted(rows, key=lambda row: row.gold_probability or 0.0)
