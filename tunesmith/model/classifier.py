"""An encoder with a linear head over its pooled states: the classifier that is tuned and served.

features = last hidden states, mean over a text's tokens, scaled to length 1
logits   = head(features)

Pooling by the mean is Sentence-BERT's (Reimers & Gurevych 2019).

On disk a tuned model is a folder in the encoder's usual layout (config.json, model.safetensors,
tokenizer.json), so that other tools load the encoder as it is, plus head.safetensors and
tunesmith.json (labels, pooling, maximal length).
Does not know: how it is trained, who asks it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from tunesmith import catalog
from tunesmith.errors import ConfigError, NotFound, NotOffered
from tunesmith.model import packing
from tunesmith.model.dropout import cheapen
from tunesmith.model.packing import Packed
from tunesmith.model.tokens import BATCH_TOKENS, Encoded, Encoder, by_length, collate

CARD = "tunesmith.json"
HEAD = "head.safetensors"
DROPOUTS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout",
    "embedding_dropout", "mlp_dropout",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Card:
    """What tunesmith.json says of a tuned classifier."""

    base_model: str
    labels: tuple[str, ...]
    max_length: int
    pooling: str
    kind: str = "classifier"


class Classifier(nn.Module):
    """Encoder and head, with the tokenizer that belongs to them."""

    def __init__(self, encoder: nn.Module, tokens: Encoder, card: Card) -> None:
        super().__init__()
        self.encoder = encoder
        self.tokens = tokens
        self.card = card
        self.head = nn.Linear(_width(encoder), len(card.labels))
        self.first_position = _first_position(encoder)
        """Where positions begin in a packed batch; None: this encoder takes padded batches."""

    def features(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Pooled states of length 1, shape (texts, width), of texts given as token ids."""
        by_first = self.card.pooling == "cls"
        if self.first_position is not None:
            batch = Packed.of(texts, first_position=self.first_position)
            hidden = self.encoder(
                input_ids=batch.ids, position_ids=batch.positions, groups=batch.groups
            ).last_hidden_state
            pooled = batch.firsts(hidden) if by_first else batch.means(hidden)
            return functional.normalize(pooled, dim=-1)
        ids, mask = collate(texts, self.tokens.pad_id)
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        if by_first:
            pooled = hidden[:, 0]
        elif mask is None:
            pooled = hidden.mean(1)
        else:
            weight = mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weight).sum(1) / weight.sum(1)
        return functional.normalize(pooled, dim=-1)

    def forward(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Logits, shape (texts, labels), of texts given as token ids."""
        logits: Tensor = self.head(self.features(texts))
        return logits

    def over(
        self, function: Callable[[list[list[int]]], Tensor], encoded: Sequence[Encoded]
    ) -> Tensor:
        """`function` (features, or the model itself) over many texts: shape (texts, columns)."""
        out = torch.empty(0, len(self.card.labels))
        for batch, rows in self.batches(function, encoded):
            if not len(out):
                out = torch.empty(len(encoded), rows.shape[1])
            out[batch] = rows
        return out

    def batches(
        self, function: Callable[[list[list[int]]], Tensor], encoded: Sequence[Encoded]
    ) -> Iterator[tuple[list[int], Tensor]]:
        """The same batch by batch: (which texts, their rows), no gradients, shortest texts first.

        A batch holds texts of near-equal length, at most BATCH_TOKENS tokens of them.
        """
        self.eval()
        lengths = [len(e.ids) for e in encoded]
        shortest_first = sorted(range(len(encoded)), key=lengths.__getitem__)
        for batch in by_length(lengths, shortest_first, BATCH_TOKENS):
            with torch.no_grad():
                rows = function([encoded[i].ids for i in batch])
            yield batch, rows

    def save(self, folder: Path) -> None:
        """Write the whole model into `folder`, which must not hold one yet."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {k: v.contiguous() for k, v in self.encoder.state_dict().items()}
        save_file(weights, folder / catalog.WEIGHTS, metadata={"format": "pt"})
        save_file({"weight": self.head.weight.data, "bias": self.head.bias.data}, folder / HEAD)
        config: Any = self.encoder.config
        (folder / "config.json").write_text(config.to_json_string(use_diff=False), encoding="utf-8")
        self.tokens.save(folder)
        card = {"format": 1, **self.card.__dict__}
        text = json.dumps(card, ensure_ascii=False, indent=1)
        (folder / CARD).write_text(text, encoding="utf-8")


def from_base(
    base: catalog.BaseModel,
    labels: Sequence[str],
    *,
    start_from: Path | None = None,
    max_length: int | None = None,
    dropout: float | None = None,
) -> Classifier:
    """An untrained head on the encoder of `base`, or on the one tuned earlier in `start_from`.

    Raises: ConfigError for a length the model does not have; NotFound, MissingExtra.
    """
    if start_from is None:
        catalog.verify(base)
    folder = start_from or base.files()
    encoder = _load_encoder(folder, dropout)
    room = _positions(encoder)
    length = max_length or min(base.max_length, room)
    if length > room:
        raise ConfigError(
            f"max_length is {length}, but {base.name} reads at most {room} tokens.",
            fix=f"Give {room} or less.",
        )
    card = Card(base_model=base.name, labels=tuple(labels), max_length=length, pooling=base.pooling)
    return Classifier(encoder, Encoder(folder, max_length=length), card)


def load(folder: Path) -> Classifier:
    """A tuned classifier as `save` wrote it, ready to answer.

    Raises: NotFound when the folder holds none.
    """
    try:
        data = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except OSError:
        raise NotFound(
            f"The files of the model in {folder} are gone.", fix="Train it again."
        ) from None
    if data["kind"] != "classifier":
        raise NotOffered(f"The model in {folder} is a {data['kind']}, which is not served here.")
    card = Card(
        base_model=data["base_model"],
        labels=tuple(data["labels"]),
        max_length=data["max_length"],
        pooling=data["pooling"],
    )
    model = Classifier(
        _load_encoder(folder, None), Encoder(folder, max_length=card.max_length), card
    )
    model.head.load_state_dict(load_file(folder / HEAD))
    return model.eval()


def warm_up() -> None:
    """Do the import that takes seconds, so that the first model asked for does not wait for it."""
    from transformers import AutoModel  # noqa: F401


def _load_encoder(folder: Path, dropout: float | None) -> nn.Module:
    # Here and not above: the import alone takes seconds, and tokens.py is useful without it.
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if dropout is not None:
        for name in DROPOUTS:
            if hasattr(config, name):
                setattr(config, name, dropout)
    packs = config.model_type in packing.FIRST_POSITION
    if packs:
        packing.register()
    encoder: nn.Module = AutoModel.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        attn_implementation=packing.NAME if packs else "sdpa",
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    cheapen(encoder)
    return encoder


def _width(encoder: nn.Module) -> int:
    config: Any = encoder.config
    return int(config.hidden_size)


def _first_position(encoder: nn.Module) -> int | None:
    config: Any = encoder.config
    return packing.FIRST_POSITION.get(config.model_type)


def _positions(encoder: nn.Module) -> int:
    config: Any = encoder.config
    return int(getattr(config, "max_position_embeddings", 512))
