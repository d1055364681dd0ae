"""Rows of evals, runs and items as OpenAI's objects."""

from __future__ import annotations

from typing import Any

from tunesmith import wire
from tunesmith.server.replies import shaped
from tunesmith.store.rows import EvalItemRow, EvalRow, EvalRunRow

Json = dict[str, Any]
ANY_OBJECT: Json = {"type": "object"}
SAMPLE: Json = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "choices": {"type": "array", "items": ANY_OBJECT},
        "output_text": {"type": "string"},
        "output_json": ANY_OBJECT,
        "output_tools": {"type": "array", "items": ANY_OBJECT},
    },
    "required": ["model", "choices"],
}
"""What criteria may say of an answer."""
TOKENS = ("invocation_count", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")


def eval_of(row: EvalRow) -> Json:
    """The eval; its configuration tells the schema of what criteria see."""
    return {**shaped(wire.Eval, row), "data_source_config": _config(row.data_source_config)}


def _config(asked: Json) -> Json:
    inside = {"item": asked.get("item_schema", ANY_OBJECT)}
    if asked["type"] != "custom" or asked.get("include_sample_schema"):
        inside["sample"] = SAMPLE
    schema = {"type": "object", "properties": inside, "required": list(inside)}
    if asked["type"] == "custom":
        return {"type": "custom", "schema": schema}
    return {"type": asked["type"], "metadata": asked.get("metadata"), "schema": schema}


def run_of(row: EvalRunRow, about: EvalRow, url: str) -> Json:
    """The run, which can be seen at `url`."""
    none = {"passed": 0, "failed": 0}
    counts = {"errored": row.errored, "failed": row.failed, "passed": row.passed}
    ids = [criterion["id"] for criterion in about.testing_criteria]
    own = {name: value for name, value in vars(row).items() if name in wire.EvalRun.model_fields}
    given = {
        **own,
        "report_url": url,
        "result_counts": {"total": sum(counts.values()), **counts},
        "per_model_usage": [
            {"model_name": model, **{name: numbers.get(name, 0) for name in TOKENS}}
            for model, numbers in row.usage.items()
        ],
        "per_testing_criteria_results": [
            {"testing_criteria": name, **row.criteria.get(name, none)} for name in ids
        ],
        "tunesmith": {"items": row.total},
    }
    return wire.EvalRun.model_validate(given).model_dump()


def item_of(row: EvalItemRow, run: EvalRunRow) -> Json:
    """An item of the run that is done with."""
    own = {k: v for k, v in vars(row).items() if k in wire.EvalOutputItem.model_fields}
    return wire.EvalOutputItem.model_validate({**own, "eval_id": run.eval_id}).model_dump()
