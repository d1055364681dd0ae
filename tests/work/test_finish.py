"""Stopping at any moment while results are put away leads to the same end."""

import json
from pathlib import Path

import pytest

from tunesmith.errors import StateError
from tunesmith.store.blobs import Blobs
from tunesmith.store.jobs import Change, Jobs
from tunesmith.store.paging import Cursor
from tunesmith.store.rows import EventRow
from tunesmith.work.finish import Finisher

WORKER = "me"
STEPS = ("write", "rename", "rename", "put", "put", "write")
"""What finishing does, in order: store the plan, move two folders, store two files, succeed."""


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.fixture
def trained(office):
    """A running job whose training process has just ended."""
    job_id = office.create()
    lease = office.store.jobs.lease
    assert lease(WORKER, ["validating_files"], silent_before=0.0, is_gone=lambda _: False)
    for state in ("queued", "running"):
        job = office.store.jobs.write(job_id, Change(to=state), worker=WORKER)
    folder = office.folder(job_id)
    for name in ("model", "checkpoints/step-2"):
        (folder / name).mkdir(parents=True)
        (folder / name / "weights").write_text(name)
    (folder / "metrics.csv").write_text("step\n1\n")
    (folder / "samples.jsonl").write_text("{}\n")
    result = {
        "trained_tokens": 1,
        "hyperparameters": {},
        "checkpoints": [
            {"step": 2, "folder": "checkpoints/step-2", "metrics": {}},
            {"step": 4, "folder": "model", "metrics": {}},
        ],
    }
    (folder / "result.json").write_text(json.dumps(result))
    return job


def finish(office, job):
    finisher = Finisher(office.settings, office.store, office.blobs)
    return finisher.finish(job, office.folder(job.id))


def whole(office, job):
    """The end that every way must lead to."""
    job = office.job(job.id)
    assert job.status == "succeeded"
    models = office.store.models.all()
    assert [m.folder for m in models] == [job.id, f"{job.id}-step-2"]
    for model, content in zip(models, ("model", "checkpoints/step-2"), strict=True):
        assert (office.settings.models_dir / model.folder / "weights").read_text() == content
    assert job.fine_tuned_model == models[0].id
    files = [f.id for f in office.store.files.page(Cursor(limit=9)).data if "step" in f.filename]
    assert files == job.result_files
    blobs = {p.name for p in (office.settings.data_dir / "blobs").iterdir()}
    assert blobs == {job.training_file, *job.result_files, job.samples_file}
    messages = office.messages(job.id)
    assert messages[-1] == "The job has successfully completed"
    assert sum("New fine-tuned model" in m for m in messages) == 1
    assert len(office.store.jobs.checkpoints(job.id, Cursor(limit=9)).data) == 2


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(len(STEPS)), ids=lambda n: f"{n}-{STEPS[n]}")
def test_killed_at_any_step_and_started_again(office, trained, monkeypatch, number, after):
    done = []

    def killing(kind, real):
        def step(*arguments, **named):
            done.append(kind)
            if len(done) == number + 1 and not after:
                raise Killed
            result = real(*arguments, **named)
            if len(done) == number + 1:
                raise Killed
            return result

        return step

    for owner, kind in ((Jobs, "write"), (Path, "rename"), (Blobs, "put")):
        monkeypatch.setattr(owner, kind, killing(kind, getattr(owner, kind)))
    with pytest.raises(Killed):
        finish(office, trained)
    monkeypatch.undo()
    assert tuple(done) == STEPS[: number + 1]
    if office.job(trained.id).status == "running":
        finish(office, office.job(trained.id))
    whole(office, trained)


def test_names_once_chosen_stay(office, trained, monkeypatch):
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        finish(office, trained)
    monkeypatch.undo()
    plan = office.job(trained.id).plan
    finish(office, office.job(trained.id))
    assert office.job(trained.id).fine_tuned_model == plan["names"]["model"]


def test_a_job_cancelled_while_finishing_has_no_model(office, trained):
    office.store.jobs.cancel(trained.id)
    with pytest.raises(StateError):
        finish(office, trained)
    assert office.store.models.all() == []
    assert office.job(trained.id).result_files == []


def test_a_base_model_in_a_folder_gives_the_folders_name(office, trained):
    change = Change(values={"base_model": "/srv/models/My-Encoder"}, events=[EventRow(message="")])
    office.store.jobs.write(trained.id, change)
    finish(office, office.job(trained.id))
    assert office.job(trained.id).fine_tuned_model.startswith("ft:my-encoder:acme::")


@pytest.mark.parametrize("method", ["supervised", "dpo"])
def test_checkpoints_say_by_which_method_they_came(office, trained, method):
    office.store.jobs.write(trained.id, Change(values={"method": method}), worker=WORKER)
    finish(office, office.job(trained.id))
    found = office.store.jobs.checkpoints(trained.id, Cursor(limit=9)).data
    assert [checkpoint.metrics["type"] for checkpoint in found] == [method] * 2
