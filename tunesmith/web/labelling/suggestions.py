"""A model that says which rows are hard, asked through the API while somebody labels.

It is asked of some rows ahead of those that people label; of these the ones it is least certain of
are handed out first. It rests when there are enough, and stops when nobody labels any more.
Does not know: how rows are handed out, what pages show.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.errors import TunesmithError
from tunesmith.store.labelling_rows import LabellingRow, LabellingTaskRow
from tunesmith.web.api import Api, Refused
from tunesmith.web.visit import Visit, off

logger = logging.getLogger(__name__)

AT_ONCE = 16
AHEAD = 1000
"""Rows that it is asked of ahead of people."""
REST_SECONDS = 5.0
TOP = 20
"""Labels of which one answer tells how probable they are."""


@dataclass(kw_only=True)
class Helping:
    """A helper at work for one task."""

    model: str
    people: int = 0
    error: str = ""
    """Why it has stopped."""
    task: asyncio.Task[None] | None = None


_helping: dict[str, Helping] = {}
"""By task."""


def join(visit: Visit, task: LabellingTaskRow) -> Callable[[], None]:
    """Somebody labels: have the task's helper work meanwhile. Returns what ends that."""
    if not task.helper:
        return lambda: None
    helping = _helping.get(task.id)
    if helping is None or helping.model != task.helper:
        stop(task.id)
        helping = _helping[task.id] = Helping(model=task.helper)
    helping.people += 1
    if helping.task is None or helping.task.done():
        helping.error = ""
        helping.task = asyncio.create_task(_help(visit, task.id, helping))

    def leave() -> None:
        helping.people -= 1
        if not helping.people and _helping.get(task.id) is helping:
            stop(task.id)

    return leave


def stop(task_id: str) -> None:
    """Have the task's helper work no longer."""
    helping = _helping.pop(task_id, None)
    if helping is not None and helping.task is not None:
        helping.task.cancel()


def trouble(task_id: str) -> str:
    """Why the task's helper does not work, if so."""
    helping = _helping.get(task_id)
    return helping.error if helping is not None else ""


async def choose(
    visit: Visit, task: LabellingTaskRow, model: str | None, *, is_suggesting: bool
) -> LabellingTaskRow:
    """Give the task another helper, or none. Raises: ApiError 403."""
    visit.check_change()
    if model != task.helper:
        stop(task.id)
        asked = await off(visit.store.labelled.asked, task.id)
        ranks = {row_id: 1 + random.random() for row_id in asked}
        if ranks:
            await off(visit.store.labels.forget_suggestions, task.id, ranks)
    values = {"helper": model, "is_suggesting": is_suggesting and model is not None}
    return await off(visit.store.labelling.change, task.id, values=values)


async def models(visit: Visit) -> list[str]:
    """Names of models that answer with labels."""
    listed = (await visit.api.get("/models"))["data"]
    return [m["id"] for m in listed if (m.get("tunesmith") or {}).get("answers") == "labels"]


async def labels_of(api: Api, model: str) -> tuple[list[str], bool]:
    """The model's labels, and whether these are all. Raises: Refused."""
    told = _told(await api.post("/chat/completions", _question(model, "?")))
    return sorted(told), len(told) < TOP


async def _help(visit: Visit, task_id: str, helping: Helping) -> None:
    store = visit.store
    try:
        while True:
            if await off(store.labelled.num_asked, task_id) >= AHEAD:
                await asyncio.sleep(REST_SECONDS)
                continue
            rows = await off(store.labelled.unsure, task_id, AT_ONCE)
            if not rows:
                return
            said = await asyncio.gather(*(_ask(visit.api, helping.model, row) for row in rows))
            await off(store.labels.suggest, task_id, said)
    except TunesmithError as error:
        logger.info("the helper of labelling task %s stopped: %s", task_id, error)
        helping.error = str(error)


async def _ask(api: Api, model: str, row: LabellingRow) -> tuple[str, str, float]:
    """The row, the most probable label and how probable it is; 1 for texts that cannot be asked.

    Raises: Refused, when the model cannot be asked at all.
    """
    try:
        told = _told(await api.post("/chat/completions", _question(model, row.text)))
    except Refused as error:
        if error.status != 400:
            raise
        return row.id, "", 1.0
    label = max(told, key=told.__getitem__, default="")
    return row.id, label, min(1.0, told.get(label, 1.0))


def _question(model: str, text: str) -> dict[str, Any]:
    asked = [{"role": "user", "content": text}]
    return {"model": model, "messages": asked, "logprobs": True, "top_logprobs": TOP}


def _told(reply: Mapping[str, Any]) -> dict[str, float]:
    tokens = (reply["choices"][0].get("logprobs") or {}).get("content") or []
    told = tokens[0]["top_logprobs"] if tokens else []
    return {one["token"]: math.exp(one["logprob"]) for one in told}
