"""/v1/fine_tuning/jobs through the OpenAI SDK: the invariants of the API."""

import base64
import json
import time
from contextlib import closing
from types import SimpleNamespace

import openai
import pytest

from tunesmith.store.database import in_turn
from tunesmith.store.jobs import Change
from tunesmith.store.rows import EventRow
from tunesmith.store.store import open_database
from tunesmith.store.tables import JOBS

JOB_KEYS = {
    "object", "id", "model", "created_at", "finished_at", "fine_tuned_model", "organization_id",
    "result_files", "status", "validation_file", "training_file", "hyperparameters",
    "trained_tokens", "error", "user_provided_suffix", "seed", "estimated_finish", "integrations",
    "metadata", "usage_metrics", "shared_with_openai", "eval_id", "method", "tunesmith",
}  # fmt: skip
AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}


@pytest.fixture
def idle(start):
    """A server on which nobody works."""
    return start(worker=False)


# --- creating -------------------------------------------------------------------------------------


def test_a_new_job_has_every_key_of_openais(idle):
    training, validation = idle.upload(), idle.upload()
    job = idle.client.fine_tuning.jobs.create(
        model="minilm-l6",
        training_file=training,
        validation_file=validation,
        suffix="Tickets",
        seed=42,
        metadata={"run": "7"},
    )
    assert set(job.to_dict()) == JOB_KEYS
    assert job.id.startswith("ftjob-")
    assert len(job.id) == len("ftjob-") + 24
    assert job.status == "validating_files"
    assert job.model == "minilm-l6"
    assert job.organization_id == "org-acme"
    assert job.to_dict()["error"] == {}
    assert job.result_files == []
    assert (job.seed, job.metadata, job.user_provided_suffix) == (42, {"run": "7"}, "Tickets")
    assert (job.finished_at, job.fine_tuned_model, job.trained_tokens) == (None, None, None)
    assert job.to_dict()["hyperparameters"] == AUTO
    assert job.to_dict()["method"] == {
        "type": "supervised",
        "supervised": {"hyperparameters": AUTO},
    }
    events = idle.client.fine_tuning.jobs.list_events(job.id).data
    assert [event.message for event in events] == [
        f"Validating training file: {training} and validation file: {validation}",
        f"Created fine-tuning job: {job.id}",
    ]
    assert events[0].to_dict() == {
        "object": "fine_tuning.job.event",
        "id": events[0].id,
        "created_at": events[0].created_at,
        "level": "info",
        "message": events[0].message,
        "data": {},
        "type": "message",
    }
    assert events[0].id.startswith("ftevent-")
    assert idle.client.fine_tuning.jobs.retrieve(job.id) == job


def test_a_seed_is_chosen_and_echoed(shared):
    seeds = {shared.create().seed for _ in range(3)}
    assert len(seeds) > 1
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(
    "place",
    [
        lambda given: {"hyperparameters": given},
        lambda given: {"method": {"type": "supervised", "supervised": {"hyperparameters": given}}},
    ],
    ids=["top-level", "method"],
)
def test_hyperparameters_from_both_places_are_echoed_in_both(shared, place):
    job = shared.create(**place({"n_epochs": 3, "learning_rate_multiplier": 0.5})).to_dict()
    expected = {"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": 0.5}
    assert job["hyperparameters"] == expected
    assert job["method"]["supervised"]["hyperparameters"] == expected


def test_a_method_without_hyperparameters_and_explicit_nulls_mean_auto(shared):
    job = shared.create(
        method={"type": "supervised"},
        suffix=None,
        validation_file=None,
        hyperparameters={"n_epochs": None},
    )
    assert job.to_dict()["hyperparameters"] == AUTO


def test_our_own_options_ride_in_one_object(shared):
    job = shared.create(extra_body={"tunesmith": {"method": "head", "dropout": 0.2}})
    options = job.tunesmith["options"]
    assert (options["method"], options["dropout"]) == ("head", 0.2)
    assert job.tunesmith["samples_file"] is None


