"""What the verbs ask of a provider, and the values it answers with.

Does not know: HTTP, the SDK, who implements it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tunesmith import wire
from tunesmith.errors import ProviderError
from tunesmith.metrics.generation import Call
from tunesmith.providers.account import Account

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something that is known of a provider: since when, and from where."""

    as_of: date
    source: str


@dataclass(frozen=True, kw_only=True)
class ModelFacts(Fact):
    """What is known of the base models whose names fit a pattern. None: unknown."""

    name: str
    """As in a shell: * stands for any characters."""
    example: str = ""
    """A full name, to be given as it is."""
    methods: tuple[str, ...] = ()
    """By which they are tuned: supervised, dpo. Empty: not at all."""
    training: float | None = None
    """Price of a million trained tokens."""
    input: float | None = None
    output: float | None = None
    """Prices of a million tokens read and written by a tuned model."""
    example_tokens: int | None = None
    """Tokens of one training example; the rest is cut there."""
    closes: date | None = None
    """The day on which they and all that was tuned from them stop answering."""


@dataclass(frozen=True, kw_only=True)
class End(Fact):
    """Something that is no longer offered from a day on."""

    what: str
    """training, evals, …"""
    on: date
    who: str = "everybody"


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a provider can do. Code asks these; it never asks who the provider is.

    As they stand here, those of Tunesmith itself. Numbers of 0 are unknown or without end.
    """

    title: str = "Tunesmith"
    train: bool = True
    reason: str = ""
    """Why something is not offered."""
    # Training.
    methods: tuple[str, ...] = ("supervised", "dpo")
    hyperparameters: Mapping[str, tuple[float, float | None]] | None = None
    """Those that can be set, with least and most; None: all, as far as the wire allows."""
    options: bool = True
    """Honours the `tunesmith` object of a job (method, weight decay, class weights …)."""
    catalog: bool = True
    """Its base models are those of Tunesmith's catalog."""
    samples: bool = True
    """Its trainer leaves its own answers to held-out prompts, for the parity gate."""
    pauses: bool = True
    metadata: bool = True
    """Jobs keep the metadata by which they are found again."""
    poll_seconds: float = 0.7
    """Between two looks at a job that runs."""
    # Answering.
    deploys: bool = True
    """A tuned model answers without anything to be done."""
    deploying: str = ""
    """What is to be done, where it does not."""
    top_logprobs: int = 20
    """Log-probabilities of so many tokens; 0: none at all."""
    lists: bool = True
    """Several texts can be labelled with one request for completions."""
    choices: bool = True
    """A model that writes can be asked which of some labels is likeliest."""
    token_ids: bool = True
    """Says which tokens an answer is made of (`return_token_ids`)."""
    embeddings: bool = True
    """Of base models."""
    first_requests: int = 0
    """Requests under way at once at the start, more as they are answered; 0: as many as wanted."""
    # Limits.
    file_bytes: int = 0
    part_bytes: int = 0
    """Files beyond that go in parts of that size; 0: never."""
    upload_bytes: int = 0
    """Of a file that goes in parts."""
    least_examples: int = 0
    # Money and time.
    free: bool = True
    currency: str = ""
    models: tuple[ModelFacts, ...] = ()
    """The first that fits a name holds."""
    ends: tuple[End, ...] = ()

    def model(self, name: str) -> ModelFacts | None:
        """What is known of a base model, or of a model that was tuned from one."""
        base = name.split(":")[1] if name.startswith("ft:") else name
        return next((m for m in self.models if fnmatchcase(base, m.name)), None)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A classifier's answer to one text."""

    label: str
    logprob: float
    """Natural log of the label's probability; nan where the provider gives none."""
    top: Mapping[str, float] = field(default_factory=dict)
    """The best labels (20 at most) and their log-probabilities."""
    cut_tokens: int = 0
    """Tokens of the text that the model did not read."""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What a model is given to write the next message."""

    messages: Sequence[Mapping[str, Any]]
    """In OpenAI's form, as are the tools."""
    tools: Sequence[Mapping[str, Any]] = ()
    most: int | None = None
    """Tokens of the answer; None: as many as the endpoint allows."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A written answer."""

    text: str
    calls: tuple[Call, ...] = ()
    finish_reason: str | None = None
    """stop, tool_calls, length, content_filter; None where the endpoint does not say."""
    ids: tuple[int, ...] | None = None
    """Of its tokens, the one that ended it included; None where the endpoint gives none."""
    logprobs: tuple[float, ...] | None = None
    """Natural logs, one a token; None where the endpoint gives none."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Of all choices of the request together."""
    seconds: float = 0.0
    """Until the whole reply was there."""
    refused: str = ""
    """Why the endpoint did not answer: the prompt is longer than the model reads."""


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How answers are written. A temperature of 0 takes the most probable token each time."""

    temperature: float = 0.0
    n: int = 1
    """Answers to each conversation."""
    seed: int | None = None
    logprobs: bool = False
    """Whether log-probabilities and token ids are asked for too."""


GREEDY = Writing()


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a server listens, and the key it accepts."""

    base_url: str
    key: str
    header: str = "Authorization"
    """In which the key goes: there as a bearer token, in others as it is."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Of every request."""
    model_path: str = ""
    """Put before the path of requests to a model, with `{model}` for its name."""


