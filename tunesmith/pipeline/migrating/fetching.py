"""Fetching what is listed and not here yet: several things at once, each written in one step.

A process that is killed leaves whole files, or none: what the next start finds with the right
checksum is not fetched again.
Knows: the manifest, the account. Does not know: what the contents mean.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.errors import (
    NotAllowed,
    ProviderError,
    RequestError,
    StorageError,
    storage_error,
    storage_errors,
)
from tunesmith.events import Event
from tunesmith.pipeline.migrating.listing import JOBS, Entry, every, find_file
from tunesmith.pipeline.migrating.manifest import Asset, Manifest, write_json
from tunesmith.pipeline.rundir import write_atomic
from tunesmith.providers.account import Account

SAVING = 0.1
"""Share of the time that goes into writing the manifest: what a kill can cost is little."""
SPARE = 64 << 20
"""Bytes of the disk that are left free."""

Report = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Something to be fetched."""

    section: str
    asset: Asset


def missing(
    manifest: Manifest, report: Report, *, purposes: Sequence[str] = ()
) -> Iterator[Missing]:
    """What is not here yet, or has changed since it was fetched: files of jobs first.

    purposes  of the files; none: all. Others stay listed, with the reason; files that jobs name
              are always wanted.
    """
    files = sorted(manifest["files"].values(), key=lambda one: not one.about.get("used_by"))
    all_of = [("files", one) for one in files]
    all_of += [(name, one) for name in ("events", "checkpoints") for one in manifest[name].values()]
    for number, (section, asset) in enumerate(all_of, start=1):
        data = {"done": number, "total": len(all_of)}
        report(Event(kind="progress", message="Checking what is there", data=data))
        if manifest.is_there(asset) or _is_gone(asset):
            continue
        if why := _unwanted(asset, purposes):
            manifest.put(section, replace(asset, state="listed", reason=why))
            continue
        yield Missing(section=section, asset=replace(asset, state="listed", sha256="", reason=""))


def _is_gone(asset: Asset) -> bool:
    """Whether nobody has it: the account lists it no longer, and no job names it."""
    return asset.about.get("is_listed") is False and not asset.about.get("used_by")


def _unwanted(asset: Asset, purposes: Sequence[str]) -> str:
    purpose = asset.about.get("purpose")
    if not purposes or asset.about.get("used_by") or purpose is None or purpose in purposes:
        return ""
    return f"Files of the purpose {purpose} were not asked for (--purpose)."


def keep_jobs(jobs: Sequence[Entry], manifest: Manifest) -> None:
    """Write each job as it was listed, where that has changed. Raises: StorageError."""
    for job in jobs:
        asset = manifest["jobs"][str(job["id"])]
        place = manifest.place(asset)
        if not manifest.is_there(asset) or json.loads(place.read_bytes()) != job:
            write_json(place, job)
            manifest.put("jobs", manifest.fetched(asset))


