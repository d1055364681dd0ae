"""The bytes of a source: a file, a packed file (gzip, zstd), or a URL that fsspec knows.

Knows: where bytes come from, and how many are too many.
Does not know: what they mean.
"""

from __future__ import annotations

import difflib
import gzip
import importlib
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from tunesmith.errors import (
    ConfigError,
    DataError,
    MissingExtra,
    NotFound,
    StorageError,
    nearest,
)
from tunesmith.events import Decision

LARGEST = 2**30
"""Bytes held in memory at most: of a download, or of a packed file once unpacked."""
SUSPICIOUS_BYTES, SUSPICIOUS_RATIO = 100_000_000, 200
"""Larger than this and packed tighter than this: made to exhaust memory, not to hold a table."""

_PIECE = 2**20
_HEAD = 1_000_000
_MARKS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_PACKED_SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")
_DATASET_FILES = ("dataset_dict.json", "state.json", "dataset_info.json")


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a source holds, unpacked. It can be opened any number of times."""

    path: Path
    """The source's name in messages; of a URL only the last part, as the rest may hold a key."""
    suffix: str
    """Ending of the name of what is inside, in lower case: `.csv` for table.csv.gz."""
    raw: bytes | None = None
    """The bytes; None when they are read from `path` itself, as they are."""
    decisions: tuple[Decision, ...] = ()

    @property
    def size(self) -> int:
        """Its bytes. Raises OSError."""
        return self.path.stat().st_size if self.raw is None else len(self.raw)

    def open(self) -> BinaryIO:
        """A new file object at the first byte. Raises OSError."""
        return self.path.open("rb") if self.raw is None else io.BytesIO(self.raw)

    @cached_property
    def head(self) -> bytes:
        """The first million bytes, or all."""
        with self.open() as file:
            return file.read(_HEAD)


def open_source(source: Path | str) -> Content:
    """The content of a file or URL.

    Raises: NotFound; DataError for one that is empty, damaged or too large; MissingExtra when a
    library to fetch or unpack it is not installed; StorageError and OSError when it cannot be read.
    """
    content = _fetch(str(source)) if is_url(source) else _file(Path(source))
    for mark, kind in _MARKS.items():
        if content.head.startswith(mark):
            content = _unpack(content, kind)
    if len(content.head) < _HEAD and not content.head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise DataError(
            "The file is empty.", fix="Give a table with a header line and rows.", path=content.path
        )
    return content


def is_url(source: Path | str) -> bool:
    """Whether the source is a URL and not a path. A URL must be a str: Path drops a slash of it."""
    return isinstance(source, str) and "://" in source


def is_dataset(path: Path) -> bool:
    """Whether the folder was written by `datasets` (`save_to_disk`)."""
    return any((path / name).is_file() for name in _DATASET_FILES)


def require_file(source: Path | str) -> None:
    """Raise NotFound when there is no such file, DataError when it is a folder without a data set.

    A URL passes: whether something is there is known when it is fetched.
    """
    if is_url(source):
        return
    path = Path(source)
    if path.is_dir() and not is_dataset(path):
        inside = sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")
        fix = f"Give one of the files in it, such as {inside[0]}." if inside else "Give a file."
        raise DataError(f"{path} is a folder, not a table.", fix=fix)
    if not path.exists():
        raise NotFound(f"There is no file {path}.", fix=_nearest_file(path))


def files_of(source: Path | str) -> tuple[Path, ...]:
    """The files on this machine that a source consists of: none for a URL, several for a folder."""
    if is_url(source):
        return ()
    path = Path(source)
    if path.is_dir():
        return tuple(sorted(inner for inner in path.rglob("*") if inner.is_file()))
    return (path,)


def refused(path: Path, what: str) -> DataError:
    """The error for a file that cannot be a table."""
    return DataError(
        f"The file {what}, not a table of text.",
        fix="Save the table as CSV, TSV, JSON Lines, Parquet or an Excel workbook (.xlsx).",
        path=path,
    )


