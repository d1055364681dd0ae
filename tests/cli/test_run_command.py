"""`tunesmith run` and the verbs, with the provider in memory: what is printed, kept, asked."""

import json
import sys
from pathlib import Path

import pytest

from tunesmith import config as configs
from tunesmith.errors import ProviderError

FAST = ("--bootstrap", "50", "--no-baselines")


def test_a_run_tells_what_was_decided_kept_learnt_and_reached(here, table, provider):
    ended = here("run", table, "--run-dir", "r", "--bootstrap", "50", "--ask", "my invoice")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert len(lines) < 60
    headings = [line.split()[1] for line in lines if line.startswith("[")]
    assert headings == ["prepare", "upload", "train", "deploy", "evaluate"]
    for words in (
        "text column: 'text' (",
        "60 rows: 60 kept",
        "48 to train on, 12 to validate, 3 labels",
        "step 1/2        loss 0.700  dev loss 0.800  dev accuracy 90.0%",
        "n_epochs: at most 3 (for up to 500 examples)",
        "parity: 12 held-out prompts, every label as the trainer gave it",
        "majority class      33.3 ",
        "embeddings logistic ",
        "r/05-evaluate/report.html",
        "tunesmith chat ft:minilm-l6:fake:x:",
        "/v1/chat/completions",
        "› my invoice",
    ):
        assert words in ended.out, words
    assert "\x1b" not in ended.out


def test_a_second_run_does_nothing_and_shows_the_same_table(here, table, provider):
    first = here("run", table, "--run-dir", "r", *FAST)
    calls = dict(provider.calls) | {"close": 2}
    second = here("run", table, "--run-dir", "r", *FAST)
    assert second.code == 0
    assert dict(provider.calls) == calls
    said, *rest = second.out.splitlines()
    assert said == "Nothing has changed since the last start, so nothing was done again."
    assert first.out.endswith("\n".join(rest) + "\n")
    third = here("run", "--run-dir", "r")
    assert third.out == second.out


def test_without_a_table_the_directory_goes_on_and_with_one_it_begins_anew(here, table):
    here("run", table, "--run-dir", "r", *FAST, "--seed", "3")
    here("run", "--run-dir", "r", "--weight-decay", "0.5")
    config = configs.load(Path("r/config.toml"))
    assert (config.train.seed, config.train.weight_decay) == (3, 0.5)
    here("run", table, "--run-dir", "r", *FAST)
    config = configs.load(Path("r/config.toml"))
    assert (config.train.seed, config.train.weight_decay) == (0, 0.01)


def test_what_is_refused_does_not_become_the_directorys_setting(here, table):
    here("run", table, "--run-dir", "r", *FAST)
    before = Path("r/config.toml").read_text()
    assert here("run", "--run-dir", "r", "--n-epochs", "0").code == 2
    assert here("train", "r", "--dropout", "1").code == 2
    assert Path("r/config.toml").read_text() == before


def test_each_run_gets_the_next_free_folder(here, table):
    here("run", table, *FAST)
    here("run", table, *FAST)
    assert sorted(p.name for p in Path("runs").iterdir()) == ["mail-1", "mail-2"]


def test_a_start_that_fails_at_once_leaves_no_folder(here):
    assert here("run", "gone.csv").code == 2
    assert not Path("runs").exists()


def test_a_folder_with_something_in_it_is_left(here, table, provider):
    provider.outcome = "server_error"
    assert here("run", table, *FAST).code == 2
    assert Path("runs/mail-1/01-prepare/train.jsonl").exists()


def test_json_is_one_object_and_nothing_else(here, table):
    ended = here("run", table, "--run-dir", "r", *FAST, "--json", "--ask", "late parcel")
    found = json.loads(ended.out)
    assert ended.out.count("\n") == 1
    assert found["metrics"]["accuracy"] == 1.0 and found["num_examples"] == 12
    assert Path(found["report"]).is_file() and found["run_dir"] == str(Path("r").absolute())
    assert found["answers"][0]["label"] == "shipping"
    assert "[0:00] train" in ended.err


