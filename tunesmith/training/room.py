"""How much memory and disk a job needs, whether it fits, and if not, what would.

All sizes are in bytes, at the highest point.
Does not know: how the numbers were found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.errors import ConfigError

MOMENTS = 2
"""What the optimizer keeps of each weight."""
SCATTERED = 2
"""Times the largest weight: its gradient is freed and taken anew at every step, and often not where
it was before. Measured: 2 to 3 times, of models of 90 and 440 MB."""
SHORTEST = 16
"""Tokens of a text; a smaller `max_length` is not worth proposing."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What the memory of a training process is made of."""

    taken: int
    """Before the features are computed."""
    features: int
    logits: int
    """Of all rows."""
    model: int
    """Weights alone."""
    largest: int
    """Of the largest of them."""
    state: int = 0
    """Gradients, the optimizer's moments, the average, weights in another precision."""
    batch: int = 0
    """What the batch with the longest texts takes in a step, besides."""
    batch_tokens: int = 0
    longest: int = 0
    """Tokens of the longest text."""

    @property
    def head(self) -> int:
        """While the head is fitted, to a copy of the features, with logits of the solver's own; or
        at the end, when the model is loaded once more."""
        return self.taken + self.features + max(self.features + 4 * self.logits, self.model)

    @property
    def full(self) -> int:
        """With the fine-tuning of everything, where there is one."""
        return max(self.head, self._without_batch + self.batch) if self.state else self.head

    @property
    def _without_batch(self) -> int:
        # At the end the best model is read from its file, and what was freed before is kept.
        kept = self.taken + self.features + self.state + self.model
        return kept + SCATTERED * self.largest

    def check(self, available: int | None) -> None:
        """Raises: ConfigError when the job needs more than is available to the process."""
        if available is not None and self.full > available:
            raise _refusal("memory", self.full, available, self._ways(available))

    def _ways(self, available: int) -> Iterator[str]:
        if not self.batch or self.head > available:
            return
        room = available - self._without_batch
        tokens = room * self.batch_tokens // self.batch
        if tokens >= self.longest:
            yield f"a batch_size of {tokens // self.longest} or less"
        elif tokens >= SHORTEST:
            yield f"a max_length of {tokens // 8 * 8} or less with a batch_size of 1"
        yield f"the method head, which needs {size(self.head)}"


@dataclass(frozen=True, kw_only=True)
class Disk:
    """What a job writes."""

    model: int
    features: int
    epochs: int
    """Whose ends are kept as checkpoints at once; 0 where only a head is fitted."""
    averages: int = 0
    """Copies of the weights that the state has besides."""

    @property
    def head(self) -> int:
        """Features, and the model at the end."""
        return self.features + self.model

    @property
    def full(self) -> int:
        """The latest state beside the one that it replaces, the best model, and the epochs' ends;
        at the end the model is there once more, and the state once."""
        if not self.epochs:
            return self.head
        latest = (1 + MOMENTS + self.averages) * self.model
        return self.features + 2 * latest + (1 + self.epochs) * self.model

    def check(self, available: int) -> None:
        """Raises: ConfigError when the job needs more than there is."""
        if self.full > available:
            fits = self.epochs and self.head <= available
            ways = [f"the method head, which needs {size(self.head)}"] if fits else []
            raise _refusal("disk", self.full, available, iter(ways))


def size(bytes: float) -> str:
    """1_234_567_890 → "1.2 GB"."""
    if bytes < 1e8:
        return f"{max(1, round(bytes / 1e6))} MB"
    return f"{bytes / 1e9:,.1f} GB"


def _refusal(what: str, need: int, available: int, ways: Iterator[str]) -> ConfigError:
    free = f"Free {size(need - available)} of {what}"
    return ConfigError(
        f"The job needs about {size(need)} of {what}, and there are {size(available)}.",
        fix=f"{', or choose '.join([free, *ways])}.",
    )
