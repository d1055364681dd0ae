"""Requirements: how they are read, what fails them, and in which words."""

from dataclasses import replace

import pytest

from tunesmith.config import EvaluateConfig
from tunesmith.errors import ConfigError
from tunesmith.metrics.significance import compare_answers
from tunesmith.pipeline.gate import failures, parse
from tunesmith.pipeline.results import Evaluated, Rival


@pytest.mark.parametrize(
    "text, metric, sign, limit",
    [
        ("f1_macro>=0.9", "f1_macro", ">=", 0.9),
        (" accuracy > 92.5 % ", "accuracy", ">", 0.925),
        ("log_loss<=.3", "log_loss", "<=", 0.3),
        ("exact_match≥1", "exact_match", ">=", 1.0),
    ],
)
def test_requirements_are_read(text, metric, sign, limit):
    found = parse(text)
    assert (found.metric, found.sign, found.value) == (metric, sign, pytest.approx(limit))


@pytest.mark.parametrize("text", ["f1_macro", "f1_macro=0.9", ">=0.9", "f1_macro>=high", ""])
def test_what_is_no_requirement_says_how_one_is_written(text):
    with pytest.raises(ConfigError, match="The target is") as caught:
        parse(text)
    assert "f1_macro>=0.9" in caught.value.fix


def test_an_unknown_metric_is_answered_with_the_names():
    with pytest.raises(ConfigError, match="names no metric") as caught:
        parse("f1>=0.9")
    assert "f1_macro" in caught.value.fix and "balanced_accuracy" in caught.value.fix


def evaluated(*against: Rival) -> Evaluated:
    return Evaluated(
        model="m", num_examples=200, metrics={"accuracy": 0.9, "f1_macro": 0.873}, intervals={},
        per_class=(), natural={}, baselines=(), labels=("a",), confusion=((1,),), verdict=(),
        report="", predictions="", against=against,
    )  # fmt: skip


def test_each_requirement_that_does_not_hold_is_a_sentence():
    config = EvaluateConfig(require=("f1_macro>=0.9", "accuracy>=0.9", "accuracy>=95%"))
    assert failures(config, evaluated()) == [
        "f1_macro is 0.873, and >= 0.9 is required.",
        "accuracy is 0.9, and >= 0.95 is required.",
    ]
    with pytest.raises(ConfigError, match="log_loss was not measured"):
        failures(EvaluateConfig(require=("log_loss<1",)), evaluated())


@pytest.mark.parametrize("only_theirs, fails", [(40, True), (12, False), (2, False)])
def test_another_model_must_be_surely_better_to_stop_this_one(only_theirs, fails):
    gold = ["a"] * 200
    ours = ["b"] * only_theirs + ["a"] * (200 - only_theirs)
    theirs = ["a"] * 190 + ["b"] * 10
    rival = Rival(
        name="old", title="old", description="", metrics={},
        comparison=compare_answers(gold, ours, theirs),
    )  # fmt: skip
    found = failures(EvaluateConfig(no_worse_than=("old",)), evaluated(rival))
    assert bool(found) == fails
    if fails:
        assert found[0].startswith("old answers 15.0 points more of the same rows rightly (95 % ")
        both = replace(EvaluateConfig(no_worse_than=("old",)), require=("accuracy>=0.95",))
        assert len(failures(both, evaluated(rival))) == 2
