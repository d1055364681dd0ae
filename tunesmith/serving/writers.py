"""Answers of causal models, for the server: a process writes them, started when first asked.

One process and not several as for classifiers: its passes are large, and several would each hold
the weights. Here a thread hands it requests, another takes what it tells to those who asked.
Does not know: torch, how answers are computed, who asks.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from queue import SimpleQueue
from typing import Any, TypeAlias

from tunesmith.errors import ProviderError, StateError
from tunesmith.serving.batch import Classification
from tunesmith.serving.writing import Ask, Began, Choose, Ended, Event, Piece

ENDING_SECONDS = 10
"""That a process gets to finish its pass."""


@dataclass(frozen=True, slots=True)
class Asked:
    """To the process: a request."""

    number: int
    request: Ask | Choose


@dataclass(frozen=True, slots=True)
class Stop:
    """To the process: nobody waits for that request's answer any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Gone:
    """To the process: the files of that model are going away."""

    model: str


Take: TypeAlias = Callable[[Any], None]
"""Gets an event, a Classification or an exception; from another thread than the one that asked."""


class Writers:
    """Answers for any number of causal models, `max_loaded` whole ones in memory at once.

    threads: cores that compute (0: every core). cache_tokens: of all texts that are being written
    with one model (0: as many as a third of the memory holds that it leaves).
    """

    def __init__(self, *, max_loaded: int, threads: int = 0, cache_tokens: int = 0) -> None:
        cores = threads or len(os.sched_getaffinity(0))
        self._command = [
            "--threads", str(cores),
            "--max-loaded", str(max_loaded),
            "--cache-tokens", str(cache_tokens),
        ]  # fmt: skip
        self.written_tokens = 0
        """Of all answers so far."""
        self.read_tokens = 0
        """Of all prompts so far."""
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._closed = False

    async def write(self, ask: Ask) -> AsyncIterator[Event]:
        """The answer to `ask`, event by event; closing the iterator stops the writing.

        Raises: DataError when the template refuses the messages; ConfigError for what is impossible
        or too long; NotFound when the model's files are gone; NotOffered for what it cannot do;
        ProviderError when the process that wrote died; StateError when the server is stopping.
        """
        queue: asyncio.Queue[Event | Exception] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        stop = self._ask(ask, lambda told: _hand_over(loop, queue, told))
        left = ask.n
        try:
            while left:
                told = await queue.get()
                if isinstance(told, Exception):
                    left = 0
                    raise told
                self._count(told)
                left -= isinstance(told, Ended)
                yield told
        finally:
            if left:
                stop()

    def choose(self, choose: Choose) -> Future[Classification]:
        """The probabilities of a model's labels. The future raises what `write` does."""
        answer: Future[Classification] = Future()

        def take(told: Classification | Exception) -> None:
            if not answer.set_running_or_notify_cancel():
                return
            if isinstance(told, Exception):
                answer.set_exception(told)
            else:
                with self._lock:
                    self.read_tokens += told.prompt_tokens
                answer.set_result(told)

        stop = self._ask(choose, take)
        answer.add_done_callback(lambda done: stop() if done.cancelled() else None)
        return answer

    def forget(self, model: str) -> None:
        """Have a model dropped whose files are going away."""
        with self._lock:
            if self._process is not None:
                self._process.send(Gone(model))

    def close(self) -> None:
        """Refuse new requests, fail those that wait, and end the process."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            process.close()

    def _ask(self, request: Ask | Choose, take: Take) -> Callable[[], None]:
        """Have a request answered; returns what stops that. Raises: StateError."""
        with self._lock:
            if self._closed:
                raise StateError("The server is stopping.", fix="Ask again when it is up.")
            if self._process is None or self._process.is_dead:
                self._process = _Process(self._command)
            process = self._process
            number = process.ask(request, take)
        return lambda: process.stop(number)

    def _count(self, told: Event) -> None:
        with self._lock:
            if isinstance(told, Began):
                self.read_tokens += told.prompt_tokens
            elif isinstance(told, Piece):
                self.written_tokens += len(told.tokens)


def _hand_over(
    loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[Event | Exception], told: Any
) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(queue.put_nowait, told)


@dataclass
class _Waiting:
    """Who asked, and how many answers he still waits for."""

    take: Take
    left: int


class _Process:
    """The process of `tunesmith.serving.writer`, from its start to its end."""

    def __init__(self, options: Sequence[str]) -> None:
        self._line, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tunesmith.serving.writer", str(theirs.fileno()), *options],
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the server, which then closes the line
            )
        self.is_dead = False
        self._is_closing = False
        self._lock = threading.Lock()
        self._takers: dict[int, _Waiting] = {}
        self._number = 0
        self._outbox: SimpleQueue[Asked | Stop | Gone | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=work, name=f"writer-{name}", daemon=True)
            for name, work in (("out", self._write), ("in", self._read))
        ]
        for thread in self._threads:
            thread.start()

    def ask(self, request: Ask | Choose, take: Take) -> int:
        """Send a request, of which `take` gets everything that is told; its number."""
        with self._lock:
            self._number += 1
            number = self._number
            if not self.is_dead:
                choices = request.n if isinstance(request, Ask) else 1
                self._takers[number] = _Waiting(take, choices)
                self._outbox.put(Asked(number, request))
                return number
        take(self._ended())
        return number

    def stop(self, number: int) -> None:
        """Have nothing more told about a request."""
        with self._lock:
            if self._takers.pop(number, None) is not None:
                self._outbox.put(Stop(number))

    def send(self, message: Gone) -> None:
        """Tell the process something that it does not answer."""
        self._outbox.put(message)

    def close(self) -> None:
        """End the process; it finishes its pass."""
        self._is_closing = True
        self._outbox.put(None)
        try:
            self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for thread in self._threads:
            thread.join()
        self._line.close()

    def _write(self) -> None:
        """Hand messages over, each as soon as there is room in the line; None is the last."""
        with suppress(OSError):  # it died, as the other thread sees, too
            while True:
                message = self._outbox.get()
                self._line.send(message)
                if message is None:
                    return

    def _read(self) -> None:
        """Take what the process tells to those who asked, until it ends."""
        with suppress(EOFError, OSError):
            self._line.recv()  # it is ready
            while True:
                for number, told in self._line.recv():
                    self._take(number, told)
        error = self._ended()
        with self._lock:
            self.is_dead = True
            takers, self._takers = self._takers, {}
        self._outbox.put(None)
        for waiting in takers.values():
            waiting.take(error)

    def _take(self, number: int, told: Any) -> None:
        with self._lock:
            waiting = self._takers.get(number)
            if waiting is None:
                return
            if isinstance(told, Ended):
                waiting.left -= 1
            if isinstance(told, (Exception, Classification)) or not waiting.left:
                del self._takers[number]
        waiting.take(told)

    def _ended(self) -> Exception:
        """Why nothing more is told."""
        code = self._process.wait()
        if self._is_closing:
            return StateError("The server is stopping.", fix="Ask again when it is up.")
        return ProviderError(
            f"The process that writes answers ended with exit status {code}.",
            fix="Ask again; a new one is being started. The server's log may say more.",
        )
