"""Which other runs a run can be compared with.

Knows: runs of a project. Does not know: their predictions.
"""

from __future__ import annotations

from pathlib import Path

from tunesmith.store.paging import Cursor
from tunesmith.store.rows import RunRow
from tunesmith.web import run_files
from tunesmith.web.results.asking import PREDICTIONS
from tunesmith.web.visit import Visit

MOST = 100
"""Runs among which to look, the newest."""


def comparable(visit: Visit, row: RunRow) -> list[RunRow]:
    """Runs whose model does the same kind of work, those on a table of the same name first, and of
    these the newest that is older than `row`. Raises: StorageError."""
    found = visit.store.runs.page(Cursor(limit=MOST), states=("succeeded",)).data
    name = _table(visit.runs.folder(row))
    some = [
        other
        for other in found
        if other.id != row.id
        and _kind(other) == _kind(row)
        and (visit.runs.folder(other) / PREDICTIONS).is_file()
    ]

    def rank(other: RunRow) -> tuple[bool, bool, int]:
        is_same = _table(visit.runs.folder(other)) == name
        return not is_same, other.seq > row.seq, -other.seq

    return sorted(some, key=rank)


def named(row: RunRow) -> str:
    """The run as lists show it: its name, and its score."""
    value = row.summary.get("score")
    score = f", {100 * value:.1f} %" if isinstance(value, int | float) and value <= 1 else ""
    return f"{row.name or 'Without a name'}{score}"


def _kind(row: RunRow) -> bool:
    return row.summary.get("task") == "classify"


def _table(folder: Path) -> str:
    table = run_files.table(folder)
    return table.name if table else ""
