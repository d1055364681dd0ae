"""A task's figures: who has done what, which labels, how alike the votes are.

Counting a million answers takes a second, so it is done no oftener than that is worth, and once for
all pages that look.
Does not know: how figures are shown.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.errors import NotFound
from tunesmith.store.labelled import Share
from tunesmith.store.labelling_rows import LabellingTaskRow
from tunesmith.store.store import Store
from tunesmith.web.labelling.agreement import Agreement, agreement

LEAST_SECONDS = 1.0
PATIENCE = 20
"""Figures serve this many times as long as it took to count them."""
MOST_KEPT = 200


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one moment."""

    task: LabellingTaskRow
    shares: Sequence[Share]
    labels: Mapping[str, int]
    agreement: Agreement | None


_kept: dict[str, tuple[float, Figures]] = {}
"""By task: until when they serve."""


def figures(store: Store, task_id: str) -> Figures:
    """The task's figures; they may be a moment old. `store`: of the project.

    Raises: NotFound; StorageError.
    """
    task = store.labelling.get(task_id)
    if task is None:
        raise NotFound("There is no such labelling task.")
    until, known = _kept.get(task_id, (0.0, None))
    if known is not None and time.monotonic() < until:
        return Figures(
            task=task, shares=known.shares, labels=known.labels, agreement=known.agreement
        )
    begun = time.monotonic()
    found = Figures(
        task=task,
        shares=store.labelled.shares(task_id),
        labels=store.labelled.labels(task_id),
        agreement=agreement(store.labelled.likenesses(task_id)),
    )
    now = time.monotonic()
    _kept.pop(task_id, None)
    _kept[task_id] = (now + max(LEAST_SECONDS, PATIENCE * (now - begun)), found)
    while len(_kept) > MOST_KEPT:
        del _kept[next(iter(_kept))]
    return found


def names_of(store: Store, annotators: Sequence[str]) -> dict[str, str]:
    """Key id → the key's name, each different; of a key that is gone its id.

    `store` may be that of any project: names are looked up for these ids only.
    """
    known = {key.id: key.name for key in store.keys.all()}
    names: dict[str, str] = {}
    for annotator in dict.fromkeys(annotators):
        name = plain = " ".join(known.get(annotator, annotator).replace(",", " ").split())
        number = 2
        while name in names.values():
            name, number = f"{plain} {number}", number + 1
        names[annotator] = name
    return names
