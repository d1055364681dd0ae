"""What a run asks for against what the provider offers: refused before anything starts, or left
out and said; and what a provider's refusal means, with the nearest way to do it here.

Knows: a provider's capabilities. Does not know: which provider it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import date

from tunesmith import wire
from tunesmith.catalog import DEFAULT
from tunesmith.config import RunConfig, TrainConfig
from tunesmith.errors import ConfigError, DataError, NotOffered, RequestError
from tunesmith.events import Decision, Event
from tunesmith.pipeline.results import Prepared
from tunesmith.providers import Capabilities, ModelFacts

OPTIONS = tuple(f.name for f in fields(TrainConfig) if f.name in wire.Options.model_fields)
"""Settings of training that ride in the `tunesmith` object of a job."""
CLOSED, NO_MODEL = "training_not_available", ("model_not_available", "model_not_found")
"""Codes of refusals."""
SOON = 90
"""Days before its end from which on a model's last day is told."""


def check(config: RunConfig, can: Capabilities, today: date | None = None) -> None:
    """Refuse what this provider cannot do, as far as the settings tell.

    Raises: NotOffered for what it does not offer, ConfigError for what has to be left out or given.
    """
    if not can.train:
        raise NotOffered(
            f"{can.title} trains no models. {can.reason}".strip(), fix=here(config, "auto")
        )
    _check_base(config, can, today or date.today())
    _check_settings(config, can)


def check_data(config: RunConfig, prepared: Prepared, can: Capabilities) -> None:
    """Refuse examples that this provider cannot learn from.

    Raises: NotOffered, ConfigError, DataError with what to change.
    """
    method = "dpo" if prepared.task == "preference" else "supervised"
    facts = can.model(config.train.base_model or "")
    if method not in can.methods or (facts and method not in facts.methods):
        who = facts.name if facts and method in can.methods else can.title
        raise NotOffered(
            f"{who} is not tuned by {method} at {can.title}."
            if facts
            else f"{can.title} does not train by {method}.",
            fix=here(config, prepared.task),
        )
    if not can.options and (prepared.class_weights != "none" or prepared.soft_labels):
        raise NotOffered(
            f"{can.title} takes no weighed labels and no shares of votes.",
            fix="Prepare with --balance repeat and --vote-by majority.",
        )
    if prepared.num_train < can.least_examples:
        raise DataError(
            f"{prepared.num_train:,} examples are too few: {can.title} takes {can.least_examples} "
            "at least.",
            fix="Add rows.",
        )


def told(config: RunConfig, can: Capabilities, today: date | None = None) -> Iterator[Event]:
    """What the user should know before a job is made there."""
    if not can.options:
        left_out = ", ".join(name.replace("_", " ") for name in OPTIONS)
        reason = f"{can.title} takes none of Tunesmith's own: {left_out}"
        yield Decision(what="options", value="left to the provider", reason=reason).event()
    today = today or date.today()
    base = config.train.base_model
    facts = can.model(base or "")
    if base and can.models and facts is None:
        what = f"{base} is not among the models known to be tuned at {can.title}"
        yield Event(kind="warning", message=f"{what}; it will say whether it is")
    if facts and facts.closes and (facts.closes - today).days <= SOON:
        days = (facts.closes - today).days
        what = f"What is tuned from {base} stops answering at {can.title} on {facts.closes}"
        yield Event(kind="warning", message=f"{what}, in {days:,} days")


def explained(error: RequestError, config: RunConfig, task: str, can: Capabilities) -> RequestError:
    """The refusal of a job in one sentence, with the date where there is one; else as it is."""
    if error.code == CLOSED:
        ends = [f"from {e.on} for {e.who}" for e in can.ends if e.what == "training"]
        when = f": no new jobs {', '.join(ends)}" if ends else ""
        found: RequestError = NotOffered(
            f"{can.title} trains nothing more for this organization ({CLOSED}){when}.",
            fix=here(config, task),
        )
    elif error.code in NO_MODEL and not can.catalog:
        facts = can.model(config.train.base_model or "")
        when = f" It is shut down on {facts.closes}." if facts and facts.closes else ""
        found = NotOffered(
            f"{can.title} does not tune {config.train.base_model}: {error.what}{when}",
            fix=here(config, task),
        )
    else:
        return error
    found.code = error.code
    return found


def here(config: RunConfig, task: str) -> str:
    """What to type to train on the same table on this machine."""
    table = config.prepare.table or "TABLE"
    table = f"'{table}'" if " " in table else table
    if task in ("classify", "auto"):
        return f"Train it on this machine: tunesmith run {table} --base-model {DEFAULT}"
    return (
        f"Train it on this machine: tunesmith models pull {WRITER}, then "
        f"tunesmith run {table} --base-model {WRITER}"
    )


WRITER = "smollm2-360m-instruct"
"""A base model that writes and fits most machines."""


def _check_base(config: RunConfig, can: Capabilities, today: date) -> None:
    base = config.train.base_model
    if base is None:
        if can.catalog:
            return
        known = [_offer(m, can) for m in can.models if m.example and not _is_over(m, today)]
        told = f"Name one with --base-model: {'; '.join(known)}." if known else ""
        raise ConfigError(
            f"{can.title} does not have Tunesmith's base models, and no other one is named.",
            fix=told or "Name one with --base-model.",
        )
    facts = can.model(base)
    if facts and _is_over(facts, today):
        raise NotOffered(
            f"{base} was shut down at {can.title} on {facts.closes}.",
            fix=here(config, "auto" if config.prepare.task == "auto" else config.prepare.task),
        )
    if facts and not facts.methods:
        raise NotOffered(f"{base} is not tuned at {can.title}.", fix=here(config, "auto"))
    for end in can.ends:
        if end.what == "training" and end.who == "everybody" and today >= end.on:
            raise NotOffered(
                f"{can.title} has made no new fine-tuning jobs since {end.on}.",
                fix=here(config, config.prepare.task),
            )


def _is_over(facts: ModelFacts, today: date) -> bool:
    return facts.closes is not None and today >= facts.closes


def _offer(facts: ModelFacts, can: Capabilities) -> str:
    price = f"{facts.training:g} {can.currency} per million tokens" if facts.training else ""
    until = f"until {facts.closes}" if facts.closes else ""
    more = ", ".join(filter(None, [price, until]))
    return f"{facts.example} ({more})" if more else facts.example


def _check_settings(config: RunConfig, can: Capabilities) -> None:
    usual, given = TrainConfig(), config.train
    wrong: list[str] = []
    if not can.options:
        asked = [name for name in OPTIONS if getattr(given, name) != getattr(usual, name)]
        wrong += [f"{name} = {getattr(given, name)!r}" for name in asked]
        if config.prepare.balance == "weight":
            wrong.append("balance = 'weight'")
        if config.prepare.vote_by == "soft":
            wrong.append("vote_by = 'soft'")
    known = can.hyperparameters
    for name in wire.PreferenceHyperparameters.model_fields if known is not None else ():
        value = getattr(given, name)
        if value is None:
            continue
        least, most = known.get(name, (None, None)) if known else (None, None)
        if known is not None and name not in known:
            wrong.append(f"{name} = {value!r}")
        elif (least is not None and value < least) or (most is not None and value > most):
            wrong.append(
                f"{name} = {value!r} (from {least:g} to {most:g})"
                if least is not None and most is not None
                else f"{name} = {value!r}"
            )
    if wrong:
        raise ConfigError(
            f"{can.title} does not take {', '.join(wrong)}.",
            fix="Leave it out, or train on this machine (--provider local).",
        )
