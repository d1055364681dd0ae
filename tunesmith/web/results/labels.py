"""The rows that a model of labels was scored on: some of them, and how sure it is of its answers.

Knows: the columns of its predictions. Does not know: the report, how rows are shown.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from tunesmith.data.reading import kept
from tunesmith.web.results.asking import PREDICTIONS
from tunesmith.web.run_files import json_of

SHOWN = ("line", "text", "label", "predicted", "logprob", "label_probability", "top", "cut_tokens")
NUM_TOP = 5
PIECE = 5_000
"""Rows that are read at a time."""
LONGEST = 4000
"""Characters of a text that are shown."""
TARGETS = (0.9, 0.95, 0.98, 0.99)
"""Shares right for which a threshold is told."""
THRESHOLDS = (*(k / 100 for k in range(100)), 0.995, 0.999)

Asked = Mapping[str, Any]


def rows(asked: Asked) -> dict[str, Any]:
    """total, and from `offset` on `limit` of the rows that are asked for.

    gold, predicted  a label; empty: any. `others` as predicted: answers that are no label, which
                     are those not in `labels`.
    show    wrong, right or all; search: what the text holds.
    order   worst (least probability of the right label first), unsure (of the answer), line.
    """
    path = Path(asked["folder"]) / PREDICTIONS
    names = ["label", "predicted", "logprob", "label_probability"]
    table = kept.columns(path, [*names, *(["text"] if asked.get("search") else [])])
    found = list(_matching(table, asked))
    by = {"worst": "label_probability", "unsure": "logprob"}.get(asked.get("order", "worst"))
    if by:
        keys = table.get(by) or [None] * len(table["label"])
        found.sort(key=lambda i: -math.inf if keys[i] is None else keys[i])
    start = int(asked.get("offset", 0))
    shown = found[start : start + int(asked.get("limit", 20))]
    return {"total": len(found), "rows": rows_of(path, shown)}


def rows_of(path: Path, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of those numbers as they are shown."""
    table = kept.columns(path, SHOWN, rows=numbers)
    return [
        _row(number, {name: table[name][i] for name in table}) for i, number in enumerate(numbers)
    ]


def sureness(asked: Asked) -> dict[str, Any]:
    """What leaving unsure rows to people brings.

    points   threshold, rows answered, of these right, and the interval of their share.
    targets  share right, and the point at which it is surely reached, or null.
    """
    from tunesmith.metrics.abstaining import abstain
    from tunesmith.metrics.intervals import share

    path = Path(asked["folder"]) / PREDICTIONS
    table = kept.columns(path, ("label", "predicted", "logprob"))
    if "logprob" not in table or not table["label"]:
        return {"num_rows": 0, "points": [], "targets": []}
    sure = list(_sure(path, table, had_votes=_had_votes(Path(asked["folder"]))))
    right = [p == g for p, g in zip(table["predicted"], table["label"], strict=True)]
    ranked = sorted(zip(sure, right, strict=True))
    probabilities = [p for p, _ in ranked]
    hits = [0, *accumulate(is_right for _, is_right in ranked)]
    total = len(ranked)

    def point(threshold: float) -> list[float]:
        place = bisect_left(probabilities, threshold)
        answered, rightly = total - place, hits[-1] - hits[place]
        return [threshold, answered, rightly, *share(rightly, answered)]

    found = abstain(sure, right)
    reached = [(target, found.reaching(target)) for target in TARGETS]
    return {
        "num_rows": total,
        "points": [point(threshold) for threshold in THRESHOLDS],
        "targets": [[target, point(p.threshold) if p else None] for target, p in reached],
    }


def _had_votes(folder: Path) -> bool:
    """Whether the most frequent of several answers counted, which need not be the likeliest."""
    result = json_of(folder / PREDICTIONS.parent / "result.json") or {}
    return bool(result.get("num_votes", 1) > 1)


def _sure(path: Path, table: Mapping[str, Sequence[Any]], *, had_votes: bool) -> Iterator[float]:
    """The probability of each answer. Those of all labels are many, and read only if needed."""
    answers = list(zip(table["predicted"], table["logprob"], strict=True))
    for start in range(0, len(answers), PIECE):
        some = answers[start : start + PIECE]
        tops: Sequence[Any] = [None] * len(some)
        if had_votes:
            tops = kept.columns(path, ("top",), rows=range(start, start + len(some)))["top"]
        yield from (_of_answer(*one, top) for one, top in zip(some, tops, strict=True))


def shortened(text: str | None) -> str:
    """The text, if it is not too long to be shown."""
    text = text or ""
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _matching(table: Mapping[str, Sequence[Any]], asked: Asked) -> Iterator[int]:
    gold, predicted = asked.get("gold"), asked.get("predicted")
    show, search = asked.get("show", "all"), (asked.get("search") or "").casefold()
    known = set(asked.get("labels") or ())
    for i, (right, answer) in enumerate(zip(table["label"], table["predicted"], strict=True)):
        if gold and right != gold:
            continue
        if asked.get("others") and answer in known:
            continue
        if predicted and answer != predicted:
            continue
        if show != "all" and (answer == right) != (show == "right"):
            continue
        if search and search not in table["text"][i].casefold():
            continue
        yield i


def _of_answer(label: str, logprob: float | None, top: Any) -> float:
    """The probability of what was answered, which need not be the likeliest where votes decide."""
    known = {each["label"]: each["logprob"] for each in top or ()}
    value = known.get(label, logprob)
    return 0.0 if value is None else math.exp(value)


def _row(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    top = [(each["label"], math.exp(each["logprob"])) for each in row.get("top") or ()]
    return {
        "row": number,
        "line": row.get("line"),
        "text": shortened(row["text"]),
        "gold": row["label"],
        "predicted": row["predicted"],
        "probability": _of_answer(row["predicted"], row.get("logprob"), row.get("top")),
        "gold_probability": row.get("label_probability"),
        "top": top[:NUM_TOP],
        "cut_tokens": row.get("cut_tokens") or 0,
    }
