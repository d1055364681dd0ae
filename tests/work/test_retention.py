"""What is kept for a while only."""

import os
import time
from dataclasses import replace

import pytest

from tunesmith.store import retention as rows
from tunesmith.store.jobs import Change
from tunesmith.store.rows import CompletionRow, EventRow, ResponseRow
from tunesmith.work import files, retention

DAY = 24 * 3600


@pytest.fixture
def small_bites(monkeypatch):
    monkeypatch.setattr(rows, "ROWS_AT_ONCE", 2)


def ended(office, *, days, status="succeeded"):
    """A job that ended so many days ago, with five events and a log."""
    at = int(time.time()) - int(days * DAY)
    job_id = office.create(created_at=at - DAY)
    office.store.jobs.write(job_id, Change(to="queued"))
    office.store.jobs.write(job_id, Change(to="running"))
    events = [EventRow(message=str(n), created_at=at) for n in range(4)]
    values = {"finished_at": at} if status == "succeeded" else {}
    office.store.jobs.write(job_id, Change(to=status, values=values, events=events))
    office.folder(job_id).mkdir(parents=True)
    (office.folder(job_id) / "train.log").write_text("log")
    return job_id


def ages_of(office):
    """Ages in days of the stored answers."""
    now = time.time()
    completions = [office.store.completions.get(f"c-{n}") for n in (1, 40)]
    responses = [office.store.responses.get(f"r-{n}") for n in (1, 40)]
    return [round((now - row.created) / DAY) for row in completions if row], [
        round((now - row.created_at) / DAY) for row in responses if row
    ]


def test_events_of_old_jobs_are_removed(office, small_bites):
    settings = replace(office.settings, keep_events_days=7)
    old = [ended(office, days=8, status=status) for status in ("succeeded", "failed", "cancelled")]
    new = [ended(office, days=6, status=status) for status in ("succeeded", "failed")]
    waiting = office.create(created_at=1)
    retention.apply(settings, office.store)
    assert [len(office.messages(job_id)) for job_id in old] == [0, 0, 0]
    assert [len(office.messages(job_id)) for job_id in new] == [5, 5]
    assert office.messages(waiting) == ["Created"]
    assert office.job(old[0]).status == "succeeded"


def test_stored_answers_are_removed(office, small_bites):
    for days in (1, 40):
        at = int(time.time()) - days * DAY
        about = {"model": "m", "messages": [], "body": {}}
        office.store.completions.add(CompletionRow(id=f"c-{days}", created=at, **about))
        office.store.responses.add(ResponseRow(id=f"r-{days}", created_at=at, items=[], body={}))
    retention.apply(replace(office.settings, keep_answers_days=0), office.store)
    assert ages_of(office) == ([1, 40], [1, 40])
    os.utime(office.settings.data_dir / retention.MARK, (0, 0))
    retention.apply(replace(office.settings, keep_answers_days=30), office.store)
    assert ages_of(office) == ([1], [1])


def test_items_of_old_eval_runs_are_removed(office, monkeypatch):
    removed = []
    monkeypatch.setattr(office.store.retention, "remove_eval_items", removed.append)
    retention.apply(office.settings, office.store)
    assert removed == []
    os.utime(office.settings.data_dir / retention.MARK, (0, 0))
    retention.apply(replace(office.settings, keep_evals_days=7), office.store)
    assert abs(removed[0] - (time.time() - 7 * DAY)) < 5


def test_logs_of_old_jobs_are_removed(office):
    old, new = ended(office, days=8), ended(office, days=6)
    (office.settings.jobs_dir / "not a job").mkdir()
    retention.apply(replace(office.settings, keep_logs_days=7), office.store)
    left = {path.name for path in office.settings.jobs_dir.iterdir()}
    assert (old in left, left) == (False, {new, "not a job"})


def test_it_is_done_once_an_hour_with_the_sweep(office):
    settings = replace(office.settings, keep_logs_days=7)
    retention.apply(settings, office.store)
    old = ended(office, days=8)
    files.sweep(settings, office.store, office.blobs)
    assert office.folder(old).exists()
    mark, hour = settings.data_dir / retention.MARK, time.time() - retention.EVERY_SECONDS
    os.utime(mark, (hour, hour))
    files.sweep(settings, office.store, office.blobs)
    assert not office.folder(old).exists()


def test_many_events_take_many_transactions(office, monkeypatch):
    monkeypatch.setattr(rows, "ROWS_AT_ONCE", 100)
    job_id = ended(office, days=8)
    office.store.jobs.write(
        job_id, Change(events=[EventRow(message="x", created_at=1) for _ in range(995)])
    )
    longest, write = [], type(office.store.retention._database).write
    monkeypatch.setattr(
        type(office.store.retention._database), "write", lambda s: longest.append(1) or write(s)
    )
    assert office.store.retention.remove_events(int(time.time()) - DAY) == 1000
    assert len(longest) == 11