def test_settings_come_from_a_file_too(here, table):
    Path("mine.toml").write_text("[train]\nmethod = 'head'\nn_epochs = 2\n")
    here("run", table, "--run-dir", "r", "--config", "mine.toml", "--n-epochs", "4", *FAST)
    config = configs.load(Path("r/config.toml"))
    assert (config.train.method, config.train.n_epochs) == ("head", 4)


def test_a_run_on_another_table_is_not_replaced_unasked(here, table, tmp_path):
    here("run", table, "--run-dir", "r", *FAST)
    other = tmp_path / "other.csv"
    other.write_text(table.read_text())
    refused = here("run", other, "--run-dir", "r", *FAST)
    assert refused.code == 2
    assert "holds a run on another table" in refused.err and "--yes" in refused.err
    assert here("run", other, "--run-dir", "r", "--yes", *FAST).code == 0


def test_the_verbs_one_by_one_make_the_same_run(here, table):
    whole = json.loads(here("run", table, "--run-dir", "whole", *FAST, "--json").out)
    assert here("prepare", table, "--run-dir", "r").code == 0
    for verb in ("upload", "train", "deploy"):
        ended = here(verb, "r")
        assert (ended.code, ended.err) == (0, ""), verb
    last = json.loads(here("evaluate", "r", *FAST, "--json").out)
    assert last["metrics"] == whole["metrics"]
    again = here("train", "r")
    assert "nothing was done again" in again.out
    assert here("run", "--run-dir", "r").out.startswith("Nothing has changed")


def test_a_verb_before_its_turn_says_what_comes_first(here, table):
    here("prepare", table, "--run-dir", "r")
    early = here("deploy", "r")
    assert early.code == 2
    assert "holds no result of upload" in early.err and "tunesmith upload r" in early.err
    assert "There is no run in nowhere" in here("train", "nowhere").err


def test_ctrl_c_cancels_the_job_and_says_how_to_go_on(here, table, provider):
    def interrupt():
        raise KeyboardInterrupt

    provider.while_following = interrupt
    ended = here("run", table, "--run-dir", "r", *FAST)
    assert ended.code == 130
    assert next(provider.jobs()).status == "cancelled"
    assert ended.err.strip() == "Stopped. To go on: tunesmith run --run-dir r"
    provider.while_following = lambda: None
    assert here("run", "--run-dir", "r").code == 0


def test_keep_serving_goes_on_until_ctrl_c(here, table, monkeypatch):
    import threading

    def wait(self, timeout=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Event, "wait", wait)
    ended = here("run", table, "--run-dir", "r", *FAST, "--keep-serving")
    assert ended.code == 0
    assert "Serving at http://fake/v1" in ended.out and "sk-fake" in ended.out


@pytest.mark.parametrize(
    "spoil, code, kind",
    [
        (lambda p: setattr(p, "outcome", "server_error"), 2, "JobFailed"),
        (lambda p: setattr(p, "spoil", lambda t, a: type(a)(label="?", logprob=-1.0)), 1, "Parity"),
        (lambda p: setattr(p, "while_following", _lost), 1, "ProviderError"),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(here, table, provider, spoil, code, kind):
    spoil(provider)
    ended = here("run", table, "--run-dir", "r", *FAST, "--json")
    assert ended.code == code
    assert json.loads(ended.out)["error"]["type"].startswith(kind)
    assert "error: " in ended.err and "  fix: " in ended.err and "Traceback" not in ended.err


def _lost():
    raise ProviderError("The server does not answer.", fix="Check that it runs.")


def test_a_bug_is_one_line_and_a_file(here, table, provider, monkeypatch, capsys):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(provider, "create_job", broken)
    with pytest.raises(ZeroDivisionError) as caught:
        here("run", table, "--run-dir", "r", *FAST)
    sys.excepthook(caught.type, caught.value, caught.tb)
    said = capsys.readouterr().err
    assert "error: Something in Tunesmith broke (ZeroDivisionError: division by zero)." in said
    saved = Path(said.split("report it with ")[1].strip().rstrip("."))
    assert "Traceback" in saved.read_text() and "Traceback" not in said
    saved.unlink()
