"""Tables in Arrow's formats: Parquet, Arrow IPC, and folders that `datasets` saved.

Knows: how values that are not text become text.
Does not know: which column is the text or the label.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from tunesmith.data.findings import enumerated
from tunesmith.data.reading.content import Content, check_ratio, refused
from tunesmith.data.reading.table import MOST_COLUMNS, Table, complete, written_size
from tunesmith.data.reading.trial import require_survival
from tunesmith.errors import ConfigError, DataError, nearest
from tunesmith.events import Decision

_FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
_PARQUET, _FILE, _STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
_SUFFIXES = {".parquet": "Parquet", ".pq": "Parquet", ".arrow": "Arrow", ".feather": "Arrow"}


def is_columnar(content: Content) -> bool:
    """Whether the content is Parquet or Arrow, or is named so."""
    return content.head.startswith((_PARQUET, _FILE, _STREAM)) or content.suffix in _SUFFIXES


def read(content: Content) -> Table:
    """The table in a Parquet or Arrow IPC file. Raises: DataError."""
    path, mark = content.path, content.head[:6]
    if mark.startswith(_PARQUET):
        if not _ends_in(content, _PARQUET):
            raise _damaged("Parquet file", path)
        frame = _frame(content, pl.read_parquet, "Parquet")
        classes = _classes(_frame(content, pl.read_parquet_metadata, "Parquet").get("huggingface"))
        form = Decision(what="table", value="Parquet", reason="it starts with the Parquet mark")
    elif mark.startswith((_FILE, _STREAM)):
        reader: Callable[..., Any] = pl.read_ipc if mark == _FILE else pl.read_ipc_stream
        frame, classes = _frame(content, reader, "Arrow"), {}
        kind = "file" if mark == _FILE else "stream"
        form = Decision(
            what="table", value="Arrow", reason=f"it starts with the mark of an Arrow {kind}"
        )
    else:
        suffix = content.suffix
        raise refused(path, f"is named {suffix} but is no {_SUFFIXES[suffix]} file")
    table = _table(frame, path, [form], classes)
    check_ratio(written_size(table.columns), content.size, path)
    return table


def read_folder(folder: Path, part: str | None = None) -> Table:
    """The table in a folder that `datasets` saved; of several splits `part`, or train.

    Raises: DataError, ConfigError for a split that is not there.
    """
    decisions = []
    inner = folder
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits")
        if not isinstance(splits, list) or not all(isinstance(name, str) for name in splits):
            raise _damaged("data set's list of splits", folder / "dataset_dict.json")
        split, reason = _choose(splits, part, folder)
        decisions = [Decision(what="split read", value=split, reason=reason)]
        inner = folder / Path(split).name
    elif part is not None:
        raise ConfigError(f"{folder} has no parts to choose {part!r} from.", fix="Leave it out.")
    files = [Content(path=file, suffix=file.suffix) for file in _data_files(inner)]
    for file in files:
        require_survival(file)
    frames = [_frame(file, pl.read_ipc_stream, "Arrow") for file in files]
    try:
        frame = pl.concat(frames)
    except pl.exceptions.PolarsError:
        raise DataError(
            "The data set's files have different columns.", fix="Save it again.", path=inner
        ) from None
    info = inner / "dataset_info.json"
    classes = _classes(info.read_text("utf-8", "replace") if info.is_file() else None)
    reason = f"the folder holds {info.name} and Arrow files"
    form = Decision(what="table", value="a data set saved by datasets", reason=reason)
    table = _table(frame, folder, [form, *decisions], classes)
    check_ratio(written_size(table.columns), sum(file.size for file in files), folder)
    return table


def _choose(splits: Sequence[str], part: str | None, folder: Path) -> tuple[str, str]:
    if part is not None:
        if part not in splits:
            raise ConfigError(
                f"The data set has no split named {part!r}.", fix=nearest(part, splits)
            )
        return part, "as asked"
    if not splits:
        raise DataError("The data set has no splits.", fix="Save it again.", path=folder)
    split = "train" if "train" in splits else splits[0]
    others = [repr(name) for name in splits if name != split]
    reason = "it is the one to learn from" if split == "train" else "it is the first"
    return split, f"{reason}; there is also {enumerated(others)}" if others else reason


def _data_files(folder: Path) -> list[Path]:
    """The Arrow files of a data set, in its own order where that is written down."""
    entries = _json(folder / "state.json").get("_data_files")
    listed = []
    with suppress(KeyError, TypeError):
        # Only the name: a data set has no business outside its own folder.
        listed = [folder / Path(entry["filename"]).name for entry in entries or ()]
    files = listed or sorted(folder.glob("*.arrow"))
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        name = missing[0].name if missing else "a data-….arrow"
        raise DataError(
            f"The data set's file {name} is missing.", fix="Copy or save it again.", path=folder
        )
    return files


def _json(path: Path) -> dict[str, Any]:
    """The object in a small JSON file; empty when there is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _classes(info: str | None) -> dict[str, list[str]]:
    """Column → names of its classes, from what `datasets` writes beside a table's columns."""
    try:
        found = json.loads(info or "{}")
        features = found.get("info", found).get("features") or {}
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _frame(content: Content, read: Callable[[BinaryIO], Any], kind: str) -> Any:
    """What one of Polars' readers makes of the content."""
    try:
        with content.open() as file:
            return read(file)
    except _FAILURES:
        raise _damaged(f"{kind} file", content.path) from None


