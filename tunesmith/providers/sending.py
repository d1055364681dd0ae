"""Files on their way to a provider: looked for before they are sent, large ones in parts.

Knows: OpenAI's files and uploads. Does not know: what is in a file.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from tunesmith import wire
from tunesmith.errors import NotOffered, ProviderError, RequestError, storage_error
from tunesmith.providers.caller import Caller
from tunesmith.providers.provider import Capabilities

LISTED = 1000
"""Files on a page of the list."""
MIME_TYPE = "application/jsonl"


def send(caller: Caller, can: Capabilities, path: Path, *, purpose: str, name: str) -> wire.File:
    """The file at the provider; see `Provider.upload`."""
    try:
        size = path.stat().st_size
        in_parts = 0 < can.part_bytes < size
        most = can.upload_bytes if in_parts else can.file_bytes
        if 0 < most < size:
            raise NotOffered(
                f"{path} has {size:,} bytes; {can.title} takes files of {most:,} at most.",
                fix="Give a smaller table, or train on this machine.",
            )
        there = partial(_there, caller, purpose, name, size)
        if found := there():
            return found
        if in_parts:
            return _in_parts(caller, can.part_bytes, path, purpose=purpose, name=name)
        return _whole(caller, path, purpose=purpose, name=name)
    except OSError as error:
        raise storage_error(error, path) from None


def _there(caller: Caller, purpose: str, name: str, size: int) -> wire.File | None:
    """A file of that name, which only this content has, and of that size."""
    if not name:
        return None
    found = caller.pages(lambda client: client.files.list(purpose=purpose, limit=LISTED))
    for file in found:
        if (file.filename, file.bytes) == (name, size) and file.status != "error":
            return wire.File.model_validate(file.to_dict())
    return None


def _whole(caller: Caller, path: Path, *, purpose: str, name: str) -> wire.File:
    size = path.stat().st_size

    def once(client: Any) -> wire.File:
        with path.open("rb") as file:
            # The purposes a caller may give are checked by the other side.
            sent = client.files.create(file=(name or path.name, file), purpose=purpose)
        return wire.File.model_validate(sent.to_dict())

    if not name:
        return caller.ask(once)
    return caller.ask(once, before_again=partial(_there, caller, purpose, name, size))


def _in_parts(caller: Caller, part_bytes: int, path: Path, *, purpose: str, name: str) -> wire.File:
    """The file put together there of parts; a part whose reply is lost is sent again."""
    size = path.stat().st_size
    asked: Any = {"filename": name or path.name, "purpose": purpose, "bytes": size}
    upload = caller.ask(lambda client: client.uploads.create(**asked, mime_type=MIME_TYPE)).id
    with path.open("rb") as file:
        parts = [_part(caller, upload, file, part_bytes) for _ in range(0, size, part_bytes)]

    def complete(client: Any) -> wire.File:
        done = client.uploads.complete(upload, part_ids=parts)
        return wire.File.model_validate(done.to_dict()["file"])

    def done_before() -> wire.File | None:
        try:
            return _there(caller, purpose, name, size)
        except (ProviderError, RequestError):
            return None

    return caller.ask(complete, before_again=done_before)


def _part(caller: Caller, upload: str, file: BinaryIO, part_bytes: int) -> str:
    content = file.read(part_bytes)

    def once(client: Any) -> str:
        part_id: str = client.uploads.parts.create(upload, data=content).id
        return part_id

    return caller.ask(once)
