"""evaluate, for a model that is there and a table that it was not tuned on.

Knows: what the provider says of a model. Does not know: how rows are prepared, answers scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tunesmith.config import PrepareConfig, RunConfig
from tunesmith.errors import NotFound, NotOffered
from tunesmith.pipeline import spending
from tunesmith.pipeline.evaluate import evaluate
from tunesmith.pipeline.evaluating.labels.rivals import model_of
from tunesmith.pipeline.prepare import hold_out
from tunesmith.pipeline.preparing.held_out import Labels
from tunesmith.pipeline.results import Deployed, Evaluated, Parity, Trained
from tunesmith.pipeline.workshop import Workshop

AS_IT_IS = ("none",)
"""Cleaning steps: the endpoint takes those of the model."""


def evaluate_on(config: RunConfig, name: str, shop: Workshop) -> Evaluated:
    """The scores of the model of that name, or of the run in that folder, on all rows of the table.

    There are no baselines and no advice, for they take the rows that the model learned from.
    Raises: NotFound for a model that is not there, NotOffered for one that writes; as `prepare` and
    `evaluate` do.
    """
    model = model_of(name)
    others = map(model_of, (*config.evaluate.against, *config.evaluate.no_worse_than))
    labels = Labels(
        own=_labels(model, shop),
        others=[label for other in others for label in _labels(other, shop)],
    )
    prepared = hold_out(_raw(config.prepare), shop.run_dir, shop.report, labels=labels)
    paid = replace(config, train=replace(config.train, base_model=model))
    can = shop.provider.can
    cost = spending.estimate(paid, prepared, shop.run_dir, can, training=False)
    shop.spending.agree(cost, shop.report)
    result = evaluate(config.evaluate, prepared, _trained(model), _deployed(model, shop), shop)
    assert isinstance(result, Evaluated)
    return result


def _labels(model: str, shop: Workshop) -> Sequence[str]:
    """Those that the model knows; none where the provider does not tell."""
    found = shop.provider.model(model)
    if found is None:
        raise NotFound(
            f"There is no model {model}.",
            fix="See `tunesmith models list`, or give the folder of a run.",
        )
    if found.tunesmith.get("answers", "labels") != "labels":
        raise NotOffered(
            f"{model} has no labels; only models of labels can be scored on another table.",
            fix="For written answers, evaluate its run: tunesmith evaluate RUN_DIR",
        )
    return tuple(found.tunesmith.get("labels") or ())


def _raw(config: PrepareConfig) -> PrepareConfig:
    return replace(config, clean=config.clean or AS_IT_IS)


def _trained(model: str) -> Trained:
    """As much as a model's name says."""
    base = model.split(":")[1] if model.startswith("ft:") else ""
    return Trained(
        job="",
        model=model,
        status="succeeded",
        base_model=base,
        method="",
        hyperparameters={},
        trained_tokens=0,
        steps=0,
        chosen_step=None,
        texts_cut=0,
        samples_file=None,
    )


def _deployed(model: str, shop: Workshop) -> Deployed:
    """It answers; whether as it was trained, nobody asks again."""
    return Deployed(
        model=model,
        base_url=shop.provider.endpoint().base_url,
        embedded=shop.provider.place == "embedded",
        parity=Parity(
            compared=0, label_disagreements=0, max_logprob_gap=None, tolerance=0.0, passed=True
        ),
    )
