"""Encoders of other kinds than BERT's: whatever transformers loads, on padded batches.

Does not know: pooling beyond the two ways it is asked for, labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tunesmith import catalog
from tunesmith.model.dropout import cheapen

DROPOUTS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout",
    "embedding_dropout", "mlp_dropout",
)  # fmt: skip


class Padded(nn.Module):
    """One of transformers' encoders."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        config: Any = model.config
        self.pad_id = int(config.pad_token_id or 0)
        self.width = int(config.hidden_size)
        self.max_length = int(getattr(config, "max_position_embeddings", 512))

    def pooled(self, texts: Sequence[Sequence[int]], pooling: str) -> Tensor:
        """States of texts given as token ids, shape (texts, width): their mean, or the first's."""
        ids, mask = collate(texts, self.pad_id)
        hidden: Tensor = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        if pooling == "cls":
            return hidden[:, 0]
        if mask is None:
            return hidden.mean(1)
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1)

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors into `folder`."""
        weights = {k: v.contiguous() for k, v in self.model.state_dict().items()}
        save_file(weights, folder / catalog.WEIGHTS, metadata={"format": "pt"})
        config: Any = self.model.config
        (folder / "config.json").write_text(config.to_json_string(use_diff=False), encoding="utf-8")


def load(folder: Path, *, dropout: float | None = None) -> Padded:
    """The encoder in `folder`."""
    # Here and not above: the import takes seconds.
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if dropout is not None:
        for name in DROPOUTS:
            if hasattr(config, name):
                setattr(config, name, dropout)
    model: nn.Module = AutoModel.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        attn_implementation="sdpa",
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    cheapen(model)
    return Padded(model)


def collate(ids: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor | None]:
    """(ids, mask), both int64 of shape (batch, longest); mask is None when nothing is padded.

    Without a mask, attention takes its fast path.
    """
    longest = max(map(len, ids))
    if all(len(row) == longest for row in ids):
        return torch.tensor(ids), None
    padded = torch.full((len(ids), longest), pad_id)
    mask = torch.zeros((len(ids), longest), dtype=torch.long)
    for row, (out, m) in zip(ids, zip(padded, mask, strict=True), strict=True):
        out[: len(row)] = torch.tensor(row)
        m[: len(row)] = 1
    return padded, mask
