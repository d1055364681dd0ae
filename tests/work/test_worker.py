"""From a created job to its end, good or bad, with the stand-in training process."""

import base64
import json
import os
import re
import signal
import time
from contextlib import closing, contextmanager

import pytest
from small_weights import model_folder
from sqlalchemy import text

from tunesmith.catalog import shelf
from tunesmith.errors import StorageError
from tunesmith.store import database as database_module
from tunesmith.store.paging import Cursor
from tunesmith.store.store import open_database
from tunesmith.wire import new_id
from tunesmith.work import files
from tunesmith.work import worker as worker_module


def test_a_job_succeeds_with_everything_it_promises(office):
    job_id = office.create(user_provided_suffix="My Tickets", validation_file=office.upload())
    office.work()
    job = office.wait(job_id, "succeeded")
    assert job.fine_tuned_model.startswith("ft:minilm-l6:acme:my-tickets:")
    assert job.finished_at >= job.created_at
    assert job.trained_tokens == 5830
    assert job.hyperparameters == {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0}
    assert job.facts["labels"] == ["a", "b"]
    assert (job.estimated_finish, job.progress, job.worker, job.error) == (None, {}, None, {})
    checkpoints = office.store.jobs.checkpoints(job_id, Cursor(limit=9)).data
    assert [c.step_number for c in checkpoints] == [4, 2]
    assert checkpoints[0].fine_tuned_model_checkpoint == job.fine_tuned_model
    earlier = checkpoints[1].fine_tuned_model_checkpoint
    assert earlier.endswith(":ckpt-step-2")
    assert earlier.split(":")[4] != job.fine_tuned_model.split(":")[4]
    assert checkpoints[1].metrics == {"step": 2, "type": "supervised", "train_loss": 0.5}
    for name in (earlier, job.fine_tuned_model):
        folder = office.settings.models_dir / office.store.models.get(name).folder
        assert json.loads((folder / "labels.json").read_text()) == ["a", "b"]


def test_the_events_are_openais_in_openais_order(office):
    job_id = office.create()
    office.work()
    job = office.wait(job_id, "succeeded")
    checkpoint = office.store.jobs.checkpoints(job_id, Cursor(limit=9)).data[1]
    assert office.messages(job_id) == [
        "Created",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
        "n_epochs: at most 3 (few rows)",
        "Twelve texts",
        "One text was cut",
        "Step 1/4: training loss=1.00",
        "Step 2/4: training loss=0.50, validation loss=1.00",
        "Step 3/4: training loss=0.33",
        "Step 4/4: training loss=0.25, validation loss=0.50, full validation loss=0.40",
        "Checkpoint created at step 2 with Snapshot ID: " + checkpoint.fine_tuned_model_checkpoint,
        f"New fine-tuned model created: {job.fine_tuned_model}",
        "The job has successfully completed",
    ]
    events = {event.message.split(":")[0]: event for event in office.events(job_id)}
    assert events["Step 2/4"].type == "metrics"
    assert events["Step 2/4"].data["valid_loss"] == 1.0
    assert "odd" not in events["Step 2/4"].data  # not a number, which JSON does not have
    assert events["n_epochs"].data["reason"] == "few rows"
    assert events["n_epochs"].type == "message"
    assert events["One text was cut"].level == "warn"


@pytest.mark.parametrize("encoding", ["base64", "plain"])
def test_the_result_file_is_encoded_as_set(office, encoding):
    object.__setattr__(office.settings, "result_encoding", encoding)
    job_id = office.create()
    office.work()
    job = office.wait(job_id, "succeeded")
    (file_id,) = job.result_files
    row = office.store.files.get(file_id)
    assert (row.filename, row.purpose) == ("step_metrics.csv", "fine-tune-results")
    content = office.blobs.open(file_id).read()
    assert row.bytes == len(content)
    text = base64.b64decode(content) if encoding == "base64" else content
    assert text.startswith(b"step,train_loss\n1,1.0\n")
    assert b'"logprob"' in office.blobs.open(job.samples_file).read()
    assert office.store.files.get(job.samples_file).filename == "samples.jsonl"


def test_while_running_auto_becomes_a_number_and_the_finish_is_estimated(office):
    job_id = office.create("slow")
    office.work()
    job = office.wait(job_id, "running", until=lambda job: job.estimated_finish)
    assert job.hyperparameters["n_epochs"] == 3
    assert abs(job.estimated_finish - time.time()) < 10


def test_what_is_left_of_a_finished_job_is_small(office):
    job_id = office.create()
    office.work()
    office.wait(job_id, "succeeded")
    left = {"job.json", "events.jsonl", "result.json", "metrics.csv", "train.log"}
    deadline = time.monotonic() + 5
    while {p.name for p in office.folder(job_id).iterdir()} != left:
        assert time.monotonic() < deadline, list(office.folder(job_id).iterdir())
        time.sleep(0.01)


