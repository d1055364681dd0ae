"""What the testing criteria find in one answer.

A criterion that cannot score gives 0 and says why. Does not know: where answers come from.
"""

from __future__ import annotations

import asyncio
import base64
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json

from tunesmith import catalog
from tunesmith.errors import RequestError
from tunesmith.metrics.graders.definitions import StringCheck, TextSimilarity
from tunesmith.metrics.graders.failure import GraderFailed
from tunesmith.metrics.graders.grade import grade
from tunesmith.metrics.graders.templates import Sample, parse, render
from tunesmith.server.evals.answers import CHAT, Answer, Ask, answered, record, usage_of
from tunesmith.server.evals.criteria import (
    COSINE,
    Criterion,
    LabelModel,
    Likeness,
    ScoreModel,
    templates,
)
from tunesmith.server.evals.messages import rendered

Json = dict[str, Any]
EMBEDDINGS = "/v1/embeddings"
JUDGE_TOKENS = 256
"""Of a judge's answer where nobody says: a label or a number is short."""
RESULT = "result"
"""Under which a judge answers."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one criterion found."""

    score: float = 0.0
    passed: bool = False
    failure: str = ""
    """Why there is no score, as a sentence."""
    is_fault: bool = False
    """Whether that is the fault of the item or a judge, and not of the answer."""
    sample: Json | None = None
    """What a judge was asked and said."""
    usage: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


async def found_by(
    criterion: Criterion, sample: Sample | None, item: Mapping[str, Any], ask: Ask
) -> Found:
    """What the criterion finds; `sample` is None where there is no answer at all."""
    if sample is None and _asks_for("sample", criterion):
        told = "There is no sample: the data source has none for this item, and no model is asked."
        return Found(failure=told, is_fault=True)
    sample = sample or Sample("")
    try:
        if isinstance(criterion, LabelModel | ScoreModel):
            return await _judged(criterion, sample, item, ask)
        if isinstance(criterion, Likeness) and criterion.evaluation_metric == COSINE:
            return await _near(criterion, sample, item, ask)
        return await asyncio.to_thread(_graded, criterion, sample, item)
    except RequestError as error:
        return Found(failure=str(error), is_fault=_is_fault(error, criterion, item))


def result(criterion: Criterion, name: str, found: Found) -> Json:
    """As an output item has it."""
    told: Json = {"tunesmith": {"failures": [found.failure]}} if found.failure else {}
    return {
        "name": name,
        "type": criterion.type.replace("_", "-") + "-grader",
        "score": found.score,
        "passed": found.passed,
        "sample": found.sample,
        **told,
    }


def _graded(criterion: StringCheck | Likeness, sample: Sample, item: Mapping[str, Any]) -> Found:
    """Raises: RequestError for texts that are too long."""
    threshold = 1.0
    grader: StringCheck | TextSimilarity
    if isinstance(criterion, Likeness):
        threshold = criterion.pass_threshold
        grader = TextSimilarity.model_validate(criterion.model_dump())
    else:
        grader = criterion
    made = grade(grader, sample, item)
    if made.failures:
        flag = next(iter(made.flags))
        error = GraderFailed(made.failures[0], flag=flag)
        return Found(failure=made.failures[0], is_fault=_is_fault(error, criterion, item))
    return Found(score=made.reward, passed=made.reward >= threshold)


async def _near(criterion: Likeness, sample: Sample, item: Mapping[str, Any], ask: Ask) -> Found:
    """By the cosine of the two texts' embeddings; they have length 1. Raises: RequestError."""
    both = [render(text, sample, item) for text in (criterion.input, criterion.reference)]
    if not all(text.strip() for text in both):
        return Found(failure="There is no text to compare.")
    body = {"model": catalog.DEFAULT, "input": both, "encoding_format": "base64"}
    reply = await ask(EMBEDDINGS, body)
    if reply["status_code"] >= 300:
        return Found(failure=reply["body"]["error"]["message"], is_fault=True)
    ours, theirs = (_vector(one["embedding"]) for one in reply["body"]["data"])
    score = min(1.0, sum(x * y for x, y in zip(ours, theirs, strict=True)))
    return Found(score=score, passed=score >= criterion.pass_threshold)


def _vector(encoded: str) -> tuple[float, ...]:
    data = base64.b64decode(encoded)
    return struct.unpack(f"<{len(data) // 4}f", data)


# --- judges ---------------------------------------------------------------------------------------


async def _judged(
    criterion: LabelModel | ScoreModel, sample: Sample, item: Mapping[str, Any], ask: Ask
) -> Found:
    """Raises: RequestError when its messages cannot be filled in."""
    messages = rendered(criterion.input, sample, item)
    asked: Json = {"temperature": 0.0, "max_completion_tokens": JUDGE_TOKENS}
    if isinstance(criterion, ScoreModel):
        given = criterion.sampling_params.model_dump(exclude_none=True)
        if "max_completions_tokens" in given:
            given["max_completion_tokens"] = given.pop("max_completions_tokens")
        asked |= given
    body = {"model": criterion.model, "messages": messages, **asked, **_format(criterion)}
    answer = await answered(ask, CHAT, body)
    found = Found(sample=record(answer, messages, asked), usage=usage_of(answer))
    if answer.error is not None:
        return replace(found, failure=answer.error["message"], is_fault=True)
    value = _result(answer)
    if isinstance(criterion, LabelModel) and value in criterion.labels:
        passed = value in criterion.passing_labels
        return replace(found, score=float(passed), passed=passed)
    if isinstance(criterion, ScoreModel) and _is_number(value):
        low, high = criterion.range
        score = min(high, max(low, float(value)))
        threshold = criterion.pass_threshold
        threshold = (low + high) / 2 if threshold is None else threshold
        return replace(found, score=score, passed=score >= threshold)
    said = f"The judge's answer cannot be read: {answer.text[:100]!r}."
    return replace(found, failure=said, is_fault=True)


def _format(criterion: LabelModel | ScoreModel) -> Json:
    """That the judge answers with one of the labels, or a number, and nothing else."""
    value: Json = {"type": "number"}
    if isinstance(criterion, LabelModel):
        value = {"type": "string", "enum": list(dict.fromkeys(criterion.labels))}
    schema = {
        "type": "object",
        "properties": {RESULT: value},
        "required": [RESULT],
        "additionalProperties": False,
    }
    form = {"name": RESULT, "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def _result(answer: Answer) -> Any:
    """What the judge said; None where that cannot be read."""
    try:
        data = from_json(answer.text)
    except ValueError:
        return None
    return data.get(RESULT) if isinstance(data, dict) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# --- whose fault it is ----------------------------------------------------------------------------


def _is_fault(error: RequestError, criterion: Criterion, item: Mapping[str, Any]) -> bool:
    """Whether the item lacks something. An answer that is no JSON, or lacks a key, has failed the
    test, which is no fault."""
    if not isinstance(error, GraderFailed):
        return True
    if error.flag == "sample_parse_error":
        return False
    return error.flag != "invalid_variable_error" or not _is_complete(criterion, item)


def _is_complete(criterion: Criterion, item: Mapping[str, Any]) -> bool:
    """Whether the item has all that the criterion's templates ask of it."""
    try:
        for template in templates(criterion):
            for part in parse(template):
                if isinstance(part, list) and part[0] == "item":
                    render("{{" + ".".join(part) + "}}", Sample(""), item)
    except GraderFailed:
        return False
    return True


def _asks_for(name: str, criterion: Criterion) -> bool:
    parts = (part for template in templates(criterion) for part in parse(template))
    return any(isinstance(part, list) and part[0] == name for part in parts)
