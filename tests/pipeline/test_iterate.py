"""iterate: which trials there are, when one stops, when all end, what a later start repeats."""

import json
import threading
from dataclasses import replace

import pytest
from fake_provider import FakeProvider
from searches import again, asked, better_with_smoothing, iterate

from tunesmith import wire
from tunesmith.errors import ConfigError, JobFailed, ProviderError
from tunesmith.pipeline import RunDir


@pytest.fixture
def provider() -> FakeProvider:
    fake = FakeProvider()
    fake.curve = better_with_smoothing
    return fake


def test_the_best_trial_is_chosen_deployed_and_evaluated_once(config, shop, provider):
    steps = iterate(asked(config), shop)
    kinds = [type(step).__name__ for step in steps]
    assert kinds == ["Prepared", "Uploaded", "Searched", "Deployed", "Evaluated", "Iterated"]
    searched, result = steps[2], steps[-1]
    assert [t.number for t in searched.trials] == [0, 1, 2, 3]
    assert searched.trials[0].settings == {}
    best = searched.trials[searched.chosen]
    assert best.settings == {"label_smoothing": 0.2} and best.score == pytest.approx(1.0)
    assert (result.model, searched.ended) == (best.model, "trials")


def test_a_second_start_does_nothing(config, shop, provider, told):
    first = iterate(asked(config), shop)
    calls, said = dict(provider.calls), len(told)
    second = iterate(asked(config), again(shop))
    assert [type(step).__name__ for step in second] == ["Prepared", "Iterated"]
    assert second[-1] == first[-1]
    assert dict(provider.calls) == calls and len(told) == said


def test_more_trials_go_on_from_the_earlier_ones(config, shop, provider):
    first = iterate(asked(config, trials=2, search=("label_smoothing", "weight_decay")), shop)[-1]
    jobs = [trial.job for trial in first.searched.trials]
    second = iterate(
        asked(config, trials=4, search=("label_smoothing", "weight_decay")), again(shop)
    )[-1]
    assert [trial.job for trial in second.searched.trials][:2] == jobs
    assert provider.calls["create_job"] == 4


class Killed(BaseException):
    """As good as kill -9: nothing is cleaned up."""


def test_killed_it_follows_its_job_on_and_repeats_nothing(config, shop, provider, monkeypatch):
    undisturbed = FakeProvider()
    undisturbed.curve = better_with_smoothing
    elsewhere = replace(shop, run_dir=RunDir(shop.run_dir.path / "other"), provider=undisturbed)
    expected = iterate(asked(config), elsewhere)[-1]

    def kill():
        if len(provider.all_jobs) == 2:
            raise Killed

    provider.while_following = kill
    monkeypatch.setattr("tunesmith.pipeline.iterating.trials.Trial.stop", lambda *_: None)
    with pytest.raises(Killed):
        iterate(asked(config), shop)
    monkeypatch.undo()
    provider.while_following = lambda: None
    result = iterate(asked(config), again(shop))[-1]
    assert provider.calls["create_job"] == 4 and provider.calls["cancel"] == 0
    found = [(t.number, t.settings, t.score) for t in result.searched.trials]
    assert found[:2] == [(t.number, t.settings, t.score) for t in expected.searched.trials][:2]
    assert [number for number, _, _ in found] == [0, 1, 2, 3]


def test_a_torn_line_of_the_study_is_cut_off(config, shop, provider):
    iterate(asked(config, trials=2), shop)
    (study,) = shop.run_dir.path.glob("06-iterate/*/study.journal")
    with study.open("ab") as file:
        file.write(b'{"op_code": 4, "work')
    result = iterate(asked(config, trials=3), again(shop))[-1]
    assert len(result.searched.trials) == 3
    assert provider.calls["create_job"] == 3