def check_size(num_bytes: int, packed: int, path: Path) -> None:
    """Raise DataError when `num_bytes`, unpacked from `packed` bytes, are too many."""
    if num_bytes > LARGEST:
        fix = "Unpack or download it first and give the file itself, or split it."
        raise DataError(
            f"The file holds more than {LARGEST / 1e9:.1f} GB once unpacked.", fix=fix, path=path
        )
    check_ratio(num_bytes, packed, path)


def check_ratio(num_bytes: int, packed: int, path: Path) -> None:
    """Raise DataError when `num_bytes` are far more than the `packed` bytes they came from."""
    if num_bytes > SUSPICIOUS_BYTES and num_bytes > SUSPICIOUS_RATIO * packed:
        raise DataError(
            f"The file holds over {SUSPICIOUS_RATIO} times as many bytes as it has on disk, "
            "as files do that are made to fill the memory.",
            fix="If you trust it, unpack it first and give the file itself, or save it as CSV.",
            path=path,
        )


def _file(path: Path) -> Content:
    require_file(path)
    return Content(path=path, suffix=path.suffix.lower())


def _nearest_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {folder} either; check the path."
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name[0] != ".")
    if near := difflib.get_close_matches(path.name, names, n=1, cutoff=0.5):
        return f"Did you mean {folder / near[0]}?"
    return "Check the path."


def _fetch(url: str) -> Content:
    scheme = url.partition("://")[0]
    name = PurePosixPath(urlsplit(url).path).name or scheme
    try:
        import fsspec
    except ImportError:
        raise MissingExtra(
            "Tables are read from a URL by fsspec, which is not installed.",
            fix="Run: pip install fsspec",
        ) from None
    if scheme not in fsspec.available_protocols():
        fix = nearest(scheme, fsspec.available_protocols())
        raise ConfigError(f"There is no way to read from {scheme}:// URLs.", fix=fix)
    try:
        with fsspec.open(url, "rb") as file:
            raw = _all_of(file.read, Path(name), LARGEST)
    except ImportError as error:
        raise MissingExtra(
            f"A library for {scheme}:// URLs is not installed: {error}.", fix="Install it."
        ) from None
    except FileNotFoundError:
        raise NotFound(f"There is nothing at {scheme}://…/{name}.", fix="Check the URL.") from None
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001  (each of fsspec's libraries has errors of its own)
        raise StorageError(
            f"{scheme}://…/{name} cannot be read: {type(error).__name__}.",
            fix="Check the URL, the rights and the network.",
        ) from None
    return Content(path=Path(name), suffix=Path(name).suffix.lower(), raw=raw)


def _unpack(content: Content, kind: str) -> Content:
    with content.open() as file:
        packed = file.seek(0, io.SEEK_END)
        file.seek(0)
        stream, damaged = _zstd(file) if kind == "zstd" else _gzip(file)
        try:
            raw = _all_of(stream.read, content.path, packed)
        except damaged:
            raise DataError(
                f"The {kind} file is cut short or damaged.",
                fix="Copy or save it again.",
                path=content.path,
            ) from None
    inner = content.path
    if inner.suffix.lower() in _PACKED_SUFFIXES:
        inner = inner.with_suffix("")
    unpacked = Decision(what="unpacked", value=kind, reason=f"the file starts with the {kind} mark")
    return replace(content, suffix=inner.suffix.lower(), raw=raw, decisions=(unpacked,))


def _gzip(file: BinaryIO) -> tuple[Any, tuple[type[Exception], ...]]:
    """A reader of the unpacked bytes, and the errors it raises for damaged ones."""
    return gzip.GzipFile(fileobj=file), (EOFError, zlib.error, gzip.BadGzipFile)


def _zstd(file: BinaryIO) -> tuple[Any, tuple[type[Exception], ...]]:
    """The same for zstd."""
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        raise MissingExtra(
            "zstd files are unpacked by zstandard, which is not installed.",
            fix="Run: pip install zstandard",
        ) from None
    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    return reader, (zstandard.ZstdError,)


def _all_of(read: Callable[[int], bytes], path: Path, packed: int) -> bytes:
    """All bytes, piece by piece, so that too many are noticed before they fill the memory."""
    buffer = io.BytesIO()
    while piece := read(_PIECE):
        buffer.write(piece)
        check_size(buffer.tell(), packed, path)
    return buffer.getvalue()
