"""How much memory this process may still take.

Does not know: what it is for.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

GROUP = Path("/sys/fs/cgroup")
UNKNOWN = 4 << 30
"""Bytes, where nothing says."""


def memory_left(device: torch.device) -> int:
    """Bytes on `device`."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + held
    found = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        found.append(next(int(x.split()[1]) << 10 for x in lines if x.startswith("MemAvailable:")))
    with suppress(OSError, ValueError):
        most, used = (
            int((GROUP / name).read_text(encoding="utf-8"))
            for name in ("memory.max", "memory.current")
        )
        found.append(max(0, most - used))
    return min(found, default=UNKNOWN)
