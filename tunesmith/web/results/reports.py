"""What evaluate has left of a run: the numbers of its report, the suspect labels, a table of all.

Only what a page shows is handed on, whatever the size of the files.
Knows: the layout of 05-evaluate. Does not know: how numbers came about, how they are shown.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from csv import DictReader, writer
from pathlib import Path
from typing import Any

from tunesmith.data.reading import kept
from tunesmith.errors import NotFound
from tunesmith.web.results import reviews
from tunesmith.web.results.asking import PREDICTIONS
from tunesmith.web.results.labels import shortened
from tunesmith.web.run_files import json_of

FOLDER = "05-evaluate"
LARGE = ("mistakes", "flipped", "curve", "decisions", "findings", "confusion", "per_class")
"""Of report.json: not handed on, or in another form."""
MOST_CELLS = 20_000
PIECE = 5_000
"""Rows that are written at a time."""

Asked = Mapping[str, Any]


def report(asked: Asked) -> dict[str, Any]:
    """The numbers of the run's report.

    Of labels: those of report.json, with the confusion table as `cells` ([right, answer, rows] by
    place in `labels`; an answer beyond them is none of them), and of the worst rows those that
    stand beside training rows as `nearest`, by their number. Of written answers: result.json.
    Raises: NotFound before there are any.
    """
    folder = Path(asked["folder"]) / FOLDER
    result = json_of(folder / "result.json")
    if result is None:
        raise NotFound("The run has not been evaluated yet.")
    from tunesmith.metrics.confusion import MixedUp  # here, since not every answer needs numpy

    numbers = json_of(folder / "report.json") if result.get("numbers") else None
    if numbers is None:
        plain = {name: value for name, value in result.items() if name != "decisions"}
        return {"kind": "written", **plain, "curve": _curve(Path(asked["folder"]))}
    found = {name: value for name, value in numbers.items() if name not in LARGE}
    for rival in (*numbers["baselines"], *numbers["against"]):
        rival.pop("flips", None)
    return {
        "kind": "labels",
        **found,
        "worth": result.get("worth"),
        "has_others": len(numbers["confusion"][0]) > len(numbers["labels"]),
        "cells": _cells(numbers["confusion"]),
        "pairs": [{**pair, "said": str(MixedUp(**pair))} for pair in numbers["pairs"]],
        "per_class": numbers["per_class"],
        "nearest": {row["row"]: row["nearest"] for row in numbers["mistakes"] if row["nearest"]},
        "file": _file(Path(asked["folder"])),
    }


def suspects(asked: Asked) -> dict[str, Any]:
    """The training rows whose label is most probably wrong, with what was decided about them.

    show    open (not decided on), decided or all; more: those without evidence too.
    search  what the text holds; offset, limit: which of them.
    Returns total, rows, and how many are open and decided on.
    """
    folder = Path(asked["folder"])
    kept_here = reviews.load(folder)
    show, search = asked.get("show", "open"), (asked.get("search") or "").casefold()
    start, limit = int(asked.get("offset", 0)), int(asked.get("limit", 25))
    total = num_open = num_decided = 0
    rows = []
    for row in reviews.listed(folder, asked.get("review")):
        key = row["file"], row["line"]
        decision = kept_here.decided.get(key, row["decision"])
        has_evidence = row["is_probably_wrong"] == "true"
        if not (has_evidence or decision or asked.get("more")):
            continue
        num_decided += bool(decision)
        num_open += not decision
        if show != "all" and bool(decision) != (show == "decided"):
            continue
        if search and search not in row["text"].casefold():
            continue
        if start <= total < start + limit:
            rows.append({**row, "decision": decision, "shown": shortened(row["text"])})
        total += 1
    return {
        "total": total,
        "num_open": num_open,
        "num_decided": num_decided,
        "rows": rows,
    }


def csv(asked: Asked) -> Iterator[str]:
    """The predictions as CSV, some rows at a time. Raises: StorageError."""
    path = Path(asked["folder"]) / PREDICTIONS
    names = [name for name in kept.names(path) if name != "top"]
    has_logprob = "logprob" in names
    yield _line([*names, *(["probability"] if has_logprob else [])])
    number = len(kept.columns(path, names[:1])[names[0]])
    for start in range(0, number, PIECE):
        table = kept.columns(path, names, rows=range(start, min(start + PIECE, number)))
        for row in zip(*(table[name] for name in names), strict=True):
            value = row[names.index("logprob")] if has_logprob else None
            sure = [] if value is None else [f"{math.exp(value):.4f}"]
            yield _line([*row, *sure])


def _line(cells: list[Any]) -> str:
    text = io.StringIO()
    writer(text).writerow(cells)
    return text.getvalue()


def _cells(confusion: list[list[int]]) -> list[tuple[int, int, int]]:
    """The filled cells; of very many mistakes the largest."""
    cells = [(i, j, n) for i, row in enumerate(confusion) for j, n in enumerate(row) if n]
    return sorted(cells, key=lambda cell: (cell[0] != cell[1], -cell[2]))[:MOST_CELLS]


def _curve(folder: Path) -> list[dict[str, float]]:
    """step and losses of training, where they were written down."""
    try:
        with (folder / "03-train" / "metrics.csv").open(encoding="utf-8", newline="") as file:
            rows = [{k: float(v) for k, v in row.items() if v} for row in DictReader(file)]
    except (OSError, ValueError):
        return []
    return [row for row in rows if "step" in row]


def _file(folder: Path) -> str:
    """The name of the table with the rows that are scored."""
    prepared = json_of(folder / "01-prepare" / "result.json") or {}
    files = prepared.get("files") or {}
    name = files.get("table", "")
    return str(name if prepared.get("test") else files.get("validation") or name)