class Fetching:
    """Fetches into a manifest's folder. `failed` holds what may be had later, with the reason."""

    def __init__(self, manifest: Manifest, account: Account, report: Report) -> None:
        self._manifest = manifest
        self._account = account
        self._report = report
        self.failed: list[tuple[str, str]] = []
        self.num_fetched = self.num_bytes = 0
        self._save_next = 0.0
        self._is_over = threading.Event()

    def fetch(self, wanted: Sequence[Missing], *, concurrency: int) -> None:
        """Fetch all of it. What cannot be had is noted in the manifest with the reason.

        Raises: NotAllowed, ProviderError when the other side refuses the key or is gone;
        StorageError. What was fetched until then is kept.
        """
        self._check_room(wanted)
        for one in wanted:
            self._manifest.put(one.section, one.asset)
        pool = ThreadPoolExecutor(max_workers=concurrency)
        waiting, under_way = list(reversed(wanted)), dict[Future[Asset], Missing]()
        try:
            while waiting or under_way:
                while waiting and len(under_way) < 2 * concurrency:
                    one = waiting.pop()
                    under_way[pool.submit(self._one, one)] = one
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    self._settle(under_way.pop(future), future)
                total = len(wanted)
                data = {"done": total - len(waiting) - len(under_way), "total": total}
                self._report(Event(kind="progress", message="Fetching", data=data))
        finally:
            self._is_over.set()
            pool.shutdown(wait=True, cancel_futures=True)
            for future, one in under_way.items():  # done while something else broke off
                if not future.cancelled() and future.exception() is None:
                    self._manifest.put(one.section, future.result())
            self._manifest.save()

    def _check_room(self, wanted: Sequence[Missing]) -> None:
        needed = sum(one.asset.bytes or 0 for one in wanted)
        with storage_errors(self._manifest.folder):
            free = shutil.disk_usage(self._manifest.folder).free
        if needed + SPARE > free:
            raise StorageError(
                f"{needed:,} bytes are to be fetched, and {self._manifest.folder} has room for "
                f"{free:,}.",
                fix="Choose a folder on another disk, or fetch fewer files with --purpose.",
            )

    def _settle(self, one: Missing, future: Future[Asset]) -> None:
        """Put what came of it into the manifest."""
        try:
            found = future.result()
        except NotAllowed as error:
            self._account.owner()  # raises where it is the key that is refused
            found = replace(one.asset, state="unavailable", reason=error.what)
        except ProviderError as error:
            self._account.owner()  # raises where nobody is there any more
            self.failed.append((one.asset.id, error.what))
            found = replace(one.asset, reason=f"Not yet: {error.what}")
            self._report(Event(kind="warning", message=f"{one.asset.id}: {error.what}"))
        if found.state == "downloaded":
            self.num_fetched += 1
            self.num_bytes += found.bytes or 0
        self._manifest.put(one.section, found)
        if (began := time.monotonic()) > self._save_next:
            self._manifest.save()
            took = time.monotonic() - began
            self._save_next = began + took / SAVING

    def _one(self, one: Missing) -> Asset:
        """Fetch it; or say why it cannot be had. Runs in a thread of the pool."""
        get = {"files": self._file, "events": self._events, "checkpoints": self._checkpoints}
        try:
            return get[one.section](one.asset)
        except (StorageError, NotAllowed):
            raise
        except RequestError as error:
            return replace(one.asset, state="unavailable", reason=error.what)

    def _file(self, asset: Asset) -> Asset:
        if asset.about.get("is_listed") is False:
            asset = find_file(self._account, asset)
            if asset.state == "unavailable":
                return asset
        place = self._manifest.place(asset)
        with storage_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
        self._download(asset.id, place)
        listed = asset.about.get("listed_bytes")
        found = self._manifest.fetched(asset)
        if listed is None or found.bytes == listed:
            return found
        # The transport sees to whole bodies: a second download that is the same is what there is.
        self._download(asset.id, place)
        why = f"The account lists it with {listed:,} bytes."
        again = self._manifest.fetched(asset, reason=why)
        if again.sha256 == found.sha256:
            return again
        raise ProviderError(f"{asset.id} is another file at each download.")

    def _download(self, file_id: str, place: Path) -> None:
        draft = place.with_name(f".{place.name}.part")
        try:
            with _Draft(draft, self._is_over) as file:
                self._account.download(file_id, file)
                os.fsync(file.fileno())
            draft.replace(place)
        except OSError as error:
            raise storage_error(error, place) from None
        finally:
            draft.unlink(missing_ok=True)

    def _events(self, asset: Asset) -> Asset:
        """Oldest first, one a line."""
        found = list(every(self._account, f"{JOBS}/{asset.id}/events"))
        lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in reversed(found)]
        place = self._manifest.place(asset)
        with storage_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, "".join(lines).encode())
        return self._manifest.fetched(asset)

    def _checkpoints(self, asset: Asset) -> Asset:
        """Oldest first, as one list."""
        found = list(every(self._account, f"{JOBS}/{asset.id}/checkpoints"))
        write_json(self._manifest.place(asset), found[::-1])
        fetched = self._manifest.fetched(asset)
        return replace(fetched, about={**asset.about, "checkpoints": [one["id"] for one in found]})


class _Draft(io.FileIO):
    """A file that is being written; once all is over, the next piece breaks it off."""

    def __init__(self, path: Path, is_over: threading.Event) -> None:
        super().__init__(path, "wb")
        self._is_over = is_over

    def write(self, piece: Any, /) -> int:
        if self._is_over.is_set():
            raise InterruptedError(errno.EINTR, "the download was broken off")
        written = 0
        while written < len(piece):  # a raw file may take less than it is given
            written += super().write(memoryview(piece)[written:])
        return written