def test_the_training_process_is_told_what_was_asked(office):
    first = office.create()
    office.work()
    parent = office.wait(first, "succeeded").fine_tuned_model
    job_id = office.create(model=parent, start_from=parent, options={"method": "head"})
    office.wait(job_id, "succeeded")
    told = json.loads((office.folder(job_id) / "job.json").read_text())
    assert told["base_model"] == "minilm-l6"
    assert told["start_from"] == str(office.settings.models_dir / first)
    assert told["validation_file"] is None
    assert told["options"] == {"method": "head"}
    assert office.job(job_id).fine_tuned_model.startswith("ft:minilm-l6:acme:")


# --- bad ends -------------------------------------------------------------------------------------


def failed(office, job_id):
    """The job's error, and that nothing came of it."""
    job = office.wait(job_id, "failed")
    assert (job.fine_tuned_model, job.finished_at, job.trained_tokens) == (None, None, None)
    assert job.result_files == []
    assert office.store.models.all() == []
    last = office.events(job_id)[-1]
    assert (last.level, last.message) == ("error", job.error["message"])
    return job.error


def test_a_bad_example_fails_the_job_with_openais_code_and_its_number(office):
    good = '{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"a"}]}\n'
    file_id = office.upload_text(good * 11 + "{broken\n" * 5)
    job_id = office.create(training_file=file_id)
    office.work()
    error = failed(office, job_id)
    assert (error["code"], error["param"]) == ("invalid_file_format", "training_file")
    assert "Example 12 (line 12)" in error["message"]
    assert error["message"].endswith("There are more problems in this file.")


def test_too_few_examples(office):
    job_id = office.create(training_file=office.upload(rows=9))
    office.work()
    assert failed(office, job_id)["code"] == "invalid_n_examples"


def test_a_bad_validation_file(office):
    job_id = office.create(validation_file=office.upload_text('{"no": 1}\n'))
    office.work()
    assert failed(office, job_id)["param"] == "validation_file"


def test_a_deleted_training_file(office):
    job_id = office.create()
    office.store.files.delete(office.job(job_id).training_file)
    office.work()
    error = failed(office, job_id)
    assert (error["code"], error["param"]) == ("deleted_training_file", "training_file")


def test_a_file_deleted_after_it_was_read_does_no_harm(office):
    job_id = office.create("slow")
    office.work()
    office.wait(job_id, "running")
    file_id = office.job(job_id).training_file
    office.store.files.delete(file_id)
    office.blobs.delete(file_id)
    assert (office.folder(job_id) / "training_file.jsonl").exists()


def test_a_model_to_start_from_that_was_deleted(office):
    job_id = office.create(start_from="ft:minilm-l6:acme::gone")
    office.work()
    assert failed(office, job_id)["code"] == "model_not_available"


def test_an_impossible_request_fails_in_the_trainers_words(office):
    job_id = office.create("impossible")
    office.work()
    told = {"code": "invalid_request", "message": "That cannot be done.", "param": "tunesmith"}
    assert failed(office, job_id) == told


def test_a_process_that_dies_is_started_again(office):
    job_id = office.create("die once")
    office.work()
    office.wait(job_id, "succeeded")
    (event,) = [e for e in office.events(job_id) if "Starting it again" in e.message]
    assert event.level == "warn"
    assert "ended with exit status 7" in event.message
    assert "attempt 2 of 3" in event.message


def test_a_process_that_keeps_dying_fails_the_job_with_the_reason(office):
    job_id = office.create("die")
    office.work()
    error = failed(office, job_id)
    assert error["code"] == "server_error"
    assert "signal 9 (SIGKILL), which mostly means that memory ran out" in error["message"]
    assert "stand-in trainer: die" in error["message"]
    assert "smaller batch_size" in error["message"]
    assert sum("Starting it again" in m for m in office.messages(job_id)) == 2


def test_a_process_that_comes_further_each_time_is_started_as_often_as_it_takes(office):
    job_id = office.create("steady but mortal")
    office.work()
    office.wait(job_id, "succeeded")
    again = [m for m in office.messages(job_id) if "Starting it again" in m]
    assert len(again) == 4 > worker_module.STARTS
    assert all("attempt 2 of 3" in message for message in again)
    assert office.steps(job_id) == list(range(1, 31))


def test_a_crash_is_told_without_a_traceback(office):
    job_id = office.create("crash")
    office.work()
    message = failed(office, job_id)["message"]
    assert "MemoryError: no room for 3 tensors" in message
    assert "Traceback" not in message
    assert "File " not in message


def test_a_fault_of_our_own_fails_the_job_and_not_the_worker(office, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(files, "check", broken)
    job_id = office.create()
    office.work()
    assert "error of its own" in failed(office, job_id)["message"]
    monkeypatch.undo()
    office.wait(office.create(), "succeeded")


def test_a_full_disk_fails_the_job_in_a_sentence(office, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.shutil, "copyfileobj", full)
    job_id = office.create()
    office.work()
    assert "The disk is full" in failed(office, job_id)["message"]


def test_the_worker_outlives_a_database_in_trouble(office, monkeypatch):
    lease, calls = office.store.jobs.lease, []

    def troubled(*arguments, **named):
        calls.append(1)
        if len(calls) < 3:
            raise StorageError("The database does not answer.")
        return lease(*arguments, **named)

    monkeypatch.setattr(office.store.jobs, "lease", troubled)
    job_id = office.create()
    office.work()
    office.wait(job_id, "succeeded")


def test_a_job_that_cannot_even_be_failed_is_failed_later(office, monkeypatch):
    write, calls = office.store.jobs.write, []

    def troubled(job_id, change, **named):
        if change.to in ("queued", "failed") and len(calls) < 2:
            calls.append(change.to)
            raise StorageError("The disk is full.")
        return write(job_id, change, **named)

    monkeypatch.setattr(office.store.jobs, "write", troubled)
    job_id = office.create()
    office.work()
    office.wait(job_id, "succeeded")
    assert calls == ["queued", "failed"]


@pytest.fixture
def hurried(monkeypatch, open_office):
    """An office that waits for the database only half a second."""
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.5)
    return open_office()


