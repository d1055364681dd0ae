"""What this process has taken of the machine, and may still take: memory and disk, in bytes.

Knows: /proc and control groups, where there are any, and the GPU.
Does not know: what the memory is for.
"""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""Limit, usage, and the part of it that is given back when needed, by version of control groups:
the second (no name of its own), and the first's memory controller."""


def memory_taken() -> int:
    """Of this process, now."""
    return _status("VmRSS") or memory_peak()


def memory_peak() -> int:
    """Of this process, the most so far."""
    # Not ru_maxrss where that can be helped: it begins at the peak of whoever started us.
    unit = 1 if sys.platform == "darwin" else 1024
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def memory_left() -> int | None:
    """What this process may still take; None where nothing says."""
    of_machine = _numbers(PROC / "meminfo").get("MemAvailable:")
    left = [*_left_in_groups()] + ([of_machine * 1024] if of_machine else [])
    return max(0, min(left)) if left else None


def memory_for_models() -> int | None:
    """Where models are computed: what this process has of it and may still take."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0]) + torch.cuda.memory_reserved()
    left = memory_left()
    return None if left is None else memory_taken() + left


def model_memory_taken() -> int:
    """Of that, what this process has now."""
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else memory_taken()


def model_memory_peak() -> int:
    """Of that, the most so far."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else memory_peak()


def disk_left(folder: Path) -> int:
    """Where `folder` is."""
    return shutil.disk_usage(folder).free


def _status(name: str) -> int:
    return _numbers(PROC / "self" / "status").get(f"{name}:", 0) * 1024


def _left_in_groups() -> Iterator[int]:
    """What each control group that this process is in leaves it."""
    with suppress(OSError):
        for line in (PROC / "self" / "cgroup").read_text(encoding="utf-8").splitlines():
            _, controller, path = line.split(":", 2)
            if controller in FILES:
                top = GROUPS / controller
                group = top / path.lstrip("/")
                while group.is_relative_to(top):
                    yield from _left_in(group, *FILES[controller])
                    group = group.parent


def _left_in(group: Path, limit: str, usage: str, inactive: str) -> Iterator[int]:
    # "max", or no such file, as in the topmost group: no limit
    with suppress(OSError, ValueError):
        most, used = (int((group / name).read_text(encoding="ascii")) for name in (limit, usage))
        yield most - used + _numbers(group / "memory.stat").get(inactive, 0)


def _numbers(path: Path) -> dict[str, int]:
    """First word → second, of the lines whose second is a number."""
    with suppress(OSError):
        words = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
        return {w[0]: int(w[1]) for w in words if len(w) > 1 and w[1].isdigit()}
    return {}
