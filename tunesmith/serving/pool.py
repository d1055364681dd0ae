"""Answers of models: requests that wait together are computed together.

A few processes compute, one batch each, and here a thread for each hands it its batches. A free one
takes the oldest request and those of the same model that are nearest to it in length, as many as
are its share of what waits, so that the free ones end at about the same time. On an idle server
nothing waits for company; on a busy one, a burst of requests is let in whole.

Several processes with a core or two each, because small matrix products lose by being cut up
further, and because Python's lock would have the computing wait for the serving. On two cores: 1.15
times the answers of two threads in the server's process, 1.2 times those of one thread with both.
Does not know: who asks, nor what a label means.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pipe
from operator import attrgetter
from pathlib import Path
from typing import Any

from tunesmith.errors import ProviderError, StateError
from tunesmith.serving.batch import Answer, Batch, Classification, Embedding, Task, Text

ENGINES = 4
"""Processes, at most; on more cores each has several. Each holds its own copy of a model."""
QUIET = 0.002
LINGER = 0.02
"""An engine that becomes free while another computes waits for the burst of requests that follows
an answered batch, until none comes for QUIET seconds and at most LINGER seconds. Else it would take
the first one alone, at three times the cost."""
RESTART_SECONDS = 1.0
"""Rest before a process that died is started again."""
SPECIAL = 8
"""What a text's special tokens cost, in characters."""
CHARACTERS = 4
"""A token has about so many."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Texts that wait for the answers of a model."""

    model: str
    folder: Path
    task: Task
    texts: Sequence[Text]
    """Any number."""
    cost: int
    """About how long they take, in characters."""
    turn: int
    """The lowest is served first, and of these the oldest."""
    answer: Future[Any]
    """A list of Classification or Embedding."""
    is_single: bool = False
    """The answer is that of the only text, and no list."""


def share(waiting: Sequence[Request], among: int, most: float = math.inf) -> list[Request]:
    """What the first of `among` free engines should take of the requests, oldest first.

    The first in turn, and of the same model and task those nearest in cost, up to that part of the
    whole cost and up to `most`.
    """
    first = min(waiting, key=attrgetter("turn"))
    same = [r for r in waiting if r.model == first.model and r.task == first.task]
    left = min(sum(r.cost for r in same) / among, most) - first.cost
    same.remove(first)
    same.sort(key=lambda r: abs(r.cost - first.cost))
    taken = [first]
    for request in same:
        left -= request.cost
        if left < 0:
            break
        taken.append(request)
    return taken


def pieces(costs: Sequence[int], size: float) -> list[list[int]]:
    """The places of texts, cheapest first, in lists that cost at most `size`, or of one text."""
    out: list[list[int]] = []
    left = 0.0
    for i in sorted(range(len(costs)), key=costs.__getitem__):
        left -= costs[i]
        if not out or left < 0:
            out.append([])
            left = size - costs[i]
        out[-1].append(i)
    return out


