"""What the verbs ask of a provider, and the values it answers with.

Does not know: HTTP, the SDK, who implements it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tunesmith import wire
from tunesmith.errors import ProviderError
from tunesmith.metrics.generation import Call

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a provider can do. Code asks these; it never asks who the provider is."""

    train: bool = True
    options: bool = True
    """Honours the `tunesmith` object of a job (method, weight decay, class weights …)."""
    reason: str = ""
    """Why something is not offered."""


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

    can: Capabilities

    @property
    def place(self) -> str:
        """Whose ids these are: a base URL, or `embedded`."""

    def warm_up(self) -> None:
        """Begin what takes time before the first call; returns at once."""

    def endpoint(self) -> Endpoint:
        """Where it listens, and the key in use."""

    def upload(self, path: Path, purpose: str = "fine-tune") -> wire.File: ...

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
