"""Classifiers in memory, and one thread that answers for all of them.

Requests that are waiting together are answered together: the oldest one's model is taken, and
requests of near lengths join its batch where padding them would cost less than a pass of their
own. Encoders that pack their batches pad nothing; there the same cut keeps batches small enough
that the next one can gather meanwhile.
Nothing waits for company; while one batch is computed, the next one gathers. Models are loaded when
first asked and dropped least recently used first.
Does not know: who asks, nor what a label means.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import StateError

if TYPE_CHECKING:
    from tunesmith.model.classifier import Classifier
    from tunesmith.model.tokens import Encoded


PASS_COST = 48
"""What a forward pass costs beyond its tokens, in tokens (measured: 10 ms, at 0.2 ms a token)."""
WINDOW = 64
"""Waiting requests looked at on either side of the oldest, in order of length."""


@dataclass(frozen=True, slots=True)
class Classification:
    """One answer: the log-probability of each label, and the tokens read and cut off."""

    labels: tuple[str, ...]
    logprobs: Sequence[float]
    prompt_tokens: int
    cut_tokens: int


@dataclass(slots=True, eq=False)
class _Waiting:
    model: str
    folder: Path
    text: str
    answer: Future[Classification]
    encoded: Encoded | None = None

    @property
    def length(self) -> int:
        assert self.encoded is not None
        return len(self.encoded.ids)


def cheapest_batches(lengths: Sequence[int], budget: int) -> list[tuple[int, int]]:
    """Cut ascending `lengths` into batches [low, high) that cost least to compute.

    A batch costs its padded tokens plus PASS_COST, and has at most `budget` of the former (one
    longer text is a batch of its own). Dynamic programming over the last batch's start.
    """
    best = [0.0]
    starts = [0]
    for high in range(1, len(lengths) + 1):
        width = lengths[high - 1]
        fewest = high - max(1, budget // width)
        cost, low = min(
            (best[low] + (high - low) * width, low) for low in range(max(0, fewest), high)
        )
        best.append(cost + PASS_COST)
        starts.append(low)
    batches = []
    high = len(lengths)
    while high:
        batches.append((starts[high], high))
        high = starts[high]
    return batches[::-1]


class EnginePool:
    """Answers for any number of tuned classifiers, `max_loaded` of them in memory at once."""

    def __init__(self, *, max_loaded: int, max_batch_tokens: int, threads: int = 0) -> None:
        self._max_loaded = max_loaded
        self._budget = max_batch_tokens
        self._threads = threads or len(os.sched_getaffinity(0))
        self._loaded: OrderedDict[str, Classifier] = OrderedDict()
        self._new: deque[_Waiting] = deque()
        self._wake = threading.Condition()
        self._forget: set[str] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, model: str, folder: Path, text: str) -> Future[Classification]:
        """Ask for the classification of `text`; `folder` holds the model's files.

        The future raises NotFound when they are gone, and StateError when the pool is closed.
        """
        request = _Waiting(model, folder, text, Future())
        with self._wake:
            if self._closed:
                raise StateError("The server is stopping.", fix="Ask again when it is up.")
            self._new.append(request)
            self._wake.notify()
        return request.answer

    def loaded(self) -> list[str]:
        """Names of the models in memory, least recently used first."""
        return list(self._loaded)

    def forget(self, model: str) -> None:
        """Drop a model whose files are going away."""
        with self._wake:
            self._forget.add(model)
            self._wake.notify()

    def close(self) -> None:
        """Refuse new requests, fail the waiting ones, and end the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        # These imports take seconds; here they do not hold up the server's start.
        import torch

        torch.set_num_threads(self._threads)
        torch.set_grad_enabled(False)
        from tunesmith.model import classifier

        classifier.warm_up()

        waiting: list[_Waiting] = []
        while self._gather(waiting):
            batch = self._next_batch(waiting)
            if batch:
                self._answer(batch)
        for request in [*waiting, *self._new]:
            request.answer.set_exception(StateError("The server is stopping."))

    def _gather(self, waiting: list[_Waiting]) -> bool:
        """Move new requests into `waiting`; sleep while there is none. False when closed."""
        with self._wake:
            while not (self._new or waiting or self._forget or self._closed):
                self._wake.wait()
            waiting += self._new
            self._new.clear()
            for name in self._forget:
                self._loaded.pop(name, None)
            self._forget.clear()
            return not self._closed

    def _next_batch(self, waiting: list[_Waiting]) -> list[_Waiting]:
        """Take from `waiting` the oldest request and those it is best answered with.

        They go to the same model, are nearest in length, and fill the token budget.
        """
        if not waiting:
            return []
        first = waiting[0]
        mine = [r for r in waiting if r.model == first.model]
        try:
            self._encode([r for r in mine if r.encoded is None])
        except Exception as error:  # noqa: BLE001  (whatever is wrong goes to those who asked)
            for request in mine:
                request.answer.set_exception(error)
            waiting[:] = [r for r in waiting if r.model != first.model]
            return []
        mine.sort(key=lambda r: r.length)
        at = mine.index(first)
        near = mine[max(0, at - WINDOW) : at + WINDOW]
        batch = next(
            near[low:high]
            for low, high in cheapest_batches([r.length for r in near], self._budget)
            if first in near[low:high]
        )
        taken = set(map(id, batch))
        waiting[:] = [r for r in waiting if id(r) not in taken]
        return batch

    def _encode(self, requests: list[_Waiting]) -> None:
        if requests:
            model = self._model(requests[0].model, requests[0].folder)
            encoded = model.tokens([r.text for r in requests])
            for request, tokens in zip(requests, encoded, strict=True):
                request.encoded = tokens

    def _model(self, name: str, folder: Path) -> Classifier:
        from tunesmith.model import classifier

        if name not in self._loaded:
            while len(self._loaded) >= self._max_loaded:
                self._loaded.popitem(last=False)
            self._loaded[name] = classifier.load(folder)
        self._loaded.move_to_end(name)
        return self._loaded[name]

    def _answer(self, batch: list[_Waiting]) -> None:
        import torch

        try:
            model = self._model(batch[0].model, batch[0].folder)
            encoded = [r.encoded for r in batch if r.encoded is not None]
            with torch.inference_mode():
                logits = model([e.ids for e in encoded])
                logprobs = torch.log_softmax(logits, dim=1).tolist()
        except Exception as error:  # noqa: BLE001  (whatever is wrong goes to those who asked)
            for request in batch:
                request.answer.set_exception(error)
            return
        labels = model.card.labels
        for request, tokens, row in zip(batch, encoded, logprobs, strict=True):
            if not request.answer.cancelled():
                answer = Classification(labels, row, len(tokens.ids), tokens.cut)
                request.answer.set_result(answer)