def test_ctrl_c_cancels_the_job_and_keeps_the_study(config, shop, provider, monkeypatch):
    cancelled, following = threading.Event(), threading.Event()
    plain = provider.cancel

    def follow():
        following.set()
        cancelled.wait(10)

    def cancel(job_id):
        job = plain(job_id)
        cancelled.set()
        return job

    def interrupt(*_, **__):  # where the main thread waits for its trials
        following.wait(10)
        raise KeyboardInterrupt

    provider.while_following, provider.cancel = follow, cancel
    with monkeypatch.context() as patch:
        patch.setattr("tunesmith.pipeline.iterating.search.wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            iterate(asked(config), shop)
    assert [job.status for job in provider.jobs()] == ["cancelled"]
    provider.while_following = lambda: None
    result = iterate(asked(config), again(shop))[-1]
    assert [t.state for t in result.searched.trials] == ["done"] * 4
    assert provider.calls["create_job"] == 5


def test_the_target_ends_the_search_and_is_checked_again_on_the_final_rows(config, shop):
    result = iterate(asked(config, until="accuracy>=0.9", trials=None), shop)[-1]
    assert result.searched.ended == "target" and result.searched.reached
    assert result.searched.trials[-1].score >= 0.9
    assert all(trial.score < 0.9 for trial in result.searched.trials[:-1])
    words = " ".join(result.verdict)
    met = "The target accuracy>=0.9 is met, on the rows that choose and on the held-out rows."
    assert met in words


def test_a_target_met_by_the_usual_settings_takes_one_trial(config, shop, provider):
    result = iterate(asked(config, until="accuracy>=80%"), shop)[-1]
    assert provider.calls["create_job"] == 1
    assert result.searched.trials[0].settings == {}


class Clock:
    """Goes on by itself: so many seconds at each look at it."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_the_time_ends_the_search(config, shop, provider):
    config = asked(config, budget="60s", trials=None, search=("weight_decay",))
    result = iterate(config, shop, clock=Clock(4.0))[-1]
    assert result.searched.ended == "time"
    assert 1 <= len(result.searched.trials) < 15
    assert result.searched.seconds >= 55


def test_a_trial_that_would_take_longer_than_is_left_is_stopped(config, shop, provider, told):
    provider.estimate = lambda request: 30 if request.tunesmith.weight_decay == 0.01 else 900
    config = asked(config, budget="60s", trials=None, search=("weight_decay",))
    result = iterate(config, shop, clock=Clock(0.01))[-1]
    first, second = result.searched.trials
    assert (first.state, second.state) == ("done", "stopped")
    assert second.why == "would take more time than is left"
    assert [job.status for job in provider.jobs()] == ["cancelled", "succeeded"]
    assert result.searched.chosen == 0


def test_the_first_trial_ends_whatever_it_takes_and_it_says_so(config, shop, provider, told):
    provider.estimate = lambda request: 900.0
    result = iterate(asked(config, budget="60s", trials=None), shop, clock=Clock(30.0))[-1]
    assert [trial.state for trial in result.searched.trials] == ["done"]
    assert "without it there would be no model" in told.words


def test_money_is_a_budget_where_there_is_a_price(config, shop, provider):
    config = asked(config, max_cost=0.005, token_price=1.0, trials=None, search=("weight_decay",))
    result = iterate(config, shop)[-1]
    # Each trial learns from 1,234 tokens; the fourth would be 0.0049 in all, a fifth too much.
    assert len(result.searched.trials) == 4 and result.searched.ended == "money"
    assert result.searched.cost == pytest.approx(4 * 1234e-6)


def behind_from_the_fourth_on(provider: FakeProvider):
    def curve(request: wire.JobCreate) -> tuple[float, ...]:
        is_behind = provider.requests.index(request) >= 3
        return (0.5, 0.4, 0.4, 0.4, 0.4, 0.4) if is_behind else (0.5, 0.6, 0.7, 0.8, 0.85, 0.9)

    return curve


def test_a_trial_that_falls_behind_is_cancelled_at_the_provider(config, shop, provider):
    provider.curve = behind_from_the_fourth_on(provider)
    result = iterate(asked(config), shop)[-1]
    assert [t.state for t in result.searched.trials] == ["done", "done", "done", "pruned"]
    pruned = result.searched.trials[3]
    assert pruned.looks == (0.5, 0.4, 0.4, 0.4) and pruned.why == "fell behind at look 4"
    assert pruned.score is None and provider.calls["cancel"] == 1


def test_pruning_can_be_left_out(config, shop, provider):
    provider.curve = behind_from_the_fourth_on(provider)
    result = iterate(asked(config, prune=False), shop)[-1]
    assert {trial.state for trial in result.searched.trials} == {"done"}
    assert result.searched.chosen == 0


def test_a_trial_that_fails_is_told_and_the_others_go_on(config, shop, provider):
    plain = provider._train

    def fail_at_second(job):
        provider.outcome = "server_error" if len(provider.all_jobs) == 2 else "succeeded"
        plain(job)

    provider._train = fail_at_second
    result = iterate(asked(config), shop)[-1]
    failed = result.searched.trials[1]
    assert failed.state == "failed" and "The training process died" in failed.why
    assert [t.state for t in result.searched.trials].count("done") == 3


def test_where_the_usual_settings_fail_the_search_does_too(config, shop, provider):
    provider.outcome = "server_error"
    with pytest.raises(JobFailed, match="The training process died"):
        iterate(asked(config), shop)
    assert provider.calls["create_job"] == 1


def test_a_lost_provider_leaves_the_trial_to_the_next_start(config, shop, provider):
    def lose():
        raise ProviderError("The server does not answer.")

    provider.while_following = lose
    with pytest.raises(ProviderError):
        iterate(asked(config), shop)
    provider.while_following = lambda: None
    result = iterate(asked(config), again(shop))[-1]
    assert len(result.searched.trials) == 4


def test_several_trials_at_once_come_to_as_many(config, shop, provider):
    result = iterate(asked(config, parallel=3), shop)[-1]
    assert sorted(t.number for t in result.searched.trials) == [0, 1, 2, 3]
    assert len({json.dumps(t.settings) for t in result.searched.trials}) == 4
    assert provider.calls["create_job"] == 4


@pytest.mark.parametrize(
    "iteration, words",
    [
        ({"until": "f1_macro"}, "The target is 'f1_macro'"),
        ({"until": "f1_makro>=0.9"}, "Did you mean 'f1_macro'"),
        ({"until": "accuracy>=92"}, "Write accuracy>=0.92"),
        ({"until": "accuracy<=0.9"}, "more is better"),
        ({"budget": "soon"}, "The budget is 'soon'"),
        ({"budget": "0m"}, "The budget is '0m'"),
        ({"trials": 0}, "trials is 0"),
        ({"parallel": 0}, "parallel is 0"),
        ({"max_cost": 3.0}, "no price"),
    ],
)
def test_what_is_impossible_is_refused_before_anything_starts(
    config, shop, provider, iteration, words
):
    with pytest.raises(ConfigError, match="(?s).*") as caught:
        iterate(asked(config, **iteration), shop)
    assert words in str(caught.value)
    assert not provider.calls and not shop.run_dir.path.exists()
