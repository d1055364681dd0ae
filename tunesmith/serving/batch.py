"""What the server and the processes that compute say to each other.

Does not know: either of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts for one model, and names of models whose files are gone."""

    model: str
    folder: Path
    """Where the model's files are."""
    texts: list[str]
    gone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Classification:
    """One answer: the log-probability of each label, and the tokens read and cut off."""

    labels: tuple[str, ...]
    logprobs: Sequence[float]
    prompt_tokens: int
    cut_tokens: int
