"""The run's job is made once, found by its id, and deployed as the provider's row says."""

from dataclasses import replace

import pytest

from tunesmith import pipeline
from tunesmith.errors import NotOffered, ProviderError
from tunesmith.pipeline import RunDir, own_job
from tunesmith.providers import Capabilities


@pytest.fixture
def train(config, shop, monkeypatch):
    monkeypatch.setattr(own_job, "CREATE_WAITS", (0.0, 0.0, None))
    prepared = pipeline.prepare(config.prepare, shop.run_dir, shop.report)

    def go():
        now = replace(shop, run_dir=RunDir(shop.run_dir.path))
        return pipeline.train(config, prepared, pipeline.upload(prepared, now), now)

    return go


def failing(provider, *, done: bool, times: int):
    """Jobs are asked for, and so many replies are lost."""
    create, left = provider.create_job, [times]

    def lose(request):
        if left[0]:
            left[0] -= 1
            if done:
                create(request)
            raise ProviderError("It broke off.", status=500)
        return create(request)

    provider.create_job = lose


def test_a_lost_reply_makes_no_second_job(train, provider, told):
    failing(provider, done=True, times=1)
    assert train().model
    assert provider.calls["create_job"] == 1 == len(provider.all_jobs)
    assert "Looking whether the job was made" in told.words


def test_a_job_that_was_not_made_is_asked_for_again(train, provider):
    failing(provider, done=False, times=2)
    assert train().model
    assert provider.calls["create_job"] == 1


def test_a_server_that_goes_on_failing_is_given_up(train, provider):
    failing(provider, done=False, times=9)
    with pytest.raises(ProviderError):
        train()


def test_a_job_is_found_by_its_id_where_metadata_are_not_kept(train, provider):
    provider.can = Capabilities(metadata=False)

    def lose():
        raise ProviderError("Gone.")

    provider.while_following = lose
    with pytest.raises(ProviderError):
        train()
    provider.while_following = lambda: None
    provider.find_job = lambda metadata: pytest.fail("there are none")
    train()
    assert provider.calls["create_job"] == 1 and provider.requests[0].metadata is None


def test_checkpoints_are_listed(train):
    trained = train()
    assert trained.checkpoints == (trained.model,)


def test_a_trainer_without_samples_is_taken_by_its_word(config, train, shop, provider, told):
    trained = replace(train(), samples_file=None)
    provider.can = Capabilities(samples=False, title="Elsewhere")
    deployed = pipeline.deploy(config.deploy, trained, shop)
    assert (deployed.model, deployed.parity.compared) == (trained.model, 0)
    assert "there is no parity gate" in told.words


def test_where_somebody_has_to_deploy_the_name_is_asked_for(config, train, shop, provider):
    trained = replace(train(), samples_file=None)
    provider.can = Capabilities(samples=False, deploys=False, deploying="Deploy it in the portal")
    with pytest.raises(NotOffered) as caught:
        pipeline.deploy(config.deploy, trained, shop)
    assert caught.value.fix.startswith("Deploy it in the portal, then go on with: tunesmith run")
    provider.tuned["mine"] = provider.tuned[trained.model]
    named = replace(config.deploy, deployment="mine")
    assert pipeline.deploy(named, trained, shop).model == "mine"
