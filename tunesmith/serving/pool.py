"""Answers of tuned classifiers: requests that wait together are computed together.

A few threads compute, one batch each. A free one takes the oldest request and those of the same
model that are nearest to it in length, as many as are its share of what waits, so that the free
threads end at about the same time. On an idle server nothing waits for company; on a busy one, a
burst of requests is let in whole.

Two threads with a core each answer about 1.15 times as much as one with two cores: small matrix
products lose by being cut in two, and only half of the work stands still while one thread is in
Python or the server takes a core.
Does not know: who asks, nor what a label means.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import StateError
from tunesmith.serving.shelf import Shelf

WORKERS = 4
"""Threads that compute, at most; on more cores each has several. They share Python's lock."""
QUIET = 0.002
LINGER = 0.02
"""A thread that becomes free while another computes waits for the burst of requests that follows
an answered batch, until none comes for QUIET seconds and at most LINGER seconds. Else it would take
the first one alone, at three times the cost."""
SPECIAL = 8
"""What a text's special tokens cost, in characters."""


@dataclass(frozen=True, slots=True)
class Classification:
    """One answer: the log-probability of each label, and the tokens read and cut off."""

    labels: tuple[str, ...]
    logprobs: Sequence[float]
    prompt_tokens: int
    cut_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A text that waits for the answer of a model."""

    model: str
    folder: Path
    text: str
    answer: Future[Classification]

    @property
    def cost(self) -> int:
        """About how long it takes, in characters."""
        return len(self.text) + SPECIAL


def share(waiting: Sequence[Request], among: int) -> list[Request]:
    """What the first of `among` free threads should take of the requests, oldest first.

    The oldest, and of the same model those nearest in length, up to that part of the whole cost.
    """
    first = waiting[0]
    same = [r for r in waiting if r.model == first.model]
    same.sort(key=lambda r: abs(r.cost - first.cost))
    left = sum(r.cost for r in same) / among
    taken: list[Request] = []
    for request in same:
        left -= request.cost
        if taken and left < 0:
            break
        taken.append(request)
    return taken


class EnginePool:
    """Answers for any number of tuned classifiers, `max_loaded` of them in memory at once.

    `threads` cores in all (0: every core), and `max_batch_tokens` tokens in one forward pass.
    """

    def __init__(self, *, max_loaded: int, max_batch_tokens: int, threads: int = 0) -> None:
        cores = threads or len(os.sched_getaffinity(0))
        workers = min(WORKERS, cores)
        self._shelf = Shelf(max_loaded)
        self._budget = max_batch_tokens
        self._threads_each = cores // workers
        self._waiting: list[Request] = []
        self._free = workers
        self._changed = threading.Condition()
        self._closed = False
        self._workers = [
            threading.Thread(target=self._work, name=f"engine-{i}", daemon=True)
            for i in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def submit(self, model: str, folder: Path, text: str) -> Future[Classification]:
        """Ask for the classification of `text`; `folder` holds the model's files.

        The future raises NotFound when they are gone, and StateError when the pool is closed.
        """
        request = Request(model, folder, text, Future())
        with self._changed:
            if self._closed:
                raise StateError("The server is stopping.", fix="Ask again when it is up.")
            self._waiting.append(request)
            self._changed.notify()
        return request.answer

    def loaded(self) -> list[str]:
        """Names of the models in memory, least recently used first."""
        return self._shelf.names()

    def forget(self, model: str) -> None:
        """Drop a model whose files are going away."""
        self._shelf.forget(model)

    def close(self) -> None:
        """Refuse new requests, fail the waiting ones, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()
        for request in self._waiting:
            request.answer.set_exception(StateError("The server is stopping."))

    def _work(self) -> None:
        # Here and not above: the import takes a second, which does not hold up the server's start.
        import torch

        torch.set_num_threads(self._threads_each)
        while batch := self._take():
            try:
                self._answer(batch)
            except Exception as error:  # noqa: BLE001  (whatever is wrong goes to those who asked)
                for request in batch:
                    if not request.answer.done():
                        request.answer.set_exception(error)
            with self._changed:
                self._free += 1

    def _take(self) -> list[Request]:
        """The next batch; sleeps while nothing waits. Nothing when the pool is closed."""
        with self._changed:
            self._linger()
            while not (self._waiting or self._closed):
                self._changed.wait()
                self._linger()
            if self._closed:
                return []
            batch = share(self._waiting, self._free)
            taken = set(map(id, batch))
            self._waiting = [r for r in self._waiting if id(r) not in taken]
            self._free -= 1
            return batch

    def _linger(self) -> None:
        """While others compute, let a burst of requests come in whole. Gives the lock up."""
        until = time.monotonic() + LINGER
        seen = 0
        while seen < len(self._waiting) and self._busy() and time.monotonic() < until:
            seen = len(self._waiting)
            self._changed.release()
            time.sleep(QUIET)
            self._changed.acquire()

    def _busy(self) -> bool:
        return self._free < len(self._workers)

    def _answer(self, batch: list[Request]) -> None:
        import torch

        model = self._shelf.get(batch[0].model, batch[0].folder)
        encoded = model.tokens([r.text for r in batch])
        for part, logits in model.batches(model, encoded, budget=self._budget):
            rows = torch.log_softmax(logits, dim=1).tolist()
            for i, row in zip(part, rows, strict=True):
                tokens = encoded[i]
                answer = Classification(model.card.labels, row, len(tokens.ids), tokens.cut)
                if not batch[i].answer.cancelled():
                    batch[i].answer.set_result(answer)
