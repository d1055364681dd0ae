import pickle

import pytest

from tunesmith.errors import NotFound
from tunesmith.serving.batch import Batch
from tunesmith.serving.engine import Engine


@pytest.fixture
def engine():
    return Engine(max_loaded=2, max_batch_tokens=256)


def test_answers_stand_in_the_order_of_the_texts(engine, folders):
    texts = ["late " * 30, "a", "where is it", "b " * 20]
    together = engine.answer(Batch("one", folders["one"], texts))
    for text, answer in zip(texts, together, strict=True):
        (alone,) = engine.answer(Batch("one", folders["one"], [text]))
        assert answer.logprobs == pytest.approx(alone.logprobs, abs=1e-5)
        assert answer.prompt_tokens == alone.prompt_tokens


def test_the_least_recently_used_model_makes_room(engine, folders):
    for name in ("one", "two", "one", "three"):
        engine.answer(Batch(name, folders[name], ["hello"]))
    assert list(engine.models) == ["one", "three"]


def test_what_is_cut_is_said(engine, folders):
    (answer,) = engine.answer(Batch("one", folders["one"], ["coffee " * 100]))
    assert (answer.prompt_tokens, answer.cut_tokens) == (32, 70)


def test_a_model_that_is_gone_is_dropped(engine, folders):
    engine.answer(Batch("one", folders["one"], ["hello"]))
    engine.answer(Batch("two", folders["two"], ["hello"], frozenset({"one", "never held"})))
    assert list(engine.models) == ["two"]


def test_errors_survive_the_way_between_processes():
    error = pickle.loads(pickle.dumps(NotFound("Gone.", fix="Train it.", param="model")))
    assert (str(error), error.fix, error.param) == ("Gone. Train it.", "Train it.", "model")
