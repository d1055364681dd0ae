"""Adapters of several models on one base model's weights, in one pass.

An adapter in PEFT's layout adds s·B·A to the weights W of a layer (LoRA, Hu et al. 2022; s is
alpha / rank, and alpha / √rank for rsLoRA, Kalajdzievski 2023), or makes them m·(W + s·B·A) / norm,
with the norm of each row (DoRA, Liu et al. 2024). Here each row of a pass is told which adapter is
its own, and the base model's product is made once for all of them.
Does not know: PEFT's code, what a row belongs to, how adapters came to be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.errors import ConfigError, NotFound, NotOffered
from tunesmith.model.cards import ADAPTER, ADAPTER_CONFIG

PREFIX = "base_model.model."
WEIGHTS = re.compile(r"(?P<layer>.+)\.(?P<part>lora_A|lora_B|lora_magnitude_vector)(\.weight)?$")
PARTS = {"lora_A", "lora_B"}
PLAIN: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "modules_to_save": (None, [], ()),
    "bias": (None, "none"),
    "lora_bias": (None, False),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "alora_invocation_tokens": (None, []),
    "use_qalora": (None, False),
}  # fmt: skip
"""Settings of adapters, and the values with which they are served."""


@dataclass(frozen=True, eq=False)
class Change:
    """What an adapter does to one layer: factor · (W x + up · down · x) + bias.

    down: (rank, inputs); up: (outputs, rank), scaled; factor: (outputs,), or None for 1.
    """

    down: Tensor
    up: Tensor
    factor: Tensor | None


class Adapter:
    """An adapter's changes, by the name of the layer."""

    def __init__(self, changes: Mapping[str, Change]) -> None:
        self.changes = changes


class Adapted(nn.Module):
    """A linear layer, to which the rows' own adapters add."""

    def __init__(self, base: nn.Module, name: str, arranged: Arranged) -> None:
        super().__init__()
        self.base = base
        self._name = name
        self._arranged = arranged

    @property
    def weight(self) -> Tensor:
        """The base model's, of shape (outputs, inputs)."""
        return _weight(self.base)

    @property
    def bias(self) -> Tensor | None:
        """The base model's."""
        bias: Tensor | None = self.base.bias  # type: ignore[assignment]
        return bias

    def forward(self, input: Tensor) -> Tensor:
        """(1, tokens, inputs) → (1, tokens, outputs)."""
        out: Tensor = self.base(input)
        for adapter, rows in self._arranged.groups:
            change = adapter.changes.get(self._name)
            if change is None:
                continue
            if rows is None:
                out = self._changed(change, input, out)
            else:
                out[:, rows] = self._changed(change, input[:, rows], out[:, rows])
        return out

    def _changed(self, change: Change, input: Tensor, out: Tensor) -> Tensor:
        more = functional.linear(input.to(change.down.dtype), change.down)
        added = functional.linear(more, change.up)
        if change.factor is None:
            return (out + added).to(out.dtype)
        if self.bias is None:
            return (change.factor * (out + added)).to(out.dtype)
        return (change.factor * (out - self.bias + added) + self.bias).to(out.dtype)


class Arranged:
    """Which rows of a pass are which adapter's."""

    def __init__(self) -> None:
        self.groups: list[tuple[Adapter, Tensor | None]] = []
        """None: all rows."""


