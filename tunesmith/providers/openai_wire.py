"""A provider reached through the official `openai` SDK.

Knows: which calls of the SDK do what the verbs need, and what its errors mean to a user.
Does not know: the verbs, who is at the other end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tunesmith import wire
from tunesmith.errors import (
    NotFound,
    NotOffered,
    ProviderError,
    RequestError,
    TunesmithError,
    storage_error,
)
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
from tunesmith.providers.refusals import is_too_long, refused
from tunesmith.providers.replies import read_answer, read_answers, read_replies, read_vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from openai import OpenAI

A = TypeVar("A")
B = TypeVar("B")

PAGE = 100
SILENCE = 60.0  # seconds for which `follow` waits for a server that has stopped answering
TOP_LOGPROBS = 20
BEST = {"temperature": 0, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
"""What a request asks of a model with labels: the best ones, and how probable they are."""
PATIENCE = 3600.0  # seconds for a written answer: on a small machine, with many others under way
EMBEDDED = 256
"""Texts in one request for embeddings: fewer than any endpoint allows."""
FEW, LISTED, LISTS = 100, 128, 8
"""Texts from which on they are labelled in lists, where the model takes any; those in a list, and
lists under way at once. A request takes longer than a short text."""
MOST_CHARACTERS = 1_000_000
"""Of the texts in one request: no endpoint takes bodies of any size."""
NO_ROUTE = 501


class OpenAIWire:
    """Implements `Provider`. The SDK is imported and the server reached at the first call."""

    def __init__(self, link: Link, *, can: Capabilities) -> None:
        self.can = can
        self._link = link
        self._guard = threading.Lock()
        self._opened: OpenAI | None = None

    @property
    def place(self) -> str:
        return self._link.place

    def warm_up(self) -> None:
        """Start the server and import the SDK in the background."""
        threading.Thread(target=self._warm_up, daemon=True).start()

    def endpoint(self) -> Endpoint:
        return self._link.endpoint()

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        self._link.close()

    # --- files ----------------------------------------------------------------------------------

    def upload(self, path: Path, purpose: str = "fine-tune") -> wire.File:
        try:
            with path.open("rb") as file, self._asking() as client:
                # The purposes a caller may give are checked by the other side.
                sent = client.files.create(file=file, purpose=purpose)  # type: ignore[arg-type]
        except OSError as error:
            raise storage_error(error, path) from None
        return wire.File.model_validate(sent.to_dict())

    def file(self, file_id: str) -> wire.File | None:
        with suppress(NotFound), self._asking() as client:
            return wire.File.model_validate(client.files.retrieve(file_id).to_dict())
        return None

    def download(self, file_id: str) -> bytes:
        with self._asking() as client:
            return client.files.content(file_id).read()

    # --- jobs -----------------------------------------------------------------------------------

    def create_job(self, request: wire.JobCreate) -> wire.Job:
        body = request.model_dump(exclude_none=True, exclude={"tunesmith"})
        # Only what was set: an option of causal models does not fit an encoder, nor the reverse.
        ours = request.tunesmith and request.tunesmith.model_dump(
            exclude_none=True, exclude_unset=True
        )
        with self._asking() as client:
            # Not repeated by the SDK: the server may have created a job whose reply was lost, and
            # `find_job` will find that one.
            once = client.with_options(max_retries=0)
            job = once.fine_tuning.jobs.create(
                **body, extra_body={"tunesmith": ours} if ours else None
            )
        return _job(job)

    def find_job(self, metadata: Mapping[str, str]) -> wire.Job | None:
        with self._asking() as client:
            # Servers that do not know the filter return all jobs, hence the second look here.
            for job in client.fine_tuning.jobs.list(metadata=dict(metadata), limit=PAGE):
                if dict(metadata).items() <= (job.metadata or {}).items():
                    return _job(job)
        return None

    def job(self, job_id: str) -> wire.Job:
        with self._asking() as client:
            return _job(client.fine_tuning.jobs.retrieve(job_id))

    def jobs(self) -> Iterator[wire.Job]:
        with self._asking() as client:
            yield from map(_job, client.fine_tuning.jobs.list(limit=PAGE))

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
            pause = min(pause * 1.3, 0.7)

    def cancel(self, job_id: str) -> wire.Job:
        with self._asking() as client:
            return _job(client.fine_tuning.jobs.cancel(job_id))

    def pause(self, job_id: str) -> wire.Job:
        with self._asking() as client:
            return _job(client.fine_tuning.jobs.pause(job_id))

    def resume(self, job_id: str) -> wire.Job:
        with self._asking() as client:
            return _job(client.fine_tuning.jobs.resume(job_id))

    def checkpoints(self, job_id: str) -> list[wire.Checkpoint]:
        with self._asking() as client:
            found = client.fine_tuning.jobs.checkpoints.list(job_id, limit=PAGE)
            return [wire.Checkpoint.model_validate(c.to_dict()) for c in found][::-1]

    # --- models ---------------------------------------------------------------------------------

    def models(self) -> list[wire.Model]:
        with self._asking() as client:
            return [wire.Model.model_validate(m.to_dict()) for m in client.models.list()]

    def model(self, name: str) -> wire.Model | None:
        with suppress(NotFound), self._asking() as client:
            return wire.Model.model_validate(client.models.retrieve(name).to_dict())
        return None

    def delete_model(self, name: str) -> None:
        with self._asking() as client:
            client.models.delete(name)

    def classify(
        self, model: str, texts: Sequence[str], *, concurrency: int
    ) -> Iterator[tuple[int, Answer]]:
        if len(texts) < FEW or not self._takes_lists(model):
            yield from _all_of(partial(self._ask, model), texts, concurrency)
            return
        starts, parts = _lists(texts, LISTED)
        asking = _all_of(partial(self._ask_each, model), parts, min(concurrency, LISTS))
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
        asked = {**BEST, "model": model, "tunesmith": {"labels": list(labels)}}
        return _all_of(partial(self._choose, asked), conversations, concurrency)

    def chat(
        self,
        model: str,
        conversations: Sequence[Conversation],
        *,
        concurrency: int,
        writing: Writing = GREEDY,
    ) -> Iterator[tuple[int, Reply]]:
        ask = partial(self._write, model, writing)
        for i, replies in _all_of(ask, conversations, concurrency):
            for reply in replies:
                yield i, reply

    def embed(
        self, model: str, texts: Sequence[str], *, concurrency: int
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        starts, parts = _lists(texts, EMBEDDED)
        for k, vectors in _all_of(partial(self._embed, model), parts, concurrency):
            yield from enumerate(vectors, starts[k])

    def stream(
        self, model: str, conversation: Conversation, *, writing: Writing = GREEDY
    ) -> Iterator[str]:
        body: Any = {"messages": conversation.messages, "temperature": writing.temperature}
        with self._asking() as client:
            for chunk in client.chat.completions.create(model=model, stream=True, **body):
                yield from (c.delta.content for c in chunk.choices if c.delta.content)

    def _choose(self, asked: Mapping[str, Any], about: Conversation) -> Answer | None:
        started = time.perf_counter()
        body = {**asked, "messages": about.messages}
        try:
            with self._asking() as client:
                reply: Any = client.post(
                    "/chat/completions", cast_to=object, body=body, options={"timeout": PATIENCE}
                )
        except RequestError as error:
            if not is_too_long(error):
                raise
            return None
        return read_answer(reply, time.perf_counter() - started)

    def _ask(self, model: str, text: str) -> Answer:
        started = time.perf_counter()
        body = {**BEST, "model": model, "messages": [{"role": "user", "content": text}]}
        with self._asking() as client:
            # The plain body: building the SDK's typed objects takes longer than the request.
            reply: Any = client.post("/chat/completions", cast_to=object, body=body)
        return read_answer(reply, time.perf_counter() - started)

    def _takes_lists(self, model: str) -> bool:
        """Whether several texts may be labelled with one request, as far as the server says."""
        found = self.model(model)
        told = found.tunesmith if found else {}
        return told.get("kind") == "encoder" and told.get("answers") == "labels"

    def _ask_each(self, model: str, texts: Sequence[str]) -> list[Answer]:
        body = {"model": model, "prompt": list(texts), "temperature": 0, "logprobs": TOP_LOGPROBS}
        with self._asking() as client:
            reply: Any = client.post("/completions", cast_to=object, body=body)
        return read_answers(reply, len(texts))

    def _embed(self, model: str, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        body = {"model": model, "input": list(texts), "encoding_format": "base64"}
        try:
            with self._asking() as client:
                reply: Any = client.post(
                    "/embeddings", cast_to=object, body=body, options={"timeout": PATIENCE}
                )
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
        if writing.logprobs:
            # Not OpenAI's: Tunesmith and vLLM then say which tokens an answer is made of.
            body |= {"logprobs": True, "return_token_ids": True}
        try:
            with self._asking() as client:
                reply: Any = client.post(
                    "/chat/completions", cast_to=object, body=body, options={"timeout": PATIENCE}
                )
        except RequestError as error:
            if not is_too_long(error):
                raise
            return [Reply(text="", refused=error.what)] * writing.n
        return read_replies(reply, time.perf_counter() - started)

    def _events_after(self, job_id: str, last: str | None) -> list[wire.JobEvent]:
        """Events newer than the event `last`, oldest first."""
        fresh: list[wire.JobEvent] = []
        with self._asking() as client:
            for event in client.fine_tuning.jobs.list_events(job_id, limit=PAGE):
                if event.id == last:
                    break
                fresh.append(wire.JobEvent.model_validate(event.to_dict()))
        return fresh[::-1]

    def _warm_up(self) -> None:
        with suppress(TunesmithError):  # the first call will meet it again, and raise it
            self._link.warm_up()
            import openai  # noqa: F401

    def _client(self) -> OpenAI:
        with self._guard:
            if self._opened is None:
                from openai import OpenAI

                at = self._link.endpoint()
                self._opened = OpenAI(base_url=at.base_url, api_key=at.key, max_retries=2)
            return self._opened

    @contextmanager
    def _asking(self) -> Iterator[OpenAI]:
        """The client; the SDK's errors leave as ours."""
        client = self._client()
        from openai import APIConnectionError, APIError, APIStatusError

        try:
            yield client
        except APIStatusError as error:
            raise refused(error, self._where()) from error
        except APIConnectionError as error:
            raise self._link.lost(str(error.__cause__ or error)) from error
        except APIError as error:
            raise ProviderError(f"The answer of {self.place} made no sense: {error}") from error

    def _where(self) -> str:
        return "The local server" if self.place == "embedded" else f"The server at {self.place}"


def _job(job: Any) -> wire.Job:
    return wire.Job.model_validate(job.to_dict())


def _lists(texts: Sequence[str], most: int) -> tuple[list[int], list[Sequence[str]]]:
    """The texts in lists of `most` and MOST_CHARACTERS, or of one text; and where each begins."""
    starts: list[int] = []
    room = 0
    for i, text in enumerate(texts):
        room -= len(text)
        if not starts or i - starts[-1] == most or room < 0:
            starts.append(i)
            room = MOST_CHARACTERS - len(text)
    ends = [*starts[1:], len(texts)]
    return starts, [texts[start:end] for start, end in zip(starts, ends, strict=True)]


def _all_of(
    ask: Callable[[A], B], questions: Sequence[A], concurrency: int
) -> Iterator[tuple[int, B]]:
    """The place of each question and what `ask` makes of it, in the order in which that comes."""
    pool = ThreadPoolExecutor(max_workers=max(1, min(concurrency, len(questions))))
    try:
        asked = {pool.submit(ask, question): i for i, question in enumerate(questions)}
        for future in as_completed(asked):
            yield asked[future], future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
