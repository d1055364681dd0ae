"""`tunesmith export`: by name from the data folder, by folder, and what it says."""

import io
import json
from pathlib import Path

import pytest
import torch
from tiny_causal import tiny

from tunesmith import settings
from tunesmith.model.cards import CausalCard
from tunesmith.model.rendering import Renderer
from tunesmith.store.blobs import Blobs
from tunesmith.store.jobs import Change
from tunesmith.store.rows import EventRow, JobRow, ModelRow
from tunesmith.store.store import open_store

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
NAME = "ft:tiny:local:mail:AbCd1234"


def tuned(folder: Path, base: Path) -> Path:
    """What a job leaves that tuned an adapter."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(base)
    model = get_peft_model(network, LoraConfig(task_type="CAUSAL_LM", r=2))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_" in name:
                weights.fill_(0.1)
    model.save_pretrained(folder)
    Renderer(base, max_length=64).save(folder)
    CausalCard(base_model="tiny", base_folder=str(base), method="lora", max_length=64).save(folder)
    return folder


@pytest.fixture
def adapter(place) -> Path:
    """The folder of the tuned model NAME in the data folder."""
    here = settings.load()
    base = tiny(place / "tiny", "llama")
    folder = tuned(here.models_dir / "ftjob-1", base)
    store = open_store(here)
    asked = [{"role": "user", "content": "hello"}]
    lines = [json.dumps({"messages": asked, "ids": [5, 6, 7]}) for _ in range(20)]
    samples = Blobs(here.blobs).put("file-samples", io.BytesIO("\n".join(lines).encode()))
    assert samples.bytes
    job = store.jobs.create(
        JobRow(
            key_id="k",
            request_hash="h",
            model="tiny",
            base_model="tiny",
            training_file="file-1",
            seed=1,
            hyperparameters={},
            samples_file="file-samples",
        ),
        [EventRow(message="Created")],
        repeated=False,
    )
    assert store.jobs.lease("me", ["validating_files"], silent_before=0.0, is_gone=lambda _: False)
    model = ModelRow(
        id=NAME, owned_by="local", base_model="tiny", job_id=job.id, folder=folder.name
    )
    for state in ("queued", "running"):
        store.jobs.write(job.id, Change(to=state), worker="me")
    store.jobs.write(job.id, Change(to="succeeded", models=[model]), worker="me")
    store.close()
    return folder


def test_a_model_is_exported_by_its_name(here, place, adapter):
    ended = here("export", NAME)
    assert (ended.code, ended.err) == (0, "")
    out = place / "ft-tiny-local-mail-AbCd1234-merged"
    notes, last, told = ended.out.splitlines()[:3], *ended.out.splitlines()[3:]
    assert [note.split()[0] for note in notes] == ["Loading", "Writing", "Comparing"]
    assert last == f"{NAME} is in {out}: whole weights, 0.00 GB."
    # Eight of the trainer's own answers, three tokens each.
    assert told.startswith("Merged and adapter answer alike: over 24 tokens, log-probabilities ")
    assert (out / "model.safetensors").is_file()


def test_and_by_its_folder_and_from_the_group_of_models(here, place, adapter):
    ended = here("models", "export", adapter, "--to", "adapter", "--out", place / "a" / "b")
    assert (
        ended.out == f"{adapter} is in {place / 'a' / 'b'}: an adapter in PEFT's layout, 0.00 GB.\n"
    )
    ended = here("export", adapter, "--json", "--to", "merged")
    made = json.loads(ended.out)
    assert made["folder"] == str(place / "ftjob-1-merged")
    assert (made["form"], made["model"]) == ("merged", str(adapter))
    assert 0 <= made["typical"] <= made["difference"] < 1e-4 and made["num_compared"] > 3
    whole = here("export", place / "ftjob-1-merged", "--out", place / "copy").out
    assert whole.endswith("It was tuned whole; the files are copies.\n")


def test_what_cannot_be_exported_gets_a_sentence(here, place, adapter):
    def refused(*arguments):
        ended = here("export", *arguments)
        assert (ended.code, ended.out) == (2, "")
        return ended.err

    said = refused(NAME[:-1] + "x")
    assert "error: There is no tuned model named " in said
    assert f"fix: Did you mean '{NAME}'?" in said
    said = refused(NAME, "--to", "gguf")
    assert "no form 'gguf' to export to; offered are merged (" in said
    (place / "there").mkdir()
    assert "exists already." in refused(NAME, "--out", place / "there")
    assert "holds no tuned model" in refused(place / "tiny")
    said = json.loads(here("export", NAME, "--to", "onnx", "--json").out)
    assert said["error"]["type"] == "ConfigError"
    assert not list(place.glob("*merged*"))


def test_samples_that_are_gone_are_no_reason_not_to(here, place, adapter):
    Blobs(settings.load().blobs).delete("file-samples")
    ended = here("export", NAME, "--out", place / "out")
    assert ended.code == 0 and "answer alike" in ended.out
