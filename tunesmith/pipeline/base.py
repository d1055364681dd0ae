"""Which base model a run tunes, and whether it can learn what the examples teach.

Knows: names, local folders, what the provider lists.
Does not know: how a model is loaded or tuned.
"""

from __future__ import annotations

from tunesmith import catalog, settings
from tunesmith.catalog import DEFAULT
from tunesmith.config import RunConfig
from tunesmith.errors import ConfigError, NotFound, NotOffered
from tunesmith.events import Decision
from tunesmith.pipeline.results import Prepared
from tunesmith.pipeline.workshop import Workshop


def kind_of(name: str) -> str | None:
    """encoder or causal, for the base model of that name or in that folder.

    A tuned model is what its base model is. None: only the provider knows the name.
    Raises: ConfigError, NotOffered for an unusable folder.
    """
    base = name.split(":")[1] if name.startswith("ft:") else name
    try:
        return catalog.find(base, settings.load().base_models_dir).kind
    except NotFound:
        return None


def is_causal(name: str) -> bool:
    """Whether that base model writes; those that only the provider knows are taken to.

    All encoders that go by a name are in the catalog.
    """
    return kind_of(name) != "encoder"


def choose(config: RunConfig, prepared: Prepared, shop: Workshop) -> tuple[str, Decision | None]:
    """The base model to tune on these examples, with the reason where nobody named one.

    Raises: NotFound, NotOffered, ConfigError with what to change, before anything is sent.
    """
    given, classifies = config.train.base_model, prepared.task == "classify"
    if prepared.completions:
        raise NotOffered(
            "The table holds texts without prompts, and what is learned here are answers.",
            fix=f"Give prompts with answers. The texts are in {prepared.train}, as pairs of an "
            "empty prompt and a completion.",
        )
    if config.evaluate.num_votes > 1 and not classifies:
        raise ConfigError(
            "Answers can be put to the vote only where they are labels (--num-votes).",
            fix="Leave it out.",
        )
    if given is None:
        return (DEFAULT, None) if classifies else _first_causal(shop)
    causal = is_causal(given)
    if not (causal or classifies):
        raise NotOffered(
            f"{given} is an encoder, which labels texts and writes none; these examples are "
            "written answers.",
            fix="Choose a causal one with --base-model; `tunesmith models list` shows them.",
        )
    if causal and classifies and (prepared.class_weights != "none" or prepared.soft_labels):
        raise NotOffered(
            f"{given} is a causal model; weighed labels and shares of votes are for encoders.",
            fix="Prepare with --balance repeat and --vote-by majority, or tune an encoder.",
        )
    return given, None


def _first_causal(shop: Workshop) -> tuple[str, Decision]:
    listed = (model for model in shop.provider.models() if model.owned_by == "system")
    names = [model.id for model in listed if model.tunesmith.get("kind") == "causal"]
    if not names:
        raise NotFound(
            "These examples are written answers, and no base model that writes is there.",
            fix="Fetch one with `tunesmith models pull NAME` (`tunesmith models list` shows the "
            "names), keep a folder with `tunesmith models add FOLDER`, or give the folder with "
            "--base-model.",
        )
    others = f" of {len(names)}; --base-model chooses another" if len(names) > 1 else ""
    reason = f"the first base model that writes and is there{others}"
    return names[0], Decision(what="base model", value=names[0], reason=reason)