def dpo(**hyperparameters):
    return {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}


def refused(call, **asked):
    """The error object of a call that is refused."""
    with pytest.raises(openai.BadRequestError) as caught:
        call(**asked)
    assert caught.value.body["type"] == "invalid_request_error"
    return SimpleNamespace(**caught.value.body)


def test_an_unknown_model_is_refused_with_the_nearest_name(shared):
    error = refused(shared.create, model="minilm-16")
    assert error.code == "model_not_available"
    assert error.param is None
    expected = "Model minilm-16 is not available for fine-tuning or does not exist."
    assert error.message.startswith(expected)
    assert "Did you mean 'minilm-l6'?" in error.message


def test_unknown_and_unsuitable_files_are_refused(shared):
    error = refused(shared.create, training_file="file-x")
    assert (error.message, error.param) == ("invalid training_file: file-x", "training_file")
    error = refused(shared.create, validation_file="file-y")
    assert (error.message, error.param) == ("invalid validation_file: file-y", "validation_file")
    error = refused(shared.create, training_file=shared.upload(purpose="evals"))
    assert error.param == "training_file"
    assert "'evals'" in error.message


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs", "'auto' or less than"),
        ({"hyperparameters": {"n_epoch": 5}}, "hyperparameters.n_epoch", "Unrecognized"),
        ({"suffix": "x" * 65}, "suffix", "64"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"method": {"type": "dpo"}}, "method.type", "needs a causal base model"),
        ({"method": dpo(beta=0.1, n_epochs="auto")}, "method.type", "minilm-l6 is an encoder"),
        ({"method": dpo(beta=0)}, "method.dpo.hyperparameters.beta", "greater than 0"),
        ({"method": dpo(beta=2.1)}, "method.dpo.hyperparameters.beta", "less than or equal to 2"),
        ({"method": dpo(gamma=1)}, "method.dpo.hyperparameters.gamma", "Unrecognized"),
        ({"method": dpo() | {"type": "supervised"}}, "method.dpo", "'dpo' does not belong to"),
        ({"method": {"type": "reinforcement"}}, "method.type", "'reinforcement' is not offered"),
        ({"method": {"type": "grpo"}}, "method.type", "'supervised'"),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"beta": 1}}}},
            "method.supervised.hyperparameters.beta",
            "Unrecognized",
        ),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata", "16"),
        ({"metadata": {"k": "x" * 513}}, "metadata", "512"),
        ({"extra_body": {"epochs": 3}}, "epochs", "Unrecognized request argument"),
        ({"extra_body": {"tunesmith": {"method": "lora"}}}, "tunesmith.method", "'head'"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations", "leave"),
    ],
)
def test_impossible_requests_are_refused_by_name(shared, asked, param, words):
    error = refused(shared.create, **asked)
    assert error.param is not None
    assert error.param.startswith(param)
    assert words in error.message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"'])
def test_a_body_that_is_no_request(shared, body):
    reply = shared.http.post("/fine_tuning/jobs", content=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_missing_arguments_are_named(shared):
    reply = shared.http.post("/fine_tuning/jobs", json={"model": "minilm-l6"})
    expected = "Missing required parameter: 'training_file'."
    assert reply.json()["error"]["message"] == expected


def test_folders_are_base_models_only_where_allowed(start, tmp_path):
    folder = tmp_path / "My-Encoder"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["BertModel"]}')
    for name in ("tokenizer.json", "model.safetensors"):
        (folder / name).write_text("")
    closed, open_ = start(worker=False), start(worker=False, allow_folders=True)
    assert refused(closed.create, model=str(folder)).code == "model_not_available"
    job = open_.create(model=str(folder))
    assert job.model == str(folder)
    assert open_.store.jobs.get(job.id).base_model == str(folder)
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refused(open_.create, model=str(folder)).message


