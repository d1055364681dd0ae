"""Advice from evidence: what is named, with what change, in which order."""

from dataclasses import replace

import pytest

from tunesmith.metrics.confusion import MixedUp
from tunesmith.metrics.curves import Diagnosis, Point, diagnose
from tunesmith.metrics.learning_curve import Growth, LearningCurve
from tunesmith.metrics.shift import Shift
from tunesmith.pipeline.evaluating.labels.advice import Evidence, advise, grown, neediest
from tunesmith.pipeline.evaluating.labels.teaching import Leaks, Lessons, Noise


def growth(label: str = "", *, exponent: float = 0.3, score: float = 0.8, gain: float = 0.04):
    return Growth(
        label=label,
        num_rows=1000,
        sizes=(200.0, 400.0, 600.0, 800.0),
        scores=(0.6, 0.7, 0.75, score),
        exponent=exponent,
        gain=gain,
        interval=(gain / 2, gain * 1.5),
    )


def evidence(**lessons) -> Evidence:
    return Evidence(
        num_rows=500,
        accuracy=0.9,
        errors={"a": 0.3, "b": 0.05},
        pairs=(),
        lessons=Lessons(by="TF-IDF", **lessons),
        review="r/review.csv",
    )


NOISE = Noise(
    share=0.05, num_rows=40, num_judged=1000, relabelled=0.02, interval=(0.01, 0.03), worst=()
)
PAIR = MixedUp(first="a", second="b", forth=9, back=3, num_first=50, num_second=60, expected=1.2)
LEAKS = Leaks(lines=(4, 9), train_lines=(40, 90), accuracy=1.0, rest_accuracy=0.85)


def kinds(found):
    return [one.kind for one in found]


def test_nothing_found_is_nothing_advised():
    assert advise(evidence()) == []
    assert advise(replace(evidence(), lessons=None)) == []


def test_noise_says_how_many_rows_to_look_at_and_what_a_head_gains():
    (found,) = advise(evidence(noise=NOISE))
    assert "the first 40 rows of r/review.csv" in found.change
    assert "--review r/review.csv" in found.change
    assert "2.0 points (95 % sure: 1.0 to 3.0) better" in found.expected
    assert (found.gain, found.gain_interval) == (0.02, (0.01, 0.03))
    (doubtful,) = advise(evidence(noise=replace(NOISE, interval=(-0.01, 0.03))))
    assert "95 % sure: −1.0 to 3.0) better, which may be chance" in doubtful.expected
    (vain,) = advise(evidence(noise=replace(NOISE, relabelled=-0.01)))
    assert "little can be expected" in vain.expected
    assert advise(evidence(noise=replace(NOISE, share=0.004))) == []
    assert advise(evidence(noise=replace(NOISE, num_rows=2))) == []


def test_more_rows_name_the_labels_that_gain_and_what_the_tuned_model_would():
    curve = LearningCurve(overall=growth(), labels=(growth("b"), growth("a")))
    (found,) = advise(evidence(growth=curve))
    assert found.change.endswith("before others: a, b.")
    # A head errs on 20 % and would lose 2 to 6 points; this model errs on 10 %.
    assert found.gain == pytest.approx(0.1 * (1 - 2**-0.3))
    assert found.gain_interval == pytest.approx((0.01, 0.03))
    flat = LearningCurve(overall=growth(exponent=0.01, gain=0.001), labels=())
    assert advise(evidence(growth=flat)) == []


def test_labels_that_are_never_wrong_need_no_rows():
    curve = LearningCurve(overall=growth(), labels=(growth("a"), growth("b")))
    assert [one.label for one in neediest(curve, {"a": 0.0, "b": 0.2})] == ["b", "a"]
    assert grown(growth("a"), 0.0) == (0.0, (0.0, 0.0))
    perfect = growth(score=1.0, gain=0.0)
    gain, (low, high) = grown(perfect, 0.1)
    assert low <= gain <= high


def test_confusion_is_named_where_it_is_more_than_chance():
    (found,) = advise(replace(evidence(), pairs=(PAIR,)))
    assert '--merge "b=a"' in found.change and "12 mistakes" in found.evidence
    assert found.gain == pytest.approx(12 / 500)
    assert advise(replace(evidence(), pairs=(replace(PAIR, forth=2, back=1),))) == []
    assert advise(replace(evidence(), pairs=(replace(PAIR, expected=9.0),))) == []


def test_a_leak_comes_before_all_else_and_gives_the_true_score():
    curve = LearningCurve(overall=growth(), labels=(growth("a"),))
    found = advise(evidence(leaks=LEAKS, noise=NOISE, growth=curve))
    assert found[0].kind == "leak"
    assert "2 scored rows are nearly the same as a training row (lines 4 and 9" in found[0].evidence
    assert "85.0 % of the other 498 rows are right, where all together say 90.0 %" in (
        found[0].expected
    )
    assert "--near-duplicates" in found[0].change
    (alone,) = advise(evidence(leaks=replace(LEAKS, rest_accuracy=None)))
    assert "no others" in alone.expected


def test_a_leak_without_effect_comes_after_what_helps_and_templates_are_told_as_such():
    harmless = replace(LEAKS, rest_accuracy=0.899)
    found = advise(replace(evidence(leaks=harmless, noise=NOISE), keeps_apart=True))
    assert kinds(found) == ["noise", "leak"]
    assert "from a template" in found[1].change and "--group" in found[1].change


def test_a_shift_is_named_where_sides_are_told_apart():
    (found,) = advise(evidence(shift=Shift(area=0.81, interval=(0.77, 0.85))))
    assert "0.81 (95 % sure: 0.77 to 0.85; 0.5 would be chance)" in found.evidence
    assert advise(evidence(shift=Shift(area=0.6, interval=(0.55, 0.65)))) == []


def curves(held_out: list[float], train: list[float], **more):
    points = [
        Point(step=10 * i, train_loss=a, held_out_loss=b)
        for i, (a, b) in enumerate(zip(train, held_out, strict=True))
    ]
    return diagnose(points, total_steps=10 * (len(points) - 1), num_labels=10, **more)


def test_a_planted_overfit_run_and_a_planted_underfit_run_are_named():
    steps = range(21)
    learnt = [2.3 * 0.75**i + 0.02 for i in steps]
    rising = [max(0.5, 2.3 * 0.6**i) + max(0, i - 6) * 0.08 for i in steps]
    over = advise(replace(evidence(), diagnoses=curves(rising, learnt, kept_step=200)))
    assert over[0].kind == "overfitting" and "Lower" in over[0].change
    flat = [2.3 - 0.001 * i for i in steps]
    under = advise(replace(evidence(noise=NOISE), diagnoses=curves(flat, flat), accuracy=0.12))
    assert under[0].kind == "underfitting", "nothing else is worth doing before"


def test_a_good_fit_is_no_advice_and_a_harmless_one_comes_last():
    good = Diagnosis("good fit", 9, "Fine.", "Nothing needs to change.")
    kept = Diagnosis("overfitting", 9, "Rose.", "Nothing needs to change for the kept model. …")
    assert advise(replace(evidence(), diagnoses=(good,))) == []
    found = advise(replace(evidence(noise=NOISE), diagnoses=(kept,)))
    assert kinds(found) == ["noise", "overfitting"]
    assert found[1].expected == "Nothing for the model that was kept."


def test_what_brings_more_comes_first():
    curve = LearningCurve(overall=growth(), labels=(growth("a"),))
    found = advise(replace(evidence(noise=NOISE, growth=curve), pairs=(PAIR,)))
    assert kinds(found) == ["confusion", "noise", "more rows"]
