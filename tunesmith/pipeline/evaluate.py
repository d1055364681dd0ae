"""evaluate: ask the deployed model for every validation example, score it, write the report.

Knows: what is measured and compared. Does not know: how scores are computed or pages are laid out.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date

from tunesmith.config import EvaluateConfig, to_toml
from tunesmith.data.chat.files import read_classification
from tunesmith.events import Event, read_events
from tunesmith.metrics.baselines import BASELINES
from tunesmith.metrics.classification import (
    natural_weights,
    probability,
    score,
)
from tunesmith.metrics.intervals import accuracy_gain, bootstrap
from tunesmith.pipeline.report import (
    AnsweredRow,
    CurvePoint,
    ReportData,
    Rival,
    verdict,
    write_report,
)
from tunesmith.pipeline.results import BaselineScores, Deployed, Evaluated, Prepared, Trained
from tunesmith.pipeline.rundir import FOLDERS, RunDir, digest, file_digest, write_atomic
from tunesmith.pipeline.workshop import Workshop
from tunesmith.providers import Answer

REPORT, PREDICTIONS = "report.html", "predictions.parquet"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The validation examples and the endpoint's answers, in the order of the file."""

    texts: list[str]
    gold: list[str]
    answers: list[Answer]
    gold_probabilities: list[float]
    """Of the right label. Outside the best 20 labels: an even part of what they leave over."""

    @property
    def predicted(self) -> list[str]:
        return [answer.label for answer in self.answers]


def inputs(config: EvaluateConfig, prepared: Prepared, deployed: Deployed, run_dir: RunDir) -> str:
    """Changes with the model, the examples and what is measured; not with the concurrency."""
    files = [file_digest(run_dir.path / name) for name in (prepared.train, prepared.scored)]
    weights = (prepared.natural_shares, prepared.class_weights)
    return digest(replace(config, concurrency=1), deployed.model, files, weights)


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
) -> Evaluated:
    """The scores of the deployed model, beside those of cheap classifiers on the same rows.

    `rivals` hands over `baseline_answers` that were computed ahead.
    Leaves predictions.parquet and report.html. Raises: ProviderError, StorageError.
    """
    made_from = inputs(config, prepared, deployed, shop.run_dir)
    if earlier := shop.run_dir.load("evaluate", Evaluated, made_from):
        return earlier
    started = time.monotonic()
    asked = _ask(config, prepared, deployed.model, shop)
    scores = score(
        asked.gold,
        asked.predicted,
        labels=prepared.labels,
        gold_probabilities=asked.gold_probabilities,
        answer_probabilities=[math.exp(answer.logprob) for answer in asked.answers],
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
        seconds=time.monotonic() - started,
    )
    lines = _lines(prepared, shop.run_dir)
    _keep_predictions(asked, lines, shop.run_dir)
    page = replace(
        _page(result, prepared, trained, deployed),
        calibration=scores.calibration,
        per_class=scores.per_class,
        mistakes=_mistakes(asked, lines),
        num_worst=config.worst,
        curve=_curve(shop.run_dir),
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
    return Asked(texts=texts, gold=gold, answers=ordered, gold_probabilities=chances)


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


def _lines(prepared: Prepared, run_dir: RunDir) -> list[int]:
    """Line of each validation example in the file it came from."""
    import polars as pl

    rows = pl.read_parquet(run_dir.path / FOLDERS["prepare"] / "receipt.parquet")
    lines: list[int] = rows.filter(pl.col("split") == "validation")["line"].to_list()
    assert len(lines) == prepared.num_scored
    return lines


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
        "correct": [p == g for p, g in zip(asked.predicted, asked.gold, strict=True)],
        "cut_tokens": [answer.cut_tokens for answer in asked.answers],
    }
    table = io.BytesIO()
    pl.DataFrame(columns).write_parquet(table)
    write_atomic(run_dir.folder("evaluate") / PREDICTIONS, table.getvalue())


def _page(
    result: Evaluated, prepared: Prepared, trained: Trained, deployed: Deployed
) -> ReportData:
    """The report's content, as far as the results hold it."""
    today = date.today()
    timings = {
        "prepare": prepared.seconds,
        "train": trained.seconds,
        "deploy": deployed.seconds,
        "evaluate": result.seconds,
    }
    return ReportData(
        title=prepared.name,
        model=result.model,
        base_model=trained.base_model,
        date=f"{today.day} {today:%B %Y}",
        num_examples=result.num_examples,
        labels=result.labels,
        metrics=result.metrics,
        intervals=result.intervals,
        per_class=(),
        confusion=result.confusion,
        natural=result.natural,
        natural_shares=prepared.natural_shares,
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
        num_cut=result.num_cut,
        num_rows=prepared.num_rows,
        fates=prepared.fates,
        num_train=prepared.num_train,
        num_validation=prepared.num_validation,
        train_counts=prepared.train_counts,
        validation_counts=prepared.validation_counts,
        method=trained.method,
        chosen_step=trained.chosen_step,
        parity=deployed.parity,
        decisions=[
            *(("prepare", decision) for decision in prepared.decisions),
            *(("train", decision) for decision in trained.decisions),
        ],
        findings=prepared.findings,
        timings={verb: seconds for verb, seconds in timings.items() if seconds},
    )


def _mistakes(asked: Asked, lines: Sequence[int]) -> list[AnsweredRow]:
    """The rows answered wrongly, those first whose right label got the least probability."""
    rows = [
        AnsweredRow(
            text=text,
            gold=gold,
            predicted=answer.label,
            probability=math.exp(answer.logprob),
            gold_probability=chance,
            line=line,
        )
        for text, gold, answer, chance, line in zip(
            asked.texts, asked.gold, asked.answers, asked.gold_probabilities, lines, strict=True
        )
        if gold != answer.label
    ]
    return sorted(rows, key=lambda row: row.gold_probability or 0.0)


def _curve(run_dir: RunDir) -> list[CurvePoint]:
    """What the training process measured, step by step."""
    events = read_events(run_dir.path / FOLDERS["train"] / "events.jsonl")
    return [
        CurvePoint(
            step=int(event.data["step"]),
            train_loss=event.data.get("train_loss"),
            train_accuracy=event.data.get("train_mean_token_accuracy"),
            dev_loss=event.data.get("dev_loss"),
            dev_accuracy=event.data.get("dev_accuracy"),
        )
        for event, _ in events
        if event.kind == "metric" and "step" in event.data
    ]
