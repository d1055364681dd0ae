"""One item of a run: the model is asked, the answer is tested.

Does not know: which item comes when, where the outcome is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith import wire
from tunesmith.errors import RequestError
from tunesmith.metrics.graders.failure import GraderFailed
from tunesmith.metrics.graders.templates import Sample
from tunesmith.server.evals import answers
from tunesmith.server.evals.answers import CHAT, DEFAULTS, RESPONSES, Answer, Ask
from tunesmith.server.evals.criteria import Criterion, criteria
from tunesmith.server.evals.grading import found_by, result
from tunesmith.server.evals.messages import referred, rendered
from tunesmith.server.evals.sources import Source, source_of
from tunesmith.store.eval_runs import Outcome
from tunesmith.store.rows import EvalItemRow, EvalRow, EvalRunRow
from tunesmith.wire.schemas import Schema

Json = dict[str, Any]
SCHEMA_STEPS = 100_000
"""Checks of one item."""
STORED_INPUT = "item.input"
"""Where the messages are in an item that was stored."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done with every item of a run."""

    source: Source
    sampling: Mapping[str, Any]
    """As it was asked for."""
    schema: Schema | None
    """What an item must fit."""
    criteria: Sequence[tuple[str, Criterion]]
    """With their ids."""


def plan(run: EvalRunRow, about: EvalRow) -> Plan:
    """The plan of a run of that eval."""
    ids = [one["id"] for one in about.testing_criteria]
    schema = about.data_source_config.get("item_schema")
    given = run.data_source.get("sampling_params") or {}
    return Plan(
        source=source_of(run),
        sampling=given,
        schema=None if schema is None else Schema(schema),
        criteria=list(zip(ids, criteria(about.testing_criteria), strict=True)),
    )


async def outcome(row: EvalItemRow, plan: Plan, ask: Ask) -> Outcome:
    """What comes of the item."""
    item = row.datasource_item
    if plan.schema is not None and not plan.schema.fits(item, steps=SCHEMA_STEPS):
        told = "The item does not fit the eval's item_schema."
        return _without_answer(row, answers.failed("invalid_item", told))
    try:
        answer, messages, usage = await _answer(row, plan, ask)
    except RequestError as error:  # the messages cannot be filled in
        code = error.flag if isinstance(error, GraderFailed) else "invalid_item"
        return _without_answer(row, answers.failed(code, str(error)))
    record = answers.record(answer, messages, _sampled(plan))
    if answer.error is not None:
        return _without_answer(row, answer, record)
    sample = answer.sample if answer.finish_reason else None
    return await _tested(row, plan, ask, sample, record, usage)


async def _tested(
    row: EvalItemRow,
    plan: Plan,
    ask: Ask,
    sample: Sample | None,
    record: Json,
    usage: Mapping[str, Mapping[str, int]],
) -> Outcome:
    found = [
        (name, criterion, await found_by(criterion, sample, row.datasource_item, ask))
        for name, criterion in plan.criteria
    ]
    status = "pass" if all(one.passed for *_, one in found) else "fail"
    return Outcome(
        item_id=row.id,
        status="error" if any(one.is_fault for *_, one in found) else status,
        results=[result(criterion, name, one) for name, criterion, one in found],
        sample=record,
        usage=answers.added(usage, *(one.usage for *_, one in found)),
    )


async def _answer(
    row: EvalItemRow, plan: Plan, ask: Ask
) -> tuple[Answer, list[Json], dict[str, dict[str, int]]]:
    """The answer, the messages it answers, and what it has used now.

    Raises: RequestError when the messages cannot be filled in.
    """
    source, item = plan.source, row.datasource_item
    if isinstance(source, wire.JsonlSource) or source.model is None:
        answer = Answer() if row.given is None else answers.of_given(row.given)
        is_stored = isinstance(source.source, wire.StoredCompletions | wire.StoredResponses)
        return answer, item["input"] if is_stored else [], {}
    asked = source.input_messages
    if asked is None:
        messages = referred(STORED_INPUT, item)
    elif isinstance(asked, wire.ItemReference):
        messages = referred(asked.item_reference, item)
    else:
        messages = rendered(asked.template, Sample(""), item)
    path = CHAT if isinstance(source, wire.CompletionsSource) else RESPONSES
    body = {"model": source.model, **_request(plan, messages, item)}
    answer = await answers.answered(ask, path, body)
    return answer, messages, answers.usage_of(answer)


def _request(plan: Plan, messages: list[Json], item: Mapping[str, Any]) -> Json:
    """The body of the request, but for the model."""
    names = ("temperature", "top_p", "response_format", "text", "tools")
    given = {n: plan.sampling[n] for n in names if plan.sampling.get(n) is not None}
    most = plan.sampling.get("max_completion_tokens") or DEFAULTS["max_completion_tokens"]
    if isinstance(plan.source, wire.CompletionsSource):
        seed = plan.sampling.get("seed")
        seed = DEFAULTS["seed"] if seed is None else seed
        return {**given, "messages": messages, "seed": seed, "max_completion_tokens": most}
    given |= {"input": messages, "store": False, "max_output_tokens": most}
    if isinstance(plan.source.source, wire.StoredResponses):
        given["instructions"] = item.get("instructions")
    return given


def _sampled(plan: Plan) -> Json:
    return {n: plan.sampling[n] for n in DEFAULTS if plan.sampling.get(n) is not None}


def _without_answer(row: EvalItemRow, answer: Answer, record: Json | None = None) -> Outcome:
    sample = record or answers.record(answer, [], {})
    return Outcome(item_id=row.id, status="error", results=[], sample=sample, usage={})
