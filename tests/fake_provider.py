"""A provider in memory. It "trains" by remembering the words of each label, or each answer.

A model that writes answers every prompt of its two files rightly; its base model says `UNTUNED`.

It keeps the contract of `tunesmith.providers.provider.Provider` (tests/providers/test_contract.py
holds it to that) and counts what it is asked, so that tests can tell what was done again.
"""

import itertools
import json
import math
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith import wire
from tunesmith.errors import NotFound, NotOffered, ProviderError, RequestError
from tunesmith.pipeline.evaluating.writing.chat_rows import ChatRow, read_chat_row, said
from tunesmith.providers.provider import (
    GREEDY,
    Answer,
    Capabilities,
    Conversation,
    Endpoint,
    Reply,
    Writing,
)

UNTUNED = "I do not know."
WIDTH = 64


class FakeProvider:
    """`outcome` says how the next jobs end, `spoil` alters answers; `place`, `can` may be set."""

    def __init__(self) -> None:
        self.can = Capabilities()
        self.place = "embedded"
        self.calls: Counter[str] = Counter()
        self.outcome = "succeeded"
        self.while_following: Callable[[], None] = lambda: None
        self.spoil: Callable[[str, Answer], Answer] = lambda text, answer: answer
        self.files: dict[str, wire.File] = {}
        self.contents: dict[str, bytes] = {}
        self.all_jobs: dict[str, wire.Job] = {}
        self.requests: list[wire.JobCreate] = []
        self.tuned: dict[str, dict[str, Counter[str]]] = {}
        self.bases = ["tiny-writer"]
        """Base models that write."""
        self.embedders = {"minilm-l6"}
        self.writers: dict[str, dict[str, ChatRow]] = {}
        """Model → prompt → its row."""
        self.spoil_reply: Callable[[Conversation, Reply], Reply] = lambda asked, reply: reply
        self.choice: Callable[[Conversation, Sequence[str]], Answer | None] = _first
        """The label that a base model which writes finds most probable."""
        self.facts: dict[str, Any] = {}
        """Facts of the next jobs, beyond the usual ones."""
        self.curve: Callable[[wire.JobCreate], Sequence[float]] = lambda request: (0.9, 0.9, 0.9)
        """Accuracy on the dev slice, look by look."""
        self.estimate: Callable[[wire.JobCreate], float] | None = None
        """Seconds that a job says it will take."""
        self.asked: dict[str, wire.JobCreate] = {}
        self._number = itertools.count(1)

    def warm_up(self) -> None:
        self.calls["warm_up"] += 1

    def endpoint(self) -> Endpoint:
        return Endpoint(base_url="http://fake/v1", key="sk-fake")

    def close(self) -> None:
        self.calls["close"] += 1

    # --- files ----------------------------------------------------------------------------------

    def upload(self, path: Path, purpose: str = "fine-tune", name: str = "") -> wire.File:
        content = path.read_bytes()
        for file in self.files.values() if name else ():
            if (file.filename, file.bytes) == (name, len(content)):
                return file
        self.calls["upload"] += 1
        return self._keep(name or path.name, content, purpose)

    def account(self) -> Any:
        raise NotImplementedError

    def file(self, file_id: str) -> wire.File | None:
        return self.files.get(file_id)

    def download(self, file_id: str) -> bytes:
        if file_id not in self.contents:
            raise NotFound(f"No such File object: {file_id}")
        return self.contents[file_id]

    def _keep(self, name: str, content: bytes, purpose: str) -> wire.File:
        file = wire.File(
            id=f"file-{next(self._number)}",
            bytes=len(content),
            created_at=int(time.time()),
            filename=name,
            purpose=purpose,
        )
        self.files[file.id], self.contents[file.id] = file, content
        return file

    # --- jobs -----------------------------------------------------------------------------------

    def create_job(self, request: wire.JobCreate) -> wire.Job:
        self.calls["create_job"] += 1
        if request.training_file not in self.files:
            raise RequestError(f"invalid training_file: {request.training_file}")
        self.requests.append(request)
        assert request.method
        method = request.method.supervised or request.method.dpo
        assert method
        job = wire.Job(
            id=f"ftjob-{next(self._number)}",
            model=request.model,
            created_at=int(time.time()),
            organization_id="org-fake",
            status="queued",
            training_file=request.training_file,
            validation_file=request.validation_file,
            hyperparameters=method.hyperparameters.model_dump(),
            seed=request.seed or 0,
            metadata=request.metadata,
            method={"type": request.method.type},
        )
        self.all_jobs[job.id], self.asked[job.id] = job, request
        return job

    def find_job(self, metadata: Mapping[str, str]) -> wire.Job | None:
        wanted = dict(metadata).items()
        return next((j for j in self.jobs() if wanted <= (j.metadata or {}).items()), None)

    def job(self, job_id: str) -> wire.Job:
        if job_id not in self.all_jobs:
            raise NotFound(f"Could not find fine tune: {job_id}")
        return self.all_jobs[job_id]

    def jobs(self) -> Iterator[wire.Job]:
        yield from reversed(self.all_jobs.values())

    def follow(self, job_id: str) -> Iterator[wire.JobEvent | wire.Job]:
        job = self.job(job_id)
        yield self._event(f"Created fine-tuning job: {job_id}")
        self.while_following()
        job.tunesmith = {"progress": {"message": "Reading", "done": 3, "total": 9}}
        yield job
        if self.estimate:
            told = {"seconds": self.estimate(self.asked[job_id]), "trained_tokens": 1234}
            yield self._event("Estimate", {"estimate": told})
        yield from self._looks(job)
        if job.status not in wire.TERMINAL:
            self._train(job)
        decision = {"what": "n_epochs", "value": "at most 3", "reason": "for up to 500 examples"}
        yield self._event("n_epochs: at most 3", decision)

    def _looks(self, job: wire.Job) -> Iterator[wire.JobEvent]:
        seen = self.curve(self.asked[job.id])
        last = len(seen) - 1
        for step, accuracy in enumerate(seen):
            if job.status == "cancelled":
                return
            loss = (1.5, 0.7, 0.2)[min(step, 2)]
            data = {"step": step, "total_steps": last, "train_loss": loss, "dev_loss": loss + 0.1}
            data["dev_accuracy"] = accuracy
            yield self._event(f"Step {step}/{last}", data, "metrics")

    def cancel(self, job_id: str) -> wire.Job:
        self.calls["cancel"] += 1
        return self._move(job_id, "cancelled")

    def pause(self, job_id: str) -> wire.Job:
        return self._move(job_id, "paused")

    def resume(self, job_id: str) -> wire.Job:
        return self._move(job_id, "queued")

    def _move(self, job_id: str, status: Any) -> wire.Job:
        self.job(job_id).status = status
        return self.job(job_id)

    def checkpoints(self, job_id: str) -> list[wire.Checkpoint]:
        job = self.job(job_id)
        if job.fine_tuned_model is None:
            return []
        checkpoint = wire.Checkpoint(
            id="ftckpt_1",
            created_at=job.created_at,
            fine_tuned_model_checkpoint=job.fine_tuned_model,
            fine_tuning_job_id=job_id,
            step_number=2,
            metrics={"step": 2},
        )
        return [checkpoint]

    def _train(self, job: wire.Job) -> None:
        self.calls["train"] += 1
        if self.outcome != "succeeded":
            job.status = "failed"
            job.error = {"code": self.outcome, "message": "The training process died (SIGKILL)."}
            return
        name = wire.tuned_model_name(job.model.rsplit("/", 1)[-1], "fake", "x")
        options = self.asked[job.id].tunesmith
        if job.model == "minilm-l6" or (options and options.task == "classify"):
            samples, facts = self._learn_labels(name, job)
        else:
            samples, facts = self._learn_to_write(name, job)
        content = "".join(json.dumps(sample) + "\n" for sample in samples).encode()
        job.status, job.fine_tuned_model = "succeeded", name
        job.finished_at, job.trained_tokens = job.created_at + 2, 1234
        job.result_files = [self._keep("metrics.csv", b"step,train_loss\n1,0.7\n", "results").id]
        decision = {"what": "model kept", "value": facts["method"], "reason": "as asked"}
        last = len(self.curve(self.asked[job.id])) - 1
        usual = {"texts_cut": 0, "steps": last, "chosen_step": last, "decisions": [decision]}
        job.tunesmith = {
            "samples_file": self._keep("samples.jsonl", content, "results").id,
            "facts": {**usual, **facts, **self.facts},
        }

    def _learn_labels(self, name: str, job: wire.Job) -> tuple[list[Any], dict[str, Any]]:
        words: dict[str, Counter[str]] = {}
        for text, label in self._examples(job.training_file):
            words.setdefault(label, Counter()).update(text.split())
        self.tuned[name] = words
        held_out = self._examples(job.validation_file or job.training_file)
        samples = [self._sample(words, text) for text, _ in held_out[:50]]
        return samples, {"labels": sorted(words), "method": "head"}

    def _learn_to_write(self, name: str, job: wire.Job) -> tuple[list[Any], dict[str, Any]]:
        files = [job.training_file, job.validation_file or job.training_file]
        taught, held_out = ([*map(read_chat_row, self.contents[f].splitlines())] for f in files)
        self.writers[name] = {_key(row): row for row in [*taught, *held_out]}
        samples = []
        for row in held_out[:50]:
            reply = _written(row)
            assert reply.ids and reply.logprobs
            sample = {
                "messages": row.messages,
                "ids": reply.ids,
                "logprobs": reply.logprobs,
                "gaps": [5.0] * len(reply.ids),
                "most": len(reply.ids) + 8,
                "text": reply.text,
            }
            samples.append({**sample, "tools": row.tools} if row.tools else sample)
        return samples, {"method": "lora"}

    def _examples(self, file_id: str) -> list[tuple[str, str]]:
        lines = [json.loads(line)["messages"] for line in self.contents[file_id].splitlines()]
        return [(user["content"], assistant["content"]) for user, assistant in lines]

    def _sample(self, words: dict[str, Counter[str]], text: str) -> dict[str, Any]:
        answer = self._answer(words, text)
        return {"text": text, "label": answer.label, "logprob": answer.logprob}

    def _event(self, message: str, data: Any = None, kind: Any = "message") -> wire.JobEvent:
        number = next(self._number)
        return wire.JobEvent(
            id=f"ftevent-{number}", created_at=number, message=message, data=data or {}, type=kind
        )

    # --- models ---------------------------------------------------------------------------------

    def models(self) -> list[wire.Model]:
        kinds = {"minilm-l6": "encoder", **dict.fromkeys(self.bases, "causal")}
        bases = [
            wire.Model(id=name, created=0, owned_by="system", tunesmith={"kind": kind})
            for name, kind in kinds.items()
        ]
        tuned = [
            wire.Model(
                id=name,
                created=0,
                owned_by="fake",
                tunesmith={"answers": "labels", "labels": sorted(words)},
            )
            for name, words in self.tuned.items()
        ]
        writers = [
            wire.Model(id=n, created=0, owned_by="fake", tunesmith={"answers": "text"})
            for n in self.writers
        ]
        return [*bases, *tuned, *writers]

    def model(self, name: str) -> wire.Model | None:
        return next((model for model in self.models() if model.id == name), None)

    def delete_model(self, name: str) -> None:
        if self.tuned.pop(name, None) is None and self.writers.pop(name, None) is None:
            raise NotFound(f"The model '{name}' does not exist")

    def classify(
        self, model: str, texts: Sequence[str], *, concurrency: int
    ) -> Iterator[tuple[int, Answer]]:
        self.calls["classify"] += len(texts)
        if model not in self.tuned:
            raise NotFound(f"The model '{model}' does not exist")
        if concurrency < 1:
            raise ProviderError("no concurrency")
        # Last first: callers may not count on an order.
        for i in reversed(range(len(texts))):
            yield i, self.spoil(texts[i], self._answer(self.tuned[model], texts[i]))

    def _answer(self, words: dict[str, Counter[str]], text: str) -> Answer:
        # A word counts the more, the fewer labels share it: squares of the shares of its uses.
        uses = {w: sum(seen[w] for seen in words.values()) or 1 for w in text.split()}
        hits = {
            label: 0.1 + sum((seen[w] / uses[w]) ** 2 for w in text.split())
            for label, seen in words.items()
        }
        total = sum(hits.values())
        top = {label: math.log(n / total) for label, n in hits.items()}
        label = max(sorted(top), key=lambda name: top[name])
        return Answer(label=label, logprob=top[label], top=top)

    def choose(
        self,
        model: str,
        conversations: Sequence[Conversation],
        labels: Sequence[str],
        *,
        concurrency: int,
    ) -> Iterator[tuple[int, Answer | None]]:
        self.calls["choose"] += len(conversations)
        if model not in self.bases:
            raise NotFound(f"The model '{model}' does not exist")
        for i in reversed(range(len(conversations))):
            yield i, self.choice(conversations[i], labels)

    def chat(
        self,
        model: str,
        conversations: Sequence[Conversation],
        *,
        concurrency: int,
        writing: Writing = GREEDY,
    ) -> Iterator[tuple[int, Reply]]:
        self.calls["chat"] += len(conversations)
        if self.model(model) is None and "/" not in model:
            raise NotFound(f"The model '{model}' does not exist")
        for i in reversed(range(len(conversations))):
            asked = conversations[i]
            for k in range(writing.n):
                yield i, self.spoil_reply(asked, self._reply(model, asked, (writing, k)))

    def embed(
        self, model: str, texts: Sequence[str], *, concurrency: int
    ) -> Iterator[tuple[int, Any]]:
        self.calls["embed"] += len(texts)
        if model not in self.embedders:
            raise NotOffered(f"{model} gives no embeddings here: it is no encoder.")
        for i in reversed(range(len(texts))):
            vector = np.zeros(WIDTH, np.float32)
            for word in texts[i].split():
                vector[zlib.crc32(word.encode()) % WIDTH] += 1
            yield i, vector

    def stream(
        self, model: str, conversation: Conversation, *, writing: Writing = GREEDY
    ) -> Iterator[str]:
        ((_, reply),) = self.chat(model, [conversation], concurrency=1, writing=writing)
        yield from (reply.text[:3], reply.text[3:])

    def _reply(self, model: str, asked: Conversation, draw: tuple[Writing, int]) -> Reply:
        if words := self.tuned.get(model):
            return self._drawn(words, asked, *draw)
        row = ChatRow(messages=asked.messages, tools=asked.tools, gold=UNTUNED)
        return _written(self.writers.get(model, {}).get(_key(row), row))

    def _drawn(
        self, words: dict[str, Counter[str]], asked: Conversation, writing: Writing, k: int
    ) -> Reply:
        text = asked.messages[-1]["content"]
        answer = self._answer(words, text)
        draw = random.Random(f"{writing.seed} {k} {text}")
        label = draw.choices(list(answer.top), [*map(math.exp, answer.top.values())])[0]
        return Reply(text=label, finish_reason="stop", logprobs=(answer.top[label],))


def _first(asked: Conversation, labels: Sequence[str]) -> Answer:
    logprob = -math.log(len(labels))
    return Answer(label=labels[0], logprob=logprob, top=dict.fromkeys(labels, logprob))


def _key(row: ChatRow) -> str:
    return json.dumps([row.messages, row.tools])


def _written(row: ChatRow) -> Reply:
    """The right answer, each word of it a token."""
    ids = [zlib.crc32(word.encode()) for word in said(row.gold, row.gold_calls).split()]
    return Reply(
        text=row.gold,
        calls=row.gold_calls,
        finish_reason="tool_calls" if row.gold_calls else "stop",
        ids=(*ids, 0),
        logprobs=(-0.1,) * (len(ids) + 1),
        completion_tokens=len(ids) + 1,
    )
