"""A new run with what people decided about the rows of an earlier one.

Knows: runs, reviews. Does not know: pages.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tunesmith.errors import StateError
from tunesmith.store.rows import RunRow
from tunesmith.web import run_files
from tunesmith.web.results import reviews
from tunesmith.web.results.reviews import Row
from tunesmith.web.visit import Visit, off

REVIEW = "review.csv"


def decided(folder: Path, review: str | None) -> list[Row]:
    """All decisions that hold for the run's rows: those of the review it was made with, which its
    own review file repeats, and over them what was decided since."""
    rows = {}
    for one in reviews.listed(folder, review):
        if one["decision"]:
            row = Row(**{name: one[name] for name in reviews.COLUMNS})
            rows[row.key] = row
    rows |= reviews.load(folder).rows
    return [row for row in rows.values() if row.decision]


async def train_again(visit: Visit, row: RunRow, review: str | None) -> RunRow:
    """Start a run with the same table and settings, and with these decisions.

    Raises: ApiError 403; StateError where nothing was decided; StorageError.
    """
    visit.check_change()
    folder = visit.runs.folder(row)
    rows = await off(decided, folder, review)
    if not rows:
        raise StateError("Nothing is decided yet.", fix="Decide on some rows first.")
    new = await off(visit.runs.draft, visit.caller, f"{_plain(row.name)}, relabelled", like=row)
    await off(_review, visit.runs.folder(new), rows)
    return await off(visit.runs.start, new)


def _review(folder: Path, rows: list[Row]) -> None:
    place = folder / REVIEW
    reviews.write(rows, place)
    asked = run_files.config(folder)
    settings: dict[str, Any] = {"review": str(place)}
    run_files.keep_config(folder, replace(asked, prepare=replace(asked.prepare, **settings)))


def _plain(name: str) -> str:
    return name.removesuffix(", relabelled")
