"""Chat completions, and what all who ask a model may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tunesmith.wire.shapes import Metadata, Request, Shape


class ContentPart(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: str
    text: str | None = None


class CalledFunction(BaseModel):
    """A function that a model has called, with its arguments as JSON."""

    model_config = ConfigDict(extra="allow")
    name: str
    arguments: str


class ToolCall(BaseModel):
    model_config = ConfigDict(extra="allow")
    id: str
    type: Literal["function", "custom"] = "function"
    function: CalledFunction | None = None


class Message(BaseModel):
    """A chat message of a request."""

    model_config = ConfigDict(extra="allow")
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: CalledFunction | None = None

    @property
    def text(self) -> str:
        """The content as one string; text parts are joined by line breaks."""
        if isinstance(self.content, list):
            return "\n".join(part.text or "" for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow")
    include_usage: bool | None = None


class Sampling(BaseModel):
    """What everyone who asks a model may say. Unknown arguments are ignored, as most servers do."""

    model_config = ConfigDict(extra="ignore")
    model: str
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


class Generation(Sampling):
    """What chat completions and the older completions have in common."""

    n: Annotated[int, Field(ge=1, le=128)] | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, float] | None = None
    user: str | None = None
    return_token_ids: bool | None = None
    """Not OpenAI's: whether to say which tokens were read and written, as vLLM does."""


Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


FormatType = Literal["text", "json_object", "json_schema"]


class FormatSchema(BaseModel):
    """The JSON Schema that an answer is to fit."""

    name: Name | None = None
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(BaseModel):
    type: FormatType
    json_schema: FormatSchema | None = None


class Function(BaseModel):
    """A function that the model may call."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(BaseModel):
    type: Literal["function", "custom"]
    function: Function | None = None


class ChatOptions(BaseModel):
    """Ours: what a chat completion asks beyond OpenAI's parameters."""

    labels: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=2)]
    """A model that writes is to choose among these answers, by how probable each is as a whole."""


class ChatRequest(Generation):
    """POST /chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    functions: Annotated[list[Function], Field(max_length=128)] | None = None
    function_call: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    modalities: list[str] | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    tunesmith: ChatOptions | None = None


class TokenLogprob(Shape):
    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[dict[str, Any]]


class ChoiceLogprobs(Shape):
    content: list[TokenLogprob] | None
    refusal: list[TokenLogprob] | None


class AnswerMessage(Shape):
    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    annotations: list[dict[str, Any]]
    tool_calls: list[ToolCall] = []
    function_call: CalledFunction | None = None


class ChatChoice(Shape):
    index: int
    message: AnswerMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "function_call"]
    token_ids: list[int] = []


class ChatUsage(Shape):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: dict[str, int]


class ChatCompletion(Shape):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage
    service_tier: str
    system_fingerprint: str | None
    prompt_token_ids: list[int] = []


class MetadataUpdate(Request):
    """POST /chat/completions/{id}."""

    metadata: Metadata | None = None


class StoredMessage(Shape):
    """A message that a stored completion answers."""

    id: str
    role: str
    content: str | None
    name: str | None
    content_parts: list[dict[str, Any]] | None