@contextmanager
def locked(office):
    """The database is in use by another program."""
    with closing(open_database(office.settings)) as other, other.write() as connection:
        if not other.is_sqlite:
            connection.execute(text("LOCK TABLE jobs, events IN EXCLUSIVE MODE"))
        yield


def test_a_training_outlives_a_database_in_use_by_others(hurried):
    job_id, _ = hurried.waiting()
    pid = hurried.trainer(job_id)
    with locked(hurried):
        os.kill(pid, signal.SIGTERM)  # it has something to tell, and ends
        time.sleep(1.5)
    hurried.wait(job_id, "succeeded")
    assert hurried.steps(job_id) == list(range(1, 31))


def test_a_job_outlives_a_database_in_use_by_others_at_any_other_moment(hurried):
    job_ids = [hurried.create("steady") for _ in range(3)]
    hurried.work()
    for _ in range(3):
        with locked(hurried):
            time.sleep(0.8)
        time.sleep(0.3)
    for job_id in job_ids:
        hurried.wait(job_id, "succeeded")
        assert hurried.steps(job_id) == list(range(1, 31))


# --- tidying up -----------------------------------------------------------------------------------


def test_sweeping_removes_only_what_nobody_needs(office):
    running, cancelled = office.create(), office.create()
    office.store.jobs.cancel(cancelled)
    keep, lost = office.settings.models_dir / "my backup", office.settings.models_dir / cancelled
    unfinished = office.settings.models_dir / running
    unknown = office.settings.models_dir / new_id("ftjob-")
    work = [office.folder(job_id) / "state" for job_id in (running, cancelled)]
    for folder in (keep, lost, unfinished, unknown, *work):
        folder.mkdir(parents=True)
    files.sweep(office.settings, office.store, office.blobs)
    assert keep.exists()
    assert unfinished.exists()
    assert unknown.exists()
    assert not lost.exists()
    assert [folder.exists() for folder in work] == [True, False]


def test_sweeping_removes_what_is_shared_and_was_not_asked_for_in_a_day(office):
    shared = office.settings.shared_dir
    shared.mkdir(parents=True)
    for name, age in (("old", 25 * 3600), ("new", 23 * 3600)):
        (shared / name).touch()
        os.utime(shared / name, (time.time() - age,) * 2)
    files.sweep(office.settings, office.store, office.blobs)
    assert [path.name for path in shared.iterdir()] == ["new"]


def test_sweeping_deletes_files_whose_time_is_over(office):
    file_id = office.upload()
    row = office.store.files.get(file_id)
    office.store.files.delete(file_id)
    office.store.files.add(type(row)(**{**vars(row), "expires_at": 1}))
    files.sweep(office.settings, office.store, office.blobs)
    assert office.store.files.expired() == []
    assert not (office.settings.data_dir / "blobs" / file_id).exists()


# --- the base model -------------------------------------------------------------------------------


def test_training_is_told_where_a_kept_base_model_is(office, tmp_path):
    folder = model_folder(tmp_path / "m")
    shelf.register(folder, office.settings.base_models_dir, name="mine")
    job_id, plain = office.create(model="mine", base_model="mine"), office.create()
    office.work()
    job = office.wait(job_id, "succeeded")
    told = json.loads((office.folder(job_id) / "job.json").read_text())
    assert (told["base_model"], told["base_folder"]) == ("mine", str(folder))
    assert job.fine_tuned_model.startswith("ft:mine:acme:")
    office.wait(plain, "succeeded")
    assert json.loads((office.folder(plain) / "job.json").read_text())["base_folder"] is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine", r"tokenizer\.json in .* is not the one that was kept .* tunesmith models add "),
        ("qwen3-0.6b", r"qwen3-0\.6b are not on this machine\. Run: tunesmith models pull "),
        ("gone", r"no base model named 'gone'"),
    ],
)
def test_a_job_whose_base_model_is_not_what_it_was_fails_at_its_start(office, tmp_path, name, said):
    kept = shelf.register(
        model_folder(tmp_path / "m"), office.settings.base_models_dir, name="mine"
    )
    (kept.files() / "tokenizer.json").write_text("changed since")
    job_id = office.create(model=name, base_model=name)
    office.work()
    job = office.wait(job_id, "failed")
    assert job.error["code"] == "model_not_available"
    assert re.search(said, job.error["message"])
    assert "running" not in office.messages(job_id)
