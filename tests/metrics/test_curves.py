import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.metrics.curves import Point, diagnose

SEEDS = range(12)


class Run:
    """Losses of a run with a random number of steps, looks and labels (None: text)."""

    def __init__(self, seed, *, steps=None):
        self.random = np.random.default_rng(seed)
        self.num_steps = steps or int(self.random.integers(80, 1200))
        self.look_every = max(1, self.num_steps // int(self.random.integers(6, 20)))
        self.num_labels = None if seed % 2 else int(self.random.integers(2, 100))
        self.start = math.log(self.num_labels) if self.num_labels else self.random.uniform(1, 3)
        self.time = np.arange(1, self.num_steps + 1) / self.num_steps
        self.held_out_accuracy = None

    def between(self, low, high):
        return self.random.uniform(low, high)

    def points(self, train, held_out, *, train_noise=0.2, look_noise=0.005):
        """As a run tells them: noise grows with the level, and batches have long tails."""
        shaken = train * self.random.lognormal(0, train_noise, len(train))
        looked = held_out * self.random.normal(1, look_noise, len(train))
        return [
            Point(
                step,
                shaken[step - 1],
                looked[step - 1] if self.is_look(step) else None,
                None,
                self.held_out_accuracy,
            )
            for step in range(1, self.num_steps + 1)
        ]

    def is_look(self, step):
        return step % self.look_every == 0 or step == self.num_steps

    def diagnose(self, points, **known):
        known = {"total_steps": self.num_steps, "num_labels": self.num_labels} | known
        return diagnose(points, **known)

    def settling(self, floor, speed):
        """As with a rate that falls in a straight line to 0."""
        rates = 1 - (1 - self.time) ** 2
        return floor + (self.start - floor) * np.exp(-speed * rates)

    def overfitted(self):
        """(points, step of the lowest held-out loss)."""
        turn, low = self.between(0.3, 0.6), self.start * self.between(0.2, 0.5)
        left = np.maximum(0, turn - self.time) / turn
        right = np.maximum(0, self.time - turn) / (1 - turn)
        held_out = low + (self.start - low) * left**2 + self.between(0.3, 1) * low * right
        return self.points(self.settling(0.02, 4), held_out), round(turn * self.num_steps)


def kinds(found):
    return [one.kind for one in found]


# --- planted curves -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(100))
def test_healthy_curves_raise_no_alarm(seed):
    run = Run(seed)
    floor = run.start * run.between(0.02, 0.45 if run.num_labels else 0.7)
    speed = run.between(4, 12)
    held_out = run.settling(floor * run.between(1, 1.5), speed * run.between(0.85, 1))
    held_out *= 1 + 0.02 * run.time
    noise = {"train_noise": run.between(0.02, 0.5), "look_noise": run.between(0.001, 0.01)}
    found = run.diagnose(run.points(run.settling(floor, speed), held_out, **noise))
    assert kinds(found) == ["good fit"], found


@pytest.mark.parametrize("seed", SEEDS)
def test_overfitting(seed):
    run = Run(seed)
    points, turn = run.overfitted()
    [found] = run.diagnose(points)
    assert found.kind == "overfitting"
    assert abs(found.step - turn) <= 2 * run.look_every
    low = next(p.held_out_loss for p in points if p.step == found.step)
    assert f"was lowest at step {found.step:,} ({low:.3f}) and rose by " in found.sentence
    assert "while the training loss fell from " in found.sentence
    assert found.sentence.endswith(" The model that was kept is from that step.")


def test_overfitting_says_whether_the_kept_model_suffered():
    run = Run(0)
    points, _ = run.overfitted()
    [good] = run.diagnose(points)
    [late] = run.diagnose(points, kept_step=run.num_steps)
    [soon] = run.diagnose(points, kept_step=run.look_every)
    assert good.change.startswith("Nothing needs to change for the kept model.")
    assert late.sentence.endswith(f"is from step {run.num_steps:,}, after that.")
    share = f"{100 * late.step / run.num_steps:.0f} %"
    assert late.change.startswith(f"Lower n_epochs to {share} of what it was")
    assert soon.sentence.endswith(f"is from step {run.look_every:,}, before that.")


def test_a_best_step_that_came_too_soon_asks_for_a_lower_rate():
    run = Run(0, steps=500)
    held_out = run.start * (0.5 + 0.4 * np.abs(run.time - 0.1))
    [found] = run.diagnose(run.points(run.settling(0.02, 8), held_out))
    assert found.kind == "overfitting"
    assert found.change.startswith("Lower learning_rate_multiplier")


def test_overfitting_tells_what_became_of_the_accuracy():
    run = Run(0)
    run.held_out_accuracy = 0.91
    points, _ = run.overfitted()
    [found] = run.diagnose(points)
    assert "The accuracy on held-out rows went from 91 % to 91 %." in found.sentence


@pytest.mark.parametrize("seed", SEEDS)
def test_a_loss_that_still_falls(seed):
    run = Run(seed)
    end = run.start * run.between(0.2, 0.6)
    line = run.start + (end - run.start) * run.time
    points = run.points(line, 1.05 * line)
    [found] = run.diagnose(points)
    assert (found.kind, found.step) == ("still learning", run.num_steps)
    assert "per 100 steps" in found.sentence
    assert found.change == "Raise n_epochs, to one and a half times what it was, say."
    [stopped] = run.diagnose(points, total_steps=2 * run.num_steps)
    assert stopped.change.startswith("Let training run to its end")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_loss_that_still_falls_where_nothing_was_held_out(seed):
    run = Run(seed, steps=600)
    line = run.start * (1 - 0.6 * run.time)
    points = [Point(p.step, p.train_loss) for p in run.points(line, line)]
    [found] = run.diagnose(points)
    assert found.kind == "still learning"
    assert found.sentence.startswith("The training loss was still falling")


@pytest.mark.parametrize("seed", SEEDS)
def test_underfitting_high_and_still_falling(seed):
    run = Run(seed)
    line = run.start * (1 - 0.12 * run.time)
    [found] = run.diagnose(run.points(line, 1.01 * line, train_noise=0.1, look_noise=0.002))
    assert (found.kind, found.step) == ("underfitting", run.num_steps)
    assert "still high" in found.sentence
    assert found.change == "Raise learning_rate_multiplier: double it, say."
    if run.num_labels:
        guess = f"guessing among {run.num_labels} labels gives {run.start:.3f}"
        assert guess in found.sentence


@pytest.mark.parametrize("seed", SEEDS)
def test_a_loss_that_never_moves(seed):
    run = Run(seed)
    line = run.start * (1 - 0.01 * run.time)
    [found] = run.diagnose(run.points(line, line, look_noise=0.003))
    assert found.kind == "underfitting"
    assert "hardly moved" in found.sentence
    assert found.change.startswith("Raise learning_rate_multiplier, to ten times")


def test_a_text_model_that_knows_the_answers_already_does_not_underfit():
    run = Run(1)
    line = np.full(run.num_steps, 0.05)
    assert kinds(run.diagnose(run.points(line, line))) == ["good fit"]


def test_a_classifier_that_stops_learning_early_on_a_high_level():
    run = Run(0)
    curve = run.settling(0.75 * run.start, 12)
    [found] = run.diagnose(run.points(curve, 1.02 * curve))
    assert found.kind == "underfitting"
    assert "stopped falling while it was still high" in found.sentence
    assert found.change.startswith("Raise lora_rank")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gap(seed):
    run = Run(seed)
    train, held_out = run.settling(0.05 * run.start, 8), run.settling(0.35 * run.start, 8)
    [found] = run.diagnose(run.points(train, held_out), kept_step=run.num_steps)
    assert (found.kind, found.step) == ("gap", run.num_steps)
    assert found.change.startswith("Add training rows")


@pytest.mark.parametrize("seed", SEEDS)
def test_jumps(seed):
    run = Run(seed, steps=400)
    curve = run.settling(0.2 * run.start, 6)
    for place in (0.4, 0.6, 0.8):
        since = (run.time - place) * run.num_steps
        curve = curve + np.where(since >= 0, 1.2 * run.start * np.exp(-since / 12), 0)
    found, *rest = run.diagnose(run.points(curve, run.settling(0.25 * run.start, 6)))
    assert not rest
    assert found.kind == "unstable"
    assert found.sentence.startswith("The training loss jumped 3 times, first at step ")
    assert abs(found.step - 160) <= 5
    assert found.change == "Halve learning_rate_multiplier."


def test_one_hard_batch_is_no_jump():
    run = Run(0, steps=400)
    curve = run.settling(0.2 * run.start, 8)
    points = run.points(curve, 1.1 * curve)
    hard = [Point(p.step, 20.0 if p.step % 90 == 0 else p.train_loss, p.held_out_loss)
            for p in points]  # fmt: skip
    assert kinds(run.diagnose(hard)) == ["good fit"]


@pytest.mark.parametrize("seed", SEEDS)
def test_swings(seed):
    run = Run(seed)
    curve = run.settling(0.4 * run.start, 6)
    look = np.arange(1, run.num_steps + 1) // run.look_every
    found, *rest = run.diagnose(run.points(curve, curve * (1 + 0.3 * (-1.0) ** look)))
    assert not rest
    assert found.kind == "unstable"
    assert "instead of settling" in found.sentence


@pytest.mark.parametrize("seed", SEEDS)
def test_both_losses_rising(seed):
    run = Run(seed)
    curve = run.start * (0.4 + np.where(run.time < 0.4, 0.4 - run.time, 0.6 * (run.time - 0.4)))
    [found] = run.diagnose(run.points(curve, 1.05 * curve))
    assert found.kind == "unstable"
    assert found.sentence.startswith("Both losses rose after step ")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_that_ends_above_its_start(seed):
    run = Run(seed)
    curve = run.start * (1 + run.time)
    [found] = run.diagnose(run.points(curve, curve))
    assert (found.kind, found.step) == ("diverged", run.num_steps)
    assert found.change == "Lower learning_rate_multiplier to a tenth."


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_loss_that_is_no_number(broken):
    [found] = diagnose([Point(1, 2.0), Point(2, broken), Point(3, broken)], total_steps=1000)
    assert (found.kind, found.step) == ("diverged", 2)
    assert found.sentence.startswith("From step 2 on the training loss was no longer a number")
    [found] = diagnose([Point(1, 2.0, 1.0), Point(2, 1.0, broken)], total_steps=9)
    assert "the loss on held-out rows was no longer a number" in found.sentence


# --- little and odd input -----------------------------------------------------------------------


def test_too_little_says_nothing():
    assert diagnose([], total_steps=0) == []
    assert diagnose([Point(step, 2.0 - step / 10) for step in range(1, 6)], total_steps=5) == []
    assert diagnose([Point(0, None, 1.0), Point(9, None, 0.5)], total_steps=9) == []


def test_three_looks_are_enough():
    """An OpenAI job of three epochs, say."""
    train = [2.0, 1.5, 1.0, 0.8, 0.5, 0.4, 0.2, 0.1, 0.1]
    looks = {3: 1.0, 6: 1.3, 9: 1.9}
    points = [Point(i, loss, looks.get(i)) for i, loss in enumerate(train, start=1)]
    [found] = diagnose(points, total_steps=9)
    assert (found.kind, found.step) == ("overfitting", 3)


def test_a_step_told_twice_counts_once_in_any_order():
    run = Run(2)
    points, _ = run.overfitted()
    again = [Point(p.step, 50.0) for p in points[:50]] + points[::-1]
    assert run.diagnose(again) == run.diagnose(points)


losses = st.none() | st.floats(0, 1e4) | st.sampled_from([0.0, 1.0])
anything = st.lists(st.builds(Point, st.integers(0, 60), losses, losses), max_size=60)


@settings(deadline=None, max_examples=300)
@given(anything, st.none() | st.integers(0, 60), st.none() | st.integers(1, 9))
def test_any_points_are_read_without_falling_over(points, kept_step, num_labels):
    found = diagnose(points, total_steps=50, kept_step=kept_step, num_labels=num_labels)
    assert len(found) <= 2
    for one in found:
        assert one.sentence.endswith(".")
        assert one.change.endswith(".")
        assert "nan" not in one.sentence + one.change


# --- a real model, trained well and badly on purpose --------------------------------------------


class Regression:
    """A softmax regression in numpy on a planted rule, and the curves of its training."""

    def __init__(self, *, rows, features=40, labels=4, noise=0.3, seed=0):
        self.random = np.random.default_rng(seed)
        self.labels = labels
        self.rule = self.random.normal(size=(features, labels)) / math.sqrt(features)
        self.noise = noise
        self.train, self.held_out = self.draw(rows), self.draw(1000)

    def draw(self, rows):
        x = self.random.normal(size=(rows, len(self.rule)))
        score = 3 * x @ self.rule + self.noise * self.random.normal(size=(rows, self.labels))
        return x, score.argmax(1)

    @staticmethod
    def probabilities(weights, x):
        score = x @ weights
        score = np.exp(score - score.max(1, keepdims=True))
        return score / score.sum(1, keepdims=True)

    def loss(self, weights, x, y):
        return float(-np.log(self.probabilities(weights, x)[range(len(y)), y] + 1e-300).mean())

    def fit(self, *, rate, epochs, batch=16):
        weights = np.zeros_like(self.rule)
        x, y = self.train
        points, step = [], 0
        per_epoch = max(1, len(y) // batch)
        total, every = epochs * per_epoch, max(1, epochs * per_epoch // 15)
        for _ in range(epochs):
            order = self.random.permutation(len(y))
            for rows in np.array_split(order, per_epoch):
                step += 1
                given = self.probabilities(weights, x[rows])
                loss = self.loss(weights, x[rows], y[rows])
                given[range(len(rows)), y[rows]] -= 1
                weights -= (
                    rate
                    * min(step / total / 0.06, 1 - step / total)
                    * x[rows].T
                    @ given
                    / len(rows)
                )
                look = step % every == 0 or step == total
                seen = self.loss(weights, *self.held_out) if look else None
                points.append(Point(step, loss, seen))
        return diagnose(points, total_steps=total, num_labels=self.labels)


@pytest.mark.parametrize("seed", range(5))
def test_a_model_with_plenty_of_rows_fits_well(seed):
    model = Regression(rows=4000, seed=seed)
    assert kinds(model.fit(rate=0.5, epochs=6)) == ["good fit"]


@pytest.mark.parametrize("seed", range(5))
def test_a_model_with_few_rows_learns_them_by_heart(seed):
    found = Regression(rows=60, features=100, noise=1.5, seed=seed).fit(rate=1.0, epochs=150)
    assert kinds(found) == ["overfitting"]


@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_makes_tiny_steps_hardly_moves(seed):
    [found] = Regression(rows=1000, seed=seed).fit(rate=1e-5, epochs=5)
    assert found.kind == "underfitting"
    assert "hardly moved" in found.sentence


@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_makes_small_steps_has_not_learned_enough(seed):
    found = [Regression(rows=1000, seed=seed).fit(rate=rate, epochs=4) for rate in (0.005, 0.03)]
    assert [kinds(each) for each in found] == [["underfitting"], ["still learning"]]
    assert "still high" in found[0][0].sentence


@pytest.mark.parametrize("rate", [10.0, 30.0, 100.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_makes_huge_steps_is_unstable(seed, rate):
    [found] = Regression(rows=1000, seed=seed).fit(rate=rate, epochs=4)
    assert found.kind == "unstable"
    assert found.sentence.startswith("The training loss climbed from ")
    assert found.change == "Lower learning_rate_multiplier to a third."


@pytest.mark.parametrize("seed", range(5))
def test_labels_that_follow_from_nothing_are_learned_by_heart_or_not_at_all(seed):
    model = Regression(rows=400, features=300, noise=1e6, seed=seed)
    found = [*model.fit(rate=0.1, epochs=40), *model.fit(rate=1e-5, epochs=10)]
    assert kinds(found) == ["overfitting", "underfitting"]
    assert "the labels do not follow from the prompts" in found[1].sentence
