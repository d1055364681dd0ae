"""Targets such as `f1_macro>=0.92`, read from text.

Knows: which way a metric is better. Does not know: how it is measured, or on which rows.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from tunesmith.errors import ConfigError, nearest

LOWER = frozenset({"loss", "log_loss", "brier", "expected_calibration_error"})
"""Metrics of which less is better."""
UNBOUNDED = frozenset({"loss", "log_loss", "brier", "judge_score"})
"""Metrics that are no share of 1."""
_TARGET = re.compile(r"\s*(\w+)\s*(>=|<=|≥|≤|>|<)\s*(\d*\.?\d+)\s*(%?)\s*")
_SIGNS = {"≥": ">=", "≤": "<="}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A metric and the value it has to reach."""

    metric: str
    sign: str
    """One of >=, >, <=, <."""
    value: float

    def is_met(self, found: float) -> bool:
        """Whether a score of `found` is enough."""
        return {
            ">=": found >= self.value,
            ">": found > self.value,
            "<=": found <= self.value,
            "<": found < self.value,
        }[self.sign]

    def __str__(self) -> str:
        return f"{self.metric}{self.sign}{self.value:g}"


def is_higher_better(metric: str) -> bool:
    """Whether more of it is better."""
    return metric not in LOWER


def parse(text: str, known: Collection[str]) -> Target:
    """The target that `text` names, such as `f1_macro>=0.92` or `accuracy>=94%`.

    Raises: ConfigError for what is none, for a metric not among `known`, for a share above 1, and
    for a direction in which the metric gets worse.
    """
    found = _TARGET.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"The target is {text!r}.", fix="Give a metric and a value, such as 'f1_macro>=0.92'."
        )
    metric, sign, value = found[1], _SIGNS.get(found[2], found[2]), float(found[3])
    value = value / 100 if found[4] else value
    if metric not in known:
        raise ConfigError(
            f"The target {text!r} names no metric of this task.",
            fix=f"{nearest(metric, known)} There are: {', '.join(known)}.",
        )
    if metric not in UNBOUNDED and value > 1:
        raise ConfigError(
            f"The target is {text!r}, but {metric} is a share of 1.",
            fix=f"Write {metric}{sign}{value / 100:g}, or {metric}{sign}{value:g}%.",
        )
    if (sign[0] == ">") != is_higher_better(metric):
        better, right = ("more", ">=") if is_higher_better(metric) else ("less", "<=")
        raise ConfigError(
            f"The target is {text!r}, but of {metric} {better} is better.",
            fix=f"Write {metric}{right}{value:g}.",
        )
    return Target(metric=metric, sign=sign, value=value)