class Link(Protocol):
    """How a server is reached: it is running already, or started for the run."""

    place: str
    """A base URL, or `embedded`."""

    def warm_up(self) -> None:
        """Begin what takes time; returns at once."""

    def endpoint(self) -> Endpoint:
        """Where the server listens, once it does. Raises: ProviderError, NotAllowed."""

    def lost(self, reason: str) -> ProviderError:
        """What to say when the server does not answer."""

    def is_gone(self) -> bool:
        """Whether waiting for it to come back is of no use."""

    def close(self) -> None:
        """Stop what was started."""


class Provider(Protocol):
    """Who stores, trains and serves. Everything raises ProviderError when it breaks off,
    NotAllowed when the key is refused, and RequestError when the request is at fault."""

    @property
    def can(self) -> Capabilities:
        """What it can do. Where only the server knows, it is asked."""

    @property
    def place(self) -> str:
        """Whose ids these are: a base URL, or `embedded`."""

    def warm_up(self) -> None:
        """Begin what takes time before the first call; returns at once."""

    def endpoint(self) -> Endpoint:
        """Where it listens, and the key in use."""

    def close(self) -> None:
        """Stop what was started."""

    def account(self) -> Account:
        """All that is kept there under this key, to be listed and downloaded."""

    def upload(self, path: Path, purpose: str = "fine-tune", name: str = "") -> wire.File:
        """Send a file, in parts where it is large.

        name  under which it is kept there and found again, unique to its content. A file that is
              there under this name, with as many bytes, is not sent again. Empty: that of the path,
              and it is always sent.
        Raises: NotOffered for a file that is too large there.
        """

    def file(self, file_id: str) -> wire.File | None: ...

    def download(self, file_id: str) -> bytes: ...

    def create_job(self, request: wire.JobCreate) -> wire.Job: ...

    def find_job(self, metadata: Mapping[str, str]) -> wire.Job | None:
        """The newest job that carries all of `metadata`."""

    def job(self, job_id: str) -> wire.Job: ...

    def jobs(self) -> Iterator[wire.Job]:
        """All jobs, newest first."""

    def follow(self, job_id: str) -> Iterator[wire.JobEvent | wire.Job]:
        """The job's events, oldest first, as they come; ends when the job has ended.

        Between them the job itself, when it says in `tunesmith["progress"]` (message, done, total)
        how far something has come that has no events.
        """

    def cancel(self, job_id: str) -> wire.Job: ...

    def pause(self, job_id: str) -> wire.Job:
        """Stop training for now; `resume` goes on from there."""

    def resume(self, job_id: str) -> wire.Job: ...

    def checkpoints(self, job_id: str) -> list[wire.Checkpoint]:
        """Oldest first."""

    def models(self) -> list[wire.Model]: ...

    def model(self, name: str) -> wire.Model | None: ...

    def delete_model(self, name: str) -> None: ...

    def classify(
        self, model: str, texts: Sequence[str], *, concurrency: int
    ) -> Iterator[tuple[int, Answer]]:
        """Each text's index and answer, in the order in which answers come."""

    def choose(
        self,
        model: str,
        conversations: Sequence[Conversation],
        labels: Sequence[str],
        *,
        concurrency: int,
    ) -> Iterator[tuple[int, Answer | None]]:
        """Each conversation's index and the label that a model which writes finds most probable as
        the next message, in the order in which answers come; None for a prompt that is longer than
        the model reads.
        """

    def chat(
        self,
        model: str,
        conversations: Sequence[Conversation],
        *,
        concurrency: int,
        writing: Writing = GREEDY,
    ) -> Iterator[tuple[int, Reply]]:
        """Each conversation's index and answer, in the order in which answers come; with `n`, the
        index that many times in a row.

        A prompt longer than the model reads is answered by a reply that says so in `refused`.
        """

    def embed(
        self, model: str, texts: Sequence[str], *, concurrency: int
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Each text's index and its vector, in the order in which vectors come.

        Raises: NotOffered where this model gives none, or the provider has no embeddings.
        """

    def stream(
        self, model: str, conversation: Conversation, *, writing: Writing = GREEDY
    ) -> Iterator[str]:
        """The text of one answer in pieces, as they are written."""
