"""What trials may spend: time, money, their number; and what they have spent.

Knows: durations as people write them, prices. Does not know: what a trial does.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tunesmith.config import IterateConfig
from tunesmith.errors import ConfigError

Clock = Callable[[], float]
"""Seconds since any moment, which never go back."""

DEFAULT = "30m"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")


def seconds_of(text: str) -> float:
    """The seconds of `90s`, `30m`, `1h30m`; a number alone counts minutes. Raises: ConfigError."""
    plain = text.strip().lower()
    plain = plain + "m" if re.fullmatch(r"\d+(\.\d+)?", plain) else plain
    parts = _PART.findall(plain)
    total = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if _PART.sub("", plain).strip() or total <= 0:
        raise ConfigError(f"The budget is {text!r}.", fix="Give a time, such as 90s, 30m or 2h.")
    return total


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What all trials together may spend; None: any amount."""

    seconds: float | None
    trials: int | None
    cost: float | None


def limits(config: IterateConfig) -> Limits:
    """The limits that are asked for. Raises: ConfigError for impossible ones."""
    for name in ("trials", "parallel"):
        if (number := getattr(config, name)) is not None and number < 1:
            raise ConfigError(f"{name} is {number}.", fix="Give 1 or more.")
    for name in ("max_cost", "hour_price", "token_price"):
        if (amount := getattr(config, name)) is not None and amount <= 0:
            raise ConfigError(f"{name} is {amount:g}.", fix="Give more than 0.")
    if config.max_cost and not (config.hour_price or config.token_price):
        raise ConfigError(
            "max_cost is given, but no price by which trials could be charged.",
            fix="Give the price of an hour of training (--hour-price), or of a million trained "
            "tokens (--token-price).",
        )
    asked = config.budget
    if asked is None and config.trials is None and config.max_cost is None:
        asked = DEFAULT
    seconds = None if asked is None else seconds_of(asked)
    return Limits(seconds=seconds, trials=config.trials, cost=config.max_cost)


def cost(config: IterateConfig, seconds: float, tokens: int) -> float:
    """What that much training costs, in the currency of the prices; 0 without prices."""
    return seconds / 3600 * (config.hour_price or 0) + tokens / 1e6 * (config.token_price or 0)


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Seconds on the clock and money, over all starts."""

    seconds: float = 0.0
    cost: float = 0.0


class Purse:
    """The limits, and what is left of them while time goes by."""

    def __init__(self, limits: Limits, before: Spent, clock: Clock = time.monotonic) -> None:
        self.limits = limits
        self._before = before
        self._clock = clock
        self._began = clock()

    @property
    def spent(self) -> Spent:
        """By now."""
        seconds = self._before.seconds + self._clock() - self._began
        return replace(self._before, seconds=seconds)

    def pay(self, amount: float) -> None:
        """Take the cost of a trial."""
        self._before = replace(self._before, cost=self._before.cost + amount)

    def lacks(self, *, seconds: float = 0.0, cost: float = 0.0) -> str:
        """Which limit does not allow that much more: time, money, or nothing of these ("")."""
        spent, limits = self.spent, self.limits
        if limits.seconds is not None and spent.seconds + seconds >= limits.seconds:
            return "time"
        if limits.cost is not None and spent.cost + cost >= limits.cost:
            return "money"
        return ""
