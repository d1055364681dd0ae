"""Requests for any number of models: each is made a job of its model's scheduler.

They are let in in their order. One whose model is not in memory and finds no room there waits until
one that is in use has nothing left to do, and so do those behind it.
Does not know: who asked, how tokens are computed.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

from tunesmith.errors import ProviderError, TunesmithError
from tunesmith.serving.causal.jobs import Request, job_of
from tunesmith.serving.causal.memory import memory_left
from tunesmith.serving.causal.models import Library, Network
from tunesmith.serving.causal.scheduler import Job, Scheduler, Send

LOG = logging.getLogger(__name__)
SHARE = 3
"""Caches get one part in so many of the memory that a model leaves."""
LOOSE = 2
"""Bytes that they take at most, by those of the tokens in them: slots are not always full."""
LEAST_TOKENS = 1024
"""That a cache holds, however little memory is left."""
AT_ONCE = 16
"""Requests let in between two passes: to render their prompts takes a while."""


@dataclass(frozen=True)
class _Asked:
    number: int
    request: Request
    send: Send


class Desk:
    """At most `max_loaded` models in memory; `cache_tokens` in each one's caches (0: by memory)."""

    def __init__(self, *, max_loaded: int, cache_tokens: int = 0) -> None:
        self._cache_tokens = cache_tokens
        self._schedulers: dict[int, tuple[Network, Scheduler]] = {}
        """By the network's identity."""
        self._library = Library(max_loaded=max_loaded, in_use=self._is_used)
        self._waiting: deque[_Asked] = deque()
        self._jobs: dict[int, Job] = {}

    @property
    def is_busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._waiting) or any(s.is_busy for _, s in self._schedulers.values())

    def add(self, number: int, request: Request, send: Send) -> None:
        """Take a request; `send` gets what there is to tell, at the latest an exception."""
        self._waiting.append(_Asked(number, request, send))

    def stop(self, number: int) -> None:
        """Nobody waits for that request's answer any more."""
        self._waiting = deque(asked for asked in self._waiting if asked.number != number)
        if job := self._jobs.pop(number, None):
            job.is_over = True

    def forget(self, model: str) -> None:
        """Drop a model whose files are going away."""
        self._library.forget(model)

    def step(self) -> None:
        """One pass of every network that has something to do."""
        self._let_in()
        for _, scheduler in self._schedulers.values():
            try:
                scheduler.step()
            except Exception as error:  # noqa: BLE001  (the others go on)
                scheduler.fail(_told(error))
        self._jobs = {number: job for number, job in self._jobs.items() if not job.is_over}

    def _let_in(self) -> None:
        self._schedulers = {key: v for key, v in self._schedulers.items() if v[1].is_busy}
        for _ in range(min(AT_ONCE, len(self._waiting))):
            asked = self._waiting.popleft()
            try:
                model = self._library.find(asked.request.model, asked.request.folder)
                if model is None:
                    self._waiting.appendleft(asked)
                    return
                scheduler = self._scheduler(model.network)
                job = job_of(asked.request, model, scheduler.context, asked.send)
                self._jobs[asked.number] = job
                scheduler.add(job)
            except Exception as error:  # noqa: BLE001  (it is about this request only)
                asked.send(_told(error))

    def _is_used(self, network: Network) -> bool:
        found = self._schedulers.get(id(network))
        return found is not None and found[1].is_busy

    def _scheduler(self, network: Network) -> Scheduler:
        if id(network) not in self._schedulers:
            tokens = self._cache_tokens or _affordable(network)
            self._schedulers[id(network)] = network, Scheduler(network, most_tokens=tokens)
        return self._schedulers[id(network)][1]


def _told(error: Exception) -> TunesmithError:
    if isinstance(error, TunesmithError):
        return error
    LOG.error("a request failed", exc_info=error)
    return ProviderError(
        f"The model could not answer: {type(error).__name__}: {error}.",
        fix="The server's log has the whole story.",
    )


def _affordable(network: Network) -> int:
    """Tokens that the caches of a network may hold."""
    left = memory_left(network.device) // SHARE
    return max(LEAST_TOKENS, left // (LOOSE * network.reads.bytes_per_token))
