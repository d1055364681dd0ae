"""A training process knows its base model from job.json alone: no settings, no shelf."""

import json
from pathlib import Path

import pytest
from small_weights import model_folder

from tunesmith import catalog
from tunesmith.errors import ConfigError
from tunesmith.training.job import Job


def written(folder: Path, **given) -> Path:
    request = {
        "job": "ftjob-1",
        "training_file": "t.jsonl",
        "seed": 1,
        "hyperparameters": {},
        "options": {},
        **given,
    }
    (folder / "job.json").write_text(json.dumps(request))
    return folder


def test_a_kept_model_goes_by_its_name_and_lies_in_its_folder(tmp_path):
    folder = model_folder(tmp_path / "somewhere")
    base = Job.read(written(tmp_path, base_model="mine", base_folder=str(folder))).base
    assert (base.name, base.kind, base.files(), base.max_length) == ("mine", "causal", folder, 1024)


def test_it_knows_what_the_catalog_knows_of_that_name(tmp_path, monkeypatch):
    row = catalog.BaseModel(
        name="qwen3-0.6b", kind="causal", architecture="llama", parameters=11, learning_rate=0.5
    )
    monkeypatch.setitem(catalog.catalog(), row.name, row)
    folder = model_folder(tmp_path / "somewhere")
    job = written(tmp_path, base_model=row.name, base_folder=str(folder))
    assert Job.read(job).base.learning_rate == 0.5
    (folder / "config.json").unlink()
    with pytest.raises(ConfigError, match="not a model folder"):
        Job.read(job)


@pytest.mark.parametrize("more", [{}, {"base_folder": None}])
def test_others_are_found_by_name_or_folder(tmp_path, more):
    assert Job.read(written(tmp_path, base_model="minilm-l6", **more)).base.kind == "encoder"
    folder = model_folder(tmp_path / "m")
    assert Job.read(written(tmp_path, base_model=str(folder), **more)).base.files() == folder