def _ends_in(content: Content, mark: bytes) -> bool:
    with content.open() as file:
        file.seek(-len(mark), 2)
        return file.read() == mark


def _table(
    frame: pl.DataFrame,
    path: Path,
    decisions: list[Decision],
    classes: Mapping[str, Sequence[str]],
) -> Table:
    """Every column as text: numbers as written, classes by name, lists and structs as JSON."""
    if frame.width > MOST_COLUMNS:
        raise DataError(
            f"The table has {frame.width:,} columns, more than a table of text has.",
            fix="Save it with the columns that matter only.",
            path=path,
        )
    out = [name for name, kind in frame.schema.items() if _holds_bytes(kind)]
    if out:
        names = ", ".join(map(repr, out))
        decisions.append(
            Decision(what="columns", value=f"{names} left out", reason="they hold no plain values")
        )
    frame = frame.drop(out)
    for name in frame.columns:
        if name in classes and frame.schema[name].is_integer():
            number = pl.col(name)
            known = number.replace_strict(
                dict(enumerate(classes[name])),
                default=number.cast(pl.String),
                return_dtype=pl.String,
            )
            # -1 is how `datasets` says that a row has no class.
            frame = frame.with_columns(pl.when(number >= 0).then(known).alias(name))
            reason = "the data set says what its numbers stand for"
            decisions.append(Decision(what=f"values of {name!r}", value="names", reason=reason))
    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    try:
        columns = frame.select(_as_text(name, kind) for name, kind in frame.schema.items())
    except _FAILURES:
        raise _damaged("file", path) from None
    return complete(path, columns, decisions=decisions, nested=nested)


def _as_text(name: str, kind: pl.DataType) -> pl.Expr:
    if not kind.is_nested() and kind != pl.Duration:
        return pl.col(name).cast(pl.String)
    # Polars writes structs as JSON, so the value goes into one and its braces are taken off.
    value = pl.struct(pl.col(name).alias("v")).struct.json_encode()
    value = value.str.strip_prefix('{"v":').str.strip_suffix("}")
    if kind == pl.Duration:
        value = value.str.strip_chars('"')
    return pl.when(pl.col(name).is_not_null()).then(value).alias(name)


def _holds_bytes(kind: Any) -> bool:
    """Whether values of this type are, or hold, bytes or Python objects."""
    if isinstance(kind, pl.Struct):
        return any(_holds_bytes(inner.dtype) for inner in kind.fields)
    if isinstance(kind, (pl.List, pl.Array)):
        return _holds_bytes(kind.inner)
    return bool(kind in (pl.Binary, pl.Object))


def _damaged(what: str, path: Path) -> DataError:
    return DataError(
        f"The {what} is cut short or damaged.", fix="Copy or save it again.", path=path
    )
