"""What is required of a model before it may pass: least scores, and not to be worse than another.

Knows: how requirements are written. Does not know: what happens to a model that does not pass.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunesmith.config import EvaluateConfig
from tunesmith.errors import ConfigError, NotOffered, nearest
from tunesmith.metrics import targets
from tunesmith.metrics.targets import Target
from tunesmith.pipeline.evaluating.labels.report import MEASURES
from tunesmith.pipeline.evaluating.writing.report import METRICS as WRITTEN
from tunesmith.pipeline.results import Evaluated, EvaluatedText, Prepared


def parse(text: str) -> Target:
    """`f1_macro>=0.9`, or `f1_macro >= 90%`. Raises: ConfigError."""
    return targets.parse(text, {**MEASURES, **WRITTEN})


def check_task(config: EvaluateConfig, prepared: Prepared) -> None:
    """Refuse what written answers, or labels, have not. Raises: NotOffered, ConfigError."""
    is_labels = prepared.task == "classify"
    for option, given in (
        ("--against", config.against),
        ("--slice", config.slice),
        ("--no-worse-than", config.no_worse_than),
    ):
        if given and not is_labels:
            raise NotOffered(
                f"{option} is for models of labels, and this one writes.", fix="Leave it out."
            )
    known = MEASURES if is_labels else WRITTEN
    for requirement in map(parse, config.require):
        if requirement.metric not in known:
            raise ConfigError(
                f"{requirement.metric} is not measured of {'labels' if is_labels else 'answers'}.",
                fix=_names(requirement.metric, known),
            )


def failures(config: EvaluateConfig, evaluated: Evaluated | EvaluatedText) -> list[str]:
    """What does not hold, in sentences; empty: the model passes.

    Raises: ConfigError for a metric that was not measured on these rows.
    """
    out = []
    for requirement in map(parse, config.require):
        if requirement.metric not in evaluated.metrics:
            raise ConfigError(
                f"{requirement.metric} was not measured on these rows.",
                fix=_names(requirement.metric, evaluated.metrics),
            )
        value = evaluated.metrics[requirement.metric]
        if not requirement.is_met(value):
            out.append(
                f"{requirement.metric} is {value:.4g}, and {requirement.sign} "
                f"{requirement.value:g} is required."
            )
    if isinstance(evaluated, Evaluated):
        out += _worse(config, evaluated)
    return out


def _worse(config: EvaluateConfig, evaluated: Evaluated) -> Iterable[str]:
    others = {rival.name: rival for rival in evaluated.against}
    for name in config.no_worse_than:
        found = others[name].comparison
        assert found
        if found.verdict == "worse":
            low, high = (100 * end for end in (-found.interval[1], -found.interval[0]))
            yield (
                f"{others[name].title} answers {-100 * found.gain:.1f} points more of the same "
                f"rows rightly (95 % sure: {max(0.0, low):.1f} to {high:.1f})."
            )


def _names(metric: str, known: Iterable[str]) -> str:
    names = list(known)
    return f"{nearest(metric, names)} There are: {', '.join(names)}."
