"""Whether a difference is chance: against other formulas, and against repeated experiments."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tunesmith.metrics.significance import (
    compare_answers,
    compare_scores,
    mcnemar,
    rows_to_decide,
    rows_to_decide_scores,
)


@given(st.integers(0, 24), st.integers(0, 24))
@settings(deadline=None)
def test_few_discordant_rows_are_counted_exactly(ours, theirs):
    if ours + theirs >= 25:
        return
    test, p_value = mcnemar(ours, theirs)
    total = ours + theirs
    # Both tails of a fair coin, by hand.
    tail = sum(math.comb(total, i) for i in range(min(ours, theirs) + 1)) / 2**total
    assert test == "McNemar, exact"
    assert p_value == pytest.approx(min(1.0, 2 * tail))
    if total:
        assert p_value == pytest.approx(stats.binomtest(ours, total).pvalue)


@given(st.integers(0, 500), st.integers(25, 500))
@settings(deadline=None)
def test_many_are_tested_by_chi_squared_with_its_correction(ours, theirs):
    test, p_value = mcnemar(ours, theirs)
    statistic = max(0, abs(ours - theirs) - 1) ** 2 / (ours + theirs)
    assert test == "McNemar, chi-squared"
    assert p_value == pytest.approx(stats.chi2.sf(statistic, df=1))
    assert p_value == mcnemar(theirs, ours)[1]


def test_a_known_table():
    """Agresti's approval of a prime minister: 150 against 86 changed their mind."""
    assert mcnemar(150, 86)[1] == pytest.approx(4.115e-05, rel=1e-3)


def answers(only_ours: int, only_theirs: int, both: int = 50, neither: int = 10):
    gold = ["a"] * (only_ours + only_theirs + both + neither)
    ours = ["a"] * only_ours + ["b"] * only_theirs + ["a"] * both + [None] * neither
    theirs = ["b"] * only_ours + ["a"] * only_theirs + ["a"] * both + ["b"] * neither
    return gold, ours, theirs


def test_a_comparison_says_who_is_better():
    gold, ours, theirs = answers(30, 10)
    found = compare_answers(gold, ours, theirs)
    assert (found.verdict, found.test) == ("better", "McNemar, chi-squared")
    assert (found.only_ours, found.only_theirs, found.num_rows) == (30, 10, 100)
    assert found.gain == pytest.approx(0.2) and found.interval[0] > 0
    back = compare_answers(gold, theirs, ours)
    assert (back.verdict, back.p_value) == ("worse", found.p_value)
    same = compare_answers(gold, ours, ours)
    assert (same.verdict, same.p_value, same.rows_to_decide) == ("undecided", 1.0, None)
    close = compare_answers(*answers(12, 9))
    assert close.verdict == "undecided" and close.rows_to_decide > close.num_rows


def test_it_takes_as_many_rows_as_it_says():
    """Repeated with that many rows, the test finds the difference in about 4 of 5 cases."""
    generator = np.random.default_rng(0)
    for only_ours, only_theirs in ((60, 40), (12, 4), (150, 120)):
        rows = rows_to_decide(only_ours, only_theirs, 1000)
        shares = [only_ours / 1000, only_theirs / 1000, 1 - (only_ours + only_theirs) / 1000]
        drawn = generator.multinomial(rows, shares, size=1500)
        found = np.mean([mcnemar(a, b)[1] < 0.05 for a, b, _ in drawn.tolist()])
        assert 0.76 < found < 0.86, (only_ours, only_theirs, rows)


def test_no_difference_is_never_decided():
    assert rows_to_decide(20, 20, 1000) is None
    assert rows_to_decide(0, 0, 1000) is None
    assert rows_to_decide(50_000_001, 50_000_000, 100_000_001) is None, "too small to matter"
    assert rows_to_decide(1, 0, 1) >= 1
    assert rows_to_decide_scores(np.zeros(5)) is None


def test_a_true_null_is_called_a_difference_in_1_of_20_tests_at_most():
    generator = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        counts = generator.multinomial(300, [0.05, 0.05, 0.9])
        wrong += mcnemar(int(counts[0]), int(counts[1]))[1] < 0.05
    assert wrong <= 0.06 * 400


@pytest.mark.parametrize("num_rows", [3, 8, 40, 200])
def test_scores_that_differ_by_chance_are_rarely_called_different(num_rows):
    generator = np.random.default_rng(num_rows)
    wrong = 0
    for seed in range(300):
        ours, theirs = generator.random((2, num_rows))
        wrong += compare_scores(ours, theirs, resamples=300, seed=seed).verdict != "undecided"
    assert wrong <= 0.08 * 300


def test_scores_are_compared_in_pairs():
    generator = np.random.default_rng(3)
    theirs = generator.random(200)
    ours = np.clip(theirs + 0.02 + generator.normal(0, 0.05, 200), 0, 1)
    found = compare_scores(ours, theirs)
    assert (found.verdict, found.test) == ("better", "paired bootstrap")
    assert found.interval[0] > 0 and found.p_value < 0.01
    paired = stats.ttest_rel(ours, theirs).pvalue
    assert paired < 0.01 < stats.ttest_ind(ours, theirs).pvalue, "not by luck of the table"
    assert found.rows_to_decide < 200
    assert compare_scores(theirs, ours).verdict == "worse"
    assert compare_scores(ours, ours).verdict == "undecided"


def test_a_bootstrap_p_value_agrees_with_the_t_test_where_that_holds():
    generator = np.random.default_rng(4)
    ours = generator.normal(0.03, 0.2, 300)
    found = compare_scores(ours, np.zeros(300), resamples=20_000)
    assert found.p_value == pytest.approx(stats.ttest_1samp(ours, 0).pvalue, abs=0.01)


def test_a_handful_of_rows_decides_nothing():
    assert compare_scores([1.0] * 5, [0.0] * 5).verdict == "undecided"
    assert compare_scores([1.0] * 6, [0.0] * 6).verdict == "better"


@given(st.lists(st.tuples(*[st.sampled_from("ab")] * 3), min_size=1, max_size=40), st.randoms())
@settings(deadline=None, max_examples=30)
def test_the_order_of_the_rows_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    assert compare_answers(*zip(*rows, strict=True)) == compare_answers(
        *zip(*shuffled, strict=True)
    )
