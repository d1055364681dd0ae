"""The run directory: where each verb leaves what it made, and how a later start finds it again.

Knows: the folders, result.json and the digest of what it was made from, the lock, the run's id.
Does not know: what any verb does, or what a result means.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tunesmith.errors import StateError, StorageError, storage_error

T = TypeVar("T")

VERBS = ("prepare", "upload", "train", "deploy", "evaluate")
FOLDERS = {verb: f"{number:02}-{verb}" for number, verb in enumerate((*VERBS, "iterate"), start=1)}
RESULT = "result.json"
CONFIG = "config.toml"


def digest(*parts: object) -> str:
    """16 hex digits that change when any of `parts` does (plain data, dataclasses, paths)."""
    text = json.dumps(parts, default=_plain, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content.

    Raises: StorageError when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise storage_error(error, path) from None


class RunDir:
    """One run's folder on disk. Nothing is created before it is needed."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._loaded: set[str] = set()
        self._saved: set[str] = set()

    @property
    def reused(self) -> set[str]:
        """Verbs whose earlier result was found and not made again."""
        return self._loaded - self._saved

    @property
    def id(self) -> str:
        """The run's own id, made at the first asking and kept in the file `run-id`."""
        place = self.path / "run-id"
        if place.is_file() and (known := place.read_text(encoding="utf-8").strip()):
            return known
        fresh = secrets.token_hex(8)
        self.write("run-id", fresh + "\n")
        return fresh

    def folder(self, verb: str) -> Path:
        """The verb's folder (`01-prepare` …), created if missing.

        Raises: StorageError when it cannot be.
        """
        folder = self.path / FOLDERS[verb]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, folder) from None
        if not os.access(folder, os.W_OK):
            raise StorageError(
                f"{folder} cannot be written.",
                fix="Choose a folder you may write to with --run-dir.",
            )
        return folder

    def has(self, verb: str) -> bool:
        """Whether the verb has left any result."""
        return (self.path / FOLDERS[verb] / RESULT).is_file()

    def load(self, verb: str, kind: type[T], inputs: str) -> T | None:
        """The result of an earlier, unchanged run of `verb`, or None.

        Unchanged means that the digest stored with it is `inputs`. A result that another version
        wrote in another shape counts as none.
        """
        found = self._read(verb)
        if found is None or found.pop("inputs", None) != inputs:
            return None
        try:
            result = TypeAdapter(kind).validate_python(found)
        except ValidationError:
            return None
        self._loaded.add(verb)
        return result

    def latest(self, verb: str, kind: type[T]) -> T | None:
        """The verb's result whatever it was made from, or None when there is none."""
        found = self._read(verb) or {}
        return self.load(verb, kind, str(found.get("inputs")))

    def inputs(self, verb: str) -> str:
        """The digest stored with the verb's result; empty where there is none."""
        return str((self._read(verb) or {}).get("inputs", ""))

    def save(self, verb: str, result: object, inputs: str, config_toml: str = "") -> None:
        """Write the verb's config.toml and then, last and in one step, its result.json.

        Raises: StorageError when the disk is full or the folder cannot be written.
        """
        folder = self.folder(verb)
        if config_toml:
            write_atomic(folder / CONFIG, config_toml.encode())
        plain = TypeAdapter[Any](type(result)).dump_python(result, mode="json")
        text = json.dumps({"inputs": inputs, **plain}, ensure_ascii=False, indent=1)
        write_atomic(folder / RESULT, text.encode() + b"\n")
        self._saved.add(verb)

    def amend(self, verb: str, result: object) -> None:
        """Replace the verb's result by one made from the same inputs. Raises: StorageError."""
        inputs, was_saved = self.inputs(verb), verb in self._saved
        self.save(verb, result, inputs)
        if not was_saved:
            self._saved.discard(verb)

    def write(self, name: str, text: str) -> Path:
        """Write a file at the top of the run directory in one step."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, self.path) from None
        return write_atomic(self.path / name, text.encode())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory for this process.

        Raises: StateError when another process is at work in it.
        """
        place = self.writable(".lock")
        with place.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateError(
                    f"Another process is at work in {self.path}.",
                    fix="Wait until it has ended, or choose another --run-dir.",
                ) from None
            yield

    def writable(self, name: str) -> Path:
        """`name` in the run directory, made sure to be writable."""
        place = self.path / name
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            place.open("ab").close()
        except OSError as error:
            raise storage_error(error, place) from None
        return place

    def _read(self, verb: str) -> dict[str, Any] | None:
        place = self.path / FOLDERS[verb] / RESULT
        try:
            found = json.loads(place.read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None


def write_atomic(path: Path, content: bytes) -> Path:
    """Replace `path` in one step: readers see the old content or the new, never a part.

    Raises: StorageError.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            draft.write_bytes(content)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise storage_error(error, path) from None
    return path


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{value!r} cannot be part of a digest")
