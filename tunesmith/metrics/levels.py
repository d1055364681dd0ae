"""Measuring a noisy curve: its level, its noise, its slope at the end, jumps and turns.

Knows: losses by step. Does not know: what they are losses of, or what any of it means.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WINDOW, FEWEST_IN_WINDOW = 0.1, 5
"""A level is the mean over this share of the curve: short beside a trend, long beside noise."""
FIRST = 3
"""Losses that make up the start, where it stands out: more would take in the first steep fall."""
DOUBT = 3.0
"""Standard errors that make a difference real."""
STRETCH, FEWEST_IN_STRETCH = 0.3, 4
"""The end of a curve, over which its slope is taken: of all rates added up."""
JUMP_STEPS, BEFORE = 5, 25
"""A jump: the median of 5 losses above that of the 25 before. One hard batch moves no median."""
JUMP, JUMP_OF_NOISE = 0.5, 4.0
"""How far above: of the level before, and of the noise there."""
TINY = 1e-6
"""A loss below it is none; it keeps ratios finite."""


@dataclass(frozen=True)
class Stretch:
    """The end of a curve: how far it falls there, the standard error of that, and how much of the
    training it is, in rate (0 to 1) and in steps."""

    fall: float
    doubt: float
    share: float
    steps: int


@dataclass(frozen=True)
class Jump:
    """Losses that rose at `step` and stayed up for several steps, from `low` to `high`."""

    step: int
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """Losses by step, both of shape [points], by rising step."""

    steps: Array
    losses: Array

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, float | None]]) -> Curve:
        """From (step, loss), without those that have no loss."""
        known = [(step, loss) for step, loss in pairs if loss is not None]
        steps, losses = np.array(known, dtype=np.float64).reshape(-1, 2).T
        return cls(steps, losses)

    def __len__(self) -> int:
        return len(self.steps)

    def level(self, step: float) -> float:
        """The mean of the losses around a step."""
        size = self._window
        first = int(np.searchsorted(self.steps, step)) - size // 2
        first = min(max(0, first), len(self) - size)
        return float(self.losses[first : first + size].mean())

    @property
    def _window(self) -> int:
        return min(len(self), max(FEWEST_IN_WINDOW, round(WINDOW * len(self))))

    @property
    def doubt(self) -> float:
        """The standard error of the difference of two levels."""
        return self.noise * math.sqrt(2 / self._window)

    @property
    def noise(self) -> float:
        """Standard deviation around a smooth curve, by the median second difference."""
        if len(self) < FEWEST_IN_WINDOW:
            return 0.0
        return float(1.4826 * np.median(np.abs(np.diff(self.losses, 2))) / math.sqrt(6))

    @property
    def start(self) -> float:
        """The mean of the first few losses; or, where it lies within the noise, the first level."""
        first, level = float(self.losses[:FIRST].mean()), self.level(self.steps[0])
        return first if abs(first - level) > DOUBT * self.noise / math.sqrt(FIRST) else level

    def end(self, total: int) -> Stretch:
        """How the curve falls over its last stretch, as a line over the rates added up.

        total  steps that were planned: the rate falls in a straight line to 0 at the last of them,
               as is usual, so that every curve flattens; what counts is the fall for the rate.
        """
        rates = 1 - (1 - self.steps / total) ** 2
        size = max(FEWEST_IN_STRETCH, int((rates > (1 - STRETCH) * rates[-1]).sum()))
        x, y = (values[-size:] - values[-size:].mean() for values in (rates, self.losses))
        slope = float(x @ y / (x @ x))
        off = y - slope * x
        error = math.sqrt(float(off @ off) / max(1, len(x) - 2) / float(x @ x))
        span = float(np.ptp(x))
        steps = int(self.steps[-1] - self.steps[-len(x)])
        return Stretch(-slope * span, error * span, span / float(rates[-1]), steps)

    def highest(self) -> tuple[int, float]:
        """(step, level) where the level is highest."""
        size = self._window
        levels = np.lib.stride_tricks.sliding_window_view(self.losses, size).mean(axis=1)
        return int(self.steps[levels.argmax() + size // 2]), float(levels.max())

    def jumps(self, least: float) -> list[Jump]:
        """Where the curve leaps by `least` or more, for several steps."""
        if len(self) < BEFORE + JUMP_STEPS:
            return []
        losses = np.maximum(self.losses, TINY)
        windows = np.lib.stride_tricks.sliding_window_view(losses, BEFORE + JUMP_STEPS)
        before, after = windows[:, :BEFORE], windows[:, BEFORE:]
        low, high = np.median(before, axis=1), np.median(after, axis=1)
        # As ratios: the noise of a loss grows with its level.
        noise = 1.4826 * np.median(np.abs(np.log(before / low[:, None])), axis=1)
        ratio = np.exp(JUMP_OF_NOISE * np.maximum(noise, np.median(noise)))
        is_high = high - low > np.maximum(least, low * (np.maximum(ratio, 1 + JUMP) - 1))
        places = np.flatnonzero(is_high)
        groups = np.split(places, np.flatnonzero(np.diff(places) > BEFORE) + 1)
        return [
            Jump(int(self.steps[g[0] + BEFORE]), float(low[g[0]]), float(high[g].max()))
            for g in groups
            if len(g)
        ]

    def turns(self, size: float) -> list[int]:
        """Steps at which the curve turns and then goes the other way by `size` at least.

        The beginning is no turn, whichever way the curve goes from there.
        """
        turns: list[int] = []
        extreme, is_falling = 0, True
        for i, loss in enumerate(self.losses):
            back = loss - self.losses[extreme] if is_falling else self.losses[extreme] - loss
            if back < 0:
                extreme = i
            elif back >= size:
                turns.append(extreme)
                extreme, is_falling = i, not is_falling
        return [int(self.steps[turn]) for turn in turns if turn > 0]