# --- repeated requests ----------------------------------------------------------------------------


def test_a_retried_request_makes_one_job(idle):
    body = {"model": "minilm-l6", "training_file": idle.upload()}
    retry = {"x-stainless-retry-count": "1"}
    post = idle.http.post
    first = post("/fine_tuning/jobs", json=body, headers={"x-stainless-retry-count": "0"}).json()
    assert post("/fine_tuning/jobs", json=body, headers=retry).json() == first
    assert post("/fine_tuning/jobs", json={**body, "seed": 1}, headers=retry).json() != first
    again = post("/fine_tuning/jobs", json=body, headers={"x-stainless-retry-count": "0"}).json()
    assert again["id"] != first["id"]


def test_a_retry_with_another_key_is_another_request(idle):
    body = {"model": "minilm-l6", "training_file": idle.upload()}
    ids = set()
    for name in ("a", "b"):
        key, _ = idle.store.keys.create(name)
        headers = {"authorization": f"Bearer {key}", "x-stainless-retry-count": "1"}
        ids.add(idle.http.post("/fine_tuning/jobs", json=body, headers=headers).json()["id"])
    assert len(ids) == 2


def test_an_idempotency_key_makes_one_job(idle):
    body = {"model": "minilm-l6", "training_file": idle.upload()}
    made = [
        idle.http.post("/fine_tuning/jobs", json=body, headers={"idempotency-key": key}).json()[
            "id"
        ]
        for key in ("one", "one", "two")
    ]
    assert made[0] == made[1] != made[2]


# --- listing --------------------------------------------------------------------------------------


def test_jobs_are_listed_newest_first_page_by_page(idle):
    file_id = idle.upload()
    ids = [idle.create(training_file=file_id).id for _ in range(5)]
    jobs = idle.client.fine_tuning.jobs
    assert [job.id for job in jobs.list(limit=2)] == ids[::-1]
    page = idle.http.get("/fine_tuning/jobs", params={"limit": 2}).json()
    assert set(page) == {"object", "data", "has_more"}
    assert page["has_more"] is True
    for params in ({"after": "ftjob-x"}, {"limit": 101}, {"limit": "many"}):
        assert idle.http.get("/fine_tuning/jobs", params=params).status_code == 400


def test_jobs_are_filtered_by_metadata(idle):
    file_id = idle.upload()
    for metadata in ({"run": "1", "by me": "yes"}, {"run": "2"}, None):
        idle.create(training_file=file_id, metadata=metadata)
    jobs = idle.client.fine_tuning.jobs
    assert [job.metadata for job in jobs.list(metadata={"run": "2"})] == [{"run": "2"}]
    assert [job.metadata["run"] for job in jobs.list(metadata={"by me": "yes"})] == ["1"]
    assert len(jobs.list(metadata={"run": "1", "by me": "no"}).data) == 0
    assert len(jobs.list().data) == 3
    for text in ("null", ""):
        page = idle.http.get("/fine_tuning/jobs", params={"metadata": text}).json()
        assert [job["metadata"] for job in page["data"]] == [None]


def test_events_are_paged_without_gaps_while_more_arrive(idle):
    job_id = idle.create().id
    for number in range(5):
        idle.store.jobs.write(job_id, Change(events=[EventRow(message=str(number))]))
    seen = []
    for event in idle.client.fine_tuning.jobs.list_events(job_id, limit=2):
        seen.append(event.message)
        idle.store.jobs.write(job_id, Change(events=[EventRow(message="late")]))
    assert seen[:5] == ["4", "3", "2", "1", "0"]
    assert len(seen) == 7


def test_an_unknown_job_is_not_found_in_openais_words(shared):
    jobs = shared.client.fine_tuning.jobs
    for call in (jobs.retrieve, jobs.cancel, jobs.list_events, jobs.checkpoints.list):
        with pytest.raises(openai.NotFoundError) as caught:
            call("ftjob-x")
        assert caught.value.body["message"] == "Could not find fine tune: ftjob-x"
        assert (caught.value.code, caught.value.param) == ("fine_tune_not_found", "fine_tune_id")


