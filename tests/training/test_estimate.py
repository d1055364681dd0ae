"""The estimate: its numbers, what it refuses, and that measuring changes nothing."""

import pytest
import torch

from tunesmith.errors import ConfigError
from tunesmith.model import classifier
from tunesmith.training import loop, machine, results
from tunesmith.training.classify import estimate, learner, probe
from tunesmith.training.classify import fit as classify
from tunesmith.training.job import Job


def train(folder, *, steps=None):
    """(events, result) of the training, in this process; stopped after `steps` steps, if given."""
    events, progress = [], classify.fit(Job.read(folder))
    while steps is None or sum(e.kind == "metric" for e in events) <= steps:
        try:
            events.append(next(progress))
        except StopIteration as end:
            return events, end.value
    return events, None


def told(events):
    (event,) = [e for e in events if "estimate" in e.data]
    return event


def weights(folder):
    model = classifier.load(folder / "model")
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


@pytest.fixture(autouse=True)
def one_thread():
    """Two would wait for each other more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def thorough(monkeypatch):
    """As in a long job: several steps are measured."""
    monkeypatch.setattr(probe, "QUICK", 0.0)


def test_the_numbers_add_up(job_dir, thorough):
    folder = job_dir(method="full", hyperparameters={"n_epochs": 2}, early_stopping_patience=9)
    events, result = train(folder)
    event = told(events)
    found = event.data["estimate"]
    assert found["steps"] == result["facts"]["steps"] == 2 * (found["steps"] // 2)
    assert found["trained_tokens"] == result["trained_tokens"]
    assert found["tokens"] > found["trained_tokens"] / 2 > 0.7 * found["tokens"]
    assert found["seconds"] == sum(found["parts"].values())
    assert found["parts"].keys() == {"reading", "head", "steps", "looks", "scoring"}
    assert all(seconds > 0 for seconds in found["parts"].values())
    assert found["memory"] <= found["memory_available"]
    assert found["disk"] <= found["disk_available"]
    assert event.kind == "note"
    assert event.message.startswith(f"Estimate: {found['tokens']:,} tokens, up to ")
    assert event.message.endswith("(measured on 2 steps here)"), "an epoch has no more"
    compared = result["facts"]["estimate"]
    assert compared.items() >= found.items()
    assert 0 < compared["actual_seconds"] < 60
    assert compared["actual_memory"] <= machine.memory_peak() + 1_000_000  # read some pages apart


def test_of_a_head_only_reading_is_measured(job_dir, monkeypatch):
    monkeypatch.setattr(probe, "stepping", None)
    events, result = train(job_dir(method="head"))
    found = told(events).data["estimate"]
    assert (found["steps"], found["trained_tokens"]) == (0, result["trained_tokens"])
    assert found["trained_tokens"] == found["tokens"]
    assert found["measured"] == "2 batches"
    assert "steps" not in told(events).message


def test_it_is_told_before_the_texts_are_read(job_dir):
    events, _ = train(job_dir(method="head"))
    messages = [e.message.split()[0] for e in events]
    assert messages.index("Estimate:") < messages.index("Reading")


@pytest.mark.parametrize("method", ["head", "full"])
def test_a_job_that_was_measured_ends_as_one_that_was_not(job_dir, thorough, monkeypatch, method):
    settings = dict(method=method, hyperparameters={"n_epochs": 2, "batch_size": 16})
    measured, blind = job_dir(**settings), job_dir(**settings)
    events, _ = train(measured)
    found = estimate.Estimate(**told(events).data["estimate"])
    monkeypatch.setattr(estimate, "_measure", lambda *_: found)
    train(blind)
    assert weights(measured) == weights(blind)


def test_measured_steps_leave_the_model_and_chance_as_they_were(job_dir, thorough, monkeypatch):
    seen = []

    def watched(job, model, *rest):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        chance = torch.get_rng_state()
        found = estimate.estimate(job, model, *rest)
        assert torch.equal(torch.get_rng_state(), chance)
        assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
        assert all(weight.grad is None for weight in model.parameters())
        seen.append(found.measured)
        return found

    monkeypatch.setattr(classify, "estimate", watched)
    train(job_dir(method="full", hyperparameters={"n_epochs": 1, "batch_size": 8}))
    assert seen == ["4 steps"]


def test_a_resumed_job_is_not_measured_again_and_ends_the_same(job_dir, thorough, monkeypatch):
    settings = dict(method="full", hyperparameters={"n_epochs": 2, "batch_size": 16})
    whole, stopped = job_dir(**settings), job_dir(**settings)
    train(whole)
    first, _ = train(stopped, steps=8)
    monkeypatch.setattr(estimate, "_measure", None)
    second, _ = train(stopped)
    assert told(second).message == told(first).message
    assert any(e.message.startswith("Going on after step") for e in second)
    assert weights(whole) == weights(stopped)


def test_too_little_memory_is_refused_with_what_would_fit(job_dir, monkeypatch):
    settings = dict(hyperparameters={"n_epochs": 1})
    needed = told(train(job_dir(**settings))[0]).data["estimate"]["memory"]
    monkeypatch.setattr(machine, "memory_taken", lambda: needed)
    monkeypatch.setattr(machine, "memory_left", lambda: 0)
    monkeypatch.setattr(learner, "take_step", None)  # nothing is trained
    monkeypatch.setattr(probe, "take_step", None)
    with pytest.raises(ConfigError, match="of memory, and there are") as caught:
        train(job_dir(**settings))
    assert "Free " in caught.value.fix
    monkeypatch.setattr(machine, "memory_left", lambda: 8_000_000)
    with pytest.raises(ConfigError) as caught:
        train(job_dir(**settings))
    assert "or choose the method head, which needs" in caught.value.fix
    train(job_dir(method="head"))  # and so it does


def test_the_batch_size_that_is_proposed_fits(job_dir, monkeypatch):
    settings = dict(method="full", hyperparameters={"n_epochs": 1})
    monkeypatch.setattr(machine, "memory_taken", lambda: 0)
    monkeypatch.setattr(machine, "memory_peak", lambda: 0)
    events, _ = train(job_dir(**settings))
    needed = told(events).data["estimate"]["memory"]
    monkeypatch.setattr(machine, "memory_left", lambda: needed - 100_000)
    with pytest.raises(ConfigError) as caught:
        train(job_dir(**settings))
    size = int(caught.value.fix.split("a batch_size of ")[1].split()[0])
    train(job_dir(method="full", hyperparameters={"n_epochs": 1, "batch_size": size}))


def test_too_little_disk_is_refused(job_dir, monkeypatch):
    monkeypatch.setattr(machine, "disk_left", lambda folder: 6_000_000)
    with pytest.raises(ConfigError, match="of disk, and there are 6 MB") as caught:
        train(job_dir())
    assert "or choose the method head, which needs 4 MB" in caught.value.fix
    train(job_dir(method="head"))


def test_the_disk_is_never_fuller_than_it_says(job_dir, monkeypatch):
    folder = job_dir(method="full", hyperparameters={"n_epochs": 5, "batch_size": 16})
    seen = []
    replace = loop.replace_folder

    def watched(new, old):  # the moment at which a folder is there twice
        seen.append(sum(f.stat().st_size for f in folder.rglob("*.safetensors")))
        replace(new, old)

    for module in (loop, results):
        monkeypatch.setattr(module, "replace_folder", watched)
    monkeypatch.setattr("tunesmith.training.state.replace_folder", watched)
    events, _ = train(folder)
    disk = told(events).data["estimate"]["disk"]
    assert 0.7 * disk < max(seen) <= 1.01 * disk


def test_what_a_batch_keeps_grows_with_it_and_weights_do_not_count(tiny_base):
    from tunesmith import catalog

    for precision in ("fp32", "bf16"):
        model = classifier.from_base(catalog.find(str(tiny_base)), ["a", "b"], precision=precision)
        kept = [probe.kept(model, [list(range(120))] * texts) for texts in (1, 4)]
        (of_any, one), (also, four) = kept
        products = sum(
            p.numel() for n, p in model.encoder.named_parameters() if "layers" in n and p.ndim > 1
        )
        assert of_any == also == (0 if precision == "fp32" else 2 * products)
        assert four == pytest.approx(one, rel=0.1)
