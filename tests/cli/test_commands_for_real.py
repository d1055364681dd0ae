"""The command line as a user meets it: processes, a real server, a real training, real kills."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest
from table import write_table

FAST = ("--method", "head", "--bootstrap", "50", "--no-baselines", "--precision", "fp32")
"""The precision by itself is timed, and under load two runs may choose differently."""


class Started:
    """A command at work, whose output can be waited for."""

    def __init__(self, place: Path, *arguments: object, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tunesmith", *map(str, arguments)],
            cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environ}, text=True,
        )  # fmt: skip
        self.said = ""
        assert self.process.stdout
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def wait_for(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        until = time.monotonic() + seconds
        while (found := re.search(pattern, self.said)) is None:
            assert time.monotonic() < until and self._reader.is_alive(), self.said
            time.sleep(0.02)
        return found

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        code = self.process.wait(60)
        self._reader.join(10)
        return code

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self.said += line


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> SimpleNamespace:
    """A run that nothing disturbed: its folder, and what it printed as JSON."""
    place = tmp_path_factory.mktemp("finished")
    table = write_table(place / "mail.csv")
    ask = ("--json", "--ask", "a late parcel")
    done = subprocess.run(
        [sys.executable, "-m", "tunesmith", "run", table, "--run-dir", "r", *FAST, *ask],
        cwd=place, env={**os.environ, "TUNESMITH_DATA_DIR": str(place / "data")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(place=place, table=table, found=json.loads(done.stdout))


def test_a_run_for_real_and_again(finished, outside):
    found, place = finished.found, finished.place
    assert found["metrics"]["accuracy"] > 0.8
    assert found["answers"][0]["label"] == "shipping"
    data = {"TUNESMITH_DATA_DIR": str(place / "data")}
    log = (place / "data/server.log").read_bytes()
    started = time.monotonic()
    again = ("--run-dir", place / "r", *FAST, "--json")
    second = outside("run", finished.table, *again, environ=data)
    assert time.monotonic() - started < 5  # 0.7 s on an idle machine
    assert json.loads(second.out)["metrics"] == found["metrics"]
    assert (place / "data/server.log").read_bytes() == log  # no server was started
    asked = outside("chat", found["model"], text="my password\n", environ=data)
    assert asked.code == 0 and asked.out.splitlines()[1].split()[0] == "account"


def test_killed_at_any_moment_it_goes_on_and_comes_to_the_same(place, table, finished, outside):
    for moment in (r"\] prepare", r"Job ftjob-", r"model kept"):
        run = Started(place, "run", table, "--run-dir", "r", *FAST)
        run.wait_for(moment)
        assert run.end(signal.SIGKILL) == -signal.SIGKILL
    last = outside("run", table, "--run-dir", "r", *FAST, "--json")
    assert last.code == 0, last.err
    # Texts that are asked together with others are multiplied in other blocks.
    assert json.loads(last.out)["metrics"] == pytest.approx(finished.found["metrics"], rel=1e-6)
    jobs = json.loads(outside("jobs", "list", "--json").out)
    assert [job["status"] for job in jobs] == ["succeeded"]


def test_ctrl_c_cancels_the_job_and_the_next_start_makes_a_new_one(place, table, outside):
    run = Started(place, "run", table, "--run-dir", "r", *FAST)
    job = run.wait_for(r"Job (ftjob-\w+)").group(1)
    assert run.end(signal.SIGINT) == 130
    assert "To go on: tunesmith run --run-dir r" in run.said and "Traceback" not in run.said
    shown = json.loads(outside("jobs", "show", job).out)
    assert shown["status"] == "cancelled"


def test_a_training_process_that_keeps_dying_is_told_in_a_sentence(place, table, outside):
    # Runs in every Python of this environment, before anything else.
    (place / "bad").mkdir()
    (place / "bad/sitecustomize.py").write_text(
        "import os, sys\nif 'tunesmith.training' in sys.orig_argv: os.kill(os.getpid(), 9)\n"
    )
    environ = {"PYTHONPATH": str(place / "bad")}
    ended = outside("run", table, "--run-dir", "r", *FAST, environ=environ)
    assert ended.code == 2
    assert re.search(r"error: Fine-tuning job ftjob-\w+ failed: The training process", ended.err)
    assert "  fix: " in ended.err and "Traceback" not in ended.err
    assert (place / "r/01-prepare/train.jsonl").exists()


def test_an_unknown_base_model_gets_the_nearest_name(outside, table):
    ended = outside("run", table, "--base-model", "minilm-l7", "--run-dir", "r", *FAST)
    assert ended.code == 2
    assert "minilm-l7" in ended.err and "Did you mean 'minilm-l6'?" in ended.err


# --- a server that runs already -----------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """`tunesmith serve` with its own data, its address and the admin key it showed."""
    data = tmp_path_factory.mktemp("served")
    server = Started(data, "serve", "--port", "0", TUNESMITH_DATA_DIR=str(data))
    url = server.wait_for(r"Serving at (http\S+),").group(1)
    key = server.wait_for(r"(sk-[\w-]+)").group(1)
    yield SimpleNamespace(url=url, key=key, data=str(data))
    server.end(signal.SIGTERM)


def test_a_run_on_a_server_that_runs_already(served, outside, table, place):
    environ = {"TUNESMITH_SERVER": served.url, "TUNESMITH_API_KEY": served.key}
    ended = outside("run", table, "--run-dir", "r", *FAST, environ=environ)
    assert ended.code == 0, ended.err
    assert f"curl {served.url}/chat/completions" in ended.out
    assert not (place / "data").exists()  # no server of its own


def test_a_wrong_key_is_one_sentence(served, outside, table):
    ended = outside(
        "run", table, "--base-url", served.url, *FAST, environ={"TUNESMITH_API_KEY": "sk-wrong"}
    )
    assert ended.code == 2
    assert f"error: The server at {served.url} refused the API key" in ended.err
    assert "tunesmith keys create" in ended.err


def test_keys_are_made_listed_and_revoked(served, outside):
    data = {"TUNESMITH_DATA_DIR": served.data}
    key = outside("keys", "create", "bob", environ=data).out.strip()
    reach = {"TUNESMITH_SERVER": served.url, "TUNESMITH_API_KEY": key}
    assert "minilm-l6" in outside("models", environ=reach).out
    listed = outside("keys", "list", environ=data).out
    assert "bob" in listed and key not in listed
    assert outside("keys", "revoke", "bob", environ=data).out == "bob is revoked.\n"
    twice = outside("keys", "revoke", "bob", environ=data)
    assert twice.code == 2 and "There is no key named 'bob'" in twice.err


def test_a_server_that_is_not_there_is_one_sentence(outside, table):
    environ = {"TUNESMITH_API_KEY": "sk-x"}
    ended = outside("models", "list", "--base-url", "http://127.0.0.1:9/v1", environ=environ)
    assert ended.code == 1
    assert "error: The server at http://127.0.0.1:9/v1 does not answer" in ended.err
    assert "tunesmith serve" in ended.err


def test_a_port_that_is_taken_is_one_sentence(outside):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = outside("serve", "--port", port)
    assert ended.code == 2
    assert f"error: Port {port} on 127.0.0.1 is in use" in ended.err and "  fix: " in ended.err
