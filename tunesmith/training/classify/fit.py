"""Fine-tuning an encoder into a classifier: the one-click recipe.

Frozen features, then the best head on them (convex, seconds), then everything from there with early
stopping on a dev slice; whichever serves the dev slice better is kept. Starting from a fitted head
matters more than any setting of the loop: a fresh head spends the first epochs catching up, and
distorts the encoder meanwhile (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and
Underperform Out-of-Distribution").
Does not know: processes, servers, who reads the events.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tunesmith.events import Decision, Event
from tunesmith.model import classifier
from tunesmith.model.classifier import Classifier
from tunesmith.model.precision import Precision, faster
from tunesmith.training.classify.estimate import estimate
from tunesmith.training.classify.examples import (
    Rows,
    class_weights,
    dev_slice,
    encode,
    read_held_out,
    read_training,
    score,
    tell_cuts,
)
from tunesmith.training.classify.features import read as read_features
from tunesmith.training.classify.head import Head, choose_head, fit_head
from tunesmith.training.classify.learner import ClassifierLearner, Looks, plan_of
from tunesmith.training.job import Job, write_json, write_lines
from tunesmith.training.loop import metrics_of, tune
from tunesmith.training.results import checkpoints, save_model, tell_curves
from tunesmith.training.state import Position

VALID_SAMPLE = 200
"""Validation rows scored while training. All of them are scored at the end."""


def fit(job: Job) -> Generator[Event, None, dict[str, Any]]:
    """Train as job.json asks, going on from `job.state`; returns what result.json holds.

    Raises: DataError for examples that no classifier can be trained on; ConfigError for settings
    that are impossible or make the loss diverge; StorageError.
    """
    options, head_only, soft = job.options, job.options.method == "head", job.options.soft_labels
    decisions: list[Decision] = []

    def decide(what: str, value: str, reason: str) -> Event:
        decisions.append(Decision(what=what, value=value, reason=reason))
        return decisions[-1].event()

    # 1. Examples, labels, model.
    texts, answers, labels = read_training(job.training_file, soft=soft)
    torch.manual_seed(job.seed)
    precision, reason = _precision(job)
    model = _untuned(job, labels, precision)
    if model.card.precision != precision:
        precision, reason = model.card.precision, "encoders of this kind are computed in it"
    yield decide("precision", precision, reason)
    limit = model.card.max_length
    rows = encode(model, texts, answers, soft=soft)
    if soft:
        votes = f"soft, from {len(texts):,} votes on {len(rows):,} texts"
        yield decide("labels", votes, "as asked")
    yield from tell_cuts("training", rows, limit)
    held_out = None
    if job.validation_file:
        held_out = read_held_out(job.validation_file, model, soft=soft)
        yield from tell_cuts("validation", held_out, limit)
    weights = class_weights(rows.targets, len(labels), balanced=options.class_weights == "balanced")

    # 2. A dev slice, to choose by: validation examples choose nothing.
    dev, fitting = dev_slice(rows.targets, seed=job.seed)
    yield decide(
        "dev slice",
        f"{len(dev):,} of the {len(rows):,} training examples",
        "chooses when to stop and what to keep, so that the validation examples choose nothing",
    )

    # 3. What all of it will take on this machine; refused where it cannot fit.
    plan = plan_of(job, rows.lengths, fitting)
    looks = Looks(
        rows=rows,
        dev=dev,
        fitting=fitting,
        valid=_sample(held_out, VALID_SAMPLE) if held_out else None,
    )
    expected = estimate(job, model, plan, weights, looks, held_out)
    yield expected.event()

    # 4. Features of the untouched encoder, and the best head on them.
    features = yield from read_features(job, model, rows)
    head, head_loss = choose_head(features, rows.targets, weights, dev=torch.tensor(dev))
    yield decide("head", f"L2 strength 1/{head.strength:g}", f"lowest dev loss, {head_loss:.3f}")
    at_head = _head_metrics(head, features, rows.targets, weights, dev=dev)
    at_head |= {"step": int(head_only), "total_steps": 1 if head_only else plan.total}
    message = f"Head fitted: training loss={at_head['train_loss']:.2f}"
    yield Event(kind="metric", message=message, data=at_head)

    # 5. Everything, from that head on.
    position = Position()
    if not head_only:
        yield decide("n_epochs", f"at most {plan.epochs}", plan.epochs_reason)
        yield decide("batch_size", f"about {plan.batch_size} examples", plan.batch_reason)
        model.head.load_state_dict({"weight": head.weight, "bias": head.bias})
        heads = partial(_heads, head, features, rows.targets, weights)
        learner = ClassifierLearner(job, model, plan, weights, looks, heads=heads)
        position = yield from tune(job, learner, plan)
        decisions += [Decision(**decision) for decision in position.decisions]

    # 6. Keep the better one. The head alone is fitted again, to all examples.
    full = position.best_step > 0 and (options.method == "full" or position.best_loss < head_loss)
    if full:
        model = classifier.load(job.state / "best")
        lowest = f"lowest dev loss {position.best_loss:.3f}"
        reason = f"{lowest}, against {head_loss:.3f} of the head alone"
        yield decide("model kept", f"full fine-tuning at step {position.best_step}", reason)
    else:
        _, head = _heads(head, features, rows.targets, weights)
        model = _untuned(job, labels, precision)
        model.head.load_state_dict({"weight": head.weight, "bias": head.bias})
        reason = "as asked" if head_only else "no step of the full fine-tuning had a lower dev loss"
        yield decide("model kept", "head on the untouched encoder", reason)

    # 7. Score the whole validation file, note answers for the parity gate, save.
    final: dict[str, float] = {}
    if held_out and not head_only:
        seen = score(model.over(model, held_out.encoded), held_out.targets, weights)
        final = {"full_valid_loss": seen.loss, "full_valid_mean_token_accuracy": seen.accuracy}
        message = f"Full validation loss={seen.loss:.2f}, accuracy={seen.accuracy:.3f}"
        yield Event(kind="note", message=message, data=final)
    _write_samples(job, model, _sample(held_out or rows.take(dev), options.parity_examples))
    save_model(job, model)
    chosen = position.best_step if full else int(at_head["step"])
    diagnoses: list[dict[str, Any]] = []
    if not head_only:
        diagnoses = yield from tell_curves(job, plan, chosen, num_labels=len(labels))
    position.metrics_at.setdefault(str(chosen), metrics_of(at_head))
    return {
        "trained_tokens": position.trained_tokens + (0 if full else sum(rows.lengths)),
        "hyperparameters": {
            "n_epochs": 1 if head_only else plan.epochs,
            "batch_size": plan.batch_size,
            "learning_rate_multiplier": plan.multiplier,
        },
        "checkpoints": checkpoints(job, position, chosen, final),
        "facts": {
            "labels": labels,
            "method": "full" if full else "head",
            "precision": precision,
            "decisions": [vars(decision) for decision in decisions],
            "texts_cut": sum(e.cut > 0 for e in rows.encoded),
            "max_length": limit,
            "num_examples": len(rows),
            "steps": position.step,
            "chosen_step": chosen,
            "diagnoses": diagnoses,
            "estimate": expected.compared(),
        },
    }


def _precision(job: Job) -> tuple[Precision, str]:
    """As asked, or the faster one; a resumed run keeps what it began with."""
    if job.options.precision != "auto":
        return job.options.precision, "as asked"
    kept = job.state / "precision.json"
    if not kept.exists():
        precision, reason = faster()
        job.state.mkdir(parents=True, exist_ok=True)
        write_json(kept, {"precision": precision, "reason": reason})
    chosen = json.loads(kept.read_text(encoding="utf-8"))
    return chosen["precision"], chosen["reason"]


def _untuned(job: Job, labels: Sequence[str], precision: Precision) -> Classifier:
    return classifier.from_base(
        job.base,
        labels,
        start_from=job.start_from,
        options=job.options,
        precision=precision,
    )


def _heads(head: Head, features: Tensor, targets: Tensor, weights: Tensor) -> tuple[Head, Head]:
    """It, and the best one of its strength for all rows."""
    return head, fit_head(features, targets, weights, strength=head.strength, start=head)


def _head_metrics(
    head: Head, features: Tensor, targets: Tensor, weights: Tensor, *, dev: Sequence[int]
) -> dict[str, Any]:
    train = score(head(features), targets, weights)
    seen = score(head(features[dev]), targets[dev], weights)
    return {
        "train_loss": train.loss,
        "train_mean_token_accuracy": train.accuracy,
        "dev_loss": seen.loss,
        "dev_accuracy": seen.accuracy,
    }


def _sample(rows: Rows, most: int) -> Rows:
    """Up to `most` rows spread evenly from the shortest to the longest, both included."""
    by_length = sorted(range(len(rows)), key=lambda i: (len(rows.encoded[i].ids), i))
    if len(rows) <= most:
        return rows.take(by_length)
    last = len(rows) - 1
    return rows.take([by_length[round(k * last / max(1, most - 1))] for k in range(most)])


def _write_samples(job: Job, model: Classifier, rows: Rows) -> None:
    best = torch.log_softmax(model.over(model, rows.encoded), dim=1).max(dim=1)
    answers = zip(rows.texts, best.indices.tolist(), best.values.tolist(), strict=True)
    labels = model.card.labels
    lines = ({"text": text, "label": labels[i], "logprob": value} for text, i, value in answers)
    write_lines(job.folder / "samples.jsonl", lines)
