"""Waiting: as long as the server asks, longer each time, and not for ever."""

import threading

import pytest

from tunesmith.errors import NotFound, ProviderError
from tunesmith.providers import patience as module
from tunesmith.providers.patience import Pace, Patience, asked_wait, until_reset


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    monkeypatch.setattr(module, "time", clock := Clock())
    return clock


def failing(*errors: ProviderError):
    rest = list(errors)

    def ask() -> str:
        if rest:
            raise rest.pop(0)
        return "done"

    return ask


def error(status: int | None = None, **more) -> ProviderError:
    return ProviderError("It failed.", status=status, **more)


def patient(told: list[str] | None = None) -> Patience:
    found = Patience((told if told is not None else []).append, lambda: False)
    found.heard()
    return found


def test_the_server_says_how_long(clock):
    told: list[str] = []
    busy = error(429, headers={"retry-after": "7"})
    assert patient(told).call(failing(busy, busy)) == "done"
    assert clock.slept == [7, 7]
    assert told == ["It failed. Asking again in 7 s"]


def test_otherwise_longer_each_time(clock):
    assert patient().call(failing(*[error(500)] * 5)) == "done"
    for slept, usual in zip(clock.slept, (0.5, 1, 2, 4, 8), strict=True):
        assert 0.75 * usual <= slept <= usual


def test_a_silent_server_is_given_up_and_a_busy_one_later(clock):
    for status, most in ((None, module.SILENCE), (503, module.SILENCE), (429, module.BUSY)):
        began, found = clock.now, patient()
        with pytest.raises(ProviderError):
            found.call(failing(*[error(status)] * 500))
        assert most - module.LONGEST_WAIT <= clock.now - began <= most + module.LONGEST_WAIT


def test_a_server_that_never_answered_is_not_waited_for_long(clock):
    with pytest.raises(ProviderError):
        Patience(print, lambda: False).call(failing(*[error()] * 9))
    assert len(clock.slept) == module.STRANGER - 1


@pytest.mark.parametrize(
    "final",
    [
        error(429, code="insufficient_quota"),
        error(429, code="daily_rate_limit_exceeded"),
        error(501, headers={"x-should-retry": "false"}),
    ],
)
def test_what_does_not_pass_is_not_waited_for(clock, final):
    with pytest.raises(ProviderError):
        patient().call(failing(final))
    assert clock.slept == []


def test_refusals_and_dead_servers_are_told_at_once(clock):
    def refuse() -> None:
        raise NotFound("no")

    with pytest.raises(NotFound):
        patient().call(refuse)
    gone = Patience(print, lambda: True)
    gone.heard()
    with pytest.raises(ProviderError):
        gone.call(failing(error()))
    assert clock.slept == []


def test_what_was_done_although_the_answer_was_lost_is_not_done_again(clock):
    found = iter([None, "found"])
    ask = failing(error(), error(), error())
    assert patient().call(ask, before_again=lambda: next(found)) == "found"
    assert ask.__closure__ and len(ask.__closure__[0].cell_contents) == 1


def test_waits_in_every_form(monkeypatch, clock):
    assert asked_wait({}) is None
    assert asked_wait({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert asked_wait({"retry-after": "Thu, 01 Jan 1970 00:17:00 GMT"}) == 20
    assert asked_wait({"retry-after": "soon"}) is None
    assert until_reset({"x-ratelimit-remaining-requests": "3"}) == 0
    left = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m12s"}
    assert until_reset(left) == 72
    assert until_reset({**left, "x-ratelimit-reset-requests": "120ms"}) == pytest.approx(0.12)


def test_the_pace_halves_once_a_round_and_grows_again():
    pace = Pace(8)
    for _ in range(4):
        with pace.turn():
            pass
    assert pace.room == 12  # until the first refusal one more for each answer
    both = threading.Barrier(2)

    def refused() -> None:
        with pytest.raises(ProviderError), pace.turn():
            both.wait()
            raise error(429)

    threads = [threading.Thread(target=refused) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pace.room == 6
    for _ in range(7):
        with pace.turn():
            pass
    assert pace.room == 7


def test_no_more_than_the_room_are_under_way():
    pace, under_way, most = Pace(2), [], []
    pace._is_refused = True

    def ask() -> None:
        with pace.turn():
            under_way.append(1)
            most.append(len(under_way))
            threading.Event().wait(0.01)
            under_way.pop()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 4  # two at first, one more a round
