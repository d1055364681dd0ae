"""Asking again: which failures pass, how long to wait, when to give up, how many ask at once.

Knows: how servers say "later" (Retry-After, x-should-retry, x-ratelimit-…).
Does not know: what is asked, or whether asking twice does harm: whoever calls decides that.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tunesmith.errors import ProviderError, TunesmithError

T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 0.5, 20.0
"""Seconds between two tries where the server does not say: each twice as long as the one before."""
SILENCE = 120.0
"""Seconds without any good answer after which a server that has answered before is given up."""
STRANGER = 3
"""Tries at a server that has never answered: its address may be wrong."""
BUSY = 900.0
"""Seconds for which a server may go on asking to be asked later."""
SPENT = ("insufficient_quota", "daily_rate_limit_exceeded", "billing_hard_limit_reached")
"""Codes of 429 that do not pass by waiting."""
PASSING = (408, 409, 429)
_PART = re.compile(r"([\d.]+)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

Tell = Callable[[str], None]
"""Is told, in a sentence, that something is waited for."""


def passes(error: ProviderError) -> bool:
    """Whether the same request may succeed later."""
    if error.headers.get("x-should-retry") == "false" or error.code in SPENT:
        return False
    return error.status is None or error.status >= 500 or error.status in PASSING


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait; None where it does not say."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "")
        try:
            return max(0.0, float(text) * scale)
        except ValueError:
            pass
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError, TypeError):
        return None


def until_reset(headers: Mapping[str, str]) -> float:
    """Seconds until more may be asked, where the server says that nothing is left; else 0."""
    waits = [0.0]
    for what in ("requests", "tokens"):
        if headers.get(f"x-ratelimit-remaining-{what}") == "0":
            parts = _PART.findall(headers.get(f"x-ratelimit-reset-{what}", ""))
            waits.append(sum(float(number) * _SECONDS[unit] for number, unit in parts))
    return min(max(waits), BUSY)


class Pace:
    """How many requests are under way at once: half as many after a refusal, else more.

    One more for each answer until the first refusal; from then on one more a round (additive
    increase, multiplicative decrease).
    first  at the start; 0: as many as are wanted from the start.
    """

    def __init__(self, first: int) -> None:
        self._room = float(first)
        self._is_refused = False
        self._under_way = 0
        self._cut_at = 0.0
        self._not_before = 0.0
        self._changed = threading.Condition()

    @property
    def room(self) -> int:
        """Requests that may be under way now; 0: any number."""
        return int(self._room)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until one more may be asked. An error that leaves this block is told to `slow`."""
        with self._changed:
            while (wait := self._blocked()) is not None:
                self._changed.wait(wait or None)
            self._under_way += 1
        began = time.monotonic()
        try:
            yield
        except ProviderError as error:
            self._slow(began, error)
            raise
        else:
            self._more()
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def hold(self, seconds: float) -> None:
        """Let nobody ask for so long."""
        if seconds > 0:
            with self._changed:
                self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _blocked(self) -> float | None:
        """Seconds to wait at most before looking again, 0: until told; None: go."""
        early = self._not_before - time.monotonic()
        if early > 0:
            return early
        return 0.0 if self._room and self._under_way >= int(self._room) else None

    def _more(self) -> None:
        with self._changed:
            if self._room:
                self._room += 1 / self._room if self._is_refused else 1
                self._changed.notify_all()

    def _slow(self, began: float, error: ProviderError) -> None:
        if error.status not in (None, 429, 503):
            return
        with self._changed:
            if began >= self._cut_at:  # those that were under way at the last cut say nothing new
                self._room = max(1.0, (self._room or self._under_way) / 2)
                self._cut_at = time.monotonic()
                self._is_refused = True
        if error.status == 429:
            self.hold(asked_wait(error.headers) or 0.0)


class Patience:
    """Asks again while that may help. Usable from several threads.

    is_gone  whether the other side will surely not come back.
    """

    def __init__(self, tell: Tell, is_gone: Callable[[], bool]) -> None:
        self.tell = tell
        self._is_gone = is_gone
        self._heard: float | None = None
        self._told_at = -BUSY

    @property
    def has_heard(self) -> bool:
        """Whether the server has ever answered."""
        return self._heard is not None

    def heard(self) -> None:
        """The server has answered."""
        self._heard = time.monotonic()

    def call(
        self, ask: Callable[[], T], *, before_again: Callable[[], T | None] = lambda: None
    ) -> T:
        """What `ask` returns, asked again while it fails in a way that passes.

        before_again  looks, before the second and each later try, whether the first one was done
                      although its answer was lost; what it finds is returned.
        Raises: what `ask` raises, once waiting is of no use.
        """
        began, tries = time.monotonic(), 0
        while True:
            try:
                done = before_again() if tries else None
                if done is None:
                    done = ask()
            except ProviderError as error:
                tries += 1
                self._wait(error, tries, began)
                continue
            except TunesmithError:
                self.heard()  # a refusal is an answer
                raise
            self.heard()
            return done

    def _wait(self, error: ProviderError, tries: int, began: float) -> None:
        """Sleep, or raise the error where that is of no use."""
        if not passes(error) or self._is_gone():
            raise error
        if error.status is not None:
            self._heard = self._heard or began
        now, busy = time.monotonic(), error.status == 429
        asked = asked_wait(error.headers)
        wait = asked if asked is not None else _backoff(tries)
        if self._heard is None and tries >= STRANGER:
            raise error
        quiet = now - max(self._heard or began, began)
        if quiet + (wait if busy else 0) > (BUSY if busy else SILENCE):
            raise error
        self._say(error, wait)
        time.sleep(wait)

    def _say(self, error: ProviderError, wait: float) -> None:
        now = time.monotonic()
        if wait < 1 or now - self._told_at < LONGEST_WAIT:
            return
        self._told_at = now
        what = error.what.rstrip(".")
        self.tell(
            f"{what}. Asking again in {wait:,.0f} s"
            if wait >= 1.5
            else f"{what}. Asking again in a moment"
        )


def _backoff(tries: int) -> float:
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(tries - 1, 16))
    return wait * random.uniform(0.75, 1.0)
