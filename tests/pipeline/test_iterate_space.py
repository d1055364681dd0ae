"""What trials vary, by base model, method and data; and what their budget allows."""

from dataclasses import replace

import pytest

from tunesmith.config import IterateConfig, PrepareConfig, RunConfig, TrainConfig
from tunesmith.errors import ConfigError
from tunesmith.pipeline.iterating.budget import Purse, Spent, limits, seconds_of
from tunesmith.pipeline.iterating.space import applied, first_trials, space
from tunesmith.pipeline.results import Prepared

PREPARED = Prepared(
    task="classify", name="mail", train="t", validation="v", num_rows=300, num_train=240,
    num_validation=60, fates={}, labels=("a", "b"), train_counts={"a": 120, "b": 120},
    validation_counts={}, natural_shares={}, class_weights="none",
    cleaning=("controls", "unicode", "html", "whitespace"),
)  # fmt: skip
TEXTS = ["a short text"] * 100
OF_ENCODERS = {
    "learning_rate_multiplier", "n_epochs", "batch_size", "weight_decay", "dropout",
    "label_smoothing",
}  # fmt: skip


def config(search: tuple[str, ...] = (), **train) -> RunConfig:
    return RunConfig(train=TrainConfig(**train), iterate=IterateConfig(search=search))


def names(dimensions) -> set[str]:
    return {one.name for one in dimensions}


def test_an_encoder_varies_what_matters_to_it():
    assert names(space(config(), PREPARED, TEXTS)) == OF_ENCODERS


def test_what_the_user_has_given_is_not_varied():
    given = config(n_epochs=4, weight_decay=0.1)
    assert names(space(given, PREPARED, TEXTS)) == OF_ENCODERS - {"n_epochs", "weight_decay"}


def test_a_causal_model_varies_its_adapter_or_all_its_weights():
    adapter = {
        "learning_rate_multiplier", "n_epochs", "lora_rank", "lora_alpha", "lora_dropout",
        "neftune_alpha",
    }  # fmt: skip
    assert names(space(config(base_model="qwen3-0.6b"), PREPARED, TEXTS)) == adapter
    full = space(config(base_model="qwen3-0.6b", method="full"), PREPARED, TEXTS)
    assert "lora_rank" not in names(full) and "batch_size" in names(full)
    written = replace(PREPARED, task="chat", labels=(), train_counts={})
    assert names(space(config(), written, [])) == adapter


def test_elsewhere_only_openais_own_hyperparameters_are_varied():
    found = space(config(), PREPARED, TEXTS, options=False)
    assert names(found) == {"learning_rate_multiplier", "n_epochs", "batch_size"}


def test_labels_are_weighed_where_they_are_uneven_and_nobody_said_how():
    uneven = replace(PREPARED, train_counts={"a": 200, "b": 40})
    assert "class_weights" in names(space(config(), uneven, TEXTS))
    given = replace(config(), prepare=PrepareConfig(balance="none"))
    assert "class_weights" not in names(space(given, uneven, TEXTS))
    assert "class_weights" not in names(space(config(), replace(uneven, soft_labels=True), TEXTS))


def test_cleaning_is_varied_where_a_step_would_change_texts():
    signed = ["please help\n-- \nJane Doe\nHead of Sales"] * 100
    (cleaning,) = (d for d in space(config(), PREPARED, signed) if d.name == "cleaning")
    assert cleaning.choices == (
        "controls,unicode,html,whitespace",
        "controls,unicode,html,signatures,whitespace",
    )
    given = replace(config(), prepare=PrepareConfig(clean=("+quotes",)))
    assert "cleaning" not in names(space(given, PREPARED, signed))


def test_long_texts_and_heads_may_be_read_shorter():
    (length,) = (d for d in space(config(), PREPARED, ["x" * 2000]) if d.name == "max_length")
    assert length.choices == (None, 32, 64, 128)
    assert names(space(config(method="head"), PREPARED, TEXTS)) == {"max_length"}


def test_named_settings_are_varied_around_what_is_given():
    asked = config(("n_epochs", "learning_rate_multiplier", "method"), n_epochs=7)
    epochs, rate, method = space(asked, PREPARED, TEXTS)
    assert epochs.usual == 7 and 7 in epochs.choices
    assert (rate.usual, method.usual) == (1.0, "auto")
    wide = space(config(("learning_rate_multiplier",), learning_rate_multiplier=9.0), PREPARED, [])
    assert (wide[0].usual, wide[0].high) == (9.0, 9.0)


def test_where_all_is_given_there_is_nothing_to_vary():
    given = config(method="head", max_length=64)
    with pytest.raises(ConfigError, match="nothing left to vary"):
        space(given, PREPARED, TEXTS)


def test_the_first_trial_is_as_usual_and_the_next_change_only_what_is_varied():
    dimensions = space(config(("label_smoothing", "n_epochs")), PREPARED, TEXTS)
    first, *tried = first_trials(config(), PREPARED, dimensions)
    assert first == {"label_smoothing": 0.0, "n_epochs": None}
    assert tried == [{"label_smoothing": 0.1, "n_epochs": 5}]


def test_settings_become_the_jobs_and_the_rows_own():
    settings = {"n_epochs": 5, "class_weights": "balanced", "cleaning": "html,signatures"}
    asked, learned = applied(config(), PREPARED, settings)
    assert asked.train == TrainConfig(n_epochs=5)
    assert (learned.class_weights, learned.cleaning) == ("balanced", ("html", "signatures"))
    assert applied(config(), PREPARED, {}) == (config(), PREPARED)


# --- budgets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, seconds",
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5 h", 5400), ("45", 2700)],
)
def test_times_as_people_write_them(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "30 minutes", "-5m", "0", "1h 5x", "inf"])
def test_what_is_no_time(text):
    with pytest.raises(ConfigError, match="Give a time, such as 90s, 30m or 2h"):
        seconds_of(text)


@pytest.mark.parametrize(
    "asked, seconds", [({}, 1800), ({"trials": 5}, None), ({"trials": 5, "budget": "1h"}, 3600)]
)
def test_half_an_hour_unless_another_budget_is_given(asked, seconds):
    assert limits(IterateConfig(**asked)).seconds == seconds


def test_a_purse_counts_on_from_earlier_starts():
    now = [100.0]
    before = Spent(seconds=50.0, cost=1.0)
    asked = IterateConfig(budget="60s", max_cost=2.0, hour_price=1.0)
    purse = Purse(limits(asked), before, lambda: now[0])
    assert purse.lacks() == "" and purse.lacks(seconds=10.0) == "time"
    assert purse.lacks(cost=1.0) == "money"
    purse.pay(0.5)
    now[0] = 109.0
    assert purse.spent == Spent(seconds=59.0, cost=1.5)
    now[0] = 110.0
    assert purse.lacks() == "time"
