"""`python -m tunesmith.web.peek`: what the first rows of a file look like, as one JSON object.

A process of its own, so that no file fills the server's memory. Of a text file only the head is
read. Its input is a JSON object: path, and the settings encoding, sheet, text, label.
Does not know: who asked.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from tunesmith.data.chat.shapes import recognise
from tunesmith.data.columns.choice import check_header, choose
from tunesmith.data.reading.columnar import is_columnar
from tunesmith.data.reading.content import Content
from tunesmith.data.reading.excel import is_workbook
from tunesmith.data.reading.readers import read
from tunesmith.data.reading.table import Table
from tunesmith.errors import TunesmithError

HEAD_BYTES = 2_000_000
ROWS = 8
LONGEST = 400
"""Characters of a cell that are shown."""
PACKED = {b"\x1f\x8b": (".gz", ".gzip"), b"\x28\xb5\x2f\xfd": (".zst", ".zstd")}


def main() -> None:
    asked = json.load(sys.stdin)
    json.dump(peek(asked), sys.stdout, ensure_ascii=False, default=str)


def peek(asked: Mapping[str, Any]) -> dict[str, Any]:
    """columns, rows, decisions, findings, is_whole, task and guess; or `error`, with what and fix.

    guess  text, label, annotators, votes; or `guess_error` where nothing can be guessed.
    """
    path = Path(asked["path"])
    try:
        with _head(path) as (head, is_whole):
            table = read(head, encoding=asked.get("encoding"), sheet=asked.get("sheet"))
    except TunesmithError as error:
        return {"error": {"what": _named(error.what, path), "fix": error.fix}}
    rows = [[_cut(cell) for cell in row] for row in table.columns.head(ROWS).rows()]
    return {
        "columns": table.columns.columns,
        "rows": rows,
        "lines": table.lines.head(ROWS).to_list(),
        "num_rows": table.columns.height,
        "is_whole": is_whole,
        "decisions": [asdict(decision) for decision in table.decisions],
        "findings": [asdict(finding) for finding in table.findings[:20]],
        **_guess(table, asked, path),
    }


def _guess(table: Table, asked: Mapping[str, Any], path: Path) -> dict[str, Any]:
    text, label = asked.get("text"), asked.get("label")
    try:
        if not (text or label) and (shape := recognise(table)):
            reason = {"what": "shape", "value": shape.name, "reason": shape.reason}
            task = "preference" if shape.kind == "preference" else "chat"
            return {"task": task, "guess": {}, "shape": dict(shape.columns), "reasons": [reason]}
        check_header(table, (text, label))
        columns = choose(table, text=text, label=label)
    except TunesmithError as error:
        told = {"what": _named(error.what, path), "fix": error.fix}
        return {"task": "classify", "guess": {}, "reasons": [], "guess_error": told}
    labels = columns.labels
    guess = {
        "text": columns.text,
        "label": labels[0] if len(labels) == 1 else None,
        "annotators": list(labels) if len(labels) > 1 else [],
        "votes": list(columns.votes),
        "rater": columns.rater,
        "group": columns.group,
    }
    reasons = [asdict(decision) for decision in columns.decisions]
    return {"task": "classify", "guess": guess, "reasons": reasons}


@contextmanager
def _head(path: Path) -> Iterator[tuple[Path, bool]]:
    """A file with the beginning of this one, and whether that is all of it."""
    kind, suffix = _packing(path)
    content = Content(path=path, suffix=suffix)
    is_binary = not kind and (is_workbook(content) or is_columnar(content))
    head = b"" if is_binary else _first(path, kind)
    if is_binary or len(head) <= HEAD_BYTES or head.lstrip().startswith(b"["):
        yield path, True
        return
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / f"{path.stem.partition('.')[0] or 'table'}{suffix}"
        part.write_bytes(head[: head.rfind(b"\n", 0, HEAD_BYTES) + 1] or head)
        yield part, False


def _packing(path: Path) -> tuple[str, str]:
    """How the file is packed, if it is, and the ending of the name of what is inside."""
    with path.open("rb") as file:
        begin = file.read(4)
    for mark, endings in PACKED.items():
        if begin.startswith(mark):
            stem = path.name
            for ending in endings:
                stem = stem.removesuffix(ending)
            return endings[0], Path(stem).suffix.lower()
    return "", path.suffix.lower()


def _first(path: Path, kind: str) -> bytes:
    """The first bytes, unpacked: one more than needed, where there are more."""
    with path.open("rb") as file, _unpacked(file, kind) as content:
        try:
            return content.read(HEAD_BYTES + 1)
        except (OSError, EOFError, ValueError):
            return b""  # the reader will say what is wrong with it


def _unpacked(file: BinaryIO, kind: str) -> BinaryIO:
    if kind == ".gz":
        return gzip.open(file)  # type: ignore[return-value]
    if kind == ".zst":
        import zstandard

        stream = zstandard.ZstdDecompressor().stream_reader(file)
        return io.BufferedReader(stream)
    return file


def _cut(cell: str | None) -> str | None:
    return cell if cell is None or len(cell) <= LONGEST else cell[:LONGEST] + "…"


def _named(said: str, path: Path) -> str:
    """The sentence with the file's name instead of its place on the server."""
    return said.replace(str(path), path.name)


if __name__ == "__main__":
    main()
