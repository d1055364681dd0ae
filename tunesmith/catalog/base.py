"""The rows of catalog.toml: what is known of the base models that go by a name.

Does not know: which of them are on this machine, beyond those that come in a Python package.
"""

from __future__ import annotations

import importlib.util
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tunesmith.errors import ConfigError, MissingExtra, NotFound

DEFAULT = "minilm-l6"
LEARNING_RATES = ((500_000_000, 5e-5), (2_000_000_000, 2e-5))
"""Parameters up to which each is suggested; larger models get `SLOWEST`."""
SLOWEST = 1e-5


@dataclass(frozen=True, kw_only=True)
class KeptFile:
    """A file of a base model as it was when the model was added: its size in bytes and SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """One base model. `learning_rate` is what a multiplier of 1.0 means for it.

    For a causal one it is a suggestion for tuning all weights with AdamW; adapters take about ten
    times as much.
    """

    name: str
    kind: str
    """encoder (tuned as a classifier) or causal (tuned to write)."""
    description: str = ""
    parameters: int = 0
    num_bytes: int = 0
    """Of the weights. Causal rows leave it out where it is two bytes a parameter."""
    licence: str = ""
    languages: tuple[str, ...] = ()
    max_length: int = 256
    """Most tokens read at once; of a causal model its context length, the answer included."""
    pooling: str = "mean"
    learning_rate: float = 1e-4
    created: int = 0
    package: str = ""
    hub: str = ""
    """Its id at the Hugging Face hub, OWNER/NAME."""
    gated: bool = False
    """Whether the hub wants its licence accepted before it hands out the files."""
    architecture: str = ""
    """What transformers calls `model_type`."""
    chat_template: str = ""
    """The format its own chat template writes. Empty: it has none."""
    folder: Path | None = None
    sha256: str = ""
    kept: tuple[KeptFile, ...] = ()
    """Its files when it was added to this machine."""

    def files(self) -> Path:
        """The folder that holds config.json, tokenizer.json and model.safetensors.

        Raises: MissingExtra when the package that carries them is not installed; NotFound when
        they were not fetched yet.
        """
        if self.folder is not None:
            return self.folder
        if self.hub:
            raise NotFound(
                f"The files of base model {self.name} are not on this machine.",
                fix=f"Run: tunesmith models pull {self.name}",
            )
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtra(
                f"The files of base model {self.name} are not installed.",
                fix="Run: pip install 'tunesmith[local]'",
            )
        return Path(spec.submodule_search_locations[0]) / "model"

    @property
    def address(self) -> str:
        """By which it is found again: its name, or the folder of one that was given no name."""
        return self.name if self.kept or self.folder is None else str(self.folder)

    def check_length(self, max_length: int | None) -> None:
        """Refuse a limit in tokens that is beyond the context of a causal model.

        Raises: ConfigError. (What an encoder reads at most is told by its weights.)
        """
        if self.kind == "causal" and (max_length or 0) > self.max_length:
            raise ConfigError(
                f"max_length is {max_length:,}, but {self.name} reads at most "
                f"{self.max_length:,} tokens.",
                fix=f"Give {self.max_length:,} or less.",
                param="max_length",
            )


@cache
def catalog() -> dict[str, BaseModel]:
    """The rows of catalog.toml by name."""
    rows = tomllib.loads((Path(__file__).parent / "catalog.toml").read_text(encoding="utf-8"))
    return {name: _row(name, row) for name, row in rows.items()}


def suggested_rate(parameters: int) -> float:
    """The learning rate for tuning all weights of a causal model of so many parameters."""
    return next((rate for most, rate in LEARNING_RATES if parameters <= most), SLOWEST)


def _row(name: str, row: dict[str, Any]) -> BaseModel:
    if row["kind"] == "causal":
        size = row["parameters"]
        row = {"num_bytes": 2 * size, "learning_rate": suggested_rate(size), **row}
    return BaseModel(name=name, **{**row, "languages": tuple(row.get("languages", ()))})
