"""Evals: what is tested and how, the runs of one, and what came of every item.

Testing criteria are plain objects here; which kinds there are is not a matter of the wire.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from tunesmith.wire.chat import ResponseFormat, Tool
from tunesmith.wire.responses import FlatTool, TextConfig
from tunesmith.wire.shapes import Metadata, Request, Shape

MOST_ITEMS = 50_000
"""Of a run."""
MOST_CRITERIA = 100
EvalRunStatus = Literal["queued", "in_progress", "completed", "canceled", "failed"]


def _tag(value: Any) -> str:
    """What kind of object it is; written so that messages do not take it for a field's name."""
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"<{kind}>"


def _one_of(*kinds: str) -> Discriminator:
    offered = ", ".join(f"'{kind}'" for kind in kinds)
    told = f"an object whose 'type' is one of {offered}"
    return Discriminator(_tag, custom_error_type="unknown_type", custom_error_message=told)


# --- evals ----------------------------------------------------------------------------------------


class EvalCustom(Request):
    """Items are given with each run."""

    type: Literal["custom"]
    item_schema: dict[str, Any]
    include_sample_schema: bool | None = None


class EvalLogs(Request):
    """Items are what the server has stored: completions with these metadata."""

    type: Literal["logs", "stored_completions"]
    metadata: Metadata | None = None


class EvalCreate(Request):
    """POST /evals."""

    name: str | None = None
    metadata: Metadata | None = None
    data_source_config: Annotated[
        Annotated[EvalCustom, Tag("<custom>")]
        | Annotated[EvalLogs, Tag("<logs>")]
        | Annotated[EvalLogs, Tag("<stored_completions>")],
        _one_of("custom", "logs", "stored_completions"),
    ]
    testing_criteria: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST_CRITERIA)]


class EvalUpdate(Request):
    """POST /evals/{id}."""

    name: str | None = None
    metadata: Metadata | None = None


class Eval(Shape):
    id: str
    object: Literal["eval"] = "eval"
    name: str
    created_at: int
    data_source_config: dict[str, Any]
    testing_criteria: list[dict[str, Any]]
    metadata: dict[str, str] | None = None


class EvalDeleted(Shape):
    object: Literal["eval.deleted"] = "eval.deleted"
    deleted: bool = True
    eval_id: str


# --- where the items of a run come from -----------------------------------------------------------


class EvalEntry(Request):
    """An item, and what a model said to it where that is known."""

    item: dict[str, Any]
    sample: dict[str, Any] | None = None


class FileContent(Request):
    type: Literal["file_content"]
    content: Annotated[list[EvalEntry], Field(min_length=1, max_length=MOST_ITEMS)]


class FileId(Request):
    type: Literal["file_id"]
    id: str


_Moment = Annotated[int, Field(ge=0, le=2**53)]
"""Unix seconds."""


class StoredCompletions(Request):
    """Completions that were stored, the newest first."""

    type: Literal["stored_completions"]
    model: str | None = None
    metadata: Metadata | None = None
    created_after: _Moment | None = None
    created_before: _Moment | None = None
    limit: Annotated[int, Field(ge=1)] | None = None


class StoredResponses(Request):
    """The same of responses."""

    type: Literal["responses"]
    model: str | None = None
    metadata: Metadata | None = None
    created_after: _Moment | None = None
    created_before: _Moment | None = None
    instructions_search: str | None = None
    temperature: float | None = None
    top_p: float | None = None


_InFile = Annotated[FileContent, Tag("<file_content>")] | Annotated[FileId, Tag("<file_id>")]


# --- what a run asks of a model -------------------------------------------------------------------


