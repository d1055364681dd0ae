"""/v1/models through the OpenAI SDK."""

from urllib.parse import quote

import openai
import pytest


def test_base_and_tuned_models_are_listed_together(server):
    job = server.tuned()
    models = server.client.models.list().data
    assert [m.id for m in models][0] == job.fine_tuned_model
    assert models[-1].id == "minilm-l6"
    assert len(models) == 3
    tuned = server.client.models.retrieve(job.fine_tuned_model)
    assert tuned.to_dict() == {
        "id": job.fine_tuned_model,
        "object": "model",
        "created": tuned.created,
        "owned_by": "acme",
        "shutdown_date": None,
        "tunesmith": {"kind": "encoder", "answers": "labels"},
    }
    assert abs(tuned.created - job.finished_at) <= 2
    assert server.client.models.retrieve("minilm-l6").owned_by == "system"


def test_a_model_tells_its_labels_when_it_is_asked_for_alone(server):
    name = server.causal(labels=("late", "lost"))
    told = server.client.models.retrieve(name).tunesmith
    assert told == {"kind": "causal", "answers": "labels", "labels": ["late", "lost"]}
    listed = {model.id: model.tunesmith for model in server.client.models.list()}
    assert listed[name] == {"kind": "causal", "answers": "labels"}


def test_names_are_found_however_their_colons_are_written(server):
    checkpoint = server.client.fine_tuning.jobs.checkpoints.list(server.tuned().id).data[1]
    name = checkpoint.fine_tuned_model_checkpoint
    for written in (name, quote(name, safe="")):
        assert server.http.get(f"/models/{written}").json()["id"] == name
    assert server.http.get("/models/meta%2Fllama").json()["error"]["code"] == "model_not_found"


def test_a_deleted_model_is_gone_but_stays_in_its_job(server):
    job = server.tuned()
    name = job.fine_tuned_model
    folder = server.settings.models_dir / job.id
    assert folder.exists()
    gone = server.client.models.delete(name)
    assert (gone.id, gone.object, gone.deleted) == (name, "model", True)
    assert not folder.exists()
    assert server.pool.forgotten == server.writers.forgotten == [name]
    for call in (server.client.models.retrieve, server.client.models.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            call(name)
        assert caught.value.body == {
            "message": f"The model '{name}' does not exist",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    assert server.client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model == name
    assert len(server.client.models.list().data) == 2


def test_base_models_stay(server):
    with pytest.raises(openai.PermissionDeniedError, match="base models stay"):
        server.client.models.delete("minilm-l6")


def test_only_an_admin_key_deletes_models(server):
    name = server.tuned().fine_tuned_model
    key, _ = server.store.keys.create("app", role="member")
    with (
        openai.OpenAI(base_url=server.url, api_key=key, max_retries=0) as client,
        pytest.raises(openai.PermissionDeniedError),
    ):
        client.models.delete(name)
    assert server.client.models.retrieve(name).id == name
