"""Embeddings from a real engine over real HTTP, by the OpenAI SDK."""

import threading

import openai
import pytest
import torch

from tunesmith import catalog
from tunesmith.model import classifier
from tunesmith.server.app import make_app
from tunesmith.server.engines import Engines
from tunesmith.server.serve import Server, _listen
from tunesmith.serving.pool import EnginePool
from tunesmith.serving.writers import Writers
from tunesmith.settings import Settings
from tunesmith.store.blobs import Blobs
from tunesmith.store.store import open_store
from tunesmith.wire import Options


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    settings = Settings(data_dir=tmp_path_factory.mktemp("server"))
    store = open_store(settings)
    pool = EnginePool(max_loaded=1, max_batch_tokens=512, threads=2)
    engines = Engines(encoders=pool, writers=Writers(max_loaded=1))
    app = make_app(settings, store, Blobs(settings.blobs), engines, own_key="sk-own")
    listener, up = _listen("127.0.0.1", 0), threading.Event()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server = Server(app, url, lambda _: up.set())
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    assert up.wait(10)
    with openai.OpenAI(base_url=url, api_key="sk-own", max_retries=0) as client:
        yield client
    server.should_exit = True
    thread.join()
    store.close()


def test_what_is_served_is_what_training_sees(client):
    texts = ["late " * 30, "Where is my parcel?", "word " * 300, "<b>x</b>", "a"]
    base = catalog.find("minilm-l6")
    model = classifier.from_base(base, ["a label"], options=Options(cleaning=())).eval()
    expected = model.over(model.features, model.tokens(texts))
    for asked in ({}, {"encoding_format": "float"}):
        reply = client.embeddings.create(model=base.name, input=texts, **asked)
        vectors = torch.tensor([item.embedding for item in reply.data])
        assert vectors.shape == (5, 384)
        assert torch.allclose(vectors, expected, atol=1e-5)
        assert torch.allclose(vectors.norm(dim=1), torch.ones(5), atol=1e-5)
        assert reply.tunesmith == {"cut_tokens": 46, "cut_inputs": [2]}
        assert reply.usage.total_tokens == sum(len(e.ids) for e in model.tokens(texts))
    short = client.embeddings.create(model=base.name, input=texts[1], dimensions=64).data[0]
    expected_short = torch.nn.functional.normalize(expected[1, :64], dim=0)
    assert torch.allclose(torch.tensor(short.embedding), expected_short, atol=1e-5)


def test_2048_texts_at_once(client):
    texts = [str(i % 256) for i in range(2048)]
    data = client.embeddings.create(model="minilm-l6", input=texts).data
    vectors = torch.tensor([item.embedding for item in data])
    assert vectors.shape == (2048, 384)
    assert torch.allclose(vectors[:256], vectors[-256:], atol=1e-5)
    assert (vectors[:256] @ vectors[:256].T).argmax(1).tolist() == list(range(256))


def test_ids_of_another_tokenizer_are_refused(client):
    with pytest.raises(openai.BadRequestError, match="begin with") as caught:
        client.embeddings.create(model="minilm-l6", input=[9906, 1917])
    assert caught.value.param == "input"