class EnginePool:
    """Answers for any number of models, `max_loaded` of them in memory at once.

    `threads` cores in all (0: every core), and `max_batch_tokens` tokens in one forward pass.
    """

    def __init__(self, *, max_loaded: int, max_batch_tokens: int, threads: int = 0) -> None:
        cores = threads or len(os.sched_getaffinity(0))
        number = min(ENGINES, cores)
        self._command = [
            "--threads", str(cores // number),
            "--max-loaded", str(max_loaded),
            "--max-batch-tokens", str(max_batch_tokens),
        ]  # fmt: skip
        self._most = CHARACTERS * max_batch_tokens
        self.answered_tokens = 0
        """Tokens of all texts that have been answered."""
        self._waiting: list[Request] = []
        self._turn = 0
        """Of the request that was served last."""
        self._gone: list[set[str]] = [set() for _ in range(number)]
        """For each engine, models that it may still hold though their files are gone."""
        self._ready = self._free = 0
        self._is_asked = False
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, args=(i,), name=f"engine-{i}", daemon=True)
            for i in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, model: str, folder: Path, text: str) -> Future[Classification]:
        """Ask for the classification of `text`; `folder` holds the model's files.

        The future raises NotFound when they are gone, StateError when the pool is closed, and
        ProviderError when the process that computed died.
        """
        cost = len(text) + SPECIAL
        request = Request(
            model, folder, "classify", (text,), cost, self._turn, Future(), is_single=True
        )
        self._ask(request)
        return request.answer

    def classify(
        self, model: str, folder: Path, texts: Sequence[str]
    ) -> Future[list[Classification]]:
        """Ask for the classifications of `texts`, one or more. The future raises what that of
        `submit` does."""
        return self._ask_many(model, folder, "classify", texts)

    def embed(self, model: str, folder: Path, texts: Sequence[Text]) -> Future[list[Embedding]]:
        """Ask for the vectors of `texts`, one or more. `model` may be a base model too.

        The future raises what that of `submit` does, NotOffered when the model has no vectors to
        give, and ConfigError for token ids that are not the model's.
        """
        return self._ask_many(model, folder, "embed", texts)

    def _ask_many(
        self, model: str, folder: Path, task: Task, texts: Sequence[Text]
    ) -> Future[list[Any]]:
        """The texts in pieces that others' requests come between."""
        costs = [SPECIAL + len(t) * (1 if isinstance(t, str) else CHARACTERS) for t in texts]
        engines, turn = len(self._threads), self._turn
        parts = pieces(costs, min(self._most, sum(costs) / engines))
        answers: list[Future[list[Any]]] = [Future() for _ in parts]
        for n, (part, answer) in enumerate(zip(parts, answers, strict=True)):
            some, cost = [texts[i] for i in part], sum(costs[i] for i in part)
            self._ask(Request(model, folder, task, some, cost, turn + n // engines, answer))
        return _whole(parts, answers)

    def _ask(self, request: Request) -> None:
        with self._changed:
            if self._closed:
                raise StateError("The server is stopping.", fix="Ask again when it is up.")
            self._waiting.append(request)
            if self._is_asked:
                self._changed.notify()
            else:
                self._is_asked = True
                self._changed.notify_all()

    def forget(self, model: str) -> None:
        """Have a model dropped whose files are going away."""
        with self._changed:
            for gone in self._gone:
                gone.add(model)

    def close(self) -> None:
        """Refuse new requests, fail the waiting ones, and end the processes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for request in self._waiting:
            request.answer.set_exception(StateError("The server is stopping."))

    def _work(self, number: int) -> None:
        """Hand batches to engine `number`, in a new process where one died.

        All engines but the first start when there is something to do, so that a server nobody
        asks stays small.
        """
        with self._changed:
            while number and not (self._is_asked or self._closed):
                self._changed.wait()
        while not self._closed:
            engine = _Engine(self._command)
            try:
                engine.await_start()
                self._serve(engine, number)
            except _Died as error:
                self._fail_waiting(error)
            finally:
                engine.close()

    def _serve(self, engine: _Engine, number: int) -> None:
        """Hand batches to an engine until the pool is closed. Raises: _Died."""
        with self._changed:
            self._ready += 1
            self._free += 1
        try:
            while requests := self._take():
                self._answer(engine, number, requests)
                with self._changed:
                    self._free += 1
        finally:
            with self._changed:
                self._ready -= 1

    def _fail_waiting(self, error: Exception) -> None:
        """Nobody waits for an engine that cannot start."""
        with self._changed:
            requests, self._waiting = ([], self._waiting) if self._ready else (self._waiting, [])
            if not self._closed:
                self._changed.wait(RESTART_SECONDS)
        for request in requests:
            request.answer.set_exception(error)

    def _take(self) -> list[Request]:
        """The next requests; sleeps while none waits. Nothing when the pool is closed."""
        with self._changed:
            self._linger()
            while not (self._waiting or self._closed):
                self._changed.wait()
                self._linger()
            self._free -= 1
            if self._closed:
                return []
            requests = share(self._waiting, self._free + 1, self._most)
            self._turn = requests[0].turn
            taken = set(map(id, requests))
            self._waiting = [r for r in self._waiting if id(r) not in taken]
            return requests

    def _linger(self) -> None:
        """While others compute, let a burst of requests come in whole. Gives the lock up."""
        until = time.monotonic() + LINGER
        seen = 0
        while seen < len(self._waiting) and self._free < self._ready and time.monotonic() < until:
            seen = len(self._waiting)
            self._changed.release()
            time.sleep(QUIET)
            self._changed.acquire()

    def _answer(self, engine: _Engine, number: int, requests: list[Request]) -> None:
        """Have requests answered. Raises: _Died, after telling those who asked."""
        with self._changed:
            gone, self._gone[number] = frozenset(self._gone[number]), set()
        first = requests[0]
        texts = [text for request in requests for text in request.texts]
        try:
            answers = engine.ask(Batch(first.model, first.folder, texts, first.task, gone))
        except Exception as error:
            for request in requests:
                request.answer.set_exception(error)
            if isinstance(error, _Died):
                raise
            return
        read = sum(a.prompt_tokens for a in answers if not isinstance(a, Exception))
        with self._changed:
            self.answered_tokens += read
        rest = iter(answers)
        for request in requests:
            _tell(request, [next(rest) for _ in request.texts])


def _tell(request: Request, answers: list[Answer]) -> None:
    """Hand the answers to its texts to whoever asked."""
    if request.answer.cancelled():
        return
    if request.is_single:
        request.answer.set_result(answers[0])
    elif error := next((a for a in answers if isinstance(a, Exception)), None):
        request.answer.set_exception(error)
    else:
        request.answer.set_result(answers)


def _whole(places: Sequence[list[int]], parts: Sequence[Future[list[Any]]]) -> Future[list[Any]]:
    """The answers of all parts in the order of their places, or the first error."""
    whole: Future[list[Any]] = Future()
    whole.set_running_or_notify_cancel()  # so that nobody cancels it while it is being set
    number = sum(map(len, places))
    found: dict[int, Any] = {}
    lock = threading.Lock()

    def take(place: list[int], part: Future[list[Any]]) -> None:
        with lock:
            if whole.done():
                return
            if error := part.exception():
                whole.set_exception(error)
                return
            found.update(zip(place, part.result(), strict=True))
            if len(found) == number:
                whole.set_result([found[i] for i in range(number)])

    for place, part in zip(places, parts, strict=True):
        part.add_done_callback(partial(take, place))
    return whole


class _Died(ProviderError):
    """The process ended by itself."""


class _Engine:
    """The process of `tunesmith.serving.engine`, from its start to its end."""

    def __init__(self, options: Sequence[str]) -> None:
        self._line, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tunesmith.serving.engine", str(theirs.fileno()), *options],
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the server, which then closes the line
            )

    def await_start(self) -> None:
        """Return when it can answer. Raises: _Died."""
        self._receive()

    def ask(self, batch: Batch) -> list[Answer]:
        """The answers to a batch. Raises whatever went wrong there; _Died."""
        try:
            self._line.send(batch)
        except OSError:
            raise self._died() from None
        answer = self._receive()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, list)
        return answer

    def close(self) -> None:
        """End the process; it finishes the batch in hand."""
        self._line.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _receive(self) -> object:
        try:
            return self._line.recv()
        except (EOFError, OSError):
            raise self._died() from None

    def _died(self) -> _Died:
        code = self._process.wait()
        return _Died(
            f"The process that computes answers ended with exit status {code}.",
            fix="Ask again; a new one is being started. The server's log may say more.",
        )
