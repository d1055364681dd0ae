"""What is required of a model before it may pass: least scores, and not to be worse than another.

Knows: how requirements are written. Does not know: what happens to a model that does not pass.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tunesmith.config import EvaluateConfig
from tunesmith.errors import ConfigError, NotOffered, nearest
from tunesmith.pipeline.evaluating.labels.report import MEASURES
from tunesmith.pipeline.evaluating.writing.report import METRICS as WRITTEN
from tunesmith.pipeline.results import Evaluated, EvaluatedText, Prepared

SIGNS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
FORM = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*(\d*\.?\d+)\s*(%?)\s*")


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """A metric, and the limit it has to keep."""

    metric: str
    sign: str
    limit: float

    def holds(self, value: float) -> bool:
        return bool(SIGNS[self.sign](value, self.limit))


def parse(text: str) -> Requirement:
    """`f1_macro>=0.9`, or `f1_macro >= 90%`. Raises: ConfigError."""
    found = FORM.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"{text!r} is no requirement.",
            fix="Write a metric, one of >= > <= <, and a number, as in f1_macro>=0.9, in quotes.",
        )
    metric, sign, limit, percent = found.groups()
    known = {**MEASURES, **WRITTEN}
    if metric not in known:
        raise ConfigError(
            f"There is no metric named {metric!r} to require.", fix=_names(metric, known)
        )
    return Requirement(metric=metric, sign=sign, limit=float(limit) / (100 if percent else 1))


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
        if not requirement.holds(value):
            out.append(
                f"{requirement.metric} is {value:.4g}, and {requirement.sign} "
                f"{requirement.limit:g} is required."
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
