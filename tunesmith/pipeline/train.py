"""train: create the fine-tuning job, or find the one an earlier start created, and see it through.

Knows: how our settings become a job, and what to keep of its outcome.
Does not know: how training works, where it happens.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pydantic

from tunesmith import catalog, wire
from tunesmith.config import RunConfig, TrainConfig, to_toml
from tunesmith.errors import (
    ConfigError,
    JobFailed,
    RequestError,
    TunesmithError,
    storage_error,
)
from tunesmith.events import Decision, Event, EventWriter, Kind
from tunesmith.pipeline import offers, own_job, spending
from tunesmith.pipeline.base import choose, kind_of
from tunesmith.pipeline.cuts import note_cuts
from tunesmith.pipeline.results import Prepared, Trained, Uploaded
from tunesmith.pipeline.rundir import RunDir, digest, write_atomic
from tunesmith.pipeline.workshop import Workshop

S = TypeVar("S", bound=wire.Request)

ROUTINE = (
    "Created fine-tuning job", "Validating training file", "Files validated",
    "Fine-tuning job started", "Checkpoint created", "New fine-tuned model created",
    "The job has successfully completed",
)  # fmt: skip
"""Events that every job has. They are kept; telling them would say nothing new."""
OF_ENCODERS = ("label_smoothing", "learn_dev")
OF_CAUSAL = (
    "lora_rank", "lora_alpha", "lora_dropout", "lora_targets", "use_dora", "use_rslora",
    "neftune_alpha", "packing", "gradient_checkpointing",
)  # fmt: skip
METHODS_OF_OTHERS = {"encoder": ("lora", "qlora"), "causal": ("head",)}
"""Methods that each kind of base model does not have."""
NAMES, UNKNOWN = {"encoder": "an encoder", "causal": "a causal model"}, ""
OF_LABELS, OF_TEXTS = ("class_weights", "soft_labels"), ("cleaning", "mask")
"""Options that prepare settles."""
LEVELS: dict[str, Kind] = {"info": "note", "warn": "warning", "error": "error"}


def inputs(config: RunConfig, prepared: Prepared, uploaded: Uploaded) -> str:
    """Changes when a setting, an example or the provider does; not when a file's id does."""
    files = (uploaded.train_sha256, uploaded.validation_sha256, uploaded.server)
    options = _options(config, prepared).model_dump(exclude_unset=True)
    return digest(config.train, options, files, _suffix(config, prepared))


def check(config: RunConfig) -> None:
    """Refuse impossible settings before anything starts.

    Raises: ConfigError; NotOffered for a folder with a model that cannot be tuned.
    """
    _fitting(wire.PreferenceHyperparameters, _given(config, wire.PreferenceHyperparameters))
    _fitting(wire.Options, _given(config, wire.Options))
    base = config.train.base_model
    if base and Path(base).expanduser().is_dir():
        catalog.find(base).check_length(config.train.max_length)


def train(config: RunConfig, prepared: Prepared, uploaded: Uploaded, shop: Workshop) -> Trained:
    """A model trained on the uploaded files.

    Interrupted (Ctrl-C), it cancels the job. Killed, it leaves the job to the provider, and the
    next start goes on following it.
    Raises: JobFailed when the job ends in any other way than well; ProviderError; RequestError.
    """
    made_from = inputs(config, prepared, uploaded)
    earlier = shop.run_dir.load("train", Trained, made_from)
    if earlier and shop.provider.model(earlier.model):
        return earlier
    if earlier:
        shop.report(_warning(f"{earlier.model} is gone from the server, so it is trained again."))
    base, decision = choose(config, prepared, shop)
    if decision:
        shop.report(decision.event())
    started = time.monotonic()
    job = own_job.find(made_from, shop)
    if job is None:
        job = _new_job(config, prepared, uploaded, base, shop)
    own_job.remember(job, made_from, shop)
    job = _see_through(job, shop)
    result = _trained(job, time.monotonic() - started)
    result = replace(result, checkpoints=_checkpoints(job, shop))
    if decision:
        result = replace(result, decisions=(decision, *result.decisions))
    if prepared.task != "classify":
        note_cuts(shop.run_dir, result.facts)
    _keep_metrics(job, shop)
    shop.run_dir.save("train", result, made_from, to_toml(config.train))
    return result


def is_begun(config: RunConfig, prepared: Prepared, uploaded: Uploaded, run_dir: RunDir) -> bool:
    """Whether an earlier start has made a job of these inputs, as far as the run knows."""
    return own_job.remembered(run_dir).get("inputs") == inputs(config, prepared, uploaded)


