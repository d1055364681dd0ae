"""Fetches base models from the Hugging Face hub.

Knows: which files of a repository are needed, how a download goes on where it stopped, the hub's
checksums, what to say when there is no network. HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and proxies
are heeded, as by all programs that use the hub.
Does not know: where base models are kept (the caller says), or what is done with them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.catalog import BaseModel, architectures, catalog, sha256, shelf, verify, weights
from tunesmith.errors import (
    ConfigError,
    MissingExtra,
    NotAllowed,
    NotFound,
    ProviderError,
    StorageError,
    nearest,
    storage_errors,
)
from tunesmith.events import Event

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

Report = Callable[[Event], None]
TIMEOUT = 30.0
"""Seconds without a byte, after which a connection counts as broken."""
ATTEMPTS = 4
"""Broken connections in a row, none of which brought anything, before it is given up."""
PAUSE = 1.0
"""Seconds before the second attempt; each further one waits as much longer."""


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file of a repository: its size in bytes, and a checksum of one of two kinds."""

    name: str
    size: int
    sha256: str
    """Of its content; empty for small files, for which the hub does not tell it."""
    blob: str
    """Git's id of the file."""

    def is_at(self, path: Path) -> bool:
        """Whether this very content is there."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        if self.sha256:
            return sha256(path) == self.sha256
        content = path.read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
        return self.blob in ("", git.hexdigest())


def pull(wanted: str, place: Path, *, name: str = "", report: Report) -> BaseModel:
    """Fetch a base model to the shelf `place` and keep it there.

    wanted  a name in the catalog, or the id of any repository at the hub, OWNER/NAME.
    name    to keep it under; else the repository's own, in lower case.
    What is refused is refused before its weights are fetched. Interrupted in any way, the same
    call goes on where it stopped.

    Raises: NotFound, NotAllowed, NotOffered, ConfigError, StorageError; ProviderError when the hub
    does not answer, which says what to put where by hand.
    """
    asked = wanted.lower()
    rows = {name: row for name, row in catalog().items() if row.hub}
    row = next((row for row in rows.values() if asked in (row.name, row.hub.lower())), None)
    repository = row.hub if row else wanted
    if repository.count("/") != 1:
        raise NotFound(
            f"There is no base model named {wanted!r} in the catalog.",
            fix=f"{nearest(wanted, rows)} Any other is given by its id at the hub, OWNER/NAME.",
        )
    name = shelf.checked_name(name or repository.split("/")[1].lower())
    folder = (place / name).resolve()
    kept, row = shelf.installed(place).get(name), rows.get(name)
    owner = kept.hub if kept else row.hub if row else repository
    if owner not in ("", repository):
        raise ConfigError(
            f"{name} is the name of another base model, {owner}.",
            fix="Give this one another name with --name.",
        )
    if kept:
        try:
            verify(kept)
            return kept
        except ConfigError:
            if kept.files() != folder:
                raise  # it is a folder of the user's own
    if importlib.util.find_spec("huggingface_hub") is None:
        raise MissingExtra(
            "The library huggingface_hub is not installed.",
            fix="Run: pip install 'tunesmith[train]'",
        )
    with _told_plainly(repository, folder):
        commit = _Download(repository, folder, report).run()
    return shelf.register(folder, place, name=name, hub=repository, commit=commit)


class _Download:
    """One repository on its way to a folder."""

    def __init__(self, repository: str, folder: Path, report: Report) -> None:
        from huggingface_hub import HfApi

        self._repository = repository
        self._folder = folder
        self._report = report
        self._done = self._total = 0
        info = HfApi(library_name="tunesmith").model_info(
            repository, files_metadata=True, timeout=TIMEOUT
        )
        self._commit: str = info.sha
        self._files = _files(info)

    def run(self) -> str:
        """Fetch what is needed, and is not there yet; the commit it is of."""
        needed = [self._files[name] for name in shelf.TEXTS if name in self._files]
        beginning = weights.beginning(self._files, self._repository)
        for name in shelf.TEXTS[:2]:
            if name not in self._files:
                raise ConfigError(
                    f"{self._repository} has no {name}.", fix="Choose another repository."
                )
        if beginning == weights.INDEX:
            needed.append(self._files[beginning])
        with storage_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        self._fetch(needed)
        config = json.loads((self._folder / "config.json").read_text(encoding="utf-8"))
        architectures.check(config, self._repository)
        self._fetch([self._files[name] for name in self._weights(beginning)])
        for part in self._folder.glob("*.part"):
            part.unlink()
        return self._commit

    def _weights(self, beginning: str) -> list[str]:
        if beginning == weights.SINGLE:
            return [beginning]
        index = (self._folder / beginning).read_bytes()
        named = list(weights.shards(index, self._repository))
        if missing := [name for name in named if name not in self._files]:
            raise ConfigError(
                f"{self._repository} lacks {missing[0]}, which its {beginning} names.",
                fix="Choose another repository.",
            )
        return named

    def _fetch(self, needed: list[HubFile]) -> None:
        missing = [file for file in needed if not file.is_at(self._folder / file.name)]
        self._total = sum(file.size for file in missing)
        self._done = sum(_size(self._part(file)) for file in missing)
        if (free := shutil.disk_usage(self._folder).free) < self._total - self._done:
            raise StorageError(
                f"{self._repository} needs {_gb(self._total - self._done)} more, and there are "
                f"{_gb(free)} free at {self._folder}.",
                fix="Free some space, or choose another disk with TUNESMITH_DATA_DIR.",
            )
        for file in missing:
            self._fetch_one(file)

    def _fetch_one(self, file: HubFile) -> None:
        part = self._part(file)
        if not _size(part):
            with storage_errors(part):
                part.touch()
        in_vain = 0
        while (had := _size(part)) < file.size:
            broken = self._go_on(file, part)
            in_vain = in_vain + 1 if _size(part) <= had else 0
            if in_vain == ATTEMPTS:
                raise ProviderError(
                    f"The download of {file.name} broke off after {_gb(_size(part))} of "
                    f"{_gb(file.size)}: {broken or 'the hub sends no more'}.",
                    fix="Run the same command again; it goes on from there.",
                )
            time.sleep(PAUSE * in_vain)
        arrived = self._folder / file.name
        with storage_errors(part):
            part.replace(arrived)
        if not file.is_at(arrived):
            arrived.unlink()
            raise ProviderError(
                f"{file.name} did not arrive as it is at the hub: size or checksum differ.",
                fix="Run the same command again to fetch this file anew.",
            )

    def _go_on(self, file: HubFile, part: Path) -> str:
        """Append what is missing; why it broke off, if it did."""
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError, HTTPError
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

        url = hf_hub_url(self._repository, file.name, revision=self._commit)
        # Compressed on the way, a part of a file would not be a part of its content.
        headers = build_hf_headers(library_name="tunesmith") | {"accept-encoding": "identity"}
        if had := _size(part):
            headers["range"] = f"bytes={had}-"
        try:
            with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT) as reply:
                hf_raise_for_status(reply)
                self._write(reply.iter_bytes(), part, had if reply.status_code == 206 else 0)
        except HfHubHTTPError:
            raise
        except HTTPError as error:
            return _reason(error)
        return ""

    def _write(self, chunks: Iterator[bytes], part: Path, start: int) -> None:
        self._done -= _size(part) - start
        with storage_errors(part), part.open("r+b") as file:
            file.truncate(start)
            file.seek(start)
            for chunk in chunks:
                file.write(chunk)
                self._done += len(chunk)
                self._report(
                    Event(
                        kind="progress",
                        message=f"{self._repository}, MB",
                        data={"done": self._done / 1e6, "total": self._total / 1e6},
                    )
                )

    def _part(self, file: HubFile) -> Path:
        # The commit is in its name: two versions of a file are never put together.
        return self._folder / f"{file.name}.{self._commit[:12]}.part"


def _files(info: ModelInfo) -> dict[str, HubFile]:
    return {
        found.rfilename: HubFile(
            name=found.rfilename,
            size=found.size or 0,
            sha256=found.lfs.sha256 if found.lfs else "",
            blob="" if found.lfs else found.blob_id or "",
        )
        for found in info.siblings or []
    }


@contextmanager
def _told_plainly(repository: str, folder: Path) -> Iterator[None]:
    """Turn what goes wrong at the hub, or on the way to it, into errors of ours."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    page = f"{constants.ENDPOINT}/{repository}"
    try:
        yield
    except GatedRepoError:
        raise NotAllowed(
            f"{repository} is handed out only to those who have accepted its licence.",
            fix=f"Accept it at {page}, and put an access token of yours into HF_TOKEN.",
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise NotFound(
            f"There is no repository {repository} at {constants.ENDPOINT}, or it is private.",
            fix="Check the id. For a private one put an access token of yours into HF_TOKEN.",
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise ProviderError(
            f"The hub answered {status} when asked for {repository}.",
            fix="Try again later; what was fetched stays. " + _by_hand(page, folder),
            status=status,
        ) from None
    except (HTTPError, OfflineModeIsEnabled) as error:
        raise ProviderError(
            f"The hub cannot be reached at {constants.ENDPOINT}: {_reason(error)}.",
            fix=_by_hand(page, folder),
        ) from None


def _by_hand(page: str, folder: Path) -> str:
    files = ", ".join(shelf.TEXTS)
    return (
        f"Without a network: fetch these files of {page} elsewhere and put them into {folder}: "
        f"{files} (as far as they are there) and {weights.SINGLE}, or {weights.INDEX} with all "
        f"files that it names. Then run: tunesmith models add {folder}"
    )


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _gb(number: int) -> str:
    return f"{number / 1e9:,.2f} GB"
