"""train: what is asked of the provider, and how a job is found again, cancelled, lost, failed."""

import base64
from dataclasses import replace

import pytest
from fake_provider import FakeProvider

from tunesmith import pipeline
from tunesmith.errors import JobFailed, NotOffered, ProviderError
from tunesmith.events import read_events
from tunesmith.pipeline import RunDir
from tunesmith.providers import Capabilities


@pytest.fixture
def prepared(config, shop):
    return pipeline.prepare(config.prepare, shop.run_dir, shop.report)


@pytest.fixture
def train(config, shop, prepared):
    """Uploads and trains with some settings, each time as a new process would."""

    def go(**changes):
        changed = replace(config, train=replace(config.train, **changes))
        now = replace(shop, run_dir=RunDir(shop.run_dir.path))
        return pipeline.train(changed, prepared, pipeline.upload(prepared, now), now)

    return go


def test_settings_become_the_job(train, provider: FakeProvider, prepared, shop):
    train(n_epochs=3, learning_rate_multiplier=0.5, method="head", dropout=0.2, seed=7)
    request = provider.requests[0]
    assert request.method.supervised.hyperparameters.model_dump() == {
        "n_epochs": 3,
        "batch_size": "auto",
        "learning_rate_multiplier": 0.5,
    }
    assert (request.model, request.seed, request.suffix) == ("minilm-l6", 7, "mail")
    assert request.tunesmith.method == "head"
    assert request.tunesmith.dropout == 0.2
    assert request.tunesmith.class_weights == prepared.class_weights
    assert request.metadata["tunesmith_run"] == shop.run_dir.id


def test_a_folder_goes_by_its_full_path(tmp_path, monkeypatch, train, provider):
    (tmp_path / "base").mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / "base" / name).write_text("{}")
    monkeypatch.chdir(tmp_path)
    train(base_model="base")
    assert provider.requests[0].model == str(tmp_path / "base")


def test_the_result_holds_what_the_provider_found_out(train, shop, told):
    trained = train()
    assert (trained.method, trained.steps, trained.chosen_step) == ("head", 2, 2)
    assert trained.trained_tokens == 1234
    assert [d.what for d in trained.decisions] == ["model kept"]
    events = [e for e, _ in read_events(shop.run_dir.path / "03-train/events.jsonl")]
    assert [e.kind for e in events] == ["note", "metric", "metric", "metric", "decision"]
    progress = next(e for e in told if e.kind == "progress" and e.message == "Reading")
    assert progress.data["total"] == 9
    assert "Created fine-tuning job" not in told.words  # kept, but not told: every job has it


@pytest.mark.parametrize("encode", [bytes, base64.b64encode])
def test_the_metrics_are_kept_as_plain_csv(train, shop, provider, monkeypatch, encode):
    plain = provider.download
    monkeypatch.setattr(provider, "download", lambda file_id: encode(plain(file_id)))
    train()
    content = (shop.run_dir.path / "03-train/metrics.csv").read_text()
    assert content.startswith("step,train_loss\n")


def test_a_job_that_still_runs_is_followed_not_repeated(train, provider, told):
    class Killed(BaseException):
        """As good as kill -9: nothing is cleaned up."""

    def kill():
        raise Killed

    provider.while_following = kill
    with pytest.raises(Killed):
        train()
    provider.while_following = lambda: None
    job = next(provider.jobs())
    assert train().job == job.id
    assert provider.calls["create_job"] == 1
    assert f"Going on with the job of an earlier start\nJob {job.id}" in told.words


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_job_that_ended_badly_is_not_taken_up_again(train, provider, end):
    train()
    first = next(provider.jobs())
    first.status = end
    provider.tuned.clear()
    assert train().job != first.id


def test_a_model_that_is_gone_is_trained_again_and_it_says_why(train, provider, told):
    first = train()
    provider.delete_model(first.model)
    second = train()
    assert second.job != first.job
    assert provider.model(second.model)
    assert f"{first.model} is gone from the server, so it is trained again." in told.words


def test_a_job_with_other_settings_is_cancelled_first(train, provider, told):
    def lose():
        raise ProviderError("The server does not answer.")

    provider.while_following = lose
    with pytest.raises(ProviderError):
        train()
    provider.while_following = lambda: None
    stale = next(provider.jobs())
    assert train(seed=3).job != stale.id
    assert stale.status == "cancelled"


def test_ctrl_c_cancels_the_job(train, provider, told):
    def interrupt():
        raise KeyboardInterrupt

    provider.while_following = interrupt
    with pytest.raises(KeyboardInterrupt):
        train()
    assert next(provider.jobs()).status == "cancelled"
    assert "was cancelled" in told.words


def test_a_failed_job_is_one_sentence_with_a_remedy(train, provider, shop):
    provider.outcome = "server_error"
    with pytest.raises(JobFailed) as caught:
        train()
    assert "failed: The training process died (SIGKILL)." in caught.value.what
    assert "Start the same command again" in caught.value.fix
    assert (caught.value.job, caught.value.code) == (next(provider.jobs()).id, "server_error")
    assert not (shop.run_dir.path / "03-train/result.json").exists()


def test_a_job_refused_for_its_data_asks_for_a_correction(train, provider):
    provider.outcome = "invalid_training_file"
    with pytest.raises(JobFailed) as caught:
        train()
    assert caught.value.fix.startswith("Correct that")


def test_what_a_provider_cannot_do_is_said_or_left_out(train, provider):
    provider.can = Capabilities(train=False, reason="It closed in January.")
    with pytest.raises(NotOffered, match="trains no models. It closed in January"):
        train()
    provider.can = Capabilities(options=False)
    train()
    assert provider.requests[0].tunesmith is None
