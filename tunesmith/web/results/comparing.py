"""Runs side by side on the rows that all of them were scored on.

Rows are the same where the text is; rows that one of the models was trained on are none, since they
are not among those it was scored on. The right answers are those of the first run.
Knows: predictions. Does not know: which runs are worth comparing, how that is shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.data.reading import kept
from tunesmith.errors import DataError
from tunesmith.metrics.classification import ClassificationScores, score
from tunesmith.metrics.flips import flips
from tunesmith.metrics.intervals import bootstrap, gains, mean, mean_gain
from tunesmith.metrics.significance import LEVEL, Comparison, compare_answers, compare_scores
from tunesmith.metrics.slices import holm
from tunesmith.web.results.asking import PREDICTIONS
from tunesmith.web.results.labels import rows_of
from tunesmith.web.results.written import RIGHT, SCORES, turns

SHOWN = ("accuracy", "f1_macro", "precision_macro", "recall_macro")
MOST_LABELS = 15
MOST_LISTED = 20
RESAMPLES = 1000

Asked = Mapping[str, Any]


def against(asked: Asked) -> dict[str, Any]:
    """This run's labels (folder) against those of another one (other), on the rows of both.

    list    mended or broken: the rows to list, from `offset` on, with `theirs`.
    Raises: DataError without such rows.
    """
    folders = [Path(asked["folder"]), Path(asked["other"])]
    tables = [_labels_of(folder) for folder in folders]
    rows = _common(tables, "text")
    gold = [tables[0]["label"][i] for i in rows[0]]
    ours, theirs = ([t["predicted"][i] for i in r] for t, r in zip(tables, rows, strict=True))
    found = flips(gold, theirs, ours)
    listed = found.mended if asked.get("list") == "mended" else found.broken
    start = int(asked.get("offset", 0))
    places = listed[start : start + int(asked.get("limit", MOST_LISTED))]
    shown = rows_of(folders[0] / PREDICTIONS, [rows[0][place] for place in places])
    others = [tables[1]["label"][i] for i in rows[1]]
    return {
        "num_rows": len(gold),
        "num_ours": len(tables[0]["text"]),
        "num_relabelled": sum(a != b for a, b in zip(gold, others, strict=True)),
        "num_mended": len(found.mended),
        "num_broken": len(found.broken),
        "num_otherwise": len(found.otherwise),
        "comparison": asdict(compare_answers(gold, ours, theirs)),
        "rows": [
            {**row, "theirs": theirs[place]} for row, place in zip(shown, places, strict=True)
        ],
    }


def compare(asked: Asked) -> dict[str, Any]:
    """The runs in `folders`, each but the first against the first, on the rows of all.

    Raises: DataError without such rows, or where some give labels and others write.
    """
    folders = [Path(folder) for folder in asked["folders"]]
    kinds = {"text" in kept.names(folder / PREDICTIONS) for folder in folders}
    if len(kinds) > 1:
        raise DataError(
            "Some of these models give labels and others write, so they have no score in common.",
            fix="Compare runs of one kind.",
        )
    return _compare_labels(folders) if kinds == {True} else _compare_written(folders, asked)


def _compare_labels(folders: Sequence[Path]) -> dict[str, Any]:
    tables = [_labels_of(folder) for folder in folders]
    rows = _common(tables, "text")
    gold = [tables[0]["label"][i] for i in rows[0]]
    answers = [[t["predicted"][i] for i in r] for t, r in zip(tables, rows, strict=True)]
    known = sorted({*gold, *(answer for some in answers for answer in some if answer)})
    scores = [score(gold, some, labels=known) for some in answers]
    duels = _corrected([compare_answers(gold, some, answers[0]) for some in answers[1:]])
    models = [
        {
            "metrics": {name: one.metrics[name] for name in SHOWN},
            "intervals": {
                name: span
                for name, span in bootstrap(one, resamples=RESAMPLES).items()
                if name in SHOWN
            },
        }
        for one in scores
    ]
    ahead = [
        gains(gold, some, answers[0], labels=known, resamples=RESAMPLES) for some in answers[1:]
    ]
    changed = [flips(gold, answers[0], some) for some in answers[1:]]
    return {
        "kind": "labels",
        "num_rows": len(gold),
        "num_each": [len(table["text"]) for table in tables],
        "names": list(SHOWN),
        "models": models,
        "duels": [
            {
                **asdict(one),
                "gains": {name: found[name] for name in SHOWN},
                "num_mended": len(moved.mended),
                "num_broken": len(moved.broken),
                "labels": _changed(scores[0], other),
            }
            for one, found, moved, other in zip(duels, ahead, changed, scores[1:], strict=True)
        ],
    }


def _compare_written(folders: Sequence[Path], asked: Asked) -> dict[str, Any]:
    """The mean scores, and whether they differ by the one that the first run goes by (`main`)."""
    tables = [kept.columns(folder / PREDICTIONS, ("messages", *SCORES)) for folder in folders]
    for table in tables:
        table["messages"] = [json.dumps(turns(one)) for one in table["messages"]]
    rows = _common(tables, "messages")
    names = [name for name in SCORES if all(name in table for table in tables)]
    scores = [
        {name: [table[name][i] for i in some] for name in names}
        for table, some in zip(tables, rows, strict=True)
    ]
    main = asked["main"] if asked.get("main") in names else next(iter(names), RIGHT[-1])
    models, duels = [], []
    for one in scores:
        known = {name: [v for v in one[name] if v is not None] for name in names}
        shares = {name: values for name, values in known.items() if values}
        models.append(
            {
                "metrics": {name: sum(v) / len(v) for name, v in shares.items()},
                "intervals": {n: mean(v) for n, v in shares.items() if n != "judge_score"},
            }
        )
    comparisons, ahead = [], []
    for one in scores[1:]:
        pairs = {name: _pairs(one[name], scores[0][name]) for name in names}
        if not pairs.get(main):
            raise DataError("No row has this score in both runs.", fix="Compare other runs.")
        scale = 5.0 if main == "judge_score" else 1.0
        ours, theirs = zip(*pairs[main], strict=True)
        comparisons.append(compare_scores([v / scale for v in ours], [v / scale for v in theirs]))
        ahead.append(
            {
                name: mean_gain(*zip(*some, strict=True), resamples=RESAMPLES)
                for name, some in pairs.items()
                if some
            }
        )
    for duel, found in zip(_corrected(comparisons), ahead, strict=True):
        moved = {"num_mended": duel.only_ours, "num_broken": duel.only_theirs}
        duels.append({**asdict(duel), "gains": found, "labels": [], **moved})
    return {
        "kind": "written",
        "num_rows": len(rows[0]),
        "num_each": [len(table["messages"]) for table in tables],
        "names": names,
        "main": main,
        "models": models,
        "duels": duels,
    }


def _labels_of(folder: Path) -> dict[str, list[Any]]:
    return kept.columns(folder / PREDICTIONS, ("text", "label", "predicted"))


def _common(tables: Sequence[Mapping[str, Sequence[Any]]], key: str) -> list[list[int]]:
    """Of each table the places of the rows that all have, in the order of the first.

    Raises: DataError where there are none.
    """
    places = [
        {text: i for i, text in reversed(list(enumerate(table[key])))} for table in tables[1:]
    ]
    ours = [i for i, text in enumerate(tables[0][key]) if all(text in some for some in places)]
    if not ours:
        raise DataError(
            "No row was held out by all of these runs, so there is nothing to compare them on.",
            fix="Compare runs on the same table with the same split and seed.",
        )
    return [ours, *([some[tables[0][key][i]] for i in ours] for some in places)]


def _pairs(ours: Sequence[Any], theirs: Sequence[Any]) -> list[tuple[float, float]]:
    both = zip(ours, theirs, strict=True)
    return [(a, b) for a, b in both if a is not None and b is not None]


def _corrected(found: Sequence[Comparison]) -> list[Comparison]:
    """With p-values corrected for the number of comparisons (Holm)."""
    p_values = holm(np.array([one.p_value for one in found])).tolist()
    return [
        replace(one, p_value=p, verdict=one.verdict if p < LEVEL else "undecided")
        for one, p in zip(found, p_values, strict=True)
    ]


def _changed(first: ClassificationScores, other: ClassificationScores) -> list[dict[str, Any]]:
    """The labels whose F1 differs most."""
    pairs = zip(first.per_class, other.per_class, strict=True)
    some = [(a, b.f1) for a, b in pairs if a.f1 != b.f1]
    some.sort(key=lambda each: (-abs(each[1] - each[0].f1), each[0].label))
    return [
        {"label": one.label, "support": one.support, "before": one.f1, "after": after}
        for one, after in some[:MOST_LABELS]
    ]
