"""What a provider does not do is refused before anything starts; what costs money needs a yes."""

from dataclasses import replace
from datetime import date

import pytest

from tunesmith import pipeline
from tunesmith.errors import ConfigError, NotOffered, RequestError
from tunesmith.pipeline import RunDir, Spending, offers, spending
from tunesmith.providers import rows

TODAY = date(2026, 11, 26)
MODEL = "gpt-4.1-mini-2025-04-14"


@pytest.fixture
def can(tmp_path):
    return rows.find("openai", tmp_path).can


def trained(config, **changes):
    return replace(config, train=replace(config.train, **{"base_model": MODEL, **changes}))


def test_what_was_not_asked_for_is_left_out_and_said(config, can):
    offers.check(trained(config), can, TODAY)
    told = [event.message for event in offers.told(trained(config), can, TODAY)]
    assert "early stopping patience" in told[0]
    assert f"What is tuned from {MODEL} stops answering at OpenAI on 2027-01-14, in 49 days" in told


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"weight_decay": 0.2}, "weight_decay = 0.2"),
        ({"method": "lora"}, "method = 'lora'"),
        ({"early_stopping_patience": 9}, "early_stopping_patience"),
        ({"n_epochs": 51}, "n_epochs = 51 (from 1 to 50)"),
        ({"beta": 3.0}, "beta = 3.0"),
    ],
)
def test_what_was_asked_for_and_is_not_honoured_is_refused(config, can, asked, words):
    with pytest.raises(ConfigError) as caught:
        offers.check(trained(config, **asked), can, TODAY)
    assert words in caught.value.what


def test_a_model_past_its_day_is_one_sentence_with_the_way_here(config, can):
    late = trained(config, base_model="gpt-4.1-nano-2025-04-14")
    with pytest.raises(NotOffered) as caught:
        offers.check(late, can, TODAY)
    assert "was shut down at OpenAI on 2026-10-23" in caught.value.what
    command = f"tunesmith run {config.prepare.table} --base-model minilm-l6"
    assert command in caught.value.fix
    with pytest.raises(NotOffered, match="2027-01-06"):
        offers.check(trained(config), can, date(2027, 1, 7))


def test_without_a_base_model_the_ones_to_be_had_are_named(config, can):
    with pytest.raises(ConfigError) as caught:
        offers.check(config, can, TODAY)
    assert f"{MODEL} (5 USD per million tokens, until 2027-01-14)" in caught.value.fix
    assert "nano" not in caught.value.fix and "gpt-3.5" not in caught.value.fix


def test_todays_refusals_name_the_dates(config, can, shop, provider, told):
    refusal = RequestError("You cannot.")
    refusal.code = "training_not_available"
    provider.can = can
    provider.create_job = lambda request: (_ for _ in ()).throw(refusal)
    paying = replace(shop, spending=Spending(yes=True))
    with pytest.raises(NotOffered) as caught:
        list(pipeline.run(trained(config), paying))
    for day in ("2026-05-07", "2026-07-02", "2027-01-06"):
        assert day in caught.value.what
    assert "--base-model minilm-l6" in caught.value.fix


# --- money --------------------------------------------------------------------------------------


@pytest.fixture
def openai(config, provider, can):
    provider.can = can
    return trained(config, n_epochs=2)


def test_nothing_is_spent_or_sent_without_a_yes(openai, shop, provider):
    with pytest.raises(ConfigError, match="Nobody has agreed to spend about"):
        list(pipeline.run(openai, shop))
    assert not provider.calls["upload"] and not provider.calls["create_job"]


def test_a_person_is_asked_once_for_all_of_it(openai, shop, provider, told):
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return True

    with pytest.raises(RequestError):  # the model in memory learns nothing by that name
        list(
            pipeline.run(
                trained(openai, suffix="x" * 99), replace(shop, spending=Spending(ask=ask))
            )
        )
    assert provider.calls["create_job"] <= 1
    assert len(asked) == 1 and asked[0].startswith("Spend about 0.0")
    assert "at prices of 2026-11-22" in told.words


def test_max_cost_refuses_what_is_more_even_with_a_yes(openai, shop):
    with pytest.raises(ConfigError, match="more than --max-cost 0.001"):
        list(pipeline.run(openai, replace(shop, spending=Spending(yes=True, max_cost=0.001))))


def test_an_unknown_price_is_said_and_needs_a_yes(openai, shop, told):
    unknown = trained(openai, base_model="gpt-9")
    with pytest.raises(ConfigError, match="spend an unknown amount"):
        list(pipeline.run(unknown, shop))
    assert "is unknown: it has no price for gpt-9" in told.words
    limited = replace(shop, spending=Spending(yes=True, max_cost=5))
    with pytest.raises(ConfigError, match="cannot be kept"):
        list(pipeline.run(unknown, limited))


def test_the_estimate_is_training_times_epochs_and_the_answers(openai, shop, can):
    prepared = pipeline.prepare(openai.prepare, shop.run_dir, shop.report)
    found = spending.estimate(openai, prepared, shop.run_dir, can)
    assert found.training == pytest.approx(found.training_tokens * 2 * 5 / 1e6)
    assert found.evaluation == pytest.approx(
        (found.read_tokens * 0.80 + found.written_tokens * 3.20) / 1e6
    )
    assert found.total == found.training + found.evaluation and found.as_of == "2026-11-22"
    again = spending.estimate(openai, prepared, shop.run_dir, can, training=False)
    assert again.training == 0 and again.evaluation == found.evaluation


def test_prepare_tells_and_keeps_what_it_will_cost(openai, shop, told, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "data"))
    named = replace(openai, provider=replace(openai.provider, name="openai"))
    prepared = pipeline.prepare_for(named, shop.run_dir, shop.report)
    assert prepared.estimate.total > 0 and "Together about" in told.words
    kept = RunDir(shop.run_dir.path).latest("prepare", pipeline.Prepared)
    assert kept.estimate == prepared.estimate
    local = pipeline.prepare_for(openai, RunDir(shop.run_dir.path), shop.report)
    assert local.estimate is None


def test_what_is_agreed_covers_its_parts_and_no_more(told):
    whole = spending.Estimate(
        provider="X", model="m", currency="USD", training=3.0, training_price=1.0, evaluation=1.0
    )
    answers = iter([True, False])
    paying = Spending(ask=lambda _: next(answers))
    paying.agree(whole, told)
    paying.agree(spending.of_training(whole), told)
    paying.take(3)
    with pytest.raises(ConfigError):
        paying.agree(spending.of_training(whole), told)


@pytest.mark.parametrize("examples, epochs", [(10, 10), (50, 3), (3, 25), (20_000, 1), (12_000, 2)])
def test_usual_epochs(examples, epochs):
    assert spending.usual_epochs(examples) == epochs
