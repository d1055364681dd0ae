"""A server started for this process and stopped with it.

It listens on a free loopback port with a key that nobody else knows, and goes when its standard
input closes: so it also goes when this process is killed.
Knows: how to start, await and stop the process. Does not know: what it serves.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from tunesmith.errors import ProviderError, storage_error
from tunesmith.providers.provider import Endpoint
from tunesmith.settings import Settings

COMMAND = ("-m", "tunesmith", "serve", "--port", "0", "--with-parent", "--announce-json")
TAIL_LINES = 12


class EmbeddedServer:
    """Starts the server at the first need. Usable from several threads."""

    place = "embedded"

    def __init__(self, settings: Settings, *, patience: float = 60.0) -> None:
        self._settings = settings
        self._patience = patience
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._endpoint: Endpoint | None = None
        self._is_closed = False
        self._log = settings.data_dir / "server.log"
        self._log_start = 0

    def warm_up(self) -> None:
        """Start the process, if it was not, without waiting for it to listen.

        Raises: StorageError when the data folder cannot be written.
        """
        with self._guard:
            if self._process is None and not self._is_closed:
                self._process = self._start()

    def endpoint(self) -> Endpoint:
        """Where the server listens, as soon as it does.

        Raises: ProviderError, with the end of its log, when it stops or stays silent.
        """
        self.warm_up()
        with self._guard:
            if self._endpoint is None:
                self._endpoint = self._announced()
            return self._endpoint

    def lost(self, reason: str) -> ProviderError:
        code = self._process.poll() if self._process else None
        state = reason if code is None else f"it stopped with exit status {code}"
        return ProviderError(
            f"The local server does not answer: {state}.{self._tail()}",
            fix="Start the same command again; it goes on where it stopped.",
        )

    def is_gone(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def close(self) -> None:
        """Close the server's standard input and wait; force it if it does not go."""
        with self._guard:
            self._is_closed = True
            process, self._process = self._process, None
            listens, self._endpoint = self._endpoint is not None, None
        if process is None:
            return
        assert process.stdin and process.stdout
        process.stdin.close()
        if not listens:  # nothing was asked of it yet, so nothing needs an orderly end
            process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def _start(self) -> subprocess.Popen[bytes]:
        environ = {
            **os.environ,
            "TUNESMITH_DATA_DIR": str(self._settings.data_dir),
            # It serves this user alone, so base models may be folders of this machine.
            "TUNESMITH_ALLOW_FOLDERS": "1",
        }
        try:
            self._settings.data_dir.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as log:
                self._log_start = log.tell()
                return subprocess.Popen(
                    [sys.executable, *COMMAND],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environ,
                    # Out of reach of the terminal's Ctrl-C: the run still needs it to cancel.
                    start_new_session=True,
                )
        except OSError as error:
            raise storage_error(error, self._log) from None

    def _announced(self) -> Endpoint:
        process = self._process
        assert process and process.stdout
        until = time.monotonic() + self._patience
        line = _first_line(process.stdout, until)
        try:
            said = json.loads(line)
            return Endpoint(base_url=said["base_url"], key=said["key"])
        except (ValueError, KeyError, TypeError):
            late = time.monotonic() >= until
            why = f"was not ready after {self._patience:.0f} s" if late else "did not start"
        raise ProviderError(
            f"The local server {why}.{self._tail()}", fix=f"The whole log is {self._log}."
        )

    def _tail(self) -> str:
        lines = _lines_from(self._log, self._log_start)[-TAIL_LINES:]
        return "".join(f"\n  | {line}" for line in lines) + ("\n" if lines else "")


def _first_line(stream: IO[bytes], until: float) -> bytes:
    """The first line of an unread pipe; what there is of it at its end or when time is over."""
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([stream], [], [], max(0.0, until - time.monotonic()))
        part = os.read(stream.fileno(), 4096) if ready else b""
        if not part:
            break
        line += part
    return line


def _lines_from(path: Path, start: int) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
