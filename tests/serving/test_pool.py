"""The pool with real processes and real models: batching changes no answer, errors arrive."""

import os
import signal
import subprocess
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.errors import ConfigError, NotFound, ProviderError, StateError
from tunesmith.model import classifier
from tunesmith.serving.pool import EnginePool, Request, pieces, share


@pytest.fixture(scope="module")
def pool():
    pool = EnginePool(max_loaded=2, max_batch_tokens=256, threads=2)
    yield pool
    pool.close()


def engines():
    found = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "serving.engine"], capture_output=True, text=True
    )
    return [int(pid) for pid in found.stdout.split()]


def test_many_at_once_are_answered_as_each_alone(pool, folders):
    texts = ["late " * (i % 40 + 1) for i in range(80)]
    answers = [pool.submit("one", folders["one"], text) for text in texts]
    model = classifier.load(folders["one"])
    for text, answer in zip(texts, answers, strict=True):
        alone = torch.log_softmax(model.over(model, model.tokens([text])), 1)[0]
        got = answer.result(60)
        assert got.labels == model.card.labels
        assert torch.allclose(torch.tensor(got.logprobs), alone, atol=1e-5)


def test_a_missing_model_fails_only_its_own_requests(pool, folders, tmp_path):
    good = pool.submit("one", folders["one"], "hello")
    bad = pool.submit("gone", tmp_path / "gone", "hello")
    after = pool.submit("one", folders["one"], "hello")
    with pytest.raises(NotFound, match="are gone.*Train it again") as caught:
        bad.result(60)
    assert caught.value.fix == "Train it again."
    assert good.result(60).logprobs == pytest.approx(after.result(60).logprobs, abs=1e-5)


def test_a_forgotten_model_is_read_anew(pool, folders, tmp_path):
    assert pool.submit("moved", folders["two"], "hello").result(60)
    pool.forget("moved")
    with pytest.raises(NotFound):
        for _ in range(9):  # whichever engine takes it
            pool.submit("moved", tmp_path / "gone", "hello").result(60)


def test_an_engine_that_dies_fails_its_request_and_comes_back(folders):
    before = set(engines())
    pool = EnginePool(max_loaded=1, max_batch_tokens=64, threads=1)
    try:
        first = pool.submit("one", folders["one"], "hello").result(60)
        (mine,) = set(engines()) - before
        os.kill(mine, signal.SIGKILL)
        with pytest.raises(ProviderError, match="ended with exit status -9"):
            pool.submit("one", folders["one"], "hello").result(60)
        assert pool.submit("one", folders["one"], "hello").result(60) == first
    finally:
        pool.close()


def test_a_closed_pool_refuses_and_leaves_no_process(folders):
    before = set(engines())
    pool = EnginePool(max_loaded=1, max_batch_tokens=64)
    pool.submit("one", folders["one"], "hello").result(60)
    pool.close()
    with pytest.raises(StateError):
        pool.submit("one", folders["one"], "hello")
    assert set(engines()) <= before


def test_a_list_is_embedded_in_its_order_and_lets_others_in_between(pool, folders):
    texts = ["late " * (i % 40 + 1) for i in range(160)]
    whole = pool.embed("one", folders["one"], texts)
    assert pool.submit("one", folders["one"], "hello").result(60)
    assert not whole.done()
    model = classifier.load(folders["one"])
    expected = model.over(model.features, model.tokens(texts[:40]))
    for i, answer in enumerate(whole.result(60)):
        vector = torch.frombuffer(bytearray(answer.vector), dtype=torch.float32)
        assert torch.allclose(vector, expected[i % 40], atol=1e-5)


def test_a_list_is_labelled_in_its_order(pool, folders):
    texts = ["late " * (i % 40 + 1) for i in range(160)]
    whole = pool.classify("one", folders["one"], texts)
    alone = [pool.submit("one", folders["one"], text).result(60) for text in texts[:3]]
    found = whole.result(60)
    assert len(found) == 160
    for text, answer, single in zip(texts, found, alone, strict=False):
        assert answer.prompt_tokens == single.prompt_tokens, text
        assert answer.logprobs == pytest.approx(single.logprobs, abs=1e-5)
    with pytest.raises(NotFound):
        pool.classify("gone", Path("/gone"), texts).result(60)


def test_wrong_token_ids_fail_only_their_own_list(pool, folders):
    lists = [["hello"], ["hello", [1, 2]], [[101, 7592, 102]]]
    first, second, third = [pool.embed("one", folders["one"], texts) for texts in lists]
    with pytest.raises(ConfigError, match=r"begin with \[101\] and end with \[102\]"):
        second.result(60)
    assert first.result(60)[0].prompt_tokens == third.result(60)[0].prompt_tokens == 3


def request(cost, *, model="one", task="classify", turn=0):
    return Request(model, Path(), task, ("",), cost, turn, Future())


def test_one_of_two_free_engines_takes_half_of_the_work_near_the_oldest_in_length():
    requests = [request(cost) for cost in (50, 10, 52, 90, 12, 54, 11, 49, 72)]
    taken = share(requests, 2)
    assert taken[0] is requests[0]
    assert [r.cost for r in taken] == [50, 49, 52]
    assert sum(r.cost for r in taken) <= sum(r.cost for r in requests) / 2


def test_no_engine_takes_more_than_it_may_but_for_a_single_one():
    assert [r.cost for r in share([request(cost) for cost in (50, 40, 30)], 1, 100)] == [50, 40]
    assert [r.cost for r in share([request(cost) for cost in (50, 40, 30)], 1, 20)] == [50]


def test_the_first_in_turn_is_taken_and_none_of_another_task():
    late = [request(10, task="embed", turn=n) for n in (2, 1, 2)]
    one = request(10, turn=1)
    assert share([*late, one], 1)[0] is late[1]
    assert share([late[0], one, late[2]], 1) == [one]


@given(
    st.lists(
        st.tuples(st.integers(1, 90), st.sampled_from("ab"), st.integers(0, 3)),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 4),
)
def test_a_share_holds_the_first_and_only_its_model_and_all_are_served(asked, among):
    left = [request(cost, model=model, turn=turn) for cost, model, turn in asked]
    while left:
        taken = share(left, among, 100)
        assert taken[0] is next(r for r in left if r.turn == min(r.turn for r in left))
        assert len({r.model for r in taken}) == 1
        left = [r for r in left if r not in taken]


@given(st.lists(st.integers(1, 90), min_size=1), st.integers(1, 200))
def test_pieces_hold_each_text_once_and_no_more_than_their_size(costs, size):
    cut = pieces(costs, size)
    assert sorted(i for piece in cut for i in piece) == list(range(len(costs)))
    assert all(len(piece) == 1 or sum(costs[i] for i in piece) <= size for piece in cut)
    ordered = [costs[i] for piece in cut for i in piece]
    assert ordered == sorted(costs)
