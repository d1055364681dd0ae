"""Worker names, and whether the process behind one is gone.

A name says host, process id and when that process started, so that neither a process id used
again nor a second container of the same host name is taken for a living worker.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
from pathlib import Path


def own_name() -> str:
    """A name for a worker of this process."""
    return name_of(os.getpid())


def name_of(pid: int) -> str:
    """A name for a worker of that process, which must be one of ours that has not been waited
    for."""
    return "|".join([_host(), str(pid), _started(pid), secrets.token_hex(4)])


def kill(name: str) -> None:
    """Kill the process group that the worker of that name leads, if it lives here."""
    if name.split("|")[0] == _host() and not is_gone(name):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(int(name.split("|")[1]), signal.SIGKILL)


def is_gone(name: str) -> bool:
    """Whether the worker of that name is certainly dead; about other hosts nothing is certain."""
    if name.split("|")[0] != _host():
        return False
    _, pid, started, _ = name.split("|")
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's process, alive
    return _started(int(pid)) != started


def _host() -> str:
    """Host name, and which set of process ids we see (each container has its own)."""
    try:
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """When the process started, in the kernel's own count; empty where there is no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # The second field, the program's name, may hold spaces and brackets; count behind it.
        return f"{boot}-{stat.rpartition(')')[2].split()[19]}"
    except OSError:
        return ""
