import json
import pickle
import shutil

import pytest
import torch

from tunesmith.errors import NotFound
from tunesmith.model import classifier
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


@pytest.mark.parametrize("here", ["fp32", "bf16"])
def test_a_model_trained_in_bf16_answers_in_what_is_fast_here(
    engine, folders, tmp_path, monkeypatch, here
):
    model = classifier.load(folders["one"])
    shutil.copytree(folders["one"], tmp_path / "rounded")
    card = json.loads((tmp_path / "rounded/tunesmith.json").read_text())
    (tmp_path / "rounded/tunesmith.json").write_text(json.dumps({**card, "precision": "bf16"}))
    monkeypatch.setattr("tunesmith.serving.engine.faster", lambda: (here, "measured"))
    texts = ["where is my parcel", "hello"]
    answers = engine.answer(Batch("rounded", tmp_path / "rounded", texts))
    exact = torch.log_softmax(model.over(model, model.tokens(texts)), dim=1)
    gap = (torch.tensor([answer.logprobs for answer in answers]) - exact).abs().max()
    assert gap < 1e-5 if here == "fp32" else 1e-5 < gap < 1e-2
