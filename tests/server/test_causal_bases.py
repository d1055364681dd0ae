"""Causal base models as what jobs tune: by name where they are on this machine, and by folder."""

import dataclasses
import json

import openai
import pytest
from small_weights import model_folder
from tiny_causal import tiny

from tunesmith import catalog
from tunesmith.catalog import shelf


@pytest.fixture
def idle(start):
    """A server on which nobody works."""
    return start(worker=False)


def keep(server, folder, name) -> None:
    shelf.register(folder, server.settings.base_models_dir, name=name)


def refused(server, model, **asked) -> dict:
    with pytest.raises(openai.BadRequestError) as caught:
        server.create(model=model, **asked)
    assert not server.client.fine_tuning.jobs.list().data
    return caught.value.body


@pytest.mark.parametrize("model", ["smollm2-135m-instruct", "llama-3.2-1b-instruct"])
def test_one_that_is_not_here_is_refused_with_the_command_that_fetches_it(idle, model):
    error = refused(idle, model)
    assert error["code"] == "model_not_available"
    assert f"The files of base model {model} are not on this machine." in error["message"]
    assert f"Run: tunesmith models pull {model}" in error["message"]


def test_one_that_is_kept_is_tuned_under_its_name(start, tmp_path):
    server = start()
    folder = tiny(tmp_path / "Folder", "llama")
    keep(server, folder, "my-llama")
    assert "my-llama" in {model.id for model in server.client.models.list()}
    job = server.tuned(model="my-llama", suffix="mail")
    assert job.model == "my-llama"
    assert job.fine_tuned_model.startswith("ft:my-llama:acme:mail:")
    told = json.loads((server.settings.jobs_dir / job.id / "job.json").read_text())
    assert (told["base_model"], told["base_folder"]) == ("my-llama", str(folder))


def test_a_row_of_the_catalog_that_was_pulled_is_tuned_too(start, tmp_path, monkeypatch):
    server, name = start(), "qwen3-0.6b"
    folder = tiny(tmp_path / "m", "qwen3")
    size = catalog.inspect(folder).parameters
    row = dataclasses.replace(catalog.catalog()[name], parameters=size)
    monkeypatch.setitem(catalog.catalog(), name, row)
    keep(server, folder, name)
    assert server.tuned(model=name).fine_tuned_model.startswith(f"ft:{name}:acme::")


def test_one_whose_files_were_changed_fails_before_it_trains(start, tmp_path):
    server = start()
    folder = tiny(tmp_path / "m", "llama")
    keep(server, folder, "mine")
    (folder / "model.safetensors").write_bytes(b"other")
    job = server.wait(server.create(model="mine").id, "failed")
    assert job.error.code == "model_not_available"
    assert "model.safetensors" in job.error.message and "checksum differs" in job.error.message


def test_a_folder_is_taken_where_folders_are_allowed(start, tmp_path):
    folder = tiny(tmp_path / "Tiny", "qwen3")
    server = start(allow_folders=True)
    assert server.tuned(model=str(folder)).fine_tuned_model.startswith("ft:tiny:acme::")


def test_a_folder_is_refused_elsewhere_and_where_it_is_damaged(start, tmp_path):
    broken = model_folder(tmp_path / "many", shards=2)
    assert refused(start(worker=False), str(broken))["code"] == "model_not_available"
    (broken / "model-00001-of-00002.safetensors").unlink()
    message = refused(start(worker=False, allow_folders=True), str(broken))["message"]
    assert "lacks 1 of the 2 files of its weights" in message


def test_a_limit_beyond_the_context_is_refused_with_the_number(idle, tmp_path):
    keep(idle, tiny(tmp_path / "m", "llama"), "mine")
    error = refused(idle, "mine", extra_body={"tunesmith": {"max_length": 1000}})
    assert "max_length is 1,000, but mine reads at most 512 tokens." in error["message"]
    assert idle.create(model="mine", extra_body={"tunesmith": {"max_length": 512}}).id


def test_they_give_no_embeddings(idle, tmp_path):
    keep(idle, tiny(tmp_path / "m", "llama"), "mine")
    with pytest.raises(openai.BadRequestError, match="'mine' gives no embeddings"):
        idle.client.embeddings.create(model="mine", input="hello")
    with pytest.raises(openai.NotFoundError, match="tunesmith models pull qwen3-0.6b"):
        idle.client.embeddings.create(model="qwen3-0.6b", input="hello")


def test_an_encoder_is_not_tuned_by_preferences(idle):
    with pytest.raises(openai.BadRequestError, match="dpo"):
        idle.create(method={"type": "dpo"})


def test_what_is_not_here_is_not_listed(idle):
    names = {model.id for model in idle.client.models.list()}
    assert catalog.DEFAULT in names and "qwen3-0.6b" not in names
