"""The pool with real models: batching changes no answer, memory is bounded, errors arrive."""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunesmith import catalog
from tunesmith.errors import NotFound, StateError
from tunesmith.model import classifier
from tunesmith.serving.pool import SPECIAL, EnginePool, Request, share
from tunesmith.serving.shelf import Shelf

LABELS = ["delivery", "billing", "technical"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three models that differ in their heads."""
    out = {}
    model = classifier.from_base(catalog.find("minilm-l6"), LABELS, max_length=32)
    for seed, name in enumerate(("one", "two", "three")):
        torch.manual_seed(seed)
        model.head.reset_parameters()
        out[name] = tmp_path_factory.mktemp("models") / name
        model.save(out[name])
    return out


@pytest.fixture
def pool():
    pool = EnginePool(max_loaded=2, max_batch_tokens=256, threads=2)
    yield pool
    pool.close()


def test_many_at_once_are_answered_as_each_alone(pool, folders):
    texts = ["late " * (i % 40 + 1) for i in range(80)]
    answers = [pool.submit("one", folders["one"], text) for text in texts]
    model = classifier.load(folders["one"])
    for text, answer in zip(texts, answers, strict=True):
        alone = torch.log_softmax(model.over(model, model.tokens([text])), 1)[0]
        got = answer.result(30)
        assert got.labels == tuple(LABELS)
        assert torch.allclose(torch.tensor(got.logprobs), alone, atol=1e-5)


def test_the_least_recently_used_model_makes_room(pool, folders):
    for name in ("one", "two", "one", "three"):
        pool.submit(name, folders[name], "hello").result(30)
    assert pool.loaded() == ["one", "three"]
    mixed = [pool.submit(name, folders[name], "hello") for name in ("two", "one", "three") * 4]
    wait(mixed, timeout=60)
    for first, later in zip(mixed[:3], mixed[3:6], strict=True):
        assert first.result().logprobs == pytest.approx(later.result().logprobs, abs=1e-5)


def test_what_is_cut_is_said(pool, folders):
    answer = pool.submit("one", folders["one"], "coffee " * 100).result(30)
    assert answer.prompt_tokens == 32
    assert answer.cut_tokens == 70


def test_a_missing_model_fails_only_its_own_requests(pool, folders, tmp_path):
    good = pool.submit("one", folders["one"], "hello")
    bad = pool.submit("gone", tmp_path / "gone", "hello")
    after = pool.submit("one", folders["one"], "hello")
    with pytest.raises(NotFound):
        bad.result(30)
    assert good.result(30).logprobs == pytest.approx(after.result(30).logprobs, abs=1e-5)


def test_a_forgotten_model_is_read_anew(pool, folders):
    pool.submit("one", folders["one"], "hello").result(30)
    pool.forget("one")
    pool.submit("two", folders["two"], "hello").result(30)
    assert pool.loaded() == ["two"]


def test_a_closed_pool_refuses(folders):
    pool = EnginePool(max_loaded=1, max_batch_tokens=64)
    pool.close()
    with pytest.raises(StateError):
        pool.submit("one", folders["one"], "hello")


def waiting(*costs, model="one"):
    return [Request(model, Path(), "x" * (cost - SPECIAL), Future()) for cost in costs]


def test_one_of_two_free_threads_takes_half_of_the_work_near_the_oldest_in_length():
    requests = waiting(50, 10, 52, 90, 12, 54, 11, 49, 8 + 64)
    taken = share(requests, 2)
    assert taken[0] is requests[0]
    assert [r.cost for r in taken] == [50, 49, 52]
    assert sum(r.cost for r in taken) <= sum(r.cost for r in requests) / 2


@given(
    st.lists(st.tuples(st.integers(SPECIAL, 90), st.sampled_from("ab")), min_size=1, max_size=40),
    st.integers(1, 4),
)
def test_a_share_holds_the_oldest_and_only_its_model_and_all_are_served(asked, among):
    left = [r for cost, model in asked for r in waiting(cost, model=model)]
    while left:
        taken = share(left, among)
        assert left[0] in taken
        assert len({r.model for r in taken}) == 1
        left = [r for r in left if r not in taken]


def test_a_model_asked_for_by_many_threads_is_loaded_once(folders):
    shelf = Shelf(2)
    with ThreadPoolExecutor(4) as threads:
        models = list(threads.map(lambda _: shelf.get("one", folders["one"]), range(8)))
    assert all(model is models[0] for model in models)


def test_a_model_that_could_not_be_loaded_is_tried_again(folders, tmp_path):
    shelf = Shelf(2)
    with pytest.raises(NotFound):
        shelf.get("one", tmp_path / "gone")
    assert shelf.get("one", folders["one"]).card.labels == tuple(LABELS)