# --- the ends -------------------------------------------------------------------------------------


def test_success_is_everything_openai_promises(server):
    job = server.create(suffix="tickets", validation_file=server.upload())
    job = server.wait(job.id, "succeeded")
    jobs = server.client.fine_tuning.jobs
    assert job.finished_at >= job.created_at
    assert job.fine_tuned_model.startswith("ft:minilm-l6:acme:tickets:")
    assert job.trained_tokens == 5830
    assert job.estimated_finish is None
    numbers = {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0}
    assert job.to_dict()["hyperparameters"] == numbers
    assert job.to_dict()["method"]["supervised"]["hyperparameters"] == numbers
    (result_file,) = job.result_files
    result = server.client.files.retrieve(result_file)
    assert (result.filename, result.purpose) == ("step_metrics.csv", "fine-tune-results")
    csv = base64.b64decode(server.client.files.content(result_file).read()).decode()
    assert csv.startswith("step,train_loss\n")
    samples = server.client.files.content(job.tunesmith["samples_file"]).text
    assert json.loads(samples)["logprob"] == -0.1
    assert job.tunesmith["facts"]["labels"] == ["a", "b"]
    newest = jobs.list_events(job.id, limit=3).data
    assert newest[0].message == "The job has successfully completed"
    assert newest[1].message == f"New fine-tuned model created: {job.fine_tuned_model}"
    metrics = [e for e in jobs.list_events(job.id) if e.type == "metrics"]
    assert metrics[0].data["full_valid_loss"] == 0.4
    page = jobs.checkpoints.list(job.id)
    assert [c.step_number for c in page.data] == [4, 2]
    assert page.data[0].fine_tuned_model_checkpoint == job.fine_tuned_model
    assert page.data[0].to_dict() == {
        "object": "fine_tuning.job.checkpoint",
        "id": page.data[0].id,
        "created_at": page.data[0].created_at,
        "fine_tuned_model_checkpoint": job.fine_tuned_model,
        "fine_tuning_job_id": job.id,
        "step_number": 4,
        "metrics": {"step": 4, "type": "supervised", "train_loss": 0.25},
    }
    raw = server.http.get(f"/fine_tuning/jobs/{job.id}/checkpoints", params={"limit": 1}).json()
    assert (raw["first_id"], raw["last_id"], raw["has_more"]) == (*[page.data[0].id] * 2, True)
    assert page.data[0].id.startswith("ftckpt_")
    listed = {model.id for model in server.client.models.list()}
    assert {c.fine_tuned_model_checkpoint for c in page.data} < listed


def test_failure_says_why_and_leaves_nothing(server):
    job = server.wait(server.create("impossible").id, "failed")
    assert (job.error.code, job.error.message) == ("invalid_request", "That cannot be done.")
    assert (job.fine_tuned_model, job.result_files, job.finished_at) == (None, [], None)
    (event, *_) = server.client.fine_tuning.jobs.list_events(job.id).data
    assert (event.level, event.message) == ("error", job.error.message)
    assert [m.id for m in server.client.models.list()] == ["minilm-l6"]


def test_bad_content_fails_the_job_not_the_call(server):
    job = server.create(training_file=server.upload(rows=5))
    job = server.wait(job.id, "failed")
    assert (job.error.code, job.error.param) == ("invalid_n_examples", "training_file")


def test_cancelling_says_cancelled_at_once_and_twice(server):
    job = server.create("slow")
    server.wait(job.id, "running")
    jobs = server.client.fine_tuning.jobs
    assert jobs.cancel(job.id).status == "cancelled"
    again = jobs.cancel(job.id)
    assert (again.status, again.finished_at, again.trained_tokens) == ("cancelled", None, None)
    assert jobs.list_events(job.id).data[0].message == "Fine-tuning job cancelled"
    time.sleep(0.2)
    assert jobs.retrieve(job.id).status == "cancelled"
    assert [m.id for m in server.client.models.list()] == ["minilm-l6"]


