"""The recipe, stopped in the middle."""

import torch
from safetensors.torch import load_file

from tunesmith.model.classifier import Classifier
from tunesmith.training.classify import fit as classify
from tunesmith.training.job import Job


def test_stopped_while_reading_it_reads_only_the_rest_and_finds_the_same(job_dir, monkeypatch):
    monkeypatch.setattr(classify, "PROGRESS_EVERY", -1.0)  # tell of every batch
    monkeypatch.setitem(Classifier.batches.__kwdefaults__, "budget", 64)
    whole, stopped = (Job.read(job_dir(method="head")) for _ in range(2))
    list(classify.fit(whole))
    progress = classify.fit(stopped)
    done = next(e.data["done"] for e in progress if e.data.get("done", 0) > 40)
    progress.close()
    told = [event.message for event in classify.fit(stopped)]
    features = [load_file(j.state / "features.safetensors")["features"] for j in (whole, stopped)]
    assert torch.equal(*features)
    assert any(message.startswith(f"Reading {120 - done} texts") for message in told)