def _new_job(
    config: RunConfig, prepared: Prepared, uploaded: Uploaded, base: str, shop: Workshop
) -> wire.Job:
    """A job that has just been made, once it is agreed what it costs.

    A reply that is lost does not make a second one: the job is looked for before it is asked for
    again. Raises: NotOffered where the provider refuses for good; ConfigError where nobody agrees.
    """
    can = shop.provider.can
    offers.check(config, can)
    cost = spending.estimate(config, prepared, shop.run_dir, can)
    part = spending.of_training(cost) if cost else None
    shop.spending.agree(part, shop.report)
    made_from = inputs(config, prepared, uploaded)
    request = _offered(_request(config, prepared, uploaded, base), made_from, shop)
    try:
        job = own_job.create(request, shop)
    except RequestError as error:
        raise offers.explained(error, config, prepared.task, can) from None
    shop.spending.take((part.total or 0.0) if part else 0.0)
    return job


def _checkpoints(job: wire.Job, shop: Workshop) -> tuple[str, ...]:
    try:
        found = shop.provider.checkpoints(job.id)
    except RequestError:  # not every server lists them
        return ()
    return tuple(one.fine_tuned_model_checkpoint for one in found)


def _see_through(job: wire.Job, shop: Workshop) -> wire.Job:
    """Follow the job to its end; its events go to the run directory and to whoever is told."""
    place = shop.run_dir.folder("train") / "events.jsonl"
    try:
        shop.report(Event(kind="note", message=f"Job {job.id}"))
        place.unlink(missing_ok=True)  # events are sent again from the first one
        with closing(EventWriter(place)) as keep:
            for sent in shop.provider.follow(job.id):
                if isinstance(sent, wire.Job):
                    shop.report(_progress(sent))
                    continue
                event = _event(sent)
                keep(event)
                if not event.message.startswith(ROUTINE):
                    shop.report(event)
    except OSError as error:
        raise storage_error(error, place) from None
    except KeyboardInterrupt:
        with suppress(TunesmithError):
            shop.provider.cancel(job.id)
            shop.report(_warning(f"Job {job.id} was cancelled."))
        raise
    job = shop.provider.job(job.id)
    if job.status == "succeeded":
        return job
    code = str(job.error.get("code") or job.status)
    why = job.error.get("message") or f"it was {job.status}"
    yours_to_mend = code.startswith("invalid")
    raise JobFailed(
        f"Fine-tuning job {job.id} {job.status}: {why}".rstrip(".") + ".",
        fix="Correct that and start the same command again."
        if yours_to_mend
        else "Start the same command again: a new job is made from the same files.",
        job=job.id,
        code=code,
    )


def _request(
    config: RunConfig, prepared: Prepared, uploaded: Uploaded, base: str
) -> wire.JobCreate:
    return wire.JobCreate(
        model=_full_path(base),
        training_file=uploaded.train_file,
        validation_file=uploaded.validation_file or None,
        suffix=_suffix(config, prepared),
        seed=config.train.seed,
        method=_method(config, prepared),
        tunesmith=_options(config, prepared),
    )


def _offered(request: wire.JobCreate, made_from: str, shop: Workshop) -> wire.JobCreate:
    """The request as this provider takes it, with the marks by which its job is found again."""
    can = shop.provider.can
    return request.model_copy(
        update={
            "metadata": own_job.marks(made_from, shop) if can.metadata else None,
            "tunesmith": request.tunesmith if can.options else None,
        }
    )


