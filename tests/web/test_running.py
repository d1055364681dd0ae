"""The queue of runs and their processes, with stand-ins for the pipeline."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tunesmith.config import PrepareConfig
from tunesmith.errors import StateError
from tunesmith.server.door.auth import Caller
from tunesmith.settings import Settings
from tunesmith.store.store import open_store
from tunesmith.web import run_files, running
from tunesmith.web.processes import Going
from tunesmith.web.running import Runs
from tunesmith.work import identity

ADA = Caller(id="key_a", role="member", project="proj_default")
DOES = {
    "wait": "import time; time.sleep(60)",
    "done": "pass",
    "fail": "import json; open('events.jsonl', 'a').write(json.dumps(dict(kind='error', "
    "message='The table is empty. Fill it.', data={}, at=0)) + '\\n'); raise SystemExit(1)",
    "crash": "import sys; sys.exit('Traceback: oh')",
    "killed": "import os; os.kill(os.getpid(), 9)",
}


class Launcher:
    """Starts what the run's name says."""

    def __init__(self):
        self.started, self.over, self.does = [], [], {}

    def start(self, folder, caller, *, until=""):
        self.started.append((folder.name, caller, until))
        script = DOES[self.does.get(folder.name, "wait")]
        with (folder / run_files.LOG).open("wb") as log:
            command = [sys.executable, "-S", "-E", "-c", script]
            process = subprocess.Popen(command, cwd=folder, stderr=log, start_new_session=True)
        events = folder / run_files.EVENTS
        size = events.stat().st_size if events.exists() else 0
        name = identity.name_of(process.pid)
        return Going(name=name, key=folder.name, events_from=size, process=process)

    def ended(self, going):
        self.over.append(going.key)


class Place:
    def __init__(self, tmp_path):
        self.settings = Settings(data_dir=tmp_path, workers=1)
        self.store = open_store(self.settings)
        self.launcher = Launcher()
        self.runs = Runs(self.settings, self.store, self.launcher)

    def begun(self, does="wait", name="run"):
        row = self.runs.draft(ADA, name)
        self.launcher.does[row.id] = does
        return self.runs.start(row)

    def state(self, row, *wanted):
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if (now := self.store.runs.get(row.id)).state in wanted:
                return now
            time.sleep(0.01)
        raise AssertionError(now)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "POLL_SECONDS", 0.02)
    place = Place(tmp_path)
    place.runs.begin()
    yield place
    place.runs.end()
    place.store.close()


def test_runs_wait_for_each_other(place):
    first, second = place.begun(), place.begun("done")
    place.state(first, "running")
    assert place.state(second, "queued").started_at is None
    place.runs.cancel(place.store.runs.get(first.id))
    assert place.state(second, "succeeded").ended_at is not None
    assert [name for name, _, _ in place.launcher.started] == [first.id, second.id]
    assert place.launcher.started[0][1] == ADA
    assert sorted(place.launcher.over) == sorted([first.id, second.id])  # keys are taken back


def test_paused_runs_make_room(place):
    first, second = place.begun(), place.begun()
    place.state(first, "running")
    place.runs.noted(first, "paused")
    place.state(second, "running")


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("fail", "The table is empty. Fill it."),
        ("crash", "Traceback: oh"),
        ("killed", "ended by signal 9; memory may have run out"),
    ],
)
def test_a_failure_is_told_and_can_be_begun_again(place, does, why):
    row = place.begun(does)
    assert why in place.state(row, "failed").summary["error"]
    place.launcher.does[row.id] = "done"
    place.runs.start(place.store.runs.get(row.id))
    assert place.state(row, "succeeded").summary["error"] == ""


def test_a_result_is_summed_up(place):
    row = place.runs.draft(ADA, "run")
    place.launcher.does[row.id] = "done"
    results = {
        "01-prepare": {"task": "classify", "num_rows": 9},
        "03-train": {"model": "ft:x", "base_model": "minilm-l6", "method": "head", "job": "j"},
        "05-evaluate": {"metrics": {"accuracy": 0.91}, "verdict": ["Good.", "More."]},
    }
    for folder, result in results.items():
        (place.runs.folder(row) / folder).mkdir()
        (place.runs.folder(row) / folder / "result.json").write_text(json.dumps(result))
    place.runs.start(row)
    found = place.state(row, "succeeded").summary
    assert (found["score"], found["metric"], found["model"]) == (0.91, "accuracy", "ft:x")
    assert found["verdict"] == "Good."


