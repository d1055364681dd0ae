"""Every exception of Tunesmith.

TunesmithError            says what happened and, in `fix`, what to do
├── RequestError          the user asked for something that cannot be done
│   ├── ConfigError       a setting is impossible or unknown
│   ├── DataError         a table, row or example is wrong (has: path, line)
│   ├── NotFound          no such file, job, model or base model
│   ├── NotOffered        the other side cannot do this at all
│   ├── NotAllowed        the key is missing, wrong or may not do this
│   ├── StateError        the thing is in a state in which this cannot be done
│   ├── StorageError      a folder or disk cannot be written or read
│   │   └── DatabaseError the database is busy or does not answer; it may later
│   └── MissingExtra      a part of Tunesmith is not installed
├── JobFailed             a fine-tuning job ended badly (has: job, code)
├── ProviderError         the other side failed or broke off (has: status, code, headers)
└── ParityError           the endpoint does not answer as the trainer did

The server maps these to HTTP and the command line to exit codes; nothing else does.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class TunesmithError(Exception):
    """What happened (`what`) and what to do about it (`fix`), each one plain sentence."""

    def __init__(self, what: str, *, fix: str = "", param: str | None = None) -> None:
        super().__init__(f"{what} {fix}".strip())
        self.what = what
        self.fix = fix
        self.param = param


class RequestError(TunesmithError):
    """The request cannot be met as it stands; changing it can help, repeating it cannot."""

    code: str | None = None
    """What a provider calls it, such as model_not_found."""


class ConfigError(RequestError):
    """A setting is impossible, unknown or contradicts another one."""


class DataError(RequestError):
    """A table, row or example is wrong; `line` is the 1-based line in `path`, where known."""

    def __init__(
        self, what: str, *, fix: str = "", path: Path | None = None, line: int | None = None
    ) -> None:
        place = "" if path is None else f"{path}:{line}: " if line else f"{path}: "
        super().__init__(f"{place}{what}", fix=fix)
        self.path = path
        self.line = line


class NotFound(RequestError):
    """Nothing goes by that name or id."""


class NotOffered(RequestError):
    """This provider, engine or base model cannot do this, whatever the settings."""


class NotAllowed(RequestError):
    """The API key is missing, wrong, revoked, or lacks the right."""


class StateError(RequestError):
    """The call does not fit the state the thing is in (cancelling a finished job, say)."""


class StorageError(RequestError):
    """A file, folder or database cannot be read or written."""


class DatabaseError(StorageError):
    """The database is busy or does not answer: what was to be done can be done later."""


class MissingExtra(RequestError):
    """A part of Tunesmith is not installed; `fix` holds the command that installs it."""


class JobFailed(TunesmithError):
    """A fine-tuning job ended as failed or cancelled."""

    def __init__(
        self, what: str, *, fix: str = "", job: str = "", code: str = "", param: str | None = None
    ) -> None:
        super().__init__(what, fix=fix, param=param)
        self.job = job
        self.code = code


class ProviderError(TunesmithError):
    """The provider could not be reached, broke off, or answered with a failure of its own."""

    def __init__(
        self,
        what: str,
        *,
        fix: str = "",
        status: int | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(what, fix=fix)
        self.status = status
        self.code = code
        self.headers = headers or {}


class ParityError(TunesmithError):
    """The deployed model's answers differ from the trainer's own; `what` names the cause."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one, or all of them when none is near."""
    known = list(known)
    folded = {k.casefold(): k for k in known}
    if near := difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5):
        return f"Did you mean {folded[near[0]]!r}?"
    return f"There are: {', '.join(known)}." if known else "There are none."


def pick(table: Mapping[str, T], name: str, kind: str) -> T:
    """`table[name]`, or a ConfigError that names the nearest entry."""
    if name in table:
        return table[name]
    raise ConfigError(f"There is no {kind} named {name!r}.", fix=nearest(name, table))


def storage_error(error: OSError, path: Path) -> StorageError:
    """Say in a sentence why `path` could not be written or read."""
    if error.errno == errno.ENOSPC:
        return StorageError(
            f"The disk is full: {path} could not be written.",
            fix="Free some space, or choose another place with --run-dir or TUNESMITH_DATA_DIR, "
            "then start the same command again; it goes on where it stopped.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(
            f"{path} cannot be written: {error.strerror}.",
            fix="Choose a folder you may write to with --run-dir or TUNESMITH_DATA_DIR.",
        )
    return StorageError(f"{path}: {error.strerror or error}.", fix="Check the path and its rights.")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into the StorageError about `path`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error