class TemplateMessage(BaseModel):
    """A message with variables in it."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["user", "assistant", "system", "developer"]
    content: str | dict[str, Any] | list[str | dict[str, Any]]
    type: Literal["message"] | None = None


class MessagesTemplate(Request):
    type: Literal["template"]
    template: Annotated[list[TemplateMessage], Field(min_length=1)]


class ItemReference(Request):
    """The messages are in the item: `item.messages`, for one."""

    type: Literal["item_reference"]
    item_reference: str


_InputMessages = Annotated[
    Annotated[MessagesTemplate, Tag("<template>")]
    | Annotated[ItemReference, Tag("<item_reference>")],
    _one_of("template", "item_reference"),
]


class EvalSampling(BaseModel):
    """How a model is to answer. Unknown arguments are ignored, as when it is asked directly."""

    model_config = ConfigDict(extra="ignore")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: int | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None


class ChatSampling(EvalSampling):
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None


class ResponseSampling(EvalSampling):
    text: TextConfig | None = None
    tools: Annotated[list[FlatTool], Field(max_length=128)] | None = None


class JsonlSource(Request):
    """Items whose answers are known, or which need none."""

    type: Literal["jsonl"]
    source: Annotated[_InFile, _one_of("file_content", "file_id")]


class CompletionsSource(Request):
    """Items that a model answers by chat completions."""

    type: Literal["completions"]
    model: str | None = None
    source: Annotated[
        _InFile | Annotated[StoredCompletions, Tag("<stored_completions>")],
        _one_of("file_content", "file_id", "stored_completions"),
    ]
    input_messages: _InputMessages | None = None
    sampling_params: ChatSampling | None = None


class ResponsesSource(Request):
    """Items that a model answers by responses."""

    type: Literal["responses"]
    model: str | None = None
    source: Annotated[
        _InFile | Annotated[StoredResponses, Tag("<responses>")],
        _one_of("file_content", "file_id", "responses"),
    ]
    input_messages: _InputMessages | None = None
    sampling_params: ResponseSampling | None = None


RunSource = Annotated[
    Annotated[JsonlSource, Tag("<jsonl>")]
    | Annotated[CompletionsSource, Tag("<completions>")]
    | Annotated[ResponsesSource, Tag("<responses>")],
    _one_of("jsonl", "completions", "responses"),
]


# --- runs -----------------------------------------------------------------------------------------


class EvalRunCreate(Request):
    """POST /evals/{id}/runs."""

    name: str | None = None
    metadata: Metadata | None = None
    data_source: RunSource


class EvalApiError(Shape):
    code: str
    message: str


class EvalModelUsage(Shape):
    model_name: str
    invocation_count: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int


class EvalCriterionResult(Shape):
    testing_criteria: str
    passed: int
    failed: int


class EvalResultCounts(Shape):
    total: int
    errored: int
    failed: int
    passed: int


class EvalRun(Shape):
    id: str
    object: Literal["eval.run"] = "eval.run"
    eval_id: str
    name: str
    model: str
    created_at: int
    status: EvalRunStatus
    report_url: str
    result_counts: EvalResultCounts
    per_model_usage: list[EvalModelUsage]
    per_testing_criteria_results: list[EvalCriterionResult]
    data_source: dict[str, Any]
    metadata: dict[str, str] | None = None
    error: EvalApiError | None = None
    tunesmith: dict[str, Any]


class EvalRunDeleted(Shape):
    object: Literal["eval.run.deleted"] = "eval.run.deleted"
    deleted: bool = True
    run_id: str


# --- output items ---------------------------------------------------------------------------------


class EvalSampleUsage(Shape):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int


class EvalSample(Shape):
    """What a model was asked, and what it answered."""

    input: list[dict[str, Any]]
    output: list[dict[str, Any]]
    finish_reason: str
    model: str
    usage: EvalSampleUsage
    error: EvalApiError | None
    temperature: float
    max_completion_tokens: int
    top_p: float
    seed: int


class EvalItemResult(Shape):
    """What one of the testing criteria found."""

    name: str
    type: str
    score: float
    passed: bool
    sample: EvalSample | None = None


class EvalOutputItem(Shape):
    id: str
    object: Literal["eval.run.output_item"] = "eval.run.output_item"
    run_id: str
    eval_id: str
    created_at: int
    status: Literal["pass", "fail", "error"]
    datasource_item_id: int
    datasource_item: dict[str, Any]
    results: list[EvalItemResult]
    sample: EvalSample