def test_a_draft_is_looked_at_beside_the_queue(place):
    place.state(place.begun(), "running")
    row = place.runs.draft(ADA, "draft")
    place.launcher.does[row.id] = "done"
    place.runs.check(row)
    done = place.state(row, "draft")
    assert done.summary["checked"] is True
    assert place.launcher.started[-1][2] == "prepare"
    place.launcher.does[row.id] = "fail"
    place.runs.check(done)
    failed = place.state(row, "draft")
    assert failed.summary["checked"] is False and "Fill it" in failed.summary["error"]


def test_looking_again_ends_the_earlier_look(place):
    row = place.runs.draft(ADA, "draft")
    place.runs.check(row)
    while not place.launcher.started:
        time.sleep(0.01)
    place.launcher.does[row.id] = "done"
    place.runs.check(place.store.runs.get(row.id))
    assert place.state(row, "draft").summary["checked"] is True
    assert len(place.launcher.started) == 2


def test_what_is_at_work_cannot_be_begun_or_deleted(place):
    row = place.state(place.begun(), "running")
    with pytest.raises(StateError):
        place.runs.start(row)
    with pytest.raises(StateError, match="at work"):
        place.runs.delete(row)
    place.runs.cancel(row)
    with pytest.raises(StateError):
        place.runs.cancel(row)
    place.runs.delete(place.store.runs.get(row.id))
    assert not place.runs.folder(row).exists() and place.store.runs.get(row.id) is None


def test_a_server_that_starts_goes_on_with_what_was_at_work(place, tmp_path):
    row = place.state(place.begun(), "running")
    while place.store.runs.get(row.id).process is None:
        time.sleep(0.01)
    first = place.store.runs.get(row.id)
    orphan = subprocess.Popen([sys.executable, "-S", "-c", DOES["wait"]], start_new_session=True)
    gone = subprocess.Popen([sys.executable, "-S", "-c", "pass"])
    name = identity.name_of(gone.pid)
    gone.wait()
    place.runs.end()  # the row stays as a server that was killed leaves it
    assert place.store.runs.get(row.id).state == "running"
    left = {"worker": name, "process": identity.name_of(orphan.pid)}
    place.store.runs.change(row.id, values=left)
    place.launcher.does[row.id] = "done"
    other = Runs(place.settings, place.store, place.launcher)
    other.begin()
    try:
        assert place.state(row, "succeeded").started_at == first.started_at
        assert orphan.wait(10) == -9
    finally:
        other.end()


def test_runs_of_a_server_that_lives_are_left_alone(place):
    row = place.state(place.begun(), "running")
    other = Runs(place.settings, place.store, Launcher())
    other._turn()
    assert place.store.runs.get(row.id).worker == place.runs._worker
    assert other._launcher.started == []


def test_a_copy_has_its_own_file_and_the_same_settings(place):
    row = place.runs.draft(ADA, "one")
    folder = place.runs.folder(row)
    table = folder / "table" / "rows.csv"
    table.write_text("a,b\n1,2\n")
    checks = folder / "validation" / "rows.csv"  # of the same name
    checks.parent.mkdir()
    checks.write_text("a,b\n3,4\n")
    asked = run_files.config(folder)
    given = PrepareConfig(
        table=str(table), validation=str(checks), balance="none", review="r.csv"
    )  # fmt: skip
    asked = replace(asked, prepare=given)
    run_files.keep_config(folder, asked)
    copy = place.runs.draft(ADA, "two", like=row)
    found = run_files.config(place.runs.folder(copy)).prepare
    assert (found.balance, found.review) == ("none", None)
    assert found.table != str(table) and Path(found.table).read_text() == "a,b\n1,2\n"
    assert found.validation != str(checks) and Path(found.validation).read_text() == "a,b\n3,4\n"
    place.runs.delete(row)
    assert Path(found.table).exists()