@pytest.mark.parametrize("behaviour", ["train", "impossible"])
def test_what_has_ended_cannot_be_cancelled(server, behaviour):
    state = "succeeded" if behaviour == "train" else "failed"
    job = server.wait(server.create(behaviour).id, state)
    with pytest.raises(openai.BadRequestError, match=f"is {state} and cannot become cancelled"):
        server.client.fine_tuning.jobs.cancel(job.id)


def test_a_post_without_a_body_may_say_it_is_json(idle):
    job_id = idle.create().id
    headers = {"content-type": "application/json", "content-length": "0"}
    reply = idle.http.post(f"/fine_tuning/jobs/{job_id}/cancel", headers=headers)
    assert reply.json()["status"] == "cancelled"


def test_a_running_job_tells_how_far_it_is(server):
    job = server.create("slow")
    job = server.wait(job.id, "running", until=lambda job: job.estimated_finish)
    assert job.hyperparameters.n_epochs == 3
    server.client.fine_tuning.jobs.cancel(job.id)
    assert server.client.fine_tuning.jobs.retrieve(job.id).estimated_finish is None


def test_tuning_goes_on_from_a_tuned_model_and_its_name_is_not_nested(server):
    parent = server.tuned().fine_tuned_model
    job = server.create(model=parent)
    assert job.model == parent
    job = server.wait(job.id, "succeeded")
    assert job.fine_tuned_model.startswith("ft:minilm-l6:acme::")
    assert job.tunesmith["facts"]["start_from"].startswith(str(server.settings.models_dir))


# --- others ---------------------------------------------------------------------------------------


def test_another_projects_job_is_not_found(idle):
    job_id = idle.create().id
    idle.store.projects.create("other")
    project = idle.store.projects.named("other").id
    key, _ = idle.store.keys.create("theirs", project=project)
    headers = {"authorization": f"Bearer {key}"}
    calls = [("POST", f"/{name}") for name in ("pause", "resume", "cancel")]
    calls += [("GET", f"/{name}") for name in ("events", "checkpoints")]
    for method, path in [*calls, ("GET", "")]:
        reply = idle.http.request(method, f"/fine_tuning/jobs/{job_id}{path}", headers=headers)
        assert reply.status_code == 404
        assert reply.json()["error"]["message"] == f"Could not find fine tune: {job_id}"


def test_a_key_that_only_reads_neither_pauses_nor_resumes(idle):
    job_id = idle.create().id
    key, _ = idle.store.keys.create("reader", role="reader")
    headers = {"authorization": f"Bearer {key}"}
    for name in ("pause", "resume", "cancel"):
        reply = idle.http.post(f"/fine_tuning/jobs/{job_id}/{name}", headers=headers)
        assert reply.status_code == 403


def test_a_database_in_use_by_others_is_waited_for_and_then_told(start, monkeypatch):
    monkeypatch.setattr("tunesmith.store.database.BUSY_SECONDS", 1)
    server = start()
    file_id = server.upload()
    with closing(open_database(server.settings)) as other, other.write() as connection:
        in_turn(connection, JOBS)
        begun = time.monotonic()
        asked = {"model": "minilm-l6", "training_file": file_id}
        reply = server.http.post("/fine_tuning/jobs", json=asked)
        assert time.monotonic() - begun > 0.9
        assert reply.status_code == 500
        error = reply.json()["error"]
        assert error["type"] == "server_error"
        assert "in use by another program for 1 seconds. Try again" in error["message"]
        assert server.http.get("/fine_tuning/jobs").json()["data"] == []  # reading goes on
    server.tuned(training_file=file_id)
