"""The recipe, stopped in the middle."""

import json

import torch
from safetensors.torch import load_file

from tunesmith.model.classifier import Classifier
from tunesmith.training.classify import features
from tunesmith.training.classify import fit as classify
from tunesmith.training.job import Job


def test_stopped_while_reading_it_reads_only_the_rest_and_finds_the_same(job_dir, monkeypatch):
    monkeypatch.setattr(features, "PROGRESS_EVERY", -1.0)  # tell of every batch
    monkeypatch.setitem(Classifier.batches.__kwdefaults__, "budget", 64)
    whole, stopped = (Job.read(job_dir(method="head")) for _ in range(2))
    list(classify.fit(whole))
    progress = classify.fit(stopped)
    done = next(e.data["done"] for e in progress if e.data.get("done", 0) > 40)
    progress.close()
    told = [event.message for event in classify.fit(stopped)]
    read = [load_file(j.state / "features.safetensors")["features"] for j in (whole, stopped)]
    assert torch.equal(*read)
    assert any(message.startswith(f"Reading {120 - done} texts") for message in told)


def sharing(folder, shared):
    job = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps(job | {"shared": str(shared)}))
    return Job.read(folder)


def test_jobs_on_the_same_texts_read_them_once_and_end_the_same(job_dir, tmp_path):
    def told(folder):
        return [event.message for event in classify.fit(sharing(folder, tmp_path / "shared"))]

    first, second = job_dir(method="head"), job_dir(method="head")
    alone = job_dir(method="head")
    assert any(message.startswith("Reading 120 texts") for message in told(first))
    assert "120 texts were read before" in told(second)
    list(classify.fit(Job.read(alone)))
    heads = [load_file(j / "model" / "model.safetensors") for j in (first, second, alone)]
    for name, tensor in heads[0].items():
        assert all(torch.equal(tensor, other[name]) for other in heads[1:])


def test_other_texts_are_read_anew(job_dir, tmp_path):
    for different in ({}, {"rows": 119}, {"rows": 121}):
        job = sharing(job_dir(method="head", **different), tmp_path / "shared")
        assert not any("read before" in event.message for event in classify.fit(job))
