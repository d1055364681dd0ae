"""Base models: what can be tuned, where its files are, and what is known about it.

A base model goes by a name, of a row of catalog.toml or one under which it was put on the shelf of
this machine; or it is given as a local folder.
Does not know: how to load a model (that is `model`) or to fetch one (that is `hub`).
"""

from __future__ import annotations

from pathlib import Path

from tunesmith.catalog import shelf as shelves
from tunesmith.catalog.base import DEFAULT, BaseModel, KeptFile, catalog, suggested_rate
from tunesmith.catalog.checksums import changed, sha256, verify
from tunesmith.catalog.folders import inspect, of_folder
from tunesmith.catalog.weights import SINGLE as WEIGHTS
from tunesmith.errors import NotFound, nearest

__all__ = [
    "DEFAULT", "WEIGHTS", "BaseModel", "KeptFile", "catalog", "changed", "find", "inspect",
    "of_folder", "sha256", "suggested_rate", "verify",
]  # fmt: skip


def find(name: str, shelf: Path | None = None, *, folders: bool = True) -> BaseModel:
    """The base model of that name, an encoder or a causal one.

    Whether its files are on this machine is told by `BaseModel.files`.

    shelf    where base models are kept that were pulled or added (settings.base_models_dir).
    folders  whether `name` may also be a local folder.
    Raises: NotFound with the nearest name; ConfigError or NotOffered for an unusable folder.
    """
    if shelf is not None and (kept := shelves.kept(name, shelf)):
        return kept
    if name in catalog():
        return catalog()[name]
    if folders and _is_folder(name):
        return of_folder(Path(name))
    hint = nearest(name, [*catalog(), *(shelves.names(shelf) if shelf is not None else ())])
    raise NotFound(f"There is no base model named {name!r}.", fix=hint, param="model")


def _is_folder(name: str) -> bool:
    try:
        return bool(name) and Path(name).expanduser().is_dir()
    except (OSError, RuntimeError):  # a name too long, a home that nobody has
        return False
