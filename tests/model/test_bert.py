"""Our encoder against transformers', which the published weights were made with."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from tunesmith.model import bert
from tunesmith.model.packing import Packed

SMALL = {
    "vocab_size": 200,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 80,
}


def make(kind: str, **more):
    torch.manual_seed(3)
    if kind == "bert":
        return BertModel(BertConfig(**SMALL, **more)).eval()
    return RobertaModel(RobertaConfig(**SMALL, pad_token_id=1, **more)).eval()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """(transformers' model, ours read from its files) by kind."""
    out = {}
    for kind, more in (("bert", {}), ("bert", {"hidden_act": "gelu_new"}), ("roberta", {})):
        folder = tmp_path_factory.mktemp("model")
        peer = make(kind, **more)
        peer.save_pretrained(folder)
        ours = bert.load(folder)
        assert ours is not None
        out[kind + "".join(more.values())] = (peer, ours.eval(), folder)
    return out


def states(encoder, texts, *, multiple=1):
    """Last hidden states of each text, one after the other, in the order given."""
    batch = Packed.of(texts, multiple=multiple)
    parts = [text for part in batch.parts(encoder(batch)) for text in part]
    by_text = dict(zip(batch.order, parts, strict=False))
    return [by_text[i] for i in range(len(texts))]


texts = st.lists(st.lists(st.integers(2, 199), min_size=1, max_size=60), min_size=1, max_size=9)


@pytest.mark.parametrize("kind", ["bert", "bertgelu_new", "roberta"])
@pytest.mark.parametrize("multiple", [1, 16])
@settings(deadline=None, max_examples=20)
@given(texts=texts)
def test_it_computes_what_transformers_computes(pairs, kind, multiple, texts):
    peer, ours, _ = pairs[kind]
    with torch.no_grad():
        for text, got in zip(texts, states(ours, texts, multiple=multiple), strict=True):
            expected = peer(torch.tensor([text])).last_hidden_state[0]
            assert torch.allclose(got, expected, atol=2e-5)


def test_gradients_agree(pairs):
    peer, ours, _ = pairs["bert"]
    some = [[5, 6, 7], [8], [9, 10, 11, 12], [13, 14, 15]]
    ours.train()  # all dropouts are off below
    for part in ours.modules():
        if hasattr(part, "p"):
            part.p = 0.0
    for layer in ours.layers:
        layer.attend.inner_dropout = 0.0
    got = torch.autograd.grad(
        torch.cat(states(ours, some)).square().sum(), ours.layers[0].attend.mixed.weight
    )[0]
    out = torch.cat([peer(torch.tensor([text])).last_hidden_state[0] for text in some])
    attention = peer.encoder.layer[0].attention.self
    parts = [attention.query.weight, attention.key.weight, attention.value.weight]
    expected = torch.cat(torch.autograd.grad(out.square().sum(), parts))
    assert torch.allclose(got, expected, atol=1e-4)
    ours.eval()


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_what_it_saves_is_what_it_read(pairs, kind, tmp_path):
    _, ours, folder = pairs[kind]
    ours.save(tmp_path)
    before, after = (load_file(f / "model.safetensors") for f in (folder, tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_encoder_inside_a_larger_model_is_found(pairs, tmp_path):
    _, ours, folder = pairs["bert"]
    inside = {f"bert.{k}": v for k, v in load_file(folder / "model.safetensors").items()}
    save_file({**inside, "cls.bias": torch.zeros(3)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    again = bert.load(tmp_path)
    assert again is not None
    assert torch.equal(again.words.weight, ours.words.weight)


@pytest.mark.parametrize(
    "wrong", [{"hidden_act": "relu"}, {"position_embedding_type": "relative_key"}]
)
def test_what_it_does_not_compute_it_leaves_alone(pairs, wrong, tmp_path):
    import json

    _, _, folder = pairs["bert"]
    config = json.loads((folder / "config.json").read_text()) | wrong
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert bert.load(tmp_path) is None


def test_weights_that_are_missing_are_not_made_up(pairs, tmp_path):
    _, _, folder = pairs["bert"]
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    assert bert.load(tmp_path) is None