def _full_path(name: str) -> str:
    """A name goes as it is, a folder by its full path."""
    folder = Path(name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else name


def _method(config: RunConfig, prepared: Prepared) -> wire.Method:
    """How OpenAI calls what is learned, with its hyperparameters. Raises: ConfigError."""
    if prepared.task == "preference":
        pairs = wire.PreferenceHyperparameters
        found = wire.Dpo(hyperparameters=_fitting(pairs, _given(config, pairs)))
        return wire.Method(type="dpo", dpo=found)
    if config.train.beta is not None:
        raise ConfigError(
            f"beta is {config.train.beta:g}, but these examples are no pairs of a better and a "
            "worse answer.",
            fix="Leave it out.",
        )
    kind = wire.Hyperparameters
    return wire.Method(
        supervised=wire.Supervised(hyperparameters=_fitting(kind, _given(config, kind)))
    )


def _options(config: RunConfig, prepared: Prepared) -> wire.Options:
    """The options that fit what is learned. Raises: ConfigError for others that were asked for."""
    classifies, kind = prepared.task == "classify", "causal"
    if classifies:
        kind = kind_of(config.train.base_model or catalog.DEFAULT) or UNKNOWN
    causal = kind != "encoder"
    unfit = OF_ENCODERS if causal else OF_CAUSAL
    asked = _asked_for(config.train, unfit, METHODS_OF_OTHERS.get(kind, ()))
    # What the provider alone can judge is sent, and refused there by name.
    if asked and kind != UNKNOWN:
        told = ", ".join(f"{name} = {getattr(config.train, name)!r}" for name in asked)
        raise ConfigError(
            f"The base model is {NAMES[kind]}, for which there is no {told}.",
            fix="Leave it out, or choose another base model with --base-model.",
        )
    left_out = set(unfit) - set(asked)
    given = {n: v for n, v in _given(config, wire.Options).items() if n not in left_out}
    # Never fewer than the wire's default: asking for fewer later must not mean training again.
    usual = wire.Options.model_fields["parity_examples"].default
    given["parity_examples"] = max(usual, config.deploy.parity_examples)
    if causal:
        given["task"] = "classify" if classifies else "chat"
    for name in OF_TEXTS if causal else (*OF_LABELS, *OF_TEXTS):
        if classifies:
            given[name] = getattr(prepared, name)
    return _fitting(wire.Options, given)


def _asked_for(config: TrainConfig, unfit: Collection[str], methods: Collection[str]) -> list[str]:
    """The settings among `unfit` that are not left as they come, and a method of `methods`."""
    usual = TrainConfig()
    asked = [name for name in unfit if getattr(config, name) != getattr(usual, name)]
    return asked + ["method"] * (config.method in methods)


def _given(config: RunConfig, kind: type[wire.Request]) -> dict[str, object]:
    """The settings of training that the wire shape `kind` has too."""
    return {n: getattr(config.train, n) for n in kind.model_fields if hasattr(config.train, n)}


def _fitting(kind: type[S], given: Mapping[str, object]) -> S:
    """`given` as a wire shape, leaving out what is None.

    Raises: ConfigError that names every impossible value.
    """
    try:
        return kind.model_validate({name: v for name, v in given.items() if v is not None})
    except pydantic.ValidationError as error:
        wrong = {str(e["loc"][0]): e for e in error.errors() if e["type"] != "literal_error"}
        raise ConfigError(
            "; ".join(
                f"{name} is {given[name]!r}: {e['msg'][0].lower()}{e['msg'][1:]}"
                for name, e in wrong.items()
            )
            + "."
        ) from None


def _suffix(config: RunConfig, prepared: Prepared) -> str:
    return (config.train.suffix or prepared.name)[:64]


def _event(sent: wire.JobEvent) -> Event:
    at = float(sent.created_at)
    if sent.type == "metrics":
        return Event(kind="metric", message=sent.message, data=sent.data, at=at)
    if {"what", "value", "reason"} <= sent.data.keys():
        return Event(kind="decision", message=sent.message, data=sent.data, at=at)
    kind = LEVELS[sent.level]
    return Event(kind=kind, message=sent.message, data=sent.data, at=at)


def _progress(job: wire.Job) -> Event:
    now = job.tunesmith["progress"]
    return Event(kind="progress", message=str(now.get("message", "")), data=now)


def _trained(job: wire.Job, seconds: float) -> Trained:
    facts = dict(job.tunesmith.get("facts") or {})
    assert job.fine_tuned_model, job
    return Trained(
        job=job.id,
        model=job.fine_tuned_model,
        status=job.status,
        base_model=job.model,
        method=str(facts.get("method") or job.method.get("type")),
        hyperparameters=job.hyperparameters
        or (job.method.get(job.method.get("type", "")) or {}).get("hyperparameters", {}),
        trained_tokens=job.trained_tokens or 0,
        steps=int(facts.get("steps") or 0),
        chosen_step=facts.get("chosen_step"),
        texts_cut=int(facts.get("texts_cut") or 0),
        samples_file=job.tunesmith.get("samples_file"),
        decisions=tuple(Decision(**d) for d in facts.get("decisions") or ()),
        facts=facts,
        seconds=float(job.finished_at - job.created_at) if job.finished_at else seconds,
    )


def _keep_metrics(job: wire.Job, shop: Workshop) -> None:
    """The job's result file as metrics.csv. OpenAI sends it in base64, others as it is."""
    if not job.result_files:
        return
    content = shop.provider.download(job.result_files[0])
    if not content.startswith(b"step,"):
        content = base64.b64decode(content)
    write_atomic(shop.run_dir.folder("train") / "metrics.csv", content)


def _warning(message: str) -> Event:
    return Event(kind="warning", message=message)
