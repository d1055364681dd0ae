"""The worker: leases jobs and takes each one a stage further, until the server stops.

One thread checks the files of new jobs, one trains, one says that this worker is alive. Whatever
goes wrong with a job ends that job, never the worker.
"""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tunesmith.errors import JobFailed, StateError, TunesmithError
from tunesmith.settings import Settings
from tunesmith.store.blobs import Blobs
from tunesmith.store.jobs import Change
from tunesmith.store.rows import EventRow, JobRow
from tunesmith.store.store import Store
from tunesmith.work import files
from tunesmith.work.finish import Finisher
from tunesmith.work.follow import Follower
from tunesmith.work.identity import is_gone, own_name
from tunesmith.work.runner import LOG, LocalRunner, Runner

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
PAUSE_SECONDS = 1.0
"""Before trying again what has just gone wrong."""
STARTS = 3
"""How often a training process may be started before the job fails."""


class Worker:
    """Works on jobs in threads of this process, between `start` and `stop`."""

    def __init__(
        self, settings: Settings, store: Store, blobs: Blobs, *, runner: Runner | None = None
    ) -> None:
        self._settings = settings
        self._store = store
        self._blobs = blobs
        self._runner = runner or LocalRunner()
        self._finisher = Finisher(settings, store, blobs)
        self._stopping = threading.Event()
        self._names = own_name(), own_name()
        checker, trainer = self._names
        self._threads = [
            self._thread(self._loop, checker, ("validating_files",), self._validate),
            self._thread(self._loop, trainer, ("queued", "running"), self._train),
            self._thread(self._keep_house),
        ]

    def start(self) -> None:
        """Begin to take jobs."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the training process, give the jobs back, and return when that is done."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @staticmethod
    def _thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
        return threading.Thread(target=target, args=arguments, daemon=True)

    # --- the loops -------------------------------------------------------------------------------

    def _loop(self, name: str, states: Sequence[str], work: Callable[[JobRow, Path], None]) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            job: JobRow | None = None
            try:
                job = self._store.jobs.lease(
                    name,
                    states,
                    silent_before=time.time() - self._settings.lease_seconds,
                    is_gone=is_gone,
                )
                if job is None:
                    continue
                work(job, self._settings.jobs_dir / job.id)
            except StateError:
                logger.info("job %s was cancelled or taken over", job.id if job else "")
            except JobFailed as error:
                self._fail(job, error)
            except Exception as error:  # one of the two doors: nothing may end the worker
                logger.exception("job %s broke off", job.id if job else "(none)")
                self._fail(job, JobFailed(_sentence(error), code="server_error"))
            self._let_go(job)

    def _fail(self, job: JobRow | None, error: JobFailed) -> None:
        details = {"code": error.code, "message": str(error), "param": error.param}
        event = EventRow(message=str(error), level="error")
        change = Change(to="failed", values={"error": details}, events=[event])
        if job is not None:
            try:
                self._store.jobs.write(job.id, change, worker=job.worker)
                return
            except TunesmithError:
                logger.exception("job %s could not be failed; it will be tried again", job.id)
        self._stopping.wait(PAUSE_SECONDS)  # the database itself is in trouble: do not storm it

    def _let_go(self, job: JobRow | None) -> None:
        if job is None or job.worker is None:
            return
        try:
            self._store.jobs.release(job.id, job.worker)
            if self._store.jobs.ended([job.id]):
                self._tidy()
        except TunesmithError:
            logger.exception("job %s not given back", job.id)

    def _tidy(self) -> None:
        try:
            files.sweep(self._settings, self._store, self._blobs)
        except (TunesmithError, OSError):
            logger.exception("not tidied up")

    def _keep_house(self) -> None:
        """Tidy up after earlier servers, then say every now and then that this one is alive."""
        self._tidy()
        while not self._stopping.wait(self._settings.lease_seconds / 4):
            try:
                self._store.jobs.beat(self._names)
            except TunesmithError:
                logger.exception("heartbeat not written")

    # --- the stages ------------------------------------------------------------------------------

    def _validate(self, job: JobRow, job_dir: Path) -> None:
        files.fetch(self._store, self._blobs, job, job_dir)
        files.check(job, job_dir)
        event = EventRow(message="Files validated, moving job to queued state")
        self._store.jobs.write(job.id, Change(to="queued", events=[event]), worker=job.worker)

    def _train(self, job: JobRow, job_dir: Path) -> None:
        files.fetch(self._store, self._blobs, job, job_dir)
        if job.status == "queued":
            files.write_job(self._settings, self._store, job, job_dir)
            started = Change(to="running", events=[EventRow(message="Fine-tuning job started")])
            job = self._store.jobs.write(job.id, started, worker=job.worker)
        follower = Follower(self._store, job, job_dir / "events.jsonl")
        while not _has_ended(job_dir):
            status = self._run(job, job_dir, follower)
            if status is None:
                return
            if not _has_ended(job_dir):
                if self._stopping.wait(PAUSE_SECONDS):
                    return  # whoever ended it is ending us too
                job = self._died(job, job_dir, status)
        follower.pump()
        if (job_dir / "error.json").exists():
            told = json.loads((job_dir / "error.json").read_text(encoding="utf-8"))
            raise JobFailed(told["message"], code=told["code"], param=told.get("param"))
        self._finisher.finish(job, job_dir)

    def _run(self, job: JobRow, job_dir: Path, follower: Follower) -> int | None:
        """One training process from start to end; its exit status, or None when we are stopping.

        Raises: StateError when the job was cancelled or taken over; the process is ended then.
        """
        process = self._runner.start(job_dir)
        try:
            while (status := process.poll()) is None:
                if self._stopping.wait(POLL_SECONDS):
                    return None
                if not self._store.jobs.is_held(job):
                    raise StateError(f"Fine-tuning job {job.id} is no longer this worker's.")
                follower.pump()
            return status
        finally:
            process.stop()

    def _died(self, job: JobRow, job_dir: Path, status: int) -> JobRow:
        """The process ended with neither a result nor an error of its own: try again, or fail."""
        deaths = job.deaths + 1
        how = f"The training process {_how(status)}."
        logger.warning("job %s: %s", job.id, how)
        if deaths >= STARTS:
            raise JobFailed(
                f"{how} It was started {deaths} times; its last words: {_last_words(job_dir)}",
                fix="If memory ran out, free some or choose a smaller batch_size; then create the "
                f"job again. The whole log is {job_dir / LOG}.",
                code="server_error",
            )
        message = f"{how} Starting it again, attempt {deaths + 1} of {STARTS}."
        again = Change(values={"deaths": deaths}, events=[EventRow(message=message, level="warn")])
        return self._store.jobs.write(job.id, again, worker=job.worker)


def _has_ended(job_dir: Path) -> bool:
    return (job_dir / "result.json").exists() or (job_dir / "error.json").exists()


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    name = signal.Signals(-status).name
    cause = ", which mostly means that memory ran out" if name == "SIGKILL" else ""
    return f"was ended by signal {-status} ({name}){cause}"


def _last_words(job_dir: Path) -> str:
    """The last lines of the log that are not part of a listing of code."""
    log = job_dir / LOG
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    told = [line for line in lines if line.strip() and not line.startswith((" ", "Traceback"))]
    return " / ".join(line[:300] for line in told[-3:]) or "(it said nothing)."


def _sentence(error: Exception) -> str:
    if isinstance(error, TunesmithError):
        return str(error)
    return f"The server had an error of its own while working on the job: {error!r}."
