"""What an account holds: its lists, to their last page, and where each thing is to lie.

Knows: the lists of files, jobs and models, and what their entries say.
Does not know: how contents are fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tunesmith import wire
from tunesmith.errors import NotFound, ProviderError
from tunesmith.pipeline.migrating.manifest import Asset, Manifest, safe_id, safe_name
from tunesmith.providers.account import Account, Owner

Entry = Mapping[str, Any]

PAGE = 100
"""Entries of one page; more than OpenAI is known to send at once."""
JOBS = "/fine_tuning/jobs"
OF_JOB = (
    "status", "model", "fine_tuned_model", "training_file", "validation_file", "result_files",
    "user_provided_suffix", "seed", "trained_tokens", "created_at", "finished_at",
)  # fmt: skip
OF_FILE = ("filename", "purpose", "created_at", "expires_at", "status")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The account's lists, each entry as it was sent, newest first."""

    owner: Owner
    files: tuple[Entry, ...]
    jobs: tuple[Entry, ...]
    models: tuple[Entry, ...]


def list_all(account: Account) -> Listed:
    """Everything the account lists. Raises: as the calls of `Provider` do."""
    return Listed(
        owner=account.owner(),
        files=tuple(every(account, "/files")),
        jobs=tuple(every(account, JOBS)),
        models=tuple(_entries(account.page("/models"))),
    )


def every(account: Account, path: str) -> Iterator[Entry]:
    """The entries of the list at `path`, each once, to the last page."""
    after: str | None = None
    seen: set[str] = set()
    while True:
        page = account.page(path, after=after, limit=PAGE)
        fresh = [one for one in _entries(page) if one["id"] not in seen]
        yield from fresh
        # A server that does not say whether there is more is asked until it has nothing new.
        if not fresh or not page.get("has_more", True):
            return
        seen |= {one["id"] for one in fresh}
        after = fresh[-1]["id"]


def note(listed: Listed, manifest: Manifest) -> None:
    """Put all that is listed into the manifest. What is known of it and still holds, stays."""
    results = {
        file: str(job["id"]) for job in listed.jobs for file in job.get("result_files") or ()
    }
    uses: dict[str, list[str]] = {}
    for job in listed.jobs:
        for name in _files_of(job):
            uses.setdefault(name, []).append(str(job["id"]))
        _note_job(job, manifest)
    for file in listed.files:
        _note_file(file, manifest, uses=uses, results=results)
    there = {str(file["id"]) for file in listed.files}
    for name, jobs in uses.items():
        if name not in there:
            about = {"used_by": jobs, "is_listed": False}
            known = manifest["files"].get(name, Asset(id=name, path=f"files/{safe_id(name)}/file"))
            manifest.put("files", replace(known, about={**known.about, **about}))
    _forget_gone(listed, manifest, kept=there | set(uses))


def find_file(account: Account, asset: Asset) -> Asset:
    """A file that a job names and no list has, with what the account says of it.

    It is unavailable where there is no such file any more.
    """
    try:
        found = account.get(f"/files/{asset.id}")
    except NotFound as error:
        why = f"It is deleted; a job still names it. ({error.what.rstrip('.')}.)"
        return replace(asset, state="unavailable", reason=why)
    about = {**asset.about, **{key: found.get(key) for key in OF_FILE}}
    path = _file_place(found, None)
    return replace(asset, state="listed", reason="", path=path, about=about)


def _note_job(job: Entry, manifest: Manifest) -> None:
    name = str(job["id"])
    about = {key: job.get(key) for key in OF_JOB}
    about["method"] = (job.get("method") or {}).get("type") or "supervised"
    places = {
        "jobs": f"jobs/{safe_id(name)}.json",
        "events": f"jobs/{safe_id(name)}/events.jsonl",
        "checkpoints": f"jobs/{safe_id(name)}/checkpoints.json",
    }
    for section, path in places.items():
        known = manifest[section].get(name, Asset(id=name, path=path))
        told = about if section == "jobs" else {"status": about["status"]}
        if section != "jobs" and not _was_final(known):
            known = replace(known, state="listed")  # it may have gone on since
        manifest.put(section, replace(known, about=told))


def _was_final(known: Asset) -> bool:
    return known.about.get("status") in wire.TERMINAL


def _note_file(
    file: Entry, manifest: Manifest, *, uses: Mapping[str, list[str]], results: Mapping[str, str]
) -> None:
    name = str(file["id"])
    about = {key: file.get(key) for key in OF_FILE}
    about |= {"used_by": uses.get(name, []), "is_listed": True, "listed_bytes": file.get("bytes")}
    known = manifest["files"].get(name)
    if known is None or not known.about.get("is_listed"):
        path = _file_place(file, results.get(name))
        known = Asset(id=name, path=path, bytes=file.get("bytes"))
    manifest.put("files", replace(known, about=about))


def _file_place(file: Entry, job: str | None) -> str:
    """Result files lie with their job, all others in a folder of their own."""
    name = safe_name(str(file.get("filename") or ""))
    if job is None:
        return f"files/{safe_id(str(file['id']))}/{name}"
    return f"jobs/{safe_id(job)}/{safe_id(str(file['id']))}-{name}"


def _forget_gone(listed: Listed, manifest: Manifest, *, kept: set[str]) -> None:
    """What an earlier start saw and is gone by now: here it stays, and the reason says so."""
    jobs = {str(job["id"]) for job in listed.jobs}
    for section in ("files", "jobs", "events", "checkpoints"):
        there = kept if section == "files" else jobs
        for asset in [one for one in manifest[section].values() if one.id not in there]:
            about = {**asset.about, "is_listed": False}
            gone = replace(asset, reason="The account lists it no longer.", about=about)
            if gone.state != "downloaded":
                gone = replace(gone, state="unavailable")
            manifest.put(section, gone)


def _files_of(job: Entry) -> list[str]:
    given = [job.get("training_file"), job.get("validation_file"), *(job.get("result_files") or ())]
    return [str(name) for name in given if name]


def _entries(page: Any) -> list[Entry]:
    data = page.get("data") if isinstance(page, dict) else None
    if not isinstance(data, list):
        raise ProviderError("The answer is no list.", fix="Check the address (--base-url).")
    return [one for one in data if isinstance(one, dict) and one.get("id")]
