"""Features of the untouched encoder: every text is read once, for this job and for later ones.

Jobs that have the same tokens, encoder and precision find them in a folder that they share, such as
the trials of a search. Kept numbers are those that reading would give again, to the bit.
Does not know: what is fitted to them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from array import array
from collections.abc import Generator
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tunesmith.errors import storage_errors
from tunesmith.events import Event
from tunesmith.model.classifier import Classifier
from tunesmith.training.classify.examples import Rows
from tunesmith.training.job import Job
from tunesmith.training.state import Saving, tell_and_save

PROGRESS_EVERY = 1.0
"""Seconds between words on how far the reading has come."""
MOST_SHARED = 512 * 1024 * 1024
"""Bytes of features above which they are not kept for other jobs."""


def are_known(job: Job, model: Classifier, rows: Rows) -> bool:
    """Whether all texts have been read, by this job or by an earlier one; then `read` is quick.

    Raises: StorageError.
    """
    own, shared = _own(job), _shared(job, model, rows)
    if not own.exists() and shared is not None and shared.exists():
        with storage_errors(own):
            own.parent.mkdir(parents=True, exist_ok=True)
            os.utime(shared)  # so that it is kept on
            _link(shared, own)
    return _so_far(own)[1] == len(rows)


def read(job: Job, model: Classifier, rows: Rows) -> Generator[Event, None, Tensor]:
    """Features of all rows, shape (rows, width).

    Raises: StorageError.
    """
    if are_known(job, model, rows):
        yield Event(kind="note", message=f"{len(rows):,} texts were read before")
        return _so_far(_own(job))[0]
    features = yield from _read(job, model, rows)
    shared = _shared(job, model, rows)
    if shared is not None and features.nbytes <= MOST_SHARED:
        with storage_errors(shared):
            shared.parent.mkdir(parents=True, exist_ok=True)
            _link(_own(job), shared)
    return features


def _read(job: Job, model: Classifier, rows: Rows) -> Generator[Event, None, Tensor]:
    features, done = _so_far(_own(job))
    shortest_first = sorted(range(len(rows)), key=rows.lengths.__getitem__)
    left = shortest_first[done:]  # of which the batches are those of an undisturbed run
    tokens = sum(rows.lengths[i] for i in left)
    yield Event(kind="note", message=f"Reading {len(left):,} texts, {tokens:,} tokens, once")
    started = told = time.monotonic()
    saving = Saving()
    for batch, part in model.batches(model.features, [rows.encoded[i] for i in left]):
        if not len(features):
            features = torch.empty(len(rows), part.shape[1])
        features[[left[k] for k in batch]] = part
        done += len(batch)
        if time.monotonic() - told > PROGRESS_EVERY:
            told = time.monotonic()
            data = {"done": done, "total": len(rows)}
            event = Event(kind="progress", message="Reading the texts", data=data)
            yield from tell_and_save(event, partial(_keep, _own(job), features, done), saving)
    seconds = time.monotonic() - started
    yield Event(
        kind="note",
        message=f"Read in {seconds:.1f} s, {tokens / seconds:,.0f} tokens/s",
        data={"tokens_per_second": tokens / seconds},
    )
    _keep(_own(job), features, done)
    return features


def _own(job: Job) -> Path:
    return job.state / "features.safetensors"


def _shared(job: Job, model: Classifier, rows: Rows) -> Path | None:
    """Where jobs that would read the same find it; None where nothing is shared."""
    if job.shared is None or job.start_from is not None:
        return None
    card = model.card
    # Threads change the order of sums, and so the last bits.
    made_by = (job.base.sha256, card.pooling, card.precision, torch.get_num_threads())
    digest = hashlib.sha256(repr(made_by).encode())
    if not job.base.sha256:
        digest.update(_weights(job.base.files()))
    for encoded in rows.encoded:
        digest.update(array("I", [len(encoded.ids), *encoded.ids]).tobytes())
    return job.shared / f"{digest.hexdigest()[:32]}.safetensors"


def _weights(folder: Path) -> bytes:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with storage_errors(path), path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.digest()


def _so_far(kept: Path) -> tuple[Tensor, int]:
    """The features that are kept, and of how many texts they are."""
    if not kept.exists():
        return torch.empty(0), 0
    found = load_file(kept)
    return found["features"], int(found["done"])


def _keep(kept: Path, features: Tensor, done: int) -> None:
    temporary = kept.with_suffix(".tmp")
    with storage_errors(kept):
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_file({"features": features, "done": torch.tensor(done)}, temporary)
        temporary.replace(kept)


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where that cannot be."""
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(target)
