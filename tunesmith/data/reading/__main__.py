"""The process that reads binary files first (see `trial`).

Each line of its input is a file to read, each line of its output says how that went: `read`, or
`panic` where a library wrote of one. Nothing is said of a file that ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import tempfile
from pathlib import Path

from tunesmith.data.reading import columnar, excel
from tunesmith.data.reading.content import Content
from tunesmith.errors import TunesmithError


def main() -> None:
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), sys.stderr.fileno())
        for line in sys.stdin:
            task, before = json.loads(line), os.fstat(said.fileno()).st_size
            _limit(task["memory"])
            # What is wrong with a file is not told here: our parent finds it too.
            with contextlib.suppress(TunesmithError, OSError):
                _read(Content(path=Path(task["path"]), suffix=task["suffix"]), task["sheet"])
            is_calm = os.fstat(said.fileno()).st_size == before
            sys.stdout.write("read\n" if is_calm else "panic\n")
            sys.stdout.flush()


def _read(content: Content, sheet: str | None) -> None:
    if excel.is_workbook(content):
        excel.read(content, sheet)
    else:
        columnar.read(content)


def _limit(memory: int) -> None:
    """Have the system refuse more memory, where it can."""
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, most))


if __name__ == "__main__":
    main()
