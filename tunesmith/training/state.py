"""What a stopped training goes on from: weights, optimizer, random state, position.

Everything is safetensors and JSON; no pickle is ever written or read. A state is written beside the
old one and renamed over it, so there is always a whole one.
Does not know: what is being trained.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file

from tunesmith.errors import storage_error
from tunesmith.events import Event
from tunesmith.training import together
from tunesmith.training.job import replace_folder

STATE_EVERY = 60.0
"""Seconds of work that a killed process may lose. One that is asked to stop loses none."""
MOST_SAVING = 0.05
"""Share of the time that may go into saving: a large model's state takes a minute to write."""


@dataclass(kw_only=True)
class Position:
    """Where the loop stands, and what it has found so far."""

    step: int = 0
    best_step: int = 0
    best_loss: float = float("inf")
    looks_without_progress: int = 0
    trained_tokens: int = 0
    decisions: list[dict[str, Any]] = field(default_factory=list)
    """Made on the way: what, value, reason."""
    diverged_at: int = 0
    """The step whose loss was not a number; 0: none."""
    metrics_at: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Metrics of the checkpoints written so far, by step."""


class Saving:
    """When the state is saved: at looks, and so often that a killed process loses little work.

    Writing it takes its time: where that is long, it is done more rarely than every `STATE_EVERY`
    seconds, at looks too.
    """

    def __init__(self) -> None:
        self._saved_at, self._seconds = time.monotonic(), 0.0

    def is_due(self, *, is_look: bool) -> bool:
        """Whether it is time to."""
        rested = time.monotonic() - self._saved_at
        return rested > self._seconds / MOST_SAVING and (is_look or rested > STATE_EVERY)

    def now(self, save: Callable[[], None]) -> None:
        """Save, and note how long it took."""
        started = time.monotonic()
        save()
        self._saved_at = time.monotonic()
        self._seconds = self._saved_at - started


def tell_and_save(
    event: Event, save: Callable[[], None], saving: Saving, *, is_look: bool = False
) -> Generator[Event, None, None]:
    """Yield the event, then save if it is time to, or if we are closed here: asked to stop."""
    is_due = saving.is_due(is_look=is_look)
    try:
        yield event
    except GeneratorExit:
        is_due = True
        raise
    finally:
        if is_due:
            saving.now(save)


class Tuned(Protocol):
    """What can be saved and put back."""

    optimizer: torch.optim.Optimizer

    def weights(self) -> dict[str, torch.Tensor]:
        """All that is trained, by name."""

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Put it back."""


def save_state(folder: Path, tuned: Tuned, position: Position) -> None:
    """Write all of it into `folder`, replacing what is there.

    Raises: StorageError when the disk is full or the folder cannot be written.
    """
    if not together.is_first():
        return
    new = folder.with_name(folder.name + ".new")
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        save_file(_shared_free(tuned.weights()), new / "weights.safetensors")
        save_file(_flat(tuned.optimizer), new / "optimizer.safetensors")
        save_file(_random(), new / "random.safetensors")
        (new / "position.json").write_text(json.dumps(asdict(position)), encoding="utf-8")
        replace_folder(new, folder)
    except OSError as error:
        raise storage_error(error, folder) from error


def load_state(folder: Path, tuned: Tuned) -> Position | None:
    """Put everything back as `save_state` found it; None when there is nothing to go on from."""
    retired = folder.with_name(folder.name + ".old")
    if not folder.exists() and retired.exists():  # stopped between the two renames
        retired.rename(folder)
    if not folder.exists():
        return None
    tuned.restore(load_file(folder / "weights.safetensors"))
    _unflatten(tuned.optimizer, load_file(folder / "optimizer.safetensors"))
    random = load_file(folder / "random.safetensors")
    torch.set_rng_state(random["torch"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])
    return Position(**json.loads((folder / "position.json").read_text(encoding="utf-8")))


def _random() -> dict[str, torch.Tensor]:
    found = {"torch": torch.get_rng_state()}
    return found | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _shared_free(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Own copies of tensors that share memory, which safetensors refuses to write."""
    seen: set[int] = set()
    out = {}
    for name, tensor in weights.items():
        shared = tensor.data_ptr() in seen
        seen.add(tensor.data_ptr())
        out[name] = tensor.clone() if shared else tensor.contiguous()
    return out


def _flat(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """`index.name` → tensor for every entry of the optimizer's per-parameter state."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": t for i, entry in state.items() for name, t in entry.items()}


def _unflatten(optimizer: torch.optim.Optimizer, flat: dict[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in flat.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
