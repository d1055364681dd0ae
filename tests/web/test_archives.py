"""Models as one file, and adapters merged into their base."""

import asyncio
import io
import os
import zipfile

import pytest
from tiny_causal import tiny

from tunesmith.errors import StateError
from tunesmith.model.cards import CausalCard
from tunesmith.model.rendering import Renderer
from tunesmith.settings import Settings
from tunesmith.store.jobs import Change
from tunesmith.store.rows import JobRow, ModelRow
from tunesmith.store.store import open_store
from tunesmith.web import archives

# PEFT asks transformers for things by their older names.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "data", threads=1)


def plant(settings, name, *, known=True):
    """The row of a model; `known`: it is in the store."""
    job = JobRow(key_id="k", request_hash="h", model="m", base_model="m", training_file="f",
                 seed=1, status="running")  # fmt: skip
    row = ModelRow(id=name, owned_by="o", base_model="m", job_id=job.id, folder=job.id)
    store = open_store(settings)
    if known:
        store.jobs.create(job, [], repeated=False)
        store.jobs.write(job.id, Change(to="succeeded", models=[row]))
    store.close()
    (settings.models_dir / row.folder).mkdir(parents=True)
    return row


def adapter(folder, base):
    """What a job leaves that tuned an adapter."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    network = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(task_type="CAUSAL_LM", r=2)
    )
    network.save_pretrained(folder)
    Renderer(base, max_length=64).save(folder)
    CausalCard(base_model="m", base_folder=str(base), method="lora", max_length=64).save(folder)


async def merged(settings, row):
    archives.merge(settings, row)
    assert archives.is_merging(settings, row)
    with pytest.raises(StateError, match="Another model"):
        archives.merge(
            settings, ModelRow(id="x", owned_by="o", base_model="m", job_id="j", folder="x")
        )
    while archives.is_merging(settings, row):
        await asyncio.sleep(0.05)


def test_a_folder_comes_back_whole_piece_by_piece(tmp_path):
    contents = {"a.txt": b"hello", "deep/er/weights": os.urandom(3_000_000), "empty": b""}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    pieces = list(archives.zipped(tmp_path, "my-model"))
    assert max(map(len, pieces)) < 2 * archives.PIECE
    packed = zipfile.ZipFile(io.BytesIO(b"".join(pieces)))
    assert packed.testzip() is None
    assert {n: packed.read(f"my-model/{n}") for n in contents} == contents
    assert len(packed.namelist()) == len(contents)
    assert archives.bytes_of(tmp_path) == sum(map(len, contents.values()))


def test_an_adapter_is_merged_by_a_process(settings, tmp_path):
    row = plant(settings, "ft:m:local:mail:AbCd1234")
    assert not archives.is_adapter(settings, row)
    adapter(settings.models_dir / row.folder, tiny(tmp_path / "base", "llama"))
    assert archives.is_adapter(settings, row)
    asyncio.run(merged(settings, row))
    assert archives.why_not(settings, row) == ""
    assert (archives.merged(settings, row) / "model.safetensors").stat().st_size > 100_000
    archives.forget(settings, row)
    assert not archives.merged(settings, row).exists()


def test_why_it_cannot_be_merged_is_told(settings):
    row = plant(settings, "ft:gone", known=False)
    asyncio.run(merged(settings, row))
    assert "There is no tuned model named 'ft:gone'" in archives.why_not(settings, row)
    assert not archives.merged(settings, row).exists()
