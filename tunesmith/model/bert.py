"""The BERT encoder and its RoBERTa kin, computed on packed batches.

x = norm(word + position + type)
x = norm(x + attention(x)); x = norm(x + feed_forward(x))      in every layer

(Devlin et al. 2019, "BERT"; Liu et al. 2019, "RoBERTa", whose positions begin after the padding
token's.) It is here and not taken from a library because it is what training and serving spend
their time in: nothing is padded, the three projections of attention are one product, and the
library that has it takes seconds to import. On disk, weights have the names the world knows.
Does not know: pooling, labels; other kinds of encoders.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tunesmith import catalog
from tunesmith.model.dropout import Dropout
from tunesmith.model.linear import Linear
from tunesmith.model.packing import Packed

FAMILY = ("bert", "roberta", "xlm-roberta")
PREFIXES = tuple(f"{name.replace('-', '_')}." for name in FAMILY)
GELU = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
LAYER = {
    "attend.out": "attention.output.dense",
    "attend.norm": "attention.output.LayerNorm",
    "feed.inner": "intermediate.dense",
    "feed.out": "output.dense",
    "feed.norm": "output.LayerNorm",
}
"""Modules of a layer here, and their names on disk."""
EMBEDDINGS = {
    "words": "embeddings.word_embeddings",
    "places": "embeddings.position_embeddings",
    "types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
}
PROJECTIONS = ("query", "key", "value")


class Bert(nn.Module):
    """The encoder without its pooler. `config` is config.json's content."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        self.width = int(config["hidden_size"])
        is_bert = config["model_type"] == "bert"
        self.first_position = 0 if is_bert else int(config.get("pad_token_id", 1)) + 1
        self.max_length = int(config["max_position_embeddings"]) - self.first_position
        """Positions there are for a text's tokens."""
        self.words = nn.Embedding(config["vocab_size"], self.width)
        self.places = nn.Embedding(config["max_position_embeddings"], self.width)
        self.types = nn.Embedding(config["type_vocab_size"], self.width)
        self.norm = nn.LayerNorm(self.width, eps=config["layer_norm_eps"])
        self.drop = Dropout(config["hidden_dropout_prob"])
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.unused: dict[str, Tensor] = {}
        """Weights on disk that play no part here, such as a pooler's; saved as they came."""

    def forward(self, batch: Packed) -> Tensor:
        """Last hidden states, shape (tokens, width)."""
        places = self.places(batch.positions + self.first_position)
        states: Tensor = self.drop(self.norm(self.words(batch.ids) + places + self.types.weight[0]))
        for layer in self.layers:
            states = layer(states, batch)
        return states

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors into `folder`."""
        text = json.dumps(self.config, indent=2, sort_keys=True)
        (folder / "config.json").write_text(text, encoding="utf-8")
        weights = {**self.unused, **_to_disk(self.state_dict())}
        save_file(weights, folder / catalog.WEIGHTS, metadata={"format": "pt"})


class Layer(nn.Module):
    """Attention and feed-forward, each with its residual and norm."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.attend = Attention(config)
        self.feed = FeedForward(config)

    def forward(self, states: Tensor, batch: Packed) -> Tensor:
        """(tokens, width) to the same."""
        out: Tensor = self.feed(self.attend(states, batch))
        return out


