"""Targets as people write them."""

import pytest

from tunesmith.errors import ConfigError
from tunesmith.metrics.targets import Target, parse

KNOWN = ("accuracy", "f1_macro", "log_loss", "judge_score")


@pytest.mark.parametrize(
    "text, metric, sign, value",
    [
        ("f1_macro>=0.92", "f1_macro", ">=", 0.92),
        (" f1_macro >= 92 % ", "f1_macro", ">=", 0.92),
        ("accuracy≥.9", "accuracy", ">=", 0.9),
        ("accuracy>1", "accuracy", ">", 1.0),
        ("log_loss<=1.5", "log_loss", "<=", 1.5),
        ("log_loss<0.2", "log_loss", "<", 0.2),
        ("judge_score>=4.5", "judge_score", ">=", 4.5),
    ],
)
def test_what_can_be_read(text, metric, sign, value):
    assert parse(text, KNOWN) == Target(metric=metric, sign=sign, value=value)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "Give a metric and a value"),
        ("accuracy", "Give a metric and a value"),
        ("accuracy=0.9", "Give a metric and a value"),
        ("accuracy>=0.9.1", "Give a metric and a value"),
        ("acuracy>=0.9", "Did you mean 'accuracy'?"),
        ("accuracy>=93", "Write accuracy>=0.93, or accuracy>=93%."),
        ("accuracy<0.9", "more is better. Write accuracy>=0.9."),
        ("log_loss>=0.2", "less is better. Write log_loss<=0.2."),
    ],
)
def test_what_cannot(text, words):
    with pytest.raises(ConfigError) as caught:
        parse(text, KNOWN)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text, below, at, above",
    [
        ("accuracy>=0.9", False, True, True),
        ("accuracy>0.9", False, False, True),
        ("log_loss<=0.9", True, True, False),
        ("log_loss<0.9", True, False, False),
    ],
)
def test_whether_it_is_met(text, below, at, above):
    target = parse(text, KNOWN)
    assert [target.is_met(v) for v in (0.89, 0.9, 0.91)] == [below, at, above]
    assert parse(str(target), KNOWN) == target
