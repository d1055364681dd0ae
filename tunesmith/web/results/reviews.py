"""What people decide about a run's rows: kept as a log in its folder, and undone from there.

Each line of the log is one act: who, when, and the rows with what was decided and what stood there
before. An act that is undone is not erased; another act brings back what stood before.
Does not know: which rows are suspect, how they are shown.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.errors import StorageError, storage_errors

DROP = "(drop)"
"""The decision to leave a row out, as `data.labels.review` reads it."""
LOG = "decisions.jsonl"
COLUMNS = ("file", "line", "text", "label", "decision")
LOCK = threading.Lock()

Key = tuple[str, int]
"""A row: its file's name and line."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row, the label it has, and what was decided: a label, DROP, or nothing yet (empty)."""

    file: str
    line: int
    text: str
    label: str
    decision: str = ""
    before: str = ""
    """What was decided before this act."""

    @property
    def key(self) -> Key:
        return self.file, self.line


@dataclass(kw_only=True)
class Review:
    """What stands at the end of the log."""

    rows: dict[Key, Row] = field(default_factory=dict)
    """All that were ever decided on."""
    acts: dict[str, list[list[Row]]] = field(default_factory=dict)
    """By whom → the acts that can be undone, the newest last."""

    @property
    def decided(self) -> dict[Key, str]:
        """What was decided, also that nothing is any more (empty)."""
        return {key: row.decision for key, row in self.rows.items()}


def load(folder: Path) -> Review:
    """What has been decided in the run's folder. Raises: StorageError."""
    review = Review()
    try:
        lines = (folder / LOG).read_bytes().split(b"\n")
    except FileNotFoundError:
        return review
    except OSError as error:
        raise StorageError(f"The decisions cannot be read: {error.strerror}.") from None
    for line in lines:
        try:
            act = json.loads(line)
        except ValueError:  # what a crash has left half written is no act
            continue
        rows = [Row(**row) for row in act["rows"]]
        review.rows.update((row.key, row) for row in rows)
        mine = review.acts.setdefault(act["by"], [])
        if act["undoes"]:
            mine.pop()
        else:
            mine.append(rows)
    return review


def decide(folder: Path, rows: Sequence[Row], *, by: str) -> None:
    """Keep what is decided about these rows, as one act of that key. Raises: StorageError."""
    with LOCK:
        now = load(folder).decided
        named = [Row(**{**asdict(row), "before": now.get(row.key, row.before)}) for row in rows]
        _append(folder, named, by=by, undoes=False)


def undo(folder: Path, *, by: str) -> list[Row]:
    """Take back the last act of that key; the rows with what stands now. None: an empty list.

    Raises: StorageError.
    """
    with LOCK:
        mine = load(folder).acts.get(by)
        if not mine:
            return []
        back = [
            Row(**{**asdict(row), "decision": row.before, "before": row.decision})
            for row in mine[-1]
        ]
        _append(folder, back, by=by, undoes=True)
        return back


def listed(folder: Path, review: str | None) -> Iterator[dict[str, Any]]:
    """The rows of the run's review file: file, line, text, label, proposed, …; none without one."""
    path = folder / review if review else None
    if path is None or not path.is_file():
        return
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield {
                "file": row["file"],
                "line": int(row["line"]),
                "text": row["text"],
                "label": row.get("label") or "",
                "proposed": row.get("proposed") or "",
                "label_probability": _number(row.get("label_probability")),
                "proposed_probability": _number(row.get("proposed_probability")),
                "is_probably_wrong": row.get("is_probably_wrong") or "",
                "decision": row.get("decision") or "",
            }


def write(rows: Sequence[Row], path: Path) -> None:
    """A review that prepare reads. Raises: StorageError."""
    with storage_errors(path), path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(COLUMNS)
        out.writerows([getattr(row, name) for name in COLUMNS] for row in rows)


def _number(said: str | None) -> float | None:
    return float(said) if said else None


def _append(folder: Path, rows: Sequence[Row], *, by: str, undoes: bool) -> None:
    act: dict[str, Any] = {
        "at": int(time.time()), "by": by, "undoes": undoes, "rows": [asdict(row) for row in rows]
    }  # fmt: skip
    line = json.dumps(act, ensure_ascii=False).encode() + b"\n"
    path = folder / LOG
    with storage_errors(path), path.open("ab") as file:
        if file.tell() and not _ends_whole(path):
            file.write(b"\n")
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"