class Adapters:
    """A base model whose layers take adapters; they stand in it from the first one on."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._arranged = Arranged()

    def arrange(self, rows: Sequence[Adapter | None]) -> None:
        """The adapters of the tokens in the next pass, in their order."""
        places: dict[Adapter, list[int]] = {}
        for i, adapter in enumerate(rows):
            if adapter is not None:
                places.setdefault(adapter, []).append(i)
        device = self._network.device
        self._arranged.groups = [
            (adapter, None if len(mine) == len(rows) else torch.tensor(mine, device=device))
            for adapter, mine in places.items()
        ]

    def load(self, folder: Path, kind: torch.dtype) -> Adapter:
        """The adapter in a folder, multiplied in `kind`.

        Raises: NotFound when its files are gone; ConfigError for damaged ones, or of another base
        model; NotOffered for a kind of adapter that is not served.
        """
        config, weights = _read(folder)
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in weights.items():
            name = name.removeprefix(PREFIX)
            found = WEIGHTS.match(name)
            if found is None:
                if self._is_base(name, tensor):
                    continue
                raise NotOffered(
                    f"The adapter in {folder} holds {name}, and only low-rank factors of linear "
                    "layers are served.",
                    fix="Merge it into its base model and serve that.",
                )
            parts.setdefault(found["layer"], {})[found["part"]] = tensor
        changes = {}
        for layer, tensors in parts.items():
            module = self._layer(layer, folder)
            changes[layer] = _change(module, tensors, _scale(config, layer, tensors), kind)
        return Adapter(changes)

    def _is_base(self, name: str, tensor: Tensor) -> bool:
        """Whether it is a weight of the base model, which PEFT adds where it fears a change."""
        layer, _, part = name.replace(".base_layer", "").rpartition(".")
        try:
            own = getattr(self._network.get_submodule(layer), part)
        except AttributeError:
            return False
        return torch.equal(own, tensor.to(own))

    def _layer(self, name: str, folder: Path) -> Adapted:
        """The layer of that name, made one that takes adapters."""
        try:
            module = self._network.get_submodule(name)
        except AttributeError:
            raise ConfigError(
                f"The adapter in {folder} changes the layer {name}, which its base model does not "
                "have.",
                fix="Use it with the base model that it was tuned from.",
            ) from None
        if isinstance(module, Adapted):
            return module
        if isinstance(module, nn.Embedding) or not hasattr(module, "weight"):
            raise NotOffered(f"The adapter in {folder} changes {name}, which is no linear layer.")
        adapted = Adapted(module, name, self._arranged)
        self._network.set_submodule(name, adapted)
        return adapted


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        config: dict[str, Any] = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        weights = load_file(folder / ADAPTER)
    except OSError as error:
        raise NotFound(
            f"The files of the model in {folder} are gone.", fix="Train it again."
        ) from error
    except (ValueError, SafetensorError) as error:
        raise ConfigError(
            f"The adapter in {folder} cannot be read: {error}.", fix="Train it again."
        ) from error
    for name, plain in PLAIN.items():
        if config.get(name) not in plain:
            raise NotOffered(
                f"The adapter in {folder} has {name} = {json.dumps(config.get(name))}, and such "
                "adapters are not served.",
                fix="Merge it into its base model and serve that.",
            )
    return config, weights


def _scale(config: Mapping[str, Any], layer: str, tensors: Mapping[str, Tensor]) -> float:
    """alpha / rank of a layer, by the patterns that PEFT matches to the end of its name."""
    alpha = config.get("lora_alpha", 8)
    for pattern, own in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", layer):
            alpha = own
            break
    rank = len(tensors["lora_A"]) if "lora_A" in tensors else 1
    return float(alpha / (rank**0.5 if config.get("use_rslora") else rank))


def _change(
    layer: Adapted, tensors: Mapping[str, Tensor], scale: float, kind: torch.dtype
) -> Change:
    base = layer.weight
    if PARTS - tensors.keys():
        raise ConfigError("An adapter lacks one of its two factors.", fix="Train it again.")
    down, up = (tensors[name].to(base.device, torch.float32) for name in ("lora_A", "lora_B"))
    if (len(up), down.shape[1]) != tuple(base.shape):
        raise ConfigError(
            f"An adapter is for layers of {down.shape[1]:,} inputs and {len(up):,} outputs, and "
            f"its base model's have {base.shape[1]:,} and {base.shape[0]:,}.",
            fix="Use it with the base model that it was tuned from.",
        )
    up = scale * up
    factor = None
    if (magnitude := tensors.get("lora_magnitude_vector")) is not None:
        norm = torch.linalg.norm(base.float() + up @ down, dim=1)
        factor = (magnitude.to(norm) / norm).to(kind)
    return Change(down.to(kind), up.to(kind), factor)


def _weight(module: nn.Module) -> Tensor:
    """Of shape (outputs, inputs), of whatever kind the layer is."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    if hasattr(weight, "quant_state"):
        # Here and not above: only 4-bit weights need it, and the import takes seconds.
        from bitsandbytes.functional import dequantize_4bit

        dense: Tensor = dequantize_4bit(weight.data, weight.quant_state)
        return dense
    return weight.T if type(module).__name__ == "Conv1D" else weight
