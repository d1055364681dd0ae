"""Causal base models that are kept on this machine: a folder each, with a manifest of its files.

Knows: SHELF/NAME/base-model.json, which lies beside the files or says in which folder they are.
Does not know: where the shelf is (settings say), or how files came there.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

from tunesmith.catalog import weights
from tunesmith.catalog.base import BaseModel, KeptFile, catalog
from tunesmith.catalog.checksums import sha256
from tunesmith.catalog.folders import OF_FOLDER, inspect, with_row
from tunesmith.errors import ConfigError, storage_errors

MANIFEST = "base-model.json"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
TEXTS = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
"""Files of a model beside its weights; the first two must be there."""


def installed(shelf: Path) -> dict[str, BaseModel]:
    """The base models that are kept, by name, with what is known of each.

    Whether their files are still what they were is for `changed` and `verify` to say.
    Raises: ConfigError for a damaged manifest.
    """
    return {name: _read(shelf / name / MANIFEST) for name in names(shelf)}


def names(shelf: Path) -> list[str]:
    """The names of the base models that are kept."""
    return [path.parent.name for path in sorted(shelf.glob(f"*/{MANIFEST}"))]


def kept(name: str, shelf: Path) -> BaseModel | None:
    """The base model that is kept under that name, if one is.

    Raises: ConfigError for a damaged manifest.
    """
    manifest = shelf / name / MANIFEST
    return _read(manifest) if NAME.fullmatch(name) and manifest.is_file() else None


def register(
    folder: Path, shelf: Path, *, name: str = "", hub: str = "", commit: str = ""
) -> BaseModel:
    """Keep a folder's model under a name (that of the folder, if none is given).

    The files stay where they are; their checksums are kept. Where it goes by the name of a row
    of the catalog it must be that model, and what the row knows of it counts.

    hub, commit  the repository that it was fetched from, if it was.
    Raises: as `inspect` does; ConfigError for a name that is taken or cannot be one; StorageError.
    """
    found = inspect(folder)
    assert found.folder is not None
    name = checked_name(name or found.name)
    place = shelf / name / MANIFEST
    if place.exists() and (other := _read(place).files()) != found.folder:
        raise ConfigError(
            f"There is already a base model {name}; its files are in {other}.",
            fix="Give another name with --name.",
        )
    base = with_row(replace(found, name=name, hub=hub))
    files = [n for n in TEXTS if (found.folder / n).is_file()] + weights.files(found.folder)
    base = replace(base, kept=tuple(_kept(found.folder / n) for n in files))
    written = {
        "folder": "." if found.folder == place.parent.resolve() else str(found.folder),
        "hub": base.hub,
        "commit": commit,
        "facts": {fact: getattr(found, fact) for fact in (*OF_FOLDER, "learning_rate")},
        "files": [asdict(kept) for kept in base.kept],
    }
    with storage_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_suffix(".tmp")
        temporary.write_text(json.dumps(written, indent=1), encoding="utf-8")
        temporary.replace(place)
    return base


def checked_name(name: str) -> str:
    """The name, if a base model may have it. Raises: ConfigError."""
    if name in catalog() and catalog()[name].kind != "causal":
        raise ConfigError(
            f"{name} is the name of another base model.", fix="Give another one with --name."
        )
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a base model.",
            fix="Give one of lower-case letters, digits, and . _ - between them with --name.",
        )
    return name


def _read(path: Path) -> BaseModel:
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        folder = (path.parent / written["folder"]).resolve()
        name, kept = path.parent.name, tuple(KeptFile(**file) for file in written["files"])
        base = BaseModel(name=name, kind="causal", folder=folder, kept=kept, **written["facts"])
        base = replace(base, hub=written["hub"], description=f"local folder {folder}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}).", fix="Delete it and add the model again."
        ) from None
    return with_row(base)


def _kept(path: Path) -> KeptFile:
    return KeptFile(name=path.name, size=path.stat().st_size, sha256=sha256(path))
