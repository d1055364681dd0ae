"""Models in memory: networks that may be shared, and what stands on them.

Several adapters share their base model's weights. The least recently used make room for others,
never while something is being written with them.
Does not know: requests, sampling.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from tunesmith.errors import ConfigError, MissingExtra, NotFound, NotOffered
from tunesmith.model import causal
from tunesmith.model.alone import Alone
from tunesmith.model.cached import Cached, Chunk
from tunesmith.model.cards import (
    ADAPTER,
    ADAPTER_CONFIG,
    CausalCard,
    Precision,
    is_tuned,
    read_card,
)
from tunesmith.model.fixed import KINDS, fix
from tunesmith.model.lowrank import Adapter, Adapters
from tunesmith.model.precision import faster
from tunesmith.model.rendering import TOKENIZER, Renderer
from tunesmith.serving.causal.alphabet import Alphabet
from tunesmith.serving.causal.calls import ASK, Form, form_of, lead_of
from tunesmith.serving.causal.constraint import Grammars

ADAPTERS = 32
"""Adapters kept in memory at once."""
ANSWERS = 10_000
"""Rendered answers that a model remembers, about."""
UNKNOWN_LENGTH = 2048
"""Tokens read by a model that does not say how many it reads."""
CHANGING = ("longrope", "dynamic")
"""Positions that are turned otherwise once a text is longer than those the model was made with;
what is in a cache would then be wrong."""


class Reads(Protocol):
    """A network that reads texts chunk by chunk (see `cached`)."""

    bytes_per_token: int

    def open(self, tokens: int) -> Any:
        """An empty cache."""

    def copy(self, cache: Any) -> Any:
        """Another one with the same content."""

    def close(self, cache: Any) -> None:
        """Forget it."""

    def forward(self, chunks: Sequence[Chunk]) -> Tensor:
        """The logits that the chunks want told."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Whole weights: where they are, and how they are to be multiplied."""

    folder: Path
    precision: Precision
    in_4_bits: bool = False


class Network:
    """Whole weights in memory.

    context  tokens that it reads at most, the answer included.
    size     logits that it gives.
    """

    def __init__(self, source: Source) -> None:
        network = causal.load_network(
            source.folder, precision=source.precision, in_4_bits=source.in_4_bits
        )
        network.requires_grad_(False)
        config = network.config.get_text_config(decoder=True)
        self.context, self.size = _context(config), int(config.vocab_size)
        if not source.in_4_bits:
            fix(network, source.precision)
        self.kind = KINDS[source.precision]
        self.device = network.device
        self.adapters = Adapters(network)
        self.reads: Reads
        try:
            self.reads = Cached(network, self.adapters, precision=source.precision)
        except NotOffered:
            self.reads = Alone(network, self.adapters, precision=source.precision)


class Model:
    """A network with the tokenizer and the template of one model, and its adapter if it is one."""

    def __init__(
        self, network: Network, renderer: Renderer, card: CausalCard | None, adapter: Adapter | None
    ) -> None:
        self.network = network
        self.renderer = renderer
        self.card = card
        self.adapter = adapter
        self._answers: dict[str, list[int]] = {}

    @cached_property
    def alphabet(self) -> Alphabet:
        """What its tokens stand for."""
        return Alphabet(self.renderer.tokenizer)

    @cached_property
    def grammars(self) -> Grammars:
        """Makes constraints for its answers. Raises: MissingExtra."""
        try:
            return Grammars(
                self.renderer.tokenizer,
                self.alphabet,
                ends=self.renderer.ends,
                size=self.network.size,
            )
        except ImportError:
            raise MissingExtra(
                "Answers can be held to a schema only with a library that is not installed.",
                fix="Run: pip install 'tunesmith[train]'",
            ) from None

    @cached_property
    def lead(self) -> str:
        """What its template writes before every answer; it is no part of the text."""
        return lead_of(self.renderer)

    @cached_property
    def form(self) -> Form | None:
        """How it writes calls."""
        return form_of(self.renderer, self.lead)

    def answers(
        self, messages: Sequence[Mapping[str, Any]], texts: Sequence[str]
    ) -> list[list[int]]:
        """The tokens of each text as an answer to messages.

        They are rendered after a question of ours, once, where that makes no difference.
        """
        if len(self._answers) > ANSWERS:
            self._answers.clear()
        for text in texts:
            if text not in self._answers:
                self._answers[text] = self.renderer.answer([ASK], text)
        if self.renderer.answer(messages, texts[0]) == self._answers[texts[0]]:
            return [self._answers[text] for text in texts]
        return [self.renderer.answer(messages, text) for text in texts]


