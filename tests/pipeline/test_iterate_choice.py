"""iterate: which rows choose, what the chosen trial leaves, and what is told of it."""

import csv
import json
from dataclasses import replace

import pytest
from fake_provider import FakeProvider
from searches import again, asked, better_with_smoothing, iterate, smoothing

from tunesmith import config as configs
from tunesmith import pipeline
from tunesmith.errors import ConfigError
from tunesmith.pipeline import RunDir, Searched
from tunesmith.providers import Capabilities


@pytest.fixture
def provider() -> FakeProvider:
    fake = FakeProvider()
    fake.curve = better_with_smoothing
    return fake


def test_nobody_is_asked_about_the_held_out_rows_before_the_choice(config, shop, provider):
    for step in pipeline.iterate(asked(config), shop):
        if isinstance(step, Searched):
            assert provider.calls["classify"] == 0
    assert provider.calls["classify"] > 0


def test_no_trial_is_sent_the_held_out_rows_and_all_learn_from_one_file(config, shop, provider):
    iterate(asked(config), shop)
    assert {request.validation_file for request in provider.requests} == {None}
    (training,) = {request.training_file for request in provider.requests}
    assert (
        provider.contents[training] == (shop.run_dir.path / "01-prepare/train.jsonl").read_bytes()
    )
    assert len(provider.files) == 1 + 2 * len(provider.requests)  # and what each job leaves


def test_only_the_chosen_model_stays_unless_asked(config, shop, provider):
    result = iterate(asked(config), shop)[-1]
    assert list(provider.tuned) == [result.model]


def test_all_models_stay_where_asked(config, shop, provider):
    iterate(asked(config, keep_models=True), shop)
    assert len(provider.tuned) == 4


def test_the_chosen_trials_folder_is_a_whole_run(config, shop, provider):
    result = iterate(asked(config), shop)[-1]
    own = RunDir(shop.run_dir.path / result.run_dir)
    settled = configs.load(own.path / "config.toml")
    assert settled.train.label_smoothing == 0.2
    calls = dict(provider.calls)
    results = list(pipeline.so_far(settled, replace(shop, run_dir=own)))
    assert len(results) == len(pipeline.VERBS)
    assert results[-1].model == result.model
    assert dict(provider.calls) == calls


def test_another_metric_is_measured_on_rows_that_no_trial_learns_from(config, shop, provider):
    result = iterate(asked(config, until="f1_macro>=0.99", trials=2), shop)[-1]
    home = shop.run_dir.path
    aside = (home / "06-iterate/selection.jsonl").read_text().splitlines()
    learned = (home / "06-iterate/train.jsonl").read_text().splitlines()
    whole = (home / "01-prepare/train.jsonl").read_text().splitlines()
    assert sorted(aside + learned) == sorted(whole) and not set(aside) & set(learned)
    assert len(aside) == 9 or len(aside) == 10
    (training,) = {request.training_file for request in provider.requests}
    assert provider.contents[training].decode().splitlines() == learned
    best = result.searched.trials[result.searched.chosen]
    assert best.num_rows == len(aside) and best.error is not None
    own = home / result.run_dir
    assert (own / "01-prepare/train.jsonl").read_text().splitlines() == learned
    kept = json.loads((own / "01-prepare/result.json").read_text())
    assert kept["num_train"] == len(learned) == sum(kept["train_counts"].values())


def test_copies_of_a_text_are_on_one_side_of_the_slice(config, shop, table, provider):
    table.write_text(table.read_text() + "about my invoice and refund,billing\n" * 5)
    config = replace(config, prepare=replace(config.prepare, balance="repeat"))
    for label in ("a rare word,rare", "another rare thing,rare", "rarest,rare"):
        table.write_text(table.read_text() + label + "\n")
    iterate(asked(config, metric="f1_macro", trials=1), shop)
    home = shop.run_dir.path / "06-iterate"
    aside, learned = (
        (home / f"{n}.jsonl").read_text().splitlines() for n in ("selection", "train")
    )
    assert len(learned) > len(set(learned))
    assert not set(aside) & set(learned)


def test_a_provider_that_tells_no_dev_slice_is_asked_instead(config, shop, provider):
    provider.can = Capabilities(options=False)
    config = asked(config, search=(), trials=2)
    result = iterate(config, shop)[-1]
    assert "training rows" in result.searched.choosing.value
    assert (shop.run_dir.path / "06-iterate/selection.jsonl").is_file()
    varied = {name for t in result.searched.trials for name in t.params}
    assert varied == {"learning_rate_multiplier", "n_epochs", "batch_size"}


def test_the_runs_own_model_is_the_first_trials(config, shop, provider):
    list(pipeline.run(config, shop))
    own = shop.run_dir.latest("train", pipeline.Trained)
    result = iterate(asked(config), again(shop))[-1]
    assert result.searched.trials[0].model == own.model
    assert provider.calls["create_job"] == 1 + 3
    assert provider.model(own.model)  # it is the run's, so it stays
    after = list(pipeline.so_far(config, again(shop)))
    assert len(after) == len(pipeline.VERBS)


def test_the_result_the_table_and_the_page_say_the_same(config, shop):
    provider_says = {"what": "dev slice", "value": "400 of the 4,000 training examples"}
    decision = {**provider_says, "reason": "chooses"}
    shop.provider.facts = {"decisions": [decision]}
    result = iterate(asked(config), shop)[-1]
    home = shop.run_dir.path
    rows = list(csv.DictReader((home / result.table).read_text().splitlines()))
    assert [row["trial"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[result.searched.chosen]["accuracy"]) == pytest.approx(1.0)
    page = (home / result.report).read_text()
    for words in (
        "History",
        "What mattered",
        "Trials across their settings",
        "<svg",
        "label_smoothing",
    ):
        assert words in page, words
    assert "http://" not in page and "https://" not in page and "<script" not in page
    best = result.searched.trials[result.searched.chosen]
    assert best.num_rows == 400 and best.error == 0.0
    assert result.drop == pytest.approx(best.score - result.final["accuracy"])
    assert json.loads((home / "06-iterate/result.json").read_text())["model"] == result.model


def test_how_much_the_choice_flatters_is_told(config, shop, provider):
    provider.facts = {
        "decisions": [{"what": "dev slice", "value": "400 of the 4,000 …", "reason": "chooses"}]
    }
    provider.curve = lambda request: (0.5, 0.7 + smoothing(request))
    result = iterate(asked(config), shop)[-1]
    error = (0.9 * 0.1 / 400) ** 0.5
    assert result.optimism == pytest.approx(1.0294 * error, rel=1e-3)  # the best of four
    words = " ".join(result.verdict)
    assert "The best of 4 scores looks better than it is, on average by up to 1.5 points" in words
    assert "10.0 points higher than on the rows that chose the trial" in words


@pytest.mark.parametrize(
    "iteration, words",
    [
        ({"until": "exact_match>=0.9"}, "names no metric of this task"),
        ({"until": "accuracy>=0.9", "metric": "f1_macro"}, "Leave one of them out"),
        ({"search": ("lora_rank",)}, "'lora_rank' cannot be varied"),
        ({"search": ("n_epoch",)}, "Did you mean 'n_epochs'"),
    ],
)
def test_what_does_not_fit_the_data_is_refused_before_a_job(
    config, shop, provider, iteration, words
):
    with pytest.raises(ConfigError) as caught:
        iterate(asked(config, **iteration), shop)
    assert words in str(caught.value)
    assert not provider.calls["create_job"]
