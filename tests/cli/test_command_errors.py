"""Whatever is wrong with what was asked: exit code 2, one message, a remedy, no traceback."""

import json
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("run",), "No table is given"),
        (("run", "gone.csv"), "There is no file"),
        (("run", "mail.csv", "--nonsense"), "No such option"),
        (("run", "mail.csv", "--n-epochs", "many"), "Invalid value for '--n-epochs'"),
        (("run", "mail.csv", "--n-epochs", "0"), "n_epochs is 0"),
        (("run", "mail.csv", "--split", "80/30"), "The split is '80/30'"),
        (("run", "mail.csv", "--text", "tekst"), "Did you mean 'text'?"),
        (("run", "mail.csv", "--set", "train.n_epoch=2"), "Did you mean 'n_epochs'?"),
        (("run", "mail.csv", "--set", "nonsense"), "not of the form section.field=value"),
        (("run", "mail.csv", "--config", "gone.toml"), "gone.toml cannot be read"),
        (("run", "mail.csv", "--provider", "lokal"), "Did you mean 'local'?"),
        (("run", "mail.csv", "--base-url", "host:8000"), "The base URL is 'host:8000'"),
        (("run", "mail.csv", "--run-dir", "mail.csv/r"), "mail.csv/r"),
        (("train", "mail.csv"), "There is no run in mail.csv"),
        (("chat",), "Missing argument"),
        (("keys", "revoke", "nobody"), "There is no key named 'nobody'"),
        (("models", "delete", "ft:none", "--yes"), "does not exist"),
        (("nonsense",), "No such command"),
    ],
)
def test_a_wrong_request_is_told_in_a_sentence(here, table, provider, arguments, words):
    ended = here(*arguments)
    assert ended.code == 2
    assert ended.err.startswith("error: ") and ended.err.count("error: ") == 1
    assert words in ended.err and "Traceback" not in ended.err


def test_an_error_in_a_table_says_its_line(here):
    Path("t.csv").write_text('text,label\n"one,a\n')
    ended = here("run", "t.csv", "--json")
    said = json.loads(ended.out)["error"]
    assert ended.code == 2
    assert said["type"] == "DataError" and said["message"] and said["fix"]
    assert said["line"] and said["path"].endswith("t.csv")


def test_an_unknown_setting_in_the_environment_is_told(here, table, monkeypatch):
    monkeypatch.setenv("TUNESMITH_SERVR", "x")
    ended = here("run", table)
    assert ended.code == 2 and "Did you mean 'TUNESMITH_SERVER'?" in ended.err


def test_a_full_disk_is_told_and_the_run_goes_on_later(here, table, monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        ended = here("run", table, "--run-dir", "r")
    assert ended.code == 2
    assert "The disk is full" in ended.err and "goes on where it stopped" in ended.err
    assert here("run", table, "--run-dir", "r", "--bootstrap", "50").code == 0


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no folder that nobody may write to")
def test_a_folder_that_cannot_be_written_is_told(here, table):
    ended = here("run", table, "--run-dir", "/sys/kernel/tunesmith")
    assert ended.code == 2 and "cannot be written" in ended.err and "--run-dir" in ended.err


def test_nothing_asked_is_answered_by_the_help(here):
    ended = here()
    assert ended.code == 0 and "Usage: tunesmith" in ended.out and ended.err == ""


def test_a_reader_that_goes_away_is_no_error(table, place):
    import subprocess
    import sys

    command = f"{sys.executable} -m tunesmith run --help | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