class Library:
    """`max_loaded` networks in memory, and a few adapters.

    in_use  whether something is being computed with a network.
    """

    def __init__(self, *, max_loaded: int, in_use: Callable[[Network], bool]) -> None:
        self._room = max_loaded
        self._in_use = in_use
        self._networks: OrderedDict[Source, Network] = OrderedDict()
        """Least recently used first."""
        self._models: OrderedDict[tuple[str, Path], Model] = OrderedDict()
        """By name and folder, likewise."""

    def find(self, name: str, folder: Path) -> Model | None:
        """The model of that name; None while others that are in use leave no room for it.

        Raises: NotFound when its files are gone, or its base model's; ConfigError for damaged ones;
        NotOffered; MissingExtra.
        """
        if (name, folder) in self._models:
            model = self._models[name, folder]
            self._touch(model.network)
        else:
            card = read_card(folder) if is_tuned(folder) else None
            source = _source(folder, card)
            network = self._network(source)
            if network is None:
                return None
            adapter = None
            if source.folder != folder:
                adapter = network.adapters.load(folder, network.kind)
            own = folder if (folder / TOKENIZER).is_file() else source.folder
            renderer = Renderer(own, max_length=network.context)
            model = self._models[name, folder] = Model(network, renderer, card, adapter)
            self._drop_models()
        self._models.move_to_end((name, folder))
        return model

    def forget(self, name: str) -> None:
        """Drop a model whose files are going away; what is being written with it goes on."""
        self._models = OrderedDict((key, m) for key, m in self._models.items() if key[0] != name)
        kept = {id(model.network) for model in self._models.values()}
        self._networks = OrderedDict((s, n) for s, n in self._networks.items() if id(n) in kept)

    def _network(self, source: Source) -> Network | None:
        if source not in self._networks:
            while len(self._networks) >= self._room:
                idle = next((s for s, n in self._networks.items() if not self._in_use(n)), None)
                if idle is None:
                    return None
                gone = self._networks.pop(idle)
                self._models = OrderedDict(
                    (key, model) for key, model in self._models.items() if model.network is not gone
                )
                del gone  # before the next one needs its memory
            self._networks[source] = Network(source)
        self._networks.move_to_end(source)
        return self._networks[source]

    def _touch(self, network: Network) -> None:
        source = next(source for source, one in self._networks.items() if one is network)
        self._networks.move_to_end(source)

    def _drop_models(self) -> None:
        """Forget the adapters that were used least recently."""
        adapted = [key for key, model in self._models.items() if model.adapter is not None]
        for key in adapted[:-ADAPTERS]:
            del self._models[key]


def _source(folder: Path, card: CausalCard | None) -> Source:
    """The whole weights on which the model in a folder stands. Raises: NotFound; ConfigError."""
    is_adapter = card.is_adapter if card else (folder / ADAPTER_CONFIG).is_file()
    base, name = folder, ""
    if is_adapter:
        base, name = _base(folder, card)
        if not (base / "config.json").is_file():
            raise NotFound(
                f"This model was tuned as an adapter on top of {name}, whose files in {base} are "
                "gone.",
                fix="Put them back there.",
            )
    elif not (folder / "config.json").is_file():
        raise NotFound(f"The files of the model in {folder} are gone.", fix="Train it again.")
    precision = card.precision if card else _stored(base)
    if precision == "bf16" and not torch.cuda.is_available() and faster()[0] == "fp32":
        precision = "fp32"
    return Source(
        folder=base, precision=precision, in_4_bits=card is not None and card.method == "qlora"
    )


def _base(folder: Path, card: CausalCard | None) -> tuple[Path, str]:
    """The folder of an adapter's base model, and its name."""
    if not (folder / ADAPTER).is_file():
        raise NotFound(f"The files of the model in {folder} are gone.", fix="Train it again.")
    if card is not None:
        return Path(card.base_folder), card.base_model
    config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    name = str(config.get("base_model_name_or_path"))
    return Path(name), name


def _stored(folder: Path) -> Precision:
    """In what a base model's weights are best multiplied, by what they are stored in."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(
            f"{folder / 'config.json'} is not valid JSON: {error}.", fix="Take it from the model."
        ) from error
    inner = config.get("text_config", {})
    stored = [c.get(key) for c in (config, inner) for key in ("dtype", "torch_dtype")]
    return "bf16" if {"bfloat16", "float16"} & set(map(str, stored)) else "fp32"


def _context(config: Any) -> int:
    most = int(getattr(config, "max_position_embeddings", 0) or UNKNOWN_LENGTH)
    turned = getattr(config, "rope_parameters", None) or {}
    if turned.get("rope_type") in CHANGING:
        made = turned.get("original_max_position_embeddings")
        made = made or getattr(config, "original_max_position_embeddings", None) or most
        return min(most, int(made))
    return most
