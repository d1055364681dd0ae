"""How probable each label is for a text, whatever their number.

One reply tells of twenty labels. The others are asked for twenty at a time, by a format that allows
no other ones; their probabilities are the same as if all had been told at once.
Does not know: where the labels are known from, how they are shown.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.web.api import Api
from tunesmith.web.asking.request import ADDRESS, MOST_LABELS


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Labels with their probabilities, 0 to 1, the most probable one first."""

    labels: tuple[tuple[str, float], ...]
    cut_tokens: int = 0
    """Tokens of the text that the model did not read."""


async def judge(api: Api, asked: Mapping[str, Any], known: Sequence[str]) -> Judged:
    """What a model with labels says to that request; `known`: the labels it has, where known.

    Raises: Refused.
    """
    reply = await api.post(ADDRESS, asked)
    found = dict(_told(reply))
    missing = [label for label in known if label not in found]
    parts = [missing[n : n + MOST_LABELS] for n in range(0, len(missing), MOST_LABELS)]
    for more in await asyncio.gather(*(_some(api, asked, part) for part in parts)):
        found |= more
    best = sorted(found.items(), key=lambda pair: -pair[1])
    return Judged(labels=tuple(best), cut_tokens=reply.get("tunesmith", {}).get("cut_tokens", 0))


async def _some(api: Api, asked: Mapping[str, Any], labels: Sequence[str]) -> dict[str, float]:
    only = {"type": "string", "enum": list(labels)}
    schema = {"type": "object", "properties": {"label": only}, "required": ["label"]}
    format_ = {"type": "json_schema", "json_schema": {"name": "label", "schema": schema}}
    reply = await api.post(ADDRESS, {**asked, "response_format": format_})
    return {json.loads(text)["label"]: p for text, p in _told(reply)}


def _told(reply: Mapping[str, Any]) -> list[tuple[str, float]]:
    tokens = (reply["choices"][0].get("logprobs") or {}).get("content") or []
    told = tokens[0]["top_logprobs"] if tokens else []
    return [(one["token"], math.exp(one["logprob"])) for one in told]
