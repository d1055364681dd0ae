"""upload: the prepared files go to the provider, once per checksum.

Does not know: what is in the files.
"""

from __future__ import annotations

import time
from pathlib import Path

from tunesmith.events import Event
from tunesmith.pipeline.results import Prepared, Uploaded
from tunesmith.pipeline.rundir import digest, file_digest
from tunesmith.pipeline.workshop import Workshop


def inputs(prepared: Prepared, shop: Workshop) -> str:
    """Changes when a file or the provider does."""
    files = (prepared.train, prepared.validation)
    return digest([file_digest(shop.run_dir.path / file) for file in files], shop.provider.place)


def upload(prepared: Prepared, shop: Workshop) -> Uploaded:
    """Send what the provider does not have yet.

    Files of an earlier start are asked for by their ids before they are counted on.
    Raises: ProviderError, NotAllowed, StorageError.
    """
    started, place = time.monotonic(), shop.provider.place
    earlier = shop.run_dir.latest("upload", Uploaded)
    known: dict[str, str] = {}
    if earlier and earlier.server == place:
        known[earlier.train_sha256] = earlier.train_file
        known[earlier.validation_sha256] = earlier.validation_file
    ids, sums, num_sent = [], [], 0
    for name in (prepared.train, prepared.validation):
        path = shop.run_dir.path / name
        checksum = file_digest(path)
        file_id = known.get(checksum)
        if file_id is None or shop.provider.file(file_id) is None:
            file_id = shop.provider.upload(path, name=own_name(path, checksum)).id
            num_sent += 1
            size = path.stat().st_size / 1e6
            shop.report(Event(kind="note", message=f"{path.name} ({size:.1f} MB) is {file_id}"))
        ids.append(file_id)
        sums.append(checksum)
    if earlier and ids == [earlier.train_file, earlier.validation_file]:
        return earlier
    result = Uploaded(
        server=place,
        train_file=ids[0],
        train_sha256=sums[0],
        validation_file=ids[1],
        validation_sha256=sums[1],
        num_sent=num_sent,
        seconds=time.monotonic() - started,
    )
    shop.run_dir.save("upload", result, inputs(prepared, shop))
    return result


def own_name(path: Path, checksum: str) -> str:
    """The name by which this content is found at the provider, should a reply be lost."""
    return f"{path.stem}-{checksum[:12]}{path.suffix}"
