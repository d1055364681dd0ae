"""Progress as values: what deep code yields and edges print.

Knows: the shape of an event and how to append to and follow a JSON-lines file of them.
Does not know: who reads them (a terminal, a database, a page).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["note", "decision", "metric", "progress", "warning", "error", "done"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened.

    kind      note: for people; decision: an automatic choice (`data`: what, value, reason);
              metric: numbers of a step (`data`: step, total_steps, train_loss, …);
              progress: how far something long has come (`data`: done, total), never stored;
              warning, error; done: the last event.
    message   one sentence for people.
    at        unix seconds.
    """

    kind: Kind
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """An automatic choice: what was chosen, why, and so what a user may want to override."""

    what: str
    value: str
    reason: str

    def event(self) -> Event:
        """The same as an event."""
        message = f"{self.what}: {self.value} ({self.reason})"
        return Event(kind="decision", message=message, data=asdict(self))


class EventWriter:
    """Appends events to a JSON-lines file, each line in one write, flushed at once."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        # A process killed in the middle of a line leaves a torn tail; start on a fresh line.
        if self._file.tell() and not _ends_in_newline(path):
            self._file.write(b"\n")

    def __call__(self, event: Event) -> None:
        self._file.write(json.dumps(asdict(event), ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        self._file.close()


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[Event, int]]:
    """Events of whole lines from byte `offset` on, each with the offset after it.

    A torn or unfinished line is skipped (unfinished: left for the next call).
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                yield Event(**json.loads(line)), offset
            except (ValueError, TypeError):
                continue


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
