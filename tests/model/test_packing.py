"""Packed and padded batches must answer alike, whatever the encoder and the lengths."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from tunesmith.model import packing
from tunesmith.model.classifier import Card, Classifier

SMALL = {
    "vocab_size": 200,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 80,
}


class Tokens:
    pad_id = 1


def make(kind: str, pooling: str = "mean") -> Classifier:
    torch.manual_seed(3)
    packing.register()
    encoder = (
        BertModel(BertConfig(**SMALL))
        if kind == "bert"
        else RobertaModel(RobertaConfig(**SMALL, pad_token_id=1))
    )
    card = Card(base_model="x", labels=("a", "b", "c"), max_length=64, pooling=pooling)
    return Classifier(encoder, Tokens(), card).eval()


def both_ways(model: Classifier, texts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    first = model.first_position
    model.encoder.set_attn_implementation(packing.NAME)
    packed = model(texts)
    model.first_position = None
    model.encoder.set_attn_implementation("sdpa")
    padded = model(texts)
    model.first_position = first
    return packed, padded


MODELS = {(k, p): make(k, p) for k in ("bert", "roberta") for p in ("mean", "cls")}
texts = st.lists(st.lists(st.integers(2, 199), min_size=1, max_size=60), min_size=1, max_size=9)


@pytest.mark.parametrize("kind, pooling", list(MODELS))
@settings(deadline=None, max_examples=25)
@given(texts=texts)
def test_packed_is_padded(kind, pooling, texts):
    with torch.no_grad():
        packed, padded = both_ways(MODELS[kind, pooling], texts)
    assert torch.allclose(packed, padded, atol=1e-5)


def test_gradients_agree_too():
    model = MODELS["bert", "mean"]
    some = [[5, 6, 7], [8], [9, 10, 11, 12], [13, 14, 15]]
    packed, padded = both_ways(model, some)
    weight = model.encoder.encoder.layer[0].attention.self.query.weight
    grads = [torch.autograd.grad(out.square().sum(), weight)[0] for out in (packed, padded)]
    assert torch.allclose(*grads, atol=1e-6)
