"""A first reading of a binary file in a process of its own, which may die of it.

The readers of Parquet, Arrow and Excel believe what a file says of its sizes. A damaged one can
have them ask for more memory than there is, which ends the process that asks, whatever it catches;
others have them write of their panic to the terminal. So another process reads the file first,
with as much memory as a file of that size may take, and what it survives is read here.
Knows: that process, and its limits.
Does not know: formats.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tunesmith.data.reading.content import Content
from tunesmith.errors import DataError

MEMORY, MEMORY_PER_BYTE = 2 * 10**9, 50
"""Bytes of memory that reading a file may take, and more for each byte of it."""
SECONDS, BYTES_PER_SECOND = 15, 10**6
"""How long it may take, and how much faster than this a large file is read in any case."""
_LARGE = 2**25  # bytes of a file whose memory the process gives back by ending


def require_survival(content: Content, sheet: str | None = None) -> None:
    """Raise DataError when reading the file ends, hangs or frightens the process that does it.

    Whatever else is wrong with the file is for the reader to say. Raises OSError.
    """
    with _on_disk(content) as path:
        size = path.stat().st_size
        task = {"path": str(path.absolute()), "suffix": content.suffix, "sheet": sheet}
        survived = _process.ask(task, size)
    if not survived:
        raise DataError(
            "The file is damaged, or made to fill the memory.",
            fix="Copy or save it again.",
            path=content.path,
        )


@contextlib.contextmanager
def _on_disk(content: Content) -> Iterator[Path]:
    if content.raw is None:
        yield content.path
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(content.raw)
        file.flush()
        yield Path(file.name)


class _Process:
    """`python -m tunesmith.data.reading`, started when it is needed, and again when it is gone."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, task: dict[str, str | None], size: int) -> bool:
        """Whether it survives reading a file of that many bytes."""
        self._process = process = self._process or self._started()
        assert process.stdin and process.stdout
        answer = ""
        try:
            with contextlib.suppress(BrokenPipeError):
                limit = MEMORY + MEMORY_PER_BYTE * size
                process.stdin.write(json.dumps(task | {"memory": limit}) + "\n")
                process.stdin.flush()
                patience = SECONDS + size / BYTES_PER_SECOND
                if select.select([process.stdout], [], [], patience)[0]:
                    answer = process.stdout.readline()
        finally:
            if not answer or size > _LARGE:
                self.stop()
        return answer == "read\n"

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _started(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tunesmith.data.reading"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a group of its own: Ctrl-C reaches only us
        )


_process = _Process()
atexit.register(_process.stop)
