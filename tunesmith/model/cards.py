"""What a tuned causal model's folder says of itself: tunesmith.json, beside its weights.

A folder with whole weights is in the usual layout of transformers; one with an adapter is in
PEFT's, on top of the base model whose folder the card names. Both hold the tokenizer and the chat
template, so that a prompt is rendered as it was when training.
Does not know: torch, so that who only asks what a folder holds need not load it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tunesmith.data.chat.spans import content_text
from tunesmith.data.texts.cleaning import LONGEST, clean_text
from tunesmith.data.texts.sensitive import mask_text
from tunesmith.errors import ConfigError, NotFound

Precision = Literal["fp32", "bf16"]
Method = Literal["full", "lora", "qlora"]

CARD = "tunesmith.json"
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True, kw_only=True)
class CausalCard:
    """What tunesmith.json says of a tuned causal model."""

    base_model: str
    """As the job named it."""
    base_folder: str
    """Where the base model's files were; an adapter needs them."""
    method: Method
    max_length: int
    """Tokens of a prompt and its answer together."""
    precision: Precision = "fp32"
    """In which it was trained, and so answers."""
    labels: tuple[str, ...] = ()
    """The answers it may give, where it was tuned to classify; else it writes what it likes."""
    cleaning: tuple[str, ...] = ()
    """Steps by which the texts to classify are cleaned before they are read."""
    mask: tuple[str, ...] = ()
    """Sensitive data that is replaced in them."""
    kind: str = "causal"

    @property
    def is_adapter(self) -> bool:
        """Whether the folder holds only what was added to the base model."""
        return self.method != "full"

    def cleaned(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Messages as they are read: where texts are classified, what the user says is cleaned."""
        return [
            {**message, "content": self._clean(content_text(message.get("content")))}
            if self.labels and message["role"] == "user"
            else dict(message)
            for message in messages
        ]

    def _clean(self, text: str) -> str:
        text = clean_text(text[:LONGEST], self.cleaning)
        return mask_text(text, self.mask) if self.mask else text

    def save(self, folder: Path) -> None:
        """Write it into `folder`."""
        text = json.dumps({"format": 1, **asdict(self)}, ensure_ascii=False, indent=1)
        (folder / CARD).write_text(text, encoding="utf-8")


def kind_of(folder: Path) -> str:
    """classifier or causal, for a tuned model's folder. Raises: NotFound when its files are gone.

    A folder without a card is a base model's, which writes.
    """
    if not (folder / CARD).is_file() and (folder / "config.json").is_file():
        return "causal"
    return str(_read(folder).get("kind", "causal"))


def is_tuned(folder: Path) -> bool:
    """Whether a folder has a card: what a base model's has of that name is a list of its files."""
    return (folder / CARD).is_file() and "kind" in _read(folder)


def read_card(folder: Path) -> CausalCard:
    """The card in a tuned causal model's folder.

    Raises: NotFound when its files are gone; ConfigError when they are another kind of model's.
    """
    data = _read(folder)
    kind = data.pop("kind", None)
    if kind is None:
        raise ConfigError(f"The model in {folder} is a base model, and not a tuned one.")
    if kind != "causal":
        raise ConfigError(f"The model in {folder} is a classifier and writes nothing.")
    data.pop("format", None)
    lists = {name: tuple(data.get(name, ())) for name in ("labels", "cleaning", "mask")}
    return CausalCard(**{**data, **lists})


def labels_of(folder: Path) -> tuple[str, ...]:
    """The labels among which a tuned model chooses; none of one that writes. Raises: NotFound."""
    return tuple(_read(folder).get("labels", ()))


def _read(folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except OSError:
        raise NotFound(
            f"The files of the model in {folder} are gone.", fix="Train it again."
        ) from None
    return content
