"""evaluate: ask the deployed model for every held-out example, score it, write the report.

Knows: what an evaluation is made from, and when an earlier one still holds.
Does not know: how labels (`evaluate_labels`) or written answers (`evaluate_chat`) are scored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tunesmith.config import EvaluateConfig, to_toml
from tunesmith.pipeline import gate
from tunesmith.pipeline.evaluating.labels.evaluate import baseline_answers, evaluate_labels
from tunesmith.pipeline.evaluating.labels.rivals import model_of
from tunesmith.pipeline.evaluating.writing import judge
from tunesmith.pipeline.evaluating.writing.evaluate import evaluate_text
from tunesmith.pipeline.results import Deployed, Evaluated, EvaluatedText, Prepared, Trained
from tunesmith.pipeline.rundir import RunDir, digest, file_digest
from tunesmith.pipeline.workshop import Workshop

__all__ = ["baseline_answers", "evaluate", "inputs", "kind_of"]


def inputs(config: EvaluateConfig, prepared: Prepared, deployed: Deployed, run_dir: RunDir) -> str:
    """Changes with the model, the examples and what is measured; not with the concurrency, nor with
    what is required of the scores."""
    names = (prepared.train, prepared.scored)
    files = [file_digest(run_dir.path / name) for name in names if name]
    weights = (prepared.natural_shares, prepared.class_weights)
    if config.schema:
        files.append(file_digest(Path(config.schema)))
    others = dict.fromkeys((*config.against, *config.no_worse_than))
    config = replace(
        config,
        concurrency=1,
        judge_rubric=judge.rubric(config),
        against=tuple(f"{name} {model_of(name)}" for name in others),
        no_worse_than=(),
        require=(),
    )
    return digest(config, deployed.model, files, weights)


def kind_of(prepared: Prepared) -> type[Evaluated] | type[EvaluatedText]:
    """What the evaluation of such examples comes to."""
    return Evaluated if prepared.task == "classify" else EvaluatedText


def evaluate(
    config: EvaluateConfig,
    prepared: Prepared,
    trained: Trained,
    deployed: Deployed,
    shop: Workshop,
    *,
    rivals: Callable[[], dict[str, list[str]]] | None = None,
) -> Evaluated | EvaluatedText:
    """The scores of the deployed model, beside those of others on the same rows: cheap classifiers
    and other models where it labels, the untuned model where it writes.

    `rivals` hands over `baseline_answers` that were computed ahead.
    Leaves predictions.parquet and report.html. Raises: ProviderError, StorageError; ConfigError,
    NotFound for a column or model that is not there.
    """
    gate.check_task(config, prepared)
    made_from = inputs(config, prepared, deployed, shop.run_dir)
    earlier = shop.run_dir.load("evaluate", kind_of(prepared), made_from)
    if earlier is not None:
        return earlier
    result: Evaluated | EvaluatedText
    if prepared.task == "classify":
        result = evaluate_labels(config, prepared, trained, deployed, shop, ahead=rivals)
    else:
        result = evaluate_text(config, prepared, trained, deployed, shop)
    shop.run_dir.save("evaluate", result, made_from, to_toml(config))
    return result
