"""What is kept for a while only: events, stored answers, logs of jobs.

Does not know: how rows are removed.
"""

from __future__ import annotations

import shutil
import time

from tunesmith.errors import storage_errors
from tunesmith.settings import Settings
from tunesmith.store.store import Store

EVERY_SECONDS = 3600
MARK = "retention"
"""A file in the data folder, as old as the last time; several workers look at the same one."""


def apply(settings: Settings, store: Store) -> None:
    """Remove what the settings say has been kept long enough, at most once an hour.

    Raises: StorageError.
    """
    mark = settings.data_dir / MARK
    with storage_errors(mark):
        if mark.exists() and time.time() - mark.stat().st_mtime < EVERY_SECONDS:
            return
        mark.touch()
    if settings.keep_answers_days:
        store.retention.remove_answers(_before(settings.keep_answers_days))
    if settings.keep_evals_days:
        store.retention.remove_eval_items(_before(settings.keep_evals_days))
    if settings.keep_events_days:
        store.retention.remove_events(_before(settings.keep_events_days))
    if settings.keep_logs_days and settings.jobs_dir.exists():
        folders = {path.name: path for path in settings.jobs_dir.iterdir()}
        for job_id in store.retention.ended(list(folders), _before(settings.keep_logs_days)):
            shutil.rmtree(folders[job_id], ignore_errors=True)


def _before(days: int) -> int:
    return int(time.time()) - days * 24 * 3600
