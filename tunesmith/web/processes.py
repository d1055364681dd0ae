"""Processes of runs: `python -m tunesmith.pipeline`, each with a key of its own.

A process leads a session of its own, so that nothing but us ends it, and finds the server and the
key in its environment. The key is valid as long as the process lives, and written nowhere.
Does not know: which run comes next, what becomes of one that has ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tunesmith.server.door.auth import Auth, Caller
from tunesmith.settings import PREFIX, Settings
from tunesmith.web.run_files import EVENTS, LOG
from tunesmith.work.identity import name_of

STOP_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Going:
    """A process that was started for a run."""

    name: str
    """See `work.identity`."""
    key: str
    events_from: int
    """Where in events.jsonl its own events begin."""
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End it, and all it has started. The job goes on, as does the run when started again."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
                return


class Launcher:
    """Starts processes that are clients of this server."""

    def __init__(self, settings: Settings, auth: Auth, base_url: str) -> None:
        self._settings = settings
        self._auth = auth
        self._base_url = base_url

    def start(self, folder: Path, caller: Caller, *, until: str = "") -> Going:
        """Go on with the run in `folder`, up to the end of the verb `until`. Raises: OSError."""
        key = self._auth.lend(caller)
        command = [sys.executable, "-m", "tunesmith.pipeline", str(folder)]
        events = folder / EVENTS
        try:
            with (folder / LOG).open("wb") as log:
                process = subprocess.Popen(
                    [*command, "--until", until] if until else command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=folder,  # where a name in the settings finds nothing but what is its own
                    env=self._environ(key),
                    start_new_session=True,
                )
        except OSError:
            self._auth.take_back(key)
            raise
        return Going(
            name=name_of(process.pid),
            key=key,
            events_from=events.stat().st_size if events.exists() else 0,
            process=process,
        )

    def ended(self, going: Going) -> None:
        """Its key is valid no longer."""
        self._auth.take_back(going.key)

    def _environ(self, key: str) -> dict[str, str]:
        others = {name: v for name, v in os.environ.items() if not name.startswith(PREFIX)}
        return others | {
            f"{PREFIX}DATA_DIR": str(self._settings.data_dir),
            f"{PREFIX}SERVER": self._base_url,
            f"{PREFIX}API_KEY": key,
        }
