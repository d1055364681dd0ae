"""The folder of a migrated account: what is listed there, and what of it has been fetched.

Knows: manifest.json, the folder's lock, checksums. Does not know: who is asked, or how.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tunesmith.errors import StateError, StorageError, storage_errors
from tunesmith.pipeline.rundir import file_digest, write_atomic
from tunesmith.providers.account import Owner

FORMAT = 1
MANIFEST = "manifest.json"
SECTIONS = ("files", "jobs", "events", "checkpoints", "models")
"""What an account holds. events and checkpoints: those of a job, under its id."""
LONGEST_NAME = 100

State = Literal["listed", "downloaded", "unavailable"]


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One thing that the account holds.

    state   listed: it is there, and not here yet (models stay so: their weights are not handed
            out); downloaded; unavailable: it cannot be had.
    reason  why it is not downloaded.
    path    where it is, or will be, in the folder.
    bytes, sha256, fetched_at  of what lies there; before that, bytes as the account lists them.
    about   what the account's list says of it.
    """

    id: str
    state: State = "listed"
    reason: str = ""
    path: str = ""
    bytes: int | None = None
    sha256: str = ""
    fetched_at: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where it all comes from. Never the key."""

    base_url: str
    organization: str = ""
    project: str = ""

    @classmethod
    def of(cls, base_url: str, owner: Owner) -> Source:
        return cls(base_url=base_url, organization=owner.organization, project=owner.project)

    def same(self, other: Source) -> bool:
        """Whether it is the same account, as far as both are known."""
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return all(ours == theirs or not (ours and theirs) for ours, theirs in pairs)


class Manifest:
    """What is known of an account: section → id → Asset. `save` writes it in one step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        self.source = Source(base_url="")
        self.started_at = now()
        self.is_complete = False
        self.sections: dict[str, dict[str, Asset]] = {name: {} for name in SECTIONS}

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """The manifest in the folder; an empty one where there is none.

        Raises: StorageError for one that cannot be read.
        """
        manifest = cls(folder)
        place = manifest.folder / MANIFEST
        if not place.is_file():
            return manifest
        with storage_errors(place):
            content = place.read_bytes()
        try:
            found = json.loads(content)
            manifest.source = Source(**found["source"])
            manifest.started_at = found["started_at"]
            manifest.is_complete = found["is_complete"]
            for name in SECTIONS:
                assets = (Asset(**one) for one in found[name])
                manifest.sections[name] = {asset.id: asset for asset in assets}
        except (ValueError, KeyError, TypeError):
            raise StorageError(
                f"{place} is no manifest that this version can read.",
                fix="Choose another folder, or move that file away to begin anew.",
            ) from None
        return manifest

    def __getitem__(self, section: str) -> dict[str, Asset]:
        return self.sections[section]

    def put(self, section: str, asset: Asset) -> None:
        """Remember it, in the place of what was known of it."""
        self.sections[section][asset.id] = asset

    def place(self, asset: Asset) -> Path:
        """Where the asset lies, or will."""
        return self.folder / asset.path

    def is_there(self, asset: Asset) -> bool:
        """Whether the asset lies in its place as it was fetched, by its SHA-256."""
        place = self.place(asset)
        if asset.state != "downloaded" or not place.is_file():
            return False
        return place.stat().st_size == asset.bytes and file_digest(place) == asset.sha256

    def fetched(self, asset: Asset, *, reason: str = "") -> Asset:
        """The asset as what lies in its place now."""
        place = self.place(asset)
        return replace(
            asset,
            state="downloaded",
            reason=reason,
            bytes=place.stat().st_size,
            sha256=file_digest(place),
            fetched_at=now(),
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """Section → state → how many."""
        counted: dict[str, dict[str, int]] = {}
        for name, assets in self.sections.items():
            counted[name] = {"listed": 0, "downloaded": 0, "unavailable": 0}
            for asset in assets.values():
                counted[name][asset.state] += 1
        return counted

    def save(self) -> None:
        """Write manifest.json. Raises: StorageError."""
        told = {
            "format": FORMAT,
            "source": asdict(self.source),
            "started_at": self.started_at,
            "updated_at": now(),
            "is_complete": self.is_complete,
            "counts": self.counts(),
            **{name: [asdict(one) for one in assets.values()] for name, assets in self.all()},
        }
        write_json(self.folder / MANIFEST, told)

    def all(self) -> Iterator[tuple[str, dict[str, Asset]]]:
        """Every section with its assets."""
        yield from self.sections.items()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process. Raises: StateError, StorageError."""
        place = self.folder / ".lock"
        with storage_errors(place):
            self.folder.mkdir(parents=True, exist_ok=True)
            file = place.open("ab")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateError(
                    f"Another process is at work in {self.folder}.",
                    fix="Wait until it has ended, or choose another folder.",
                ) from None
            yield


def now() -> str:
    """The time, as ISO 8601 has it, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, value: object) -> None:
    """Write it as indented JSON, in one step. Raises: StorageError."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n")


def safe_name(name: str, otherwise: str = "file") -> str:
    """The name that somebody else gave, as one that stays in its folder."""
    last = name.replace("\\", "/").rpartition("/")[2]
    plain = re.sub(r"[^\w.()+ -]", "_", last).strip(" .")
    stem, dot, ending = plain.rpartition(".")
    if len(plain) > LONGEST_NAME:
        plain = (stem or ending)[:LONGEST_NAME] + (dot + ending[:10] if stem else "")
    return plain or otherwise


def safe_id(name: str) -> str:
    """An id as the name of a folder or file."""
    return re.sub(r"[^\w-]", "_", name)[:LONGEST_NAME] or "_"
