"""`chat`, `models` and `jobs`, with the provider in memory."""

import io
import json
import sys

import pytest
from hub_server import files_of, serving
from small_weights import model_folder


@pytest.fixture
def model(here, table) -> str:
    ended = here("run", table, "--run-dir", "r", "--bootstrap", "50", "--no-baselines", "--json")
    return json.loads(ended.out)["model"]


def test_chat_shows_the_likeliest_labels(here, model):
    ended = here("chat", model, "refund of a charge")
    first, *others = ended.out.splitlines()
    assert first.split()[0] == "billing" and first.endswith(" %") and "█" in first
    assert len(others) == 2


def test_chat_reads_lines_where_no_text_is_given(here, model, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("late parcel\n\nlocked profile\n"))
    found = [json.loads(line) for line in here("chat", model, "--json").out.splitlines()]
    assert [(f["text"], f["label"]) for f in found] == [
        ("late parcel", "shipping"),
        ("locked profile", "account"),
    ]


def test_an_unknown_model_gets_the_nearest_name(here, model):
    ended = here("chat", model[:-1] + "?", "hello")
    assert ended.code == 2
    assert f"Did you mean {model!r}?" in ended.err


def test_models_are_listed_and_deleted(here, model, monkeypatch):
    assert model in here("models").out
    assert model in [m["id"] for m in json.loads(here("models", "list", "--json").out)]
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert here("models", "delete", model).code == 2
    assert here("models", "delete", model, "--yes").out == f"{model} is deleted.\n"
    assert model not in here("models").out
    assert here("models", "delete", model, "--yes").code == 2


def test_jobs_are_listed_shown_and_cancelled(here, model, provider):
    job = next(provider.jobs())
    assert f"{job.id}  succeeded" in here("jobs").out
    assert json.loads(here("jobs", "list", "--json").out)[0]["id"] == job.id
    assert json.loads(here("jobs", "show", job.id).out)["fine_tuned_model"] == model
    assert here("jobs", "cancel", job.id).out == f"{job.id} is cancelled.\n"
    assert here("jobs", "pause", job.id).out == f"{job.id} is paused.\n"
    assert here("jobs", "resume", job.id).out == f"{job.id} is queued.\n"
    unknown = here("jobs", "show", "ftjob-none")
    assert (unknown.code, unknown.out) == (2, "")


# --- base models for text generation --------------------------------------------------------------


def bases(here) -> dict[str, list[str]]:
    """The lines about base models, by name."""
    lines = here("models").out.split("fetches one:\n")[1].splitlines()
    assert lines[0].split() == ["name", "here", "GB", "tokens", "rate", "template", "licence"]
    assert all(len(line) <= 80 for line in lines)
    return {line.split()[0]: line.split()[1:] for line in lines[1:]}


def test_base_models_are_listed_with_what_is_known_of_them(here):
    listed = bases(here)
    assert listed["smollm2-135m-instruct"] == ["0.27", "8,192", "5e-5", "chatml", "Apache-2.0"]
    assert listed["gemma-3-1b-it"] == ["gated", "2.00", "32,768", "2e-5", "gemma", "Gemma"]
    assert listed["qwen3-0.6b"][-2:] == ["chatml", "Apache-2.0"]
    found = {model["id"]: model for model in json.loads(here("models", "list", "--json").out)}
    row = found["qwen3-0.6b"]
    assert (row["object"], row["state"], row["hub"]) == ("base_model", "", "Qwen/Qwen3-0.6B")
    assert (row["max_length"], row["learning_rate"], row["licence"]) == (32768, 2e-5, "Apache-2.0")
    assert found["minilm-l6"]["object"] == "model"


def test_another_servers_models_are_not_told_beside_this_machines(here, monkeypatch):
    assert "qwen3" not in here("models", "list", "--base-url", "http://127.0.0.1:1/v1").out
    monkeypatch.setenv("TUNESMITH_SERVER", "http://127.0.0.1:1/v1")
    assert "qwen3" not in here("models").out


def test_a_folder_is_added_and_changes_are_seen(here, place):
    folder = model_folder(place / "Mine", shards=2)
    added = here("models", "add", folder, "--name", "mine-2")
    assert added.code == 0
    assert f"mine-2 is kept; its 5 files stay in {folder}: 0.00 GB, 1,024 tokens" in added.out
    assert "no chat template" in added.out
    assert bases(here)["mine-2"] == ["installed", "0.00", "1,024", "5e-5", "none"]
    assert (place / "data" / "base-models" / "mine-2" / "base-model.json").is_file()
    (folder / "model-00001-of-00002.safetensors").unlink()
    assert bases(here)["mine-2"][0] == "changed"
    ended = here("models", "add", folder)
    assert (ended.code, ended.out) == (2, "")
    assert "error: " in ended.err and "lacks 1 of the 2 files" in ended.err and "fix: " in ended.err


def test_a_base_model_is_pulled_by_a_process_with_only_the_hubs_address(outside, place):
    files = files_of(model_folder(place / "repository"))
    with serving() as (hub, address):
        hub.repositories["Acme/Small"] = files
        environ = {"HF_ENDPOINT": address, "HF_HOME": str(place / "hf")}
        ended = outside("models", "pull", "Acme/Small", environ=environ)
        assert (ended.code, ended.err) == (0, "")
        folder = place / "data" / "base-models" / "small"
        assert ended.out.startswith(f"small is in {folder}: 0.00 GB, 1,024 tokens")
        assert files.items() <= files_of(folder).items()


def test_without_a_network_pull_says_what_to_put_where(outside, place):
    environ = {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_HOME": str(place / "hf")}
    ended = outside("models", "pull", "smollm2-135m-instruct", environ=environ)
    folder = place / "data" / "base-models" / "smollm2-135m-instruct"
    assert (ended.code, ended.out) == (1, "")
    assert "The hub cannot be reached at http://127.0.0.1:1" in ended.err
    assert f"put them into {folder}: config.json" in ended.err
    assert f"Then run: tunesmith models add {folder}\n" in ended.err
