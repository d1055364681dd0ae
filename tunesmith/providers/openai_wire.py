"""A provider reached through the official `openai` SDK.

Knows: which calls of the SDK do what the verbs need, and what its errors mean to a user.
Does not know: the verbs, who is at the other end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tunesmith import wire
from tunesmith.errors import (
    NotAllowed,
    NotFound,
    NotOffered,
    ProviderError,
    RequestError,
)
from tunesmith.providers.account import Account
from tunesmith.providers.caller import Caller, silent
from tunesmith.providers.many import all_of, in_lists
from tunesmith.providers.patience import Pace, Tell
from tunesmith.providers.provider import (
    GREEDY,
    Answer,
    Capabilities,
    Conversation,
    Endpoint,
    Link,
    Reply,
    Writing,
)
from tunesmith.providers.refusals import is_too_long
from tunesmith.providers.replies import read_answer, read_answers, read_replies, read_vectors
from tunesmith.providers.sending import send

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from openai import OpenAI

A = TypeVar("A")
B = TypeVar("B")

PAGE = 100
SILENCE = 60.0  # seconds for which `follow` waits for a server that has stopped answering
TOP_LOGPROBS = 20
PATIENCE = 3600.0  # seconds for a written answer: on a small machine, with many others under way
EMBEDDED = 256
"""Texts in one request for embeddings: fewer than any endpoint allows."""
FEW, LISTED, LISTS = 100, 128, 8
"""Texts from which on they are labelled in lists, where the model takes any; those in a list, and
lists under way at once. A request takes longer than a short text."""
NO_ROUTE = 501
SIGN = "tunesmith"
"""In each model that a Tunesmith server lists."""


class OpenAIWire:
    """Implements `Provider`.

    can        what the other side can do.
    otherwise  what it can do if it turns out not to be a Tunesmith server; None: nobody looks.
    tell       is told, in a sentence, when something is waited for.
    """

    def __init__(
        self,
        link: Link,
        *,
        can: Capabilities,
        otherwise: Capabilities | None = None,
        tell: Tell = silent,
    ) -> None:
        self._link = link
        self._can, self._otherwise = can, otherwise
        self._pace = Pace((otherwise or can).first_requests)
        self._caller = Caller(link, self._pace, tell)
        self._guard = threading.Lock()

    @property
    def can(self) -> Capabilities:
        with self._guard:
            if self._otherwise is not None:
                if not self._is_ours():
                    self._can = self._otherwise
                self._otherwise = None
            return self._can

    @property
    def place(self) -> str:
        return self._link.place

    def warm_up(self) -> None:
        self._caller.warm_up()

    def endpoint(self) -> Endpoint:
        return self._link.endpoint()

    def close(self) -> None:
        self._caller.close()

    def account(self) -> Account:
        return Account(self._caller)

    # --- files ----------------------------------------------------------------------------------

    def upload(self, path: Path, purpose: str = "fine-tune", name: str = "") -> wire.File:
        return send(self._caller, self.can, path, purpose=purpose, name=name)

    def file(self, file_id: str) -> wire.File | None:
        with suppress(NotFound):
            found = self._caller.ask(lambda client: client.files.retrieve(file_id))
            return wire.File.model_validate(found.to_dict())
        return None

    def download(self, file_id: str) -> bytes:
        return self._caller.ask(lambda client: client.files.content(file_id).read())

    # --- jobs -----------------------------------------------------------------------------------

    def create_job(self, request: wire.JobCreate) -> wire.Job:
        body = request.model_dump(exclude_none=True, exclude={"tunesmith"})
        # Only what was set: an option of causal models does not fit an encoder, nor the reverse.
        ours = request.tunesmith and request.tunesmith.model_dump(
            exclude_none=True, exclude_unset=True
        )
        # Not asked again here: the server may have created a job whose reply was lost, and
        # `find_job` will find that one.
        with self._caller.asking() as client:
            job = client.fine_tuning.jobs.create(
                **body, extra_body={"tunesmith": ours} if ours else None
            )
        self._caller.patience.heard()
        return _job(job)

    def find_job(self, metadata: Mapping[str, str]) -> wire.Job | None:
        asked = dict(metadata)
        # Servers that do not know the filter return all jobs, hence the second look here.
        for job in self._caller.pages(
            lambda client: client.fine_tuning.jobs.list(metadata=asked, limit=PAGE)
        ):
            if asked.items() <= (job.metadata or {}).items():
                return _job(job)
        return None

    def job(self, job_id: str) -> wire.Job:
        return _job(self._caller.ask(lambda client: client.fine_tuning.jobs.retrieve(job_id)))

    def jobs(self) -> Iterator[wire.Job]:
        first = self._caller.pages(lambda client: client.fine_tuning.jobs.list(limit=PAGE))
        yield from map(_job, first)

    def follow(self, job_id: str) -> Iterator[wire.JobEvent | wire.Job]:
        last, pause, heard = None, 0.1, time.monotonic()
        progress: dict[str, Any] = {}
        while True:
            try:
                # The job is asked first: events of a job that has ended are then complete.
                job = self.job(job_id)
                fresh = self._events_after(job_id, last)
            except ProviderError:
                if self._link.is_gone() or time.monotonic() - heard > SILENCE:
                    raise
                time.sleep(1.0)
                continue
            heard = time.monotonic()
            yield from fresh
            last = fresh[-1].id if fresh else last
            if job.status in wire.TERMINAL:
                return
            if (now := job.tunesmith.get("progress") or {}) != progress:
                progress = now
                if progress:
                    yield job
            time.sleep(pause)
            pause = min(pause * 1.3, self.can.poll_seconds)

    def cancel(self, job_id: str) -> wire.Job:
        return _job(self._caller.ask(lambda client: client.fine_tuning.jobs.cancel(job_id)))

    def pause(self, job_id: str) -> wire.Job:
        self._require_pauses()
        return _job(self._caller.ask(lambda client: client.fine_tuning.jobs.pause(job_id)))

    def resume(self, job_id: str) -> wire.Job:
        self._require_pauses()
        return _job(self._caller.ask(lambda client: client.fine_tuning.jobs.resume(job_id)))

    def checkpoints(self, job_id: str) -> list[wire.Checkpoint]:
        found = self._caller.pages(
            lambda client: client.fine_tuning.jobs.checkpoints.list(job_id, limit=PAGE)
        )
        return [wire.Checkpoint.model_validate(c.to_dict()) for c in found][::-1]

    def _require_pauses(self) -> None:
        if not self.can.pauses:
            raise NotOffered(f"{self.can.title} does not pause jobs.", fix="Cancel it, or wait.")

    # --- models ---------------------------------------------------------------------------------

    def models(self) -> list[wire.Model]:
        found = self._caller.ask(lambda client: list(client.models.list()))
        return [wire.Model.model_validate(m.to_dict()) for m in found]

    def model(self, name: str) -> wire.Model | None:
        with suppress(NotFound):
            found = self._caller.ask(lambda client: client.models.retrieve(name))
            return wire.Model.model_validate(found.to_dict())
        return None

    def delete_model(self, name: str) -> None:
        self._caller.ask(lambda client: client.models.delete(name))

    def classify(
        self, model: str, texts: Sequence[str], *, concurrency: int
    ) -> Iterator[tuple[int, Answer]]:
        if len(texts) < FEW or not self._takes_lists(model):
            yield from all_of(partial(self._ask, model), texts, concurrency)
            return
        starts, parts = in_lists(texts, LISTED)
        asking = all_of(partial(self._ask_each, model), parts, min(concurrency, LISTS))
        for k, answers in asking:
            yield from enumerate(answers, starts[k])

    def choose(
        self,
        model: str,
        conversations: Sequence[Conversation],
        labels: Sequence[str],
        *,
        concurrency: int,
    ) -> Iterator[tuple[int, Answer | None]]:
        if not self.can.choices:
            raise NotOffered(f"{self.can.title} does not say which of some labels is likeliest.")
        asked = {**self._best(), "model": model, "tunesmith": {"labels": list(labels)}}
        return all_of(partial(self._choose, asked), conversations, concurrency)

    def chat(
        self,
        model: str,
        conversations: Sequence[Conversation],
        *,
        concurrency: int,
        writing: Writing = GREEDY,
    ) -> Iterator[tuple[int, Reply]]:
        ask = partial(self._write, model, writing)
        for i, replies in all_of(ask, conversations, concurrency):
            for reply in replies:
                yield i, reply

    def embed(
        self, model: str, texts: Sequence[str], *, concurrency: int
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        if not self.can.embeddings:
            raise NotOffered(f"{self.can.title} gives no embeddings of base models.")
        starts, parts = in_lists(texts, EMBEDDED)
        for k, vectors in all_of(partial(self._embed, model), parts, concurrency):
            yield from enumerate(vectors, starts[k])

    def stream(
        self, model: str, conversation: Conversation, *, writing: Writing = GREEDY
    ) -> Iterator[str]:
        body: Any = {"messages": conversation.messages, "temperature": writing.temperature}
        with self._caller.asking() as client:
            for chunk in client.chat.completions.create(model=model, stream=True, **body):
                yield from (c.delta.content for c in chunk.choices if c.delta.content)

    def _choose(self, asked: Mapping[str, Any], about: Conversation) -> Answer | None:
        started = time.perf_counter()
        try:
            reply = self._post("/chat/completions", {**asked, "messages": about.messages})
        except RequestError as error:
            if not is_too_long(error):
                raise
            return None
        return read_answer(reply, time.perf_counter() - started)

    def _ask(self, model: str, text: str) -> Answer:
        started = time.perf_counter()
        body = {**self._best(), "model": model, "messages": [{"role": "user", "content": text}]}
        reply = self._post("/chat/completions", body)
        return read_answer(reply, time.perf_counter() - started)

    def _best(self) -> dict[str, Any]:
        """What a request asks of a model with labels: the best ones, and how probable they are."""
        most = min(TOP_LOGPROBS, self.can.top_logprobs)
        return {"temperature": 0} | ({"logprobs": True, "top_logprobs": most} if most else {})

    def _takes_lists(self, model: str) -> bool:
        """Whether several texts may be labelled with one request, as far as the server says."""
        if not self.can.lists:
            return False
        found = self.model(model)
        told = found.tunesmith if found else {}
        return told.get("kind") == "encoder" and told.get("answers") == "labels"

    def _ask_each(self, model: str, texts: Sequence[str]) -> list[Answer]:
        body = {"model": model, "prompt": list(texts), "temperature": 0, "logprobs": TOP_LOGPROBS}
        return read_answers(self._post("/completions", body), len(texts))

    def _embed(self, model: str, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        body = {"model": model, "input": list(texts), "encoding_format": "base64"}
        try:
            reply = self._post("/embeddings", body)
        except RequestError as error:
            raise NotOffered(f"{model} gives no embeddings here: {error.what}") from error
        except ProviderError as error:
            if error.status != NO_ROUTE:
                raise
            raise NotOffered(f"{self.place} has no embeddings.") from error
        return read_vectors(reply)

    def _write(self, model: str, writing: Writing, asked: Conversation) -> list[Reply]:
        started = time.perf_counter()
        body: dict[str, Any] = {
            "model": model,
            "messages": asked.messages,
            "temperature": writing.temperature,
        }
        if asked.tools:
            body["tools"] = asked.tools
        if asked.most is not None:
            body["max_tokens"] = asked.most
        if writing.n > 1:
            body["n"] = writing.n
        if writing.seed is not None:
            body["seed"] = writing.seed
        if writing.logprobs and self.can.top_logprobs:
            body["logprobs"] = True
        if writing.logprobs and self.can.token_ids:
            # Not OpenAI's: Tunesmith and vLLM then say which tokens an answer is made of.
            body["return_token_ids"] = True
        try:
            reply = self._post("/chat/completions", body)
        except RequestError as error:
            if not is_too_long(error):
                raise
            return [Reply(text="", refused=error.what)] * writing.n
        return read_replies(reply, time.perf_counter() - started)

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The plain body of an answer: building the SDK's typed objects takes longer than the
        request."""
        where = self._caller.path(path, body["model"])

        def ask(client: OpenAI) -> Any:
            return client.post(where, cast_to=object, body=body, options={"timeout": PATIENCE})

        return self._caller.ask(ask, pace=self._pace)

    def _is_ours(self) -> bool:
        """Whether the models that are listed are told of as only Tunesmith does."""
        try:
            told: Any = self._caller.ask(lambda client: client.get("/models", cast_to=object))
        except NotAllowed:
            raise
        except (RequestError, ProviderError) as error:
            if getattr(error, "status", NO_ROUTE) != NO_ROUTE:
                raise
            return False
        models = told.get("data") if isinstance(told, dict) else None
        return any(SIGN in model for model in models or () if isinstance(model, dict))

    def _events_after(self, job_id: str, last: str | None) -> list[wire.JobEvent]:
        """Events newer than the event `last`, oldest first."""
        fresh: list[wire.JobEvent] = []
        for event in self._caller.pages(
            lambda client: client.fine_tuning.jobs.list_events(job_id, limit=PAGE)
        ):
            if event.id == last:
                break
            fresh.append(wire.JobEvent.model_validate(event.to_dict()))
        return fresh[::-1]


def _job(job: Any) -> wire.Job:
    return wire.Job.model_validate(job.to_dict())
