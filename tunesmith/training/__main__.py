"""The training process: `python -m tunesmith.training JOB_DIR [--stop-with-parent]`.

Exit status 0 with result.json; 2 with error.json when what was asked is impossible; 4 when it was
asked to stop (SIGTERM) and has saved its state. Anything else is a crash. After both, the same
command goes on where it stopped.
Does not know: who started it. With --stop-with-parent it is asked by the end of its standard input.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError, RequestError, storage_error
from tunesmith.events import Event, EventWriter, read_events
from tunesmith.training.job import Job, write_json, write_metrics_csv

STOPPED = 4
"""Exit status of a process that was asked to stop."""
STOP_SECONDS = 30.0
"""How long saving may take once nobody is left who would end the process."""


def main() -> int:
    """Run the job in JOB_DIR to its end."""
    parser = argparse.ArgumentParser(prog="python -m tunesmith.training", description=__doc__)
    parser.add_argument("job_dir", type=Path)
    parser.add_argument("--stop-with-parent", action="store_true")
    asked = parser.parse_args()
    if asked.stop_with_parent:
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    with (asked.job_dir / "lock").open("w") as lock:
        if int(os.environ.get("RANK", "0")) == 0:  # of several that train together
            fcntl.flock(lock, fcntl.LOCK_EX)  # an earlier process on this folder may still be dying
        if (asked.job_dir / "result.json").exists():
            return 0
        try:
            return run(asked.job_dir)
        except (RequestError, OSError) as error:
            if isinstance(error, OSError):
                error = storage_error(error, asked.job_dir)
            param = "training_file" if isinstance(error, DataError) else error.param
            code = "invalid_training_file" if isinstance(error, DataError) else "invalid_request"
            answer = {"code": code, "message": str(error), "param": param}
            write_json(asked.job_dir / "error.json", answer)
            return 2


def run(folder: Path) -> int:
    """Train, writing events as they come, then metrics.csv, then result.json as the last thing.

    Returns the exit status: 0, or `STOPPED` when a SIGTERM came first.
    """
    job = Job.read(folder)
    import torch

    torch.set_num_threads(job.threads or len(os.sched_getaffinity(0)))
    keep_freed_memory()
    from tunesmith.training import together

    if job.base.kind == "causal":
        from tunesmith.training.causal.fit import fit
    else:
        from tunesmith.training.classify.fit import fit

    is_asked = False

    def ask(*_: object) -> None:
        nonlocal is_asked
        is_asked = True

    signal.signal(signal.SIGTERM, ask)  # until here it ends us at once: there is nothing to save
    together.join()
    is_first = together.is_first()
    write: Callable[[Event], None] = _EachOnce(job.events) if is_first else _say_nothing
    progress = fit(job)
    while not is_asked:
        try:
            write(next(progress))
        except StopIteration as end:
            if is_first:
                _write_result(job, end.value, write)
            return 0
    progress.close()  # upon which it saves its state
    return STOPPED


def _write_result(job: Job, result: dict[str, Any], write: Callable[[Event], None]) -> None:
    metrics = [e.data for e, _ in read_events(job.events) if e.kind == "metric"]
    write_metrics_csv(job.folder / "metrics.csv", [m for m in metrics if m["step"] > 0])
    write_json(job.folder / "result.json", result)
    write(Event(kind="done", message="Training is done", data={"steps": result["facts"]["steps"]}))
    shutil.rmtree(job.state, ignore_errors=True)


def _say_nothing(_: Event) -> None:
    """What a process writes that is not the first of several."""


class _EachOnce:
    """Writes events, leaving out what a process before this one has written already.

    A resumed run repeats the steps since the last saved state, with the same numbers.
    """

    def __init__(self, path: Path) -> None:
        self._seen = {self._key(event) for event, _ in read_events(path)}
        self._writer = EventWriter(path)

    def __call__(self, event: Event) -> None:
        if self._key(event) not in self._seen:
            self._writer(event)

    @staticmethod
    def _key(event: Event) -> tuple[str, object]:
        return event.kind, event.data["step"] if event.kind == "metric" else event.message


def keep_freed_memory() -> None:
    """Ask glibc to reuse large blocks instead of giving them back.

    A step frees and takes again a gradient of the size of the embedding table; each time, the
    kernel would hand out and clear those pages anew (in a profile, 6 % of a step is such filling).
    """
    trim_threshold, mmap_threshold, most = -1, -3, 2**31 - 1  # glibc's malloc.h
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, most)
        libc.mallopt(trim_threshold, most)


def _stop_at_end_of_input() -> None:
    # Not sys.stdin: a thread inside its lock makes Python abort when it shuts down.
    while os.read(0, 65536):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os._exit(3)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # all is written; Python would take a second more to unload torch
