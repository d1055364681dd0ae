"""Tuning a causal language model, from the job to a result: the steps in their order.

Does not know: processes, servers, who reads the events.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tunesmith.errors import ConfigError, storage_errors
from tunesmith.events import Decision, Event
from tunesmith.model import causal
from tunesmith.model.causal import Causal
from tunesmith.training import together
from tunesmith.training.batches import Step
from tunesmith.training.causal import rows as examples
from tunesmith.training.causal.causal_loss import Head
from tunesmith.training.causal.choices import beta_of, choose, plan_of
from tunesmith.training.causal.learner import CausalLearner, Looks, Shape
from tunesmith.training.causal.objectives import Answers, Objective, Preferences
from tunesmith.training.causal.packing import choose_packing
from tunesmith.training.causal.packs import BATCH_TOKENS, packs
from tunesmith.training.causal.preflight import preflight
from tunesmith.training.causal.rows import Rows, dev_slice, spread, tell_cuts
from tunesmith.training.causal.samples import chosen, written
from tunesmith.training.job import Job, write_lines
from tunesmith.training.loop import Plan, tune
from tunesmith.training.results import checkpoints, save_model, tell_curves

VALID_SAMPLE = 200
"""Validation rows that are looked at while training. All of them are at the end."""


@dataclass(frozen=True, kw_only=True)
class _Data:
    """All rows of a job."""

    train: Rows
    fitting: Rows
    dev: Rows
    held_out: Rows | None

    @property
    def looks(self) -> Looks:
        valid = spread(self.held_out, VALID_SAMPLE) if self.held_out else None
        return Looks(fitting=self.fitting, dev=self.dev, valid=valid)


def fit(job: Job) -> Generator[Event, None, dict[str, Any]]:
    """Train as job.json asks, going on from `job.state`; returns what result.json holds.

    Raises: DataError for examples that cannot be trained on; ConfigError for settings that are
    impossible, do not fit into memory, or make the loss diverge; NotOffered; StorageError.
    """
    decisions: list[Decision] = []

    def decide(*made: Decision) -> Generator[Event, None, None]:
        decisions.extend(made)
        yield from (decision.event() for decision in made)

    # 1. How to load the model; the model; the examples.
    _check(job)
    choices = choose(job)
    yield from decide(*choices.decisions())
    torch.manual_seed(job.seed)
    is_choice = job.options.task == "classify"
    model = causal.from_base(
        job.base,
        job.options,
        method=choices.method,
        precision=choices.precision,
        start_from=job.start_from,
        labels=tuple(examples.answers(job.training_file)) if is_choice else (),
    )
    yield from decide(model.renderer.decision)
    data = _data(job, model)
    limit = job.options.max_length or model.card.max_length
    yield from tell_cuts("training", data.train, limit)
    if data.held_out:
        yield from tell_cuts("validation", data.held_out, limit)
    yield from decide(_dev_decision(data))

    # 2. The loop's numbers, and what all of it takes on this machine; refused where it cannot fit.
    plan = plan_of(job, choices.method, len(data.fitting), has_dev=len(data.dev) > 0)
    yield from decide(
        Decision(what="n_epochs", value=f"at most {plan.epochs}", reason=plan.epochs_reason),
        Decision(what="batch_size", value=str(plan.batch_size), reason=plan.batch_reason),
    )
    packed, decision = choose_packing(job, model, partial(_side_by_side, job, model, plan, data))
    yield from decide(decision)
    objective = _objective(job, model, packed=packed)

    def learner_of(shape: Shape) -> CausalLearner:
        return CausalLearner(job, model, objective, shape, data.looks)

    # 3. Of pairs, what the model says of them before it learns.
    if isinstance(objective, Preferences):
        yield from _reference(job, model, objective, data)
    ready = preflight(job, model, plan, learner_of, objective, data.fitting)
    yield from decide(*ready.decisions())
    yield ready.estimate.event()

    # 4. Train; keep the best step.
    position = yield from tune(job, learner_of(ready.shape), plan)
    is_first = together.is_first()
    together.leave()  # the rest is little; one does it alone
    if not is_first:
        return {}
    model = model.as_saved(job.state / "best")
    gc.collect()
    kept = f"step {position.best_step}"
    why = f"dev loss {position.best_loss:.3f}, the lowest" if len(data.dev) else "it is the last"
    yield from decide(Decision(what="model kept", value=kept, reason=why))

    # 5. Score the whole validation file, note answers for the parity gate, save.
    final: dict[str, float] = {}
    if data.held_out:
        learnt = _objective(job, model, packed=packed, before=objective)
        learner = CausalLearner(job, model, learnt, ready.shape, data.looks)
        found = learner.measured("valid", data.held_out)
        final = {f"full_{name}": value for name, value in found.items()}
        message = f"Full validation loss={found['valid_loss']:.3f}"
        yield Event(kind="note", message=message, data=final)
    write_lines(job.folder / "samples.jsonl", _samples(job, model, data))
    save_model(job, model)
    # A pair is a choice between two, and begins at what guessing among them costs.
    num_choices = 2 if job.objective == "dpo" else None
    diagnoses = yield from tell_curves(job, plan, position.best_step, num_labels=num_choices)
    position.metrics_at.setdefault(str(position.best_step), {"step": position.best_step})
    return {
        "trained_tokens": position.trained_tokens,
        "hyperparameters": {
            "n_epochs": plan.epochs,
            "batch_size": plan.batch_size,
            "learning_rate_multiplier": plan.multiplier,
            **({"beta": beta_of(job)} if job.objective == "dpo" else {}),
        },
        "checkpoints": checkpoints(job, position, position.best_step, final),
        "facts": {
            "kind": "causal",
            "objective": job.objective,
            "method": choices.method,
            "precision": choices.precision,
            "labels": list(model.card.labels),
            "max_length": limit,
            "num_examples": len(data.train),
            "texts_cut": len(data.train.cut),
            "cut_rows": data.train.cut,
            "steps": position.step,
            "chosen_step": position.best_step,
            "decisions": [vars(decision) for decision in decisions],
            "diagnoses": diagnoses,
            "estimate": ready.estimate.compared(),
            **final,
        },
    }


# --- what it takes ------------------------------------------------------------------------------


def _check(job: Job) -> None:
    """Raises: ConfigError for options that have no meaning here."""
    options = job.options
    without = {
        "label_smoothing": options.label_smoothing != 0,
        "soft_labels": options.soft_labels,
        "class_weights": options.class_weights != "none",
    }
    if named := [name for name, is_asked in without.items() if is_asked]:
        raise ConfigError(
            f"{' and '.join(named)} cannot be asked of a causal model.",
            fix="Leave it out, or tune an encoder.",
        )
    if job.objective == "dpo" and options.task == "classify":
        raise ConfigError("Pairs of answers have no labels.", fix="Leave the task at chat.")


def _data(job: Job, model: Causal) -> _Data:
    pairs = job.objective == "dpo"
    train = examples.read(job.training_file, model, part="train", pairs=pairs)
    held_out = None
    if job.validation_file:
        held_out = examples.read(job.validation_file, model, part="valid", pairs=pairs)
    patience = job.options.early_stopping_patience
    dev, fitting = dev_slice(len(train), seed=job.seed, patience=patience)
    return _Data(train=train, fitting=train.take(fitting), dev=train.take(dev), held_out=held_out)


def _dev_decision(data: _Data) -> Decision:
    if len(data.dev):
        value = f"{len(data.dev):,} of the {len(data.train):,} training examples"
        why = (
            "chooses when to stop and what to keep, so that the validation examples choose nothing"
        )
        return Decision(what="dev slice", value=value, reason=why)
    few = len(data.train) < examples.FEWEST
    why = (
        f"fewer than {examples.FEWEST} examples" if few else "as asked: training never stops early"
    )
    return Decision(what="dev slice", value="none", reason=why)


def _objective(
    job: Job, model: Causal, *, packed: bool, before: Objective | None = None
) -> Objective:
    """What the job asks for; `before`: the objective of the same job for the model it was."""
    head = Head.of(model.network)
    if job.objective == "supervised":
        return Answers(head, packed=packed)
    known = before if isinstance(before, Preferences) else None
    reference = known.reference if known else {}
    return Preferences(head, packed=packed, beta=beta_of(job), reference=reference)


def _side_by_side(job: Job, model: Causal, plan: Plan, data: _Data) -> tuple[list[Step], list[int]]:
    """The steps of an epoch with rows side by side, and the tokens of each row."""
    objective = _objective(job, model, packed=False)
    shape = Shape(batch_size=plan.batch_size, budget=BATCH_TOKENS)
    learner = CausalLearner(job, model, objective, shape, data.looks)
    return learner.steps(0), learner.costs


def _reference(
    job: Job, model: Causal, objective: Preferences, data: _Data
) -> Generator[Event, None, None]:
    """Give the objective log-probabilities of all answers by the model as it is: once a job.

    An adapter that is new changes nothing yet, so for it that is the base model.
    """
    parts = [data.train, *([data.held_out] if data.held_out else [])]
    kept = job.state / "reference.safetensors"
    if not kept.exists():
        pairs = sum(map(len, parts))
        yield Event(kind="note", message=f"Reading {pairs:,} pairs of answers once, as a reference")
        found = {part.part: _answers(model, objective, part) for part in parts}
        if together.is_first():
            with storage_errors(kept):
                save_file(found, kept.with_suffix(".tmp"))
                kept.with_suffix(".tmp").replace(kept)
        together.wait()
    known = load_file(kept)
    for part in parts:
        rows = known[part.part].view(-1, 2)
        objective.reference |= {
            (part.part, line): row for line, row in zip(part.lines, rows, strict=True)
        }


@torch.no_grad()
def _answers(model: Causal, objective: Preferences, rows: Rows) -> torch.Tensor:
    """log p of (better, worse) answers, (2 · rows,), without dropout."""
    out = torch.empty(len(rows), 2)
    costs = objective.costs(rows)
    model.network.eval()
    for batch in packs(costs, range(len(rows)), BATCH_TOKENS):
        with model.multiplying():
            found = objective.answers(model, rows.take(batch))
        out[batch] = found.float().cpu().view(-1, 2)
    return out.flatten()


# --- what it leaves -----------------------------------------------------------------------------


def _samples(job: Job, model: Causal, data: _Data) -> Iterator[dict[str, Any]]:
    rows = spread(data.held_out or data.train, job.options.parity_examples)
    if model.card.labels:
        return chosen(model, Head.of(model.network), rows)
    return written(model, rows)
