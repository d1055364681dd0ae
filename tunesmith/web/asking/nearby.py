"""The training rows that are most like a text: what a model had to go by.

Rows are compared by the vectors of an encoder, asked for through the API, a few at a time, by the
first who looks; they are kept in a file for as long as the training file is there.
Does not know: pages.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool

from tunesmith.catalog import DEFAULT, catalog
from tunesmith.errors import NotFound, TunesmithError
from tunesmith.store.blobs import Blobs
from tunesmith.store.rows import JobRow, ModelRow
from tunesmith.web.api import Api
from tunesmith.web.tables import shelf
from tunesmith.web.tables.form import Form, Row, Rows, said
from tunesmith.web.visit import Visit, off

logger = logging.getLogger(__name__)

MOST_ROWS = 20_000
"""Of a training file; of a larger one, rows from all over it."""
AT_ONCE = 64
"""Texts that are embedded together."""
BLOCK = 8192
"""Vectors in memory at a time."""
CONTENT = "content.jsonl"

_reading: dict[Path, asyncio.Task[None]] = {}


class Nothing(TunesmithError):
    """There is nothing to compare with, and why."""


@dataclass(frozen=True, kw_only=True)
class Near:
    """A training row; `likeness` is the cosine of both vectors, -1 to 1."""

    line: int
    text: str
    label: str
    likeness: float


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The training rows of a model, and where their vectors are kept."""

    folder: Path
    form: Form
    encoder: str
    file: str
    """Id of the training file."""

    @property
    def numbers(self) -> range:
        """The rows that are compared, by number."""
        step = max(1, -(-self.form.count // MOST_ROWS))
        return range(1, self.form.count + 1, step)

    @property
    def vectors(self) -> Path:
        """The file of vectors, in the order of `numbers`."""
        return self.folder / f"{self.encoder}.f32"


async def corpus(visit: Visit, model: ModelRow | None) -> Corpus:
    """The training rows of a model. Raises: Nothing, with the reason; Refused; NotRead."""
    job = await off(_job, visit, model)
    folder = shelf.place(visit.desk.settings, job.training_file)
    if await off(visit.store.files.get, job.training_file) is None:
        await off(shelf.forget, folder)
        raise Nothing("The training rows are gone: their file was deleted with the run.")
    source = folder / CONTENT
    if not await off(source.is_file):
        blobs = await off(Blobs, visit.desk.settings.blobs)
        with contextlib.suppress(FileExistsError):
            await off(_fetch, blobs, job.training_file, source)
    form = await shelf.wholly(folder, source)
    if not form.count:
        raise Nothing("The training file holds no rows.")
    row = catalog().get(job.base_model)
    encoder = job.base_model if row is not None and row.kind == "encoder" else DEFAULT
    return Corpus(folder=folder, form=form, encoder=encoder, file=job.training_file)


def known(found: Corpus) -> int:
    """How many rows have been read so far."""
    try:
        width = _width(found)
        return found.vectors.stat().st_size // (4 * width) if width else 0
    except OSError:
        return 0


def begin(api: Api, found: Corpus) -> None:
    """Have the rows be read in the background, unless that is being done or has been."""
    if found.vectors not in _reading and known(found) < len(found.numbers):
        _reading[found.vectors] = asyncio.create_task(_read(api, found))


def is_reading(found: Corpus) -> bool:
    """Whether rows are being read just now."""
    return found.vectors in _reading


async def nearest(api: Api, found: Corpus, text: str, *, most: int = 5) -> list[Near]:
    """The rows nearest to the text, of those that have been read, nearest first.

    Of rows that say the same there is one. Raises: Refused.
    """
    query = (await _embed(api, found.encoder, [text]))[0]
    return await run_in_threadpool(_nearest, found, query, most)


def _job(visit: Visit, model: ModelRow | None) -> JobRow:
    if model is None:
        raise Nothing("This is a base model: it has not been tuned on rows of yours.")
    job = visit.store.jobs.get(model.job_id)
    if job is None:
        raise Nothing("The model belongs to another project, which keeps its rows to itself.")
    if job.method == "dpo":
        raise Nothing("The model was tuned on pairs of answers, which have no label to show.")
    return job


def _fetch(blobs: Blobs, file_id: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        blobs.copy_out(file_id, path)
    except NotFound:
        raise Nothing("The content of the training file is gone.") from None


async def _read(api: Api, found: Corpus) -> None:
    """Append the vectors that are missing."""
    try:
        numbers = found.numbers
        await run_in_threadpool(_mend, found)
        for start in range(known(found), len(numbers), AT_ONCE):
            part = numbers[start : start + AT_ONCE]
            texts = await run_in_threadpool(_texts, found, part)
            vectors = await _embed(api, found.encoder, texts)
            await run_in_threadpool(_append, found.vectors, vectors)
    except (TunesmithError, OSError):
        logger.exception("training rows could not be read")
    finally:
        _reading.pop(found.vectors, None)


async def _embed(api: Api, encoder: str, texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of length 1, [texts, width]. Raises: Refused."""
    asked = {
        "model": encoder,
        "input": [text if text.strip() else "." for text in texts],
        "encoding_format": "base64",
    }
    reply = await api.post("/embeddings", asked)
    raw = b"".join(base64.b64decode(one["embedding"]) for one in reply["data"])
    vectors = np.frombuffer(raw, "<f4").reshape(len(texts), -1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.maximum(lengths, 1e-12)).astype("<f4")
    return unit


def _texts(found: Corpus, part: range) -> list[str]:
    rows = Rows(found.folder, found.form)
    if part.step == 1:
        return [_pair(row)[0] for row in rows.read(part.start, len(part))]
    return [_pair(rows.read(number, 1)[0])[0] for number in part]


def _append(path: Path, vectors: NDArray[np.float32]) -> None:
    width = path.with_suffix(".width")
    if not width.exists():
        width.write_text(str(vectors.shape[1]), "ascii")
    with path.open("ab") as file:
        file.write(vectors.tobytes())


def _mend(found: Corpus) -> None:
    """Cut off the half of a vector that a server has left which stopped while it wrote."""
    if found.vectors.exists():
        with found.vectors.open("r+b") as file:
            file.truncate(4 * _width(found) * known(found))


def _width(found: Corpus) -> int:
    try:
        return int(found.vectors.with_suffix(".width").read_text("ascii"))
    except (OSError, ValueError):
        return 0


def _nearest(found: Corpus, query: NDArray[np.float32], most: int) -> list[Near]:
    width, best = _width(found), list[tuple[float, int]]()
    if not width:
        return []
    with found.vectors.open("rb") as file:
        start = 0
        while raw := file.read(4 * width * BLOCK):
            block = np.frombuffer(raw[: len(raw) // (4 * width) * 4 * width], "<f4")
            scores = block.reshape(-1, width) @ query
            top = np.argsort(-scores, kind="stable")[: 4 * most]
            best += [(float(scores[i]), start + int(i)) for i in top]
            best = sorted(best, key=lambda pair: (-pair[0], pair[1]))[: 4 * most]
            start += len(scores)
    rows, numbers = Rows(found.folder, found.form), found.numbers
    told: dict[tuple[str, str], Near] = {}
    for likeness, place in best:
        for row in rows.read(numbers[place], 1):
            pair = _pair(row)
            near = Near(line=row.line, text=pair[0], label=pair[1], likeness=likeness)
            told.setdefault(pair, near)
    return list(told.values())[:most]


def _pair(row: Row) -> tuple[str, str]:
    """The text that was asked, and the answer that is right."""
    messages: Any = row.values.get("messages")
    if not isinstance(messages, list) or not messages:
        return said(row.values.get("prompt")), said(row.values.get("completion"))
    asked = [m for m in messages if m.get("role") == "user"]
    answers = [m for m in messages if m.get("role") == "assistant"]
    text = said(asked[-1].get("content")) if asked else ""
    return text, said(answers[-1].get("content")) if answers else ""
