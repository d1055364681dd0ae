"""Runs that are begun on the page: their folders and processes, one after the other.

A run is a row, a folder and, while it is at work, a process (`processes`). Runs wait in a queue of
which `settings.workers` are at work at a time. A server that starts goes on with those that were
at work when it, or another one on this machine, stopped.
Knows: rows, folders, processes. Does not know: pages, what a run does.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunesmith.config import RunConfig
from tunesmith.errors import NotFound, StateError, TunesmithError, storage_errors
from tunesmith.server.door.auth import Caller
from tunesmith.settings import Settings
from tunesmith.store.blobs import link_or_copy
from tunesmith.store.rows import RunRow, now
from tunesmith.store.runs import AT_WORK
from tunesmith.store.store import Store
from tunesmith.web import run_files
from tunesmith.web.processes import Going, Launcher
from tunesmith.wire import new_id
from tunesmith.work import identity

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.3
ADOPT_SECONDS = 60.0
"""How often to look for runs that a server which is gone has left."""
CHECKS = 2
"""Drafts that are looked at (prepare) at the same time."""
ENDED = ("succeeded", "failed", "cancelled")


class Runs:
    """The runs of all projects, and the thread that looks after their processes."""

    def __init__(self, settings: Settings, store: Store, launcher: Launcher) -> None:
        self._dir = settings.data_dir / "runs"
        self._most = max(1, settings.workers)
        self._store = store
        self._launcher = launcher
        self._worker = identity.own_name()
        self._going: dict[str, Going] = {}
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._is_stopping = False
        self._adopt_at = 0.0
        self._thread = threading.Thread(target=self._look_after, daemon=True)

    # --- asked by pages --------------------------------------------------------------------------

    def folder(self, row: RunRow) -> Path:
        """The run's folder."""
        return self._dir / row.folder

    def draft(self, caller: Caller, name: str, *, like: RunRow | None = None) -> RunRow:
        """A new run that is still to be filled in; `like` another one, with its file and settings.

        Raises: StorageError.
        """
        run_id = new_id("run_")
        row = RunRow(
            id=run_id,
            project_id=caller.project,
            key_id=caller.id,
            role=caller.role,
            name=name,
            folder=f"{caller.project}/{run_id}",
        )
        folder = self.folder(row)
        with storage_errors(folder):
            (folder / run_files.TABLE).mkdir(parents=True)
            asked = RunConfig()
            if like is not None:
                asked = run_files.config(self.folder(like))
                asked = replace(asked, prepare=self._with_files(asked.prepare, folder))
            run_files.keep_config(folder, asked)
            (folder / run_files.RUN_ID).write_text(run_id, encoding="utf-8")  # marks its job
        return self._store.runs.create(row)

    def check(self, row: RunRow) -> RunRow:
        """Have prepare look at a draft's file, with its settings as they are now."""
        self._halt(row.id)
        asked = fingerprint(run_files.config(self.folder(row)))
        summary = {**row.summary, "asked": asked, "checked": False, "error": ""}
        values = {"worker": self._worker, "summary": summary}
        only = ("draft", "checking")
        row = self._store.runs.change(row.id, to="checking", only=only, values=values)
        self._wake.set()
        return row

    def halt(self, row: RunRow) -> RunRow:
        """Have prepare look at the draft's file no longer."""
        if row.state == "checking":
            nobody = {"process": None, "worker": None}
            row = self._store.runs.change(row.id, to="draft", only=("checking",), values=nobody)
        self._halt(row.id)
        return row

    def start(self, row: RunRow) -> RunRow:
        """Put a draft, or a run that has ended, in the queue.

        Raises: StateError when it is at work.
        """
        self.halt(row)
        fresh = {"started_at": None, "ended_at": None, "worker": None}
        row = self._store.runs.change(row.id, to="queued", only=("draft", *ENDED), values=fresh)
        self._wake.set()
        return row

    def cancel(self, row: RunRow) -> RunRow:
        """End the run's process, or its waiting. Its job is the caller's to cancel.

        Raises: StateError when it has ended.
        """
        only = ("queued", "running", "paused")
        ended = {"ended_at": now(), "worker": None, "process": None}
        row = self._store.runs.change(row.id, to="cancelled", only=only, values=ended)
        self._halt(row.id)
        return row

    def rename(self, row: RunRow, name: str) -> RunRow:
        """Give the run another name."""
        return self._store.runs.change(row.id, values={"name": name.strip()[:200] or row.name})

    def noted(self, row: RunRow, state: str) -> RunRow:
        """Note that the run's job is paused, or runs again."""
        return self._store.runs.change(row.id, to=state, only=("running", "paused"))

    def delete(self, row: RunRow) -> None:
        """Forget the run, with all files of its folder. Raises: StateError when it is at work."""
        if row.state in ("running", "paused"):
            raise StateError("The run is at work.", fix="Cancel it first.")
        self._store.runs.delete(row.id)
        self._halt(row.id)
        shutil.rmtree(self.folder(row), ignore_errors=True)

    def _with_files(self, asked: Any, folder: Path) -> Any:
        """The settings of prepare with copies of the files they name, in `folder`."""
        files = {}
        for name in (run_files.TABLE, run_files.CHECKS):
            if given := getattr(asked, name):
                copy = folder / name / Path(given).name
                copy.parent.mkdir(exist_ok=True)
                link_or_copy(Path(given), copy)
                files[name] = str(copy)
        return replace(asked, review=None, **files)

    # --- the thread ------------------------------------------------------------------------------

    def begin(self) -> None:
        """Look after the runs, until `end`."""
        self._thread.start()

    def end(self) -> None:
        """Stop the processes; the runs go on when a server starts again."""
        self._is_stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            for going in self._going.values():
                going.stop()

    def _look_after(self) -> None:
        while not self._is_stopping:
            try:
                self._turn()
            except TunesmithError:
                logger.exception("runs could not be looked after; it will be tried again")
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def _turn(self) -> None:
        if time.monotonic() >= self._adopt_at:
            self._adopt_at = time.monotonic() + ADOPT_SECONDS
            self._adopt()
        for run_id, going in list(self._going.items()):
            if (status := going.process.poll()) is not None:
                self._ended(run_id, going, status)
        mine = [row for row in self._store.runs.at_work() if row.worker == self._worker]
        for row in mine:
            if row.id not in self._going and self._may_start(row, mine):
                self._launch(row)
        while sum(row.state == "running" for row in mine) < self._most:
            if (taken := self._take()) is None:
                break
            mine.append(taken)
            self._launch(taken)

    def _take(self) -> RunRow | None:
        """The next run of the queue. Other servers may share the database, but not our disk."""
        return self._store.runs.take(self._worker, is_here=lambda row: self.folder(row).is_dir())

    def _may_start(self, row: RunRow, mine: list[RunRow]) -> bool:
        checks = [other.id for other in mine if other.state == "checking"]
        return row.id in checks[:CHECKS] if row.state == "checking" else True

    def _adopt(self) -> None:
        """Take over runs at work whose server is gone."""
        for row in self._store.runs.at_work():
            is_looked_after = row.worker and not identity.is_gone(row.worker)
            if is_looked_after or not self.folder(row).is_dir():
                continue
            if row.process:
                identity.kill(row.process)
            mine = {"worker": self._worker, "process": None}
            self._store.runs.change(row.id, only=AT_WORK, values=mine)

    def _launch(self, row: RunRow) -> None:
        caller = Caller(id=row.key_id, role=row.role, project=row.project_id)
        until = "prepare" if row.state == "checking" else ""
        with self._lock:
            try:
                going = self._launcher.start(self.folder(row), caller, until=until)
            except OSError as error:
                self._settle(row, "failed", {"error": f"The run could not start: {error}."})
                return
            self._going[row.id] = going
        try:
            named = {"process": going.name}
            self._store.runs.change(row.id, only=(row.state,), values=named)
        except TunesmithError:  # it was cancelled or deleted meanwhile
            self._halt(row.id)

    def _ended(self, run_id: str, going: Going, status: int) -> None:
        with self._lock:
            if self._going.get(run_id) is not going:
                return
            del self._going[run_id]
        self._launcher.ended(going)
        row = self._store.runs.get(run_id)
        if row is None or row.state not in AT_WORK:
            return
        folder = self.folder(row)
        said = "" if status == 0 else run_files.error(folder, since=going.events_from)
        if status < 0:
            said = f"The run's process was ended by signal {-status}; memory may have run out."
        if row.state == "checking":
            self._settle(row, "draft", {"error": said, "checked": status == 0})
        elif status == 0:
            self._settle(row, "succeeded", summary(folder))
        else:
            self._settle(row, "failed", {"error": said or "The run's process ended unexpectedly."})

    def _settle(self, row: RunRow, to: str, found: dict[str, Any]) -> None:
        settled = {
            "summary": {**row.summary, "error": "", **found},
            "ended_at": now() if to in ENDED else None,
            "process": None,
            "worker": None,
        }
        try:
            self._store.runs.change(row.id, to=to, only=AT_WORK, values=settled)
        except NotFound:
            shutil.rmtree(self.folder(row), ignore_errors=True)  # deleted while it was at work

    def _halt(self, run_id: str) -> None:
        """End the process of a run, if it has one."""
        with self._lock:
            going = self._going.pop(run_id, None)
        if going is not None:
            going.stop()
            self._launcher.ended(going)


def fingerprint(asked: RunConfig) -> str:
    """Changes when a setting does on which the result of prepare depends."""
    parts = (asked.prepare, asked.train.base_model, asked.train.max_length)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def summary(folder: Path) -> dict[str, Any]:
    """What lists show of a run that succeeded."""
    found: dict[str, Any] = {}
    if prepared := run_files.result(folder, "prepare"):
        found |= {"task": prepared.get("task"), "rows": prepared.get("num_rows")}
    if trained := run_files.result(folder, "train"):
        found |= {name: trained.get(name) for name in ("model", "base_model", "method", "job")}
    if evaluated := run_files.result(folder, "evaluate"):
        main = evaluated.get("main") or "accuracy"
        found |= {"metric": main, "score": (evaluated.get("metrics") or {}).get(main)}
        found["verdict"] = " ".join((evaluated.get("verdict") or [])[:1])
    return found
