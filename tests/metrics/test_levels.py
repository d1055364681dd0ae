import numpy as np
import pytest

from tunesmith.metrics.levels import Curve


def curve(*losses):
    return Curve.of(enumerate(losses, start=1))


def test_steps_without_a_loss_are_left_out():
    found = Curve.of([(1, 2.0), (2, None), (3, 1.0)])
    assert found.steps.tolist() == [1, 3]
    assert found.losses.tolist() == [2, 1]
    assert len(Curve.of([])) == 0


def test_a_level_is_the_mean_of_what_is_around():
    line = curve(*range(100))
    assert line.level(50) == pytest.approx(49, abs=1)
    assert line.level(0) == np.mean(range(10))
    assert line.level(1000) == np.mean(range(90, 100))
    assert curve(1, 2, 3).level(2) == 2


def test_the_noise_around_a_slope_is_found():
    noise = np.random.default_rng(0).normal(0, 0.1, 2000)
    assert curve(*(np.linspace(5, 1, 2000) + noise)).noise == pytest.approx(0.1, rel=0.1)
    assert curve(*np.linspace(5, 1, 100)).noise == pytest.approx(0, abs=1e-9)


def test_the_start_stands_out_or_is_a_level():
    assert curve(*[3.0] * 3, *np.linspace(1, 0.99, 60)).start == 3
    noise = np.random.default_rng(0).normal(0, 0.5, 200)
    assert curve(*(2 + noise)).start == pytest.approx(2, abs=0.25)


def test_the_last_stretch_is_measured_in_rates():
    steps = np.arange(101)
    falling = Curve(steps.astype(float), 1 - (1 - steps / 100) ** 2)
    end = falling.end(100)
    # With a rate that falls to 0, 30 % of all rates come in the last 54 steps.
    assert end.steps == 54
    assert end.share == pytest.approx(0.3, abs=0.01)
    assert end.fall == pytest.approx(-0.3, abs=0.01)
    assert end.doubt == pytest.approx(0, abs=1e-9)
    assert Curve(falling.steps, -falling.losses).end(100).fall == pytest.approx(0.3, abs=0.01)


def test_a_jump_lasts_for_some_steps():
    flat = [1.0] * 40
    [jump] = curve(*flat, *[3.0] * 10, *flat).jumps(0.5)
    assert (jump.low, jump.high) == (1, 3)
    assert abs(jump.step - 41) <= 2
    assert curve(*flat, 9.0, 9.0, *flat).jumps(0.5) == []
    assert curve(*flat, *[3.0] * 10, *flat).jumps(2.5) == []
    assert len(curve(*flat, *[3.0] * 10, *flat, *[3.0] * 10, *flat).jumps(0.5)) == 2
    assert curve(*[1.0] * 10).jumps(0) == []


def test_turns_are_those_of_some_size():
    swinging = curve(1, 0.5, 0.9, 0.52, 0.8, 0.79, 0.81)
    assert swinging.turns(0.2) == [2, 3, 4]
    assert swinging.turns(0.005) == [2, 3, 4, 5, 6]
    assert swinging.turns(0.5) == []
    assert curve(1, 2, 1).turns(0.5) == [2]


def test_the_highest_level_is_no_single_loss():
    losses = [1.0] * 100
    losses[20] = 9.0
    losses[60:70] = [5.0] * 10
    step, level = curve(*losses).highest()
    assert level == 5
    assert 61 <= step <= 71
