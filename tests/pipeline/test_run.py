"""The whole trip, done again, changed, broken off, against a provider in memory."""

from dataclasses import replace

import pytest
from fake_provider import FakeProvider

from tunesmith import pipeline
from tunesmith.config import RunConfig
from tunesmith.errors import ConfigError, JobFailed
from tunesmith.pipeline import RunDir, Workshop


def run(config: RunConfig, shop: Workshop) -> list[pipeline.Result]:
    return list(pipeline.run(config, shop))


def again(shop: Workshop) -> Workshop:
    """The same directory as a new process would see it."""
    return replace(shop, run_dir=RunDir(shop.run_dir.path))


def with_train(config: RunConfig, **changes) -> RunConfig:
    return replace(config, train=replace(config.train, **changes))


def test_a_run_yields_the_five_results_and_leaves_them_on_disk(config, shop):
    results = run(config, shop)
    kinds = [type(result).__name__.lower() for result in results]
    assert kinds == ["prepared", "uploaded", "trained", "deployed", "evaluated"]
    evaluated = results[-1]
    assert evaluated.num_examples == 12
    assert evaluated.metrics["accuracy"] == 1.0
    folder = shop.run_dir.path
    for verb in pipeline.VERBS:
        assert (folder / pipeline.FOLDERS[verb] / "result.json").is_file()
    for made in ("03-train/events.jsonl", "03-train/metrics.csv", "04-deploy/parity.json"):
        assert (folder / made).is_file()
    assert "<!doctype html>" in (folder / evaluated.report).read_text()


def test_a_second_start_does_nothing_and_asks_nobody(config, shop, provider, told):
    first = run(config, shop)
    before, said = dict(provider.calls), len(told)
    second = again(shop)
    assert run(config, second) == first
    assert dict(provider.calls) == before
    assert second.run_dir.reused == set(pipeline.VERBS)
    assert len(told) == said


@pytest.mark.parametrize(
    "section, change, redone",
    [
        ("prepare", {"seed": 5}, {"prepare", "upload", "train", "deploy", "evaluate"}),
        ("train", {"weight_decay": 0.1}, {"train", "deploy", "evaluate"}),
        ("deploy", {"parity_tolerance": 0.5}, {"deploy"}),
        ("deploy", {"parity_examples": 5}, {"deploy"}),
        ("deploy", {"parity_examples": 90}, {"train", "deploy", "evaluate"}),
        ("evaluate", {"bootstrap": 60}, {"evaluate"}),
        ("evaluate", {"concurrency": 3}, set()),
    ],
)
def test_a_changed_setting_redoes_what_depends_on_it(config, shop, section, change, redone):
    run(config, shop)
    changed = replace(config, **{section: replace(getattr(config, section), **change)})
    second = again(shop)
    run(changed, second)
    assert set(pipeline.VERBS) - second.run_dir.reused == redone


def test_a_changed_table_redoes_everything(config, shop, table):
    run(config, shop)
    table.write_text(table.read_text() + "a new charge and a new tax,billing\n")
    second = again(shop)
    results = run(config, second)
    assert results[0].num_rows == 61
    assert not second.run_dir.reused


def test_where_the_server_is_another_nothing_of_the_old_one_is_used(config, shop, provider):
    run(config, shop)
    provider.place = "http://elsewhere/v1"
    provider.files.clear()
    run(config, again(shop))
    assert provider.calls["upload"] == 4
    assert provider.calls["train"] == 2


@pytest.mark.parametrize("verb", pipeline.VERBS[1:])
def test_a_lost_result_is_made_again_and_comes_out_the_same(config, shop, provider, verb):
    first = run(config, shop)
    (shop.run_dir.path / pipeline.FOLDERS[verb] / "result.json").unlink()
    second = run(config, again(shop))
    assert second[-1].metrics == first[-1].metrics
    assert second[-1].model == first[-1].model
    assert provider.calls["train"] == 1  # the job of the first start is found, not repeated


def test_a_torn_result_counts_as_none(config, shop):
    run(config, shop)
    place = shop.run_dir.path / "05-evaluate/result.json"
    place.write_bytes(place.read_bytes()[:100])
    second = again(shop)
    run(config, second)
    assert "evaluate" not in second.run_dir.reused


def test_the_server_is_warmed_up_only_where_there_is_work(config, shop, provider):
    run(config, shop)
    assert provider.calls["warm_up"] == 1
    run(config, again(shop))
    assert provider.calls["warm_up"] == 1


def test_impossible_settings_are_refused_before_anything_starts(config, shop, provider):
    with pytest.raises(ConfigError, match="n_epochs is 0"):
        run(with_train(config, n_epochs=0), shop)
    assert not provider.calls
    assert not shop.run_dir.path.exists()


def test_every_impossible_setting_is_named(config, shop):
    with pytest.raises(ConfigError, match="weight_decay is 7.*dropout is 1.0"):
        run(with_train(config, weight_decay=7.0, dropout=1.0), shop)


def test_a_failed_run_goes_on_from_what_it_had(config, shop, provider: FakeProvider):
    provider.outcome = "server_error"
    with pytest.raises(JobFailed):
        run(config, shop)
    provider.outcome = "succeeded"
    second = again(shop)
    run(config, second)
    assert second.run_dir.reused >= {"prepare"}
    assert provider.calls["upload"] == 2


def test_config_toml_says_what_was_asked_and_why(config, shop):
    results = run(config, shop)
    pipeline.keep_config(config, shop.run_dir, results)
    text = (shop.run_dir.path / "config.toml").read_text()
    assert '# head: as asked\nmethod = "auto"' in text
    assert "\n# 'text': " in text
    from tunesmith import config as configs

    assert configs.load(shop.run_dir.path / "config.toml") == config
