"""`tunesmith iterate`, with the provider in memory: what is printed, kept, refused."""

import json
import os
from pathlib import Path

import pytest
from fake_provider import FakeProvider

from tunesmith.cli.terminal import Terminal
from tunesmith.cli.trials import TrialTable
from tunesmith.events import Event

FAST = ("--bootstrap", "50", "--no-baselines", "--no-advice")
SEARCH = ("--search", "label_smoothing", "--trials", "3")


@pytest.fixture
def provider(provider: FakeProvider) -> FakeProvider:
    provider.curve = lambda request: (0.5, 0.6, 0.8 + request.tunesmith.label_smoothing)
    return provider


def test_it_tells_the_trials_the_choice_and_the_final_score(here, table, provider):
    ended = here("iterate", table, "--run-dir", "r", *FAST, *SEARCH)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    headings = [line.split()[1] for line in lines if line.startswith("[")]
    assert headings == ["prepare", "iterate", "deploy", "evaluate"]
    trials = [line.split() for line in lines if line.startswith("  trial ")]
    assert [words[1] for words in trials] == ["1", "2", "3"]
    assert trials[0][2:4] == ["accuracy", "80.0%"]
    for words in (
        "choosing: by accuracy on the trainer's dev slice (",
        "the usual settings",
        "accuracy is 100.0",
        "The search took",
        "r/06-iterate/report.html",
        "r/06-iterate/search-",
        "tunesmith chat ft:minilm-l6:fake:x:",
    ):
        assert words in ended.out, words
    assert "\x1b" not in ended.out


def test_a_second_start_does_nothing_and_tells_the_same(here, table, provider):
    first = here("iterate", table, "--run-dir", "r", *FAST, *SEARCH)
    calls = dict(provider.calls) | {"close": 2}
    second = here("iterate", "r")
    assert second.code == 0 and dict(provider.calls) == calls
    said, *rest = second.out.splitlines()
    assert said == "Nothing has changed since the last time, so nothing was done again."
    assert first.out.endswith("\n".join(rest) + "\n")


def test_a_runs_folder_is_gone_on_from(here, table, provider):
    here("run", table, "--run-dir", "r", *FAST)
    evaluated = Path("r/05-evaluate/result.json").read_bytes()
    ended = here("iterate", "r", *SEARCH)
    assert ended.code == 0, ended.err
    assert provider.calls["create_job"] == 3  # the run's own is the first
    assert Path("r/05-evaluate/result.json").read_bytes() == evaluated


def test_json_is_one_object(here, table, provider):
    ended = here("iterate", table, "--run-dir", "r", *FAST, *SEARCH, "--json")
    found = json.loads(ended.out)
    assert ended.out.count("\n") == 1
    assert len(found["searched"]["trials"]) == 3 and found["final"]["accuracy"] == 1.0
    for name in ("report", "table"):
        assert Path(found[name]).is_file()
    assert Path(found["chosen_run_dir"], "05-evaluate/report.html").is_file()
    assert "trial 1" in ended.err


def test_the_chosen_run_can_be_gone_on_with(here, table, provider):
    found = json.loads(here("iterate", table, "--run-dir", "r", *FAST, *SEARCH, "--json").out)
    jobs = provider.calls["create_job"]
    again = here("run", "--run-dir", found["chosen_run_dir"])
    assert again.code == 0, again.err
    assert "nothing was done again" in again.out and provider.calls["create_job"] == jobs
    scored = here("evaluate", found["chosen_run_dir"], "--bootstrap", "60")
    assert scored.code == 0, scored.err


def test_trials_at_once_get_workers_for_the_command_only(here, table, provider):
    seen = []
    provider.while_following = lambda: seen.append(os.environ.get("TUNESMITH_WORKERS"))
    ended = here("iterate", table, "--run-dir", "r", *FAST, *SEARCH, "--parallel", "2")
    assert ended.code == 0 and set(seen) == {"2"}
    assert "TUNESMITH_WORKERS" not in os.environ


def test_ctrl_c_says_how_to_go_on(here, table, provider, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tunesmith.pipeline.iterating.search.wait", interrupt)
    ended = here("iterate", table, "--run-dir", "r", *FAST, *SEARCH)
    assert ended.code == 130
    assert "Stopped. To go on: tunesmith iterate r" in ended.err


@pytest.mark.parametrize(
    "options, words",
    [
        (("--until", "f1_makro>=0.9"), "Did you mean 'f1_macro'"),
        (("--until", "f1_macro>=92"), "Write f1_macro>=0.92"),
        (("--budget", "half an hour"), "Give a time, such as 90s, 30m or 2h."),
        (("--max-cost", "3"), "--hour-price"),
        (("--search", "n_epoch"), "Did you mean 'n_epochs'?"),
    ],
)
def test_what_is_wrong_is_one_sentence(here, table, options, words):
    ended = here("iterate", table, *options)
    assert ended.code == 2 and words in ended.err and "Traceback" not in ended.err
    assert not Path("runs").exists() or list(Path("runs").glob("*/01-prepare"))


def test_a_run_dir_beside_a_runs_folder_is_refused(here, table, provider):
    here("run", table, "--run-dir", "r", *FAST)
    ended = here("iterate", "r", "--run-dir", "other")
    assert ended.code == 2 and "leave out --run-dir" in ended.err


# --- the table on a terminal ----------------------------------------------------------------------


def trial(number: int, state: str, **facts) -> Event:
    row = {"number": number, "state": state, "settings": {}, "seconds": 61.0, "metric": "accuracy"}
    return Event(kind="metric", message="", data={"trial": row | facts})


def test_on_a_terminal_the_table_keeps_itself_up_to_date(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    table = TrialTable(Terminal(), as_json=False)
    table(trial(0, "running", done=3, total=9))
    table(Event(kind="warning", message="the texts are long"))
    table(trial(0, "done", score=0.912, best=True))
    table(trial(1, "pruned", settings={"n_epochs": 5}, why="fell behind at look 4"))
    table.close()
    shown = capsys.readouterr().out
    for words in ("3/9", "the texts are long", "accuracy 91.2%", "1 min 1 s", "n_epochs 5"):
        assert words in shown, words
    assert "fell behind at look 4" in shown
