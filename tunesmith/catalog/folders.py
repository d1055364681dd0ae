"""A base model in a local folder: what it is, told from its files, and whether they are whole.

Does not know: how a model is loaded (that is `model`).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunesmith.catalog import architectures, vocabulary, weights
from tunesmith.catalog.base import BaseModel, catalog, suggested_rate
from tunesmith.errors import ConfigError

OF_FOLDER = ("parameters", "num_bytes", "max_length", "architecture", "chat_template")
"""What a folder tells better than the row of the catalog that has its name."""
SAME_SIZE = 0.01
"""Share of parameters by which a folder may differ from the row whose name it gets."""


def of_folder(folder: Path, *, name: str = "") -> BaseModel:
    """The model in a local folder, an encoder or a causal one.

    name  by which it goes; what the catalog's row of that name knows counts.
    Raises: ConfigError, NotOffered for a folder that cannot be used.
    """
    folder = folder.expanduser().resolve()
    config = _config(folder)
    base = inspect(folder) if architectures.is_causal(config) else _encoder(folder, config)
    return with_row(replace(base, name=name)) if name else base


def inspect(folder: Path) -> BaseModel:
    """The causal language model in a local folder, which is found whole.

    Its description, licence and date are unknown.
    Raises: ConfigError for a folder that lacks a file, or has a damaged one; NotOffered for a model
    that cannot be loaded, or is no causal one.
    """
    folder = folder.expanduser().resolve()
    config = _config(folder)
    architectures.check(config, folder)
    vocabulary.check(folder, config.get("vocab_size"))
    tied = bool(config.get("tie_word_embeddings"))
    parameters = weights.num_parameters(folder, tied=tied)
    return BaseModel(
        name=folder.name.lower(),
        kind="causal",
        description=f"local folder {folder}",
        parameters=parameters,
        num_bytes=sum((folder / name).stat().st_size for name in weights.files(folder)),
        max_length=architectures.context_length(config),
        learning_rate=suggested_rate(parameters),
        architecture=config.get("model_type", ""),
        chat_template="its own" if _has_template(folder) else "",
        folder=folder,
    )


def with_row(base: BaseModel) -> BaseModel:
    """The same with what the catalog's row of that name knows.

    Raises: ConfigError when it is another model than the row's.
    """
    row = catalog().get(base.name)
    if row is None or row.kind != base.kind or base.hub not in ("", row.hub):
        return base
    off = abs(base.parameters - row.parameters)
    if base.architecture != row.architecture or off > SAME_SIZE * row.parameters:
        raise ConfigError(
            f"{base.folder} is not {row.name}: it holds {base.parameters:,} parameters of the "
            f"architecture {base.architecture}, and that has {row.parameters:,} of "
            f"{row.architecture}.",
            fix="Give it another name with --name.",
        )
    own: dict[str, Any] = {fact: getattr(base, fact) for fact in OF_FOLDER}
    own["chat_template"] = base.chat_template and row.chat_template
    return replace(row, folder=base.folder, kept=base.kept, **own)


def _encoder(folder: Path, config: dict[str, Any]) -> BaseModel:
    for needed in (vocabulary.FILE, weights.SINGLE):
        if not (folder / needed).is_file():
            raise ConfigError(
                f"{folder} has no {needed}.", fix="Put it there, or give another folder."
            )
    positions = int(config.get("max_position_embeddings") or 512)
    return BaseModel(
        name=folder.name.lower(),
        kind="encoder",
        description=f"local folder {folder}",
        max_length=min(256, positions),
        folder=folder,
    )


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if isinstance(config, dict):
            return config
    except (OSError, ValueError):
        pass
    raise ConfigError(
        f"{folder} is not a model folder: config.json is missing or unreadable.",
        fix="Give a folder with config.json, tokenizer.json and model.safetensors.",
    )


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(settings.get("chat_template"))
