"""One reader a run: what pages are told, and when nobody looks any more."""

import asyncio
import json

import pytest

from tunesmith.events import Event
from tunesmith.settings import Settings
from tunesmith.store.rows import JobRow, RunRow
from tunesmith.store.store import open_store
from tunesmith.web import following as module
from tunesmith.web.following import Following, thinned


class Folders:
    """Stands in for Runs."""

    def __init__(self, store, folder):
        self.store, self._folder = store, folder

    def folder(self, row):
        return self._folder

    def noted(self, row, state):
        return self.store.runs.change(row.id, to=state)


class Place:
    def __init__(self, tmp_path):
        self.store = open_store(Settings(data_dir=tmp_path / "data"))
        self.folder = tmp_path / "run"
        self.folder.mkdir()
        given = {"key_id": "k", "role": "member", "name": "r", "folder": "f"}
        self.row = self.store.runs.create(RunRow(state="running", **given))
        self.following = Following(self.store, Folders(self.store, self.folder))

    def tell(self, *events):
        with (self.folder / "events.jsonl").open("a") as file:
            for kind, data in events:
                file.write(
                    json.dumps({"kind": kind, "message": kind, "data": data, "at": 1}) + "\n"
                )


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.02)
    place = Place(tmp_path)
    yield place
    place.store.close()


METRIC = ("metric", {"step": 1, "train_loss": 2.0, "train_mean_token_accuracy": 0.5})
LOOK = ("metric", {"step": 2, "train_loss": 1.0, "dev_loss": 1.5, "dev_accuracy": 0.75})


def test_pages_hear_of_what_is_new_and_only_that(place):
    place.tell(("note", {}), METRIC)

    async def look():
        heard, other = [], []
        followed, leave = await place.following.join(place.row, heard.append)
        same, leave_too = await place.following.join(place.row, other.append)
        assert same is followed
        assert [e.message for e in followed.events] == ["note"]
        assert followed.points == [{"step": 1.0, "train": 2.0, "train_right": 0.5}]
        await asyncio.sleep(0.1)
        assert heard == []
        place.tell(LOOK, ("decision", {}))
        while not heard:
            await asyncio.sleep(0.01)
        assert len(heard[0].points) == 1 and heard[0].points[0]["dev_right"] == 0.75
        assert [e.kind for e in heard[0].events] == ["decision"]
        assert heard == other
        leave()
        task = followed.task
        assert not task.cancelled()
        leave_too()
        await asyncio.sleep(0.05)
        assert task.cancelled() and place.following._followed == {}

    asyncio.run(look())


def test_a_job_that_somebody_else_pauses_is_seen(place):
    given = {"key_id": "k", "request_hash": "h", "model": "m", "base_model": "m"}
    job = JobRow(
        status="paused",
        training_file="f",
        seed=1,
        metadata={"tunesmith_run": place.row.id},
        **given,
    )
    place.store.of(place.row.project_id).jobs.create(job, [], repeated=False)

    async def look():
        heard = []
        followed, leave = await place.following.join(place.row, heard.append)
        assert followed.job.id == job.id and followed.row.state == "paused"
        leave()

    asyncio.run(look())
    assert place.store.runs.get(place.row.id).state == "paused"


def test_long_curves_are_thinned_but_keep_their_looks(monkeypatch):
    monkeypatch.setattr(module, "MOST_POINTS", 20)
    points = [{"step": n, "train": 1.0} | ({"dev": 1.0} if n % 25 == 0 else {}) for n in range(100)]
    kept = thinned(points)
    assert len(kept) <= 20 and kept[-1]["step"] == 99
    assert {p["step"] for p in kept if "dev" in p} == {0, 25, 50, 75}
    everywhere = [{"step": n, "dev": 1.0} for n in range(50)]
    assert len(thinned(everywhere)) == 20
    assert Event(kind="note", message="").kind == "note"