class Attention(nn.Module):
    """norm(x + dropout(out(attention(mixed(x)))))."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.heads = int(config["num_attention_heads"])
        self.inner_dropout = float(config["attention_probs_dropout_prob"])
        self.mixed = Linear(width, 3 * width)
        self.out = Linear(width, width)
        self.drop = Dropout(config["hidden_dropout_prob"])
        self.norm = nn.LayerNorm(width, eps=config["layer_norm_eps"])

    def forward(self, states: Tensor, batch: Packed) -> Tensor:
        """(tokens, width) to the same."""
        dropout = self.inner_dropout if self.training else 0.0
        seen = batch.attend(self.mixed(states), heads=self.heads, dropout=dropout)
        out: Tensor = self.norm(_residual(self.out, seen, self.drop, states))
        return out


class FeedForward(nn.Module):
    """norm(x + dropout(out(gelu(inner(x)))))."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.gelu = GELU[config["hidden_act"]]
        self.inner = Linear(width, inner)
        self.out = Linear(inner, width)
        self.drop = Dropout(config["hidden_dropout_prob"])
        self.norm = nn.LayerNorm(width, eps=config["layer_norm_eps"])

    def forward(self, states: Tensor) -> Tensor:
        """(tokens, width) to the same."""
        inner = self.inner(states, gelu=self.gelu)
        out: Tensor = self.norm(_residual(self.out, inner, self.drop, states))
        return out


def _residual(out: Linear, inner: Tensor, drop: Dropout, states: Tensor) -> Tensor:
    if drop.training:
        dropped: Tensor = drop(out(inner)) + states
        return dropped
    added: Tensor = out(inner, plus=states)
    return added


def load(folder: Path, *, dropout: float | None = None) -> Bert | None:
    """The encoder in `folder`; None when it is of a kind that this module does not compute."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not _is_kin(config):
        return None
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        config[name] = config.get(name, 0.1) if dropout is None else dropout
    with torch.device("meta"):
        encoder = Bert(config)
    weights = _from_disk(load_file(folder / catalog.WEIGHTS), encoder)
    if weights is None:
        return None
    encoder.unused = {k: v for k, v in weights.items() if k not in encoder.state_dict()}
    ours = {k: v.float() for k, v in weights.items() if k not in encoder.unused}
    encoder.load_state_dict(ours, assign=True)
    return encoder.requires_grad_(True)


def _is_kin(config: dict[str, Any]) -> bool:
    return (
        config.get("model_type") in FAMILY
        and config.get("hidden_act", "gelu") in GELU
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder", False)
    )


def _names(layers: int) -> dict[str, str]:
    """Modules here, and their names on disk; the three projections are apart there."""
    names = dict(EMBEDDINGS)
    for i in range(layers):
        for ours, theirs in LAYER.items():
            names[f"layers.{i}.{ours}"] = f"encoder.layer.{i}.{theirs}"
    return names


def _from_disk(weights: dict[str, Tensor], encoder: Bert) -> dict[str, Tensor] | None:
    """Weights by the names of this module, and the rest by theirs; None when some are missing."""
    for prefix in PREFIXES:  # an encoder saved inside a larger model
        if any(name.startswith(prefix) for name in weights):
            weights = {k.removeprefix(prefix): v for k, v in weights.items() if prefix in k}
    layers = len(encoder.layers)
    out: dict[str, Tensor] = {}
    try:
        for ours, theirs in _names(layers).items():
            for kind in ("weight", "bias") if "embeddings" not in theirs else ("weight",):
                out[f"{ours}.{kind}"] = weights.pop(f"{theirs}.{kind}")
        out["norm.bias"] = weights.pop("embeddings.LayerNorm.bias")
        for i in range(layers):
            at = f"encoder.layer.{i}.attention.self"
            for kind in ("weight", "bias"):
                parts = [weights.pop(f"{at}.{name}.{kind}") for name in PROJECTIONS]
                out[f"layers.{i}.attend.mixed.{kind}"] = torch.cat(parts)
    except KeyError:
        return None
    return {**weights, **out}


def _to_disk(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse."""
    out: dict[str, Tensor] = {}
    layers = 1 + max((int(k.split(".")[1]) for k in weights if k.startswith("layers.")), default=-1)
    names = _names(layers)
    for name, weight in weights.items():
        module, kind = name.rsplit(".", 1)
        if module in names:
            out[f"{names[module]}.{kind}"] = weight
        else:
            at = f"encoder.layer.{module.split('.')[1]}.attention.self"
            for projection, part in zip(PROJECTIONS, weight.chunk(3), strict=True):
                out[f"{at}.{projection}.{kind}"] = part.contiguous()
    return out
