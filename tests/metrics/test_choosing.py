"""How much the best of several scores flatters, against the exact values and a simulation."""

import numpy as np
import pytest

from tunesmith.metrics.choosing import expected_best, optimism


@pytest.mark.parametrize(
    "num, exact",
    [(1, 0.0), (2, np.pi**-0.5), (3, 1.5 * np.pi**-0.5), (5, 1.16296447), (10, 1.53875273)],
)
def test_the_largest_of_a_few_normal_draws(num, exact):
    assert expected_best(num) == pytest.approx(exact, abs=1e-7)


def test_it_grows_slowly_and_stays_finite():
    found = [expected_best(num) for num in (1, 2, 4, 30, 1000, 100_000)]
    assert found == sorted(found) and found[-1] < 4.5


def test_the_chosen_of_equally_good_models_flatters_by_as_much():
    draw = np.random.default_rng(0)
    rows, share = 400, 0.9
    scores = draw.binomial(rows, share, size=(20_000, 8)) / rows
    error = (share * (1 - share) / rows) ** 0.5
    assert scores.max(1).mean() - share == pytest.approx(optimism(8, error), rel=0.06)


def test_scores_that_rise_and_fall_together_flatter_less():
    draw = np.random.default_rng(1)
    common, own = draw.normal(size=(20_000, 1)), draw.normal(size=(20_000, 8))
    scores = (common + own) / 2**0.5
    assert scores.max(1).mean() < optimism(8, 1.0)
