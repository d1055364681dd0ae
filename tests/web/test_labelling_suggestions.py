"""The model that helps labelling: which rows come first, when it rests, stops and is in trouble."""

import asyncio
import math
from types import SimpleNamespace

import pytest

from tunesmith.settings import Settings
from tunesmith.store.labelling_rows import LabellingRow, LabellingTaskRow
from tunesmith.store.store import open_store
from tunesmith.web.api import Refused
from tunesmith.web.labelling import suggestions


class Api:
    """A model that is `sure` of texts as they say, such as "0.7"; "odd" ones it cannot be asked."""

    def __init__(self):
        self.asked = []
        self.error = None

    async def post(self, path, body):
        assert path == "/chat/completions"
        text = body["messages"][0]["content"]
        self.asked.append(text)
        if self.error or text == "odd":
            raise self.error or Refused(400, "The text is too long.")
        sure = float(text) if text[:1] == "0" else 0.5
        top = [("a", sure), ("b", 1 - sure)]
        told = [{"token": label, "logprob": math.log(p)} for label, p in top]
        return {"choices": [{"logprobs": {"content": [{"top_logprobs": told}]}}]}

    async def get(self, path):
        return {
            "data": [
                {"id": "ft:one", "tunesmith": {"answers": "labels"}},
                {"id": "ft:two", "tunesmith": {"answers": "text"}},
                {"id": "remote"},
            ]
        }


@pytest.fixture
def store(tmp_path):
    store = open_store(Settings(data_dir=tmp_path))
    yield store
    store.close()


@pytest.fixture
def visit(store):
    return SimpleNamespace(
        store=store.of("proj_default"), api=Api(), check_change=lambda: None, may_change=True
    )


def a_task(store, texts, **fields):
    given = {"key_id": "k", "name": "t", "labels": ["a", "b"], "helper": "ft:one", **fields}
    task = store.labelling.create(LabellingTaskRow(**given))
    store.labelling.change(task.id, to="importing")
    made = [
        LabellingRow(task_id=task.id, number=n, text=text, rank=1 + n / 1000)
        for n, text in enumerate(texts, 1)
    ]
    store.labelling.add_rows(task.id, made)
    return store.labelling.change(task.id, to="ready")


async def until(true):
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


def test_rows_it_is_least_certain_of_come_first_and_what_it_says_is_kept(visit, store):
    task = a_task(store, ["0.99", "0.6", "odd", "0.9"])

    async def labelling():
        leave = suggestions.join(visit, task)
        again = suggestions.join(visit, task)  # two pages, one helper
        await until(lambda: store.labelled.num_asked(task.id) == 4)
        again()
        leave()

    asyncio.run(labelling())
    assert sorted(visit.api.asked) == ["0.6", "0.9", "0.99", "odd"]
    given = [store.labels.hand_out(task.id, f"p{n}") for n in range(4)]
    assert [row.text for row in given] == ["0.6", "0.9", "0.99", "odd"]
    assert (given[0].suggestion, round(given[0].certainty, 6)) == ("a", 0.6)


def test_it_works_ahead_and_rests(visit, store, monkeypatch):
    monkeypatch.setattr(suggestions, "AT_ONCE", 2)
    monkeypatch.setattr(suggestions, "AHEAD", 4)
    monkeypatch.setattr(suggestions, "REST_SECONDS", 0.01)
    task = a_task(store, ["0.6"] * 9)

    async def labelling():
        leave = suggestions.join(visit, task)
        await until(lambda: store.labelled.num_asked(task.id) == 4)
        await asyncio.sleep(0.1)
        assert len(visit.api.asked) == 4
        for _ in range(2):
            row = store.labels.hand_out(task.id, "anna")
            store.labels.answer(task.id, row.id, "anna", "a")
        await until(lambda: len(visit.api.asked) == 6)
        leave()
        await asyncio.sleep(0.1)
        assert len(visit.api.asked) == 6

    asyncio.run(labelling())


def test_a_model_that_does_not_answer_is_told_and_stops_nobody(visit, store):
    task = a_task(store, ["0.6", "0.7"])
    visit.api.error = Refused(404, "The model 'ft:one' does not exist.")

    async def labelling():
        leave = suggestions.join(visit, task)
        await until(lambda: suggestions.trouble(task.id))
        assert "does not exist" in suggestions.trouble(task.id)
        leave()

    asyncio.run(labelling())
    assert store.labels.hand_out(task.id, "anna").text == "0.6"
    assert suggestions.trouble(task.id) == ""


def test_without_it_the_order_is_random_again(visit, store):
    task = a_task(store, ["0.6", "0.7"])
    rows = store.labelled.unsure(task.id, 9)
    store.labels.suggest(task.id, [(row.id, "a", 0.5) for row in rows])

    async def change():
        return await suggestions.choose(visit, task, None, is_suggesting=True)

    changed = asyncio.run(change())
    assert (changed.helper, changed.is_suggesting) == (None, False)
    assert store.labelled.num_asked(task.id) == 0
    assert suggestions.join(visit, changed)() is None


def test_models_with_labels_and_their_labels(visit):
    assert asyncio.run(suggestions.models(visit)) == ["ft:one"]
    assert asyncio.run(suggestions.labels_of(visit.api, "ft:one")) == (["a", "b"], True)
